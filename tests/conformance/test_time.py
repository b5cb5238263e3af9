"""Time, after Go's src/time/sleep_test.go and tick_test.go, as behaviours, mostly in virtual time."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.virtual import Backend, on_both, virtual

from gochan import Channel, Event, Group, Ticker, Timer, after, go, select, send, sleep, try_select
from gochan.testing import explore, wait_idle

from .helpers import bounded

Clocked = Timer | Ticker
"""What Go's script runs over: both have a channel there."""
LONG = 10_000.0
SHORT = 1.0


class Script:
    """What Go's testTimerChan says to a timer, or to a ticker: stop, reset, drain, and what must be there."""

    def __init__(self, clocked: Clocked) -> None:
        self.clocked = clocked

    def stop(self, active: bool) -> None:
        if isinstance(self.clocked, Timer):
            assert self.clocked.stop() is active
        else:
            self.clocked.stop()

    def reset(self, seconds: float, active: bool) -> None:
        if isinstance(self.clocked, Timer):
            assert self.clocked.reset(seconds) is active
        else:
            self.clocked.reset(seconds)

    def empty(self) -> None:
        assert try_select(self.clocked) is None

    def full(self, due: float) -> None:
        assert try_select(self.clocked) == (0, due)


@virtual
@pytest.mark.parametrize("kind", [Timer, Ticker])
async def test_stop_and_reset_in_every_state(kind: type[Clocked]) -> None:
    """TestChan: after stop or reset there is never a value from before, whether it was read, unread or to come."""
    script = Script(kind(LONG))
    script.empty()
    script.stop(True)
    script.empty()
    script.reset(LONG, False)
    script.empty()
    script.reset(SHORT, True)
    await sleep(1.5)
    script.full(1.0)
    script.empty()

    # Reset of one that has come and was not read: the value is gone, and it counts as active.
    script.reset(SHORT, kind is Ticker)
    await sleep(1.5)
    script.reset(LONG, True)
    script.empty()

    # Stop of one that has come and was not read: likewise.
    script.reset(SHORT, True)
    await sleep(1.5)
    script.stop(True)
    script.empty()
    script.stop(False)
    await sleep(5)
    script.empty()

    # Stop of one that has come and was read.
    start = anyio.current_time()
    script.reset(SHORT, False)
    await sleep(1.5)
    script.full(start + 1)
    script.stop(kind is Ticker)
    script.empty()


@virtual
@pytest.mark.parametrize("kind", [Timer, Ticker])
async def test_two_waiters_and_one_value(kind: type[Clocked]) -> None:
    """TestChan: two goroutines wait; each reset serves one of them, and stop none."""
    clocked, done = kind(LONG), Channel[float](2)

    async def wait() -> None:
        await done.send(await clocked.wait())

    go(wait)
    go(wait)
    await wait_idle()
    clocked.stop()
    await sleep(5)
    assert len(done) == 0
    clocked.reset(SHORT)
    await sleep(1.5)
    clocked.stop()
    assert [await done.receive(), len(done)] == [6, 0]
    await sleep(LONG)
    clocked.reset(SHORT)
    assert await done.receive() == LONG + 7.5
    clocked.stop()


@virtual
@pytest.mark.parametrize("kind", [Timer, Ticker])
async def test_a_goroutine_blocked_on_it_sees_stop_and_reset(kind: type[Clocked]) -> None:
    """TestChan: parked in a select, it gets the value of the last reset, only."""
    clocked, quit_ = kind(SHORT), Event()
    selecting = go(select, clocked, quit_)
    await sleep(0.5)
    clocked.reset(SHORT)
    await sleep(0.75)
    assert not selecting.done.is_set()
    assert await selecting.result() == (0, 1.5)
    clocked.reset(SHORT)
    selecting = go(select, clocked, quit_)
    await wait_idle()
    clocked.stop()
    await sleep(10)
    quit_.set()
    assert await selecting.result() == (1, None)


@on_both
@pytest.mark.parametrize("operation", ["stop", "reset"])
@pytest.mark.parametrize("lag", [-0.5, 0.0, 0.5])
def test_the_result_of_stop_and_reset(operation: str, lag: float, backend: Backend) -> None:
    """TestStopResult, TestResetResult: two timers race; if the answer for the loser is False, its value is received."""
    answers = set[bool]()

    async def main() -> None:
        timers = Timer(1), Timer(1 + lag)
        received = Channel[int](2)

        async def wait(number: int) -> None:
            await timers[number].wait()
            await received.send(number)

        async with Group() as group:
            group.go(wait, 0)
            group.go(wait, 1)
            winner = await received.receive()
            loser = timers[1 - winner]
            active = loser.stop() if operation == "stop" else loser.reset(1000)
            answers.add(active)
            if active:
                await sleep(10)
                assert len(received) == 0
            else:
                assert await received.receive() == 1 - winner
            group.cancel()

    explore(main, backend=backend, runs=60)
    assert answers == ({False} if lag == 0 else {True})


