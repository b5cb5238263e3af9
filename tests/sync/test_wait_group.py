"""WaitGroup: counting and waiting; ``go`` has a file of its own."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle
from tests.diagnostics.looking import seen
from tests.threads import Call

import gochan
from gochan import Deadlock, Event, Group, WaitGroup, after, select, try_select
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def nothing() -> None: ...


async def boom() -> None:
    raise ValueError("boom")


async def for_ever() -> None:
    await Event().wait()


# ---- counting ----


@bounded
async def test_wait_returns_at_once_at_zero() -> None:
    """A new one counts nothing, and nobody has to wait for that."""
    await WaitGroup().wait()


@bounded
async def test_everybody_goes_on_at_zero() -> None:
    """All who wait, and not before zero."""
    group, woken = WaitGroup(), list[int]()

    async def waiter(number: int) -> None:
        await group.wait()
        woken.append(number)

    group.add(3)
    assert group.count == 3
    async with Group() as waiters:
        for number in range(4):
            waiters.go(waiter, number)
            await settle()
        group.done()
        group.add(-1)
        await settle()
        assert (group.count, woken) == (1, [])
        group.done()
        assert group.count == 0
    assert sorted(woken) == [0, 1, 2, 3]


@pytest.mark.asyncio_only
@bounded
async def test_they_are_woken_in_the_order_in_which_they_came() -> None:
    """Plain waits and select cases in one queue. (trio resumes a batch in an order of its own.)"""
    group, woken = WaitGroup(), list[int]()
    group.add()

    async def waiter(number: int) -> None:
        await (select(None, group) if number % 2 else group.wait())
        woken.append(number)

    async with Group() as waiters:
        for number in range(6):
            waiters.go(waiter, number)
            await settle()
        group.done()
    assert woken == [0, 1, 2, 3, 4, 5]


@bounded
async def test_it_can_be_used_again_at_once() -> None:
    """Who waited for the first zero goes on though there is more to wait for already: they were told at zero."""
    group = WaitGroup()
    group.add()
    async with Group() as waiters:
        first = waiters.go(group.wait)
        await settle()
        group.done()
        group.add()
        second = waiters.go(group.wait)
        await first.result()
        await settle()
        assert not second.done.is_set()
        group.done()
        await second.result()


@pytest.mark.parametrize("number", [-1, -3, -(10**30)])
def test_it_does_not_count_below_zero(number: int) -> None:
    """A ValueError says by what and where it stood; nothing is changed."""
    group = WaitGroup()
    with pytest.raises(ValueError, match=r"done\(\) was called more often"):
        group.add(number)
    group.add(2)
    with pytest.raises(ValueError, match=f"count=2.* by {-number + 2}:"):
        group.add(number - 2)
    assert group.count == 2
    group.done()
    group.done()
    with pytest.raises(ValueError, match="count=0"):
        group.done()
    assert group.count == 0
    group._state._check()


@bounded
async def test_a_wrong_done_leaves_those_who_wait() -> None:
    """They wait for the zero that comes, not for one that would be passed."""
    group = WaitGroup()
    group.add(2)
    async with Group() as waiters:
        waiter = waiters.go(group.wait)
        await settle()
        with pytest.raises(ValueError, match="cannot count down by 3"):
            group.add(-3)
        await settle()
        assert not waiter.done.is_set()
        group._state._check()
        group.add(-2)


@pytest.mark.parametrize("number", [1.0, "1", None, True, 1j], ids=repr)
def test_only_whole_numbers_are_counted(number: Any) -> None:
    """A TypeError; a bool is no number of things."""
    group = WaitGroup()
    with pytest.raises(TypeError, match="whole numbers") as caught:
        group.add(number)
    assert repr(number) in str(caught.value)
    assert group.count == 0


def test_counting_nothing_is_nothing() -> None:
    """``add(0)``."""
    group = WaitGroup()
    group.add(0)
    assert group.count == 0


def test_a_wait_group_stays_where_it_is() -> None:
    """A copy would have a count of its own, and waiters that nobody can wake."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(WaitGroup())


def test_it_says_how_it_stands() -> None:
    """In its repr."""
    group = WaitGroup()
    group.add(2)
    assert repr(group) == "<WaitGroup count=2 waiters=0>"


# ---- select ----


