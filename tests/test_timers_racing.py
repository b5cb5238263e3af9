"""Timers against stop, reset, cancellation and each other: in every order, at every suspension, and by a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.virtual import Backend, alarms, on_both

import gochan
from gochan import Channel, Group, Timer, after, select, sleep, testing, try_select
from gochan.testing import CancelOutcome, cancel_sweep, explore, wait_idle


@on_both
def test_stop_against_firing(backend: Backend) -> None:
    """TM-10: a value that was not taken back is received by exactly one, whenever stop comes."""
    seen = set[tuple[float, bool, int]]()

    async def main() -> None:
        for moment in (0.5, 1.0, 1.5):  # at 1.0 both happen at one virtual time
            timer, got = Timer(1), list[float]()

            async def wait(timer: Timer = timer, got: list[float] = got) -> None:
                got.append(await timer.wait())

            start = anyio.current_time()
            async with Group() as group:
                group.go(wait)
                group.go(wait)
                await sleep(moment)
                stopped = timer.stop()
                seen.add((moment, stopped, len(got)))
                await sleep(5)
                timer._state._check()
                assert got == ([] if stopped else [start + 1])
                assert timer.stop() is False
                group.cancel()

    explore(main, backend=backend, runs=80)
    assert seen == {(0.5, True, 0), (1.0, False, 0), (1.0, False, 1), (1.5, False, 1)}


@on_both
def test_reset_against_firing(backend: Backend) -> None:
    """TM-10: True means that the old value is not received, ever; False that it was given."""
    seen = set[tuple[float, bool]]()

    async def main() -> None:
        for moment in (0.5, 1.0, 1.5):
            timer, got = Timer(1), list[float]()

            async def wait(timer: Timer = timer, got: list[float] = got) -> None:
                got.append(await timer.wait())
                got.append((await select(timer, None))[1])

            start = anyio.current_time()
            async with Group() as group:
                group.go(wait)
                await sleep(moment)
                active = timer.reset(1)
                seen.add((moment, active))
                await sleep(5)
                new = start + moment + 1
                assert got == ([new] if active else [start + 1, new])
                group.cancel()

    explore(main, backend=backend, runs=80)
    assert seen == {(0.5, True), (1.0, False), (1.5, False)}


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

    explore(main, backend=backend, runs=80)
    assert len(orders) == 6
    assert winners == {0, 1, 2}


@on_both
def test_a_value_and_a_cancellation_at_one_time(backend: Backend) -> None:
    """Either the waiter has the value, or the timer still has it."""
    seen = set[tuple[float, bool]]()

    async def main() -> None:
        for moment in (0.5, 1.0):
            timer, got = Timer(1), list[float]()

            async def wait(timer: Timer = timer, got: list[float] = got) -> None:
                got.append(await timer.wait())

            async with Group() as group:
                waiting = group.go(wait)
                await sleep(moment)
                waiting.cancel()
                await waiting.done.wait()
                timer._state._check()
                assert timer.stop() is not bool(got)
                seen.add((moment, bool(got)))

    explore(main, backend=backend, runs=100)
    assert seen == {(0.5, False), (1.0, True)}


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