@virtual
async def test_reset() -> None:
    """TestReset: of a running timer it is true, and the value comes late; of one that was received, false."""
    timer = Timer(100)
    await sleep(50)
    assert timer.reset(150) is True
    await sleep(100)
    assert try_select(timer) is None
    await sleep(100)
    assert try_select(timer) == (0, 200)
    assert timer.reset(50) is False


@virtual
@pytest.mark.parametrize("number", [2, 100])
async def test_what_is_stopped_never_fires(number: int) -> None:
    """TestAfterStop, TestTimerStopStress: nor does the second stop say that it stopped anything."""
    fired: list[int] = []

    async def fire(number: int, timer: Timer) -> None:
        await timer.wait()
        fired.append(number)

    async with Group() as group:
        stopped = [Timer(10) for _ in range(number)]
        for place, timer in enumerate((*stopped, Timer(10))):
            group.go(fire, place, timer)
        await sleep(5)
        assert {timer.stop() for timer in stopped} == {True}
        assert {timer.stop() for timer in stopped} == {False}
        await sleep(100)
        group.cancel()
    assert fired == [number]


@virtual
async def test_afters_queue() -> None:
    """TestAfterQueuing: thirteen of them, set in a muddle, come in the order of their times."""
    slots = [5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0]
    result = Channel[tuple[int, float]](len(slots))

    async def wait(slot: int) -> None:
        _, due = await select(after(float(slot)))
        await result.send((slot, due))

    async with Group() as group:
        for slot in slots:
            group.go(wait, slot)
    result.close()
    assert [pair async for pair in result] == [(slot, float(slot)) for slot in sorted(slots)]


@bounded
async def test_lower_bounds() -> None:
    """TestSleep, TestAfter, TestAfterTick: never before the time, by the loop's clock."""
    clock = anyio.current_time
    start = clock()
    await sleep(0.003)
    assert clock() >= start + 0.003 - 1e-6
    start = clock()
    _, due = await select(after(0.003))
    assert due >= start + 0.003
    assert clock() >= due - 1e-6
    start = clock()
    ticker = Ticker(0.001)
    ticks = [await ticker.wait() for _ in range(5)]
    assert clock() >= ticks[-1] - 1e-6
    assert ticks[-1] >= start + 0.005


@virtual
async def test_a_ticker() -> None:
    """TestTicker: ten ticks, a reset to twice the period half-way, none after stop; in time exactly."""
    ticker = Ticker(20)
    ticks = [await ticker.wait() for _ in range(5)]
    ticker.reset(40)
    ticks += [await ticker.wait() for _ in range(5)]
    ticker.stop()
    assert ticks == [20, 40, 60, 80, 100, 140, 180, 220, 260, 300]
    await sleep(80)
    assert try_select(ticker) is None


@on_both
@pytest.mark.parametrize("kind", [Timer, Ticker])
def test_many_goroutines_on_one(kind: type[Clocked], backend: Backend) -> None:
    """TestTickerConcurrentStress, TestMultiWakeupTicker, TestMultiWakeupTimer: each value wakes one of them, once."""

    async def main() -> None:
        clocked, got = kind(1), list[float]()

        async def wait(reads: int) -> None:
            for _ in range(reads):
                got.append(await clocked.wait())  # in the order of all

        async with Group() as group:
            for reads in (1, 2, 3):
                group.go(wait, reads)
            for _ in range(3):
                await sleep(2)
                if kind is Timer:
                    clocked.reset(1)
            while len(got) < 6:
                await sleep(2)
                if kind is Timer:
                    clocked.reset(1)
        assert len(set(got)) == 6
        assert got == sorted(got)
        clocked.stop()

    explore(main, backend=backend, runs=25)


@bounded
async def test_a_ping_pong_does_not_starve_a_timer() -> None:
    """TestAfterFuncStarvation: two goroutines that hand over to each other without a pause; the timer comes."""
    ping, pong, stop = Channel[int](), Channel[int](), Event()

    async def player(mine: Channel[int], others: Channel[int]) -> None:
        while True:
            match await select(mine, stop):
                case (0, ball):
                    if (await select(send(others, ball + 1), stop))[0] == 1:
                        return
                case _:
                    return

    async def umpire() -> None:
        for _ in range(3):
            await Timer(0.002).wait()
        await sleep(0.002)
        stop.set()

    async with Group() as group:
        group.go(player, ping, pong)
        group.go(player, pong, ping)
        group.go(umpire)
        await ping.send(0)


