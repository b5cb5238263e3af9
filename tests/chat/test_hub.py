"""The hub alone, with clients that are nothing but an outbox."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.chat import wire
from examples.chat.hub import Hub
from examples.chat.wire import Encoded, Goodbye
from gochan import Channel, ChannelClosed, Group


class Pretender:
    """A client of the hub: a name and an outbox."""

    def __init__(self, user: str, capacity: int = 1000) -> None:
        self.user = user
        self.outbox = Channel[Encoded](capacity)
        self.dropped: Goodbye | None = None

    def offer(self, frame: Encoded) -> None:
        self.outbox.send_nowait(frame)

    def drop(self, goodbye: Goodbye) -> None:
        assert self.dropped is None, "dropped twice"
        self.dropped = goodbye
        self.outbox.close(goodbye)

    def heard(self) -> list[Any]:
        """What it was told since it was asked last."""
        messages = []
        with contextlib.suppress(anyio.WouldBlock, ChannelClosed):
            while True:
                messages.append(json.loads(self.outbox.receive_nowait().payload))
        return messages


@contextlib.asynccontextmanager
async def hub_running() -> AsyncIterator[Hub]:
    hub = Hub()
    async with Group() as group:
        group.go(hub.run)
        yield hub
        await settled(hub)
        hub._check()
        hub.stop.set()


async def settled(hub: Hub) -> None:
    """The hub takes this, which asks for nothing, when it is through with everything before it."""
    await hub.unregister.send((Pretender("nobody"), None))


async def join(hub: Hub, *clients: Pretender) -> None:
    for client in clients:
        await hub.register.send((client, wire.Join(1, "lobby")))
    await settled(hub)
    for client in clients:
        client.heard()


async def test_join_say_leave() -> None:
    """Who joins is told who is there; who is there is told who joins, what is said, and who leaves."""
    ann, bob = Pretender("ann"), Pretender("bob")
    async with hub_running() as hub:
        await join(hub, ann)
        await hub.register.send((bob, wire.Join(1, "lobby")))
        await hub.broadcast.send((bob, wire.Say(2, "lobby", "hi")))
        await hub.unregister.send((bob, wire.Leave(3, "lobby")))
        await settled(hub)
        assert [message["t"] for message in bob.heard()] == ["joined", "ack", "msg", "ack"]
        pres, msg, gone = ann.heard()
        assert (pres["join"], msg["from"], msg["body"], gone["leave"]) == (["bob"], "bob", "hi", ["bob"])


async def test_commands_are_done_in_order() -> None:
    """H5: a client that leaves and joins and speaks again is understood in that order, every time."""
    ann = Pretender("ann")
    async with hub_running() as hub:
        await join(hub, ann)
        for number in range(50):
            await hub.broadcast.send((ann, wire.Say(number, "lobby", "hi")))
            await hub.unregister.send((ann, wire.Leave(number, "lobby")))
            await hub.register.send((ann, wire.Join(number, "lobby")))
        await settled(hub)
        assert [message["t"] for message in ann.heard()] == ["ack", "msg", "ack", "joined"] * 50


async def test_full_outbox() -> None:
    """H2: who cannot take a message is dropped with 4008, the others are told, and nobody misses anything."""
    ann, slow = Pretender("ann"), Pretender("slow", capacity=2)
    async with hub_running() as hub:
        await join(hub, ann, slow)
        for number in range(3):
            await hub.broadcast.send((ann, wire.Say(number, "lobby", "hi")))
        await settled(hub)
        assert slow.dropped is not None
        assert slow.dropped.code == 4008
        assert [message.get("id", message.get("leave")) for message in ann.heard()] == [
            0, 0, 1, 1, 2, 2, ["slow"],
        ]  # fmt: skip
        assert hub.members == {ann}


async def test_dropping_one_may_drop_the_next() -> None:
    """The news that somebody was dropped can be what another one cannot take: that ends, with a room that is right."""
    ann = Pretender("ann")
    falling = [Pretender(f"slow{size}", capacity=size) for size in range(1, 6)]
    async with hub_running() as hub:
        for client in [ann, *falling]:
            hub.members.add(client)
            hub.users[client.user] += 1
        for number in range(2):
            await hub.broadcast.send((ann, wire.Say(number, "lobby", "hi")))
        await settled(hub)
        hub._check()
        assert hub.members == {ann}
        assert all(client.dropped is not None for client in falling)
        told = [name for message in ann.heard() if message["t"] == "pres" for name in message["leave"]]
        assert sorted(told) == [f"slow{size}" for size in range(1, 6)]


async def test_closed_outbox() -> None:
    """Who is on the way out is a member no longer, without being dropped as slow."""
    ann, gone = Pretender("ann"), Pretender("gone")
    async with hub_running() as hub:
        await join(hub, ann, gone)
        gone.outbox.close()
        await hub.broadcast.send((ann, wire.Say(1, "lobby", "hi")))
        await settled(hub)
        assert gone.dropped is None
        assert hub.members == {ann}
        assert ann.heard()[-1]["leave"] == ["gone"]


async def test_full_outbox_of_the_one_who_asks() -> None:
    """The one who asks may itself be too slow for the answer: the others hear that it comes, then that it goes."""
    ann, slow = Pretender("ann"), Pretender("slow", capacity=0)
    async with hub_running() as hub:
        await join(hub, ann)
        await hub.register.send((slow, wire.Join(1, "lobby")))
        await settled(hub)
        assert slow.dropped is not None
        assert hub.members == {ann}
        assert [(message["join"], message["leave"]) for message in ann.heard()] == [(["slow"], []), ([], ["slow"])]


async def test_end_closes_the_channels() -> None:
    """H6: nobody waits for a hub that has ended."""
    hub, ann = Hub(), Pretender("ann")
    hub.stop.set()
    await hub.run()
    for channel, command in (
        (hub.register, wire.Join(1, "lobby")),
        (hub.unregister, None),
        (hub.broadcast, wire.Say(1, "lobby", "hi")),
        (hub.who, wire.Who(1, "lobby")),
    ):
        with pytest.raises(ChannelClosed):
            await channel.send((ann, command))


async def test_failure_is_the_cause() -> None:
    """H6, after a failure: who waits learns why."""
    hub = Hub()
    with pytest.raises(ExceptionGroup):
        async with Group() as group:
            group.go(hub.run)
            await hub.broadcast.send((None, wire.Say(1, "lobby", "hi")))
    with pytest.raises(ChannelClosed) as closed:
        await hub.who.send((Pretender("ann"), wire.Who(1, "lobby")))
    assert isinstance(closed.value.__cause__, AttributeError)


steps = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "say", "who", "end", "read", "close"]), st.integers(0, 5)), max_size=60
)


@given(steps)
async def test_any_history(steps: list[tuple[str, int]]) -> None:
    """After any steps the room holds exactly those who joined and neither left, nor were dropped, and _check holds."""
    clients = [Pretender("ab"[number % 2] + "cd"[number // 4], capacity=4 + number) for number in range(6)]
    async with hub_running() as hub:
        for step, number in steps:
            client = clients[number]
            match step:
                case "join":
                    await hub.register.send((client, wire.Join(1, "lobby")))
                case "leave":
                    await hub.unregister.send((client, wire.Leave(1, "lobby")))
                case "say":
                    await hub.broadcast.send((client, wire.Say(1, "lobby", "hi")))
                case "who":
                    await hub.who.send((client, wire.Who(1, "lobby")))
                case "end":
                    await hub.unregister.send((client, None))
                case "close":
                    client.outbox.close()
                case _:
                    client.heard()
            if client.dropped:
                clients[number] = Pretender(client.user, capacity=4 + number)
            await settled(hub)
            hub._check()
        await settled(hub)
        for client in clients:
            if client in hub.members:
                assert client.dropped is None
