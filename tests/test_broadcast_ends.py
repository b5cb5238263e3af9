"""Broadcasts: how they end, what can be seen of them, and misuse."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any, Literal, cast

import anyio
import pytest
from tests.conformance.helpers import until

from gochan import (
    Broadcast,
    BroadcastStatistics,
    ChannelClosed,
    Deadlock,
    Group,
    Lagged,
    Subscription,
    find_leaks,
    select,
)
from gochan.diagnostics import goroutines
from gochan.testing import run

Policy = Literal["wait", "lag", "latest"]
Backend = Literal["asyncio", "trio"]

policies = pytest.mark.parametrize("policy", ["wait", "lag", "latest"])
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def unread(subscription: Subscription[Any]) -> list[Any]:
    """What it has not read, taken out."""
    return [subscription.receive_nowait() for _ in range(len(subscription))]


async def publishers_parked(broadcast: Broadcast[Any], count: int) -> None:
    await until(lambda: broadcast.statistics().publishers_waiting == count)


async def receivers_parked(broadcast: Broadcast[Any], count: int) -> None:
    await until(lambda: broadcast.statistics().receivers_waiting == count)


# ---- close ----


@policies
@pytest.mark.parametrize("cause", [None, KeyError("why")], ids=["plain", "cause"])
async def test_subscriptions_drain_then_end(policy: Policy, cause: KeyError | None) -> None:
    """What was published before the close is still read; then every way to receive says the same."""
    broadcast = Broadcast[int](3, policy, name="news")
    reader = broadcast.subscribe()
    await broadcast.publish(1)
    broadcast.close(cause)
    broadcast.close(ValueError("the first call counts"))
    assert broadcast.closed
    assert reader.closed
    assert await reader.receive() == 1
    with anyio.fail_after(5):
        for way in (reader.receive, reader.receive_many, lambda: select(reader)):
            with pytest.raises(ChannelClosed, match="news") as caught:
                await way()
            assert (caught.value.__cause__, caught.value.channel) == (cause, reader)
        with pytest.raises(ChannelClosed):
            reader.receive_nowait()
        assert await reader.receive_ok() == (None, False)
        if cause is None:
            assert [value async for value in reader] == []
        else:
            with pytest.raises(ChannelClosed) as caught:
                await reader.__anext__()
            assert caught.value.__cause__ is cause
        for publish in (broadcast.publish(2), select(broadcast.publishing(2))):
            with pytest.raises(ChannelClosed, match="publish on a closed") as caught:
                await publish
            assert (caught.value.__cause__, caught.value.channel) == (cause, broadcast)
        with pytest.raises(ChannelClosed):
            broadcast.publish_nowait(2)
        late = broadcast.subscribe()
        assert await late.receive_ok() == (None, False)


async def test_lagging_and_closed() -> None:
    """First the word, then what was kept, then the end."""
    broadcast = Broadcast[int](1, "lag")
    reader = broadcast.subscribe()
    for value in range(3):
        await broadcast.publish(value)
    broadcast.close()
    with pytest.raises(Lagged):
        await reader.receive()
    assert await reader.receive() == 2
    with pytest.raises(ChannelClosed):
        await reader.receive()


async def test_close_reaches_everybody_who_waits() -> None:
    """Receivers and publishers at once; a value that waited has gone to nobody."""
    broadcast = Broadcast[int](1)
    idle, full = broadcast.subscribe(), broadcast.subscribe()
    await broadcast.publish(0)
    assert await idle.receive() == 0
    ends = list[str]()

    async def wait(what: str, operation: Any) -> None:
        with pytest.raises(ChannelClosed):
            await operation
        ends.append(what)

    with anyio.fail_after(5):
        async with Group() as group:
            group.go(wait, "receive", idle.receive())
            group.go(wait, "select", select(idle, None))
            await receivers_parked(broadcast, 2)
            group.go(wait, "publish", broadcast.publish(1))
            group.go(wait, "publishing", select(broadcast.publishing(2)))
            await publishers_parked(broadcast, 2)
            broadcast.close()
            broadcast._state._check()
    assert sorted(ends) == ["publish", "publishing", "receive", "select"]
    assert unread(full) == [0]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["with", "async with"])
async def test_a_with_block_closes(asynchronous: bool) -> None:
    """Left by an Exception it closes with that as the cause; ``aclose`` is ``close``."""
    broadcast = Broadcast[int](1)
    reader = broadcast.subscribe()
    with pytest.raises(KeyError):
        if asynchronous:
            async with broadcast as inside:
                assert inside is broadcast
                raise KeyError
        else:
            with broadcast as inside:
                assert inside is broadcast
                raise KeyError
    with pytest.raises(ChannelClosed) as caught:
        await reader.receive()
    assert isinstance(caught.value.__cause__, KeyError)
    await broadcast.aclose()


# ---- seeing ----


async def test_state_words_and_leaks() -> None:
    """A publisher waits in "chan send", a receiver in "chan receive", each on what it waits for; both can leak."""
    broadcast = Broadcast[int](1, name="news")
    reader, full = broadcast.subscribe(), broadcast.subscribe()
    broadcast.publish_nowait(0)
    assert reader.receive_nowait() == 0

    async def receive(subscription: Subscription[int]) -> None:
        await subscription.receive()

    with anyio.fail_after(10):
        async with Group() as group:
            group.go(broadcast.publish, 1, name="publisher")
            group.go(receive, reader, name="receiver")
            await publishers_parked(broadcast, 1)
            await receivers_parked(broadcast, 1)
            states = {one.name: (one.state, one.waiting_on) for one in goroutines()}
            assert states["publisher"] == ("chan send", ("news",))
            assert states["receiver"] == ("chan receive", ("news",))
            assert find_leaks() == []  # held by this very frame
            group.cancel()

        async with Group() as group:
            lost = Broadcast[int](1)
            group.go(receive, lost.subscribe(), name="leaker")
            await receivers_parked(lost, 1)
            del lost
            assert [one.name for one in find_leaks()] == ["leaker"]
            group.cancel()
    assert len(full) == 1


@backends
def test_a_deadlock_names_both_ends(backend: Backend) -> None:
    """A publisher that waits for a subscription which nobody reads, while its holder waits for another value."""

    async def main() -> None:
        full, empty = Broadcast[int](1, name="full"), Broadcast[int](1, name="empty")
        unread_one, reader = full.subscribe(), empty.subscribe()
        async with Group() as group:
            group.go(reader.receive)
            await full.publish(1)
            await full.publish(2)
        unread_one.close()

    with pytest.raises(Deadlock) as caught:
        run(main, backend=backend)
    assert sorted(one.state for one in caught.value.goroutines) == ["chan receive", "chan send"]


def test_statistics_and_repr() -> None:
    """What it knows, readable anywhere."""
    broadcast = Broadcast[int](2, "lag", name="news")
    reader = broadcast.subscribe()
    for value in range(3):
        broadcast.publish_nowait(value)
    assert broadcast.statistics() == BroadcastStatistics(
        capacity=2,
        buffered=2,
        subscriptions=1,
        publishers_waiting=0,
        receivers_waiting=0,
        published=3,
        missed=1,
        closed=False,
    )
    assert (broadcast.capacity, broadcast.policy, broadcast.name, reader.name) == (2, "lag", "news", "news")
    assert repr(broadcast) == "<Broadcast 'news' lag 2/2 publishers=0 subscriptions=1>"
    assert repr(reader) == "<Subscription to 'news' unread=2 missed=1 receivers=0>"
    broadcast.close()
    assert "closed" in repr(broadcast)
    assert "closed broadcast" in repr(reader)
    reader.close()
    assert repr(reader) == "<Subscription to 'news' unread=0 closed receivers=0>"


# ---- misuse ----


@pytest.mark.parametrize(
    ("capacity", "error"),
    [(0, ValueError), (-1, ValueError), (math.nan, ValueError), (-math.inf, ValueError)]
    + [(1.5, TypeError), (True, TypeError), ("2", TypeError), (None, TypeError)],
)
def test_a_bad_capacity(capacity: Any, error: type[Exception]) -> None:
    """Nothing could be delivered at 0: all subscriptions would have to receive in one moment."""
    with pytest.raises(error, match="capacity of a broadcast"):
        Broadcast[int](capacity)


def test_a_bad_policy() -> None:
    """Named with the good ones."""
    with pytest.raises(ValueError, match="'wait', 'lag' or 'latest', not 'drop'"):
        Broadcast[int](1, cast("Any", "drop"))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copies(duplicate: Callable[[object], object]) -> None:
    """A copy would share half of the state."""
    broadcast = Broadcast[int](1)
    for thing in (broadcast, broadcast.subscribe()):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            duplicate(thing)


async def test_another_thread_is_refused() -> None:
    """Once somebody has waited, in the words of every primitive; nothing has changed after."""
    broadcast = Broadcast[int](1)
    reader = broadcast.subscribe()
    errors = list[str]()

    def attempt() -> None:
        for operation in (
            lambda: broadcast.publish_nowait(1),
            broadcast.subscribe,
            broadcast.close,
            reader.receive_nowait,
            reader.close,
        ):
            try:
                operation()
            except RuntimeError as error:
                errors.append(str(error))

    with anyio.fail_after(10):
        async with Group() as group:
            waiting = group.go(reader.receive)
            await receivers_parked(broadcast, 1)
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
            await broadcast.publish(5)
        assert await waiting.result() == 5
    assert len(errors) == 5
    assert all("another thread" in error for error in errors)
    assert not broadcast.closed


def test_a_broadcast_outlives_its_loop() -> None:
    """The next loop takes it over, values and all; who was parked under the old one is gone."""
    broadcast = Broadcast[int](2)
    reader, idle = broadcast.subscribe(), broadcast.subscribe()

    async def first() -> None:
        await broadcast.publish(1)
        assert await idle.receive() == 1
        with anyio.move_on_after(0.001):
            await idle.receive()

    async def second() -> None:
        assert await reader.receive() == 1
        await broadcast.publish(2)
        assert await idle.receive() == 2

    anyio.run(first)
    anyio.run(second, backend="trio")
    broadcast._state._check()
