"""What a client missed, and how it learns of that. In virtual time, with a server that is played."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chat.scripted import Script, event, in_the_lobby, msg, said

from examples.chat import wire
from examples.chat.client import (
    LOST,
    Expelled,
    Gap,
    Joined,
    Message,
    Reconnected,
    Reconnecting,
)
from examples.chat.client.recovery import Recovery, text
from gochan import Group

virtual = pytest.mark.gochan(virtual_time=True)


# What a server may do to a room: say the next message, lose some on the way, say one again, lose the connection (and
# bring back all, a part or nothing of what was said meanwhile), begin its history anew.
STEPS = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 4)),
    st.tuples(st.just("lose"), st.integers(1, 4)),
    st.tuples(st.just("lag"), st.integers(1, 4)),
    st.tuples(st.just("again"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["return", "part", "nothing"]), st.integers(0, 4)),
    st.tuples(st.just("anew"), st.integers(0, 4)),
)


@given(st.lists(STEPS, max_size=25))
def test_all_that_is_missing_is_told(steps: list[tuple[str, int]]) -> None:
    """However a server behaves: each message once and in order, and a gap wherever one is missing."""
    room, top, epoch = Recovery("lobby"), 0, 0
    told: list[Message | Gap] = list(room.joined(wire.Pos(0, "0"), []))

    def said(*offsets: int) -> list[Message]:
        return [text(msg(offset, ep=str(epoch))) for offset in offsets]

    for what, count in steps:
        last = room.last
        new = range(top + 1, top + count + 1)
        match what:
            case "say":
                told += [step for message in said(*new) for step in room.live(message)]
            case "lag":
                told += room.lagged(count)
            case "again":
                told += [step for message in said(*range(max(1, top - count), top + 1)) for step in room.live(message)]
            case "return":
                since = last.off if last is not None and last.ep == str(epoch) else 0
                told += room.joined(wire.Pos(new.stop - 1, str(epoch)), said(*range(since + 1, new.stop)))
            case "part":
                told += room.joined(wire.Pos(new.stop - 1, str(epoch)), said(*new[1:]))
            case "nothing":
                told += room.joined(wire.Pos(new.stop - 1, str(epoch)), [])
            case "anew":
                epoch, new = epoch + 1, range(1, count + 1)
                told += room.joined(wire.Pos(count, str(epoch)), said(*new))
            case _:
                pass
        if what != "again":
            top = new.stop - 1
    before, gap = wire.Pos(0, "0"), False
    for step in told:
        if isinstance(step, Gap):
            gap = True
            continue
        here = step.position
        assert here is not None
        assert here.ep != before.ep or here.off > before.off
        assert gap or here == wire.Pos(before.off + 1, before.ep)
        before, gap = here, False


@virtual
async def test_a_lost_connection_comes_back_where_it_was() -> None:
    """The next connection asks for what came after the last message; that is handed out, and nothing twice."""
    script = Script()
    async with script.talking() as (client, line):
        await in_the_lobby(client, line, 4)
        await line.msg(5)
        await said(client, 5)
        await line.close()
        assert (await event(client, Reconnecting)).code == LOST
        line = await script.accept(resumed=True)
        assert await line.joined(7, rec=True, msgs=[msg(6), msg(7)]) == {"off": 5, "ep": "e"}
        assert await event(client, Reconnected) == Reconnected(True, 1)
        assert await event(client, Joined) == Joined("lobby", ("ada",), wire.Pos(7, "e"), True)
        await said(client, 6, 7)
        await line.msg(7)
        await line.msg(8)
        await said(client, 8)


@virtual
async def test_history_comes_before_what_is_said_now() -> None:
    """Who joins for the first time gets what the server hands out of the past, without a gap before it."""
    script = Script()
    async with script.talking() as (client, line):
        await in_the_lobby(client, line, 12, msgs=[msg(11), msg(12)])
        await said(client, 11, 12)
        await line.msg(13)
        await said(client, 13)
        assert client.rooms == {"lobby": wire.Pos(13, "e")}


@virtual
async def test_a_position_outlives_the_client() -> None:
    """`join(since=...)` continues where another life of the client ended; what the server lost meanwhile is a gap."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        joining = group.go(partial(client.join, "lobby", since=wire.Pos(3, "e")))
        assert await line.joined(9, rec=False, msgs=[msg(8), msg(9)]) == {"off": 3, "ep": "e"}
        assert (await joining.result()).recovered is False
        assert await event(client, Gap) == Gap("lobby", wire.Pos(3, "e"), wire.Pos(8, "e"), 4)
        await said(client, 8, 9)


