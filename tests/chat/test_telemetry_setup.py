"""Telemetry as the settings ask for it: everything off is quiet, everything on comes out where it should."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chat.test_telemetry import need

from examples.chat.telemetry import LoggingReporter, NullMetrics, NullTracer, bound
from examples.chat.telemetry.otel import OtelTracer
from examples.chat.telemetry.sentry import SentryReporter
from examples.chat.telemetry.setup import set_up
from gochan import Group


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """The root logger as it was."""
    log = logging.getLogger()
    level, handlers = log.level, log.handlers[:]
    yield
    log.setLevel(level)
    assert log.handlers == handlers


def test_quiet() -> None:
    """Without a setting there are logs, and nothing else."""
    seen = set_up()
    try:
        assert isinstance(seen.telemetry.metrics, NullMetrics)
        assert isinstance(seen.telemetry.tracer, NullTracer)
        assert isinstance(seen.telemetry.errors, LoggingReporter)
        assert seen.expose is None
    finally:
        seen.close()


async def test_everything(tmp_path: Path) -> None:
    """With all of it: metrics are exposed, records and reported errors are lines of JSON with their session."""
    packages = {
        "prometheus_client": "prometheus-client",
        "opentelemetry": "opentelemetry-api",
        "sentry_sdk": "sentry-sdk",
    }
    for module, package in packages.items():
        need(module, package)
    path = tmp_path / "chat.log"
    seen = set_up(
        metrics=True,
        log_format="json",
        log_level="warning",
        log_file=str(path),
        otel=True,
        sentry="https://k@s.invalid/1",
    )
    try:
        assert isinstance(seen.telemetry.tracer, OtelTracer)
        assert isinstance(seen.telemetry.errors, SentryReporter)
        async with Group() as group:
            group.go(seen.logs.run)
            with bound(session="s1"):
                logging.getLogger("test").info("not this")
                logging.getLogger("test").warning("this")
            group.cancel()
        seen.telemetry.metrics.counter("gochat_x_total", "X").inc()
        assert seen.expose is not None
        assert b"gochat_x_total 1" in seen.expose().body
    finally:
        seen.close()
    (line,) = path.read_text().splitlines()
    assert (json.loads(line)["message"], json.loads(line)["session.id"]) == ("this", "s1")


def test_what_makes_no_sense(tmp_path: Path) -> None:
    """A file that cannot be written, a level or a DSN that is none: errors of the start, and no handler is left."""
    with pytest.raises(OSError):
        set_up(log_file=str(tmp_path / "no" / "chat.log"))
    with pytest.raises(ValueError):
        set_up(log_level="loud")
    need("sentry_sdk", "sentry-sdk")
    with pytest.raises(ValueError):
        set_up(sentry="nonsense")
