"""Broadcasts: who gets what under each policy, who waits, and how it ends."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Callable
from typing import Any, Literal, cast

import anyio
import pytest
from tests.conformance.helpers import settle, until

from gochan import Broadcast, BroadcastStatistics, ChannelClosed, Event, Group, Lagged, Subscription, find_leaks, select
from gochan.diagnostics import goroutines
from gochan.testing import CancelOutcome, cancel_sweep, explore

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


# ---- cancellation ----


@backends
@pytest.mark.parametrize("how", ["publish", "select"])
def test_a_cancelled_publish_has_delivered_to_nobody(how: str, backend: Backend) -> None:
    """At every suspension: either every subscription has the value and publish returned, or none has."""

    class Scene:
        def __init__(self) -> None:
            self.broadcast = Broadcast[int](1)
            self.readers = [self.broadcast.subscribe() for _ in range(2)]
            self.got: list[list[int]] = [[], []]
            self.published = 0

    async def read(scene: Scene, number: int) -> None:
        for _ in range(2):
            await anyio.sleep(1.0 + number)
            scene.got[number].append(await scene.readers[number].receive())

    async def setup() -> Scene:
        import gochan

        scene = Scene()
        for number in range(2):
            gochan.go(read, scene, number)
        return scene

    async def operation(scene: Scene) -> None:
        for value in range(4):
            if how == "publish":
                await scene.broadcast.publish(value)
            else:
                await select(scene.broadcast.publishing(value), Event())
            scene.published += 1
            if value == 2:  # the readers take no more than two
                scene.readers[0].close()
                scene.readers[1].close()

    def check(scene: Scene, outcome: CancelOutcome) -> None:
        state = scene.broadcast._state
        state._check()
        assert not state.publishers
        assert state.end.number == scene.published
        for got, reader in zip(scene.got, scene.readers, strict=True):
            left = [] if reader.closed else unread(reader)
            assert got + left == list(range(len(got) + len(left)))
            assert reader.closed or len(got) + len(left) == scene.published

    report = cancel_sweep(setup, operation, check, backend=backend)
    assert report.suspensions >= 6
    assert report.returned > 0


@backends
@policies
@pytest.mark.parametrize("how", ["receive", "receive_ok", "receive_many", "anext", "select"])
def test_a_cancelled_receive_has_not_consumed(how: str, policy: Policy, backend: Backend) -> None:
    """At every suspension of a loop of receives, before and after the value was handed over."""

    class Scene:
        def __init__(self) -> None:
            self.broadcast = Broadcast[int](5, policy)
            self.reader = self.broadcast.subscribe()
            self.got = list[int]()
            self.published = 0

    async def publish(scene: Scene) -> None:
        for value in range(3):
            await anyio.sleep(1.0)
            await scene.broadcast.publish(value)
            scene.published += 1

    async def setup() -> Scene:
        import gochan

        scene = Scene()
        gochan.go(publish, scene)
        return scene

    async def operation(scene: Scene) -> None:
        for _ in range(3):
            reader = scene.reader
            match how:
                case "receive":
                    scene.got.append(await reader.receive())
                case "receive_ok":
                    scene.got.append(cast("int", (await reader.receive_ok())[0]))
                case "receive_many":
                    scene.got.extend(await reader.receive_many())
                case "anext":
                    scene.got.append(await anext(reader))
                case _:
                    scene.got.append((await select(reader))[1])

    def check(scene: Scene, outcome: CancelOutcome) -> None:
        scene.broadcast._state._check()
        assert not scene.reader._state.receivers
        assert scene.got + unread(scene.reader) == list(range(scene.published))

    report = cancel_sweep(setup, operation, check, backend=backend)
    assert report.suspensions >= 6
    assert report.returned > 0


# ---- schedules ----


@backends
@pytest.mark.parametrize("strategy", ["random", "pct"])
@policies
def test_under_every_schedule(policy: Policy, strategy: Any, backend: Backend) -> None:
    """Two publishers, subscriptions that come, read, lag, and leave: order and account hold, and nobody is stuck."""

    async def main() -> None:
        broadcast = Broadcast[tuple[int, int]](2, policy)

        async def publish(who: int) -> None:
            for number in range(4):
                await broadcast.publish((who, number))
                broadcast._state._check()

        async def read(limit: int) -> None:
            got, missed = list[tuple[int, int]](), 0
            subscription = broadcast.subscribe()
            first = broadcast.statistics().published
            with subscription:
                while len(got) < limit:
                    try:
                        match await subscription.receive_ok():
                            case (value, True):
                                got.append(value)
                            case _:
                                break
                    except Lagged as word:
                        missed += word.missed
                    broadcast._state._check()
                else:
                    first = -1
                if first >= 0:  # it has read to the end
                    assert len(got) + subscription.missed == broadcast.statistics().published - first
                    assert missed == (subscription.missed if policy == "lag" else 0)
                    assert not (policy == "wait" and subscription.missed)
            for who in range(2):
                numbers = [number for one, number in got if one == who]
                assert numbers == sorted(set(numbers))

        async with Group() as readers:
            for limit in (99, 99, 1):
                readers.go(read, limit)
            async with Group() as publishers:
                publishers.go(publish, 0)
                publishers.go(publish, 1)
            broadcast.close()
        state = broadcast._state
        state._check()
        assert state.subscriptions == state.buffered == 0

    explore(main, backend=backend, runs=60, strategy=strategy)


@backends
def test_close_at_the_worst_moment(backend: Backend) -> None:
    """In the middle of everything: every value that was accepted is read by those who stay, and nobody hangs."""

    async def main() -> None:
        broadcast = Broadcast[int](1)
        accepted, got = list[int](), list[int]()
        reader, leaver = broadcast.subscribe(), broadcast.subscribe()

        async def publish() -> None:
            try:
                for value in range(5):
                    await broadcast.publish(value)
                    accepted.append(value)
            except ChannelClosed:
                pass

        async def read() -> None:
            async for value in reader:
                got.append(value)

        async def leave() -> None:
            await leaver.receive()
            leaver.close()

        async def close() -> None:
            await anyio.sleep(0)
            broadcast.close()

        async with Group() as group:
            for fn in (publish, read, close):
                group.go(fn)
            try:
                await leave()
            except ChannelClosed:
                pass
        assert got == accepted
        broadcast._state._check()

    explore(main, backend=backend, runs=150)


@pytest.mark.gochan(virtual_time=True)
async def test_a_slow_receiver_in_virtual_time() -> None:
    """Under "wait" ten values take ten times the slow one's second; the publisher is a second per value behind."""
    broadcast = Broadcast[int](1)
    start = anyio.current_time()

    async def read(subscription: Subscription[int], pause: float) -> None:
        async for _ in subscription:
            await anyio.sleep(pause)

    async with Group() as group:
        for pause in (1.0, 0.1):
            group.go(read, broadcast.subscribe(), pause)
        for value in range(10):
            await broadcast.publish(value)
        broadcast.close()
    assert anyio.current_time() - start == pytest.approx(10.0)


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
