"""asyncio's own cancellation around a group, and what a group leaves of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from tests.turns import parked, timeout

from gochan import Channel, Event, Group

from .helpers import Oops, bounded, cancelling, settle, wait_parked


@pytest.mark.asyncio_only
@pytest.mark.parametrize("where", ["body", "end"])
@bounded
async def test_native_cancel(where: str) -> None:
    """task.cancel() of the task that holds a group ends the goroutines, then the task, as a cancellation."""
    ch, ended = Channel[int](), list[str]()

    async def worker() -> None:
        try:
            await ch.receive()
        finally:
            with anyio.CancelScope(shield=True):
                await parked()
            ended.append("worker")

    async def holder() -> None:
        async with Group() as group:
            group.go(worker)
            group.go(worker)
            if where == "body":
                await Event().wait()

    task = asyncio.create_task(holder())
    await wait_parked(ch, receivers=2)
    task.cancel("stop")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert ended == ["worker", "worker"]


@pytest.mark.asyncio_only
@pytest.mark.parametrize("where", ["body", "end"])
@bounded
async def test_asyncio_timeout_around_a_group(where: str) -> None:
    """asyncio.timeout() around a group ends the goroutines, raises TimeoutError, and leaves no cancellation behind."""
    ch = Channel[int]()
    before = cancelling()
    with pytest.raises(TimeoutError):
        async with timeout():
            async with Group() as group:
                group.go(ch.receive)
                if where == "body":
                    await ch.receive()
    assert cancelling() == before
    assert ch.statistics().receivers_waiting == 0
    await parked()


@pytest.mark.asyncio_only
@bounded
async def test_asyncio_timeout_in_a_goroutine() -> None:
    """asyncio.timeout() inside a goroutine ends what is in it, and nothing else."""
    log: list[object] = []

    async def worker() -> None:
        try:
            async with timeout():
                await Channel[int]().receive()
        except TimeoutError:
            log.append(cancelling())
        await parked()
        log.append("went on")

    async with Group() as group:
        group.go(worker)
    assert log == [0, "went on"]


@pytest.mark.asyncio_only
@pytest.mark.parametrize("where", ["body", "end"])
@bounded
async def test_failure_leaves_no_cancellation(where: str) -> None:
    """A group that failed has cancelled its own body, and leaves no trace of that in the task."""

    async def fail() -> None:
        await settle()
        raise Oops

    before = cancelling()
    for wait in (Channel[int]().receive, anyio.sleep_forever, asyncio.get_running_loop().create_future):
        with pytest.raises(ExceptionGroup):
            async with Group() as group:
                group.go(fail)
                if where == "body":
                    await wait()
        assert cancelling() == before
        await parked()


@pytest.mark.asyncio_only
@bounded
async def test_cancel_leaves_no_cancellation() -> None:
    """group.cancel() from the body or a goroutine leaves no trace in the task when the group is left."""
    before = cancelling()
    async with Group() as group:
        group.go(Channel[int]().receive)
        group.cancel()
    assert cancelling() == before
    async with Group() as group:

        async def canceller() -> None:
            await settle()
            group.cancel()

        group.go(canceller)
        await Channel[int]().receive()
    assert cancelling() == before
    await parked()


@pytest.mark.asyncio_only
@bounded
async def test_native_cancel_while_a_failed_group_ends() -> None:
    """A native cancellation that comes while a failed group waits for its goroutines is not lost."""
    entered = asyncio.Event()

    async def slow() -> None:
        try:
            await Channel[int]().receive()
        finally:
            entered.set()
            with anyio.CancelScope(shield=True):
                await parked(20)

    async def fail() -> None:
        await settle()
        raise Oops

    async def holder() -> None:
        try:
            async with Group() as group:
                group.go(slow)
                group.go(fail)
        except* Oops:
            pass
        await asyncio.sleep(5)

    task = asyncio.create_task(holder())
    await entered.wait()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, ExceptionGroup)):
        await task
    assert task.cancelled()


@pytest.mark.asyncio_only
@bounded
async def test_group_in_an_asyncio_task_group() -> None:
    """An asyncio.TaskGroup that is aborted ends a group in it; a failing goroutine aborts the TaskGroup."""
    ended: list[str] = []

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            ended.append("worker")

    async def fail() -> None:
        await settle()
        raise Oops

    async def holder(*work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with Group() as group:
            for fn in work:
                group.go(fn)

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(holder(worker))
            tg.create_task(fail())
    assert caught.group_contains(Oops, depth=1)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(worker())
            tg.create_task(holder(worker, fail))
    assert caught.group_contains(Oops, depth=2)
    assert ended == ["worker"] * 3
    if sys.version_info >= (3, 13):  # before, an asyncio.TaskGroup that is waiting at its end leaves one behind itself
        assert cancelling() == 0


@pytest.mark.asyncio_only
@bounded
async def test_asyncio_task_group_in_a_goroutine() -> None:
    """An asyncio.TaskGroup in a goroutine is aborted when the group is cancelled."""
    ended: list[str] = []

    async def child() -> None:
        try:
            await Channel[int]().receive()
        finally:
            ended.append("child")

    async def worker() -> None:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(child())
            tg.create_task(child())

    async with Group() as group:
        group.go(worker)
        await settle()
        group.cancel()
    assert ended == ["child", "child"]
