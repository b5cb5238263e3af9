"""The tests of sony/gobreaker v2, told in their numbers."""

from __future__ import annotations

from typing import Any, Literal

import anyio.lowlevel
import pytest

import gochan
from gochan import CircuitBreaker, CircuitOpen, Counts, Group, TooManyRequests
from gochan.testing import run

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class FailedError(Exception):
    """What a call raises."""


class ExcludedError(Exception):
    """What the breaker does not count."""


class Bench:
    """A breaker, a clock to be set, what it said of its changes, and three kinds of calls."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.changes = list[tuple[str, str, str]]()
        self.breaker = CircuitBreaker(
            on_state_change=lambda name, old, new: self.changes.append((name, old, new)),
            clock=lambda: self.now,
            **options,
        )
        assert self.breaker.state == "closed"  # Go's clock starts when the breaker is made

    async def succeed(self) -> None:
        await self.breaker.call(lambda: None)

    async def fail(self) -> None:
        async def fail() -> None:
            raise FailedError

        with pytest.raises(FailedError):
            await self.breaker.call(fail)

    async def exclude(self) -> None:
        async def exclude() -> None:
            raise ExcludedError

        with pytest.raises(ExcludedError):
            await self.breaker.call(exclude)

    def counts(self, *expected: int) -> None:
        """Requests, successes, failures, exclusions; successes and failures in a row."""
        assert self.breaker.counts == Counts(*expected)

    def is_in(self, state: str) -> None:
        assert self.breaker.state == state
        self.breaker._state._check()


def excluded(error: BaseException | None) -> bool:
    return isinstance(error, ExcludedError)


def six_in_ten(counts: Counts) -> bool:
    return counts.valid_requests >= 3 and counts.total_failures / counts.valid_requests >= 0.6


def custom(**options: Any) -> Bench:
    settings = {"max_requests": 3, "interval": 30, "timeout": 90, "ready_to_trip": six_in_ten, "is_excluded": excluded}
    return Bench(name="cb", **settings, **options)


def test_the_names_of_the_states() -> None:
    """TestStateConstants: the words that Go prints."""
    bench = Bench(timeout=1, ready_to_trip=lambda _: True)
    assert bench.breaker.state == "closed"
    bench.breaker.allow()(FailedError())
    assert bench.breaker.state == "open"
    bench.now += 1.1
    assert bench.breaker.state == "half-open"


def test_defaults() -> None:
    """TestNewCircuitBreaker: what is not said, and what is said as 0."""
    for breaker in (CircuitBreaker(), CircuitBreaker(max_requests=0, timeout=0, interval=0)):
        settings = breaker._state.settings
        assert breaker.name == ""
        assert settings.max_requests == 1
        assert settings.interval == 0
        assert settings.timeout == 60_000_000_000
        assert breaker.state == "closed"
        assert breaker.counts == Counts()
        assert breaker._state.expiry is None
    rolling = custom(bucket_period=3).breaker
    assert len(rolling._state.counts.buckets) == 10
    assert rolling._state.expiry is None
    assert custom().breaker._state.expiry == 30_000_000_000


def test_an_interval_is_rounded_up_to_bucket_periods() -> None:
    """7 s in periods of 3 s are 9 s."""
    settings = CircuitBreaker(interval=7, bucket_period=3)._state.settings
    assert (settings.interval, settings.buckets) == (9_000_000_000, 3)
    settings = CircuitBreaker(interval=7, bucket_period=20)._state.settings
    assert (settings.interval, settings.buckets) == (20_000_000_000, 1)


async def test_default_breaker() -> None:
    """TestDefaultCircuitBreaker: it opens at the sixth failure in a row, for a minute."""
    bench = Bench()
    for _ in range(5):
        await bench.fail()
    bench.is_in("closed")
    bench.counts(5, 0, 5, 0, 0, 5)
    await bench.succeed()
    bench.counts(6, 1, 5, 0, 1, 0)
    await bench.fail()
    bench.counts(7, 1, 6, 0, 0, 1)
    for _ in range(5):
        await bench.fail()
    bench.is_in("open")
    bench.counts()
    for _ in range(2):
        with pytest.raises(CircuitOpen):
            await bench.breaker.call(lambda: None)
    bench.counts()

    bench.now += 59.999
    bench.is_in("open")
    bench.now += 1
    bench.is_in("half-open")
    await bench.fail()
    bench.is_in("open")
    bench.counts()
    bench.now += 60.000000001
    bench.is_in("half-open")
    await bench.succeed()
    bench.is_in("closed")
    bench.counts()


async def test_custom_breaker() -> None:
    """TestCustomCircuitBreaker: an interval, a ratio, excluded errors, three calls that try."""
    bench = custom()
    for _ in range(5):
        await bench.succeed()
        await bench.fail()
        await bench.exclude()
    bench.counts(15, 5, 5, 5, 0, 1)
    bench.now += 29.999
    await bench.succeed()
    bench.counts(16, 6, 5, 5, 1, 0)
    bench.now += 1
    await bench.fail()
    bench.is_in("closed")
    bench.counts(1, 0, 1, 0, 0, 1)
    await bench.succeed()
    await bench.fail()
    bench.is_in("open")
    assert bench.changes == [("cb", "closed", "open")]

    bench.now += 90.000000001
    bench.is_in("half-open")
    assert bench.changes[-1] == ("cb", "open", "half-open")
    for _ in range(4):
        await bench.exclude()
    bench.is_in("half-open")
    await bench.fail()
    bench.is_in("open")
    bench.counts()
    assert bench.changes[-1] == ("cb", "half-open", "open")

    bench.now += 90.000000001
    bench.is_in("half-open")
    await bench.succeed()
    await bench.succeed()
    bench.counts(2, 2, 0, 0, 2, 0)
    third = bench.breaker.allow()
    bench.counts(3, 2, 0, 0, 2, 0)
    with pytest.raises(TooManyRequests):
        await bench.breaker.call(lambda: None)
    third(None)
    bench.is_in("closed")
    bench.counts()
    assert bench.changes[-1] == ("cb", "half-open", "closed")


async def test_rolling_window() -> None:
    """TestRollingWindowCircuitBreaker: ten buckets of 3 s; what is older is forgotten bucket by bucket."""
    bench = custom(bucket_period=3)

    def bucket(back: int, *expected: int) -> None:
        counts = bench.breaker._state.counts
        tally = counts.buckets[(counts.age - back) % 10]
        found = (tally.requests, tally.successes, tally.failures, tally.exclusions)
        assert (*found, tally.successes_in_a_row, tally.failures_in_a_row) == expected

    for _ in range(5):
        await bench.succeed()
        await bench.fail()
        await bench.exclude()
    bench.counts(15, 5, 5, 5, 0, 1)
    bucket(0, 15, 5, 5, 5, 0, 1)
    bench.now += 3
    await bench.succeed()
    bench.counts(16, 6, 5, 5, 1, 0)
    bucket(1, 15, 5, 5, 5, 0, 1)
    bucket(0, 1, 1, 0, 0, 1, 0)
    bench.now += 2
    await bench.succeed()
    await bench.exclude()
    bench.counts(18, 7, 5, 6, 2, 0)
    bucket(0, 3, 2, 0, 1, 2, 0)
    bench.now += 2
    await bench.exclude()
    await bench.succeed()
    bench.counts(20, 8, 5, 7, 3, 0)
    bucket(2, 15, 5, 5, 5, 0, 1)
    bucket(1, 3, 2, 0, 1, 2, 0)
    bucket(0, 2, 1, 0, 1, 1, 0)
    bench.now += 2
    await bench.fail()
    bench.counts(21, 8, 6, 7, 0, 1)
    bucket(0, 1, 0, 1, 0, 0, 1)
    for more in range(6):
        bench.now += 3
        await bench.succeed()
        await bench.fail()
        bench.counts(23 + 2 * more, 9 + more, 7 + more, 7, 0, 1)

    bench.now += 3  # the first bucket goes
    await bench.fail()
    bench.counts(19, 9, 8, 2, 0, 2)
    for more in range(5):
        await bench.fail()
        bench.counts(20 + more, 9, 9 + more, 2, 0, 3 + more)
    bench.is_in("closed")
    await bench.fail()  # 14 of 23
    bench.is_in("open")

    bench.now += 90.000000001
    bench.is_in("half-open")
    await bench.succeed()
    await bench.succeed()
    bench.counts(2, 2, 0, 0, 2, 0)
    third = bench.breaker.allow()
    with pytest.raises(TooManyRequests):
        await bench.breaker.call(lambda: None)
    third(None)
    bench.is_in("closed")
    bench.counts()
    assert [new for _, _, new in bench.changes] == ["open", "half-open", "closed"]


async def test_what_is_not_an_exception_is_a_failure() -> None:
    """TestPanicInRequest: Go's panic; here a SystemExit, for one."""
    bench = Bench()

    def panic() -> None:
        raise SystemExit("oops")

    with pytest.raises(SystemExit):
        await bench.breaker.call(panic)
    bench.counts(1, 0, 1, 0, 0, 1)


