"""Limiters: what they grant, by which clock, and what they refuse. Waiting is in ``test_limiter_wait.py``."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
import sys
import time
from fractions import Fraction
from typing import Any

import anyio
import pytest
from tests.threads import Call

import gochan
from gochan import Limiter, every
from gochan._clocked import FOREVER, in_nanoseconds
from gochan._token_bucket import TokenBucket


class Clock:
    """Set by hand."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


# ---- granting ----


def test_it_starts_full_and_fills_up_to_the_burst() -> None:
    """Tokens come at the rate; those above the burst are lost."""
    clock = Clock()
    limiter = Limiter(2, 4, clock=clock)
    assert (limiter.rate, limiter.burst, limiter.tokens) == (2.0, 4, 4.0)
    assert limiter.allow(3)
    assert limiter.tokens == 1
    clock.now = 0.5
    assert limiter.tokens == 2
    clock.now = 100
    assert limiter.tokens == 4


def test_the_tokens_at_the_start() -> None:
    """An empty bucket fills from the first use on, however long ago it was made."""
    clock = Clock()
    limiter = Limiter(10, 3, tokens=0, clock=clock)
    clock.now = 50
    assert not limiter.allow()
    clock.now = 50.1
    assert limiter.allow()
    assert not limiter.allow()
    assert Limiter(10, 3, tokens=2.5, clock=clock).tokens == 2.5
    assert Limiter(10, 3, tokens=Fraction(1, 2), clock=clock).tokens == 0.5  # type: ignore[arg-type]


def test_looking_at_the_tokens_is_a_use() -> None:
    """It starts the clock, and changes nothing else."""
    clock = Clock()
    limiter = Limiter(10, 3, tokens=0, clock=clock)
    assert limiter.tokens == 0
    clock.now = 0.2
    assert limiter.tokens == limiter.tokens == 2


def test_nothing_can_be_asked_for() -> None:
    """0 events may happen, unless the bucket is in debt; then they have to wait, too."""
    clock = Clock()
    limiter = Limiter(10, 1, clock=clock)
    assert limiter.allow(0)
    limiter.reserve()
    limiter.reserve()
    assert not limiter.allow(0)
    assert limiter.reserve(0).delay == 0.1


def test_a_reservation_counts_down() -> None:
    """Its delay is from now, whenever it is asked; it stays at 0."""
    clock = Clock()
    limiter = Limiter(10, 1, clock=clock)
    now, later = limiter.reserve(), limiter.reserve()
    assert (now.ok, now.delay, later.ok, later.delay) == (True, 0, True, 0.1)
    clock.now = 0.04
    assert later.delay == 0.06
    clock.now = 3
    assert later.delay == 0


def test_what_is_refused() -> None:
    """More than the burst: no delay helps, nothing is taken, and there is nothing to cancel."""
    limiter = Limiter(10, 2, clock=Clock())
    refused = limiter.reserve(3)
    assert (refused.ok, refused.delay) == (False, math.inf)
    refused.cancel()
    assert limiter.tokens == 2
    assert not limiter.allow(10**400)
    assert not limiter.reserve(10**400).ok


def test_a_reservation_is_cancelled_once() -> None:
    """In Go a second Cancel gives the tokens again."""
    limiter = Limiter(10, 4, clock=Clock())
    limiter.reserve(4)
    reservation = limiter.reserve(2)
    for _ in range(3):
        reservation.cancel()
        assert limiter.tokens == 0


def test_cancelled_from_the_last_to_the_first() -> None:
    """As if they had never been: the one before it is the last one then, at this very moment as well."""
    limiter = Limiter(10, 3, clock=Clock())
    first, second, third = limiter.reserve(3), limiter.reserve(1), limiter.reserve(2)
    for reservation, tokens in ((third, -1), (second, 0), (first, 3)):
        reservation.cancel()
        assert limiter.tokens == tokens


def test_the_longest_delays_are_given_back_as_go_does() -> None:
    """Two that are both due in 292 years, 1 ns apart by the shortest of Go's durations."""
    limiter = Limiter(1e-10, 3, tokens=0, clock=Clock())
    first, second = limiter.reserve(2), limiter.reserve(2)
    assert first.delay == second.delay == FOREVER / 1e9
    second.cancel()
    assert limiter.tokens == -2
    first.cancel()
    assert limiter.tokens == 0


def test_no_limit() -> None:
    """The burst does not count; the largest float is Go's infinite rate."""
    for rate in (math.inf, sys.float_info.max, 10**400):
        limiter = Limiter(rate, 0, clock=Clock())
        assert limiter.rate == math.inf
        assert limiter.allow(10**6)
        reservation = limiter.reserve(10**6)
        assert (reservation.ok, reservation.delay, limiter.tokens) == (True, 0, 0)
        reservation.cancel()


