"""gochan among its neighbours: as anyio's streams, under asyncio's, anyio's and trio's tasks and cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import math
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import anyio
import pytest
from anyio.abc import ObjectReceiveStream, ObjectSendStream, ObjectStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.stapled import StapledObjectStream
from anyio.streams.text import TextReceiveStream

import gochan
from gochan import Channel, ChannelClosed, Event, Group, Mutex, select, send

P = ParamSpec("P")
LIMIT = 10


def bounded(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Coroutine[Any, Any, None]]:
    """No wait of the test is longer than LIMIT."""

    @wraps(test)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        with anyio.fail_after(LIMIT):
            await test(*args, **kwargs)

    return wrapper


async def settle() -> None:
    """Let everybody run until they wait."""
    for _ in range(10):
        await anyio.sleep(0)


async def wait_parked(ch: Channel[Any], *, senders: int = 0, receivers: int = 0) -> None:
    while True:
        statistics = ch.statistics()
        if (statistics.senders_waiting, statistics.receivers_waiting) == (senders, receivers):
            return
        await anyio.sleep(0)


class Oops(Exception):
    pass


# ---- a channel is an object stream ----


def test_is_an_object_stream() -> None:
    """A Channel is an ObjectStream, and each half of one, to isinstance too."""
    ch = Channel[int]()
    assert isinstance(ch, ObjectStream)
    assert isinstance(ch, ObjectSendStream)
    assert isinstance(ch, ObjectReceiveStream)


@bounded
async def test_stream_code_works_on_a_channel() -> None:
    """Code written for anyio's object streams runs on a channel: send, receive, async for, aclose."""

    async def produce(stream: ObjectSendStream[int]) -> None:
        async with stream:
            for i in range(5):
                await stream.send(i)

    async def consume(stream: ObjectReceiveStream[int]) -> list[int]:
        first = await stream.receive()
        return [first, *[item async for item in stream]]

    ch = Channel[int]()
    async with anyio.create_task_group() as tg:
        tg.start_soon(produce, ch)
        assert await consume(ch) == [0, 1, 2, 3, 4]


@bounded
async def test_aclose_ends_both_ends() -> None:
    """After aclose() a receiver gets anyio.EndOfStream, a sender anyio.ClosedResourceError, waiting ones included."""
    ch = Channel[int]()

    async def receiver() -> None:
        with pytest.raises(anyio.EndOfStream):
            await ch.receive()

    async with anyio.create_task_group() as tg:
        tg.start_soon(receiver)
        await wait_parked(ch, receivers=1)
        await ch.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await ch.send(1)
    with pytest.raises(anyio.EndOfStream):
        await ch.receive()
    await ch.aclose()


@bounded
async def test_send_eof() -> None:
    """send_eof() is close(): what is buffered is still received, then the stream ends."""
    ch = Channel[int](2)
    await ch.send(1)
    await ch.send_eof()
    assert ch.closed
    assert [item async for item in ch] == [1]
    with pytest.raises(anyio.ClosedResourceError):
        await ch.send(2)


def test_no_extra_attributes() -> None:
    """There are no extra attributes; asking for one gives anyio's own answer."""

    class Attributes(anyio.TypedAttributeSet):
        colour: str = anyio.typed_attribute()

    ch = Channel[int]()
    assert dict(ch.extra_attributes) == {}
    assert ch.extra(Attributes.colour, "none") == "none"
    with pytest.raises(anyio.TypedAttributeLookupError):
        ch.extra(Attributes.colour)


@bounded
async def test_stapled() -> None:
    """Two channels make a StapledObjectStream; closing it closes both."""
    there, back = Channel[int](1), Channel[int](1)
    stapled = StapledObjectStream(there, back)
    await stapled.send(1)
    await back.send(2)
    assert await stapled.receive() == 2
    assert await there.receive() == 1
    await stapled.aclose()
    assert there.closed
    assert back.closed


@bounded
async def test_bytes_and_text_over_a_channel() -> None:
    """anyio's buffered and text streams read from a channel of bytes, and see its close as the end."""
    ch = Channel[bytes](5)
    for chunk in (b"ab", b"c\nde", "é".encode()[:1], "é".encode()[1:]):
        await ch.send(chunk)
    ch.close()
    buffered = BufferedByteReceiveStream(ch)
    assert await buffered.receive_until(b"\n", 10) == b"abc"
    assert await buffered.receive_exactly(2) == b"de"
    text = TextReceiveStream(ch)
    assert await text.receive() == "é"
    with pytest.raises(anyio.IncompleteRead):
        await buffered.receive_exactly(1)


