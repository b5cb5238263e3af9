"""What things weigh, that nothing grows, and that nothing is kept: no value, no waiter, no reference cycle."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

import gochan
from gochan import Channel, ChannelClosed, Event, Group, Mutex, Semaphore, select, send

CROWD = 10_000


class Scale:
    """Bytes allocated since it was made that are still alive."""

    def __init__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self._empty = tracemalloc.get_traced_memory()[0]

    def read(self) -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - self._empty


@pytest.fixture
def scale() -> Iterator[Callable[[], Scale]]:
    yield Scale
    tracemalloc.stop()


class Value:
    """Something that can be watched."""


async def settle() -> None:
    for _ in range(5):
        await anyio.sleep(0)


# ---- sizes ----


def test_idle_channel(scale: Callable[[], Scale]) -> None:
    """An idle channel takes less than 500 bytes."""
    keep: list[object] = [None] * CROWD
    Channel[int]()
    empty = scale()
    for i in range(CROWD):
        keep[i] = Channel[int]()
    assert empty.read() / CROWD < 500


def test_parked_goroutine(scale: Callable[[], Scale]) -> None:
    """A goroutine parked on a channel takes no more than 1.6 KB, everything counted."""

    async def main() -> float:
        ch = Channel[int]()

        async def worker() -> None:
            await ch.receive()

        async with Group() as group:
            group.go(worker)
            await settle()
            empty = scale()
            for _ in range(CROWD):
                group.go(worker)
            await settle()
            weight = empty.read()
            assert ch.statistics().receivers_waiting == CROWD + 1
            group.cancel()
        return weight / CROWD

    assert asyncio.run(main()) <= 1600


def test_parked_task(scale: Callable[[], Scale]) -> None:
    """A task parked on a channel takes less than 1 KB beyond what it takes on a bare asyncio future."""

    async def main(make: Callable[[], Coroutine[Any, Any, object]]) -> float:
        tasks: list[Any] = [None] * CROWD
        first = asyncio.create_task(make())
        await settle()
        empty = scale()
        for i in range(CROWD):
            tasks[i] = asyncio.create_task(make())
        await settle()
        weight = empty.read()
        for task in [first, *tasks]:
            task.cancel()
        await asyncio.wait([first, *tasks])
        return weight / CROWD

    ch = Channel[int]()

    async def on_channel() -> None:
        await ch.receive()

    async def on_future() -> None:
        await asyncio.get_running_loop().create_future()

    bare = asyncio.run(main(on_future))
    assert asyncio.run(main(on_channel)) - bare < 1000


def test_queues_give_their_memory_back(scale: Callable[[], Scale]) -> None:
    """What ten thousand waiters took is free again when they have left, though the channel lives on."""

    async def main() -> int:
        ch = Channel[int]()
        empty = scale()
        async with Group() as group:
            for _ in range(CROWD):
                group.go(ch.receive)
            await settle()
            assert ch.statistics().receivers_waiting == CROWD
            group.cancel()
        del group
        left = empty.read()
        assert ch.statistics().receivers_waiting == 0
        return left

    assert asyncio.run(main()) / CROWD < 100


# ---- no growth ----

ROUNDS = int(os.environ.get("GOCHAN_MEMORY_ROUNDS", "2000"))


async def growth(scale: Callable[[], Scale], rounds: int, body: Callable[[], Awaitable[object]]) -> float:
    """Bytes that one call of `body` leaves behind."""
    for _ in range(200):
        await body()
    empty = scale()
    for _ in range(rounds):
        await body()
    return empty.read() / rounds


async def losing_selects(scale: Callable[[], Scale], rounds: int) -> None:
    dummy, out, other = Channel[int](), Channel[int](), Channel[int]()
    out_full = Channel[int](1)
    out_full.send_nowait(0)

    async def partner() -> None:
        async for _ in out:
            await other.send(1)

    async def lose() -> None:
        out.send_nowait(0)  # the partner parks, or we would not be here
        index, _ = await select(dummy, other, send(out_full, 1), priority=True)
        assert index == 1
        await anyio.sleep(0)

    with anyio.fail_after(50 + rounds / 1_000):
        async with Group() as group:
            group.go(partner)
            await settle()
            assert await growth(scale, rounds, lose) < 8
            group.cancel()
    assert dummy.statistics().receivers_waiting == 0
    assert out_full.statistics().senders_waiting == 0


async def test_selects_that_lose(scale: Callable[[], Scale]) -> None:
    """A select that parked on a channel and lost there leaves nothing behind in it."""
    await losing_selects(scale, ROUNDS)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_selects_that_lose(scale: Callable[[], Scale]) -> None:
    """A hundred thousand selects that lose on a channel do not grow memory."""
    await losing_selects(scale, 100_000)


async def test_waiters_that_give_up(scale: Callable[[], Scale]) -> None:
    """A cancelled receive, send, select, acquire or wait leaves nothing behind."""
    ch, mutex, semaphore, event = Channel[int](), Mutex(), Semaphore(1), Event()
    mutex.acquire_nowait()
    semaphore.acquire_nowait()
    operations: list[Callable[[], Awaitable[object]]] = [
        ch.receive,
        lambda: ch.send(1),
        lambda: select(ch, event, mutex.acquiring()),
        mutex.acquire,
        semaphore.acquire,
        event.wait,
    ]

    async def give_up() -> None:
        for operation in operations:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await operation()

    with anyio.fail_after(50):
        assert await growth(scale, ROUNDS // 10, give_up) < 80
    statistics = ch.statistics()
    assert (statistics.receivers_waiting, statistics.senders_waiting) == (0, 0)


async def test_goroutines_that_end(scale: Callable[[], Scale]) -> None:
    """A goroutine that has ended leaves nothing behind in a group that lives on."""

    async def nothing() -> None:
        pass

    with anyio.fail_after(50):
        async with Group() as group:

            async def spawn() -> None:
                await group.go(nothing).result()
                await anyio.sleep(0)

            assert await growth(scale, ROUNDS // 2, spawn) < 40


async def test_contexts_that_end(scale: Callable[[], Scale]) -> None:
    """A cancelled child leaves nothing behind in its parent."""
    parent = gochan.background().with_cancel()

    async def child() -> None:
        with parent.with_cancel() as ctx:
            ctx.with_value("key", 1)

    with anyio.fail_after(50):
        assert await growth(scale, ROUNDS, child) < 8


# ---- no cycles ----


@contextmanager
def no_garbage() -> Iterator[None]:
    """In the block nothing of gochan may come to need the collector: all of it dies by reference count alone."""
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
    ch, event, mutex = Channel[Value](), Event(), Mutex()
    operations: list[Callable[[], Awaitable[object]]] = [
        ch.receive,
        lambda: ch.send(Value()),
        lambda: select(ch, event),
        event.wait,
    ]
    for operation in operations:
        try:
            async with asyncio.timeout(0.001):
                await operation()
        except TimeoutError:
            pass
        with anyio.move_on_after(0.001):
            await operation()
    async with mutex:
        with anyio.move_on_after(0.001):
            await mutex.acquire()


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
                await asyncio.sleep(0.01)

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


# ---- values are let go ----


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


by_count_alone = pytest.mark.usefixtures("no_collector")


@by_count_alone
@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("first", ["sender", "receiver"])
async def test_received_value_is_the_receivers_alone(capacity: int, first: str) -> None:
    """A value that was received is kept by nobody but the receiver, also while its sender lives on."""
    ch = Channel[Value](capacity)
    watched: list[weakref.ref[Value]] = []
    dead: list[bool] = []

    async def sender() -> None:
        value = Value()
        watched.append(weakref.ref(value))
        sending = ch.send(value)
        del value
        await sending
        del sending
        await anyio.sleep(0.01)

    async def receiver() -> None:
        value = await ch.receive()
        await anyio.sleep(0.005)  # until the sender is back from send()
        assert watched[0]() is value
        del value
        dead.append(watched[0]() is None)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            for run in (sender, receiver) if first == "sender" else (receiver, sender):
                tg.start_soon(run)
                await anyio.sleep(0.001)
    assert dead == [True]


@by_count_alone
async def test_buffer_lets_go() -> None:
    """A buffer keeps no value that was taken from it, or dropped."""
    with anyio.fail_after(10):
        ch = Channel[Value](3, overflow="drop_oldest")
        watched: list[weakref.ref[Value]] = []

        async def send_new() -> None:
            value = Value()
            watched.append(weakref.ref(value))
            await ch.send(value)

        for _ in range(4):
            await send_new()
        assert [ref() is None for ref in watched] == [True, False, False, False]
        await ch.receive()
        assert [ref() is None for ref in watched] == [True, True, False, False]
        await ch.receive_many()
        assert [ref() is None for ref in watched] == [True, True, True, True]


@by_count_alone
async def test_cancelled_send_lets_go() -> None:
    """The value of a send, or of a send case, that was cancelled or lost is let go."""
    ch, other = Channel[Value](), Channel[int]()
    watched: list[weakref.ref[Value]] = []

    def made() -> Value:
        value = Value()
        watched.append(weakref.ref(value))
        return value

    with anyio.fail_after(10):
        with anyio.move_on_after(0.001):
            await ch.send(made())
        with anyio.move_on_after(0.001):
            await select(send(ch, made()), other)
        async with anyio.create_task_group() as tg:
            tg.start_soon(other.send, 1)
            assert (await select(send(ch, made()), other))[0] == 1
        await anyio.sleep(0)
        assert [ref() for ref in watched] == [None, None, None]


@by_count_alone
@pytest.mark.asyncio_only
async def test_closed_send_lets_go() -> None:
    """The value of a send that the close of its channel ended is let go with the error."""
    ch = Channel[Value]()
    watched: list[weakref.ref[Value]] = []

    async def sender() -> None:
        value = Value()
        watched.append(weakref.ref(value))
        with pytest.raises(ChannelClosed):
            await ch.send(value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(sender)
            await settle()
            ch.close()
        await anyio.sleep(0)
        assert watched[0]() is None


@by_count_alone
async def test_goroutine_lets_go() -> None:
    """A group keeps neither the result nor the arguments of a goroutine that has ended."""
    watched: list[weakref.ref[Value]] = []

    def made() -> Value:
        value = Value()
        watched.append(weakref.ref(value))
        return value

    async def worker(argument: Value) -> Value:
        del argument
        return made()

    with anyio.fail_after(10):
        async with Group() as group:
            await group.go(worker, made()).result()
            await settle()
            assert [ref() for ref in watched] == [None, None]
