"""Channels used by plain threads."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
from collections.abc import Callable
from typing import Any, Literal

import anyio
import anyio.to_thread
import pytest
from tests.conformance.helpers import receivers_parked, senders_parked, until
from tests.threads import Call
from tests.turns import given_up

from gochan import BlockingChannel, Channel, ChannelClosed, Group

Backend = Literal["asyncio", "trio"]
BACKENDS: list[Backend] = ["asyncio", "trio"]
on_both = pytest.mark.parametrize("backend", BACKENDS)


# ---- the operations ----


@pytest.mark.parametrize("capacity", [0, 2, math.inf])
async def test_values_cross_in_both_directions(capacity: float) -> None:
    """A thread sends, receives, iterates and closes; the order is kept."""
    there, back = Channel[int](capacity), Channel[int](capacity)
    incoming, outgoing = there.blocking(), back.blocking()

    def double() -> int:
        first = incoming.receive()
        outgoing.send(first * 2)
        for number in incoming:
            outgoing.send(number * 2, timeout=5)
        outgoing.close()
        return first

    with anyio.fail_after(10):
        thread = Call(double)
        async with Group() as group:
            group.go(feed, there, 20)
            assert [number async for number in back] == [number * 2 for number in range(20)]
        assert await thread.result() == 0


async def feed(channel: Channel[int], count: int) -> None:
    for number in range(count):
        await channel.send(number)
    channel.close()


async def test_a_rendezvous_between_two_threads() -> None:
    """Both sides may be threads; the send returns when the receiver has the value."""
    view = Channel[str]().blocking()
    with anyio.fail_after(10):
        sender, receiver = Call(view.send, "hello"), Call(view.receive)
        assert await receiver.result() == "hello"
        await sender.result()


async def test_threads_and_tasks_stand_in_one_queue() -> None:
    """First come, first served, whoever they are; and threads count as waiting."""
    channel, got = Channel[int](), dict[str, int]()
    view = channel.blocking()

    def thread(name: str) -> None:
        got[name] = view.receive()

    async def task(name: str) -> None:
        got[name] = await channel.receive()

    with anyio.fail_after(10):
        async with Group() as group:
            calls = list[Call[None]]()
            for number, kind in enumerate(["thread", "task", "thread", "task"]):
                if kind == "thread":
                    calls.append(Call(thread, f"{kind} {number}"))
                else:
                    group.go(task, f"{kind} {number}")
                await patiently(lambda n=number: channel.statistics().receivers_waiting == n + 1)  # type: ignore[misc]
            for number in range(4):
                await channel.send(number)
        for call in calls:
            await call.result()
    assert got == {"thread 0": 0, "task 1": 1, "thread 2": 2, "task 3": 3}


async def patiently(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    while not condition():
        await anyio.sleep(0.0005)


@pytest.mark.slow
async def test_many_threads_at_length() -> None:
    """As below, with more of everything."""
    await everybody(16, 3000)


async def test_many_threads_lose_and_double_nothing() -> None:
    """Eight threads send and eight receive, with tasks in between on either side."""
    await everybody(8, 500)


async def everybody(threads: int, each: int) -> None:
    channel, results = Channel[int](3), Channel[int]()
    source, sink = channel.blocking(), results.blocking()

    def send_all(number: int) -> None:
        for value in range(number * each, (number + 1) * each):
            source.send(value)

    async def forward() -> None:
        async for value in channel:
            await results.send(value)

    def receive_all() -> list[int]:
        return list(sink)

    with anyio.fail_after(50):
        senders = [Call(send_all, number) for number in range(threads)]
        receivers = [Call(receive_all) for _ in range(threads)]
        async with Group() as group:
            for _ in range(3):
                group.go(forward)
            for sender in senders:
                await sender.result(50)
            channel.close()
        results.close()
        got = [await receiver.result(50) for receiver in receivers]
    assert sorted(value for values in got for value in values) == list(range(threads * each))
    assert results.statistics().receivers_waiting == 0


# ---- close ----


@pytest.mark.parametrize("cause", [None, ValueError("over")], ids=["plain", "cause"])
async def test_a_close_reaches_threads_that_wait(cause: BaseException | None) -> None:
    """Senders and receivers get ``ChannelClosed`` from the cause; a plain end ends an iteration."""
    empty, full = Channel[int](), Channel[int]()
    reading, writing = empty.blocking(), full.blocking()
    with anyio.fail_after(10):
        calls = [Call(reading.receive), Call(list, reading), Call(writing.send, 1)]
        await patiently(lambda: empty.statistics().receivers_waiting == 2 and full.statistics().senders_waiting == 1)
        empty.close(cause)
        full.close(cause)
        failures = [await anyio.to_thread.run_sync(call.failure) for call in calls]
    if cause is None:
        assert failures.pop(1) is None
        assert calls[1].value == []
    assert all(isinstance(failure, ChannelClosed) and failure.__cause__ is cause for failure in failures)


async def test_a_thread_can_close() -> None:
    """With a cause; or by leaving a with block, whose exception is the cause. Closing has happened when it returns."""
    plain, failing = Channel[int](), Channel[int]()
    views = plain.blocking(), failing.blocking()
    error = ValueError("in the thread")

    def leave() -> None:
        with views[1] as inside:
            assert inside is views[1]
            raise error

    with anyio.fail_after(10):
        await Call(views[0].close).result()
        assert plain.closed
        with pytest.raises(ValueError, match="in the thread"):
            await Call(leave).result()
        with pytest.raises(ChannelClosed) as caught:
            failing.receive_nowait()
        assert caught.value.__cause__ is error
        with pytest.raises(ChannelClosed):
            await Call(views[0].send, 1).result()


# ---- time-outs ----


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
async def test_a_timeout_that_passes_has_done_nothing(timeout: float) -> None:
    """Neither sent nor received, and nobody is left in the queue."""
    empty, full = Channel[int](), Channel[int](1)
    full.send_nowait(1)
    with anyio.fail_after(10):
        for call in (Call(empty.blocking().receive, timeout), Call(full.blocking().send, 2, timeout)):
            with pytest.raises(TimeoutError):
                await call.result()
    assert empty.statistics().receivers_waiting == full.statistics().senders_waiting == 0
    assert full.receive_nowait() == 1
    with pytest.raises(anyio.WouldBlock):
        full.receive_nowait()


async def test_what_is_ready_beats_any_timeout() -> None:
    """The loop's answer holds: a value that is there comes, even if the time was nothing."""
    channel = Channel[int](1)
    view = channel.blocking()
    with anyio.fail_after(10):
        for number in range(20):
            await Call(view.send, number, 0).result()
            assert await Call(view.receive, 0).result() == number