# ---- the operations in other people's tasks ----


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
        await asyncio.wait_for(ch.receive(), 0.01)
    assert ch.statistics().receivers_waiting == 0
    with pytest.raises(anyio.WouldBlock):
        ch.send_nowait(1)
    sender = asyncio.create_task(ch.send(2))
    assert await asyncio.wait_for(ch.receive(), 5) == 2
    await sender
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ch.send(3), 0.01)
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
        async with asyncio.timeout(0.01):
            await asyncio.shield(receiving)
    await ch.send(1)
    assert await receiving == 1


@bounded
async def test_committed_beats_a_scope() -> None:
    """An operation committed before its scope was cancelled returns normally; the next that waits is cancelled."""
    ch = Channel[int]()
    got: list[int] = []

    async def receiver(scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await ch.receive())
            await ch.receive()
            got.append(-1)

    async with anyio.create_task_group() as tg:
        scope = anyio.CancelScope()
        tg.start_soon(receiver, scope)
        await wait_parked(ch, receivers=1)
        ch.send_nowait(1)
        scope.cancel()
    assert got == [1]
    assert scope.cancelled_caught


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


# ---- anyio in goroutines ----


@bounded
async def test_anyio_primitives_in_goroutines() -> None:
    """anyio's events, locks, task groups, time-outs and threads work in a goroutine as in any task."""
    event, lock, found = anyio.Event(), anyio.Lock(), list[str]()

    async def setter() -> None:
        async with lock:
            await anyio.sleep(0.001)
        event.set()

    async def worker() -> None:
        await event.wait()
        async with lock, anyio.create_task_group() as tg:
            tg.start_soon(anyio.sleep, 0)
        with anyio.move_on_after(0.001) as scope:
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
        with anyio.move_on_after(0.001) as scope:
            await ch.receive()
        assert scope.cancelled_caught
        after.append("moved on")
        with pytest.raises(TimeoutError), anyio.fail_after(0.001):
            await select(ch, send(ch, 1))
        after.append("failed")
        await gochan.sleep(0.001)

    async with Group() as group:
        goroutine = group.go(worker)
    await goroutine.result()
    assert after == ["moved on", "failed"]


@bounded
async def test_timeout_error_in_a_goroutine_is_a_failure() -> None:
    """fail_after() that fires in a goroutine fails its group, like any exception."""

    async def worker() -> None:
        with anyio.fail_after(0.001):
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


# ---- cancellation of a group ----

Wait = Callable[[Channel[int]], Awaitable[object]]

WAITS: dict[str, Wait] = {
    "receive": lambda ch: ch.receive(),
    "send": lambda ch: ch.send(1),
    "select": lambda ch: select(ch, Event()),
    "event": lambda _: Event().wait(),
    "sleep": lambda _: gochan.sleep(60),
    "anyio.sleep": lambda _: anyio.sleep(60),
    "anyio.Event": lambda _: anyio.Event().wait(),
}
every_wait = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())


@every_wait
@bounded
async def test_shielded_clean_up(wait: Wait) -> None:
    """Shielded clean-up in a goroutine survives the cancellation of its group, whatever it waits for there."""
    log: list[str] = []
    logs, lock = Channel[str](), Mutex()

    async def worker() -> None:
        try:
            await wait(Channel[int]())
        finally:
            with anyio.CancelScope(shield=True):
                await gochan.sleep(0.001)
                await anyio.sleep(0.001)
                async with lock:
                    await logs.send("cleaned")

    async def logger() -> None:
        with anyio.CancelScope(shield=True):
            log.append(await logs.receive())

    async with Group() as group:
        group.go(worker)
        group.go(logger)
        await settle()
        group.cancel()
    assert log == ["cleaned"]


@every_wait
@bounded
async def test_level_cancellation(wait: Wait) -> None:
    """A goroutine that swallows a cancellation is cancelled again at its next await, until it ends."""
    swallowed: list[int] = []

    async def stubborn() -> None:
        for i in range(3):
            try:
                await wait(Channel[int]())
            except anyio.get_cancelled_exc_class():
                swallowed.append(i)

    async with Group() as group:
        group.go(stubborn)
        await settle()
        group.cancel()
    assert swallowed == [0, 1, 2]


@every_wait
@bounded
async def test_level_cancellation_by_an_outer_scope(wait: Wait) -> None:
    """A goroutine that swallows the cancellation of a scope around its group is cancelled again, too."""
    swallowed: list[int] = []

    async def stubborn() -> None:
        for i in range(3):
            try:
                await wait(Channel[int]())
            except anyio.get_cancelled_exc_class():
                swallowed.append(i)

    with anyio.CancelScope() as scope:
        async with Group() as group:
            group.go(stubborn)
            await settle()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert swallowed == [0, 1, 2]


