"""When the hub fails or ends at the worst moment: nobody waits for it in vain, and what it swallowed is made good."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.chat.heart import beating, guests
from tests.chat.test_hub import Pretender, enter, hub_running, publish

from examples.chat.broker import MemoryEngine
from examples.chat.config import Settings
from examples.chat.node import new_node
from examples.chat.requests import Arrive, Depart, ask
from examples.chat.rooms import Batch, Member
from examples.chat.supervisor import supervise
from examples.chat.wire import Encoded, Pos
from gochan.testing import sleep, wait_idle

virtual = pytest.mark.gochan(virtual_time=True)


@virtual
async def test_who_leaves_as_the_hub_ends_does_not_wait() -> None:
    """H6: a request that the hub has not come to when it ends is done, or its session would wait for ever."""
    node = new_node(Settings(), MemoryEngine().broker("here"))
    departs = [Depart(client=Pretender(f"user{n}")) for n in range(3)]
    for depart in departs:
        node.hub.unregister.send_nowait(depart)
    node.hub.close()
    with anyio.fail_after(1):
        for depart in departs:
            await depart.done.wait()


@virtual
async def test_sessions_end_with_a_hub_that_failed_once_too_often() -> None:
    """A server whose hub is given up ends, though sessions leave at that moment."""
    node = new_node(Settings(), MemoryEngine().broker("here"))
    leaving = Depart(client=Pretender("bob"))

    async def fail() -> None:
        node.hub.unregister.send_nowait(leaving)
        raise ValueError("a bug")

    node.hub.run = fail  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="a bug"):
        await supervise(node.hub, restarts=0)
    with anyio.fail_after(1):
        await leaving.done.wait()


@virtual
async def test_a_failure_does_not_swallow_what_was_read_for_a_member() -> None:
    """H5: the hub fails while it hands a member a part of the history; the member is sent there again."""
    ann = Pretender("ann")
    async with hub_running() as node:
        sessions: Any = node.registry.sessions
        sessions["ann"] = ann
        member = await enter(node, ann)
        ann.full = True
        await publish(node, "1", "2", "3")
        await wait_idle()
        assert ann.fell_behind == [Pos(0, member.ep)]
        ann.full = False
        page = await node.broker.history("a", member.pos, 10)

        def broken(member: Member, batch: Batch) -> None:
            raise ValueError("a bug")

        offer, ann.offer = ann.offer, broken  # type: ignore[method-assign]
        await ask(
            node.hub.register,
            Arrive(client=ann, member=member, reached=page.top, events=page.events, since=member.pos),
        )
        ann.offer = offer  # type: ignore[method-assign]
        await wait_idle()
        assert node.hub.restarts == 1
        assert ann.fell_behind[-1] == Pos(0, member.ep)


@virtual
async def test_a_failure_does_not_swallow_that_something_is_lost() -> None:
    """H5: the same for a member whose place the history no longer has: it is told in the end."""
    ann = Pretender("ann")
    async with hub_running() as node:
        sessions: Any = node.registry.sessions
        sessions["ann"] = ann
        member = await enter(node, ann)
        before = member.pos

        def broken(frame: Encoded) -> None:
            ann.answer = answer  # type: ignore[method-assign]
            raise ValueError("a bug")

        answer, ann.answer = ann.answer, broken  # type: ignore[method-assign]
        member.live = False
        await ask(
            node.hub.register,
            Arrive(client=ann, member=member, reached=Pos(7, "later"), lost=True, since=member.pos),
        )
        await wait_idle()
        assert node.hub.restarts == 1
        assert ann.fell_behind[-1] == before


@virtual
async def test_rooms_that_a_failure_ends_are_unsubscribed() -> None:
    """What has no member any more once the rooms are made anew is not listened to for ever."""
    ann = Pretender("ann")
    async with hub_running() as node:
        await enter(node, ann)  # in the room, but in no registry: as who leaves while the hub fails
        assert node.hub.subscriptions.active == {"a"}
        node.hub.rebuild()
        await wait_idle()
        assert not node.hub.rooms
        assert node.hub.subscriptions.active == set()


@virtual
async def test_a_message_that_cannot_be_read_ends_nothing() -> None:
    """A payload that is damaged is one message that says so, live, on joining and in the history; the hub goes on."""
    async with beating() as heart:
        (ann,) = await guests(heart, "ann")
        await heart.node.broker.publish("a", b'{"from":"eve","bo')
        await ann.say("a", "after")
        (bob,) = await guests(heart, "bob", room="b")
        joined = await bob.join("a", limit=10)
        assert [message["off"] for message in joined["msgs"]] == [1, 2]
        await sleep(0.1)
        assert ann.last["a"] == 2
        assert heart.hub.restarts == 0


@virtual
async def test_nonsense_from_another_node_ends_nothing() -> None:
    """A control command without its fields is left out; the hub goes on."""
    async with hub_running() as node:
        for command in ({"do": "kick"}, {"do": "dm"}, {"do": "presence", "news": [["a"]]}, {"do": 7}, {}):
            await node.broker.control_send("here", command)
        await wait_idle()
        assert node.hub.restarts == 0
