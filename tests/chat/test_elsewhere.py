"""Several nodes are one chat: who is there, and direct messages, wherever the sessions are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.chat.heart import Guest, Heart, beating, guests

from examples.chat.broker import LocalBroker, MemoryEngine, Unavailable
from examples.chat.elsewhere import TTL
from gochan import Group, sleep
from gochan.testing import explore

virtual = pytest.mark.gochan(virtual_time=True)
SOON = 0.2


@contextlib.asynccontextmanager
async def two(**settings: Any) -> AsyncIterator[tuple[MemoryEngine, Heart, Heart]]:
    engine = MemoryEngine()
    with anyio.fail_after(600):
        async with (
            beating(engine=engine, name="left", **settings) as left,
            beating(engine=engine, name="right", **settings) as right,
        ):
            yield engine, left, right


async def members(guest: Guest, room: str = "a") -> list[str]:
    answer = await guest.ask({"t": "who", "room": room})
    users: list[str] = answer["members"]
    return users


def news(guest: Guest) -> list[tuple[list[str], list[str]]]:
    return [(each["join"], each["leave"]) for each in guest.heard if each["t"] == "pres"]


def broker(heart: Heart) -> LocalBroker:
    found = heart.node.broker
    assert isinstance(found, LocalBroker)
    return found


@virtual
async def test_who_is_there_on_every_node() -> None:
    """Whoever joins is told of all members, on whichever node; the members are told of whoever comes or goes."""
    async with two() as (_, left, right):
        (ann,) = await guests(left, "ann")
        await sleep(SOON)
        bob = right.connect("bob")
        await bob.say_hello()
        assert (await bob.join("a"))["members"] == ["ann", "bob"]
        await sleep(SOON)
        assert news(ann) == [(["bob"], [])]
        assert news(bob) == []
        assert await members(ann) == await members(bob) == ["ann", "bob"]
        bob.vanish()
        await sleep(SOON)
        assert news(ann) == [(["bob"], []), ([], ["bob"])]
        assert await members(ann) == ["ann"]


@virtual
async def test_who_asks_from_outside() -> None:
    """``who`` of a room where nobody of this node is gives those of the others."""
    async with two() as (_, left, right):
        await guests(left, "ann", "bob")
        await sleep(SOON)
        cyd = right.connect("cyd")
        await cyd.say_hello()
        assert await members(cyd) == ["ann", "bob"]
        assert await members(cyd, "empty") == []


@virtual
async def test_one_name_on_two_nodes() -> None:
    """A name is news once, however many sessions it has and wherever: when the first comes and when the last goes."""
    async with two() as (_, left, right):
        (ann, here) = await guests(left, "ann", "bob")
        (there,) = await guests(right, "bob")
        await sleep(SOON)
        here.vanish()
        await sleep(SOON)
        assert news(ann) == [(["bob"], [])]
        assert await members(ann) == ["ann", "bob"]
        there.vanish()
        await sleep(SOON)
        assert news(ann) == [(["bob"], []), ([], ["bob"])]


@virtual
async def test_direct_messages_find_the_node() -> None:
    """A direct message reaches all sessions of a user, on all nodes, and the ack says how many."""
    async with two() as (_, left, right):
        ann, bob, cyd = [left.connect("ann"), left.connect("bob"), right.connect("cyd")]
        again = right.connect("bob")
        for guest in (ann, bob, cyd, again):
            await guest.say_hello()
        await sleep(SOON)
        assert (await ann.ask({"t": "dm", "to": "bob", "body": "hi"}))["delivered"] == 2
        assert (await ann.ask({"t": "dm", "to": "cyd", "body": "ho"}))["delivered"] == 1
        await sleep(SOON)
        for guest, body in ((bob, "hi"), (again, "hi"), (cyd, "ho")):
            assert [(each["from"], each["body"]) for each in guest.heard if each["t"] == "dm"] == [("ann", body)]
        gone = await ann.ask({"t": "dm", "to": "dan", "body": "?"})
        assert (gone["t"], gone["code"]) == ("err", 404)
        again.vanish()
        cyd.vanish()
        await sleep(SOON)
        assert (await ann.ask({"t": "dm", "to": "bob", "body": "hi"}))["delivered"] == 1
        assert (await ann.ask({"t": "dm", "to": "cyd", "body": "ho"}))["code"] == 404


@virtual
async def test_direct_messages_without_the_broker() -> None:
    """While the broker is away a direct message still reaches those on this node; for others it is refused with 503."""
    async with two() as (_, left, _right):
        ann, bob = left.connect("ann"), left.connect("bob")
        for guest in (ann, bob):
            await guest.say_hello()
        await sleep(SOON)

        async def away(room: str) -> Any:
            raise Unavailable(room)

        broker(left).presence_list = away  # type: ignore[method-assign]
        assert (await ann.ask({"t": "dm", "to": "bob", "body": "hi"}))["delivered"] == 1
        assert (await ann.ask({"t": "dm", "to": "cyd", "body": "hi"}))["code"] == 503
        assert (await ann.ask({"t": "who", "room": "nobody-here"}))["code"] == 503


@virtual
async def test_a_dead_node_is_forgotten() -> None:
    """What a node that died has left behind is gone with the first look after the broker has missed it."""
    async with two() as (engine, left, right):
        (ann,) = await guests(left, "ann")
        cyd = right.connect("cyd")
        await cyd.say_hello()
        third = engine.broker("third")
        await third.presence_add("a", "third/1", "ghost")
        await third.presence_add("@ghost", "third/1", "third")
        await sleep(16)
        assert await members(ann) == await members(cyd) == ["ann", "ghost"]
        assert news(ann) == [(["ghost"], [])]
        del engine.brokers["third"]
        await sleep(16)
        assert await members(ann) == await members(cyd) == ["ann"]
        assert news(ann) == [(["ghost"], []), ([], ["ghost"])]
        assert (await ann.ask({"t": "dm", "to": "ghost", "body": "?"}))["code"] == 404
        assert engine.presences.present("a", anyio.current_time())
        engine.brokers["third"] = third


@virtual
async def test_presences_are_renewed() -> None:
    """Who stays is listed as long as it stays; what nobody renews ends by itself."""
    async with two() as (_, left, right):
        await guests(left, "ann")
        cyd = right.connect("cyd")
        await cyd.say_hello()
        await broker(right).presence_add("a", "right/1000", "ghost", ttl=TTL)
        assert await members(cyd) == ["ann", "ghost"]
        await sleep(TTL * 1.5)
        assert await members(cyd) == ["ann"]


@virtual
async def test_lost_news_are_made_good() -> None:
    """News that never arrive (control is at most once) are known after the next look."""
    async with two() as (_, left, right):
        ann, bob = (await guests(left, "ann"))[0], (await guests(right, "bob"))[0]
        await sleep(SOON)
        broker(left)._take = lambda control: True  # type: ignore[method-assign]
        bob.vanish()
        await guests(right, "cyd")
        await sleep(SOON)
        assert await members(ann) == ["ann", "bob"]
        await sleep(16)
        assert await members(ann) == ["ann", "cyd"]


@virtual
async def test_an_outage_is_made_good() -> None:
    """Where the broker has lost all presences the nodes say again who is there, and nobody seems to leave."""
    async with two() as (engine, left, right):
        ann, bob = (await guests(left, "ann"))[0], (await guests(right, "bob"))[0]
        await sleep(SOON)
        engine.presences.rooms.clear()
        engine.announce_loss()
        await sleep(20)
        assert await members(ann) == await members(bob) == ["ann", "bob"]
        assert news(ann) == [(["bob"], [])]
        assert news(bob) == []


@virtual
async def test_a_crash_of_the_hub_keeps_those_elsewhere() -> None:
    """A hub that starts anew finds out who is on other nodes."""
    async with two() as (_, left, right):
        ann, _bob = (await guests(left, "ann"))[0], (await guests(right, "bob"))[0]
        await sleep(SOON)
        left.hub.rebuild()
        await sleep(20)
        left.check()
        assert await members(ann) == ["ann", "bob"]


@virtual
async def test_news_that_cannot_be_told_wait() -> None:
    """While the broker refuses, news are kept; what is told in the end is how it is then."""
    async with two() as (_, left, right):
        (ann,) = await guests(left, "ann")
        await sleep(SOON)
        add, refused = broker(right).presence_add, 0

        async def refuse(*args: Any, **options: Any) -> None:
            nonlocal refused
            refused += 1
            raise Unavailable

        broker(right).presence_add = refuse  # type: ignore[method-assign]
        bob, cyd = await guests(right, "bob", "cyd")
        await sleep(1)
        assert refused
        cyd.vanish()
        await sleep(SOON)
        broker(right).presence_add = add  # type: ignore[method-assign]
        await sleep(1)
        assert await members(ann) == await members(bob) == ["ann", "bob"]


def test_any_schedule() -> None:
    """E2, in any order of what happens: once all is quiet, both nodes know the same, and each guest has heard it."""

    async def program() -> None:
        async with two() as (_, left, right):

            async def visit(heart: Heart, user: str) -> None:
                guest = heart.connect(user)
                await guest.say_hello()
                await guest.join("a")
                await guest.ask({"t": "leave", "room": "a"})
                await guest.join("a")
                if user == "bob":
                    guest.vanish()

            stays: list[Guest] = []
            async with Group() as group:
                group.go(visit, left, "bob")
                group.go(visit, right, "bob")
                group.go(visit, left, "cyd")
                stays += await guests(right, "ann")
            broker(left).feed.resync(None)
            await sleep(50)
            left.check()
            right.check()
            for heart in (left, right):
                assert sorted(heart.hub.rooms["a"].users) == ["ann", "cyd"], heart.hub.rooms["a"]
            joined = next(each for each in stays[0].heard if each["t"] == "joined")
            known = set(joined["members"])
            for join, leave in news(stays[0]):
                known |= set(join)
                known -= set(leave)
            assert known == {"ann", "cyd"}

    explore(program, runs=60)
