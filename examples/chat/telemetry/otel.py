"""Traces through OpenTelemetry's API: what exports them, and where to, is for the program's own set-up to say.

    tracer = OtelTracer();  with tracer.span("say", parent=command.tp) as span: ...
    pip install 'pygochan[chat-otel]'

Shape
    A client's ``traceparent`` is the parent; the span's own goes out with the message and to the downstream service.
    The current span is a context variable, so goroutines that are started inside a span are inside it, on trio too;
    log records made inside carry its ids.

Only the API is imported. Without an SDK its spans do nothing, and hand on the trace they were given.

Prior art: https://www.w3.org/TR/trace-context/; OpenTelemetry's semantic conventions for messaging.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any, Final

from .base import PassedOn
from .tracing import bound, ids_of

_REMEDY: Final = "opentelemetry-api is missing: pip install 'pygochan[chat-otel]'"


class _OtelSpan:
    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Any, traceparent: str | None) -> None:
        self._span = span
        self.traceparent = traceparent

    def set(self, key: str, value: str | int | float | bool, /) -> None:
        self._span.set_attribute(f"gochat.{key}", value)


class OtelTracer:
    """Spans of an OpenTelemetry tracer.

    Args:
        provider: makes the tracer; the program's global one if not given.

    Raises:
        ImportError: opentelemetry-api is not installed.
    """

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ImportError(_REMEDY) from error
        self._kind: Any = trace.SpanKind.SERVER
        self._tracer: Any = trace.get_tracer("gochan.chat", tracer_provider=provider)
        # By name, not the global propagator: that may be set to another format, and the wire protocol says W3C.
        self._propagator: Any = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def span(
        self, name: str, /, parent: str | None = None, **attributes: str | int | float | bool
    ) -> Generator[_OtelSpan | PassedOn]:
        """The work inside ``with``. What a client sends as its parent is checked first: it is not ours."""
        parent = None if ids_of(parent) is None else parent
        context = None if parent is None else self._propagator.extract({"traceparent": parent})
        named = {f"gochat.{key}": value for key, value in attributes.items()}
        with self._tracer.start_as_current_span(name, context=context, kind=self._kind, attributes=named) as span:
            carrier: dict[str, str] = {}
            self._propagator.inject(carrier)
            traceparent = carrier.get("traceparent", parent)  # without an SDK there may be nothing of ours
            ids = ids_of(traceparent)
            if ids is None:
                yield _OtelSpan(span, None)
            else:
                with bound(trace=ids[0], span=ids[1]):
                    yield _OtelSpan(span, traceparent)
