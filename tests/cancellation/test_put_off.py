"""What becomes of a native cancellation that was put off: it comes, once, soon, and only if it is still wanted."""

from __future__ import annotations

import asyncio
import sys

import anyio
import pytest

from gochan import Channel

from .operations import CHANNEL_OPERATIONS, OPERATIONS
from .scene import turns
from .worlds import assert_no_waiter


class Both:
    """A task in a time-out, committed but not resumed, that both the time-out and somebody else cancel."""

    def __init__(self, order: str, then: str) -> None:
        self.order = order
        self.then = then
        self.seen: list[str] = []

    async def victim(self, channel: Channel[str]) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(None) as self.timeout:
                self.seen.append(await channel.receive())
                if self.then == "suspends":
                    await asyncio.sleep(0)
                    self.seen.append("went on")
        except TimeoutError:
            self.seen.append("time-out")
        except asyncio.CancelledError:
            self.seen.append("cancelled inside")
            assert task.cancelling() == 1
            raise
        assert task.cancelling() == 1
        await asyncio.sleep(0)
        self.seen.append("the real one was lost")

    async def run(self) -> list[str]:
        channel: Channel[str] = Channel()
        task = asyncio.get_running_loop().create_task(self.victim(channel))
        await turns(5)
        now = asyncio.get_running_loop().time()
        if self.order == "timeout-first":
            self.timeout.reschedule(now)
            asyncio.get_running_loop().call_soon(task.cancel, "real")
            channel.send_nowait("value")
        else:
            channel.send_nowait("value")
            task.cancel("real")
            # Only a callback that stands in the loop's queue already comes before the wake-up.
            self.timeout.reschedule(now)
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
        assert_no_waiter(channel)
        return self.seen


@pytest.mark.asyncio_only
@pytest.mark.parametrize("then", ["ends", "suspends"])
@pytest.mark.parametrize("order", ["timeout-first", "cancel-first"])
async def test_a_real_cancellation_survives_a_timeout_in_the_same_tick(order: str, then: str) -> None:
    """When a time-out takes its own cancellation back, the one that somebody else asked for in the same tick stays."""
    with anyio.fail_after(20):
        seen = await Both(order, then).run()
    assert seen[0] == "value"
    assert "the real one was lost" not in seen
    assert "went on" not in seen
    assert seen[1:] == ([] if then == "ends" else ["cancelled inside"])


@pytest.mark.asyncio_only
@pytest.mark.parametrize("order", ["timeout-first", "cancel-first", "scope-first"])
async def test_a_real_cancellation_survives_a_scope_in_the_same_tick(order: str) -> None:
    """The same with an anyio scope, or two, around the operation: what the scope asked for goes, the real one stays."""
    channel: Channel[str] = Channel()
    seen: list[str] = []
    scope = anyio.CancelScope()
    timeout = asyncio.timeout(None)

    async def victim() -> None:
        with scope:
            try:
                async with timeout:
                    seen.append(await channel.receive())
            except TimeoutError:
                seen.append("time-out")
        await asyncio.sleep(0)
        seen.append("the real one was lost")

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(victim())
        await turns(5)
        loop = asyncio.get_running_loop()
        if order == "timeout-first":
            timeout.reschedule(loop.time())
            loop.call_soon(scope.cancel)
            loop.call_soon(task.cancel, "real")
            channel.send_nowait("value")
        else:
            channel.send_nowait("value")
            for cancel in (scope.cancel, task.cancel) if order == "scope-first" else (task.cancel, scope.cancel):
                cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
    assert seen == ["value"]


