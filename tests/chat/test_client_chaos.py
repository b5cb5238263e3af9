"""The client over a bad network, with the real server behind the proxy: nothing is lost, doubled or out of order."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest
from tests.chat.talkers import BOUND, running

from examples.chaos_proxy import Faults, Proxy, proxy
from examples.chat.client import Backoff, Client, Gap, Message, Reconnected, Reconnecting
from examples.chat.server import Server
from gochan import Group

pytestmark = pytest.mark.once

Transport = Literal["websocket", "tcp"]


@asynccontextmanager
async def network(settings: dict[str, Any] | None = None, **faults: Any) -> AsyncGenerator[tuple[Server, Proxy], None]:
    """A server, and the way to it."""
    with anyio.fail_after(2 * BOUND):
        async with (
            running(**(settings or {})) as server,
            proxy("127.0.0.1", server.port, Faults(**faults), seed=1) as chaos,
        ):
            yield server, chaos


def client(port: int, user: str, transport: Transport = "websocket", heartbeat: float = 1000.0) -> Client:
    backoff = Backoff(first=0.01, limit=0.05, random=random.Random(1))
    return Client.connect(
        "127.0.0.1", port, user=user, transport=transport, heartbeat=heartbeat, backoff=backoff, timeout=BOUND
    )


class Ears:
    """What one client hears, until it has heard everything."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.gaps = 0
        self.returns = 0

    async def hear(self, chat: Client, until: Callable[[], bool]) -> None:
        while not until():
            match await chat.events.receive():
                case Message(body=body):
                    self.bodies.append(body)
                case Gap():
                    self.gaps += 1
                case Reconnected():
                    self.returns += 1
                case _:
                    pass


@pytest.mark.parametrize("transport", ["websocket", "tcp"])
async def test_a_storm_of_resets(transport: Transport) -> None:
    """Listeners and speakers are thrown out again and again: each say arrives once, all hear all, in one order."""
    each, storms = 60, 8
    async with network() as (server, chaos), client(server.port, "control") as control:
        ears = Ears(), Ears(), Ears()
        speakers_done = 0

        async def speak(chat: Client) -> None:
            nonlocal speakers_done
            for number in range(each):
                await chat.say("lobby", f"{chat.user} {number}")
            speakers_done += 1

        async def storm() -> None:
            for _ in range(storms):
                await anyio.sleep(0.05)
                chaos.reset()

        async with client(chaos.port, "ada", transport) as ada, client(chaos.port, "bob", transport) as bob:
            everybody = ada, bob, control
            for chat in everybody:
                await chat.join("lobby")
            async with Group() as group:
                for ear, chat in zip(ears, everybody, strict=True):
                    group.go(ear.hear, chat, lambda ear=ear: len(ear.bodies) >= 2 * each)
                group.go(storm)
                group.go(speak, ada)
                group.go(speak, bob)
        assert speakers_done == 2
    assert [ear.gaps for ear in ears] == [0, 0, 0]
    assert sorted(ears[2].bodies) == sorted(f"{user} {number}" for user in ("ada", "bob") for number in range(each))
    assert ears[0].bodies == ears[1].bodies == ears[2].bodies
    assert ears[2].returns == 0
    assert chaos.accepted > 3


async def test_a_silent_line_is_found_and_left() -> None:
    """A stall, with neither end nor reset: two heartbeats later the client has another way, and missed nothing."""
    async with network() as (server, chaos), client(server.port, "bob") as bob:
        async with client(chaos.port, "ada", "tcp", heartbeat=0.4) as ada:
            await ada.join("lobby")
            await bob.join("lobby")
            for connection in chaos.connections:
                connection._stall()
            before = anyio.current_time()
            await bob.say("lobby", "are you there?")
            seen: list[str] = []
            while "Message" not in seen:
                event = await ada.events.receive()
                seen.append(type(event).__name__)
                if isinstance(event, Reconnecting):
                    assert event.reason == "the server does not answer"
                    assert anyio.current_time() - before <= 10
            assert "Reconnecting" in seen
            assert "Gap" not in seen


async def test_a_slow_and_uneven_line_is_no_dead_one() -> None:
    """Delay, jitter and single bytes break no connection; the latency is what the line takes."""
    async with network(delay=0.06, jitter=0.04, slice=1) as (_, chaos):
        async with client(chaos.port, "ada", "tcp", heartbeat=2.0) as ada:
            await ada.join("lobby")
            for number in range(3):
                await ada.say("lobby", str(number))
            heard: list[str] = []
            while len(heard) < 3:
                event = await ada.events.receive()
                assert not isinstance(event, Reconnecting)
                if isinstance(event, Message):
                    heard.append(event.body)
            assert heard == ["0", "1", "2"]
            assert ada.latency is not None
            assert ada.latency >= 0.04
            assert chaos.accepted == 1
