"""Waiting at a limiter: how long, in which order, and what a cancellation gives back."""

from __future__ import annotations

import math
from typing import Any, Literal

import anyio.lowlevel
import pytest

import gochan
from gochan import Group, Limiter, background, every, find_leaks, go, goroutines, sleep
from gochan._core.driver import current_driver
from gochan._core.waitqueue import Entry, WaitQueue
from gochan.testing import CancelOutcome, cancel_sweep, explore, wait_idle

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def now() -> float:
    return anyio.current_time()


# ---- how long ----


@pytest.mark.gochan
async def test_it_waits_as_long_as_it_must() -> None:
    """Each at its moment, to the nanosecond, and those that need not wait do not."""
    limiter, times = Limiter(10, 2), list[float]()
    for _ in range(6):
        await limiter.wait()
        times.append(round(now(), 9))
    assert times == [0, 0, 0.1, 0.2, 0.3, 0.4]
    await sleep(10)
    await limiter.wait(2)
    assert now() == pytest.approx(10.4)
    await limiter.wait(0)
    assert now() == pytest.approx(10.4)


@pytest.mark.gochan
async def test_many_waits_do_not_drift() -> None:
    """A thousand thirds of a millisecond are a third of a second; Go truncates each to the nanosecond."""
    limiter = Limiter(3000, 1)
    for _ in range(1001):
        await limiter.wait()
    assert now() == pytest.approx(1 / 3, abs=1e-6)


async def test_in_real_time() -> None:
    """By the clock of a loop that nobody winds: not before its time."""
    limiter = Limiter(200, 1)
    start = now()
    with anyio.fail_after(5):
        for _ in range(4):
            await limiter.wait()
    assert now() - start > 0.0149


@pytest.mark.gochan
async def test_by_a_clock_of_one_s_own() -> None:
    """What is to be waited for is told by that clock; the loop's clock says when it has passed."""
    clock = [1000.0]
    limiter = Limiter(10, 1, clock=lambda: clock[0])
    await limiter.wait()
    await sleep(5)
    await limiter.wait()  # by its own clock no time has passed
    assert now() == pytest.approx(5.1)
    clock[0] += 0.2
    await limiter.wait()
    assert now() == pytest.approx(5.1)


@pytest.mark.gochan
async def test_one_clock_that_jumps_back_wakes_nobody_early() -> None:
    """Who waits is not bound to when others are due by that clock."""
    clock = [100.0]
    limiter, woken = Limiter(1, 1, tokens=0, clock=lambda: clock[0]), dict[str, float]()

    async def wait(name: str) -> None:
        await limiter.wait()
        woken[name] = round(now(), 6)

    async with Group() as group:
        group.go(wait, "before")  # due at 101 by the clock
        await wait_idle()
        clock[0] = 0.0
        group.go(wait, "after")  # due at 2
    assert woken == {"before": 1, "after": 2}


@pytest.mark.gochan
async def test_more_than_the_burst() -> None:
    """It would wait for ever, so it does not; a limiter without a limit has no burst."""
    limiter = Limiter(10, 2)
    with pytest.raises(ValueError, match=r"wait\(n=3\) on <Limiter 10/s burst=2 waiting=0> would wait for ever"):
        await limiter.wait(3)
    assert limiter.tokens == 2
    await Limiter(math.inf, 0).wait(3)
    with pytest.raises(ValueError, match="would wait for ever"):
        await Limiter(10, 0).wait()


@pytest.mark.gochan
async def test_a_new_rate_is_for_those_who_come_then() -> None:
    """Who waits keeps its time; at a higher rate those who come later may be faster."""
    limiter, woken = Limiter(0.1, 1), list[tuple[str, float]]()
    await limiter.wait()

    async def wait(name: str) -> None:
        await limiter.wait()
        woken.append((name, round(now(), 6)))

    async with Group() as group:
        group.go(wait, "slow")
        await wait_idle()
        limiter.set_rate(1)
        group.go(wait, "fast")
        await sleep(3)
        assert woken == [("fast", 2)]
        assert "waiting=1" in repr(limiter)
    assert woken == [("fast", 2), ("slow", 10)]