@bounded
async def test_level_cancellation_by_a_failure() -> None:
    """A goroutine, and the body, that swallow the cancellation after a failure are cancelled again."""
    swallowed: list[str] = []

    async def stubborn(name: str) -> None:
        for _ in range(2):
            try:
                await Channel[int]().receive()
            except anyio.get_cancelled_exc_class():
                swallowed.append(name)

    async def fail() -> None:
        await settle()
        raise Oops

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(stubborn, "goroutine")
            group.go(fail)
            await stubborn("body")
    assert caught.group_contains(Oops)
    assert sorted(swallowed) == ["body", "body", "goroutine", "goroutine"]


@bounded
async def test_go_in_a_cancelled_group() -> None:
    """A goroutine of a group that is being cancelled is cancelled at its first await."""
    started: list[str] = []

    async def late() -> None:
        started.append("late")
        await Channel[int]().receive()
        started.append("never")

    with anyio.CancelScope() as scope:
        async with Group() as group:
            scope.cancel()
            group.go(late)
    assert "never" not in started


@bounded
async def test_outer_scope_reaches_goroutines_past_a_shielded_body() -> None:
    """The cancellation of an outer scope reaches the goroutines at once, though the group's body is shielded."""
    reached = anyio.Event()

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            reached.set()

    with anyio.CancelScope() as outer:
        async with Group() as group:
            group.go(worker)
            await settle()
            with anyio.fail_after(5, shield=True):
                outer.cancel()
                await reached.wait()
    assert not outer.cancelled_caught or reached.is_set()
    assert reached.is_set()


@bounded
async def test_group_cancel_reaches_goroutines_past_a_shielded_body() -> None:
    """The cancellation of the group reaches the goroutines at once, though its body is shielded."""
    reached = anyio.Event()

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            reached.set()

    async with Group() as group:
        group.go(worker)
        await settle()
        with anyio.fail_after(5, shield=True):
            group.cancel()
            await reached.wait()


@bounded
async def test_failure_waits_for_a_shielded_body() -> None:
    """A failing goroutine does not cut through a shield in the body; the failure comes out when the body is left."""
    done: list[str] = []

    async def fail() -> None:
        raise Oops

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(fail)
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
                await gochan.sleep(0.001)
                done.append("shielded")
            await anyio.sleep(0.01)
            done.append("never")
    assert caught.group_contains(Oops)
    assert done == ["shielded"]


@bounded
async def test_shield_around_a_group() -> None:
    """A shield around a group keeps an outer cancellation from its goroutines."""
    ch, got = Channel[int](), list[int]()

    async def worker() -> None:
        got.append(await ch.receive())

    with anyio.CancelScope() as outer, anyio.CancelScope(shield=True):
        async with Group() as group:
            group.go(worker)
            await wait_parked(ch, receivers=1)
            outer.cancel()
            await settle()
            await ch.send(1)
    assert got == [1]


@bounded
async def test_shield_in_a_waiting_group() -> None:
    """An outer cancellation that arrives while the group waits for a shielded goroutine waits for it as well."""
    log: list[str] = []

    async def worker() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
            log.append("worker")

    with anyio.move_on_after(0.001) as scope:
        async with Group() as group:
            group.go(worker)
        log.append("never")
    assert scope.cancelled_caught
    assert log == ["worker"]


@pytest.mark.parametrize("where", ["body", "end"])
@bounded
async def test_move_on_after_around_a_group(where: str) -> None:
    """move_on_after() around a group ends its goroutines quietly, whether its body runs still or not."""
    ch = Channel[int]()
    with anyio.move_on_after(0.01) as scope:
        async with Group() as group:
            goroutine = group.go(ch.receive)
            if where == "body":
                await ch.receive()
    assert scope.cancelled_caught
    assert ch.statistics().receivers_waiting == 0
    assert goroutine.done.is_set()
    await anyio.sleep(0)


@bounded
async def test_fail_after_around_a_group() -> None:
    """fail_after() around a group raises a bare TimeoutError."""
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            async with Group() as group:
                group.go(Channel[int]().receive)


# ---- groups in groups ----


@bounded
async def test_nested_groups_failure() -> None:
    """The failure of an inner group fails the outer one, and reaches its other goroutines as a cancellation."""
    cancelled: list[str] = []

    async def bystander() -> None:
        try:
            await Channel[int]().receive()
        except anyio.get_cancelled_exc_class():
            cancelled.append("bystander")
            raise

    async def fail() -> None:
        await settle()
        raise Oops

    async def inner() -> None:
        async with Group() as group:
            group.go(fail)
            group.go(bystander)

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(inner)
            group.go(bystander)
            await bystander()
    assert cancelled == ["bystander"] * 3
    (nested,) = caught.value.exceptions
    assert isinstance(nested, ExceptionGroup)
    assert [type(error) for error in nested.exceptions] == [Oops]


