"""The brokers under every schedule, and cancelled at every point: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import anyio
import pytest
from tests.chat.broker.clusters import EXPLORED, Cluster, offsets, pending
from tests.chat.broker.cursor import Cursor, advance

import gochan
from examples.chat.broker import Broker, Event, Pos, Published, Resync, Unavailable
from examples.chat.broker.window import Window
from gochan import ChannelClosed, Group
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]
NOWHERE = Path()  # what is explored needs no file


@pytest.fixture(params=EXPLORED)
def kind(request: pytest.FixtureRequest) -> str:
    """The broker under test."""
    name: str = request.param
    return name


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """The loop under it."""
    name: Backend = request.param
    return name


@pytest.fixture(params=[20, pytest.param(1000, marks=pytest.mark.slow)])
def runs(request: pytest.FixtureRequest) -> int:
    """How many schedules are tried."""
    number: int = request.param
    return number


async def publish(broker: Broker, payloads: Sequence[str], key: str | None = None) -> list[Published]:
    return [await broker.publish("lobby", payload.encode(), key=key) for payload in payloads]


def test_concurrent_publishes(kind: str, backend: Backend, runs: int) -> None:
    """B1, B4: publishers on two nodes get all numbers once, and each node hears them in one and the same order."""

    async def main() -> None:
        async with EXPLORED[kind](NOWHERE) as cluster:
            nodes = [await cluster.node(name) for name in ("one", "two")]
            for node in nodes:
                await node.subscribe("lobby")
            async with Group() as group:
                publishers = [group.go(publish, nodes[n % 2], [f"{n}.{m}" for m in range(2)]) for n in range(3)]
            results = [await publisher.result() for publisher in publishers]
            assert sorted(each.pos.off for result in results for each in result) == [1, 2, 3, 4, 5, 6]
            one, two = map(pending, nodes)
            assert one == two
            assert offsets(one) == [1, 2, 3, 4, 5, 6]
            for result, n in zip(results, range(3), strict=True):
                where = [event.payload for event in one if isinstance(event, Event)]
                assert [where[each.pos.off - 1] for each in result] == [b"%d.0" % n, b"%d.1" % n]

    explore(main, backend=backend, runs=runs)


def test_racing_keys(kind: str, backend: Backend, runs: int) -> None:
    """B3: of publishes with one key from two nodes at once, one is the first, and the others learn where it stands."""

    async def main() -> None:
        async with EXPLORED[kind](NOWHERE) as cluster:
            nodes = [await cluster.node(name) for name in ("one", "two")]
            await nodes[0].subscribe("lobby")
            async with Group() as group:
                racers = [group.go(publish, nodes[n % 2], ["x", "y"], "k") for n in range(3)]
                group.go(publish, nodes[0], ["z"])
            results = [each for racer in racers for each in await racer.result()]
            assert sorted(each.duplicate for each in results) == [False] + [True] * 5
            assert len({each.pos for each in results}) == 1
            assert offsets(pending(nodes[0])) == [1, 2]

    explore(main, backend=backend, runs=runs)


async def follow(broker: Broker, cursor: Cursor, last: int, got: list[Event]) -> None:
    """A reader: what it is told, until it has been told ``last``. Holes are repaired by another goroutine, as in a
    hub that must not wait."""
    work = gochan.Channel[None](1, overflow="drop_newest")

    async def read() -> None:
        async for _ in work:
            while cursor.pending:
                got.extend((await advance(cursor, broker, "lobby", limit=2)).events)
            if got and got[-1].pos.off == last:
                finished.set()

    finished = gochan.Event()
    async with Group() as group:
        group.go(read)
        await work.send(None)
        while not (got and got[-1].pos.off == last):
            match await gochan.select(broker.events, finished):
                case (0, Resync()):
                    cursor.behind()
                case (0, event):
                    got.extend(cursor.live(event))
                case _:
                    break
            cursor._check()
            if cursor.pending:
                await work.send(None)
        work.close()


@pytest.mark.parametrize("capacity", [1, 100])
def test_recovery_while_others_publish(kind: str, backend: Backend, runs: int, capacity: int) -> None:
    """R1, R2: joining with ``since`` while others publish, on a node that keeps up or does not: all, once, in order."""

    async def main() -> None:
        cluster = EXPLORED[kind](NOWHERE)
        cluster.window = Window(messages=20)
        async with cluster:
            here, there = await cluster.node("here", capacity=capacity), await cluster.node("there")
            (first, second, _) = await publish(there, ["1", "2", "3"])
            got: list[Event] = []
            async with Group() as group:
                for n in range(2):
                    group.go(publish, there, [f"{n}.{m}" for m in range(3)])
                cursor = Cursor(first.pos, events=2)
                await here.subscribe("lobby")
                await follow(here, cursor, 9, got)
            assert cursor.recovered
            assert offsets(got) == list(range(second.pos.off, 10))
            page = await here.history("lobby", first.pos, 10)
            assert list(page.events) == got

    explore(main, backend=backend, runs=runs)


def test_recovery_of_what_was_trimmed(kind: str, backend: Backend, runs: int) -> None:
    """R2: if messages leave the window before they were read, the reader is told, and then goes on without a hole."""

    async def main() -> None:
        cluster = EXPLORED[kind](NOWHERE)
        cluster.window = Window(messages=2)
        async with cluster:
            here, there = await cluster.node("here", capacity=1), await cluster.node("there")
            (first,) = await publish(there, ["1"])
            got: list[Event] = []
            async with Group() as group:
                group.go(publish, there, [str(n) for n in range(5)])
                cursor = Cursor(first.pos, events=1)
                await here.subscribe("lobby")
                with anyio.move_on_after(60):
                    await follow(here, cursor, 6, got)
            read = offsets(got)
            assert not cursor.pending
            assert cursor.position == Pos(6, first.pos.ep)
            if cursor.recovered:
                assert read == [2, 3, 4, 5, 6]
            else:
                assert read == sorted(set(read))

    explore(main, backend=backend, runs=runs)


def test_subscribing_while_others_publish(kind: str, backend: Backend, runs: int) -> None:
    """B2, B4: what comes out after ``subscribe`` goes on from a history that is read after it, without a hole."""

    async def main() -> None:
        async with EXPLORED[kind](NOWHERE) as cluster:
            here, there = await cluster.node("here"), await cluster.node("there")
            async with Group() as group:
                group.go(publish, there, ["1", "2", "3"])
                await here.subscribe("lobby")
                page = await here.history("lobby", None, 10)
            live = offsets(pending(here))
            assert offsets(page.events) == list(range(1, page.top.off + 1))
            assert live == list(range(4 - len(live), 4))
            assert page.top.off + len(live) >= 3

    explore(main, backend=backend, runs=runs)


def test_cancelled_publish(kind: str, backend: Backend) -> None:
    """B3: a cancelled publish has happened or not; published again with its key it has, once; others are untouched."""

    class State:
        cluster: Cluster
        here: Broker

    async def setup() -> State:
        state = State()
        state.cluster = await EXPLORED[kind](NOWHERE).__aenter__()
        state.here = await state.cluster.node("here")
        await state.here.subscribe("lobby")
        gochan.go(state.here.publish, "lobby", b"other")
        return state

    async def operation(state: State) -> Published:
        return await state.here.publish("lobby", b"mine", key="k")

    async def check(state: State, outcome: CancelOutcome) -> None:
        before = pending(state.here)
        assert [event.payload for event in before if isinstance(event, Event)].count(b"other") == 1
        again = await state.here.publish("lobby", b"mine", key="k")
        happened = len(before) == 2
        assert again.duplicate == happened
        if outcome.returned:
            assert again == Published(outcome.result.pos, duplicate=True)
        assert offsets(before + pending(state.here)) == [1, 2]
        assert (await state.here.publish("lobby", b"next")).pos.off == 3
        await state.cluster.__aexit__(None, None, None)

    report = cancel_sweep(setup, operation, check, backend=backend)
    assert report.points >= 2


def test_cancelled_subscribe(kind: str, backend: Backend) -> None:
    """A cancelled subscribe, done again, subscribes once."""

    async def setup() -> Cluster:
        return await EXPLORED[kind](NOWHERE).__aenter__()

    async def operation(cluster: Cluster) -> Broker:
        here = await cluster.node("here")
        await here.subscribe("lobby")
        return here

    async def check(cluster: Cluster, outcome: CancelOutcome) -> None:
        there = await cluster.node("there")
        await there.subscribe("lobby")
        await there.publish("lobby", b"")
        assert offsets(pending(there)) == [1]
        if outcome.returned:
            assert offsets(pending(outcome.result)) == [1]
        await cluster.__aexit__(None, None, None)

    cancel_sweep(setup, operation, check, backend=backend)


def test_close_while_others_publish(kind: str, backend: Backend, runs: int) -> None:
    """A broker that is closed under its users: whoever listens learns of it, nobody else does, nothing is left."""

    async def main() -> None:
        async with EXPLORED[kind](NOWHERE) as cluster:
            here, there = await cluster.node("here"), await cluster.node("there")
            await here.subscribe("lobby")
            heard: list[int] = []

            async def listen() -> None:
                try:
                    while True:
                        heard.extend(offsets(await here.events.receive_many()))
                except ChannelClosed:
                    pass

            async def subscribe() -> None:
                try:
                    await here.subscribe("other")
                except Unavailable:
                    pass

            async with Group() as group:
                group.go(listen)
                group.go(subscribe)
                group.go(publish, there, ["1", "2", "3"])
                await gochan.sleep(0)
                await here.aclose()
            assert heard == list(range(1, len(heard) + 1))
            assert (await there.publish("lobby", b"")).pos.off == 4
            assert (await there.publish("other", b"")).pos.off == 1

    explore(main, backend=backend, runs=runs)
