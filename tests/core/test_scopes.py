"""Goroutines as members of anyio's scopes: the canary for the names that takes, and life without them."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import until

from gochan import Cancelled, Deadlock, Event, Group, run
from gochan._core import scopes


def test_the_names_of_anyio_are_there() -> None:
    """This anyio has what ``scopes`` uses; without it a shield inside a goroutine would not hold."""
    assert scopes.AVAILABLE, f"anyio {version('anyio')} moved the scope table: see gochan/_core/scopes.py"


async def forever() -> None:
    await Event().wait()


async def fail() -> None:
    raise ValueError("failed")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_goroutine_behind_a_shield_lets_the_loop_sleep(backend: Literal["asyncio", "trio"]) -> None:
    """Its clean-up waits for ever: that is seen as a deadlock, which needs a loop that has nothing to do."""

    async def careful() -> None:
        try:
            await forever()
        finally:
            with anyio.CancelScope(shield=True):
                await forever()

    async def main() -> None:
        async with Group() as group:
            goroutine = group.go(careful)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            goroutine.cancel()
            goroutine.cancel()

    with pytest.raises(Deadlock):
        run(main, backend=backend)


async def test_cancelled_behind_a_shield_and_then_in_front_of_it() -> None:
    """The cancellation comes back when the shield is left, in whichever scope the goroutine is then; and once more."""
    log = list[str]()
    go_on = Event()

    async def careful() -> None:
        with anyio.CancelScope():
            with anyio.CancelScope(shield=True):
                await go_on.wait()
            log.append("left the shield")
            try:
                await forever()
            finally:
                log.append("cancelled")
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                log.append("cleaned up")
        log.append("not reached")

    with anyio.fail_after(5):
        async with Group() as group:
            goroutine = group.go(careful)
            await anyio.wait_all_tasks_blocked()
            goroutine.cancel()
            await anyio.lowlevel.checkpoint()
            go_on.set()
        with pytest.raises(Cancelled):
            await goroutine.result()
    assert log == ["left the shield", "cancelled", "cleaned up"]


@pytest.fixture(params=[True, False], ids=["members", "fallback"])
def available(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the names of anyio, and as if this anyio did not have them."""
    monkeypatch.setattr(scopes, "AVAILABLE", request.param)
    here: bool = request.param
    return here


@pytest.mark.usefixtures("available")
@pytest.mark.parametrize(
    "how",
    ["cancel", "failure", "body", "outer scope", "handle", pytest.param("native", marks=pytest.mark.asyncio_only)],
)
async def test_every_way_to_end_a_group(how: str) -> None:
    """Each reaches all the goroutines, waiting ones and those that clean up, and leaves no cancellation behind."""
    cleaned = list[int]()

    async def careful(number: int) -> None:
        try:
            await forever()
        finally:
            cleaned.append(number)

    async def use() -> None:
        async with Group() as group:
            handles = [group.go(careful, number) for number in range(3)]
            await until(lambda: all(handle._state == "running" for handle in handles))
            await anyio.wait_all_tasks_blocked()
            match how:
                case "cancel":
                    group.cancel()
                case "failure":
                    group.go(fail)
                case "body":
                    await fail()
                case "handle":
                    for handle in handles:
                        handle.cancel()
                case "native":
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                    await forever()
                case _:
                    scope.cancel()

    scope = anyio.CancelScope()
    with anyio.fail_after(20):
        with scope:
            if how in {"failure", "body"}:
                with pytest.raises(ExceptionGroup):
                    await use()
            elif how == "native":
                task = asyncio.create_task(use())
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                await use()
        assert sorted(cleaned) == [0, 1, 2]
        await anyio.sleep(0)


@pytest.mark.usefixtures("available")
async def test_a_goroutine_that_goes_on_is_cancelled_again() -> None:
    """As a scope does: until it is gone."""
    caught = 0

    async def stubborn() -> None:
        nonlocal caught
        while caught < 3:
            try:
                await anyio.sleep(5)
            except anyio.get_cancelled_exc_class():
                caught += 1

    with anyio.fail_after(20):
        async with Group() as group:
            group.go(stubborn)
            await anyio.wait_all_tasks_blocked()
            group.cancel()
    assert caught == 3


@pytest.mark.usefixtures("available")
async def test_nested_groups_and_results() -> None:
    """The ordinary course of things, one group in a goroutine of another."""

    async def inner(number: int) -> int:
        async with Group(limit=2) as group:
            handles = [group.go(square, number + n) for n in range(4)]
        return sum([await handle.result() for handle in handles])

    async def square(number: int) -> int:
        await anyio.sleep(0)
        return number * number

    with anyio.fail_after(20):
        async with Group() as group:
            handles = [group.go(inner, number) for number in range(3)]
        assert [await handle.result() for handle in handles] == [14, 30, 54]


@pytest.mark.asyncio_only
async def test_nobody_stays_in_the_table() -> None:
    """A goroutine that has ended is in no scope any more, however it ended."""
    with anyio.CancelScope():
        before = set(scopes._task_states)  # with this task itself, and perhaps garbage of other tests
    async with Group() as group:
        for _ in range(5):
            group.go(asyncio.sleep, 0)
        cancelled = group.go(forever)
        await anyio.sleep(0)
        assert len(group._scope._tasks) == 1 + 6
        cancelled.cancel()
    assert set(scopes._task_states) <= before


@pytest.mark.usefixtures("available")
async def test_go_in_a_stopped_group() -> None:
    """What is started after the end was called is cancelled as well."""
    with anyio.fail_after(20):
        async with Group() as group:
            group.cancel()
            late = group.go(anyio.sleep, 1)  # it ends: a failure must not hang
        with pytest.raises(Cancelled):
            await late.result()
