"""Metrics without any other package: numbers in dictionaries, and Prometheus' text format.

    metrics = TextMetrics();  metrics.counter("gochat_said_total", "Messages said").inc();  metrics.expose().body

Shape
    A family has a name, a help text and label names; each combination of label values in it has a number, or for a
    histogram the counts of its buckets. Exposing walks through all of them; nothing happens in between.

Invariants
    M1  A counter never goes down.
    M2  The buckets of a histogram are cumulative in the exposition, the last is +Inf and equals the count.
    M3  One name is one family: asked for again it is the same, and asked for as something else it is an error.

Not thread-safe: the server counts in the loop's thread. ``prometheus`` is the same over prometheus-client, which also
counts from threads and knows the process.

Prior art: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from .base import SECONDS, Counter, Exposition, Gauge, Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


def check_names(name: str, labels: Sequence[str]) -> None:
    """Raise ValueError if a metric cannot be called so."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a metric: {name!r}")
    if not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"no names of labels: {labels!r}")


class _Family:
    """What all kinds have in common."""

    kind = ""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        check_names(name, labels)
        self.name = name
        self.text = text
        self.labels = labels

    def _named(self, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels!r}, and was given {values!r}")
        return values

    def lines(self) -> Iterator[str]:
        text = self.text.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {self.name} {text}"
        yield f"# TYPE {self.name} {self.kind}"
        yield from self._samples()

    def _samples(self) -> Iterator[str]:
        raise NotImplementedError

    def _pairs(self, values: tuple[str, ...], *more: str) -> str:
        pairs = [f'{label}="{_escaped(value)}"' for label, value in zip(self.labels, values, strict=True)] + [*more]
        return "{" + ",".join(pairs) + "}" if pairs else ""


class _Number(_Family):
    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__(name, text, labels)
        self.values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def _samples(self) -> Iterator[str]:
        for labels, value in self.values.items():
            yield f"{self.name}{self._pairs(labels)} {_number(value)}"


class _Counter(_Number):
    kind = "counter"

    def inc(self, n: float = 1, /, *labels: str) -> None:
        if not n >= 0:
            raise ValueError(f"{self.name} is a counter and cannot grow by {n!r}")  # M1
        self.values[labels] = self.values.get(self._named(labels), 0.0) + n


class _Gauge(_Number):
    kind = "gauge"

    def set(self, value: float, /, *labels: str) -> None:
        self.values[self._named(labels)] = value

    def add(self, n: float, /, *labels: str) -> None:
        self.values[labels] = self.values.get(self._named(labels), 0.0) + n


class _Histogram(_Family):
    kind = "histogram"

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: Sequence[float]) -> None:
        super().__init__(name, text, labels)
        self.bounds = tuple(bounds)
        if not self.bounds or any(a >= b for a, b in zip(self.bounds, self.bounds[1:], strict=False)):
            raise ValueError(f"the bounds of {name} must grow: {bounds!r}")
        self.counts: dict[tuple[str, ...], list[int]] = {}
        self.sums: dict[tuple[str, ...], float] = {}
        if not labels:
            self._child(())

    def _child(self, labels: tuple[str, ...]) -> list[int]:
        self.sums[self._named(labels)] = 0.0
        self.counts[labels] = counts = [0] * (len(self.bounds) + 1)
        return counts

    def observe(self, value: float, /, *labels: str) -> None:
        counts = self.counts.get(labels) or self._child(labels)
        counts[bisect_left(self.bounds, value)] += 1
        self.sums[labels] += value

    def _samples(self) -> Iterator[str]:
        for labels, counts in self.counts.items():
            total = 0
            for bound, n in zip((*self.bounds, math.inf), counts, strict=True):
                total += n  # M2
                pairs = self._pairs(labels, f'le="{_number(bound)}"')
                yield f"{self.name}_bucket{pairs} {total}"
            yield f"{self.name}_sum{self._pairs(labels)} {_number(self.sums[labels])}"
            yield f"{self.name}_count{self._pairs(labels)} {total}"


F = TypeVar("F", bound=_Family)


class TextMetrics:
    """Metrics in this process, exposed as Prometheus' text."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return self._same(_Counter(name, text, tuple(labels)))

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return self._same(_Gauge(name, text, tuple(labels)))

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        return self._same(_Histogram(name, text, tuple(labels), buckets))

    def expose(self) -> Exposition:
        """All metrics, now."""
        lines = [line for family in self._families.values() for line in family.lines()]
        return Exposition(CONTENT_TYPE, "".join(f"{line}\n" for line in lines).encode())

    def _same(self, family: F) -> F:
        known = self._families.setdefault(family.name, family)
        if type(known) is not type(family) or known.labels != family.labels:
            raise ValueError(f"{family.name} is a {known.kind} with the labels {known.labels!r} already")  # M3
        return known


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    if value == -math.inf:
        return "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
