"""Go's tests of golang.org/x/time/rate, told in their numbers.

Times are in steps of 100 ms, as Go's tests have them: T(3) is 300 ms after the start.
"""

from __future__ import annotations

import math
from typing import Literal

import anyio
import pytest

import gochan
from gochan import Context, DeadlineExceeded, Limiter, Reservation, background, every
from gochan.testing import run

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Clock:
    """Set by hand; in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Timed:
    """A limiter, and what to ask of it at which time."""

    def __init__(self, rate: float, burst: int) -> None:
        self.clock = Clock()
        self.limiter = Limiter(rate, burst, clock=self.clock)

    def at(self, step: float) -> Limiter:
        self.clock.now = 100.0 + step / 10
        return self.limiter

    def table(self, *rows: tuple[float, float, int, bool]) -> None:
        """At each step: the tokens before, how many are asked for, and whether they are given."""
        for number, (step, tokens, n, allowed) in enumerate(rows):
            limiter = self.at(step)
            assert limiter.tokens == tokens, number
            assert limiter.allow(n) is allowed, number

    def reserve(self, step: float, n: int, act: float | None) -> Reservation:
        """Reserve at a step, to act at another; ``None`` is refused."""
        reservation = self.at(step).reserve(n)
        assert reservation.ok is (act is not None)
        if act is None:
            assert reservation.delay == math.inf
        else:
            assert reservation.delay == pytest.approx(max(act - step, 0) / 10, abs=2e-9)
        return reservation


# ---- rates ----


def test_a_rate_is_not_infinite_unless_it_says_so() -> None:
    """TestLimit."""
    assert Limiter(10, 1).rate == 10
    assert Limiter(math.inf, 1).rate == math.inf


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [
        *((1e-9, 1e9), (1e-6, 1e6), (1e-3, 1e3), (0.01, 100), (0.1, 10), (1, 1), (2, 0.5), (2.5, 0.4), (4, 0.25)),
        *((10, 0.1), (9223372036.854775807, 1e9 / (2**63 - 1))),
    ],
)
def test_every(seconds: float, rate: float) -> None:
    """TestEvery, but for the periods that are none: they are an error here."""
    assert every(seconds) == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize("seconds", [0, -1e-9, -1])
def test_every_no_time(seconds: float) -> None:
    """Go says "infinitely often"; whoever means that writes ``math.inf``."""
    with pytest.raises(ValueError, match="positive number of seconds"):
        every(seconds)


# ---- allow ----


def test_burst_of_1() -> None:
    """TestLimiterBurst1."""
    Timed(10, 1).table(
        *((0, 1, 1, True), (0, 0, 1, False), (0, 0, 1, False)),
        *((1, 1, 1, True), (1, 0, 1, False), (1, 0, 1, False)),
        *((2, 1, 2, False), (2, 1, 1, True), (2, 0, 1, False)),  # 2 at once never go
    )


def test_burst_of_3() -> None:
    """TestLimiterBurst3."""
    Timed(10, 3).table(
        *((0, 3, 2, True), (0, 1, 2, False), (0, 1, 1, True), (0, 0, 1, False), (1, 1, 4, False), (2, 2, 1, True)),
        *((3, 2, 1, True), (4, 2, 1, True), (4, 1, 1, True), (4, 0, 1, False), (4, 0, 1, False)),
        *((9, 3, 3, True), (9, 0, 0, True)),
    )


def test_a_clock_that_jumps_back() -> None:
    """TestLimiterJumpBackwards."""
    Timed(10, 3).table(
        *((1, 3, 1, True), (0, 2, 1, True), (0, 1, 1, True), (0, 0, 1, False), (0, 0, 1, False)),
        *((1, 1, 1, True), (1, 0, 1, False), (1, 0, 1, False), (2, 1, 1, True), (2, 0, 1, False), (2, 0, 1, False)),
    )


def test_nothing_is_lost_by_truncation() -> None:
    """TestLimiter_noTruncationErrors."""
    assert Limiter(0.7692307692307693, 1).allow()


async def test_simultaneous_requests() -> None:
    """TestSimultaneousRequests: of 15 that come at once the burst goes."""
    limiter = Limiter(1, 5)
    async with gochan.Group() as group:

        async def ask() -> bool:
            return limiter.allow()

        asked = [group.go(ask) for _ in range(15)]
    assert sum([await goroutine.result() for goroutine in asked]) == 5


def test_in_the_long_run() -> None:
    """TestLongRunningQPS: 5 s at 500 requests a second, of which 100 a second go, and 100 more at the start."""
    timed = Timed(100, 100)
    allowed = sum(timed.at(step / 50).allow() for step in range(2500))
    ideal = 100 + 100 * 5
    assert int(0.999 * ideal) <= allowed <= ideal + 1


def test_a_rate_of_0() -> None:
    """TestZeroLimit: the burst, once."""
    limiter = Limiter(0, 1)
    assert limiter.allow()
    assert not limiter.allow()


def test_a_tiny_rate() -> None:
    """TestTinyLimit: no overflow gives more than the burst."""
    limiter = Limiter(1e-10, 1)
    assert limiter.allow()
    assert not limiter.allow()


# ---- reserve ----


def test_simple_reserve() -> None:
    """TestSimpleReserve."""
    timed = Timed(10, 2)
    timed.reserve(0, 2, 0)
    timed.reserve(0, 2, 2)
    timed.reserve(3, 2, 4)


def test_mix() -> None:
    """TestMix: more than the burst is refused and changes nothing; debts are not lent on."""
    timed = Timed(10, 2)
    timed.reserve(0, 3, None)
    timed.reserve(0, 2, 0)
    timed.table((1, 1, 2, False))
    timed.reserve(1, 2, 2)
    timed.table((1, -1, 1, False))
    timed.table((3, 1, 1, True))


def test_cancel_what_was_refused() -> None:
    """TestCancelInvalid."""
    timed = Timed(10, 2)
    timed.reserve(0, 2, 0)
    timed.reserve(0, 3, None).cancel()
    timed.reserve(0, 2, 2)


def test_cancel_the_last() -> None:
    """TestCancelLast: both tokens come back."""
    timed = Timed(10, 2)
    timed.reserve(0, 2, 0)
    reservation = timed.reserve(0, 2, 2)
    timed.at(1)
    reservation.cancel()
    timed.reserve(1, 2, 2)


def test_cancel_too_late() -> None:
    """TestCancelTooLate: its time has passed, so nothing comes back."""
    timed = Timed(10, 2)
    timed.reserve(0, 2, 0)
    reservation = timed.reserve(0, 2, 2)
    timed.at(3)
    reservation.cancel()
    timed.reserve(3, 2, 4)


def test_cancel_gives_back_nothing() -> None:
    """TestCancel0Tokens: the one after it counts on all of it."""
    timed = Timed(10, 2)
    timed.reserve(0, 2, 0)
    reservation = timed.reserve(0, 1, 1)
    timed.reserve(0, 1, 2)
    reservation.cancel()
    timed.reserve(0, 1, 3)


def test_cancel_gives_back_a_part() -> None:
    """TestCancel1Token."""
    timed = Timed(10, 2)
    timed.reserve(0, 2, 0)
    reservation = timed.reserve(0, 2, 2)
    timed.reserve(0, 1, 3)
    timed.at(2)
    reservation.cancel()
    timed.reserve(2, 2, 4)


def test_cancel_two() -> None:
    """TestCancelMulti: the second comes back as if the first had never been."""
    timed = Timed(10, 4)
    timed.reserve(0, 4, 0)
    first = timed.reserve(0, 3, 3)
    timed.reserve(0, 1, 4)
    last = timed.reserve(0, 1, 5)
    timed.at(1)
    last.cancel()
    first.cancel()
    timed.reserve(1, 3, 5)


def test_reserve_after_a_jump_back() -> None:
    """TestReserveJumpBack; what is refused, or too far away for the asker, changes nothing."""
    timed = Timed(10, 2)
    timed.reserve(1, 2, 1)
    timed.reserve(0, 1, 1)
    timed.reserve(2, 2, 3)
    timed.reserve(0, 3, None)
    timed.reserve(2, 1, 4)
    bucket = timed.at(0)._state.bucket
    assert bucket.grant(timed.limiter._state.now(), 2, 100_000_000) is None
    timed.reserve(2, 1, 5)


def test_cancel_after_a_jump_back() -> None:
    """TestReserveJumpBackCancel."""
    timed = Timed(10, 2)
    timed.reserve(1, 2, 1)
    reservation = timed.reserve(1, 2, 3)
    timed.reserve(1, 1, 4)
    timed.at(0)
    reservation.cancel()
    timed.reserve(1, 2, 4)


def test_set_rate_with_reservations() -> None:
    """TestReserveSetLimit: they keep their times."""
    timed = Timed(5, 2)
    timed.reserve(0, 2, 0)
    timed.reserve(0, 2, 4)
    timed.at(2).set_rate(10)
    timed.reserve(2, 1, 4)


def test_set_burst_with_reservations() -> None:
    """TestReserveSetBurst."""
    timed = Timed(5, 2)
    timed.reserve(0, 2, 0)
    timed.reserve(0, 2, 4)
    timed.at(3).set_burst(4)
    timed.reserve(0, 4, 9)


def test_cancel_at_another_rate() -> None:
    """TestReserveSetLimitCancel: as many come back as were taken."""
    timed = Timed(5, 2)
    timed.reserve(0, 2, 0)
    reservation = timed.reserve(0, 2, 4)
    timed.at(2).set_rate(10)
    reservation.cancel()
    timed.reserve(2, 2, 3)


def test_reserve_within() -> None:
    """TestReserveMax: what would come too late is not taken."""
    timed = Timed(10, 2)
    bucket, now = timed.at(0)._state.bucket, timed.limiter._state.now()
    for n, delay in ((2, 0), (1, 100_000_000), (1, None)):
        grant = bucket.grant(now, n, 100_000_000)
        assert (grant and grant.at - now) == delay


# ---- wait ----


async def took(limiter: Limiter, n: int, ctx: Context | None = None) -> float:
    """The seconds that a wait took."""
    start = anyio.current_time()
    await limiter.wait(n, ctx=ctx)
    return round(anyio.current_time() - start, 9)


@backends
def test_wait(backend: Backend) -> None:
    """TestWaitSimple."""

    async def main() -> None:
        limiter = Limiter(10, 3)
        with background().with_cancel() as ctx:
            ctx.cancel()
            with pytest.raises(gochan.Cancelled):
                await limiter.wait(ctx=ctx)
        with pytest.raises(ValueError, match=r"wait\(n=4\).*burst, 3"):
            await limiter.wait(4)
        assert await took(limiter, 2, background()) == 0
        assert await took(limiter, 3) == 0.2

    run(main, backend=backend)


@backends
def test_wait_is_cancelled(backend: Backend) -> None:
    """TestWaitCancel: the tokens come back."""

    async def main() -> None:
        limiter = Limiter(10, 3)
        ctx = background().with_cancel()
        assert await took(limiter, 2, ctx) == 0

        async def cancel() -> None:
            await gochan.sleep(0.1)
            ctx.cancel()

        gochan.go(cancel)
        with pytest.raises(gochan.Cancelled):
            await limiter.wait(3, ctx=ctx)
        assert anyio.current_time() == pytest.approx(0.1)
        assert limiter.tokens == 2
        assert await took(limiter, 2) == 0

    run(main, backend=backend)


@backends
def test_wait_would_be_too_long(backend: Backend) -> None:
    """TestWaitTimeout: said at once."""

    async def main() -> None:
        limiter = Limiter(10, 3)
        with background().with_timeout(0.1) as ctx:
            assert await took(limiter, 2, ctx) == 0
            with pytest.raises(DeadlineExceeded, match="nothing was taken"):
                await limiter.wait(3, ctx=ctx)
        assert anyio.current_time() == 0
        assert limiter.tokens == 1

    run(main, backend=backend)


@backends
def test_wait_without_a_limit(backend: Backend) -> None:
    """TestWaitInf: the burst does not count."""

    async def main() -> None:
        assert await took(Limiter(math.inf, 0), 3) == 0

    run(main, backend=backend)


@backends
def test_wait_after_a_rate_of_0(backend: Backend) -> None:
    """TestSetAfterZeroLimit."""

    async def main() -> None:
        limiter = Limiter(0, 1)
        assert limiter.allow()
        assert not limiter.allow()
        limiter.set_rate(10)
        assert await took(limiter, 1) == 0.1

    run(main, backend=backend)
