"""The four protocols through which the server speaks of itself, and defaults that do nothing.

    Telemetry(metrics=NullMetrics(), tracer=NullTracer(), errors=NullErrors())     what is handed from part to part
    metrics.counter(name, help, labels=()).inc(n=1, *labelvalues)                  gauge .set .add, histogram .observe
    with tracer.span("say", parent=command.tp) as span: ... span.traceparent       W3C in and out
    errors.report(error, **tags)                                                   once for each error

Shape
    The server depends on these protocols alone. Whoever wants Prometheus, OpenTelemetry or Sentry gives an adapter to
    ``Telemetry``; nobody else installs or imports any of them, and there is no global state.

Bounds
    Label values are the program's own words (codes, states), never a user's: each combination lives for ever.
    Spans are for commands, metrics for batches: a span costs 40 microseconds where it is sampled, a delivery costs 2.

Why no logger of our own: the standard library's is one already; ``Logger`` is what is used of it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from .tracing import bound, ids_of

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of a histogram of seconds."""
BREAKER_STATES: Final[Mapping[str, float]] = {"closed": 0, "half-open": 1, "open": 2}
"""The value of ``gochat_breaker_state`` …"""
BREAKER_MEANING: Final = "0 closed, 1 half-open, 2 open"
"""… and what it says of itself."""


class Logger(Protocol):
    """What is asked of a logger; ``logging.getLogger(...)`` is one. ``extra`` holds the fields of a record."""

    def debug(self, msg: object, /, *args: object) -> None: ...
    def info(self, msg: object, /, *args: object) -> None: ...
    def warning(self, msg: object, /, *args: object) -> None: ...
    def exception(self, msg: object, /, *args: object) -> None: ...


class Counter(Protocol):
    """What only grows."""

    def inc(self, n: float = 1, /, *labels: str) -> None:
        """Count ``n`` more, for these values of the labels."""
        ...


class Gauge(Protocol):
    """What goes up and down."""

    def set(self, value: float, /, *labels: str) -> None:
        """It is so much now."""
        ...

    def add(self, n: float, /, *labels: str) -> None:
        """It is ``n`` more now."""
        ...


class Histogram(Protocol):
    """What is measured again and again."""

    def observe(self, value: float, /, *labels: str) -> None:
        """One measurement."""
        ...


class Metrics(Protocol):
    """Makes what is counted and measured. Asked twice for one name, it gives the same one."""

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter: ...
    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge: ...
    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
    ) -> Histogram: ...


@dataclass(frozen=True, slots=True)
class Exposition:
    """What ``/metrics`` answers."""

    content_type: str
    body: bytes


class ScrapedMetrics(Metrics, Protocol):
    """Metrics that somebody comes for."""

    def expose(self) -> Exposition:
        """All of them, now."""
        ...


class Span(Protocol):
    """A piece of work, as a trace shows it."""

    @property
    def traceparent(self) -> str | None:
        """What the next one down the line is told; None outside any trace."""
        ...

    def set(self, key: str, value: str | int | float | bool, /) -> None:
        """A fact about the work."""
        ...


class Tracer(Protocol):
    """Makes spans."""

    def span(
        self, name: str, /, parent: str | None = None, **attributes: str | int | float | bool
    ) -> AbstractContextManager[Span]:
        """The work inside ``with``; an exception that leaves it is part of the span, and goes on.

        Args:
            parent: the ``traceparent`` that came with the request. One that makes no sense is as good as none.
        """
        ...


@runtime_checkable
class ErrorReporter(Protocol):
    """Takes the errors that nobody expected."""

    def report(self, error: BaseException, /, **tags: str) -> None:
        """Pass it on, without waiting and without raising; a second report of the same error does nothing."""
        ...


# ---- the defaults ----


class _NullInstrument:
    __slots__ = ()

    def inc(self, n: float = 1, /, *labels: str) -> None: ...
    def set(self, value: float, /, *labels: str) -> None: ...
    def add(self, n: float, /, *labels: str) -> None: ...
    def observe(self, value: float, /, *labels: str) -> None: ...


_NULL_INSTRUMENT: Final = _NullInstrument()


class NullMetrics:
    """Counts nothing."""

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return _NULL_INSTRUMENT

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return _NULL_INSTRUMENT

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        return _NULL_INSTRUMENT


class PassedOn:
    """A span that is nobody's: it only knows what it came with."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def set(self, key: str, value: str | int | float | bool, /) -> None:
        """Forgotten."""


class NullTracer:
    """Starts no trace, but does not break one: what a client sends is handed on, and log records name its trace."""

    @contextlib.contextmanager
    def span(
        self, name: str, /, parent: str | None = None, **attributes: str | int | float | bool
    ) -> Generator[PassedOn]:
        ids = ids_of(parent)
        if ids is None:
            yield PassedOn(None)
        else:
            with bound(trace=ids[0], span=ids[1]):
                yield PassedOn(parent)


class NullErrors:
    """Reports nothing."""

    def report(self, error: BaseException, /, **tags: str) -> None: ...


def report_once(error: BaseException) -> bool:
    """Whether this error has not been reported yet. What passes through several hands is reported by the first.

    A mark on the error rather than a table of errors: a table would keep them, and what their frames hold, alive.
    """
    if getattr(error, "__gochat_reported__", False):
        return False
    try:
        setattr(error, "__gochat_reported__", True)  # noqa: B010  # an attribute that type checkers know nothing of
    except AttributeError:  # its class allows no new ones
        pass
    return True


class LoggingReporter:
    """Errors become log records, with their traceback."""

    def __init__(self, log: logging.Logger | None = None) -> None:
        self._log = log or logging.getLogger("examples.chat.errors")

    def report(self, error: BaseException, /, **tags: str) -> None:
        if report_once(error):
            where = " ".join(f"{key}={value}" for key, value in sorted(tags.items()))
            extra: dict[str, Any] = {f"tag_{key}": value for key, value in tags.items()}
            self._log.error("an error that nobody expected: %s", where or "-", exc_info=error, extra=extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What every part of the server is handed."""

    metrics: Metrics = field(default_factory=NullMetrics)
    tracer: Tracer = field(default_factory=NullTracer)
    errors: ErrorReporter = field(default_factory=NullErrors)


NULL: Final = Telemetry()
