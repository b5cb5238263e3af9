"""Channel operations in other people's tasks: asyncio's, anyio's, trio's, and worker threads."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from tests.turns import timeout

from gochan import Channel, Event, select

from .helpers import Oops, bounded, wait_parked


@bounded
async def test_start_soon() -> None:
    """tg.start_soon(ch.send, value) of an anyio task group."""
    ch = Channel[int]()
    async with anyio.create_task_group() as tg:
        for i in range(3):
            tg.start_soon(ch.send, i)
        assert sorted([await ch.receive() for _ in range(3)]) == [0, 1, 2]


@pytest.mark.asyncio_only
@bounded
async def test_asyncio_task_group() -> None:
    """asyncio.TaskGroup.create_task(ch.send(value))."""
    ch = Channel[int]()
    async with asyncio.TaskGroup() as tg:
        for i in range(3):
            tg.create_task(ch.send(i))
        assert [await ch.receive() for _ in range(3)] == [0, 1, 2]


@pytest.mark.trio_only
@bounded
async def test_nursery() -> None:
    """nursery.start_soon(ch.send, value) of trio."""
    import trio

    ch = Channel[int]()
    async with trio.open_nursery() as nursery:
        for i in range(3):
            nursery.start_soon(ch.send, i)
        assert sorted([await ch.receive() for _ in range(3)]) == [0, 1, 2]


@pytest.mark.asyncio_only
@bounded
async def test_task_group_abort() -> None:
    """The abort of an asyncio.TaskGroup withdraws operations, and leaves no cancellation in its parent."""
    ch = Channel[int]()

    async def fail() -> None:
        await wait_parked(ch, receivers=2)
        raise Oops

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(ch.receive())
            tg.create_task(fail())
            await ch.receive()
    assert caught.group_contains(Oops)
    assert ch.statistics().receivers_waiting == 0
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.asyncio_only
@bounded
async def test_gather() -> None:
    """asyncio.gather() around operations, the two ends of one hand-off too."""
    ch, done = Channel[int](), Event()
    assert list(await asyncio.gather(ch.send(1), ch.receive())) == [None, 1]
    assert list(await asyncio.gather(ch.receive(), ch.send(2))) == [2, None]
    done.set()
    assert list(await asyncio.gather(select(ch, done), done.wait())) == [(1, None), None]


@pytest.mark.asyncio_only
@bounded
async def test_wait_for() -> None:
    """wait_for() that times out has received nothing; one that does not returns the value."""
    ch = Channel[int]()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ch.receive(), 0.001)  # a timer of asyncio's that nobody can reach
    assert ch.statistics().receivers_waiting == 0
    with pytest.raises(anyio.WouldBlock):
        ch.send_nowait(1)
    sender = asyncio.create_task(ch.send(2))
    assert await asyncio.wait_for(ch.receive(), 5) == 2
    await sender
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ch.send(3), 0.001)
    with pytest.raises(anyio.WouldBlock):
        ch.receive_nowait()


@pytest.mark.asyncio_only
@bounded
async def test_create_task() -> None:
    """Operations in tasks: awaited, waited for, cancelled."""
    ch = Channel[int]()
    receiving = asyncio.create_task(ch.receive())
    losing = asyncio.create_task(ch.receive())
    await wait_parked(ch, receivers=2)
    await ch.send(1)
    done, pending = await asyncio.wait([receiving, losing], return_when=asyncio.FIRST_COMPLETED)
    assert (done, pending) == ({receiving}, {losing})
    assert receiving.result() == 1
    losing.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as caught:
        await losing
    assert caught.value.args == ("enough",)
    assert losing.cancelled()
    assert ch.statistics().receivers_waiting == 0


@pytest.mark.asyncio_only
@bounded
async def test_asyncio_shield() -> None:
    """asyncio.shield() keeps an operation going when its caller is cancelled."""
    ch = Channel[int]()
    receiving = asyncio.ensure_future(ch.receive())
    with pytest.raises(TimeoutError):
        async with timeout():
            await asyncio.shield(receiving)
    await ch.send(1)
    assert await receiving == 1


@bounded
async def test_operations_from_threads() -> None:
    """anyio.from_thread.run(ch.send, value) from a worker thread."""
    ch = Channel[int]()

    def in_thread() -> int:
        anyio.from_thread.run(ch.send, 1)
        return anyio.from_thread.run(ch.receive)

    async with anyio.create_task_group() as tg:

        async def thread() -> None:
            assert await anyio.to_thread.run_sync(in_thread) == 2

        tg.start_soon(thread)
        assert await ch.receive() == 1
        await ch.send(2)
