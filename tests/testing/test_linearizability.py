"""``check``: what it lets pass, and what it finds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

import gochan
from gochan import Channel, ChannelClosed
from gochan._channel_state import ChannelState
from gochan.testing import ScheduleFailure, explore, run
from gochan.testing._history import Alternative, History, Operation
from gochan.testing._linearizability import ChannelModel, Counterexample, Linearizable, Unknown, check

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class There:
    """Stands for a channel in a history that was made by hand."""


THERE = There()


def did(
    what: str, call: int, returned: int | None, value: Any = None, outcome: Any = "ok", waits: bool = True
) -> Operation:
    """One operation of a history that was made by hand."""
    way: Any = what
    alternative = Alternative(way, THERE, value if what == "send" else None, label="there")
    chosen = 0 if outcome in ("ok", "closed") else None
    return Operation("someone", (alternative,), waits, call, returned, outcome, chosen, value)


def verdict(model: ChannelModel, *operations: Operation) -> bool:
    history = History()
    history.operations.extend(sorted(operations, key=lambda operation: operation.call))
    return bool(check(history, model))


# ---- by hand ----


def test_a_value_is_received_after_it_was_sent() -> None:
    """Not before the send was called."""
    assert verdict(ChannelModel(1), did("send", 1, 2, "a"), did("receive", 3, 4, "a"))
    assert verdict(ChannelModel(1), did("receive", 1, 4, "a"), did("send", 2, 3, "a"))
    assert not verdict(ChannelModel(1), did("receive", 1, 2, "a"), did("send", 3, 4, "a"))


def test_a_rendezvous_takes_both_at_once() -> None:
    """Without a buffer, a send cannot return before a receive was called."""
    assert verdict(ChannelModel(0), did("send", 1, 3, "a"), did("receive", 2, 4, "a"))
    assert not verdict(ChannelModel(0), did("send", 1, 2, "a"), did("receive", 3, 4, "a"))
    assert not verdict(ChannelModel(0), did("send", 1, 2, "a"))


def test_values_come_out_in_the_order_in_which_they_went_in() -> None:
    """If that order is known; sends that overlap may be in any."""
    received = did("receive", 5, 6, "b"), did("receive", 7, 8, "a")
    assert verdict(ChannelModel(2), did("send", 1, 3, "a"), did("send", 2, 4, "b"), *received)
    assert not verdict(ChannelModel(2), did("send", 1, 2, "a"), did("send", 3, 4, "b"), *received)


def test_a_buffer_has_its_capacity() -> None:
    """And one that is unbounded has none."""
    sends = [did("send", 2 * n + 1, 2 * n + 2, n) for n in range(3)]
    assert not verdict(ChannelModel(2), *sends)
    assert verdict(ChannelModel(3), *sends)
    assert verdict(ChannelModel(math.inf), *sends)


def test_each_value_is_received_once() -> None:
    """Neither twice nor out of nothing."""
    sent = did("send", 1, 2, "a")
    assert not verdict(ChannelModel(1), sent, did("receive", 3, 4, "a"), did("receive", 5, 6, "a"))
    assert not verdict(ChannelModel(1), sent, did("receive", 3, 4, "b"))


def test_a_closed_channel_is_drained() -> None:
    """It says "closed" when it is empty, and to who sends."""
    sent, closed = did("send", 1, 2, "a"), did("close", 3, 4)
    late = did("receive", 5, 6, outcome="closed")
    assert not verdict(ChannelModel(1), sent, closed, late)
    assert verdict(ChannelModel(1), sent, closed, did("receive", 5, 6, "a"), did("receive", 7, 8, outcome="closed"))
    assert verdict(ChannelModel(1), closed, did("send", 5, 6, "a", outcome="closed"))
    assert not verdict(ChannelModel(1), closed, did("send", 5, 6, "a"))
    assert not verdict(ChannelModel(1), did("receive", 1, 2, outcome="closed"))


def test_a_cancelled_operation_had_no_effect() -> None:
    """What it sent cannot be received, what it received is still there."""
    cancelled = did("send", 1, 2, "a", outcome="cancelled")
    assert verdict(ChannelModel(1), cancelled)
    assert not verdict(ChannelModel(1), cancelled, did("receive", 3, 4, "a"))
    taken = did("receive", 3, 4, outcome="cancelled")
    assert not verdict(ChannelModel(1), did("send", 1, 2, "a"), taken, did("send", 5, 6, "b"))


def test_a_pending_operation_may_have_happened() -> None:
    """Or may not."""
    pending = did("send", 1, None, "a", outcome="pending")
    assert verdict(ChannelModel(0), pending)
    assert verdict(ChannelModel(0), pending, did("receive", 2, 3, "a"))
    assert not verdict(ChannelModel(0), pending, did("receive", 2, 3, "b"))


def test_who_never_waits_had_to() -> None:
    """WouldBlock is wrong where there was a value, or room."""
    sent = did("send", 1, 2, "a")
    assert not verdict(ChannelModel(1), sent, did("receive", 3, 4, outcome="blocked", waits=False))
    assert verdict(ChannelModel(1), sent, did("send", 3, 4, "b", outcome="blocked", waits=False))
    assert not verdict(ChannelModel(2), sent, did("send", 3, 4, "b", outcome="blocked", waits=False))
    assert not verdict(ChannelModel(0), did("close", 1, 2), did("receive", 3, 4, outcome="blocked", waits=False))


def test_a_dropping_channel_drops() -> None:
    """The value that is sent, or the oldest; and never waits."""
    sends = did("send", 1, 2, "a"), did("send", 3, 4, "b")
    first, second = did("receive", 5, 6, "a"), did("receive", 5, 6, "b")
    assert verdict(ChannelModel(1, "drop_newest"), *sends, first)
    assert not verdict(ChannelModel(1, "drop_newest"), *sends, second)
    assert verdict(ChannelModel(1, "drop_oldest"), *sends, second)
    assert not verdict(ChannelModel(1, "drop_oldest"), *sends, first)
    assert verdict(ChannelModel(0, "drop_newest"), *sends)
    assert not verdict(ChannelModel(1, "drop_newest"), did("send", 1, 2, "a", outcome="blocked", waits=False))


def test_a_search_that_takes_too_long_says_so() -> None:
    """It is neither true nor a counterexample."""
    history = History()
    history.operations.extend(did("send", n + 1, 100 + n, n) for n in range(12))
    history.operations.append(did("receive", 200, 201, "never sent"))
    assert check(history, ChannelModel(12), budget=100) == Unknown(100)
    assert not Unknown(100)


def test_values_need_not_be_hashable() -> None:
    """The same object is the same value."""
    history, channel, value = History(), Channel[list[int]](1), [1]
    history.send_nowait(channel, value)
    assert history.receive_nowait(channel) is value
    assert check(history)


def test_a_counterexample_is_readable() -> None:
    """What fits is numbered, what does not is marked, and the bars show what overlaps."""
    history = History()
    history.operations += [did("send", 1, 3, "a"), did("receive", 2, 4, "a"), did("receive", 5, 6, "a")]
    found = check(history, ChannelModel(0))
    assert isinstance(found, Counterexample)
    assert repr(found).splitlines() == [
        "not linearizable: after the numbered operations no other fits (there holds [])",
        "1.  someone  send(there, 'a') -> ok  ├─┤",
        "2.  someone  receive(there) -> 'a'    ├─┤",
        " !  someone  receive(there) -> 'a'       ├┤",
    ]


# ---- real channels ----


async def mixture(history: History, channel: Any, stop_after: int) -> None:
    """Senders and receivers of all kinds on one channel, one of them cancelled, and a close at the end."""
    other = Channel[int](1)

    async def sender(first: int) -> None:
        for value in (first, first + 1):
            await history.send(channel, value)

    async def chooser() -> None:
        for value in (30, 31):
            await history.select(gochan.send(channel, value), other, gochan.send(other, value))

    async def receiver() -> None:
        while (await history.receive_ok(channel))[1]:
            pass

    async def at_once() -> None:
        for _ in range(3):
            for attempt in (lambda: history.send_nowait(channel, 40), lambda: history.receive_nowait(channel)):
                try:
                    attempt()
                except (anyio.WouldBlock, ChannelClosed):
                    pass
                await anyio.sleep(0)

    async def canceller(scope: anyio.CancelScope) -> None:
        for _ in range(stop_after):
            await anyio.sleep(0)
        scope.cancel()

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            group.go(canceller, scope)
            await sender(50)
            await history.receive(channel)

    async with gochan.Group() as group:
        for start in (lambda: sender(10), lambda: sender(20), chooser, receiver, receiver, at_once, cancelled):
            group.go(_named(start))
        await anyio.sleep(1)
        history.close(channel)


def _named(start: Callable[[], Any]) -> Callable[[], Any]:
    async def goroutine() -> None:
        try:
            await start()
        except ChannelClosed:
            pass

    return goroutine


@backends
@pytest.mark.parametrize("capacity", [0, 1, 2, math.inf])
@pytest.mark.parametrize("overflow", ["block", "drop_newest", "drop_oldest"])
def test_channels_are_linearizable(capacity: float, overflow: Any, backend: Backend) -> None:
    """Under forty orders, with their waiters served first come, first served; and the search is short."""
    for seed in range(40):
        history, channel = History(), Channel[int](capacity, overflow=overflow)
        run(mixture, history, channel, seed % 8, backend=backend, seed=seed)
        found = check(history, fifo=True)
        assert found, seed
        assert isinstance(found, Linearizable)
        assert found.nodes < 5_000
        models = dict.fromkeys(channels(history), ChannelModel(1)) | {channel: ChannelModel(capacity, overflow)}
        assert check(history, models)


def channels(history: History) -> list[Any]:
    return [alternative.channel for operation in history.operations for alternative in operation.alternatives]


# ---- wrong channels ----


class Wrong:
    """A channel around a good one, that does one thing wrong."""

    def __init__(self, capacity: int) -> None:
        self.inner: Channel[int] = Channel(capacity)
        self.capacity = capacity

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class ForgetsOnCancel(Wrong):
    """A receive that is cancelled after it got its value loses it."""

    async def receive(self) -> int:
        value = await self.inner.receive()
        await anyio.lowlevel.checkpoint()
        return value


class SendsThoughCancelled(Wrong):
    """A send that was cancelled after a receiver took its value says that it did not happen."""

    async def send(self, value: int) -> None:
        await self.inner.send(value)
        await anyio.lowlevel.checkpoint()


class SaysClosedTooEarly(Wrong):
    """A receive that got its value just before the close says that there is none."""

    async def receive(self) -> int:
        value = await self.inner.receive()
        if self.inner.closed:
            raise ChannelClosed("closed", self.inner)
        return value


class RefusesWithoutNeed(Wrong):
    """A send that never waits does not see the last place."""

    def send_nowait(self, value: int) -> None:
        if len(self.inner) == self.capacity - 1:
            raise anyio.WouldBlock
        self.inner.send_nowait(value)


class LastInFirstOut(Wrong):
    """The newest value comes out first."""

    async def receive(self) -> int:
        values = [await self.inner.receive()]
        while len(self.inner):
            values.append(self.inner.receive_nowait())
        last = values.pop()
        for value in values:
            self.inner.send_nowait(value)
        return last


class DeliversTwice(Wrong):
    """A value is now and then received by two."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.count = 0
        self.again: deque[int] = deque()

    async def receive(self) -> int:
        if self.again:
            return self.again.popleft()
        value = await self.inner.receive()
        self.count += 1
        if self.count == 2:
            self.again.append(value)
        return value


