"""A goroutine is a task like any other: anyio works in it, and it takes along and gives back what a task does."""

from __future__ import annotations

import contextvars
import math
import traceback

import anyio
import pytest
from tests.turns import expire, given_up, parked

import gochan
from gochan import Channel, Group, select, send

from .helpers import Oops, bounded, settle, wait_parked


@bounded
async def test_anyio_primitives_in_goroutines() -> None:
    """anyio's events, locks, task groups, time-outs and threads work in a goroutine as in any task."""
    event, lock, found = anyio.Event(), anyio.Lock(), list[str]()

    async def setter() -> None:
        async with lock:
            await parked()
        event.set()

    async def worker() -> None:
        await event.wait()
        async with lock, anyio.create_task_group() as tg:
            tg.start_soon(anyio.sleep, 0)
        with given_up() as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        found.append(await anyio.to_thread.run_sync(str, 1))

    async with Group() as group:
        group.go(worker)
        group.go(setter)
    assert found == ["1"]


@bounded
async def test_scope_in_a_goroutine() -> None:
    """A cancel scope inside a goroutine ends the operation in it and nothing else."""
    ch, after = Channel[int](), list[str]()

    async def worker() -> None:
        with given_up() as scope:
            await ch.receive()
        assert scope.cancelled_caught
        after.append("moved on")
        with pytest.raises(TimeoutError), anyio.fail_after(math.inf) as limit:
            expire(limit)
            await select(ch, send(ch, 1))
        after.append("failed")
        await parked()

    async with Group() as group:
        goroutine = group.go(worker)
    await goroutine.result()
    assert after == ["moved on", "failed"]


@bounded
async def test_timeout_error_in_a_goroutine_is_a_failure() -> None:
    """fail_after() that fires in a goroutine fails its group, like any exception."""

    async def worker() -> None:
        with anyio.fail_after(math.inf) as scope:
            expire(scope)
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(worker)
            await Channel[int]().receive()
    assert [type(error) for error in caught.value.exceptions] == [TimeoutError]


@bounded
async def test_scope_at_the_call_is_not_the_goroutines() -> None:
    """A goroutine belongs to its group: a scope around the call of go() that ends does not end it."""
    ch = Channel[int]()
    async with Group() as group:
        with anyio.CancelScope() as scope:
            goroutine = group.go(ch.receive)
            await wait_parked(ch, receivers=1)
            scope.cancel()
            await anyio.sleep(0)
        await settle()
        await ch.send(1)
        assert await goroutine.result() == 1


@bounded
async def test_deadline_is_inherited() -> None:
    """A goroutine sees the deadline of the scopes around its group, as the children of anyio's task groups do."""
    deadlines: list[float] = []

    async def worker() -> None:
        deadlines.append(anyio.current_effective_deadline())

    with anyio.CancelScope(shield=True):
        async with Group() as group:
            group.go(worker)
        with anyio.move_on_after(5) as scope:
            async with Group() as group:
                group.go(worker)
    assert deadlines == [math.inf, scope.deadline]


colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@bounded
async def test_contextvars_at_the_call() -> None:
    """A goroutine sees the context variables as they were at the call of go(); what it sets stays with it."""
    seen: list[str] = []

    async def worker() -> None:
        seen.append(colour.get())
        colour.set("worker's")
        await anyio.sleep(0)
        seen.append(colour.get())

    async with Group() as group:
        colour.set("red")
        group.go(worker)
        colour.set("blue")
        gochan.go(worker)
        colour.set("green")
    assert sorted(seen) == ["blue", "red", "worker's", "worker's"]
    assert colour.get() == "green"


@bounded
async def test_contextvars_above_the_limit() -> None:
    """A goroutine that had to wait for a place sees the context variables of its call, too."""
    seen: list[str] = []

    async def worker() -> None:
        await anyio.sleep(0)
        seen.append(colour.get())

    async with Group(limit=1) as group:
        for name in ("red", "blue", "green"):
            colour.set(name)
            group.go(worker)
    assert seen == ["red", "blue", "green"]


def deep(depth: int) -> None:
    if depth:
        deep(depth - 1)
    raise Oops


async def raising() -> None:
    await anyio.sleep(0)
    deep(3)


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@bounded
async def test_group_error_keeps_its_traceback() -> None:
    """An exception comes out of the group with the traceback it had in the goroutine."""
    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(raising)
    (error,) = caught.value.exceptions
    assert frames(error)[-5:] == ["raising", "deep", "deep", "deep", "deep"]


@bounded
async def test_first_error_keeps_its_traceback() -> None:
    """With errors="first" the exception itself comes out, with its traceback."""
    with pytest.raises(Oops) as caught:
        async with Group(errors="first") as group:
            group.go(raising)
    assert frames(caught.value)[-5:] == ["raising", "deep", "deep", "deep", "deep"]


@bounded
async def test_result_keeps_its_traceback() -> None:
    """result() raises with the traceback of the goroutine, however often it is asked."""
    found: list[list[str]] = []

    with pytest.raises(ExceptionGroup):
        async with Group() as group:
            goroutine = group.go(raising)
            with anyio.CancelScope(shield=True):
                for _ in range(3):
                    try:
                        await goroutine.result()
                    except Oops as error:
                        found.append(frames(error))
    assert [names[-5:] for names in found] == [["raising", "deep", "deep", "deep", "deep"]] * 3
    assert len(found[0]) == len(found[-1])
