"""Puts telemetry together as the settings ask for it; the one place that knows all adapters.

seen = set_up(metrics=True, log_format="json", log_file="chat.log", otel=False, sentry="")
seen.telemetry to the server, seen.expose to /metrics, group.go(seen.logs.run) in the outermost group, seen.close() last
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass

from .base import ErrorReporter, Exposition, LoggingReporter, NullMetrics, NullTracer, Telemetry, Tracer
from .logs import LogPipe, RotatingFile, Sink, Stream, json_line, text_line
from .prometheus import make_metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Observability:
    """What ``set_up`` has made."""

    telemetry: Telemetry
    expose: Callable[[], Exposition] | None
    logs: LogPipe
    close: Callable[[], None]
    """Sends and writes what is on its way, and takes the log handler away; blocks for at most a few seconds."""


def set_up(
    *,
    metrics: bool = False,
    log_format: str = "text",
    log_level: str = "info",
    log_file: str = "",
    otel: bool = False,
    sentry: str = "",
) -> Observability:
    """Make telemetry, and have the root logger's records go through it.

    Args:
        metrics: whether they are collected.
        log_format: ``text`` or ``json``.
        log_level: the least severe records that are written.
        log_file: a file that is rotated; stderr if empty.
        otel: whether spans are made, by the program's OpenTelemetry.
        sentry: the DSN to which errors are reported; to the log if empty.

    Raises:
        ImportError: an extra is missing; the message says which.
        OSError: the file cannot be written.
        ValueError: no level, no DSN.
    """
    collected = make_metrics() if metrics else None
    tracer: Tracer = NullTracer()
    if otel:
        from .otel import OtelTracer

        tracer = OtelTracer()
    errors: ErrorReporter = LoggingReporter()
    last: Callable[[], None] = _nothing
    if sentry:
        from .sentry import SentryReporter

        reporter = SentryReporter(sentry)
        errors, last = reporter, reporter.close
    sink: Sink = RotatingFile(log_file) if log_file else Stream(sys.stderr.buffer)
    line = json_line if log_format == "json" else text_line
    logs = LogPipe(sink, line=line, metrics=collected)
    root = logging.getLogger()
    root.setLevel(log_level.upper())
    root.addHandler(logs.handler)

    def close() -> None:
        last()
        root.removeHandler(logs.handler)
        logs.handler.close()

    telemetry = Telemetry(metrics=collected or NullMetrics(), tracer=tracer, errors=errors)
    expose = None if collected is None else collected.expose
    return Observability(telemetry=telemetry, expose=expose, logs=logs, close=close)


def _nothing() -> None:
    """Nothing needs to be closed."""
