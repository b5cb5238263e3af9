"""Timers: one value at a time, for one waiter; and that they are in the loop only while somebody waits."""

from __future__ import annotations

import asyncio
import copy
import gc
import math
import pickle
import threading
import weakref
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.threads import Call

import gochan
from gochan import Channel, Group, Timer, after, go, select, sleep, testing, try_select
from gochan._core.driver import Driver, current_driver
from gochan.diagnostics import Deadlock, find_leaks, goroutines
from gochan.testing import CancelOutcome, cancel_sweep, explore, wait_idle

Backend = Literal["asyncio", "trio"]
on_both = pytest.mark.parametrize("backend", ["asyncio", "trio"])
virtual = pytest.mark.gochan(virtual_time=True)
forgiving = pytest.mark.gochan(virtual_time=True, leaks="ignore")


def alarms() -> int:
    """How many the loop has."""
    driver = current_driver()
    assert driver is not None
    driver.alarms._check()
    return len(driver.alarms)


# ---- the value ----


@virtual
@pytest.mark.parametrize("seconds", [0.1, 1, 3600.25, 1e9, Fraction(1, 3)], ids=str)
async def test_the_value_is_the_time_at_which_it_was_due(seconds: float) -> None:
    """It comes exactly then."""
    start = anyio.current_time()
    timer = Timer(seconds)
    assert await timer.wait() == start + seconds == anyio.current_time()


@virtual
async def test_the_value_does_not_tell_when_it_was_read() -> None:
    """TM-5: waited for in time, late, or by a select, it is the same."""
    await sleep(1)
    timers = [Timer(10) for _ in range(4)]
    assert await timers[0].wait() == 11
    await sleep(100)
    assert await timers[1].wait() == 11
    assert await select(timers[2]) == (0, 11)
    assert try_select(timers[3]) == (0, 11)


@virtual
@pytest.mark.parametrize("seconds", [0, -0.0, -3, -math.inf, -(10**400)], ids=str)
async def test_no_time_or_less_is_at_once(seconds: float) -> None:
    """TM-1: the value is there, and it is the time of the call: nothing is due before it was asked for."""
    await sleep(5)
    assert try_select(after(seconds)) == (0, 5)
    timer = Timer(1000)
    timer.reset(seconds)
    assert await timer.wait() == 5
    assert anyio.current_time() == 5


@virtual
@pytest.mark.parametrize("seconds", [math.inf, 1e308, 10**400, 2**63], ids=str)
async def test_very_long_is_never_short(seconds: float) -> None:
    """TM-1: nothing overflows."""
    assert await select(Timer(seconds), after(1e6)) == (1, 1e6)


async def test_a_real_timer_is_never_early() -> None:
    """By the loop's own clock, however coarse that is."""
    for seconds in (0.0, 0.0004, 0.0026, 0.0052):
        start = anyio.current_time()
        due = await Timer(seconds).wait()
        assert start + seconds <= due + 1e-6
        assert due <= anyio.current_time() + 1e-6


async def test_a_timer_holds_one_value() -> None:
    """Whoever takes it leaves none."""
    timer = Timer(0)
    await timer.wait()
    assert try_select(timer) is None
    with anyio.move_on_after(0.01) as scope:
        await timer.wait()
    assert scope.cancelled_caught
    assert "waiters=0" in repr(timer)


@virtual
async def test_after_starts_its_clock_at_the_call() -> None:
    """Not when somebody waits for it."""
    deadline = after(3)
    await sleep(2)
    assert await select(deadline, None) == (0, 3)
    assert anyio.current_time() == 3


# ---- stop and reset ----


@virtual
async def test_stop_says_whether_there_was_a_value_to_come() -> None:
    """TM-3: also one that had come and was not received; and takes it back."""
    running, due, received, stopped = Timer(10), Timer(1), Timer(1), Timer(10)
    await sleep(2)
    await received.wait()
    stopped.stop()
    assert [timer.stop() for timer in (running, due, received, stopped)] == [True, True, False, False]
    await sleep(20)
    assert try_select(running, due, received, stopped) is None