def test_from_no_limit_to_one_at_the_same_moment() -> None:
    """Nothing times infinity is no number: it counts as nothing."""
    clock = Clock()
    limiter = Limiter(1, 2, tokens=0, clock=clock)
    limiter.set_rate(math.inf)
    limiter.set_rate(1)
    assert limiter.tokens == 0
    limiter.set_rate(math.inf)
    clock.now = 1e-9
    limiter.set_rate(1)
    assert limiter.tokens == 2


def test_a_rate_of_0_grants_what_never_comes() -> None:
    """As Go: what is within the burst is granted, for the longest time there is."""
    limiter = Limiter(0, 1, clock=Clock())
    assert limiter.allow()
    assert not limiter.allow()
    reservation = limiter.reserve()
    assert reservation.ok
    assert reservation.delay == FOREVER / 1e9 > 290 * 365 * 86400
    reservation.cancel()
    assert limiter.tokens == 0


def test_another_rate_and_another_burst() -> None:
    """From now on: what came in at the old rate stays; a smaller burst takes what no longer has room."""
    clock = Clock()
    limiter = Limiter(10, 10, tokens=0, clock=clock)
    assert limiter.tokens == 0
    clock.now = 0.5
    limiter.set_rate(1)
    clock.now = 1.5
    assert limiter.tokens == 6
    limiter.set_burst(4)
    assert (limiter.burst, limiter.tokens) == (4, 4)
    assert not limiter.allow(5)
    limiter.set_burst(0)
    assert not limiter.allow()


def test_every() -> None:
    """The reciprocal; of whole nanoseconds exactly as Go has it."""
    assert every(0.1) == 10
    assert every(2) == 0.5
    assert every(math.inf) == 0
    assert every(1e-300) == pytest.approx(1e300)
    assert every(Fraction(1, 4)) == 4  # type: ignore[arg-type]


# ---- clocks ----


@pytest.mark.gochan
async def test_the_loop_s_clock() -> None:
    """By default time is the loop's, so also virtual."""
    limiter = Limiter(every(3600), 1)
    assert limiter.allow()
    await gochan.sleep(3599.9)
    assert not limiter.allow()
    await gochan.sleep(0.1)
    assert limiter.allow()


def test_without_a_loop() -> None:
    """Plain code can ask, too: by ``time.monotonic``."""
    limiter = Limiter(1000, 1)
    assert limiter.allow()
    start = time.monotonic()
    while not limiter.allow():
        pass
    assert 0.0009 < time.monotonic() - start < 5


def test_float_noise_is_rounded_away() -> None:
    """0.1 + 0.2 s are 300 ms: a token that is due then is there."""
    clock = Clock()
    limiter = Limiter(10, 3, tokens=0, clock=clock)
    assert not limiter.allow()
    clock.now = 0.1 + 0.2
    assert clock.now > 0.3
    assert limiter.tokens == 3
    late = Clock(1e6)
    limiter = Limiter(10, 3, tokens=0, clock=late)
    assert not limiter.allow()
    late.now = 1e6 + 0.3
    assert limiter.tokens == 3


@pytest.mark.parametrize("seconds", [math.nan, math.inf, "3", None])
def test_a_clock_that_gives_no_time(seconds: Any) -> None:
    """A ValueError that says so; the limiter is as it was."""
    clock = Clock()
    limiter = Limiter(10, 3, clock=clock)
    assert limiter.allow()
    clock.now = seconds
    with pytest.raises(ValueError, match="must give a number of seconds"):
        limiter.allow()
    clock.now = 0
    assert limiter.tokens == 2


def test_a_clock_that_fails() -> None:
    """Its error comes out; nothing is taken."""
    broken = False

    def clock() -> float:
        if broken:
            raise OSError("no clock")
        return 1.0

    limiter = Limiter(10, 3, clock=clock)
    reservation = limiter.reserve()
    broken = True
    for operation in (limiter.allow, limiter.reserve, reservation.cancel, lambda: limiter.set_rate(3)):
        with pytest.raises(OSError, match="no clock"):
            operation()
    assert "1 event" in repr(reservation)
    broken = False
    assert (limiter.tokens, limiter.rate) == (2, 10)


@pytest.mark.gochan
async def test_float_noise_of_the_loop_is_rounded_away() -> None:
    """0.7 s and 0.1 s add up to a little less than 0.8."""
    limiter = Limiter(10, 9, tokens=0)
    assert limiter.tokens == 0
    await gochan.sleep(0.7)
    await gochan.sleep(0.1)
    assert anyio.current_time() < 0.8
    assert limiter.tokens == 8