@pytest.mark.parametrize("timeout", [math.nan, "1"], ids=["nan", "str"])
async def test_a_bad_timeout_is_refused_before_anything_happens(timeout: Any) -> None:
    """No value is taken or sent by a call that raises."""
    channel = Channel[int](2)
    channel.send_nowait(1)
    view = channel.blocking()
    with anyio.fail_after(10):
        for call in (Call(view.receive, timeout), Call(view.send, 2, timeout)):
            with pytest.raises((ValueError, TypeError)):
                await call.result()
        await anyio.to_thread.run_sync(int)  # whatever was posted has been run
    assert (channel.statistics().received, channel.statistics().sent) == (0, 1)


@pytest.mark.parametrize("timeout", [math.inf, 1e12])
async def test_a_very_long_timeout_is_as_good_as_none(timeout: float) -> None:
    """Longer than a lock can be told to wait."""
    channel = Channel[int](1)
    channel.send_nowait(1)
    with anyio.fail_after(10):
        assert await Call(channel.blocking().receive, timeout).result() == 1


# ---- where it may be used ----


async def test_refused_in_the_loop_s_own_thread() -> None:
    """It would stop the loop; the message says what to do instead, and nothing is done."""
    channel = Channel[int](2)
    channel.send_nowait(1)
    view = channel.blocking()
    for operation in (view.receive, lambda: view.send(2), lambda: next(view), view.close):
        with pytest.raises(RuntimeError, match="await the channel"):
            operation()
    assert len(channel) == 1
    assert not channel.closed


def test_refused_without_a_loop() -> None:
    """A channel that belongs to no loop has no view outside one."""
    with pytest.raises(RuntimeError, match="loop"):
        Channel[int]().blocking()


async def test_made_in_another_thread_once_the_channel_belongs_to_a_loop() -> None:
    """Somebody has waited on it here, so the thread can ask for the view itself."""
    channel = Channel[int]()
    with anyio.fail_after(10):
        with given_up():
            await channel.receive()
        thread = Call(lambda: channel.blocking().receive())
        await patiently(lambda: channel.statistics().receivers_waiting == 1)
        await channel.send(7)
        assert await thread.result() == 7


@on_both
def test_making_it_inside_a_loop_binds_the_channel(backend: Backend) -> None:
    """Nobody has waited; still it is the loop's, and another loop may not touch it."""

    async def main() -> None:
        channel = Channel[int](1)
        channel.blocking()
        with pytest.raises(RuntimeError, match=r"Channel\.blocking\(\)"):
            await anyio.to_thread.run_sync(lambda: anyio.run(channel.send, 1, backend=backend))

    anyio.run(main, backend=backend)


def test_repr_names_the_channel() -> None:
    """For debugging."""

    async def main() -> BlockingChannel[int]:
        return Channel[int](1, name="jobs").blocking()

    assert "BlockingChannel" in repr(anyio.run(main))
    assert "jobs" in repr(anyio.run(main))


# ---- the end of the run ----


