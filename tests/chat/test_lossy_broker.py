"""The hub on a broker that loses what it announces, answers late, and forgets: members never miss a word unawares."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Final, Literal

import anyio
import pytest
from tests.chat.heart import Guest, Heart

from examples.chat.broker import Event, HistoryPage, MemoryEngine, Pos, Window
from examples.chat.broker.local import LocalBroker
from examples.chat.config import Settings
from examples.chat.drain import shutdown
from examples.chat.node import new_node
from examples.chat.supervisor import supervise
from gochan import Event as Happening
from gochan import Group, go
from gochan.testing import explore, sleep, wait_idle

RUNS: Final = 40


class Lossy(LocalBroker):
    """A broker whose events get through, or not, as the test says, and whose history can be slow."""

    def __init__(self, engine: MemoryEngine) -> None:
        super().__init__(engine, "here", 1000)
        engine.brokers["here"] = self
        self.reads = 0
        self.answering = Happening()
        self.answering.set()
        self.asking = Happening()
        self.asking.set()
        tell = self.feed.tell
        self.lost: Callable[[Event], bool] = lambda _: False
        self.feed.tell = lambda event: None if self.lost(event) else tell(event)  # type: ignore[method-assign]

    async def history(self, room: str, since: Pos | None, limit: int, reverse: bool = False) -> HistoryPage:
        self.reads += 1
        await self.asking.wait()
        page = await super().history(room, since, limit, reverse)
        await self.answering.wait()  # what is said from now on is not in the page
        return page

    def hold(self) -> None:
        """Read at once, and answer later, when ``answering`` is set."""
        self.answering = Happening()

    def delay(self) -> None:
        """Read later, when ``asking`` is set."""
        self.asking = Happening()


@contextlib.asynccontextmanager
async def lossy(window: int = 1000, *, looking: bool = False) -> AsyncGenerator[tuple[Heart, Lossy, MemoryEngine]]:
    engine = MemoryEngine(Window(window))
    broker = Lossy(engine)
    node = new_node(Settings(), broker)
    async with Group() as parts:
        hub = parts.go(supervise, node.hub)
        parts.go(node.hub.subscriptions.run)
        parts.go(node.hub.repairs.run)
        if looking:
            parts.go(node.hub.repairs.look_around)
        async with Group() as group:
            heart = Heart(node, group)
            yield heart, broker, engine
            heart.check()
            for session in heart.sessions:
                session.drain(shutdown())
        node.hub.stop.set()
        await hub.result()
        await broker.aclose()
        parts.cancel()


async def member(heart: Heart, name: str = "ann") -> Guest:
    guest = heart.connect(name)
    await guest.say_hello()
    assert (await guest.join("a"))["t"] == "joined"
    return guest


async def say(engine: MemoryEngine, *bodies: str) -> None:
    """Another node's members say something."""
    for body in bodies:
        await engine.publish("a", b'{"from": "eve", "body": "%s", "ts": 1, "id": 1}' % body.encode())


@pytest.mark.gochan
async def test_lost_event() -> None:
    """A hole shows with the next event, and is filled before that is delivered."""
    async with lossy() as (heart, broker, engine):
        ann = await member(heart)
        await say(engine, "1")
        broker.lost = lambda event: event.pos.off in (2, 3)
        await say(engine, "2", "3", "4")
        await wait_idle()
        assert ann.bodies == {"a": ["1", "2", "3", "4"]}


@pytest.mark.gochan
@pytest.mark.parametrize("heard", [0, 1])
async def test_silent_loss(heard: int) -> None:
    """What a broker loses without a word, and without another message to show it, comes after a look at the history."""
    async with lossy(looking=True) as (heart, broker, engine):
        ann = await member(heart)
        for body in "12"[:heard]:
            await say(engine, body)
        await wait_idle()
        broker.lost = lambda _: True
        await say(engine, "last")
        await sleep(45)
        assert ann.bodies == {"a": [*"12"[:heard], "last"]}
        assert ann.resyncs == 0


