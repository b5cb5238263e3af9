"""The heart under every schedule that can be tried, and with its sessions cut off wherever they wait."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from tests.chat.faults import kept
from tests.chat.heart import Guest, Heart, beating, guests

from gochan import Group
from gochan.testing import CancelOutcome, cancel_sweep, explore, wait_idle

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def busy_room() -> None:
    """A dozen people, in two rooms, talk, come back, read slowly and vanish; then all is held against the promises."""
    async with beating(outbox=8, write_timeout=1000, window=500) as heart:
        ann, bob = await guests(heart, "ann", "bob")
        await ann.join("b")
        slow = heart.connect("slow", capacity=600, slow=True)
        await slow.say_hello()
        await slow.send({"t": "join", "id": 1, "room": "a"}, {"t": "join", "id": 2, "room": "b"})
        said: list[str] = []

        async def talk(guest: Guest, room: str) -> None:
            for number in range(6):
                body = f"{guest.user} {number}"
                if (await guest.say(room, body))["t"] == "ack" and room == "a":
                    said.append(body)

        async def come_and_go() -> None:
            for _ in range(2):
                guest = heart.connect("guest")
                await guest.say_hello()
                await guest.join("a", limit=3)
                await guest.say("a", "hello")
                guest.vanish()

        async def come_back() -> None:
            before = await ann.say("a", "mark")
            guest = heart.connect("back")
            await guest.say_hello()
            guest.last["a"] = before["off"]
            joined = await guest.join("a", since={"off": before["off"], "ep": before["ep"]})
            assert joined["rec"] is True
            await talk(guest, "a")

        async with Group() as group:
            group.go(talk, ann, "a")
            group.go(talk, ann, "b")
            group.go(talk, bob, "a")
            group.go(come_and_go)
            group.go(come_back)
            heart.group.go(slow.read)
        await wait_idle()
        assert ann.bodies["a"] == bob.bodies["a"]
        assert sorted(body for body in bob.bodies["a"] if body in said) == sorted(said), (
            "an acknowledged one is missing"
        )
        if "a" in slow.bodies:
            assert slow.bodies["a"] == bob.bodies["a"][len(bob.bodies["a"]) - len(slow.bodies["a"]) :]


@BACKENDS
@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_every_schedule(backend: Any, strategy: Any) -> None:
    """Under whatever schedule: one order, nothing acknowledged is lost, no gap, no goroutine is left."""
    explore(busy_room, backend=backend, runs=15, strategy=strategy)


@pytest.mark.slow
@BACKENDS
def test_many_schedules(backend: Any) -> None:
    """The same, for longer."""
    explore(busy_room, backend=backend, runs=600, seed=1)


@pytest.mark.gochan(virtual_time=True)
async def test_a_hundred() -> None:
    """100 people, of whom every tenth reads slowly and every seventh vanishes: the rest hear all, in order, and what
    was acknowledged to anybody is kept."""
    async with beating(outbox=32, write_timeout=1000, window=5000) as heart:
        people = [
            heart.connect(f"user{number}", capacity=2000 if number % 10 == 0 else 65536, slow=number % 10 == 0)
            for number in range(100)
        ]

        async def live(number: int, guest: Guest) -> None:
            await guest.say_hello()
            room = f"room{number % 5}"
            if number % 10 == 0:
                await guest.send({"t": "join", "id": 1, "room": room})
                return
            await guest.join(room)
            for turn in range(5):
                if number % 7 == 0 and turn == 3:
                    guest.vanish()
                    return
                await guest.say(room, f"{number} {turn}")

        async with Group() as group:
            for number, guest in enumerate(people):
                group.go(live, number, guest)
        for guest in people[::10]:
            heart.group.go(guest.read)
        await wait_idle()
        for number, guest in enumerate(people):
            if number % 7 or number % 10 == 0:
                page = await heart.node.broker.history(f"room{number % 5}", None, 10_000)
                assert guest.last[f"room{number % 5}"] == page.top.off
        await kept(heart, people)
        heart.check()


# ---- every point of a cancellation ----


@BACKENDS
def test_disconnect_anywhere(backend: Any) -> None:
    """A session that is cancelled wherever it waits is forgotten by the hub and the registry, and the others go on."""

    async def setup() -> tuple[Heart, AbstractAsyncContextManager[Heart], Guest, Guest]:
        context = beating(outbox=8, write_timeout=1000)
        heart = await context.__aenter__()
        (bob,) = await guests(heart, "bob")
        ann = heart.connect("ann", serve=False)

        async def visit() -> None:
            await ann.say_hello()
            await ann.join("a")
            await ann.say("a", "hi")
            await ann.ask({"t": "dm", "to": "bob", "body": "psst"})
            await ann.ask({"t": "leave", "room": "a"})
            await ann.join("a")
            await ann.send({"t": "bye"})

        heart.group.go(visit)
        return heart, context, bob, ann

    async def operation(state: tuple[Heart, AbstractAsyncContextManager[Heart], Guest, Guest]) -> None:
        await state[0].serve(state[3])

    async def check(
        state: tuple[Heart, AbstractAsyncContextManager[Heart], Guest, Guest], outcome: CancelOutcome
    ) -> None:
        heart, context, bob, ann = state
        try:
            await look(heart, bob, ann)
        finally:
            await context.__aexit__(None, None, None)

    async def look(heart: Heart, bob: Guest, ann: Guest) -> None:
        heart.check()
        assert [session.user for session in heart.node.registry.sessions.values()] == ["bob"]
        assert [client.user for client in heart.hub.rooms["a"].members] == ["bob"]
        assert (await bob.say("a", "still here"))["t"] == "ack"
        await wait_idle()
        assert ann.ended
        for _, body in ann.acked:
            assert body in bob.bodies["a"]

    cancel_sweep(setup, operation, check, backend=backend)
