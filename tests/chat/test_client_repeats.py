"""What a client sends again over a new connection, and what not. In virtual time, with a server that is played."""

from __future__ import annotations

import random
from functools import partial
from typing import Literal

import anyio
import pytest
from tests.chat.scripted import BOUND, Room, Script, error_of, event, in_the_lobby, msg, said

from examples.chat import wire
from examples.chat.client import (
    DirectMessage,
    Gap,
    Message,
    Reconnected,
    Reconnecting,
)
from gochan import Group
from gochan.testing import explore

virtual = pytest.mark.gochan(virtual_time=True)


@virtual
async def test_a_say_without_an_ack_is_sent_again() -> None:
    """With the same id, after the rooms are joined, in order; not what was acknowledged; what waited comes last."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        await in_the_lobby(client, line)
        first = group.go(client.say, "lobby", "one")
        one = await line.hear("say")
        await line.say(t="ack", id=one["id"], room="lobby", off=1, ep="e")
        assert await first.result() == wire.Pos(1, "e")
        second = group.go(client.say, "lobby", "two")
        two = await line.hear("say")
        await line.close()
        await event(client, Reconnecting)
        third = group.go(client.say, "lobby", "three")
        line = await script.accept()
        await line.joined(1)
        assert await line.hear("say") == two
        await line.say(t="ack", id=two["id"], room="lobby", off=2, ep="e", dup=True)
        assert await second.result() == wire.Pos(2, "e")
        three = await line.hear("say")
        assert three["body"] == "three"
        assert three["id"] not in (one["id"], two["id"])
        await line.say(t="ack", id=three["id"], room="lobby")
        assert await third.result() is None


@virtual
async def test_a_direct_message_is_not_sent_twice() -> None:
    """It would be said twice: whether it arrived cannot be known, and that is what is raised. The client goes on."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        failing = group.go(error_of, client.tell("bob", "psst"))
        dm = await line.hear("dm")
        assert (dm["to"], dm["body"]) == ("bob", "psst")
        await line.close()
        assert "before the answer to 'dm'" in str(await failing.result())
        line = await script.accept()
        telling = group.go(client.tell, "bob", "again")
        dm = await line.hear("dm")
        await line.say(t="ack", id=dm["id"], delivered=2)
        assert await telling.result() == 2
        await line.say(t="dm", sender="bob", body="yes?", ts=5000)
        await event(client, Reconnecting)
        await event(client, Reconnected)
        assert await event(client, DirectMessage) == DirectMessage("bob", "yes?", 5)


@virtual
async def test_what_is_asked_twice() -> None:
    """A join, a question and a leave without an answer are asked again; a leave that is none any more has succeeded."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        joining = group.go(client.join, "lobby")
        await line.hear("join")
        asking = group.go(client.who, "kitchen")
        await line.hear("who")
        await line.close()
        line = await script.accept()
        await line.joined(0)
        who = await line.hear("who")
        await line.say(t="members", id=who["id"], room="kitchen", members=["bob"])
        assert (await joining.result()).room == "lobby"
        assert await asking.result() == ["bob"]
        leaving = group.go(client.leave, "lobby")
        await line.hear("leave")
        await line.close()
        line = await script.accept()
        leave = await line.hear("leave")
        await line.say(t="err", id=leave["id"], code=409, msg="not there", temp=False)
        await leaving.result()
        assert client.rooms == {}


@virtual
async def test_history_is_a_question() -> None:
    """Its answer is not an event, and moves no position."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        await in_the_lobby(client, line, 9)
        reading = group.go(partial(client.history, "lobby", limit=2, newest=True))
        asked = await line.hear("history")
        assert (asked["limit"], asked["rev"]) == (2, True)
        await line.say(t="history", id=asked["id"], room="lobby", off=9, ep="e", msgs=[msg(9), msg(8)], complete=True)
        page = await reading.result()
        assert [message.body for message in page.messages] == ["9", "8"]
        assert (page.top, page.complete) == (wire.Pos(9, "e"), True)
        await line.msg(10)
        await said(client, 10)


async def storm(seed: int) -> None:
    """Two clients say four things each, while the server hangs up on them at least three times."""
    script = Script()
    room = Room(script, random.Random(seed), calls=6)
    heard: dict[str, list[str]] = {"ada": [], "bob": []}

    async def visit(user: str) -> None:
        async with script.client(user) as client:
            await client.join("lobby")
            for number in range(4):
                await client.say("lobby", f"{user} {number}")
            while len(heard[user]) < 8:
                match await client.events.receive():
                    case Message(body=body):
                        heard[user].append(body)
                    case Gap() as gap:
                        raise AssertionError(gap)
                    case _:
                        pass

    with anyio.fail_after(BOUND):
        async with Group() as group:
            serving = group.go(room.serve)
            visits = [group.go(visit, user) for user in heard]
            for each in visits:
                await each.result()
            serving.cancel()
    assert room.calls <= 3, "no storm"
    said = [message["body"] for message in room.said]
    assert sorted(said) == sorted(f"{user} {number}" for user in heard for number in range(4))
    assert heard == {"ada": said, "bob": said}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_storm_under_many_schedules(backend: Literal["asyncio", "trio"]) -> None:
    """In whatever order things happen: said once each, heard by all in one order, without a gap."""
    for seed in range(3):
        explore(storm, seed, backend=backend, runs=8)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_storm_under_very_many_schedules(backend: Literal["asyncio", "trio"]) -> None:
    """The same, longer."""
    for seed in range(20):
        explore(storm, seed, backend=backend, runs=50, strategy="pct")


@virtual
async def test_one_id_is_said_by_one_caller_at_a_time() -> None:
    """An answer can be only one caller's: the second is refused at once, sent or not, and the first gets its ack."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        await in_the_lobby(client, line)
        first = group.go(partial(client.say, "lobby", "one", id="x"))
        one = await line.hear("say")
        with pytest.raises(ValueError, match="'x' is being asked by another 'say'"):
            await client.say("lobby", "one", id="x")
        await line.say(t="ack", id="x", room="lobby", off=1, ep="e")
        assert await first.result() == wire.Pos(1, "e")
        # Afterwards it may be said again: the server knows it.
        again = group.go(partial(client.say, "lobby", "one", id="x"))
        assert await line.hear("say") == one
        await line.say(t="ack", id="x", room="lobby", off=1, ep="e", dup=True)
        assert await again.result() == wire.Pos(1, "e")
        with anyio.move_on_after(1):
            await client.say("lobby", "two", id="y")
        assert (await line.hear("say"))["id"] == "y"
        third = group.go(partial(client.say, "lobby", "two", id="y"))  # the first was given up
        await line.hear("say")
        await line.say(t="ack", id="y", room="lobby", off=2, ep="e")
        assert await third.result() == wire.Pos(2, "e")