@bounded
async def test_ready_operations_do_not_starve_a_timer() -> None:
    """The same with operations that never have to wait, one goroutine alone."""
    channel, timer = Channel[int](1), Timer(0.002)
    waiting = Group()
    async with waiting as group:
        received = group.go(timer.wait)
        while not received.done.is_set():
            await channel.send(1)
            await channel.receive()


@virtual
async def test_the_value_is_the_time_at_which_it_fired() -> None:
    """TestAfterTimes, TestTickTimes: not the time at which it was read."""
    for number in range(1, 4):
        start = anyio.current_time()
        timer, ticker = after(10), Ticker(10)
        await sleep(500 * number)
        assert await timer.wait() == start + 10
        assert await ticker.wait() == start + 10
        ticker.stop()


@virtual
@pytest.mark.parametrize("seconds", [2.0**63, 1e300, float("inf")])
async def test_no_overflow(seconds: float) -> None:
    """TestOverflowSleep: what is too long does not come at once; what is below nothing does."""
    async with Group() as group:
        sleeping = group.go(sleep, seconds)
        with anyio.move_on_after(1000) as scope:
            await select(after(seconds), sleeping)
        assert scope.cancelled_caught
        assert await select(after(-seconds), after(1)) == (0, 1000)
        await sleep(-seconds)
        assert anyio.current_time() == 1000
        group.cancel()


@virtual
async def test_no_time_at_all() -> None:
    """TestZeroTimer, TestSleepZeroDeadlock: many at once, and others have their turn meanwhile."""
    turns, done = 0, Event()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await sleep(0)

    async with Group() as group:
        group.go(other)
        for _ in range(100):
            await Timer(0).wait()
            await sleep(0)
        done.set()
    assert turns >= 100
    assert anyio.current_time() == 0


@virtual
async def test_a_timer_is_moved_to_an_earlier_time() -> None:
    """TestTimerModifiedEarlier: whoever waits gets it at the new time."""
    for _ in range(50):
        timer, start = Timer(10), anyio.current_time()
        waiting = go(timer.wait)
        await wait_idle()
        timer.reset(0.001)
        assert await waiting.result() == start + 0.001
        assert anyio.current_time() == start + 0.001


@virtual
async def test_many_timers_are_moved_about() -> None:
    """TestAdjustTimers, TestLongAdjustTimers: thousands pending and moved, while a queue works in time."""
    pending = [Timer(1000 + n) for n in range(2000)]
    # A select of all of them: each is in the loop.
    waiting = go(select, *pending)
    queue, in_time = Channel[float](), list[bool]()

    async def worker() -> None:
        async for due in queue:
            in_time.append(anyio.current_time() == due)

    async with Group() as group:
        group.go(worker)
        for round_ in range(20):
            for timer in pending[round_::20]:
                timer.reset(500 + round_)
            await sleep(1)
            await queue.send(anyio.current_time())
        queue.close()
    assert in_time == [True] * 20
    number, due = await waiting.result()
    assert (number % 20, due) in {(round_, 500 + 2 * round_) for round_ in range(20)}
    assert due == 500


@pytest.mark.parametrize("make", [lambda: Timer(1000), lambda: after(1000), lambda: Ticker(0.001)])
async def test_what_nobody_refers_to_is_collected(make: Callable[[], Any]) -> None:
    """TestTimerGC: thousands, neither stopped nor waited for."""
    gc.collect()
    references = [weakref.ref(make()) for _ in range(10_000)]
    assert sum(reference() is not None for reference in references) == 0


async def test_misuse() -> None:
    """TestNewTickerLtZeroDuration, TestTickerResetLtZeroDuration: an error with the reason; all is as it was."""
    for period in (-1, 0):
        with pytest.raises(ValueError, match="positive"):
            Ticker(period)
    ticker = Ticker(0.001)
    with pytest.raises(ValueError, match="positive"):
        ticker.reset(0)
    with anyio.fail_after(5):
        await ticker.wait()


@virtual
async def test_timers_that_start_timers() -> None:
    """TestAfterFunc: a chain of them, each of no time at all."""
    count, done = 0, Event()

    async def link() -> None:
        nonlocal count
        await Timer(0).wait()
        count += 1
        if count < 100:
            go(link)
        else:
            done.set()

    go(link)
    await done.wait()
    assert (count, anyio.current_time()) == (100, 0)
