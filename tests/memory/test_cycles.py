"""No operation makes a reference cycle: reference counts free everything of it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from tests.turns import given_up, timeout

from gochan import Channel, ChannelClosed, Event, Group, select, send

from .helpers import Value, settle


@contextmanager
def no_garbage() -> Iterator[None]:
    """In the block nothing of gochan may come to need the collector: all of it dies by reference count alone."""
    for _ in range(3):  # what other tests left may take more than one round: finalizers bring things back to life
        gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        ours = [thing for thing in gc.garbage if type(thing).__module__.partition(".")[0] == "gochan"]
        assert ours == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def handing_over() -> None:
    ch = Channel[Value]()
    async with asyncio.TaskGroup() as group:
        group.create_task(ch.send(Value()))
        group.create_task(ch.receive())
    async with asyncio.TaskGroup() as group:
        group.create_task(ch.receive())
        group.create_task(ch.send(Value()))


async def selecting() -> None:
    a, b = Channel[Value](), Channel[Value]()
    async with asyncio.TaskGroup() as group:
        group.create_task(select(a, send(b, Value())))
        await asyncio.sleep(0)
        await a.send(Value())
    b.close()
    try:
        await select(a, b)
    except ChannelClosed:
        pass


async def giving_up() -> None:
    ch, event = Channel[Value](), Event()
    operations: list[Callable[[], Awaitable[object]]] = [
        ch.receive,
        lambda: ch.send(Value()),
        lambda: select(ch, event),
        event.wait,
    ]
    for operation in operations:
        try:
            async with timeout():
                await operation()
        except TimeoutError:
            pass
        with given_up():
            await operation()


async def closing() -> None:
    ch = Channel[Value]()
    waiting = [asyncio.create_task(ch.receive()) for _ in range(3)]
    await asyncio.sleep(0)
    ch.close(ValueError("why"))
    for task in waiting:
        try:
            await task
        except ChannelClosed:
            pass
    del task, waiting
    for _ in range(2):
        try:
            await ch.send(Value())
        except ChannelClosed:
            pass


async def ending_tasks() -> None:
    ch = Channel[Value]()
    operations: list[Callable[[], Coroutine[Any, Any, object]]]
    operations = [ch.receive, Event().wait, lambda: select(ch)]
    waiting = [asyncio.create_task(operation()) for operation in operations]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    operations = [ch.receive, lambda: select(ch), ch.receive_many]
    waiting = [asyncio.create_task(operation()) for operation in operations]
    await asyncio.sleep(0)
    ch.close()
    await asyncio.wait(waiting)
    for task in waiting:
        assert task.exception() is not None


async def grouping() -> None:
    ch = Channel[Value]()
    async with Group() as group:
        goroutine = group.go(ch.receive)
        await ch.send(Value())
        await goroutine.result()


@pytest.mark.parametrize("operations", [handing_over, selecting, giving_up, closing, ending_tasks, grouping])
def test_no_cycles(operations: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """No operation leaves a reference cycle behind, however it ended: reference counts free everything of it."""

    async def main() -> None:
        with anyio.fail_after(10):
            await operations()  # what is made once is made here
            with no_garbage():
                await operations()
                await settle()

    asyncio.run(main())


def test_channel_dies_with_its_last_reference() -> None:
    """A channel, with the values in it, dies by reference count when the last one who knew it lets it go."""

    async def main() -> None:
        with anyio.fail_after(10):
            gc.collect()
            gc.disable()
            try:
                ch = Channel[Value](3)
                async with asyncio.TaskGroup() as group:
                    group.create_task(ch.receive())
                    await asyncio.sleep(0)
                    await ch.send(Value())
                value = Value()
                await ch.send(value)
                watched: list[weakref.ref[Any]] = [weakref.ref(ch), weakref.ref(value)]
                del value, group, ch
                await asyncio.sleep(0)
                assert [ref() for ref in watched] == [None, None]
            finally:
                gc.enable()

    asyncio.run(main())
