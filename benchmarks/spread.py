"""What many rounds of one measurement said: the median, the quartiles around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Self


@dataclass(frozen=True)
class Spread:
    median: float
    low: float  # the first quartile
    high: float  # the third
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    @classmethod
    def of_ratios(cls, theirs: Sequence[float], ours: Sequence[float]) -> Self:
        """Theirs by ours, round by round: what slowed the machine for a while slowed both."""
        return cls.of([a / b for a, b in zip(theirs, ours, strict=True)])

    def by(self, other: Spread) -> Spread:
        """A ratio of two that did not take turns: the quartiles are as far apart as they can be."""
        return Spread(
            self.median / other.median,
            self.low / other.high,
            self.high / other.low,
            min(self.rounds, other.rounds),
        )
