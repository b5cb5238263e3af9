"""The alarms of real loops: T1 to T3 on asyncio, uvloop and trio, and in virtual time."""

from __future__ import annotations

import asyncio
import gc
import sys
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from tests.virtual import Backend, on_both

from gochan import Timer, go, run, sleep, testing
from gochan._core.alarms import EARLY, Alarm
from gochan._core.driver import Driver, current_driver
from gochan.testing import explore


class Broken(Exception):
    """What a bad callback raises."""


def quiet() -> None:
    """What an alarm calls that nobody listens to."""


def driver_here() -> Driver:
    driver = current_driver()
    assert driver is not None
    return driver


async def fired_by(driver: Driver, when: float) -> list[float]:
    """Set an alarm and wait for it; the loop's times at which it fired."""
    fired, done = list[float](), anyio.Event()

    def fn() -> None:
        fired.append(driver.clock())
        done.set()

    alarm = driver.call_at(when, fn)
    with anyio.fail_after(10):
        await done.wait()
        await anyio.lowlevel.checkpoint()
    alarm.cancel()
    driver.alarms._check()
    return fired


async def test_an_alarm_fires_once_and_never_before_its_time() -> None:
    """On every loop, whatever the resolution of its clock; at once for the past."""
    driver = driver_here()
    for seconds in (-1.0, 0.0, 0.0004, 0.0024, 0.0031):
        when = driver.clock() + seconds
        (fired,) = await fired_by(driver, when)
        assert fired >= when - EARLY, seconds
    assert len(driver.alarms) == 0


async def test_a_loop_does_not_spin_towards_an_alarm() -> None:
    """However much its clock rounds, an alarm costs a few turns of the loop."""
    driver, fires = driver_here(), 0
    real = driver.alarms.clock

    def counted() -> float:
        nonlocal fires
        fires += 1
        return real()

    driver.alarms.clock = counted
    try:
        for tenths in range(1, 30, 3):
            await fired_by(driver, driver.clock() + tenths / 10_000)
    finally:
        driver.alarms.clock = real
    assert fires <= 40


async def test_an_alarm_runs_outside_any_task() -> None:
    """Its callback is the loop's, in a context of its own; what it knows dies with it."""
    driver, tasks = driver_here(), list[object]()
    here = driver.task()
    done = anyio.Event()

    def fn() -> None:
        try:
            tasks.append(driver.task())
        except RuntimeError:
            tasks.append(None)
        done.set()

    driver.call_at(driver.clock(), fn)
    with anyio.fail_after(5):
        await done.wait()
    assert len(tasks) == 1
    assert tasks != [here]


@pytest.mark.asyncio_only
async def test_nothing_is_left_in_the_loop_after_a_cancel(anyio_backend: tuple[str, Any]) -> None:
    """T1: of a thousand alarms that are set, the loop has one timer; of none, none that lives."""
    if anyio_backend[1].get("use_uvloop"):
        return  # it shows nobody its timers
    driver: Any = driver_here()

    def living() -> int:
        return sum(not handle.cancelled() for handle in driver.loop._scheduled)

    before = living()
    alarms = [driver.call_at(driver.clock() + 100 + n, quiet) for n in range(1000)]
    assert living() == before + 1
    for alarm in alarms:
        alarm.cancel()
        assert living() <= before + 1
    assert living() == before
    assert driver.timer is None


@pytest.mark.trio_only
async def test_nothing_is_left_in_the_run_after_a_cancel() -> None:
    """T1: trio has no deadline any more."""
    driver = driver_here()

    def deadline() -> float:
        return trio.lowlevel.current_statistics().seconds_to_next_deadline

    alarms = [driver.call_at(driver.clock() + 20 + n, quiet) for n in range(100)]
    await anyio.wait_all_tasks_blocked()
    assert 0 < deadline() <= 20
    for alarm in alarms:
        alarm.cancel()
    assert deadline() > 1000


@pytest.mark.trio_only
async def test_an_alarm_that_is_cancelled_in_the_turn_in_which_it_is_due_lets_no_other_fire() -> None:
    """trio's deadline has passed then; the next alarm is due in a thousand seconds all the same."""
    driver, fired = driver_here(), list[str]()
    for _ in range(12):  # trio draws which task is first
        now = driver.clock()
        soon = driver.call_at(now + 0.001, lambda: fired.append("soon"))
        late = driver.call_at(now + 1000, lambda: fired.append("late"))
        await trio.sleep_until(now + 0.001)
        soon.cancel()
        await trio.sleep(0.0005)
        late.cancel()
        driver.alarms._check()
    assert "late" not in fired


