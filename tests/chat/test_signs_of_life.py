"""What counts as a sign of life: every byte, and nothing that the server did not listen to."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.chat.heart import Guest, Heart, beating, guests

from examples.chat.broker import Published, Unavailable
from examples.chat.heartbeat import Heartbeat, Life
from gochan import Group, sleep

pytestmark = pytest.mark.gochan(virtual_time=True)


@contextlib.asynccontextmanager
async def pulsing(**settings: Any) -> AsyncIterator[Heart]:
    """A node with a heartbeat: a ping each second; two seconds without an answer are too many."""
    with anyio.fail_after(120):
        async with beating(**settings) as heart, Group() as wheel:
            heart.node.heartbeat = Heartbeat(interval=1.0, floor=0.4, ceiling=0.6)
            wheel.go(heart.node.heartbeat.run)
            yield heart
            wheel.cancel()


async def trickle(guest: Guest, message: dict[str, Any], pause: float) -> None:
    """Send a message byte by byte."""
    for byte in json.dumps(message).encode() + b"\n":
        await guest.stream.send(bytes([byte]))
        await sleep(pause)


async def answer_pings(guest: Guest) -> None:
    answered = 0
    while not guest.ended:
        pings = [message for message in guest.heard if message["t"] == "ping"]
        await guest.send(*({"t": "pong", "n": ping["n"]} for ping in pings[answered:]))
        answered = len(pings)
        await sleep(0.05)


async def test_every_byte_is_life() -> None:
    """A client that needs many time-outs for one message is slow, not dead; what it says arrives."""
    async with pulsing() as heart:
        (guest,) = await guests(heart, "ann")
        since = len(guest.heard)
        await trickle(guest, {"t": "say", "id": "slow", "room": "a", "body": "x" * 100}, 0.1)
        assert (await guest.find(since, id="slow"))["t"] == "ack"
        assert not guest.ended


async def test_silence_is_noticed_all_the_same() -> None:
    """A client that stops in the middle of a message is dropped with 4012 as any that is silent."""
    async with pulsing() as heart:
        (guest,) = await guests(heart, "ann")
        await guest.stream.send(b'{"t":"say","id":1,"room')
        gone = await guest.find(t="goaway")
        assert gone["code"] == 4012


@pytest.mark.parametrize("fate", ["comes", "fails"])
async def test_who_is_not_listened_to_is_not_silent(fate: str) -> None:
    """While a client's command waits for a slow broker its pongs are not read, and it is not blamed for that."""
    async with pulsing(broker_timeout=20.0) as heart:
        (guest,) = await guests(heart, "ann")
        publish = heart.node.broker.publish

        async def slow(room: str, payload: bytes, *, key: str | None = None) -> Published:
            await sleep(10)
            if fate == "fails":
                raise Unavailable
            return await publish(room, payload, key=key)

        heart.node.broker.publish = slow  # type: ignore[method-assign]
        heart.group.go(answer_pings, guest)
        answer = await guest.say("a", "hello")
        assert answer["t"] == ("ack" if fate == "comes" else "err")
        pulse = guest.session._pulse
        assert pulse is not None
        assert pulse.life is not Life.OFFLINE
        await sleep(0.3)
        assert pulse.life is Life.ALIVE
        assert not guest.ended