@virtual
async def test_reset_says_the_same_and_sets_another_time() -> None:
    """TM-4: nothing from before can be received after it."""
    running, due, received, stopped = timers = Timer(10), Timer(1), Timer(1), Timer(10)
    await sleep(2)
    await received.wait()
    stopped.stop()
    assert [timer.reset(5) for timer in (running, due, received, stopped)] == [True, True, False, False]
    assert try_select(*timers) is None
    assert [await timer.wait() for timer in timers] == [7, 7, 7, 7]
    assert anyio.current_time() == 7


@virtual
@pytest.mark.parametrize(("seconds", "expected"), [(2, 3), (50, 51), (-1, 1), (100, 101)], ids=str)
async def test_a_reset_reaches_who_waits_already(seconds: float, expected: float) -> None:
    """Earlier, later, at once."""
    timer = Timer(100)
    waiting = go(timer.wait)
    await sleep(1)
    assert timer.reset(seconds) is True
    timer._state._check()
    assert await waiting.result() == expected
    assert alarms() == 0


@virtual
async def test_who_waits_for_a_stopped_timer_waits_for_a_reset() -> None:
    """As in Go, stop wakes nobody."""
    timer = Timer(1)
    waiting = go(timer.wait)
    await wait_idle()
    assert timer.stop() is True
    assert alarms() == 0
    await sleep(10)
    assert not waiting.done.is_set()
    assert timer.stop() is False
    assert timer.reset(1) is False
    assert await waiting.result() == 11


@virtual
async def test_one_timer_serves_again_and_again() -> None:
    """The idle time-out of a server: reset at every request."""
    timer, seen = Timer(5), list[float]()
    for _ in range(10):
        await sleep(4)
        assert timer.reset(5) is True
    seen.append(await timer.wait())
    assert timer.reset(1) is False
    seen.append(await timer.wait())
    assert seen == [45, 46]


# ---- several waiters ----


@virtual
async def test_one_of_several_waiters_gets_the_value() -> None:
    """The one that has waited longest; each reset serves the next, plain waits and selects in one queue."""
    timer, got = Timer(1), list[tuple[int, float]]()

    async def waiter(number: int) -> None:
        got.append((number, await timer.wait() if number % 2 else (await select(None, timer))[1]))

    for number in range(4):
        go(waiter, number)
        await wait_idle()
    await sleep(10)
    assert got == [(0, 1)]
    assert "waiters=3" in repr(timer)
    for expected in ([(1, 11)], [(2, 12)], [(3, 13)]):
        assert timer.reset(1) is False
        await sleep(1)
        await wait_idle()
        assert got[-1:] == expected
    assert alarms() == 0


@virtual
async def test_nobody_barges_past_a_waiter() -> None:
    """M2: the value is there, but not given yet: it belongs to who waits for it."""
    timer = Timer(1)
    first = go(timer.wait)
    await wait_idle()
    # A second timer of the same time, set earlier in the loop, lets this goroutine look before the first fires.
    world: Any = current_driver()
    looked: list[object] = []
    world.alarms.heap.insert(0, world.alarms.heap.pop())
    world.world.now = 1.0
    looked.append(try_select(timer))
    second = go(timer.wait)
    await wait_idle()
    assert looked == [None]
    assert await first.result() == 1
    assert not second.done.is_set()
    timer.reset(1)
    assert await second.result() == 2


@virtual
async def test_a_timer_twice_in_a_select() -> None:
    """It gives one value, to one of the two cases."""
    timer = Timer(1)
    number, due = await select(timer, timer)
    assert (number in (0, 1), due) == (True, 1)
    assert try_select(timer, timer) is None
    timer._state._check()
    assert alarms() == 0


# ---- what is in the loop ----


@virtual
async def test_a_timer_is_in_the_loop_only_while_somebody_waits() -> None:
    """M1 through every change."""
    timer = Timer(10)
    state = timer._state

    def armed() -> bool:
        state._check()
        return alarms() > 0

    assert not armed()
    async with Group() as group:
        waiting = [group.go(timer.wait), group.go(select, timer, Channel[int]())]
        await wait_idle()
        assert armed()
        timer.reset(20)
        assert armed()
        timer.stop()
        assert not armed()
        timer.reset(30)
        assert armed()
        waiting[0].cancel()
        await waiting[0].done.wait()
        assert armed()
        waiting[1].cancel()
        await waiting[1].done.wait()
        assert not armed()
    assert await timer.wait() == 30
    assert not armed()


