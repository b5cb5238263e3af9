"""What a circuit breaker counts: in one window, or in one that rolls.

Shape
    Totals, and a ring of buckets with the same counts. ``age`` says how many bucket periods have begun since the
    counting did; a bucket is used again when the ring has gone round, and what it held leaves the totals then. A
    result goes into the bucket of the age at which its request came; it is dropped when that one is gone.

Invariants
    RC1  Requests, successes, failures and exclusions in total are the sums over the buckets.
    RC2  Results in a row are those since the last of the other kind. When the oldest bucket leaves, it takes with it
        what it had of the row, if the row reaches back to it (told as Go tells it: by comparing totals).

Prior art
    sony/gobreaker's ``rollingCounts``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """How the calls of a circuit breaker ended, since its state last changed or its interval began.

    Go: ``gobreaker.Counts``.
    """

    requests: int = 0
    """Calls that were let through."""
    total_successes: int = 0
    total_failures: int = 0
    total_exclusions: int = 0
    """Those that count neither as a success nor as a failure."""
    consecutive_successes: int = 0
    """Since the last failure."""
    consecutive_failures: int = 0
    """Since the last success."""

    @property
    def valid_requests(self) -> int:
        """Calls that were let through and not excluded."""
        return max(self.requests - self.total_exclusions, 0)


class _Tally:
    """Counts in the making."""

    __slots__ = ("exclusions", "failures", "failures_in_a_row", "requests", "successes", "successes_in_a_row")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.requests = 0
        self.successes = 0
        self.failures = 0
        self.exclusions = 0
        self.successes_in_a_row = 0
        self.failures_in_a_row = 0

    def success(self) -> None:
        self.successes += 1
        self.successes_in_a_row += 1
        self.failures_in_a_row = 0

    def failure(self) -> None:
        self.failures += 1
        self.failures_in_a_row += 1
        self.successes_in_a_row = 0


class RollingCounts:
    """The totals, and the buckets they are made of."""

    __slots__ = ("age", "buckets", "total")

    def __init__(self, buckets: int) -> None:
        self.total = _Tally()
        self.age = 0
        self.buckets = [_Tally() for _ in range(buckets)]

    def counts(self) -> Counts:
        total = self.total
        return Counts(
            total.requests,
            total.successes,
            total.failures,
            total.exclusions,
            total.successes_in_a_row,
            total.failures_in_a_row,
        )

    def valid_requests(self) -> int:
        return self.total.requests - self.total.exclusions

    def request(self) -> None:
        self.total.requests += 1
        self.buckets[self.age % len(self.buckets)].requests += 1

    def success(self, age: int) -> None:
        bucket = self._bucket(age)
        if bucket is not None:
            self.total.success()
            bucket.success()

    def failure(self, age: int) -> None:
        bucket = self._bucket(age)
        if bucket is not None:
            self.total.failure()
            bucket.failure()

    def exclusion(self, age: int) -> None:
        bucket = self._bucket(age)
        if bucket is not None:
            self.total.exclusions += 1
            bucket.exclusions += 1

    def _bucket(self, age: int) -> _Tally | None:
        """The bucket of the requests of that age, while it is in the ring."""
        buckets = self.buckets
        return buckets[age % len(buckets)] if 0 <= self.age - age < len(buckets) else None

    def clear(self) -> None:
        self.age = 0
        self.total.clear()
        for bucket in self.buckets:
            bucket.clear()

    def grow(self, age: int) -> None:
        """So many periods have begun by now."""
        if age - self.age >= len(self.buckets):
            self.clear()
            self.age = age
        else:
            while self.age < age:
                self._roll()

    def _roll(self) -> None:
        self.age += 1
        oldest, total = self.buckets[self.age % len(self.buckets)], self.total
        # RC2. Go adds up the other buckets' totals; by RC1 they are what the oldest one lacks of all.
        if total.successes_in_a_row == oldest.successes_in_a_row + total.successes - oldest.successes:
            total.successes_in_a_row -= min(oldest.successes_in_a_row, total.successes_in_a_row)
        if total.failures_in_a_row == oldest.failures_in_a_row + total.failures - oldest.failures:
            total.failures_in_a_row -= min(oldest.failures_in_a_row, total.failures_in_a_row)
        total.requests -= oldest.requests
        total.successes -= oldest.successes
        total.failures -= oldest.failures
        total.exclusions -= oldest.exclusions
        oldest.clear()

    def _check(self) -> None:
        for name in ("requests", "successes", "failures", "exclusions"):
            parts = [getattr(bucket, name) for bucket in self.buckets]
            assert getattr(self.total, name) == sum(parts), f"RC1: {name}"
            assert min(parts) >= 0, f"RC1: {name}"
