"""The operations that the sweep cancels: each with the partner that completes it and the books that must balance.

An operation knows three things: how to wait (`call`), how its partner completes it in one synchronous step (`complete`),
and what must hold when all is over (`check`). `check` is told whether the call returned; everything else it reads off its
own channels. That a completed operation returned, and one that was not completed did not, follows from conservation:
what went in is what came out, plus what is still in the buffer, plus what its owner kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import anyio

import gochan
from gochan import Channel, Event, Goroutine, Group, select

VALUE = "the value"
FIRST = "what was in the buffer before"


def assert_no_waiter(*channels: Channel[Any]) -> None:
    """Nobody is left in any queue of these channels."""
    for channel in channels:
        statistics = channel.statistics()
        assert statistics.senders_waiting == 0, statistics
        assert statistics.receivers_waiting == 0, statistics


def drain(channel: Channel[Any]) -> list[Any]:
    """Takes what is left in the buffer."""
    left: list[Any] = []
    while True:
        try:
            left.append(channel.receive_nowait())
        except anyio.WouldBlock:
            return left


class Operation:
    """One awaiting operation in a world of its own."""

    completed = False

    async def __aenter__(self) -> None:
        """Sets the world up in the test's own task."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the world down."""

    async def call(self) -> Any:
        """Waits."""
        raise NotImplementedError

    def complete(self) -> None:
        """What the partner does, in one synchronous step."""
        raise NotImplementedError

    async def check(self, *, returned: bool, result: Any) -> None:
        """Balances the books."""
        raise NotImplementedError


class Receiving(Operation):
    """A receive of any kind; the partner sends without waiting."""

    def __init__(self, how: Callable[[Receiving], Awaitable[Any]], capacity: int) -> None:
        self.how = how
        self.channel: Channel[str] = Channel(capacity)
        self.spare: Channel[str] = Channel()
        self.never = Event()

    async def call(self) -> list[str]:
        return await self.how(self)

    def complete(self) -> None:
        try:
            self.channel.send_nowait(VALUE)
        except anyio.WouldBlock:
            return  # nobody waits any more: the value stays with its owner
        self.completed = True

    async def check(self, *, returned: bool, result: Any) -> None:
        assert_no_waiter(self.channel, self.spare)
        statistics = self.channel.statistics()
        got = list(result) if returned else []
        assert statistics.sent == int(self.completed)
        assert statistics.received == len(got)
        left = drain(self.channel)
        assert got + left == [VALUE] * int(self.completed)
        if self.channel.capacity == 0:
            assert left == []
            assert returned == self.completed
        # The channel goes on working.
        gone_on: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.channel.send, "next")
            gone_on.append(await self.channel.receive())
        assert gone_on == ["next"]
        assert self.spare.statistics().sent == 0


class Sending(Operation):
    """A send of any kind, on an unbuffered channel or a full one; the partner receives without waiting."""

    def __init__(self, how: Callable[[Sending], Awaitable[Any]], capacity: int) -> None:
        self.how = how
        self.channel: Channel[str] = Channel(capacity)
        self.spare: Channel[str] = Channel()
        self.never = Event()
        self.before = [FIRST] * capacity
        for item in self.before:
            self.channel.send_nowait(item)
        self.taken: list[str] = []

    async def call(self) -> None:
        await self.how(self)

    def complete(self) -> None:
        try:
            self.taken.append(self.channel.receive_nowait())
        except anyio.WouldBlock:
            return
        self.completed = True

    async def check(self, *, returned: bool, result: Any) -> None:
        assert_no_waiter(self.channel, self.spare)
        statistics = self.channel.statistics()
        sent = self.before + [VALUE] * int(returned)
        assert statistics.sent == len(sent)
        assert statistics.received == len(self.taken)
        assert self.taken + drain(self.channel) == sent
        if self.channel.capacity == 0:
            assert returned == self.completed
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.channel.send, "next")
            assert await self.channel.receive() == "next"
        assert self.spare.statistics().sent == 0


class Waiting(Operation):
    """A wait for an event, which anyone may await again afterwards."""

    def __init__(self, how: Callable[[Waiting], Awaitable[Any]]) -> None:
        self.how = how
        self.event = Event()
        self.spare: Channel[str] = Channel()

    async def call(self) -> None:
        await self.how(self)

    def complete(self) -> None:
        self.event.set()
        self.completed = True

    async def check(self, *, returned: bool, result: Any) -> None:
        assert_no_waiter(self.spare)
        assert self.event.is_set() == self.completed
        assert self.completed or not returned
        self.event.set()
        await self.event.wait()


class Result(Operation):
    """A wait for a goroutine's end. Cancelling who waits does not touch the goroutine, and takes nothing from others."""

    def __init__(self, how: Callable[[Result], Awaitable[Any]]) -> None:
        self.how = how
        self.gate = Event()
        self.group = Group()

    async def _work(self) -> str:
        await self.gate.wait()
        return VALUE

    async def __aenter__(self) -> None:
        await self.group.__aenter__()
        self.goroutine: Goroutine[str] = self.group.go(self._work)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        await self.group.__aexit__(kind, error, trace)

    async def call(self) -> Any:
        return await self.how(self)

    def complete(self) -> None:
        self.gate.set()
        self.completed = True

    async def check(self, *, returned: bool, result: Any) -> None:
        assert self.completed or not returned
        if returned:
            assert result in (VALUE, None)
        self.gate.set()
        assert await self.goroutine.result() == VALUE
        assert self.goroutine.done.is_set()


