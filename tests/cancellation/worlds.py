"""The worlds of the operations that are cancelled: the partner that completes one, the books that must balance.

An operation knows three things: how to wait (`call`), how its partner completes it in one synchronous step
(`complete`), and what must hold when all is over (`check`). `check` is told whether the call returned; everything else
it reads off its own channels. That a completed operation returned, and one that was not completed did not, follows from
conservation: what went in is what came out, plus what is still in the buffer, plus what its owner kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Literal

import anyio

from gochan import Channel, Event, Goroutine, Group, Signal

VALUE = "the value"
FIRST = "what was in the buffer before"


def assert_no_waiter(*channels: Channel[Any]) -> None:
    """Nobody is left in any queue of these channels."""
    for channel in channels:
        statistics = channel.statistics()
        assert statistics.senders_waiting == 0, statistics
        assert statistics.receivers_waiting == 0, statistics


def assert_nobody_waits_for(event: Signal) -> None:
    """Nobody is left in the event's queue."""
    event._state._check()
    assert not event._state.waiters, event


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
    """A receive of any kind; the partner sends without waiting, `count` times in one step."""

    def __init__(
        self,
        how: Callable[[Receiving], Awaitable[Any]],
        capacity: int,
        *,
        overflow: Literal["block", "drop_newest", "drop_oldest"] = "block",
        count: int = 1,
    ) -> None:
        self.how = how
        self.channel: Channel[str] = Channel(capacity, overflow=overflow)
        self.values = [VALUE, "the second", "the third"][:count]
        self.accepted: list[str] = []
        self.spare: Channel[str] = Channel()
        self.never = Event()

    async def call(self) -> list[str]:
        return await self.how(self)

    def complete(self) -> None:
        for value in self.values:
            dropped = self.channel.statistics().dropped
            try:
                self.channel.send_nowait(value)
            except anyio.WouldBlock:
                return  # nobody waits any more: the value stays with its owner
            if self.channel.statistics().dropped == dropped:
                self.accepted.append(value)
                self.completed = True

    async def check(self, *, returned: bool, result: Any) -> None:
        assert_no_waiter(self.channel, self.spare)
        assert_nobody_waits_for(self.never)
        statistics = self.channel.statistics()
        got = list(result) if returned else []
        assert statistics.sent == len(self.accepted)
        assert statistics.received == len(got)
        left = drain(self.channel)
        assert got + left == self.accepted
        if self.channel.capacity == 0:
            assert left == []
            assert returned == self.completed
        # The channel goes on working.
        gone_on: list[str] = []

        async def receive() -> None:
            gone_on.append(await self.channel.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            while not self.channel.statistics().receivers_waiting:
                await anyio.sleep(0)
            await self.channel.send("next")
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
        assert_nobody_waits_for(self.never)
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
        assert_nobody_waits_for(self.event)
        assert self.event.is_set() == self.completed
        assert self.completed or not returned
        self.event.set()
        await self.event.wait()


class Result(Operation):
    """A wait for a goroutine's end. Cancelling who waits leaves the goroutine alone, and takes nothing from others."""

    def __init__(self, how: Callable[[Result], Awaitable[Any]]) -> None:
        self.how = how
        self.gate = Event()
        self.group = Group()
        self.spare: Channel[str] = Channel()

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
        assert_no_waiter(self.spare)
        assert_nobody_waits_for(self.goroutine.done)
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


class GroupEnd(Operation):
    """The end of a group: a cancelled one takes its goroutine along, and neither leaves anybody behind."""

    def __init__(self) -> None:
        self.gate = Event()
        self.ended: list[str] = []

    async def _work(self) -> None:
        try:
            await self.gate.wait()
            self.ended.append("returned")
        except BaseException:
            self.ended.append("cancelled")
            raise

    async def call(self) -> str:
        async with Group() as group:
            self.goroutine = group.go(self._work)
        return VALUE

    def complete(self) -> None:
        self.gate.set()
        self.completed = True

    async def check(self, *, returned: bool, result: Any) -> None:
        assert self.goroutine.done.is_set()
        assert_nobody_waits_for(self.gate)
        assert len(self.ended) == 1
        if returned:
            assert self.ended == ["returned"]