@pytest.mark.parametrize("cases", [1, 4])
async def test_a_select_that_lost_leaves_no_timer_behind(cases: int) -> None:
    """TM-8: neither one that found another case ready nor one that waited, nor a cancelled one."""
    channel = Channel[int](1)
    for _ in range(5):
        channel.send_nowait(1)
        assert await select(channel, *(after(100 + n) for n in range(cases))) == (0, 1)
        assert alarms() == 0
        async with Group() as group:
            selecting = group.go(select, channel, *(after(100 + n) for n in range(cases)))
            await anyio.wait_all_tasks_blocked()
            assert alarms() == cases
            await channel.send(2)
            await selecting.done.wait()
            assert alarms() == 0
        with anyio.move_on_after(0.001):
            await select(channel, *(after(100 + n) for n in range(cases)))
        assert alarms() == 0


@virtual
async def test_of_two_timers_in_a_select_the_loser_keeps_its_value() -> None:
    """It can be received later."""
    early, late = Timer(1), Timer(2)
    assert await select(late, early) == (1, 1)
    assert alarms() == 0
    await sleep(5)
    assert late.stop() is True
    assert early.stop() is False


async def test_ten_thousand_timers(backend_name: str) -> None:
    """Each comes, and in the order of their times."""
    got: list[float] = []

    async def wait(seconds: float) -> None:
        got.append(await Timer(seconds).wait())

    with anyio.fail_after(30):
        async with Group() as group:
            for number in range(10_000):
                group.go(wait, number * 7919 % 10_000 / 100_000)
    assert len(got) == 10_000
    if backend_name == "asyncio":  # trio draws the order of those that become ready together
        assert got == sorted(got)
    assert alarms() == 0


async def test_a_timer_that_nobody_refers_to_is_gone_at_once() -> None:
    """TM-8, by reference count: never waited for, lost in a select, waited for in vain, received."""
    gc.disable()
    try:
        channel = Channel[int](1)

        async def receives(timer: Timer) -> None:
            timer.reset(0)
            await timer.wait()

        async def loses(timer: Timer) -> None:
            async with Group() as group:
                group.go(select, channel, timer)
                await anyio.wait_all_tasks_blocked()
                await channel.send(1)

        async def gives_up(timer: Timer) -> None:
            with anyio.move_on_after(0.001):
                await timer.wait()

        async def does_nothing(_timer: Timer) -> None: ...

        for use in (does_nothing, gives_up, loses, receives):
            timer = Timer(100)
            gone = weakref.ref(timer)
            state: list[Any] = [timer._state]
            await use(timer)
            for _ in range(5):  # the loop lets go of what it has just called
                await anyio.lowlevel.checkpoint()
            del timer
            assert gone() is None, use
            # The list, the local that is asked, and nothing else.
            assert [thing for thing in gc.get_referrers(state[0]) if thing is not state] == [], use
    finally:
        gc.enable()


# ---- races ----


@on_both
def test_stop_against_firing(backend: Backend) -> None:
    """TM-10: at the same virtual time, in every order: a value that was not taken back is received by exactly one."""
    seen = set[tuple[bool, int, int]]()

    async def main() -> None:
        timer, got = Timer(1), list[float]()

        async def wait() -> None:
            got.append(await timer.wait())

        async with Group() as group:
            group.go(wait)
            group.go(wait)
            await sleep(1)
            stopped = timer.stop()
            at_once = len(got)
            await sleep(5)
            timer._state._check()
            assert len(got) == (0 if stopped else 1)
            assert timer.stop() is False
            seen.add((stopped, at_once, len(got)))
            group.cancel()

    explore(main, backend=backend, runs=200)
    assert {stopped for stopped, _, _ in seen} == {True, False}
    assert (False, 0, 1) in seen  # committed, but the waiter had not run