class FreePlace(Operation):
    """A wait for a place under a group's limit: the function starts if and only if the call returns."""

    def __init__(self) -> None:
        self.gate = Event()
        self.group = Group(limit=1)
        self.started = 0

    async def _work(self) -> None:
        self.started += 1

    async def __aenter__(self) -> None:
        await self.group.__aenter__()
        self.blocker = self.group.go(self.gate.wait)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        await self.group.__aexit__(kind, error, trace)

    async def call(self) -> Any:
        return await self.group.go_when_free(self._work)

    def complete(self) -> None:
        self.gate.set()
        self.completed = True

    async def check(self, *, returned: bool, result: Any) -> None:
        if returned:
            await result.result()
        assert self.started == int(returned)
        self.gate.set()
        await self.blocker.result()
        # No place got lost and none was made up.
        hold = Event()
        held = await self.group.go_when_free(hold.wait)
        assert self.group.try_go(self._work) is None
        hold.set()
        await held.result()
        assert self.started == int(returned)


async def _receive(op: Receiving) -> list[str]:
    return [await op.channel.receive()]


async def _receive_ok(op: Receiving) -> list[str]:
    value, ok = await op.channel.receive_ok()
    assert ok and value is not None
    return [value]


async def _receive_many(op: Receiving) -> list[str]:
    return await op.channel.receive_many()


async def _anext(op: Receiving) -> list[str]:
    return [await op.channel.__anext__()]


async def _select_receive(op: Receiving) -> list[str]:
    _, value = await select(op.channel)
    return [value]


async def _select_receive_ok(op: Receiving) -> list[str]:
    _, (value, ok) = await select(gochan.receive_ok(op.channel))
    assert ok and value is not None
    return [value]


async def _select_receive_among(op: Receiving) -> list[str]:
    match await select(gochan.send(op.spare, "never"), op.spare, op.never, None, op.channel):
        case (4, value):
            return [value]
        case other:
            raise AssertionError(other)


async def _select_receive_twice(op: Receiving) -> list[str]:
    _, value = await select(op.channel, op.channel)
    return [value]


async def _select_receive_or_send(op: Receiving) -> list[str]:
    match await select(op.channel, gochan.send(op.spare, "never"), op.spare):
        case (0, value):
            return [value]
        case other:
            raise AssertionError(other)


async def _send(op: Sending) -> None:
    await op.channel.send(VALUE)


async def _select_send(op: Sending) -> None:
    assert await select(gochan.send(op.channel, VALUE)) == (0, None)


async def _select_send_among(op: Sending) -> None:
    assert await select(op.spare, op.never, gochan.send(op.channel, VALUE), gochan.send(op.spare, "never")) == (2, None)


async def _select_send_and_receive_same(op: Sending) -> None:
    assert await select(op.channel, gochan.send(op.channel, VALUE)) == (1, None)


async def _wait(op: Waiting) -> None:
    await op.event.wait()


async def _select_event(op: Waiting) -> None:
    assert await select(op.event) == (0, None)


async def _select_event_among(op: Waiting) -> None:
    assert await select(op.spare, gochan.send(op.spare, "never"), op.event) == (2, None)


async def _result(op: Result) -> str:
    return await op.goroutine.result()


async def _select_goroutine(op: Result) -> str:
    _, value = await select(op.goroutine)
    return value


async def _done(op: Result) -> None:
    await op.goroutine.done.wait()


CHANNEL_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "receive": lambda: Receiving(_receive, 0),
    "receive-buffered": lambda: Receiving(_receive, 1),
    "receive_ok": lambda: Receiving(_receive_ok, 0),
    "receive_many": lambda: Receiving(_receive_many, 0),
    "receive_many-buffered": lambda: Receiving(_receive_many, 2),
    "anext": lambda: Receiving(_anext, 0),
    "select-receive": lambda: Receiving(_select_receive, 0),
    "select-receive_ok": lambda: Receiving(_select_receive_ok, 1),
    "select-receive-among": lambda: Receiving(_select_receive_among, 0),
    "select-receive-twice": lambda: Receiving(_select_receive_twice, 0),
    "select-receive-or-send": lambda: Receiving(_select_receive_or_send, 1),
    "send": lambda: Sending(_send, 0),
    "send-full": lambda: Sending(_send, 1),
    "select-send": lambda: Sending(_select_send, 0),
    "select-send-among": lambda: Sending(_select_send_among, 0),
    "select-send-among-full": lambda: Sending(_select_send_among, 2),
    "select-send-and-receive-same": lambda: Sending(_select_send_and_receive_same, 0),
    "event": lambda: Waiting(_wait),
    "select-event": lambda: Waiting(_select_event),
    "select-event-among": lambda: Waiting(_select_event_among),
}
"""Operations whose partner completes them at once."""

GOROUTINE_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "result": lambda: Result(_result),
    "select-goroutine": lambda: Result(_select_goroutine),
    "goroutine-done": lambda: Result(_done),
    "go_when_free": FreePlace,
}
"""Operations whose partner is a goroutine that first has to run to its end, some turns of the loop later."""

OPERATIONS = CHANNEL_OPERATIONS | GOROUTINE_OPERATIONS
