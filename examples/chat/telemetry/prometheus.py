"""Metrics through prometheus-client, where it is installed; the built-in ones where it is not.

    metrics = make_metrics();  metrics.expose() -> Exposition       pip install 'pygochan[chat-metrics]'

What the package adds: counting from threads, the process itself (memory, descriptors), and OpenMetrics for those who
push to a gateway. A registry of our own, not the package's global one: two servers in one process count apart.

Labels are bound once and kept: looking one up costs three times what counting does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .base import SECONDS, Counter, Exposition, Gauge, Histogram, ScrapedMetrics
from .text_metrics import CONTENT_TYPE, TextMetrics, check_names

prometheus_client: Any
try:
    import prometheus_client
except ImportError:  # /metrics works without it
    prometheus_client = None

_REMEDY: Final = "prometheus-client is missing: pip install 'pygochan[chat-metrics]'"


class _Instrument:
    """One metric of the package, with its children by label values."""

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: Any, labels: tuple[str, ...]) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], Any] = {} if labels else {(): metric}

    def _child(self, labels: tuple[str, ...]) -> Any:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child

    def inc(self, n: float = 1, /, *labels: str) -> None:
        self._child(labels).inc(n)

    def set(self, value: float, /, *labels: str) -> None:
        self._child(labels).set(value)

    def add(self, n: float, /, *labels: str) -> None:
        self._child(labels).inc(n)

    def observe(self, value: float, /, *labels: str) -> None:
        self._child(labels).observe(value)


class PrometheusMetrics:
    """Metrics in a registry of prometheus-client.

    Args:
        registry: where they are registered; a new one, which has the process' own metrics, if not given.

    Raises:
        ImportError: prometheus-client is not installed.
    """

    def __init__(self, registry: Any = None) -> None:
        if prometheus_client is None:
            raise ImportError(_REMEDY)
        if registry is None:
            registry = prometheus_client.CollectorRegistry()
            prometheus_client.ProcessCollector(registry=registry)
        self._registry = registry
        self._known: dict[str, tuple[tuple[str, tuple[str, ...]], _Instrument]] = {}

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return self._same("Counter", name, text, tuple(labels))

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return self._same("Gauge", name, text, tuple(labels))

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        return self._same("Histogram", name, text, tuple(labels), buckets=tuple(buckets))

    def expose(self) -> Exposition:
        """All metrics, now, in the text format."""
        return Exposition(CONTENT_TYPE, prometheus_client.generate_latest(self._registry))

    def _same(self, kind: str, name: str, text: str, labels: tuple[str, ...], **more: Any) -> _Instrument:
        check_names(name, labels)  # the package's own check lets everything through that is UTF-8
        shape = (kind, labels)
        if name not in self._known:
            metric = getattr(prometheus_client, kind)(name, text, labels, registry=self._registry, **more)
            self._known[name] = (shape, _Instrument(metric, labels))
        known, instrument = self._known[name]
        if known != shape:
            raise ValueError(f"{name} is a {known[0]} with the labels {known[1]!r} already")
        return instrument


def make_metrics() -> ScrapedMetrics:
    """Metrics that can be exposed, with what is installed."""
    return TextMetrics() if prometheus_client is None else PrometheusMetrics()
