"""What becomes of a cancellation that was put off: it comes, once, soon, and only if it is still wanted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import anyio
import pytest

import gochan
from gochan import Channel, ChannelClosed, Event, Group, select

from .operations import CHANNEL_OPERATIONS, OPERATIONS, Receiving, Sending, Waiting, assert_no_waiter, drain
from .sweep import NATIVE_SOURCES, SCOPE_SOURCES, TRIO_SOURCES, Source, TaskCancel, WaitFor

BUDGET = 130
"""`about 100` ready operations in a row, with room."""



class LongWaitFor(WaitFor):
    seconds = 0.01


SOURCES = {
    **{
        f"asyncio-{name}": pytest.param(make, marks=pytest.mark.asyncio_only)
        for name, make in (NATIVE_SOURCES | {"wait_for": LongWaitFor}).items()
    },
    **{f"anyio-{name}": pytest.param(make) for name, make in SCOPE_SOURCES.items()},
    **{f"trio-{name}": pytest.param(make, marks=pytest.mark.trio_only) for name, make in TRIO_SOURCES.items()},
}
every_source = pytest.mark.parametrize("make_source", SOURCES.values(), ids=SOURCES)


async def turns(number: int) -> None:
    for _ in range(number):
        await anyio.sleep(0)


def reached(source: Source) -> Callable[[Callable[[], Awaitable[None]]], Awaitable[bool]]:
    """The source's guard, with a cancellation that lasts taken back by whoever asked for it."""

    async def guard(body: Callable[[], Awaitable[None]]) -> bool:
        ended = await source.guard(body)
        if ended and source.lasts:
            try:
                await turns(3)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()
        return ended

    return guard


# ---- partners that are too fast ----