@bounded
async def test_it_is_a_case_of_a_select() -> None:
    """Ready at zero, with None; otherwise a time-out may come first, which Go has no way to say."""
    group = WaitGroup()
    assert try_select(group) == (0, None)
    group.add()
    assert try_select(group) is None
    assert (await select(group, after(0.001)))[0] == 1
    group._state._check()
    assert "waiters=0" in repr(group)
    async with Group() as waiters:
        chosen: gochan.Goroutine[Any] = waiters.go(select, group, None)
        await settle()
        group.done()
        assert await chosen.result() == (0, None)
    assert await select(gochan.Channel[int](), group) == (1, None)


# ---- where it may be used ----


@bounded
async def test_another_thread_is_refused() -> None:
    """While the WaitGroup belongs to a loop; what it counts is left alone."""
    group = WaitGroup()
    group.add()
    async with Group() as waiters:
        waiters.go(group.wait)
        await settle()
        for wrong in (group.done, group.add):
            with pytest.raises(RuntimeError, match="another thread"):
                await Call(wrong).result()

        async def elsewhere() -> None:
            await group.wait()

        with pytest.raises(RuntimeError, match="another thread"):
            await Call(asyncio.run, elsewhere()).result()
        assert group.count == 1
        group.done()


@backends
def test_the_next_loop_may_take_it_over(backend: Backend) -> None:
    """Count and all, when the first loop is closed."""
    group = WaitGroup()
    group.add(2)

    async def wait_in_vain() -> None:
        with anyio.move_on_after(0.001):
            await group.wait()
        group.done()

    anyio.run(wait_in_vain, backend=backend)

    async def wait() -> None:
        with anyio.fail_after(5):
            async with Group() as waiters:
                waiters.go(group.wait)
                await settle()
                group.done()

    anyio.run(wait, backend="trio" if backend == "asyncio" else "asyncio")


# ---- cancellation, schedules, what dumps say ----


@backends
@pytest.mark.parametrize("selecting", [False, True])
def test_cancelled_anywhere_it_leaves_nothing(backend: Backend, selecting: bool) -> None:
    """At every suspension; who was told at zero returns."""

    async def setup() -> WaitGroup:
        group = WaitGroup()
        group.add()
        gochan.go(down, group)
        return group

    async def down(group: WaitGroup) -> None:
        await anyio.sleep(1)
        group.done()

    async def operation(group: WaitGroup) -> None:
        await (select(group, None) if selecting else group.wait())

    def check(group: WaitGroup, outcome: CancelOutcome) -> None:
        group._state._check()
        assert not group._state.waiters

    assert cancel_sweep(setup, operation, check, backend=backend).returned > 0


@backends
def test_no_schedule_strands_a_waiter(backend: Backend) -> None:
    """Counted up and down by several, waited for by several, some of whom are cancelled."""

    async def main() -> None:
        group = WaitGroup()
        returned = list[int]()

        async def wait(number: int) -> None:
            await group.wait()
            returned.append(number)

        async def work() -> None:
            await gochan.sleep(0)

        async with Group() as waiters:
            group.add()
            handles = [waiters.go(wait, number) for number in range(3)]
            for _ in range(2):
                group.go(work)
            waiters.go(work).cancel()
            handles[1].cancel()
            await gochan.sleep(0)
            group.done()
        assert {0, 2} <= set(returned)
        group._state._check()
        assert not group._state.waiters

    explore(main, backend=backend, runs=60)


@bounded
async def test_dumps_say_what_is_waited_for() -> None:
    """Go's words; the WaitGroup itself is named."""
    group = WaitGroup()
    group.add()
    found = await seen(group.wait)
    assert found.state == "sync.WaitGroup.Wait"
    assert found.waiting_on == ("<WaitGroup count=1 waiters=1>",)


@backends
def test_a_missing_done_is_a_deadlock(backend: Backend) -> None:
    """With its word."""

    async def main() -> None:
        group = WaitGroup()
        group.add()
        await group.wait()

    with pytest.raises(Deadlock, match=r"sync\.WaitGroup\.Wait"):
        gochan.run(main, backend=backend)


# ---- cost ----


@pytest.mark.asyncio_only
@bounded
async def test_ten_thousand_are_flat() -> None:
    """Counting, and leaving the queue, take as many calls among ten thousand who wait as among ten."""

    async def calls_among(number: int) -> list[int]:
        group = WaitGroup()
        group.add(number)
        async with Group() as waiters:
            handles = [waiters.go(group.wait) for _ in range(number)]
            await settle(3)
            counted = [calls_in(group.done), calls_in(group.add), calls_in(handles[number // 2].cancel)]
            group.add(-number)
        return counted

    assert await calls_among(10_000) == await calls_among(10)


def calls_in(fn: Callable[[], object]) -> int:
    """How many functions a call calls, C's included."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        fn()
    finally:
        sys.setprofile(None)
    return count
