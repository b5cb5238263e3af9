"""Random sequences at a circuit breaker, compared step by step with a model that keeps a log and counts it anew.

The model has no buckets and no totals: it knows when each call of the generation began and how it ended, in order, and
looks at those that are still in the window.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from gochan import CircuitBreaker, CircuitBreakerError, Counts

SECOND = 10**9
Ending = Literal["success", "failure", "excluded"]


class FailedError(Exception):
    """What a call raises."""


class ExcludedError(Exception):
    """What the breaker does not count."""


ENDS: dict[Ending, BaseException | None] = {"success": None, "failure": FailedError(), "excluded": ExcludedError()}


@dataclass(eq=False)
class Call:
    """One that was let through."""

    began: int
    generation: int


class Model:
    """A log of one generation, and the state."""

    def __init__(self, max_requests: int, interval: int, period: int, timeout: int, limit: int) -> None:
        self.max_requests, self.interval, self.period, self.timeout, self.limit = (
            *(max_requests, interval, period, timeout, limit),
        )
        self.state = "closed"
        self.generation = 0
        self.looked = 0
        self.begin(0)

    def begin(self, now: int) -> None:
        self.generation += 1
        self.start = self.looked = now
        self.calls: list[Call] = []
        self.ends: list[tuple[Call, Ending]] = []

    def become(self, state: str, now: int) -> None:
        self.state = state
        self.begin(now)

    def look(self, now: int) -> None:
        """Time passes only when somebody looks."""
        if self.state == "open" and now > self.start + self.timeout:
            self.become("half-open", now)
        elif self.state == "closed" and self.interval and not self.period and now > self.start + self.interval:
            self.begin(now)
        else:
            self.looked = max(now, self.looked)

    def visible(self, call: Call) -> bool:
        """Whether the window has not left it behind."""
        if not self.period or self.state != "closed":
            return True
        age = (self.looked - self.start) // self.period - (call.began - self.start) // self.period
        return age < -(-self.interval // self.period)

    def counts(self) -> Counts:
        ends = [end for call, end in self.ends if self.visible(call)]
        decided = [end for end in ends if end != "excluded"]
        row = next((place for place, end in enumerate(reversed(decided)) if end != decided[-1]), len(decided))
        last = decided[-1] if decided else None
        return Counts(
            sum(map(self.visible, self.calls)),
            ends.count("success"),
            ends.count("failure"),
            ends.count("excluded"),
            row if last == "success" else 0,
            row if last == "failure" else 0,
        )

    def ask(self, now: int) -> Call | None:
        self.look(now)
        if self.state == "open" or (self.state == "half-open" and self.counts().valid_requests >= self.max_requests):
            return None
        call = Call(now, self.generation)
        self.calls.append(call)
        return call

    def end(self, call: Call, how: Ending, now: int) -> None:
        self.look(now)
        if call.generation != self.generation or not self.visible(call):
            return
        if how == "failure" and self.state == "half-open":
            self.become("open", now)
            return
        self.ends.append((call, how))
        if self.state == "half-open":
            if self.counts().consecutive_successes >= self.max_requests:
                self.become("closed", now)
        elif how == "failure" and self.counts().consecutive_failures >= self.limit:
            self.become("open", now)


@pytest.mark.parametrize("window", ["none", "fixed", "rolling"])
@pytest.mark.parametrize("seed", range(4))
def test_sequences(seed: int, window: str) -> None:
    """Four hundred steps: who is let through, the state, the counts."""
    draw = random.Random(f"{seed} {window}")
    interval = 0 if window == "none" else 10 * SECOND
    period = 3 * SECOND if window == "rolling" else 0
    max_requests, timeout, limit = draw.randrange(1, 4), draw.choice([1, 5]) * SECOND, draw.randrange(2, 5)
    now = 0
    breaker = CircuitBreaker(
        max_requests=max_requests,
        interval=interval / SECOND,
        bucket_period=period / SECOND,
        timeout=timeout / SECOND,
        ready_to_trip=lambda counts: counts.consecutive_failures >= limit,
        is_excluded=lambda error: isinstance(error, ExcludedError),
        clock=lambda: now / SECOND,
    )
    model = Model(max_requests, interval, period, timeout, limit)
    assert breaker.state == "closed"
    under_way: list[tuple[Any, Call]] = []
    states = set[str]()
    for _ in range(400):
        now += draw.choice([0, 0, 0, SECOND, draw.randrange(SECOND), draw.randrange(SECOND)])
        now += timeout + draw.randrange(2) if draw.random() < 0.1 else 0
        match draw.choice(["ask", "ask", "end", "end", "end", "look"]):
            case "ask":
                call = model.ask(now)
                try:
                    under_way.append((breaker.allow(), call))
                    assert call is not None
                except CircuitBreakerError:
                    assert call is None
            case "end" if under_way:
                # In the order in which they began, or the rows of results would depend on the buckets.
                done, call = under_way.pop(0)
                how: Ending = draw.choice(["success", "failure", "failure", "excluded"])
                assert call is not None
                done(ENDS[how])
                model.end(call, how, now)
            case _:
                model.look(now)
                assert breaker.state == model.state
        assert breaker.counts == model.counts()
        breaker._state._check()
        states.add(model.state)
    assert states == {"closed", "half-open", "open"}