async def traffic(history: History, channel: Any, stop_after: int) -> None:
    """Two senders and two receivers, one of each cancelled; then a last value, a close, and receives of what is left."""

    async def sender(first: int) -> None:
        for value in range(first, first + 3):
            await history.send(channel, value)

    async def at_once() -> None:
        for value in (70, 71):
            try:
                history.send_nowait(channel, value)
            except anyio.WouldBlock:
                pass
            await anyio.sleep(0)

    async def receiver() -> None:
        while True:
            await history.receive(channel)

    async def canceller(scope: anyio.CancelScope) -> None:
        for _ in range(stop_after):
            await anyio.sleep(0)
        scope.cancel()

    async def cancelled(start: Callable[[], Any]) -> None:
        with anyio.CancelScope() as scope:
            group.go(canceller, scope)
            await start()

    async with gochan.Group() as group:
        for start in (
            lambda: sender(10),
            lambda: cancelled(lambda: sender(20)),
            receiver,
            lambda: cancelled(receiver),
            at_once,
        ):
            group.go(_named(start))
        await anyio.sleep(1)
        try:
            history.send_nowait(channel, 90)
        except anyio.WouldBlock:
            pass
        history.close(channel)
        group.go(_named(receiver))


@backends
@pytest.mark.parametrize(
    ("wrong", "capacity"),
    [
        (ForgetsOnCancel, 0),
        (SendsThoughCancelled, 0),
        (SaysClosedTooEarly, 3),
        (RefusesWithoutNeed, 2),
        (LastInFirstOut, 2),
        (DeliversTwice, 1),
    ],
)
def test_wrong_channels_are_found(wrong: type[Wrong], capacity: int, backend: Backend) -> None:
    """Within a hundred orders."""
    for seed in range(100):
        history = History()
        run(traffic, history, wrong(capacity), seed % 10, backend=backend, seed=seed)
        if isinstance(check(history, ChannelModel(capacity)), Counterexample):
            return
    pytest.fail("not found")


