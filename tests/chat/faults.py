"""Faults for the heart, each at every moment that there is: people who hang up, a writer or a hub that is cut off or
fails. What is promised holds: one order in a room, nothing acknowledged is lost, nothing is left of anybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal

from tests.chat.heart import Guest, Heart, beating, guests

from examples.chat import wire
from examples.chat.broker import MemoryEngine
from examples.chat.config import Settings
from examples.chat.drain import shutdown
from examples.chat.node import new_node
from examples.chat.supervisor import supervise
from examples.chat.transport import MemoryStream
from gochan import Event, Group
from gochan.diagnostics import no_leaks
from gochan.testing import CancelOutcome, SweepReport, cancel_sweep, wait_idle

Backend = Literal["asyncio", "trio"]
ROOMS = 5


async def crowd(people: int = 100, turns: int = 5) -> None:
    """People in five rooms; a tenth reads slowly, a seventh hangs up whenever it is the schedule's will."""
    async with no_leaks(), beating(outbox=32, write_timeout=1000, window=5000) as heart:
        everybody = [
            heart.connect(f"user{number}", capacity=2000 if number % 10 == 0 else 65536, slow=number % 10 == 0)
            for number in range(people)
        ]

        async def live(number: int, guest: Guest) -> None:
            await guest.say_hello()
            room = f"room{number % ROOMS}"
            if number % 10 == 0:
                await guest.send({"t": "join", "id": 1, "room": room})
                return
            if (await guest.join(room))["t"] == "joined":
                for turn in range(turns):
                    if (await guest.say(room, f"{number} {turn}"))["t"] == "end":
                        return

        async def hang_up(guest: Guest) -> None:
            guest.vanish()

        async with Group() as group:
            for number, guest in enumerate(everybody):
                group.go(live, number, guest)
            for guest in everybody[::7]:
                group.go(hang_up, guest)
        for guest in everybody[::10]:
            if guest not in everybody[::7]:
                heart.group.go(guest.read)
        await wait_idle()
        heart.check()
        await kept(heart, everybody)
        for number, guest in enumerate(everybody):
            if number % 7:
                page = await heart.node.broker.history(f"room{number % ROOMS}", None, 0)
                assert guest.last[f"room{number % ROOMS}"] == page.top.off, f"{guest.user} has not heard all"


async def kept(heart: Heart, everybody: list[Guest]) -> None:
    """What was acknowledged to anybody is in the history, once, and who heard it heard it in that order."""
    said: dict[str, list[str]] = {}
    for number in range(ROOMS):
        page = await heart.node.broker.history(f"room{number}", None, 100_000)
        said[f"room{number}"] = [body_of(event.payload) for event in page.events]
    for guest in everybody:
        for room, body in guest.acked:
            assert said[room].count(body) == 1, f"{body!r} of {guest.user}"
        for room, bodies in guest.bodies.items():
            heard = iter(said[room])
            assert all(body in heard for body in bodies), f"{guest.user} heard another order in {room}"


def body_of(payload: bytes) -> str:
    return str(wire.loads(payload)["body"])


# ---- a visit, and what may become of it ----


async def visit(ann: Guest) -> None:
    """A bit of everything that a client can do."""
    await ann.say_hello()
    await ann.join("a")
    await ann.say("a", "hi")
    await ann.ask({"t": "dm", "to": "bob", "body": "psst"})
    await ann.ask({"t": "who", "room": "a"})
    await ann.ask({"t": "leave", "room": "a"})
    await ann.join("a", limit=3)
    await ann.say("a", "again")
    await ann.send({"t": "bye"})


async def forgotten(heart: Heart, ann: Guest, bob: Guest) -> None:
    """Nothing is left of ann, bob has all that she was told is said, and goes on."""
    await wait_idle()
    heart.check()
    assert ann.ended
    assert [session.user for session in heart.node.registry.sessions.values()] == ["bob"]
    assert [client.user for client in heart.hub.rooms["a"].members] == ["bob"]
    assert (await bob.say("a", "still here"))["t"] == "ack"
    await wait_idle()
    for _, body in ann.acked:
        assert bob.bodies["a"].count(body) == 1


class Watched(MemoryStream):
    """A server's end of a pipe, whose client hangs up when it is used for the so manyeth time."""

    left = 0
    how: Callable[[], None]

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.how()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        self.step()
        return await super().receive(max_bytes)

    async def send(self, item: bytes) -> None:
        self.step()
        await super().send(item)

    def try_write(self, data: bytes) -> int:
        self.step()
        return super().try_write(data)


async def every_hang_up() -> int:
    """Ann hangs up at every use of her connection, politely and by a reset; how many there were."""
    count = 0
    for reset in (False, True):
        step = 1
        while await hang_up_at(step, reset=reset):
            step += 1
        count += step - 1
    return count


async def hang_up_at(step: int, *, reset: bool) -> bool:
    """Ann hangs up as the server reads or writes for the so manyeth time; whether it came to that."""
    async with no_leaks(), beating(outbox=8, write_timeout=1000) as heart:
        (bob,) = await guests(heart, "bob")
        ann = heart.connect("ann", serve=False)
        stream: Any = ann.server
        stream.__class__ = Watched
        stream.left = step

        def go_away() -> None:
            if reset:
                ann.stream.abort()
            ann.vanish()

        stream.how = go_away
        heart.group.go(heart.serve, ann)
        async with Group() as group:
            group.go(visit, ann)
        await forgotten(heart, ann, bob)
        return bool(stream.left <= 0)