@on_both
def test_reset_against_firing(backend: Backend) -> None:
    """TM-10: True means that the old value is not received, ever; False that it was given."""
    seen = set[bool]()

    async def main() -> None:
        timer, got = Timer(1), list[float]()

        async def wait() -> None:
            for _ in range(2):
                got.append((await select(timer, None))[1])

        async with Group() as group:
            group.go(wait)
            await sleep(1)
            active = timer.reset(1)
            seen.add(active)
            await sleep(5)
            assert got == ([2] if active else [1, 2])
            group.cancel()

    explore(main, backend=backend, runs=200)
    assert seen == {True, False}


@on_both
def test_the_loser_of_two_timers_has_its_value_unless_it_was_stopped(backend: Backend) -> None:
    """TM-10, Go's TestStopResult and TestResetResult."""
    seen = set[tuple[int, bool]]()

    async def main(stop: Callable[[Timer], bool]) -> None:
        timers = Timer(1), Timer(1)
        winner, _ = await select(*timers)
        loser = timers[1 - winner]
        if stop is Timer.stop:
            active = loser.stop()
            assert active is True  # nobody else can have received it
            assert try_select(loser) is None
        else:
            active = stop(loser)
            assert active is True
            assert await loser.wait() == 3
        seen.add((winner, active))

    explore(main, Timer.stop, backend=backend, runs=50)
    explore(main, lambda timer: timer.reset(2), backend=backend, runs=50)
    assert seen == {(0, True), (1, True)}


@on_both
def test_timers_of_one_time_come_in_every_order(backend: Backend) -> None:
    """TM-7: the schedule draws it, for waits, for the cases of a select, and against a sleep."""
    orders, winners = set[tuple[int, ...]](), set[int]()

    async def main() -> None:
        got: list[int] = []

        async def wait(number: int) -> None:
            await (Timer(1).wait() if number else sleep(1))
            got.append(number)

        async with Group() as group:
            for number in range(3):
                group.go(wait, number)
        orders.add(tuple(got))
        winners.add((await select(after(1), after(1), after(1)))[0])

    explore(main, backend=backend, runs=150)
    assert len(orders) == 6
    assert winners == {0, 1, 2}


@on_both
def test_a_value_and_a_cancellation_at_one_time(backend: Backend) -> None:
    """Either the waiter has the value, or the timer still has it."""
    seen = set[bool]()

    async def main() -> None:
        timer, got = Timer(1), list[float]()

        async def wait() -> None:
            got.append(await timer.wait())

        async with Group() as group:
            waiting = group.go(wait)
            await sleep(1)
            waiting.cancel()
            await waiting.done.wait()
            timer._state._check()
            assert timer.stop() is not bool(got)
            seen.add(bool(got))

    explore(main, backend=backend, runs=150)
    assert seen == {True, False}


@on_both
@pytest.mark.parametrize("way", ["wait", "select", "after"])
def test_a_cancelled_wait_leaves_the_value(way: str, backend: Backend) -> None:
    """At every suspension, before and after the value was given."""

    async def setup() -> Timer:
        return Timer(1)

    async def operation(timer: Timer) -> float:
        match way:
            case "wait":
                return await timer.wait()
            case "select":
                return (await select(Channel[int](), timer, timer))[1]
            case _:
                return (await select(after(5), timer, after(9)))[1]

    async def check(timer: Timer, outcome: CancelOutcome) -> None:
        timer._state._check()
        assert alarms() == 0
        assert outcome.result == (1 if outcome.returned else None)
        await sleep(1)
        assert timer.stop() is not outcome.returned

    report = cancel_sweep(setup, operation, check, backend=backend, depth=2)
    assert report.returned > 0
    assert report.suspensions == 3