@backends
@pytest.mark.parametrize(("claimed", "real"), [(0, 1), (1, 2), (2, 0)])
def test_wrong_capacities_are_found(claimed: int, real: int, backend: Backend) -> None:
    """A buffer where there should be none, a place too many, places that are not there."""
    for seed in range(100):
        history = History()
        run(traffic, history, Channel[int](real), seed % 10, backend=backend, seed=seed)
        if isinstance(check(history, ChannelModel(claimed)), Counterexample):
            return
    pytest.fail("not found")


class _Barging(ChannelState):
    """Whoever came last is served first."""

    __slots__ = ()

    def put(self, item: Any) -> Any:
        receivers = self.receivers
        last = receivers.tail
        if last is None or last is receivers.head:
            return super().put(item)
        receivers.remove(last)
        self.received += 1
        last.commit(item)
        return None


@backends
def test_barging_is_found_where_it_is_asked_for(backend: Backend) -> None:
    """It is linearizable, but not first come, first served."""

    async def program(history: History, channel: Channel[int]) -> None:
        async def receive() -> None:
            await history.receive(channel)

        async with gochan.Group() as group:
            for number in range(3):
                group.go(receive)
                while channel.statistics().receivers_waiting <= number:
                    await anyio.sleep(0)
            for value in range(3):
                await history.send(channel, value)

    for state, fair in ((_Barging, False), (ChannelState, True)):
        history, channel = History(), Channel[int]()
        channel._state = state(0, "block", None)
        run(program, history, channel, backend=backend)
        assert check(history)
        assert bool(check(history, fifo=True)) is fair


def test_explore_and_a_history_find_a_schedule() -> None:
    """The check stands in the program; the table of the failure and the timeline together show what happened."""

    async def program(wrong: type[Wrong] | type[Channel[int]]) -> None:
        history, channel = History(), wrong(0)
        await traffic(history, channel, 3)
        found = check(history, ChannelModel(0))
        assert found, f"{found}"

    with pytest.raises(ScheduleFailure) as caught:
        explore(program, ForgetsOnCancel)
    assert "not linearizable" in str(caught.value.__cause__)
    explore(program, Channel[int], runs=50)


def test_select_belongs_to_both_of_its_channels() -> None:
    """A value that a select cannot have taken from either is found."""

    async def program(history: History) -> None:
        first, second = Channel[int](1, name="first"), Channel[int](1, name="second")
        await history.send(first, 1)
        await history.send(second, 2)
        await history.select(first, second, priority=True)

    history = History()
    run(program, history)
    assert check(history)
    history.operations[-1].value = 2
    found = check(history)
    assert isinstance(found, Counterexample)
    assert "first holds" in repr(found)
    assert "select(receive(first), receive(second)) -> case 0, 2" in repr(found)