@bounded
async def test_nested_groups_cancel() -> None:
    """cancel() of an inner group leaves the outer one alone; cancel() of the outer one ends the inner."""
    ch = Channel[int]()
    async with Group() as outer:
        survivor = outer.go(ch.receive)
        async with Group() as inner:
            inner.go(Channel[int]().receive)
            await settle()
            inner.cancel()
        await ch.send(1)
        assert await survivor.result() == 1

    ended: list[str] = []

    async def nested() -> None:
        try:
            async with Group() as group:
                group.go(Channel[int]().receive)
        finally:
            ended.append("inner")

    async with Group() as outer:
        outer.go(nested)
        await settle()
        outer.cancel()
    assert ended == ["inner"]


@bounded
async def test_group_in_an_anyio_task_group() -> None:
    """A group in a child of an anyio task group: cancelling that ends the goroutines, failing goes up as usual."""
    ended: list[str] = []

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            ended.append("worker")

    async def fail() -> None:
        raise Oops

    async def child(*work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with Group() as group:
            for fn in work:
                group.go(fn)

    async with anyio.create_task_group() as tg:
        tg.start_soon(child, worker)
        await settle()
        tg.cancel_scope.cancel()
    assert ended == ["worker"]

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tg:
            tg.start_soon(worker)
            tg.start_soon(child, worker, fail)
    assert caught.group_contains(Oops, depth=2)
    assert ended == ["worker"] * 3


@bounded
async def test_group_around_an_anyio_task_group() -> None:
    """An anyio task group in a goroutine, and in a group's body: cancelled with the group, failing into it."""
    ended: list[str] = []

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            ended.append("worker")

    async def fail() -> None:
        await settle()
        raise Oops

    async def children(*work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with anyio.create_task_group() as tg:
            for fn in work:
                tg.start_soon(fn)

    async with Group() as group:
        group.go(children, worker)
        await settle()
        group.cancel()
    assert ended == ["worker"]

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(worker)
            await children(worker, fail)
    assert caught.group_contains(Oops, depth=2)
    assert ended == ["worker"] * 3


@bounded
async def test_task_group_scope_around_a_group() -> None:
    """An anyio task group in the body around a group: its cancel ends the goroutines and nothing is left over."""
    ch = Channel[int]()
    async with anyio.create_task_group() as tg:
        tg.start_soon(ch.receive)
        async with Group() as group:
            group.go(ch.receive)
            await wait_parked(ch, receivers=2)
            tg.cancel_scope.cancel()
    assert ch.statistics().receivers_waiting == 0
    await anyio.sleep(0)


# ---- what a goroutine takes along and gives back ----

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


# ---- asyncio's own cancellation around a group ----


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


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
                await anyio.sleep(0.001)
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
        async with asyncio.timeout(0.01):
            async with Group() as group:
                group.go(ch.receive)
                if where == "body":
                    await ch.receive()
    assert cancelling() == before
    assert ch.statistics().receivers_waiting == 0
    await asyncio.sleep(0.001)


@pytest.mark.asyncio_only
@bounded
async def test_asyncio_timeout_in_a_goroutine() -> None:
    """asyncio.timeout() inside a goroutine ends what is in it, and nothing else."""
    log: list[object] = []

    async def worker() -> None:
        try:
            async with asyncio.timeout(0.001):
                await Channel[int]().receive()
        except TimeoutError:
            log.append(cancelling())
        await asyncio.sleep(0.001)
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
        await asyncio.sleep(0.001)
        await anyio.sleep(0.001)


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
    await asyncio.sleep(0.001)


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
                await anyio.sleep(0.02)

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


@pytest.mark.trio_only
@bounded
async def test_trio_scopes_around_a_group() -> None:
    """trio's own scopes around a group end it as anyio's do."""
    import trio

    ch = Channel[int]()
    with trio.move_on_after(0.01) as scope:
        async with Group() as group:
            group.go(ch.receive)
    assert scope.cancelled_caught
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(0.01):
            async with Group() as group:
                group.go(ch.receive)
                await ch.receive()
    assert ch.statistics().receivers_waiting == 0


@bounded
async def test_closed_error_is_both_of_anyios() -> None:
    """ChannelClosed is anyio's EndOfStream and its ClosedResourceError, and names the channel."""
    ch = Channel[int]()
    ch.close(Oops("why"))
    with pytest.raises(ChannelClosed) as caught:
        await ch.receive()
    assert isinstance(caught.value, anyio.EndOfStream)
    assert isinstance(caught.value, anyio.ClosedResourceError)
    assert caught.value.channel is ch
    assert isinstance(caught.value.__cause__, Oops)