@pytest.mark.asyncio_only
async def test_a_callback_that_raises_is_told_to_the_loop() -> None:
    """As any callback's error; the alarms after it fire."""
    driver: Any = driver_here()
    told, done = list[BaseException](), anyio.Event()

    def broken() -> None:
        raise Broken

    def handler(_loop: object, context: dict[str, Any]) -> None:
        told.append(context["exception"])

    driver.loop.set_exception_handler(handler)
    try:
        now = driver.clock()
        driver.call_at(now, broken)
        driver.call_at(now, done.set)
        with anyio.fail_after(5):
            await done.wait()
    finally:
        driver.loop.set_exception_handler(None)
    assert [type(error) for error in told] == [Broken]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_loses_no_alarm(error: type[BaseException]) -> None:
    """It leaves the loop; when the loop runs on, so do the alarms."""
    loop = asyncio.new_event_loop()
    fired: list[str] = []

    async def begin() -> Driver:
        driver = driver_here()
        driver.call_at(driver.clock() + 0.002, interrupt)
        driver.call_at(driver.clock() + 0.004, last)
        return driver

    def last() -> None:
        fired.append("later")
        loop.stop()

    def interrupt() -> None:
        driver.call_at(driver.clock(), lambda: fired.append("next"))
        raise error

    try:
        driver = loop.run_until_complete(begin())
        loop.call_later(10, loop.stop)
        with pytest.raises(error):
            loop.run_forever()
        loop.run_forever()
        assert sorted(fired) == ["later", "next"]
        driver.alarms._check()
    finally:
        loop.close()


def test_a_run_of_trio_ends_with_alarms_set() -> None:
    """They are given up, and the next run has alarms of its own."""
    fired: list[str] = []

    async def main(name: str) -> Alarm:
        driver = driver_here()
        driver.call_at(driver.clock() + 0.001, lambda: fired.append(name))
        pending = driver.call_at(driver.clock() + 1000, lambda: fired.append("never"))
        driver.call_at(driver.clock() + 2000, lambda: fired.append("never"))
        while name not in fired:
            await trio.sleep(0)
        return pending

    old = trio.run(main, "first")
    old.cancel()
    trio.run(main, "second")
    assert fired == ["first", "second"]


def test_a_loop_of_asyncio_ends_with_alarms_set() -> None:
    """Cancelling them afterwards is no error."""

    async def main() -> list[Alarm]:
        driver = driver_here()
        return [driver.call_at(driver.clock() + n, quiet) for n in (100, 200, 300)]

    for alarm in asyncio.run(main()):
        alarm.cancel()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="not applicable: tasks die when the collector runs")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tasks_that_die_with_their_loop_withdraw_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that was closed with tasks in it takes no timer any more, and none is asked for."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: unraisable.append(what.exc_value))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)

    async def main() -> None:
        for wait in (Timer(100).wait(), Timer(200).wait(), sleep(300), sleep(400)):
            asyncio.ensure_future(wait)
        for _ in range(3):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    del loop
    gc.collect()
    assert unraisable == []


@on_both
def test_equal_times_fire_in_every_order_under_explore(backend: Backend) -> None:
    """T2: the schedule draws it."""
    seen = set[tuple[int, ...]]()

    async def main() -> None:
        driver, fired = driver_here(), list[int]()
        for number in range(3):
            driver.call_at(5.0, partial(fired.append, number))
        await sleep(6)
        seen.add(tuple(fired))

    explore(main, backend=backend, runs=80)
    assert len(seen) == 6


@on_both
def test_the_time_of_an_alarm_is_exact_in_virtual_time(backend: Backend) -> None:
    """No tick is added, and time does not stop where nothing happens."""

    async def main() -> list[float]:
        driver, fired = driver_here(), list[float]()
        cancelled = [driver.call_at(n + 0.25, quiet) for n in range(100)]
        for n in range(3):
            driver.call_at(n + 0.0004, lambda: fired.append(driver.clock()))
        for alarm in cancelled:
            alarm.cancel()
        await sleep(0.5)
        fired.append(driver.clock())
        await sleep(2)
        return fired

    assert testing.run(main, backend=backend) == [0.0004, 0.5, 1.0004, 2.0004]


def test_an_ordinary_run_has_no_alarms_at_its_end() -> None:
    """What a program cancels when it ends takes its alarms with it."""

    async def main() -> Driver:
        for seconds in (10, 20, 1e100):
            go(sleep, seconds)
        await sleep(0.001)
        return driver_here()

    driver = run(main)
    assert len(driver.alarms) == 0
