"""Broadcasts: who gets what under each policy, and who waits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import anyio
import pytest
from tests.conformance.helpers import settle, until

from gochan import (
    Broadcast,
    Group,
    Lagged,
    Subscription,
    receive_ok,
    select,
)

Policy = Literal["wait", "lag", "latest"]

policies = pytest.mark.parametrize("policy", ["wait", "lag", "latest"])


def unread(subscription: Subscription[Any]) -> list[Any]:
    """What it has not read, taken out."""
    return [subscription.receive_nowait() for _ in range(len(subscription))]


async def publishers_parked(broadcast: Broadcast[Any], count: int) -> None:
    await until(lambda: broadcast.statistics().publishers_waiting == count)


async def receivers_parked(broadcast: Broadcast[Any], count: int) -> None:
    await until(lambda: broadcast.statistics().receivers_waiting == count)


# ---- who gets what ----


@policies
async def test_every_subscription_gets_every_value_in_order(policy: Policy) -> None:
    """One that keeps up sees the same under each policy."""
    broadcast, seen = Broadcast[int](3, policy), list[list[int]]()

    async def read(subscription: Subscription[int]) -> None:
        seen.append([value async for value in subscription])

    with anyio.fail_after(5):
        async with Group() as group:
            for _ in range(3):
                group.go(read, broadcast.subscribe())
            for value in range(20):
                await broadcast.publish(value)
                await settle(3)
                broadcast._state._check()
            broadcast.close()
    assert seen == [list(range(20))] * 3


@policies
async def test_a_subscription_sees_what_comes_after_it(policy: Policy) -> None:
    """Without one a value is gone; one that was left takes nothing more."""
    broadcast = Broadcast[int](5, policy)
    await broadcast.publish(0)
    early = broadcast.subscribe()
    await broadcast.publish(1)
    late = broadcast.subscribe()
    await broadcast.publish(2)
    assert (len(early), len(late)) == (2, 1)
    assert unread(early) == [1, 2]
    early.close()
    await broadcast.publish(3)
    assert unread(late) == [2, 3]
    assert len(early) == 0
    assert broadcast.statistics().published == 4


@policies
async def test_a_value_is_kept_until_the_last_has_read_it(policy: Policy) -> None:
    """Once, whatever the number of subscriptions."""
    broadcast = Broadcast[int](10, policy)
    fast, slow = broadcast.subscribe(), broadcast.subscribe()
    for value in range(4):
        await broadcast.publish(value)
    assert broadcast.statistics().buffered == 4
    assert unread(fast) == [0, 1, 2, 3]
    assert broadcast.statistics().buffered == 4
    assert await slow.receive_many(3) == [0, 1, 2]
    assert broadcast.statistics().buffered == 1
    slow.close()
    assert broadcast.statistics().buffered == 0
    broadcast._state._check()


async def test_ten_thousand_subscriptions() -> None:
    """Each waits, each is woken by the one publish, and leaving is as cheap."""
    broadcast, got = Broadcast[str](1), list[str]()

    async def read(subscription: Subscription[str]) -> None:
        with subscription:
            got.append(await subscription.receive())

    with anyio.fail_after(50):
        async with Group() as group:
            for _ in range(10_000):
                group.go(read, broadcast.subscribe())
            await receivers_parked(broadcast, 10_000)
            await broadcast.publish("news")
    assert got == ["news"] * 10_000
    assert broadcast.statistics().subscriptions == 0
    broadcast._state._check()


def test_a_publish_does_not_look_at_those_who_do_not_wait() -> None:
    """Its cost does not grow with the number of subscriptions: none of them is even known to the broadcast."""
    broadcast = Broadcast[int](10, "lag")
    subscriptions = [broadcast.subscribe() for _ in range(1000)]
    broadcast.publish_nowait(1)
    assert not broadcast._state.waiting
    assert broadcast._state.oldest.readers == len(subscriptions)


# ---- wait ----


async def test_wait_sets_the_pace_of_the_slowest() -> None:
    """A publish waits while one subscription is ``capacity`` behind, and goes on when that one has read."""
    broadcast, published = Broadcast[int](2), list[int]()
    fast, slow = broadcast.subscribe(), broadcast.subscribe()

    async def publish() -> None:
        for value in range(5):
            await broadcast.publish(value)
            published.append(value)

    with anyio.fail_after(5):
        async with Group() as group:
            group.go(publish)
            await publishers_parked(broadcast, 1)
            assert unread(fast) == [0, 1]
            await settle()
            assert published == [0, 1]
            assert await slow.receive() == 0
            await until(lambda: published == [0, 1, 2])
            assert await slow.receive_many() == [1, 2, 3]  # 3 was waiting, and its reading let it in
            assert unread(fast) == [2, 3]
        assert unread(fast) == unread(slow) == [4]
    assert broadcast.statistics().missed == 0


async def test_publishers_are_let_in_first_come_first_served() -> None:
    """Nobody barges in, not with ``publish_nowait`` either."""
    broadcast = Broadcast[int](1)
    reader = broadcast.subscribe()
    await broadcast.publish(0)
    with anyio.fail_after(5):
        async with Group() as group:
            for value in range(1, 4):
                group.go(broadcast.publish, value)
                await publishers_parked(broadcast, value)
            with pytest.raises(anyio.WouldBlock):
                broadcast.publish_nowait(9)
            for value in range(4):
                assert reader.receive_nowait() == value
                with pytest.raises(anyio.WouldBlock):
                    broadcast.publish_nowait(9) if value < 3 else reader.receive_nowait()


@pytest.mark.parametrize("end", ["close", "with", "drop"])
async def test_the_end_of_the_slowest_lets_publishers_go(end: str) -> None:
    """Closed, left or forgotten: a subscription that is gone holds nobody up."""
    broadcast = Broadcast[int](1)
    slow: list[Subscription[int]] = [broadcast.subscribe()]
    await broadcast.publish(0)
    with anyio.fail_after(5):
        async with Group() as group:
            group.go(broadcast.publish, 1)
            group.go(broadcast.publish, 2)
            await publishers_parked(broadcast, 2)
            match end:
                case "close":
                    slow[0].close()
                case "with":
                    with slow[0]:
                        pass
                case _:
                    slow.clear()
    assert broadcast.statistics().subscriptions == broadcast.statistics().publishers_waiting == 0
    broadcast._state._check()


async def test_unbounded() -> None:
    """With ``math.inf`` a publish never waits and nothing is lost."""
    broadcast = Broadcast[int](math.inf)
    reader = broadcast.subscribe()
    for value in range(10_000):
        broadcast.publish_nowait(value)
    assert unread(reader) == list(range(10_000))


async def test_a_select_that_publishes_and_receives_does_not_meet_itself() -> None:
    """Let in as a publisher, it is out of its own subscription's queue before the value comes there."""
    broadcast = Broadcast[int](1)
    own, slow = broadcast.subscribe(), broadcast.subscribe()
    await broadcast.publish(0)
    assert own.receive_nowait() == 0
    with anyio.fail_after(5):
        async with Group() as group:
            both = group.go(select, broadcast.publishing(1), own)
            await publishers_parked(broadcast, 1)
            assert slow.receive_nowait() == 0
        assert await both.result() == (0, None)
    assert unread(own) == unread(slow) == [1]


