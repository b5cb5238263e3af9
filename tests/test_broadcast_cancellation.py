"""Broadcasts: every waiting operation cancelled at every point, and under every schedule."""

from __future__ import annotations

from typing import Any, Literal, cast

import anyio
import pytest

from gochan import (
    Broadcast,
    ChannelClosed,
    Event,
    Group,
    Lagged,
    Subscription,
    select,
)
from gochan.testing import CancelOutcome, cancel_sweep, explore

Policy = Literal["wait", "lag", "latest"]
Backend = Literal["asyncio", "trio"]

policies = pytest.mark.parametrize("policy", ["wait", "lag", "latest"])
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def unread(subscription: Subscription[Any]) -> list[Any]:
    """What it has not read, taken out."""
    return [subscription.receive_nowait() for _ in range(len(subscription))]


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