STEPS = ("_obey", "_said", "_deliver", "_give", "_arrive", "_joined", "_depart", "_remove", "_tell_news", "_changed")


async def every_crash(stride: int = 1) -> int:
    """The hub fails at, and right after, every step of its work, or every so manyeth; how many there were."""
    count = 0
    for after in (False, True):
        step = 1
        while await crash_at(step, after):
            step += stride
            count += 1
    return count


async def crash_at(step: int, after: bool) -> bool:
    """The hub fails at, or right after, the so manyeth step of its work; whether it came to that."""
    async with no_leaks(), beating(outbox=8, write_timeout=1000) as heart:
        hub: Any = heart.hub
        left = [step]

        def failing(name: str) -> Callable[..., Any]:
            work = getattr(hub, name)

            def now() -> bool:
                left[0] -= 1
                return left[0] == 0

            async def waiting(*args: Any, **options: Any) -> Any:
                fails = now()
                if fails and not after:
                    raise ZeroDivisionError
                result = await work(*args, **options)
                if fails:
                    raise ZeroDivisionError
                return result

            def plain(*args: Any, **options: Any) -> Any:
                fails = now()
                if fails and not after:
                    raise ZeroDivisionError
                result = work(*args, **options)
                if fails:
                    raise ZeroDivisionError
                return result

            return waiting if name in ("_obey", "_said", "_deliver") else plain

        (bob,) = await guests(heart, "bob")
        for name in STEPS:
            setattr(hub, name, failing(name))
        ann = heart.connect("ann")
        async with Group() as group:
            group.go(visit, ann)
        await wait_idle()
        for name in STEPS:
            delattr(hub, name)
        await forgotten(heart, ann, bob)
        return left[0] <= 0


# ---- sweeps: cancelled at each of their waits ----


async def _two(**settings: Any) -> tuple[contextlib.AbstractAsyncContextManager[Heart], Heart, Guest, Guest]:
    context = beating(**settings)
    heart = await context.__aenter__()
    (bob,) = await guests(heart, "bob")
    return context, heart, bob, heart.connect("ann", serve=False)


def sweep_writer(backend: Backend) -> SweepReport:
    """A session's writer is cancelled wherever it waits, and its session with it."""

    async def setup() -> Any:
        context, heart, bob, ann = await _two(outbox=8, write_timeout=1000, fanout="queue")
        session: Any = ann.session
        write, begun, ended = session._write, Event(), Event()
        ends: list[Callable[[], None]] = []

        async def elsewhere(end_session: Callable[[], None]) -> None:
            ends.append(end_session)
            begun.set()
            await ended.wait()

        session._write = elsewhere
        heart.group.go(heart.serve, ann)
        heart.group.go(visit, ann)
        return context, heart, bob, ann, (write, begun, ended, ends)

    async def operation(state: Any) -> None:
        write, begun, ended, ends = state[4]
        try:
            await begun.wait()
            await write(lambda: None)
        finally:
            ended.set()
            if ends:
                ends[0]()
            else:
                state[3].session.close(shutdown())
                state[3].vanish()

    async def check(state: Any, _: CancelOutcome) -> None:
        context, heart, bob, ann, _parts = state
        try:
            await wait_idle()
            await forgotten(heart, ann, bob)
        finally:
            await context.__aexit__(None, None, None)

    return cancel_sweep(setup, operation, check, backend=backend)


def sweep_hub(backend: Backend) -> SweepReport:
    """The hub is cancelled wherever it waits: every session ends, and nobody waits for an answer."""

    async def setup() -> Any:
        node = new_node(Settings(outbox=8, write_timeout=1000), MemoryEngine().broker("here"))
        parts, group = Group(), Group()
        await parts.__aenter__()
        await group.__aenter__()
        heart = Heart(node, group)
        for part in (node.hub.subscriptions.run, node.hub.repairs.run, node.hub.elsewhere.run):
            parts.go(part)
        people = [heart.connect(name) for name in ("ann", "bob")]
        visits = [group.go(visit, guest) for guest in people]
        return parts, group, heart, people, visits

    async def operation(state: Any) -> None:
        _, _, heart, _, visits = state
        async with Group() as group:
            group.go(stop_after, heart, visits)
            await supervise(heart.hub)

    async def stop_after(heart: Heart, visits: Any) -> None:
        for one in visits:
            await one.result()
        await wait_idle()
        heart.hub.stop.set()

    async def check(state: Any, _: CancelOutcome) -> None:
        parts, group, heart, people, _visits = state
        for session in heart.sessions:
            session.drain(shutdown())
        await group.__aexit__(None, None, None)
        assert all(guest.ended for guest in people)
        assert not heart.node.registry.sessions
        parts.cancel()
        await parts.__aexit__(None, None, None)

    return cancel_sweep(setup, operation, check, backend=backend)