async def test_a_select_over_two_subscriptions_takes_from_one() -> None:
    """The value that comes to both stays unread in the other."""
    broadcast = Broadcast[int](1)
    first, second = broadcast.subscribe(), broadcast.subscribe()
    with anyio.fail_after(5):
        async with Group() as group:
            choice = group.go(select, first, second)
            await receivers_parked(broadcast, 2)
            await broadcast.publish(1)
        number, value = await choice.result()
    assert value == 1
    assert (unread(first), unread(second)) == (([], [1]) if number == 0 else ([1], []))
    broadcast._state._check()


# ---- lag ----


async def test_lag_tells_how_many_were_missed_then_goes_on() -> None:
    """Exactly when it is more than ``capacity`` behind; the kept ones come in order; publish never waits."""
    broadcast = Broadcast[int](3, "lag")
    slow, fast = broadcast.subscribe(), broadcast.subscribe()
    for value in range(3):
        await broadcast.publish(value)
    assert unread(fast) == [0, 1, 2]
    await broadcast.publish(3)
    await broadcast.publish(4)
    assert (len(slow), slow.missed) == (3, 2)
    with pytest.raises(Lagged, match="2 values") as caught:
        await slow.receive()
    assert (caught.value.missed, caught.value.channel) == (2, slow)
    assert await slow.receive_many() == [2, 3, 4]
    assert unread(fast) == [3, 4]
    assert (slow.missed, fast.missed, broadcast.statistics().missed) == (2, 0, 2)
    broadcast._state._check()


