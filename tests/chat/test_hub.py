"""The hub alone, with clients that are nothing but a list of what they are told, and a broker in memory."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.chat import wire
from examples.chat.broker import MemoryEngine
from examples.chat.config import Settings
from examples.chat.node import Node, new_node
from examples.chat.requests import Arrive, Ask, Depart, Enter, Request, ask
from examples.chat.rooms import Batch, Member
from examples.chat.supervisor import supervise
from examples.chat.wire import Encoded, Goodbye, Pos
from gochan import ChannelClosed, Group
from gochan.testing import sleep, wait_idle


class Pretender:
    """A client of the hub. ``full`` makes it one that cannot take a message."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.key = f"here/{user} {id(self)}"
        self.rooms: dict[str, Member] = {}
        self.heard: list[dict[str, Any]] = []
        self.full = False
        self.fell_behind: list[Pos] = []
        self.closed: Goodbye | None = None

    def offer(self, member: Member, batch: Batch) -> None:
        if self.full:
            self.behind(member)
        else:
            self.heard += [frame.message for frame in batch.frames]

    def notify(self, room: str, presence: Encoded) -> None:
        self.heard.append(presence.message)

    def answer(self, frame: Encoded) -> None:
        self.heard.append(frame.message)

    def tell(self, frame: Encoded) -> bool:
        self.heard.append(frame.message)
        return not self.full

    def behind(self, member: Member) -> None:
        member.live = False
        self.fell_behind.append(member.pos)

    def close(self, goodbye: Goodbye) -> None:
        self.closed = goodbye

    def offsets(self) -> list[int]:
        return [message["off"] for message in self.heard if message["t"] == "msg"]


@contextlib.asynccontextmanager
async def hub_running() -> AsyncIterator[Node]:
    node = new_node(Settings(), MemoryEngine().broker("here"))
    async with Group() as group:
        hub = group.go(supervise, node.hub)
        group.go(node.hub.subscriptions.run)
        group.go(node.hub.repairs.run)
        yield node
        # Whoever leaves makes the hub deliver everything before.
        await ask(node.hub.unregister, Depart(client=Pretender("nobody")))
        node.hub._check()
        node.hub.stop.set()
        await hub.result()
        group.cancel()


async def enter(node: Node, client: Pretender, room: str = "a") -> Member:
    """Join as a session does; nothing of the history."""
    member = client.rooms[room] = Member(room)
    await ask(node.hub.register, Enter(client=client, member=member))
    await node.hub.subscriptions.ready(room)
    page = await node.broker.history(room, None, 0)
    await ask(node.hub.register, Arrive(client=client, member=member, reached=page.top, join=wire.Join(1, room)))
    return member


async def publish(node: Node, *bodies: str, room: str = "a") -> None:
    for body in bodies:
        await node.broker.publish(room, wire.dumps({"from": "eve", "body": body, "ts": 1, "id": 1}))


virtual = pytest.mark.gochan(virtual_time=True)


@virtual
async def test_everybody_hears_the_same() -> None:
    """H3: each member gets each message once, in the order of the offsets, from where it came in."""
    ann, bob = Pretender("ann"), Pretender("bob")
    async with hub_running() as node:
        await enter(node, ann)
        await publish(node, "1", "2")
        await wait_idle()
        await enter(node, bob)
        await publish(node, *map(str, range(3, 200)))
        await wait_idle()
        assert ann.offsets() == list(range(1, 200))
        assert bob.offsets() == list(range(3, 200))


@virtual
async def test_many_messages_are_one_batch() -> None:
    """What waits is delivered together: the bytes are made once for each format, for all members."""
    clients = [Pretender(f"user{number}") for number in range(5)]
    batches: dict[int, Batch] = {}
    async with hub_running() as node:
        for client in clients:
            await enter(node, client)
            client.offer = lambda member, batch: batches.update({id(batch): batch})  # type: ignore[method-assign,misc]
        await publish(node, *map(str, range(50)))
        await wait_idle()
        assert sum(len(batch.frames) for batch in batches.values()) == 50
        assert len(batches) < 50
        for batch in batches.values():
            data = batch.framed(wire.Framing.LINES, wire.JSON)
            assert batch.framed(wire.Framing.LINES, wire.JSON) is data