steps = st.lists(
    st.sampled_from(["wait", "select", "select two", "stop", "try"])
    | st.tuples(st.just("reset"), st.integers(0, 3))
    | st.tuples(st.just("sleep"), st.integers(0, 2))
    | st.tuples(st.just("cancel"), st.integers(0, 5)),
    max_size=25,
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=40)
@given(steps=steps, seed=st.none() | st.integers(0, 5))
def test_a_timer_agrees_with_a_model(backend: Backend, steps: list[Any], seed: int | None) -> None:
    """Values, order, answers and alarms, through any program of one controller and many waiters."""

    async def main() -> None:
        timer, when = Timer(1), 1.0
        other = Timer(math.inf)
        model: list[Any] = []  # who waits
        goroutines: list[Any] = []
        expected: dict[int, float] = {}

        def fire() -> None:
            nonlocal when
            if model and when <= anyio.current_time():
                expected[model.pop(0)] = when
                when = math.inf

        async with Group() as group:
            for step in steps:
                match step:
                    case "wait" | "select" | "select two":
                        match step:
                            case "wait":
                                goroutines.append(group.go(timer.wait))
                            case "select":
                                goroutines.append(group.go(select, timer))
                            case _:
                                goroutines.append(group.go(select, timer, other))
                        model.append(len(goroutines) - 1)
                    case "stop":
                        assert timer.stop() is (when < math.inf)
                        when = math.inf
                    case "try":
                        took = try_select(timer)
                        if not model and when <= anyio.current_time():
                            assert took == (0, when)
                            when = math.inf
                        else:
                            assert took is None
                    case ("reset", seconds):
                        assert timer.reset(seconds) is (when < math.inf)
                        when = anyio.current_time() + seconds
                    case ("sleep", seconds):
                        for _ in range(seconds):
                            await sleep(1)
                            await wait_idle()
                            fire()
                    case ("cancel", number):
                        if number < len(goroutines):
                            goroutines[number].cancel()
                        if number in model:
                            model.remove(number)
                    case _:
                        raise AssertionError
                await wait_idle()
                fire()
                timer._state._check()
                assert alarms() == (when < math.inf and bool(model))
            group.cancel()
        for number, goroutine in enumerate(goroutines):
            if number in expected:
                result = await goroutine.result()
                assert (result if isinstance(result, float) else result[1]) == expected[number]
            else:
                with pytest.raises(gochan.Cancelled):
                    await goroutine.result()

    testing.run(main, backend=backend, seed=seed)


# ---- leaks, deadlocks, dumps ----


@forgiving
async def test_who_waits_for_a_timer_is_no_leak_until_it_is_stopped() -> None:
    """A timer that is set will act; one that is stopped and forgotten will not."""

    async def wait() -> None:
        await held[-1].wait()

    held = [Timer(1000)]
    go(wait, name="waiter")
    go(select, after(1000), name="select")
    await wait_idle()
    assert find_leaks() == []
    held.pop().stop()
    await sleep(1)
    assert [(info.name, info.state) for info in find_leaks()] == [("waiter", "timer wait")]


@forgiving
async def test_who_can_be_reset_is_no_leak() -> None:
    """Somebody holds the timer."""
    timer = Timer(1)
    timer.stop()

    async def keeper() -> None:
        await sleep(50)
        timer.reset(1)

    waiting = go(timer.wait)
    go(keeper)
    await wait_idle()
    assert find_leaks() == []
    assert await waiting.result() == 51


@on_both
def test_an_armed_timer_puts_a_deadlock_off_and_a_stopped_one_does_not(backend: Backend) -> None:
    """In virtual time and in an ordinary run."""

    async def main() -> float:
        timer = Timer(0.01)
        return await timer.wait()

    async def stuck() -> None:
        timer = Timer(0.01)
        timer.stop()
        await timer.wait()

    assert testing.run(main, backend=backend) == 0.01
    gochan.run(main, backend=backend)
    for run in (testing.run, gochan.run):
        with pytest.raises(Deadlock, match="timer wait"):
            run(stuck, backend=backend)


@virtual
async def test_the_dump_says_timer_wait_and_since_when() -> None:
    """For wait; a select is a select. Minutes are those of virtual time."""
    timer = Timer(1000)
    go(timer.wait, name="waiter")
    go(select, timer, name="select")
    await sleep(300)
    found = {info.name: info for info in goroutines()}
    assert found["waiter"].state == "timer wait"
    assert found["select"].state == "select"
    assert found["waiter"].since == 300
    assert "[timer wait, 5 minutes]" in gochan.dump()
    assert "Timer" in str(found["waiter"].waiting_on)
    timer.reset(0)
    await wait_idle()
    timer.reset(0)


# ---- loops and threads ----


def test_a_timer_needs_a_loop() -> None:
    """There is no clock without one; the error says where to make it."""
    for make in (Timer, after):
        with pytest.raises(RuntimeError, match="make it in a task of asyncio or trio"):
            make(1)