async def test_every_receive_tells_of_lagging() -> None:
    """Whatever way one receives, the word comes first and takes nothing."""
    ways: list[Callable[[Subscription[int]], Any]] = [
        lambda s: s.receive(),
        lambda s: s.receive_ok(),
        lambda s: s.receive_many(),
        lambda s: s.__anext__(),
        lambda s: select(s),
        lambda s: select(receive_ok(s)),
    ]
    broadcast = Broadcast[int](1, "lag")
    for way in ways:
        reader = broadcast.subscribe()
        for value in range(3):
            await broadcast.publish(value)
        with anyio.fail_after(5), pytest.raises(Lagged) as caught:
            await way(reader)
        assert caught.value.missed == 2
        assert unread(reader) == [2]
    reader = broadcast.subscribe()
    for value in range(3):
        await broadcast.publish(value)
    with pytest.raises(Lagged):
        reader.receive_nowait()
    reader.close()
    broadcast._state._check()


async def test_lagging_again_counts_from_the_word_on() -> None:
    """Each word tells what came after the one before; the total is the sum."""
    broadcast, told = Broadcast[int](1, "lag"), list[int]()
    reader = broadcast.subscribe()
    for value in range(6):
        await broadcast.publish(value)
        if value % 2:
            with pytest.raises(Lagged) as caught:
                await reader.receive()
            told.append(caught.value.missed)
    assert told == [1, 2, 2]
    assert reader.missed == 5
    assert unread(reader) == [5]


async def test_a_loop_that_lagged_can_go_on() -> None:
    """``async for`` ends with the word; a new one goes on behind the gap."""
    broadcast, got = Broadcast[int](2, "lag"), list[int | str]()
    reader = broadcast.subscribe()
    for value in range(5):
        await broadcast.publish(value)
    broadcast.close()
    with anyio.fail_after(5):
        while not reader._state.ended():
            try:
                async for value in reader:
                    got.append(value)
            except Lagged as word:
                got.append(f"{word.missed} missed")
    assert got == ["3 missed", 3, 4]


async def test_what_was_overtaken_is_let_go() -> None:
    """However slow the slowest is, no more than ``capacity`` values are kept."""
    broadcast = Broadcast[int](2, "lag")
    slow = broadcast.subscribe()
    for value in range(1000):
        broadcast.publish_nowait(value)
    assert slow._state.place.following is None  # it keeps no chain alive
    assert broadcast.statistics().buffered == 2
    broadcast._state._check()


# ---- latest ----


@pytest.mark.parametrize(("capacity", "kept"), [(1, [9]), (3, [7, 8, 9]), (math.inf, list(range(10)))])
async def test_latest_skips_to_the_newest(capacity: float, kept: list[int]) -> None:
    """Without a word; how many were skipped can be asked."""
    broadcast = Broadcast[int](capacity, "latest")
    reader = broadcast.subscribe()
    for value in range(10):
        await broadcast.publish(value)
    assert reader.missed == 10 - len(kept)
    assert await reader.receive_many() == kept
    assert reader.missed == broadcast.statistics().missed == 10 - len(kept)