@virtual
async def test_who_falls_behind_is_not_given_more() -> None:
    """R3: a member that could not take a message gets nothing after it, until it arrives from the history."""
    ann = Pretender("ann")
    async with hub_running() as node:
        member = await enter(node, ann)
        await publish(node, "1")
        await wait_idle()
        ann.full = True
        await publish(node, "2", "3")
        await wait_idle()
        ann.full = False
        await publish(node, "4")
        await wait_idle()
        assert (ann.offsets(), ann.fell_behind[0].off, member.last) == ([1], 1, 1)
        page = await node.broker.history("a", member.pos, 2)
        await ask(
            node.hub.register,
            Arrive(client=ann, member=member, reached=page.events[-1].pos, events=page.events, since=member.pos),
        )
        assert ann.offsets() == [1, 2, 3, 4], "the room's own latest messages are the rest"
        assert member.live


@virtual
async def test_arrival_from_somewhere_else() -> None:
    """A page that was read for another position is not given: the member may have lost more meanwhile."""
    ann = Pretender("ann")
    async with hub_running() as node:
        member = await enter(node, ann)
        await publish(node, "1", "2", "3")
        await wait_idle()
        page = await node.broker.history("a", member.pos, 0)
        member.last = 1
        await ask(node.hub.register, Arrive(client=ann, member=member, reached=page.top, since=page.top))
        assert not member.live
        assert ann.fell_behind[-1].off == 1


@virtual
async def test_hole_in_front_of_a_live_member() -> None:
    """R3, whatever the reason: what does not go on where the member is sends it to the history."""
    ann = Pretender("ann")
    async with hub_running() as node:
        member = await enter(node, ann)
        await publish(node, "1", "2")
        await wait_idle()
        member.last = 1
        await publish(node, "3")
        await wait_idle()
        assert (ann.offsets(), ann.fell_behind[0].off, member.live) == ([1, 2], 1, False)


@virtual
async def test_the_last_words() -> None:
    """Whoever goes hears what was said before, every time: select alone would choose at random."""
    ann, bob = Pretender("ann"), Pretender("bob")
    async with hub_running() as node:
        await enter(node, bob)
        for turn in range(1, 6):
            await enter(node, ann)
            await publish(node, *map(str, range(200)))
            await ask(node.hub.unregister, Depart(client=ann, leave=wire.Leave(turn, "a")))
            assert ann.offsets() == list(range(1, 200 * turn + 1))


@virtual
async def test_leaving() -> None:
    """Who leaves hears what was said before, the ack, and nothing more; who is in no room cannot leave."""
    ann, bob = Pretender("ann"), Pretender("bob")
    async with hub_running() as node:
        await enter(node, ann)
        await enter(node, bob)
        await publish(node, "1")
        await ask(node.hub.unregister, Depart(client=ann, leave=wire.Leave(7, "a")))
        assert [message["t"] for message in ann.heard][-2:] == ["msg", "ack"]
        await publish(node, "2")
        await wait_idle()
        assert (ann.offsets(), bob.offsets()) == ([1], [1, 2])
        await ask(node.hub.unregister, Depart(client=ann, leave=wire.Leave(8, "a")))
        assert ann.heard[-1]["code"] == 409
        assert ann.rooms == {}


@virtual
async def test_empty_rooms_are_forgotten() -> None:
    """A room without members costs nothing: not here, not at the broker."""
    ann = Pretender("ann")
    async with hub_running() as node:
        await enter(node, ann, "a")
        await enter(node, ann, "b")
        await ask(node.hub.unregister, Depart(client=ann))
        await wait_idle()
        assert node.hub.rooms == {}
        assert node.hub.subscriptions.active == set()


@virtual
async def test_kick() -> None:
    """Another node may have a user sent away."""
    async with hub_running() as node:
        ann: Any = Pretender("ann")
        node.registry.users["ann"] = {ann: None}
        await node.broker.control_send("here", {"do": "kick", "user": "ann", "reason": "enough"})
        await wait_idle()
        assert (ann.closed.code, ann.closed.reason) == (4503, "enough")


@virtual
async def test_end_closes_the_channels() -> None:
    """H6: nobody waits for a hub that has ended."""
    async with hub_running() as node:
        hub = node.hub
    ann = Pretender("ann")
    requests: list[tuple[Any, Request]] = [
        (hub.register, Enter(client=ann, member=Member("a"))),
        (hub.unregister, Depart(client=ann)),
        (hub.local, Ask(client=ann, command=wire.Who(1, "a"))),
    ]
    for channel, request in requests:
        with pytest.raises(ChannelClosed):
            await ask(channel, request)


