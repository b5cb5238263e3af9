"""Channels that do one thing wrong, and are found out by their histories."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

import gochan
from gochan import Channel, ChannelClosed
from gochan._channel_state import ChannelState
from gochan.testing import ChannelModel, Counterexample, History, ScheduleFailure, check, explore, run

from .traffic import traffic

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


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

    async def program(wrong: type[Wrong | Channel[int]]) -> None:
        history, channel = History(), wrong(0)
        await traffic(history, channel, 3)
        found = check(history, ChannelModel(0))
        assert found, f"{found}"

    with pytest.raises(ScheduleFailure) as caught:
        explore(program, ForgetsOnCancel)
    assert "not linearizable" in str(caught.value.__cause__)
    explore(program, Channel[int], runs=50)
