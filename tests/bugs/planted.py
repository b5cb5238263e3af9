"""Bugs planted in the channel itself: each is a channel's state with one thing done wrong.

One program uses the channel in every way and checks the history of what it saw. A planted bug is found when some
schedule of it ends in a history without an explanation, in a deadlock, or in an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
from tests.testing.traffic import named

from gochan import Channel, go, send, sleep
from gochan._channel_state import CLOSED, ChannelState
from gochan._core.driver import Driver
from gochan._core.waiter import PARKED, SelectEntry, Waiter
from gochan._core.waitqueue import Entry, WaitQueue
from gochan.testing import ChannelModel, History, check

from .bug import Program


class State(ChannelState):
    """A state whose queues may be of another kind, too."""

    __slots__ = ()

    queue: Callable[[ChannelState], WaitQueue] = staticmethod(lambda state: WaitQueue())

    def sending(self, driver: Driver) -> WaitQueue:
        self.owner = driver
        if type(self.senders) is WaitQueue and not self.senders:
            self.senders = self.queue(self)
        return self.senders

    def receiving(self, driver: Driver) -> WaitQueue:
        self.owner = driver
        if type(self.receivers) is WaitQueue and not self.receivers:
            self.receivers = self.queue(self)
        return self.receivers


class LostWakeUp(State):
    """A receive from a full buffer makes room, and does not tell the sender that waits for it."""

    __slots__ = ()

    def take(self) -> Any:
        if self.buffer and self.senders.head is not None:
            self.received += 1
            return self.buffer.popleft()
        return super().take()


class LastInFirstOut(State):
    """The newest value in the buffer comes out first."""

    __slots__ = ()

    class Stack(deque[Any]):
        def popleft(self) -> Any:
            return self.pop()

    def put(self, item: Any) -> Any:
        if not isinstance(self.buffer, self.Stack):
            self.buffer = self.Stack()
        return super().put(item)


class OneTooMany(State):
    """There is a place more than the capacity."""

    __slots__ = ()

    def __init__(self, capacity: float, overflow: str, name: str | None) -> None:
        super().__init__(capacity, overflow, name)
        self.limit = capacity + 1


class OneTooFew(State):
    """The last place is not used."""

    __slots__ = ()

    def __init__(self, capacity: float, overflow: str, name: str | None) -> None:
        super().__init__(capacity, overflow, name)
        self.limit = capacity - 1


class Barging(State):
    """Who came last is served first."""

    __slots__ = ()

    def put(self, item: Any) -> Any:
        last = self.receivers.tail
        if self.closed or last is None or last is self.receivers.head:
            return super().put(item)
        self.receivers.remove(last)
        self.received += 1
        last.commit(item)
        return None


class CloseWakesOne(State):
    """Of those that wait to receive, only the first hears of the close."""

    __slots__ = ()

    def close(self, cause: BaseException | None) -> None:
        if not self.closed and self.receivers.head is not None:
            self.receivers.commit_first(CLOSED)
            self.receivers = WaitQueue()
        super().close(cause)


class CloseEmpties(State):
    """A close throws away what is in the buffer."""

    __slots__ = ()

    def close(self, cause: BaseException | None) -> None:
        self.buffer = deque()
        super().close(cause)


class SendAfterClose(State):
    """A send on a closed channel finds a place in the buffer."""

    __slots__ = ()

    def put(self, item: Any) -> Any:
        if self.closed and len(self.buffer) < self.capacity:
            self.buffer.append(item)
            return None
        return super().put(item)


class ReceivedTwice(State):
    """Who takes a value from a waiting sender leaves a copy behind."""

    __slots__ = ()

    def take(self) -> Any:
        waited = self.senders.head is not None
        value = super().take()
        if waited:
            self.buffer = deque(self.buffer)
            self.buffer.append(value)
        return value


class DeliveredThoughCancelled(State):
    """A sender that is cancelled while it waits leaves its value in the buffer."""

    __slots__ = ()

    class Queue(WaitQueue):
        __slots__ = ("state",)

        def remove(self, entry: Entry) -> None:
            super().remove(entry)
            state: ChannelState = self.state
            if self is state.senders and not isinstance(entry, SelectEntry):
                state.buffer = deque((*state.buffer, entry.item))

    @staticmethod
    def queue(state: ChannelState) -> WaitQueue:
        queue = DeliveredThoughCancelled.Queue()
        queue.state = state
        return queue


class Ghost(Entry):
    """An entry of a select that is over: it exchanges a value with nobody.

    (To resume a task twice would break the event loop, which is found, but by accident.)
    """

    __slots__ = ("number", "waiter")

    def __init__(self, entry: SelectEntry, waiter: Waiter | None) -> None:
        self.number = entry.number
        self.item = getattr(entry, "item", None)
        self.waiter = waiter

    def commit(self, value: Any) -> None:
        if self.waiter is not None:
            self.waiter.commit((self.number, value))


class StaleSelectEntry(State):
    """A case that lost stays in its queue."""

    __slots__ = ()

    class Queue(WaitQueue):
        __slots__ = ()

        def remove(self, entry: Entry) -> None:
            if not isinstance(entry, SelectEntry):
                super().remove(entry)

        def pop(self) -> Entry:
            entry = super().pop()
            stale = isinstance(entry, SelectEntry) and entry.waiter.state != PARKED
            return Ghost(entry, None) if stale else entry

        def commit_first(self, value: Any) -> None:
            self.pop().commit(value)

    queue = staticmethod(lambda state: StaleSelectEntry.Queue())


class DoubleCommit(State):
    """Whoever commits a case of a select leaves its other cases where they are, for others to commit."""

    __slots__ = ()

    class Queue(WaitQueue):
        __slots__ = ()

        def pop(self) -> Entry:
            entry = super().pop()
            if not isinstance(entry, SelectEntry):
                return entry
            return Ghost(entry, entry.waiter if entry.waiter.state == PARKED else None)

        def commit_first(self, value: Any) -> None:
            self.pop().commit(value)

    queue = staticmethod(lambda state: DoubleCommit.Queue())


class DroppedOnCancel(State):
    """A sender that is cancelled while it waits takes a value out of the buffer with it."""

    __slots__ = ()

    class Queue(WaitQueue):
        __slots__ = ("state",)

        def remove(self, entry: Entry) -> None:
            super().remove(entry)
            state: ChannelState = self.state
            if self is state.senders and state.buffer:
                state.buffer.popleft()

    @staticmethod
    def queue(state: ChannelState) -> WaitQueue:
        queue = DroppedOnCancel.Queue()
        queue.state = state
        return queue


@dataclass(frozen=True)
class Planted:
    """One of them, in the program that shows it."""

    name: str
    program: Program


def exercise(kind: type[ChannelState], capacity: int, late_receivers: int = 0, *, both: bool = False) -> Program:
    """The program, with a channel of that kind and another beside it, a sound one if not ``both``."""

    def make(kind: type[ChannelState], capacity: int, name: str) -> Channel[int]:
        channel = Channel[int](capacity, name=name)
        channel._state = kind(capacity, "block", name)
        return channel

    async def program() -> None:
        history, channel = History(), make(kind, capacity, "channel")
        side = make(kind if both else ChannelState, 0, "side")

        async def send_two(first: int) -> None:
            for value in (first, first + 1):
                await history.send(channel, value)

        async def send_somewhere() -> None:
            for value in (30, 31):
                await history.select(send(channel, value), send(side, value))

        async def receive_somewhere() -> None:
            await history.select(channel, side)

        async def try_both() -> None:
            try:
                history.send_nowait(channel, 40)
                await sleep(0)
                history.receive_nowait(channel)
            except anyio.WouldBlock:
                pass

        async def give_up() -> None:
            with anyio.CancelScope() as scope:
                go(scope_canceller, scope)
                await send_two(50)
                await history.receive(channel)

        async def scope_canceller(scope: anyio.CancelScope) -> None:
            await sleep(0)
            scope.cancel()

        async def send_late(when: float) -> None:
            await sleep(when)
            await history.send(channel, 60)

        async def receive_late() -> None:
            await sleep(0.5)
            await history.receive(channel)

        async def receive_all() -> None:
            await sleep(3)
            while (await history.receive_ok(channel))[1]:
                pass

        for start in (
            named(lambda: send_two(10)),
            named(lambda: send_two(20)),
            named(send_somewhere),
            named(receive_somewhere),
            named(lambda: history.receive(channel)),
            named(lambda: history.receive(channel)),
            named(lambda: history.receive(side)),
            named(try_both),
            named(give_up),
            named(lambda: send_late(2)),
            named(lambda: send_late(4)),
            named(receive_all),
            *[named(receive_late)] * late_receivers,
        ):
            go(start)
        await sleep(1)  # everybody who can has come to the end, and the others wait
        history.close(channel)
        history.close(side)
        await sleep(5)
        models = {channel: ChannelModel(capacity), side: ChannelModel(0)}
        found = check(history, models, fifo=True)
        assert found, repr(found)

    return program


PLANTED = [
    Planted(LostWakeUp.__name__, exercise(LostWakeUp, 1)),
    Planted(LastInFirstOut.__name__, exercise(LastInFirstOut, 2)),
    Planted(OneTooMany.__name__, exercise(OneTooMany, 0)),
    Planted(OneTooFew.__name__, exercise(OneTooFew, 2)),
    Planted(Barging.__name__, exercise(Barging, 0)),
    Planted(CloseWakesOne.__name__, exercise(CloseWakesOne, 0, 9)),
    Planted(CloseEmpties.__name__, exercise(CloseEmpties, 2)),
    Planted(SendAfterClose.__name__, exercise(SendAfterClose, 1)),
    Planted(ReceivedTwice.__name__, exercise(ReceivedTwice, 1)),
    Planted(DeliveredThoughCancelled.__name__, exercise(DeliveredThoughCancelled, 0)),
    Planted(DroppedOnCancel.__name__, exercise(DroppedOnCancel, 1)),
    Planted(StaleSelectEntry.__name__, exercise(StaleSelectEntry, 0)),
    Planted(DoubleCommit.__name__, exercise(DoubleCommit, 0, both=True)),
]

SOUND = [
    Planted(f"nothing, capacity {capacity}, {late} late", exercise(ChannelState, capacity, late))
    for capacity in (0, 1, 2)
    for late in (0, 9)
]
"""The channel as it is, in the same program."""