# ---- in which order ----


@backends
def test_first_come_first_served(backend: Backend) -> None:
    """In every schedule, one after the other, each at its time."""

    async def main() -> None:
        limiter, went = Limiter(10, 2, tokens=0), list[tuple[int, float]]()

        async def wait(number: int, n: int) -> None:
            await limiter.wait(n)
            went.append((number, round(now(), 9)))

        async with Group() as group:
            for number, n in enumerate((1, 2, 1, 1)):
                group.go(wait, number, n)
                await wait_idle()
        assert went == [(0, 0.1), (1, 0.3), (2, 0.4), (3, 0.5)]
        limiter._state._check()

    explore(main, backend=backend, runs=60)


class Sleeper(Entry):
    """Stands in the queue of a limiter, and notes when it was committed."""

    __slots__ = ("committed",)

    def __init__(self, committed: list[Sleeper], when: float) -> None:
        self.committed = committed
        self.item = when

    def commit(self, value: Any) -> None:
        self.committed.append(self)


def test_those_who_are_due_at_one_time_go_in_their_order() -> None:
    """LI1: whichever alarm of theirs comes first; and nobody goes before its time."""
    state, order = Limiter(1, 1)._state, list[Sleeper]()
    state.sleepers = WaitQueue()
    first, second, late, early = sleepers = [Sleeper(order, when) for when in (1.0, 1.0, 3.0, 2.0)]
    for sleeper in sleepers:
        state.sleepers.append(sleeper)
    state.wake(second, 1.0)
    assert order == [first, second]
    state.wake(first, 1.0)
    state.wake(early, 2.0)  # it came later, at a higher rate
    assert order == [first, second, early]
    state.wake(late, 3.0)
    assert order == [first, second, early, late]
    state._check()


@backends
def test_no_more_than_the_rate_allows(backend: Backend) -> None:
    """Waiting, asking, reserving and giving up, in any order: in no time more events than its tokens."""

    async def main() -> None:
        limiter, events = Limiter(10, 3), list[float]()

        async def wait(n: int) -> None:
            for _ in range(2):
                await limiter.wait(n)
                events.extend([now()] * n)

        async def ask() -> None:
            for _ in range(3):
                if limiter.allow():
                    events.append(now())
                await sleep(0.07)

        async def give_up() -> None:
            with anyio.move_on_after(0.05):
                await limiter.wait(3)
                events.extend([now()] * 3)

        async with Group() as group:
            for fn, *args in ((wait, 1), (wait, 2), (ask,), (give_up,)):
                group.go(fn, *args)
        events.sort()
        for i, start in enumerate(events):
            for j in range(i, len(events)):
                assert j - i + 1 <= 3 + 10 * (events[j] - start) + 1e-6
        limiter._state._check()

    explore(main, backend=backend, runs=100)


async def test_a_wait_that_need_not_wait_does_not_suspend() -> None:
    """But a task that only does such waits yields now and then."""
    limiter, turns = Limiter(math.inf, 0), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        async with Group() as group:
            group.go(other)
            await anyio.lowlevel.checkpoint()
            before = turns
            for _ in range(10):
                await limiter.wait()
            assert turns - before <= 1
            for _ in range(1000):
                await limiter.wait()
            assert turns - before > 5
            group.cancel()


# ---- cancellation ----


