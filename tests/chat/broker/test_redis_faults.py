"""The engine is killed, stopped, cut off: nothing that was acknowledged is lost or doubled, and no gap is silent.

These wait for real: they watch another program end and begin.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from tests.chat.broker import engine
from tests.chat.broker.cursor import Cursor, advance
from tests.chat.broker.engine import Engine

from examples.chaos_proxy import proxy
from examples.chat.broker import Broker, Event, Pos, Presence, Resync, Unavailable, Window
from examples.chat.broker.redis import RedisBroker, open_broker
from examples.chat.telemetry.text_metrics import TextMetrics
from gochan import Group, after, select

pytestmark = [pytest.mark.gochan(virtual_time=False), pytest.mark.timeout(120), pytest.mark.once]

# A second by the contract, and what a busy machine adds.
FAST = 1.0 + 0.8
BACK = 3.0 + 2.0


def opened(url: str, node: str, **options: Any) -> contextlib.AbstractAsyncContextManager[RedisBroker]:
    return open_broker(url, node, Window(messages=100_000), **options)


@dataclass
class Follower:
    """A reader of a room on some node, that repairs what is missing from the history, as a hub does."""

    broker: Broker
    got: list[Event] = field(default_factory=list[Event])
    resyncs: int = 0
    lost: int = 0

    async def run(self, room: str) -> None:
        cursor = Cursor(Pos(0, (await self.broker.history(room, None, 0)).top.ep))
        while True:
            while cursor.pending:
                try:
                    step = await advance(cursor, self.broker, room, limit=500)
                except Unavailable:
                    await anyio.sleep(0.05)
                    continue
                self.lost += step.lost
                self.got.extend(step.events)
            match await self.broker.events.receive():
                case Resync():
                    self.resyncs += 1
                    cursor.behind()
                case event:
                    self.got.extend(cursor.live(event))


@dataclass
class Talker:
    """Publishes numbers, each with its key, until each was acknowledged; knows where they stand."""

    broker: Broker
    name: str
    acknowledged: dict[bytes, Pos] = field(default_factory=dict[bytes, Pos])
    slowest: float = 0.0
    failures: int = 0

    async def run(self, room: str, count: int, pause: float = 0.0) -> None:
        for n in range(count):
            payload = b"%s %d" % (self.name.encode(), n)
            while payload not in self.acknowledged:
                began = anyio.current_time()
                try:
                    self.acknowledged[payload] = (await self.broker.publish(room, payload, key=payload.decode())).pos
                except Unavailable:
                    self.failures += 1
                    await anyio.sleep(0.02)
                self.slowest = max(self.slowest, anyio.current_time() - began)
            await anyio.sleep(pause)


async def until_back(broker: RedisBroker) -> float:
    """Seconds until a publication succeeds."""
    began = anyio.current_time()
    while True:
        try:
            await broker.publish("probe", b"")
            return anyio.current_time() - began
        except Unavailable:
            assert anyio.current_time() - began < BACK
            await anyio.sleep(0.02)


@contextlib.asynccontextmanager
async def bounded(valkey: Engine) -> AsyncIterator[None]:
    """An end in any case, for the engine as well: what is stopped goes on."""
    try:
        with anyio.fail_after(60):
            yield
    finally:
        valkey.kill()


def agree(talkers: list[Talker], followers: list[Follower]) -> None:
    """Every follower heard every acknowledged message once, where it was acknowledged, and nothing else."""
    expected = {payload: pos for talker in talkers for payload, pos in talker.acknowledged.items()}
    assert sorted(pos.off for pos in expected.values()) == list(range(1, len(expected) + 1))
    for follower in followers:
        assert [event.pos.off for event in follower.got] == list(range(1, len(expected) + 1))
        assert {event.payload: event.pos for event in follower.got} == expected
        assert follower.lost == 0


async def talk(talkers: list[Talker], followers: list[Follower], count: int, fault: Any) -> None:
    """While all talk and all listen, something happens; then everybody has time to hear of everything."""
    for follower in followers:
        await follower.broker.subscribe("lobby")
    total = count * len(talkers)
    async with Group() as group:
        for follower in followers:
            group.go(follower.run, "lobby")
        async with Group() as talking:
            for talker in talkers:
                talking.go(talker.run, "lobby", count, 0.005)
            talking.go(fault)
        with anyio.move_on_after(20):
            while any(len(follower.got) < total for follower in followers):
                await anyio.sleep(0.02)
        group.cancel()


async def test_killed_engine_that_keeps_everything() -> None:
    """kill -9 with AOF always: while it is away errors come fast; nothing acknowledged is lost, nothing comes twice,
    the epoch stays, and it is found again within seconds."""
    with engine.running(persistence="always", password="secret") as valkey:
        async with bounded(valkey), opened(valkey.url, "one") as one, opened(valkey.url, "two") as two:
            await one.presence_add("lobby", "s", "ann")
            back = list[float]()

            async def fault() -> None:
                await anyio.sleep(0.2)
                valkey.kill()
                await anyio.sleep(0.3)
                assert one.engine.breaker.state != "closed"
                with pytest.raises(Unavailable, match="cannot be reached"):
                    await one.history("lobby", None, 1)
                with pytest.raises(Unavailable):
                    await one.control_send(None, {})
                await anyio.sleep(0.7)
                valkey.launch()
                back.append(await until_back(one))

            talkers = [Talker(one, "ann"), Talker(two, "bob")]
            followers = [Follower(one), Follower(two)]
            await talk(talkers, followers, 100, fault)
            agree(talkers, followers)
            assert len({pos.ep for talker in talkers for pos in talker.acknowledged.values()}) == 1
            assert all(follower.resyncs >= 1 for follower in followers)
            assert all(talker.failures for talker in talkers)
            assert max(talker.slowest for talker in talkers) < FAST
            assert back[0] < BACK
            assert await two.presence_list("lobby") == [Presence("s", "ann")]
            assert sorted(await two.nodes()) == ["one", "two"]


@pytest.mark.parametrize("persistence", ["none", pytest.param("snapshots", marks=pytest.mark.slow)])
async def test_killed_engine_that_forgets(persistence: engine.Persistence) -> None:
    """kill -9 without persistence, or with a snapshot older than the last messages: another epoch, every node is told
    to look, and nobody takes the new messages for those that follow the old ones. Who is present is said again."""
    with engine.running(persistence=persistence) as valkey:
        async with bounded(valkey), opened(valkey.url, "one") as one, opened(valkey.url, "two") as two:
            for broker in (one, two):
                await broker.subscribe("lobby")
            await one.presence_add("lobby", "s", "ann")
            await one.publish("lobby", b"kept")
            if persistence == "snapshots":
                valkey.ask("SAVE")
            last = (await one.publish("lobby", b"lost", key="k")).pos
            for broker in (one, two):
                while await broker.events.receive() != Event("lobby", last, b"lost"):
                    pass
            valkey.kill()
            valkey.launch()
            for broker in (one, two):
                await until_back(broker)
            for broker in (one, two):
                assert await broker.events.receive() == Resync(None)
                page = await broker.history("lobby", last, 10)
                assert (list(page.events), page.complete) == ([], False)
                assert page.top.ep != last.ep
            again = await two.publish("lobby", b"lost", key="k")
            assert (again.pos.off, again.duplicate) == (1, False)
            assert again.pos.ep == page.top.ep
            for broker in (one, two):
                assert await broker.events.receive() == Event("lobby", again.pos, b"lost")
            with anyio.fail_after(BACK):
                while await two.presence_list("lobby") != [Presence("s", "ann")]:
                    await anyio.sleep(0.05)
                while len(await one.nodes()) < 2:
                    await anyio.sleep(0.05)


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_stopped_engine(quick: bool) -> None:
    """SIGSTOP: calls end by their deadline, then at once; after SIGCONT what had been sent is done, once."""
    with engine.running() as valkey:
        seen = TextMetrics()
        async with bounded(valkey), opened(valkey.url, "one", metrics=seen) as one, opened(valkey.url, "two") as two:

            def shown(name: str) -> float:
                (line,) = [line for line in seen.expose().body.decode().splitlines() if line.startswith(name)]
                return float(line.split()[-1])

            async def fault() -> None:
                await anyio.sleep(0.2)
                assert shown("gochat_breaker_state") == 0
                valkey.freeze()
                began = anyio.current_time()
                with pytest.raises(Unavailable):
                    await one.publish("other", b"1", key="k")
                assert anyio.current_time() - began < FAST
                for call in (one.history("other", None, 1), one.presence_list("other"), one.nodes()):
                    began = anyio.current_time()
                    with pytest.raises(Unavailable):
                        await call
                    assert anyio.current_time() - began < FAST
                assert shown("gochat_breaker_state") > 0
                await anyio.sleep(0.2 if quick else 5.0)
                assert quick or shown("gochat_broker_lag_seconds") > 3
                valkey.thaw()
                assert await until_back(one) < BACK

            talkers = [Talker(one, "ann"), Talker(two, "bob")]
            followers = [Follower(one), Follower(two)]
            await talk(talkers, followers, 50, fault)
            agree(talkers, followers)
            assert max(talker.slowest for talker in talkers) < FAST
            with anyio.fail_after(5):
                while shown("gochat_broker_lag_seconds") > 0.5 or shown("gochat_breaker_state") != 0:
                    await anyio.sleep(0.05)
            assert (await one.publish("other", b"1", key="k")).pos.off == 1


@pytest.mark.slow
async def test_cut_off_node() -> None:
    """A node behind a line that is cut, without an end: its calls fail by their deadline, others go on; when the line
    is mended it hears of everything that it missed."""
    with engine.running() as valkey:
        async with (
            bounded(valkey),
            proxy("127.0.0.1", valkey.port) as chaos,
            opened(valkey.through(chaos.port), "one") as one,
            opened(valkey.url, "two") as two,
        ):

            async def fault() -> None:
                await anyio.sleep(0.2)
                chaos.stall()
                began = anyio.current_time()
                with pytest.raises(Unavailable):
                    await one.publish("other", b"1", key="k")
                assert anyio.current_time() - began < FAST
                await anyio.sleep(5)
                assert two.engine.breaker.state == "closed"
                chaos.resume()
                assert await until_back(one) < BACK

            talkers = [Talker(one, "ann"), Talker(two, "bob")]
            followers = [Follower(one), Follower(two)]
            await talk(talkers, followers, 400, fault)
            agree(talkers, followers)
            assert talkers[1].failures == 0
            assert followers[1].resyncs == 0


@pytest.mark.slow
async def test_silent_events() -> None:
    """Only the connection of the events is cut off, as by a firewall that forgot it: the node's own beat is missing, so
    it connects again, and reads what it missed (N3)."""
    with engine.running() as valkey:
        async with bounded(valkey), opened(valkey.url, "one") as one, proxy("127.0.0.1", valkey.port) as chaos:
            async with opened(valkey.through(chaos.port), "two") as two:
                await two.subscribe("lobby")
                # The first connection is the engine's, the second the events'.
                for connection in sorted(chaos.connections, key=lambda each: each._sockets[0].getpeername())[:2]:
                    if connection is not None:
                        connection._stall()
                await one.publish("lobby", b"1")
                with anyio.fail_after(20):
                    assert await two.events.receive() == Resync(None)
                assert [event.payload for event in (await two.history("lobby", None, 10)).events] == [b"1"]


@pytest.mark.slow
async def test_killed_again_and_again() -> None:
    """Ten kills while everybody talks: nothing lost, nothing twice."""
    with engine.running(persistence="always") as valkey:
        async with bounded(valkey), opened(valkey.url, "one") as one, opened(valkey.url, "two") as two:

            async def fault() -> None:
                for _ in range(10):
                    await anyio.sleep(0.3)
                    valkey.kill()
                    await select(after(0.2))
                    valkey.launch()
                    await until_back(one)

            talkers = [Talker(one, f"ann{n}") for n in range(4)] + [Talker(two, f"bob{n}") for n in range(4)]
            followers = [Follower(one), Follower(two)]
            await talk(talkers, followers, 300, fault)
            agree(talkers, followers)


async def test_name_of_a_node_that_crashed() -> None:
    """A node that is restarted waits until the name of the crashed one is free, for a few seconds; one that lives
    keeps its name."""
    with engine.running() as valkey:
        async with bounded(valkey), opened(valkey.url, "one") as one:
            with pytest.raises(ValueError, match="another name"):
                async with opened(valkey.url, "one", name_seconds=0):
                    pass
            # As if it had not been heard of for long.
            valkey.ask("ZADD", one.keys.alive, 1, "one")
            one._named = type(one._named)()
            async with opened(valkey.url, "one", name_seconds=5) as another:
                assert await another.control_send("one", {"n": 1}) == 1
                assert (await another.control.receive()).command == {"n": 1}
                assert not await one.beat()