@virtual
async def test_failure_is_the_cause() -> None:
    """H6, after a failure too many: who waits learns why."""
    node = new_node(Settings(), MemoryEngine().broker("here"))
    ann: Any = Pretender("ann")
    with pytest.raises(ExceptionGroup):
        async with Group() as group:
            group.go(supervise, node.hub)
            for _ in range(6):
                await ask(node.hub.local, Request(client=ann))
    assert [message["code"] for message in ann.heard] == [500] * 5
    with pytest.raises(ChannelClosed) as closed:
        await ask(node.hub.local, Ask(client=ann, command=wire.Who(1, "a")))
    assert isinstance(closed.value.__cause__, TypeError)


@virtual
async def test_the_budget_is_for_a_time() -> None:
    """A failure now and then is made good for ever."""
    async with hub_running() as node:
        ann: Any = Pretender("ann")
        for _ in range(20):
            await ask(node.hub.local, Request(client=ann))
            await sleep(20)
        assert node.hub.restarts == 20


@virtual
@pytest.mark.parametrize("untold", [True, False])
async def test_who_arrives_in_between(untold: bool) -> None:
    """Who was told of everybody hears of each change after that, also of one that undoes what nobody was told yet."""
    async with hub_running() as node:
        ann, bob, cyd = Pretender("ann"), Pretender("bob"), Pretender("cyd")
        await enter(node, ann)
        await enter(node, bob)
        if untold:
            await sleep(1)
            await ask(node.hub.unregister, Depart(client=bob))
        await enter(node, cyd)
        (joined,) = [message for message in cyd.heard if message["t"] == "joined"]
        assert ("bob" in joined["members"]) is not untold
        if untold:
            await enter(node, bob)
        else:
            await ask(node.hub.unregister, Depart(client=bob))
        await sleep(1)
        told = [(message["join"], message["leave"]) for message in cyd.heard if message["t"] == "pres"]
        assert told == ([(["cyd", "bob"], [])] if untold else [(["cyd"], ["bob"])])


@virtual
async def test_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a room of more than are listed nobody is told who comes and goes; when it empties all know who is there."""
    monkeypatch.setattr(wire, "MAX_MEMBERS", 3)
    async with hub_running() as node:
        people = [Pretender(name) for name in ("ann", "bob", "cyd", "dan", "eve")]
        for who in people:
            await enter(node, who)
        await sleep(1)
        ann, bob, _, dan, eve = people
        assert [each["join"] for each in ann.heard if each["t"] == "pres"] == []
        assert [each.get("members") for each in dan.heard if each["t"] == "joined"] == [None]
        for who in (bob, eve):
            await ask(node.hub.unregister, Depart(client=who))
        await sleep(1)
        for who in (ann, dan):
            (pres,) = [each for each in who.heard if each["t"] == "pres"]
            assert sorted(pres["join"]) == ["ann", "cyd", "dan"]
            assert {"bob"} <= set(pres["leave"]) <= {"bob", "eve"}
        await enter(node, bob)
        await ask(node.hub.unregister, Depart(client=dan))
        await sleep(1)
        assert [(each["join"], each["leave"]) for each in ann.heard if each["t"] == "pres"][1:] == [(["bob"], ["dan"])]


steps = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "say", "who", "end", "full", "read", "return"]), st.integers(0, 5)),
    max_size=60,
)


@given(steps)
async def test_any_history(steps: list[tuple[str, int]]) -> None:
    """After any steps the rooms are right, and everybody who is live has been given everything since it came."""
    clients = [Pretender("ab"[number % 2] + "cd"[number // 4]) for number in range(6)]
    said = 0
    async with hub_running() as node:
        hub = node.hub
        for step, number in steps:
            client = clients[number]
            member = client.rooms.get("a")
            match step:
                case "join" if member is None:
                    client.heard.clear()
                    await enter(node, client)
                case "leave":
                    await ask(hub.unregister, Depart(client=client, leave=wire.Leave(1, "a")))
                case "say":
                    said += 1
                    await publish(node, str(said))
                case "who":
                    await ask(hub.local, Ask(client=client, command=wire.Who(1, "a")))
                case "end":
                    await ask(hub.unregister, Depart(client=client))
                case "full" | "read":
                    client.full = step == "full"
                case "return" if member is not None and not member.live:
                    page = await node.broker.history("a", member.pos, 100)
                    request = Arrive(
                        client=client, member=member, reached=page.top, events=page.events, since=member.pos
                    )
                    await ask(hub.register, request)
                case _:
                    pass
            hub._check()
        await ask(hub.unregister, Depart(client=Pretender("nobody")))
        for client in clients:
            member = client.rooms.get("a")
            offsets = client.offsets()
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets))) if offsets else True
            if member is not None and member.live:
                assert member.last == said