def fast_receive(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return victim.receive, lambda: victim.send_nowait(1)


def fast_send(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return lambda: victim.send(1), lambda: drain(victim) and None


def fast_select(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return lambda: select(Channel[int](), victim), lambda: victim.send_nowait(1)


def fast_select_send(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return lambda: select(gochan.send(victim, 1), Event()), lambda: drain(victim) and None


FAST = [fast_receive, fast_send, fast_select, fast_select_send]


@every_source
@pytest.mark.parametrize("fast", FAST)
async def test_a_partner_that_serves_every_turn(make_source: Callable[[], Source], fast: Callable[..., object]) -> None:
    """A partner that completes each next operation in the turn in which it parks puts the cancellation off by one."""
    for lead in range(4):
        source = make_source()
        channel: Channel[int] = Channel()
        operation, serve = fast(channel)  # type: ignore[misc]
        served = after = 0
        fired = ended = False

        async def body() -> None:
            nonlocal served, after
            while True:
                await operation()
                served += 1
                after += source.pending()

        async def victim() -> None:
            nonlocal ended
            assert not await reached(source)(body)
            ended = True

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(victim)
                await turns(8)
                for turn in range(200):
                    try:
                        serve()
                    except anyio.WouldBlock:
                        pass
                    if turn == 20 + lead:
                        source.fire()
                        fired = True
                    await anyio.sleep(0)
        assert fired and ended
        assert served > 0 or not source.by_turns
        assert after <= 1
        assert_no_waiter(channel)


@every_source
async def test_a_partner_that_never_lets_up(make_source: Callable[[], Source]) -> None:
    """Two tasks that ping-pong without pause: the cancelled one ends within one operation, or one budget."""
    source = make_source()
    channel: Channel[int] = Channel()
    stop = False
    received = 0
    sent = 0
    after = 0
    ended = False

    async def body() -> None:
        nonlocal received, after
        while True:
            await channel.receive()
            received += 1
            after += source.pending()

    async def victim() -> None:
        nonlocal ended, stop
        assert not await reached(source)(body)
        ended = stop = True

    async def feeder() -> None:
        nonlocal sent
        while not stop:
            with anyio.move_on_after(0.05) as scope:
                await channel.send(1)
                sent += 1
            if scope.cancelled_caught:
                assert stop

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(victim)
            await turns(8)
            tasks.start_soon(feeder)
            await turns(8)
            source.fire()
    assert ended
    assert received == sent
    assert after <= BUDGET


@every_source
async def test_ready_operations_after_it(make_source: Callable[[], Source]) -> None:
    """Ready operations do not look for the cancellation that was put off, but one budget of them later it comes."""
    source = make_source()
    first: Channel[int] = Channel()
    buffer: Channel[int] = Channel(1)
    rounds = 0
    put_off = False

    async def body() -> None:
        nonlocal rounds, put_off
        await first.receive()
        put_off = source.pending()
        while True:
            await buffer.send(rounds)
            assert await buffer.receive() == rounds
            rounds += 1

    async def victim() -> None:
        assert not await reached(source)(body)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(victim)
            await turns(8)
            try:
                first.send_nowait(1)
            except anyio.WouldBlock:
                assert not source.by_turns  # the machine is slow: time has passed already
            source.fire()
    if put_off:
        assert 1 <= rounds <= BUDGET // 2
    assert len(buffer) == buffer.statistics().sent - buffer.statistics().received


@every_source
async def test_the_budget_s_yield_is_a_cancellation_point(make_source: Callable[[], Source]) -> None:
    """A task that only ever does ready operations is cancelled at a yield, before that operation tries."""
    source = make_source()
    channel: Channel[int] = Channel(1)
    done = 0
    after = 0

    async def body() -> None:
        nonlocal done, after
        while True:
            await channel.send(done)
            done += 1
            after += source.pending()
            await channel.receive()
            done += 1
            after += source.pending()

    async def victim() -> None:
        assert not await reached(source)(body)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(victim)
            await turns(12)
            source.fire()
    statistics = channel.statistics()
    assert statistics.sent + statistics.received == done
    assert len(channel) == statistics.sent - statistics.received
    assert after <= BUDGET


# ---- several cancellations at once ----


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
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
        assert_no_waiter(channel)
        return self.seen


@pytest.mark.asyncio_only
@pytest.mark.parametrize("then", ["ends", "suspends"])
@pytest.mark.parametrize("order", ["timeout-first", "cancel-first"])
async def test_a_real_cancellation_survives_a_timeout_in_the_same_tick(order: str, then: str) -> None:
    """When a time-out takes its own cancellation back, the one that somebody else asked for in the same tick stays."""
    with anyio.fail_after(5):
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

    with anyio.fail_after(5):
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
        await asyncio.wait([task], timeout=5)
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

    with anyio.fail_after(5):
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

    with anyio.fail_after(5):
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

        with anyio.fail_after(5):
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

    with anyio.fail_after(5):
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

    with anyio.fail_after(5):
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
        with anyio.fail_after(5):
            task = asyncio.ensure_future(operation.call())
            await turns(3)
            operation.complete()
            task.cancel()
            await asyncio.wait([task])
            assert not task.cancelled(), name
            await operation.check(returned=True, result=task.result())


# ---- cancelled before it began ----


@pytest.mark.parametrize("name", CHANNEL_OPERATIONS)
async def test_waits_in_a_scope_that_is_cancelled_already(name: str) -> None:
    """An operation that has to wait in an already cancelled scope raises, and leaves no trace in any queue."""
    operation = CHANNEL_OPERATIONS[name]()
    returned = False
    with anyio.fail_after(5):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await operation.call()
            returned = True
        assert scope.cancelled_caught
        assert not returned
        operation.complete()
        await operation.check(returned=False, result=None)


@pytest.mark.parametrize("name", CHANNEL_OPERATIONS)
async def test_ready_in_a_scope_that_is_cancelled_already(name: str) -> None:
    """An operation that need not wait succeeds in an already cancelled scope; the next one that waits is cancelled."""
    operation = CHANNEL_OPERATIONS[name]()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            # Make it ready: a buffered value, room, a partner that waits, an event that is set.
            if isinstance(operation, Receiving):
                if operation.channel.capacity:
                    operation.channel.send_nowait("the value")
                    operation.completed = True
                else:
                    tasks.start_soon(operation.channel.send, "the value")
                    await turns(4)
                    operation.completed = True
            elif isinstance(operation, Sending):
                if operation.channel.capacity:
                    operation.taken.append(operation.channel.receive_nowait())
                    operation.completed = True
                else:

                    async def take(operation: Sending = operation) -> None:
                        operation.taken.append(await operation.channel.receive())

                    tasks.start_soon(take)
                    await turns(4)
                    operation.completed = True
            else:
                assert isinstance(operation, Waiting)
                operation.complete()
            result = None
            returned = False
            with anyio.CancelScope() as scope:
                scope.cancel()
                result = await operation.call()
                returned = True
                await Channel[int]().receive()
            assert scope.cancelled_caught
            assert returned
        await operation.check(returned=True, result=result)


@pytest.mark.asyncio_only
@pytest.mark.parametrize("name", CHANNEL_OPERATIONS)
async def test_a_task_cancelled_before_it_waits(name: str) -> None:
    """A task that was cancelled while it ran is cancelled by its next operation that waits; no trace is left."""
    operation = CHANNEL_OPERATIONS[name]()
    source = TaskCancel()

    async def body() -> None:
        source.fire()
        await operation.call()

    with anyio.fail_after(5):
        assert not await asyncio.ensure_future(source.guard(body))
        operation.complete()
        await operation.check(returned=False, result=None)


# ---- close, groups, many ----


@every_source
@pytest.mark.parametrize("buffered", [False, True])
async def test_close_and_a_cancellation(make_source: Callable[[], Source], buffered: bool) -> None:
    """A waiter that `close` has reached ends with ChannelClosed or with the cancellation that came after it."""
    for sending in (False, True):
        channel: Channel[int] = Channel(int(buffered))
        if buffered and sending:
            channel.send_nowait(0)
        source = make_source()
        ends: list[str] = []

        async def body() -> None:
            try:
                if sending:
                    await channel.send(1)
                else:
                    await channel.receive()
            except ChannelClosed:
                ends.append("closed")
                await anyio.sleep(0)
            except anyio.get_cancelled_exc_class():
                ends.append("cancelled")
                raise

        async def victim() -> None:
            await reached(source)(body)
            await turns(5)
            ends.append("clean")

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(victim)
                await turns(10)
                channel.close()
                source.fire()
        assert ends in (["closed", "clean"], ["cancelled", "clean"])
        assert_no_waiter(channel)
        assert len(channel) == int(buffered and sending)


async def test_a_wake_up_is_not_spent_on_a_cancelled_waiter() -> None:
    """Of many waiters, those that were cancelled in the very turn of the hand-over get nothing; the others get all."""
    channel: Channel[int] = Channel()
    got: dict[int, int] = {}
    scopes = [anyio.CancelScope() for _ in range(20)]

    async def receiver(number: int) -> None:
        with scopes[number]:
            got[number] = await channel.receive()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(receiver, number)
                await turns(2)
            for number in range(0, 20, 2):
                scopes[number].cancel()
            for number in range(10):
                channel.send_nowait(number)
            with pytest.raises(anyio.WouldBlock):
                channel.send_nowait(99)
            assert channel.statistics().receivers_waiting == 0
    assert got == {2 * number + 1: number for number in range(10)}


async def test_select_against_select_with_cancellations() -> None:
    """Selects that meet each other on unbuffered channels, cancelled at random turns: every exchange has two sides."""
    for delay in range(6):
        ab, ba = Channel[str](), Channel[str]()
        sent: list[str] = []
        received: list[str] = []
        scope = anyio.CancelScope()

        async def one() -> None:
            with scope:
                match await select(gochan.send(ab, "from one"), ba):
                    case (0, _):
                        sent.append("from one")
                    case (1, value):
                        received.append(value)

        async def two() -> None:
            with anyio.move_on_after(0.02):
                match await select(gochan.send(ba, "from two"), ab):
                    case (0, _):
                        sent.append("from two")
                    case (1, value):
                        received.append(value)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one)
                tasks.start_soon(two)
                await turns(delay)
                scope.cancel()
        assert sent == received
        assert_no_waiter(ab, ba)


async def test_a_group_s_cancel_reaches_parked_and_committed_alike() -> None:
    """`Group.cancel` in the turn of a hand-over: the goroutine has the value or the sender keeps it, never neither."""
    for committed in (False, True):
        channel: Channel[int] = Channel()
        got: list[int] = []

        async def receiver() -> None:
            got.append(await channel.receive())
            await anyio.sleep(0)
            got.append(-1)

        with anyio.fail_after(5):
            async with Group() as group:
                goroutine = group.go(receiver)
                await turns(4)
                if committed:
                    channel.send_nowait(7)
                goroutine.cancel()
                await turns(4)
        assert got == ([7] if committed else [])
        assert_no_waiter(channel)