async def test_another_thread_is_refused() -> None:
    """Every operation, with a loop there and without; nothing has changed."""
    timer = Timer(1000)
    async with Group() as group:
        waiting = group.go(timer.wait)
        await anyio.wait_all_tasks_blocked()
        before = repr(timer)
        uses: list[Callable[[], object]] = [
            timer.stop,
            lambda: timer.reset(1),
            lambda: try_select(timer),
            lambda: asyncio.run(timer.wait()),
            lambda: anyio.run(select, timer, backend="trio"),
        ]
        for use in uses:
            with pytest.raises(RuntimeError, match="another thread"):
                await Call(use).result()
            assert repr(timer) == before
            timer._state._check()
        waiting.cancel()


@on_both
def test_a_timer_dies_with_its_loop(backend: Backend) -> None:
    """Another loop has another clock: the error says to make a new one."""

    async def make() -> tuple[Timer, Timer]:
        used = Timer(100)
        with anyio.move_on_after(0.001):
            await used.wait()
        return Timer(100), used

    async def waits(timer: Timer) -> None:
        with pytest.raises(RuntimeError, match="closed: make a new one"):
            await timer.wait()
        with pytest.raises(RuntimeError, match="closed: make a new one"):
            await select(timer, after(0))

    for timer in anyio.run(make, backend=backend):
        for use in (timer.stop, lambda timer=timer: timer.reset(1), lambda timer=timer: try_select(timer)):
            with pytest.raises(RuntimeError, match="closed: make a new one"):
                use()
        for other in ("asyncio", "trio"):
            anyio.run(waits, timer, backend=other)
        assert "Timer at" in repr(timer)


def test_a_timer_between_two_runs_of_its_loop() -> None:
    """Who ran the loop may go on with it."""
    loop = asyncio.new_event_loop()
    try:

        async def make() -> Timer:
            return Timer(100)

        timer = loop.run_until_complete(make())
        assert timer.stop() is True
        timer.reset(0)
        assert loop.run_until_complete(timer.wait()) <= loop.time()
    finally:
        loop.close()


def test_two_loops_in_two_threads() -> None:
    """Each has its own alarms."""
    barrier = threading.Barrier(2, timeout=5)

    async def main() -> tuple[float, Driver | None]:
        barrier.wait()
        timers = [Timer(n / 1000) for n in range(5)]
        async with Group() as group:
            for timer in timers:
                group.go(timer.wait)
        return sum(timer.stop() for timer in timers), current_driver()

    calls = [Call(gochan.run, main), Call(lambda: gochan.run(main, backend="trio"))]
    (left, one), (right, two) = (call.join(10) for call in calls)
    assert left == right == 0
    assert one is not two


# ---- bad input ----


@pytest.mark.parametrize("wrong", ["1", None, True, 1j, Decimal(1), timedelta(seconds=1), [1]], ids=repr)
async def test_what_is_no_number_of_seconds(wrong: Any) -> None:
    """A TypeError that says so; a timer that was to be reset is as it was."""
    timer = Timer(100)
    before = repr(timer)
    for use in (Timer, after, timer.reset):
        with pytest.raises(TypeError, match="number of seconds"):
            use(wrong)
    assert repr(timer) == before


async def test_nan_is_no_number_of_seconds() -> None:
    """A ValueError."""
    timer = Timer(100)
    for use in (Timer, after, timer.reset):
        with pytest.raises(ValueError, match="number of seconds"):
            use(math.nan)
    assert timer.stop() is True


async def test_a_timer_cannot_be_pickled() -> None:
    """It belongs to a loop."""
    with pytest.raises(TypeError):
        pickle.dumps(Timer(1))
    with pytest.raises(TypeError):
        copy.deepcopy(Timer(1))


@virtual
async def test_repr_says_when_and_who_waits() -> None:
    """And that of a case names its timer."""
    timer = Timer(5)
    assert repr(timer) == "<Timer at 5.0 waiters=0>"
    assert repr(timer.__case__()) == "<AlarmCase of <Timer at 5.0 waiters=0>>"
    timer.stop()
    assert repr(timer) == "<Timer not set waiters=0>"
