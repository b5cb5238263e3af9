"""What the tests of circuit breakers share: a clock, an error, an open breaker."""

from __future__ import annotations

from typing import Any

from gochan import CircuitBreaker, Counts


class Oops(Exception):
    """What a call raises."""


async def fail() -> None:
    raise Oops


def first_failure(counts: Counts) -> bool:
    return counts.total_failures > 0


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tripped(clock: Clock, **options: Any) -> CircuitBreaker:
    """An open one."""
    breaker = CircuitBreaker("db", ready_to_trip=first_failure, clock=clock, **options)
    breaker.allow()(Oops())
    assert breaker.state == "open"
    return breaker