@on_both
def test_threads_that_wait_when_the_run_ends(backend: Backend) -> None:
    """They get a RuntimeError, and so does every later call; nobody hangs."""
    calls = list[Call[Any]]()
    views = list[BlockingChannel[int]]()

    async def main() -> None:
        empty, full = Channel[int](), Channel[int]()
        views.extend((empty.blocking(), full.blocking()))
        calls.extend((Call(views[0].receive), Call(views[0].receive, 60), Call(list, views[0]), Call(views[1].send, 1)))
        await receivers_and_senders(empty, full)

    async def receivers_and_senders(empty: Channel[int], full: Channel[int]) -> None:
        await patiently(lambda: empty.statistics().receivers_waiting == 3 and full.statistics().senders_waiting == 1)

    anyio.run(main, backend=backend)
    failures = [call.failure() for call in calls]
    assert [type(failure) for failure in failures] == [RuntimeError] * 4
    for operation in (views[0].receive, views[1].close, lambda: views[1].send(1, timeout=1)):
        with pytest.raises(RuntimeError, match="ended"):
            Call(operation).join()


@pytest.mark.parametrize("timeout", [None, 0.2])
def test_a_loop_that_is_closed_by_hand(timeout: float | None) -> None:
    """Without a runner nobody shuts the loop down properly; the threads come back all the same."""
    loop = asyncio.new_event_loop()
    calls = list[Call[Any]]()

    async def main() -> None:
        channel = Channel[int]()
        calls.append(Call(channel.blocking().receive, timeout))
        await patiently(lambda: channel.statistics().receivers_waiting == 1)

    loop.run_until_complete(main())
    loop.close()
    assert isinstance(calls[0].failure(20), RuntimeError | TimeoutError)


def test_the_loop_s_own_thread_while_the_loop_is_stopped() -> None:
    """Nobody could ever answer: an error, not a hang."""

    def thread() -> None:
        loop = asyncio.new_event_loop()
        try:
            view = loop.run_until_complete(bound())
            view.send(1, timeout=0.1)
        finally:
            loop.close()

    async def bound() -> BlockingChannel[int]:
        return Channel[int]().blocking()

    with pytest.raises((RuntimeError, TimeoutError)):
        Call(thread).join(20)


def test_a_loop_that_moves_to_another_thread() -> None:
    """Set up in this thread, run for ever in another one: then this thread is an ordinary one."""
    loop, channel, got = asyncio.new_event_loop(), Channel[int](), list[int]()

    async def consume() -> None:
        for _ in range(2):
            got.append(await channel.receive())
        loop.stop()

    async def set_up() -> tuple[BlockingChannel[int], asyncio.Task[None]]:
        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        return channel.blocking(), task

    view, task = loop.run_until_complete(set_up())
    running = threading.Event()
    loop.call_soon(running.set)
    thread = Call(loop.run_forever)
    assert running.wait(20)
    try:
        with pytest.raises(RuntimeError, match=r"Channel\.blocking\(\)"):
            channel.send_nowait(0)
        view.send(1, timeout=5)
        view.send(2, timeout=5)
        thread.join()
        assert got == [1, 2]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


@on_both
def test_an_old_view_after_the_channel_went_to_the_next_loop(backend: Backend) -> None:
    """It says that its loop has ended; a new view works."""
    channel = Channel[int](1)

    async def first() -> BlockingChannel[int]:
        await channel.send(1)
        return channel.blocking()

    async def second() -> None:
        with pytest.raises(RuntimeError, match="ended"):
            await Call(old.receive).result()
        assert await Call(channel.blocking().receive).result() == 1

    old = anyio.run(first, backend=backend)
    anyio.run(second, backend=backend)


@on_both
def test_a_keyboard_interrupt_reaches_a_thread_that_waits(backend: Backend) -> None:
    """The main thread waits; Ctrl-C comes through, and the queue is empty afterwards."""
    channel, ready, leave = Channel[int](), threading.Event(), threading.Event()
    views = list[BlockingChannel[int]]()
    interrupted = threading.main_thread().ident

    async def main() -> int:
        views.append(channel.blocking())
        ready.set()
        await patiently(lambda: channel.statistics().receivers_waiting == 1)
        signal.pthread_kill(interrupted, signal.SIGINT)  # type: ignore[arg-type]
        await patiently(leave.is_set)
        await until(lambda: channel.statistics().receivers_waiting == 0)
        return channel.statistics().received

    thread = Call(lambda: anyio.run(main, backend=backend))
    assert ready.wait(20)
    try:
        with pytest.raises(KeyboardInterrupt):
            views[0].receive(timeout=10)
    finally:
        leave.set()
    assert thread.join() == 0


async def test_a_parked_thread_and_a_cancelled_task() -> None:
    """A task that leaves the queue takes nothing from the thread behind it."""
    channel = Channel[int]()
    view = channel.blocking()
    with anyio.fail_after(10):
        async with Group() as group:
            first = group.go(channel.receive)
            await receivers_parked(channel)
            thread = Call(view.receive)
            await patiently(lambda: channel.statistics().receivers_waiting == 2)
            first.cancel()
        await channel.send(1)
        assert await thread.result() == 1
        sender = Call(view.send, 2)
        await patiently(lambda: channel.statistics().senders_waiting == 1)
        await senders_parked(channel)
        assert channel.receive_nowait() == 2
        await sender.result()