def test_between_two_runs_of_a_loop() -> None:
    """CK2: the loop lives, so its clock counts; when it is closed, time goes on by ``time.monotonic``."""

    class Loop(asyncio.SelectorEventLoop):
        ahead = 0.0

        def time(self) -> float:
            return super().time() + self.ahead

    async def use() -> float:
        return limiter.tokens

    loop, limiter = Loop(), Limiter(1, 9, tokens=0)
    try:
        assert loop.run_until_complete(use()) == 0
        loop.ahead = 3.0
        assert limiter.tokens == pytest.approx(3, abs=0.9)
        loop.ahead = 5.0
        assert loop.run_until_complete(use()) == pytest.approx(5, abs=0.9)
    finally:
        loop.close()
    loop.ahead = 8.0
    assert limiter.tokens == pytest.approx(5, abs=0.9)


# ---- loops and threads ----


@pytest.mark.parametrize("second", ["asyncio", "trio"])
@pytest.mark.parametrize("first", ["asyncio", "trio"])
def test_the_next_loop_takes_it_over(first: str, second: str) -> None:
    """Tokens and reservations stay; between the last use there and the first one here no time passes."""
    pytest.importorskip("trio")
    limiter = Limiter(0.001, 2)

    async def use() -> gochan.Reservation:
        assert limiter.allow(2)
        with anyio.move_on_after(0.001):
            await limiter.wait()  # now it belongs to this loop
        return limiter.reserve()

    reservation = anyio.run(use, backend=first)
    time.sleep(0.002)

    async def go_on() -> None:
        assert limiter.tokens == pytest.approx(-1, abs=0.1)
        assert reservation.delay == pytest.approx(1000, abs=100)
        reservation.cancel()
        assert limiter.tokens == pytest.approx(0, abs=0.1)
        with anyio.move_on_after(0.001):
            await limiter.wait()
        limiter._state._check()

    anyio.run(go_on, backend=second)
    assert limiter.tokens == pytest.approx(0, abs=0.1)  # and without a loop


def test_a_clock_of_one_s_own_is_not_exchanged() -> None:
    """Time goes on by it from loop to loop."""
    clock = Clock()
    limiter = Limiter(10, 4, tokens=0, clock=clock)

    async def use() -> float:
        return limiter.tokens

    assert anyio.run(use) == 0
    clock.now = 0.3
    assert anyio.run(use) == 3


async def test_another_thread_is_refused_while_it_is_waited_for() -> None:
    """With the remedy; rate, burst and repr can be read anywhere."""
    limiter = Limiter(every(3600), 1)
    assert limiter.allow()

    def elsewhere() -> None:
        for operation in (limiter.allow, limiter.reserve, reservation.cancel, lambda: limiter.set_burst(3)):
            with pytest.raises(RuntimeError, match="another thread"):
                operation()
        with pytest.raises(RuntimeError, match="another thread"):
            asyncio.run(limiter.wait())
        assert (limiter.rate, limiter.burst) == (every(3600), 1)
        assert "waiting=1" in repr(limiter)
        assert "1 event" in repr(reservation)

    with anyio.fail_after(5):
        async with gochan.Group() as group:
            group.go(limiter.wait)
            await anyio.wait_all_tasks_blocked()
            reservation = limiter.reserve()
            await Call(elsewhere).result()
            reservation.cancel()
            assert limiter.tokens == pytest.approx(-1, abs=0.1)
            group.cancel()


# ---- the rest ----


def test_it_cannot_be_copied() -> None:
    """A copy would share the tokens."""
    limiter = Limiter(1, 1)
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(limiter)


def test_reprs() -> None:
    """What there is, and for reservations what becomes of it."""
    clock = Clock()
    limiter = Limiter(2.5, 2, clock=clock)
    assert repr(limiter) == "<Limiter 2.5/s burst=2 waiting=0>"
    assert repr(Limiter(math.inf, 0)) == "<Limiter inf/s burst=0 waiting=0>"
    assert repr(limiter.reserve(2)) == "<Reservation of 2 events, due>"
    reservation = limiter.reserve()
    assert repr(reservation) == "<Reservation of 1 event, in 0.4 s>"
    clock.now = 0.1
    assert repr(reservation) == "<Reservation of 1 event, in 0.3 s>"
    reservation.cancel()
    assert repr(reservation) == "<Reservation of 1 event, cancelled>"
    assert repr(limiter.reserve(3)) == "<Reservation refused>"


# ---- nanoseconds ----


def test_no_patience_left() -> None:
    """Whose deadline has passed, though the loop has not said so yet, gets nothing, not even what is there: Go's."""
    bucket = TokenBucket(1.0, 1, 1.0)
    assert bucket.take(0, 1, -1) is None
    assert bucket.grant(0, 1, -1) is None
    assert bucket.take(0, 1, 0) == 0


def test_durations_in_nanoseconds() -> None:
    """The nearest; what is longer than nothing stays so, and nothing is longer than for ever."""
    assert in_nanoseconds(0.1 + 0.2) == 300_000_000
    assert in_nanoseconds(1e-12) == 1
    assert in_nanoseconds(0) == 0
    assert in_nanoseconds(math.inf) == in_nanoseconds(1e300) == FOREVER
