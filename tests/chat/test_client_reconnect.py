"""When a client connects again, and whether. In virtual time, with a server that is played."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.chat.scripted import Script, error_of, event

from examples.chat.client import (
    LOST,
    Backoff,
    Disconnected,
    GoAway,
    Presence,
    Problem,
    Reconnected,
    Reconnecting,
    Refused,
)
from gochan import Group

virtual = pytest.mark.gochan(virtual_time=True)


@virtual
async def test_the_wait_grows_and_is_forgotten() -> None:
    """Failed attempts double the longest wait, to 20 s; a connection that lasted 30 s makes it 0.2 s again."""
    script = Script()
    async with script.talking() as (client, line):
        waits: list[float] = []
        reason = ""
        script.refusals += [ConnectionRefusedError("nobody there")] * 9
        await line.close()
        for attempt in range(1, 11):
            happened = await event(client, Reconnecting)
            assert happened.attempt == attempt
            waits.append(happened.after)
            reason = happened.reason
        assert reason == "nobody there"
        assert all(wait <= min(0.2 * 2**n, 20) for n, wait in enumerate(waits))
        assert max(waits) > 6.4
        line = await script.accept()
        assert (await event(client, Reconnected)).attempt == 10
        await line.close()
        script_waits = [
            later - earlier for earlier, later in zip(script.dialled_at, script.dialled_at[1:], strict=False)
        ]
        assert script_waits == pytest.approx(waits)
        assert (await event(client, Reconnecting)).after <= 20
        line = await script.accept()
        async with Group() as group:
            hearing = group.go(line.hear, "bye")
            await anyio.sleep(31)
            hearing.cancel()
        await line.close()
        await event(client, Reconnected)
        assert (await event(client, Reconnecting)).after <= 0.2


def test_full_jitter() -> None:
    """A wait is drawn from the whole window, not only from its end."""
    waits = [Backoff(failures=3).next() for _ in range(200)]
    assert min(waits) < 0.4 < 1.2 < max(waits) <= 1.6
    assert 7 <= Backoff().next(after=7) <= 7.2


@virtual
async def test_goaway() -> None:
    """Nothing more is asked of a server that goes; the next connection waits as long as it says, and then some."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        await line.say(t="goaway", code=4001, reason="restart", after_ms=7000, resume=True)
        assert await event(client, GoAway) == GoAway(4001, "restart", 7, True)
        asking = group.go(client.who, "lobby")
        await anyio.sleep(0.5)
        assert not asking.done.is_set()
        await line.close()
        waiting = await event(client, Reconnecting)
        assert (waiting.code, waiting.reason) == (4001, "restart")
        assert 7 <= waiting.after <= 7.2
        line = await script.accept()
        who = await line.hear("who")
        await line.say(t="members", id=who["id"], members=[])
        assert await asking.result() == []