@backends
def test_a_result_of_an_earlier_generation(backend: Backend) -> None:
    """TestGeneration: it does not count; by the loop's clock."""

    async def main() -> None:
        breaker = CircuitBreaker(interval=30, timeout=90)
        assert breaker.state == "closed"
        await gochan.sleep(29)
        await breaker.call(lambda: None)

        async def later() -> None:
            await breaker.call(gochan.sleep, 1.5)

        gochan.go(later)
        await gochan.sleep(0.5)
        assert breaker.counts == Counts(2, 1, 0, 0, 1, 0)
        await gochan.sleep(0.6)
        assert breaker.state == "closed"
        assert breaker.counts == Counts()
        await gochan.sleep(1)
        assert breaker.counts == Counts()

    run(main, backend=backend)


async def test_what_counts_as_a_success() -> None:
    """TestCustomIsSuccessful: an error may be one, and a call without an error may be none."""
    bench = Bench(is_successful=lambda _: True)
    for _ in range(8):
        await bench.fail()
    bench.is_in("closed")
    bench.counts(8, 8, 0, 0, 8, 0)
    bench = Bench(is_successful=lambda error: error is not None)
    for _ in range(6):
        await bench.succeed()
    bench.is_in("open")


async def test_excluded_and_successful() -> None:
    """TestIsExcludedAndIsSuccessfulCombination: what is excluded is asked first."""
    bench = Bench(is_excluded=excluded, is_successful=lambda error: error is None)
    for _ in range(3):
        await bench.exclude()
    bench.counts(3, 0, 0, 3)
    for _ in range(3):
        await bench.succeed()
    bench.counts(6, 3, 0, 3, 3, 0)
    for _ in range(2):
        await bench.fail()
    bench.counts(8, 3, 2, 3, 0, 2)


@pytest.mark.parametrize("options", [{}, {"bucket_period": 3}], ids=["window", "rolling"])
async def test_in_parallel(options: dict[str, Any]) -> None:
    """TestCircuitBreakerInParallel and its rolling twin: many goroutines, and every call is counted."""
    bench = custom(**options)

    async def calls() -> None:
        for number in range(30):
            await (bench.exclude() if number % 2 else bench.breaker.call(anyio.lowlevel.checkpoint))

    async with Group() as group:
        for _ in range(10):
            group.go(calls)
    bench.counts(300, 150, 0, 150, 150, 0)
    bench.breaker._state._check()