@backends
@pytest.mark.parametrize("others", [False, True], ids=["alone", "with others"])
def test_a_cancelled_wait_gives_back_what_it_took(others: bool, backend: Backend) -> None:
    """At each of its points; one whose time has come returns, and has used its tokens."""

    class Scene:
        def __init__(self) -> None:
            self.limiter = Limiter(10, 2, tokens=0)
            self.went = 0

        async def wait_all(self) -> None:
            for n in (1, 2, 1):
                await self.limiter.wait(n)
                self.went += n

        async def ask(self) -> None:
            while True:
                self.went += self.limiter.allow()
                await sleep(0.03)

    async def setup() -> Scene:
        scene = Scene()
        assert scene.limiter.tokens == 0
        if others:
            asker = go(scene.ask)

            async def stop() -> None:
                await sleep(5)
                asker.cancel()

            go(stop)
        return scene

    def check(scene: Scene, outcome: CancelOutcome) -> None:
        scene.limiter._state._check()
        assert "waiting=0" in repr(scene.limiter)
        assert scene.limiter.tokens == pytest.approx(min(2, now() * 10 - scene.went)) or others
        assert scene.went <= now() * 10 + 1e-6
        assert outcome.returned <= (scene.went >= 4)

    report = cancel_sweep(setup, Scene.wait_all, check, backend=backend)
    assert report.suspensions >= 9
    assert report.returned > 0


@backends
def test_a_cancelled_wait_with_a_context(backend: Backend) -> None:
    """The same through the select that it is then."""

    async def setup() -> Limiter:
        limiter = Limiter(10, 2, tokens=0)
        assert limiter.tokens == 0
        return limiter

    async def operation(limiter: Limiter) -> None:
        with background().with_timeout(10) as ctx:
            await limiter.wait(2, ctx=ctx)

    def check(limiter: Limiter, outcome: CancelOutcome) -> None:
        limiter._state._check()
        assert limiter.tokens == pytest.approx(min(2, now() * 10) - 2 * outcome.returned)

    assert cancel_sweep(setup, operation, check, backend=backend).returned > 0


@pytest.mark.gochan
async def test_those_behind_a_cancelled_wait_keep_their_times() -> None:
    """Its tokens are for those who come later, as in Go."""
    limiter, woken = Limiter(1, 5, tokens=0), list[float]()

    async def wait(n: int) -> None:
        await limiter.wait(n)
        woken.append(now())

    async with Group() as group:
        first = group.go(wait, 5)
        await wait_idle()
        group.go(wait, 1)
        await wait_idle()
        first.cancel()
        await wait_idle()
        assert limiter.tokens == -2  # one of the five stays with the one behind
        await wait(1)
    assert woken == [3, 6]


@pytest.mark.gochan
async def test_a_wait_that_is_given_up_leaves_no_alarm() -> None:
    """Nothing is left in the loop, with a context or without."""
    limiter = Limiter(1, 1, tokens=0)
    driver = current_driver()
    assert driver is not None
    with anyio.move_on_after(0.1):
        await limiter.wait()
    ctx = background().with_cancel()

    async def end() -> None:
        await sleep(0.1)
        ctx.cancel()

    go(end)
    with pytest.raises(gochan.Cancelled):
        await limiter.wait(ctx=ctx)
    assert len(driver.alarms) == 0
    limiter._state._check()


# ---- what is seen of it ----


@pytest.mark.gochan
async def test_it_sleeps() -> None:
    """In dumps; with an alarm it is neither leaked nor deadlocked, with a context as without."""
    limiter = Limiter(every(3600), 1, tokens=0)
    async with Group() as group:
        group.go(limiter.wait, name="plain")
        with background().with_cancel() as ctx:

            async def wait() -> None:
                await limiter.wait(ctx=ctx)

            group.go(wait, name="with a context")
            await wait_idle()
            seen = {info.name: (info.state, info.waiting_on) for info in goroutines()}
            for name in ("plain", "with a context"):
                state, waiting_on = seen[name]
                assert state == "sleep"
                assert waiting_on is not None
                assert "Limiter" in repr(waiting_on)
            assert find_leaks() == []
            group.cancel()


@pytest.mark.gochan
async def test_a_wait_for_292_years_ends() -> None:
    """At a rate of 0 it is granted, for a time that virtual time does reach."""
    limiter = Limiter(0, 1, tokens=0)
    await limiter.wait()
    assert now() > 9.2e9