@pytest.mark.asyncio_only
async def test_nested_timeouts_in_the_same_tick() -> None:
    """Two time-outs due together hit a committed operation: both bodies end, neither leaves anything behind."""
    channel: Channel[str] = Channel()
    inner, outer = asyncio.timeout(None), asyncio.timeout(None)
    seen: list[str] = []

    async def victim() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with outer:
            async with inner:
                seen.append(await channel.receive())
        await turns(5)
        assert task.cancelling() == 0
        seen.append("clean")

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(victim())
        await turns(5)
        for timeout in (inner, outer):
            timeout.reschedule(asyncio.get_running_loop().time())
        channel.send_nowait("value")
        await task
    assert seen == ["value", "clean"]


@pytest.mark.asyncio_only
@pytest.mark.parametrize("first", ["inner", "outer"])
async def test_an_outer_timeout_in_the_same_tick_still_cancels(first: str) -> None:
    """Two time-outs due together, and the code goes on inside the outer one: that one is still wanted, and comes."""
    channel: Channel[str] = Channel()
    inner, outer = asyncio.timeout(None), asyncio.timeout(None)
    seen: list[str] = []

    async def victim() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with outer:
                async with inner:
                    seen.append(await channel.receive())
                await asyncio.sleep(0)
                seen.append("went on")
        except TimeoutError:
            seen.append("time-out")
        await turns(5)
        assert task.cancelling() == 0

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(victim())
        await turns(5)
        for timeout in (inner, outer) if first == "inner" else (outer, inner):
            timeout.reschedule(asyncio.get_running_loop().time())
        channel.send_nowait("value")
        await task
    assert seen == ["value", "time-out"]


@pytest.mark.asyncio_only
async def test_the_message_travels() -> None:
    """The message given to `task.cancel` is the one that arrives, put off or not."""
    for committed in (False, True):
        channel: Channel[int] = Channel()
        messages: list[object] = []

        async def victim() -> None:
            try:
                await channel.receive()
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                messages.extend(error.args)

        with anyio.fail_after(20):
            task = asyncio.get_running_loop().create_task(victim())
            await turns(3)
            if committed:
                channel.send_nowait(1)
            task.cancel("because")
            await asyncio.wait([task])
        assert messages == ["because"]


@pytest.mark.asyncio_only
@pytest.mark.parametrize("inner", ["timeout", "wait_for"] if sys.version_info >= (3, 12) else ["timeout"])
async def test_a_cancellation_from_outside_reaches_through(inner: str) -> None:
    """A task that is cancelled while a committed operation is about to return inside a time-out is cancelled.

    (3.11's `wait_for` swallows such a cancellation itself.)
    """
    channel: Channel[int] = Channel()
    got: list[int] = []

    async def victim() -> None:
        if inner == "wait_for":
            got.append(await asyncio.wait_for(channel.receive(), 100))
        else:
            async with asyncio.timeout(100):
                got.append(await channel.receive())
        await asyncio.sleep(0)
        got.append(-1)

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(victim())
        await turns(5)
        channel.send_nowait(7)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert got == [7]


@pytest.mark.asyncio_only
async def test_taken_back_before_it_arrives() -> None:
    """A cancellation that its author takes back (`uncancel`) before the task runs again leaves nothing behind."""
    channel: Channel[int] = Channel()
    seen: list[object] = []

    async def victim() -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append(await channel.receive())
        assert task.uncancel() == 0
        await turns(5)
        seen.append("clean")

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(victim())
        await turns(3)
        channel.send_nowait(7)
        task.cancel()
        await asyncio.wait([task])
        await task
    assert seen == [7, "clean"]


@pytest.mark.asyncio_only
async def test_a_task_that_ends_before_it_arrives() -> None:
    """A task whose last operation returned although it was cancelled ends normally, with its result."""
    for name, make in OPERATIONS.items():
        if name not in CHANNEL_OPERATIONS:
            continue
        operation = make()
        with anyio.fail_after(20):
            task = asyncio.ensure_future(operation.call())
            await turns(3)
            operation.complete()
            task.cancel()
            await asyncio.wait([task])
            assert not task.cancelled(), name
            await operation.check(returned=True, result=task.result())