@pytest.mark.parametrize("code", [4500, 4501, 4503, 4599, 1002, 1009])
@virtual
async def test_codes_that_end_it(code: int) -> None:
    """45xx, and errors that would happen again: no other connection; every request says why."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        failing = group.go(error_of, client.say("lobby", "?"))
        await line.hear("say")
        await line.close(code, "out")
        assert "out" in str(await failing.result())
        await event(client, GoAway)
        assert [event async for event in client.events] == []
        assert client.end is not None
        assert (client.end.code, client.end.reason) == (code, "out")
        with pytest.raises(Disconnected, match="out"):
            await client.ping()
    assert len(script.dialled_at) == 1


@pytest.mark.parametrize("code", [4000, 4001, 4008, 4010, 4012, 4014, 4499])
@virtual
async def test_codes_that_do_not(code: int) -> None:
    """40xx: come back."""
    script = Script()
    async with script.talking() as (client, line):
        await line.close(code, "for now")
        await event(client, GoAway)
        assert (await event(client, Reconnecting)).code == code
        await script.accept()
        await event(client, Reconnected)
        assert client.connected


@virtual
async def test_without_reconnection() -> None:
    """One connection, if that is what was asked for."""
    script = Script()
    async with script.talking(reconnect=False) as (client, line):
        await line.close()
        assert [event async for event in client.events] == []
        assert client.end is not None
        assert client.end.code == LOST


@virtual
async def test_who_is_not_welcome_any_more() -> None:
    """A refused hello ends it, unless it was refused for now; a server that says nothing is tried again."""
    script = Script()
    async with script.talking(timeout=3.0) as (client, line):
        await line.close()
        await event(client, Reconnecting)
        await script.meet()  # and not a word
        assert (await event(client, Reconnecting)).attempt == 2
        line = await script.meet()
        await line.hear("hello")
        await line.say(t="err", code=503, msg="busy", temp=True, retry_ms=4000)
        assert (await event(client, Reconnecting)).after >= 4
        line = await script.meet()
        await line.hear("hello")
        await line.say(t="err", code=401, msg="who are you?", temp=False)
        assert [event async for event in client.events] == []
        assert client.end is not None
        assert client.end.reason == "who are you?"


@virtual
async def test_the_session_is_resumed() -> None:
    """What the welcome gave is shown in the next hello; a token every time."""
    script = Script()
    hellos: list[Any] = []

    async def serve() -> None:
        for secret in ("x", "y"):
            line = await script.meet()
            hellos.append(await line.hear("hello"))
            await line.say(t="welcome", sid=f"s{secret}", secret=secret, node="n")
            await line.close()
        line = await script.meet()
        hellos.append(await line.hear("hello"))

    async with Group() as group:
        serving = group.go(serve)
        async with script.client(token="t"):
            await serving.result()
    assert [(hello["token"], hello.get("sid"), hello.get("secret")) for hello in hellos] == [
        ("t", None, None),
        ("t", "sx", "x"),
        ("t", "sy", "y"),
    ]


@virtual
async def test_a_dead_line_is_noticed() -> None:
    """Two heartbeats without a byte are the end of a connection; while it lives the way there and back is measured."""
    script = Script()
    async with script.talking(heartbeat=10.0) as (client, line), Group() as group:
        ping = await line.hear("ping")
        await anyio.sleep(0.25)
        await line.say(t="pong", n=ping["n"])
        await line.say(t="ping", n=5)
        assert await line.hear("pong") == {"t": "pong", "n": 5}
        assert client.latency == pytest.approx(0.25)
        alive = group.go(line.hear, "bye")  # answers pings
        await anyio.sleep(95)
        alive.cancel()
        assert client.connected
        assert client.latency is not None
        assert client.latency < 0.25
        before = anyio.current_time()
        lost = await event(client, Reconnecting)
        assert lost.reason == "the server does not answer"
        assert 20 <= anyio.current_time() - before <= 30


@virtual
async def test_leaving_between_two_connections() -> None:
    """Who leaves while waiting for the next connection does not wait for it."""
    script = Script()
    async with script.talking() as (client, line):
        script.refusals += [ConnectionRefusedError()] * 20
        await line.close()
        while (await event(client, Reconnecting)).after < 5:
            pass
        with anyio.fail_after(0.01):
            await client.bye()
        assert client.end is not None


@virtual
async def test_goodbye() -> None:
    """The server is told, and has a moment to close; no other connection follows."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        before = anyio.current_time()
        leaving = group.go(client.bye)
        await line.hear("bye")
        await line.close(1000, "goodbye")
        await leaving.result()
        assert anyio.current_time() == before
    assert client.end is not None
    assert client.end.code == 1000


@virtual
async def test_what_no_request_waits_for() -> None:
    """An answer to a request that was cancelled is nobody's; an error without a request, and who comes, are events."""
    script = Script()
    async with script.talking() as (client, line), Group() as group:
        asking = group.go(client.who, "lobby")
        who = await line.hear("who")
        asking.cancel()
        await anyio.sleep(0)
        await line.say(t="members", id=who["id"], members=["eve"])
        await line.say(t="err", code=400, msg="what?", temp=False)
        assert await event(client, Problem) == Problem(400, "what?", False)
        await line.say(t="pres", room="lobby", join=["bob"], leave=["eve"])
        assert await event(client, Presence) == Presence("lobby", ("bob",), ("eve",))
        failing = group.go(error_of, client.say("lobby", "spam"))
        say = await line.hear("say")
        await line.say(t="err", id=say["id"], code=429, msg="slower", temp=True, retry_ms=1500)
        refused = await failing.result()
        assert isinstance(refused, Refused)
        assert (refused.code, refused.temporary, refused.retry_after) == (429, True, 1.5)


@virtual
async def test_a_server_that_does_not_read() -> None:
    """What waits to be written is bounded: a server that asks without reading the answers is left."""
    script = Script()
    async with script.talking() as (client, line):
        with pytest.raises(anyio.BrokenResourceError):
            for n in range(20_000):
                await line.say(t="ping", n=n)
        assert (await event(client, Reconnecting)).reason == "the server does not read"