@pytest.mark.gochan
async def test_loss_while_a_gap_is_read() -> None:
    """A page that was read before something was lost does not end the matter: nobody may speak again."""
    async with lossy() as (heart, broker, engine):
        ann = await member(heart)
        await say(engine, "1")
        await wait_idle()
        broker.hold()
        broker.lost = lambda _: True
        await say(engine, "2")
        broker.feed.resync("a")
        await wait_idle()
        await say(engine, "3")
        broker.feed.resync("a")
        await wait_idle()
        broker.answering.set()
        await wait_idle()
        assert ann.bodies == {"a": ["1", "2", "3"]}


@pytest.mark.gochan
async def test_loss_of_everything_while_a_gap_is_read() -> None:
    """The same, when the broker says it of all rooms at once."""
    async with lossy() as (heart, broker, engine):
        ann = await member(heart)
        await say(engine, "1")
        await wait_idle()
        broker.hold()
        broker.lost = lambda _: True
        await say(engine, "2")
        broker.feed.resync("a")
        await wait_idle()
        await say(engine, "3")
        broker.feed.resync(None)
        await wait_idle()
        broker.answering.set()
        await wait_idle()
        assert ann.bodies == {"a": ["1", "2", "3"]}


@pytest.mark.gochan
async def test_reading_starts_after_the_epoch_changed() -> None:
    """Events that were held from an epoch that is over are left out, and do not have the history read for ever."""
    async with lossy() as (heart, broker, engine):
        ann = await member(heart)
        await say(engine, "1")
        await wait_idle()
        broker.delay()
        broker.feed.resync("a")
        await wait_idle()
        await say(engine, "2")  # held
        await wait_idle()
        engine.lose()
        await say(engine, "3", "4")
        await wait_idle()
        broker.asking.set()
        await anyio.sleep(60)
        reads = broker.reads
        await anyio.sleep(60)
        assert broker.reads == reads, "it reads on and on"
        await say(engine, "5")
        await wait_idle()
        assert ann.bodies["a"][-1] == "5"
        assert ann.resyncs == 1


@pytest.mark.gochan
async def test_events_of_an_epoch_that_is_over() -> None:
    """Events that were held while the epoch changed are left out, and do not have the history read for ever."""
    async with lossy() as (heart, broker, engine):
        ann = await member(heart)
        await say(engine, "1")
        await wait_idle()
        broker.hold()
        broker.feed.resync("a")
        await wait_idle()
        await say(engine, "2")  # held
        await wait_idle()
        engine.lose()
        await say(engine, "3", "4")
        await wait_idle()
        broker.answering.set()
        await anyio.sleep(60)
        reads = broker.reads
        await anyio.sleep(60)
        assert broker.reads == reads, "it reads on and on"
        await say(engine, "5")
        await wait_idle()
        assert ann.bodies["a"][-1] == "5"
        assert ann.resyncs == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_any_schedule(backend: Literal["asyncio", "trio"]) -> None:
    """Losses with and without a word, a loss of memory, members who come meanwhile: in every schedule each member
    hears an unbroken stream (``Guest`` checks that), is told where it is broken, and ends where the room does."""

    async def main() -> None:
        async with lossy(window=4) as (heart, broker, engine):
            ann = await member(heart)
            broker.lost = lambda event: event.pos.off % 3 == 2

            async def speak() -> None:
                for number in range(6):
                    await say(engine, str(number))
                    if number % 2:
                        broker.feed.resync("a")
                    await sleep(0)
                engine.lose()
                await say(engine, "6", "7")

            async def come() -> None:
                guests.append(await member(heart, "bob"))

            guests = [ann]
            async with Group():
                go(speak)
                go(come)
            broker.lost = lambda _: False
            await say(engine, "8")
            await anyio.sleep(60)
            reads = broker.reads
            await anyio.sleep(60)
            assert broker.reads == reads, "it reads on and on"
            await say(engine, "9")
            await wait_idle()
            assert broker.reads == reads, "somebody stood elsewhere"
            for guest in guests:
                assert (guest.bodies["a"][-1], guest.last["a"]) == ("9", 4)

    explore(main, backend=backend, runs=RUNS)