@pytest.mark.parametrize(
    ("joined", "gap"),
    [
        ({"off": 9, "rec": False}, Gap("lobby", wire.Pos(5, "e"), None, 4)),
        ({"off": 9, "rec": True}, Gap("lobby", wire.Pos(5, "e"), None, 4)),
        ({"off": 2, "ep": "f", "rec": False}, Gap("lobby", wire.Pos(5, "e"), None, None)),
        ({"off": 3, "rec": False}, Gap("lobby", wire.Pos(5, "e"), None, None)),
        ({"off": 5, "rec": False}, None),
        ({"off": 5, "rec": True}, None),
    ],
    ids=["trimmed", "a lie", "another epoch", "back in time", "nothing was said", "nothing was said, recovered"],
)
@virtual
async def test_a_gap_is_never_silent(joined: dict[str, Any], gap: Gap | None) -> None:
    """Where messages are missing, or may be, an event says so, before what comes after them."""
    script = Script()
    async with script.talking() as (client, line):
        await in_the_lobby(client, line, 5)
        await line.close()
        line = await script.accept()
        await line.joined(**joined)
        await event(client, Reconnecting)
        await event(client, Reconnected)
        await event(client, Joined)
        if gap is not None:
            assert await event(client, Gap) == gap
        await line.msg(joined["off"] + 1, ep=joined.get("ep", "e"))
        await said(client, joined["off"] + 1)


@virtual
async def test_gaps_in_a_live_stream() -> None:
    """A jump of the offsets, another epoch, and what the server says it dropped; each is told once."""
    script = Script()
    async with script.talking() as (client, line):
        await in_the_lobby(client, line, 0)
        await line.msg(1)
        await said(client, 1)
        await line.msg(4)
        assert await event(client, Gap) == Gap("lobby", wire.Pos(1, "e"), wire.Pos(4, "e"), 2)
        await said(client, 4)
        await line.msg(6)
        assert await event(client, Gap) == Gap("lobby", wire.Pos(4, "e"), wire.Pos(6, "e"), 1)
        await said(client, 6)
        await line.say(t="lag", room="lobby", n=1)
        assert await event(client, Gap) == Gap("lobby", wire.Pos(6, "e"), None, 1)
        await line.msg(8)
        await said(client, 8)
        await line.msg(1, ep="f")
        assert await event(client, Gap) == Gap("lobby", wire.Pos(8, "e"), wire.Pos(1, "f"), None)
        await said(client, 1)
        await line.say(t="resync", room="lobby")
        assert await event(client, Gap) == Gap("lobby", wire.Pos(1, "f"), None, None)
        await line.msg(2, ep="g")
        await said(client, 2)


@virtual
async def test_a_server_without_a_history() -> None:
    """Messages without offsets pass as they are; what was said during an absence is a gap."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        joining = group.go(client.join, "lobby")
        join = await line.hear("join")
        await line.say(t="joined", id=join["id"], room="lobby", members=["ada"])
        assert (await joining.result()).position is None
        await line.say(t="msg", room="lobby", sender="bob", body="1", ts=0)
        await line.say(t="msg", room="lobby", sender="bob", body="1", ts=0)
        await said(client, 1, 1)
        await line.close()
        line = await script.accept()
        join = await line.hear("join")
        assert "since" not in join
        await line.say(t="joined", id=join["id"], room="lobby", members=["ada"])
        await event(client, Reconnecting)
        await event(client, Reconnected)
        await event(client, Joined)
        assert await event(client, Gap) == Gap("lobby", None, None, None)


@virtual
async def test_a_room_that_is_closed_to_us() -> None:
    """A refused return is told, and not tried again; one refused for now ends this connection, for another try."""
    script = Script()
    async with script.talking() as (client, line):
        await in_the_lobby(client, line)
        await line.close()
        line = await script.accept()
        join = await line.hear("join")
        await line.say(t="err", id=join["id"], code=503, msg="the engine is away", temp=True, retry_ms=5000)
        await event(client, Reconnecting)
        await event(client, Reconnected)
        again = await event(client, Reconnecting)
        assert again.reason == "lobby: the engine is away"
        assert again.after >= 5
        line = await script.accept()
        join = await line.hear("join")
        await line.say(t="err", id=join["id"], code=403, msg="members only", temp=False)
        await event(client, Reconnected)
        assert await event(client, Expelled) == Expelled("lobby", 403, "members only")
        assert client.rooms == {}
