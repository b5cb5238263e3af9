"""Row 20: whoever comes, goes, is cut off or fails at whatever moment, nothing is left, and nothing is lost.

Shape
    churn      clients of every kind against a server on sockets: they join and leave in one breath, hang up or vanish
               in the middle of a join, are cancelled wherever they are; afterwards the server is as empty as before
    faults     (at full size) the heart in virtual time: a hundred people under explored schedules, and sweeps over
               every moment of a connection, a writer and the hub
"""

from __future__ import annotations

import contextvars
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio
from tests.chat import faults
from tests.chat.pb_talkers import PB_TALKERS
from tests.chat.table.row import Check, Row, Size, at_least, exactly, told
from tests.chat.talkers import BOUND, TALKERS, Ended, Talker, running, tcp, until

from examples.chat.server import Server
from gochan import Group
from gochan.diagnostics import goroutines, no_leaks
from gochan.testing import explore
from gochan.testing import run as in_virtual_time

T = TypeVar("T")
KINDS: list[Any] = [*TALKERS.values(), *PB_TALKERS.values()]
ROOMS = [f"room-{number}" for number in range(4)]


class Churn:
    """Visitors, and what they have seen."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self.server = server
        self.chance = chance
        self.visits = 0
        self.answers = 0
        self.wrong: list[str] = []

    async def visit(self, number: int) -> None:
        chance = self.chance
        with anyio.move_on_after(chance.choice((0.0, 0.001, 0.01, 0.05, BOUND))):
            async with chance.choice(KINDS)(self.server) as talker:
                self.visits += 1
                await talker.send({"t": "hello", "v": 1, "user": f"visitor {number % 7}"})
                try:
                    await chance.choice((self.hang_up, self.come_and_go, self.come_and_go, self.stay))(talker)
                except (Ended, anyio.BrokenResourceError) as error:
                    self.wrong.append(repr(error))

    async def hang_up(self, talker: Talker) -> None:
        """In the middle of a join, or of what follows it."""
        await talker.send(*({"t": "join", "id": n, "room": room, "limit": 9} for n, room in enumerate(ROOMS)))
        if self.chance.random() < 0.5:
            await talker.find("joined")
        if self.chance.random() < 0.5:
            talker.reset()

    async def come_and_go(self, talker: Talker) -> None:
        """Everything in one breath: each command is obeyed after the one before it, so none is refused."""
        commands: list[dict[str, Any]] = []
        for n in range(self.chance.randint(1, 8)):
            room = self.chance.choice(ROOMS)
            for kind, fields in (("join", {}), ("say", {"body": "hi"}), ("leave", {})):
                commands.append({"t": kind, "id": f"{self.visits} {n} {kind}", "room": room, **fields})
        await talker.send(*commands)
        left = {command["id"] for command in commands}
        while left:
            message = await talker.receive()
            if message["t"] == "err":
                self.wrong.append(str(message))
            if message["t"] in ("joined", "ack", "err"):
                left.discard(message["id"])
                self.answers += 1

    async def stay(self, talker: Talker) -> None:
        """And leave in an orderly way."""
        await talker.send({"t": "join", "id": 1, "room": ROOMS[0]}, {"t": "bye"})
        await talker.find("joined")
        if (code := await talker.end()) != 1000:
            self.wrong.append(f"bye ended with {code}")


async def churn(size: Size) -> list[Check]:
    workers, each = size.pick((8, 8), (60, 60))
    async with no_leaks(), running(bound=120, accept_rate=1e6, accept_burst=10**6, per_user=10**6) as server:
        await until(lambda: server.ready)
        async with tcp(server) as first:  # whatever starts with the first of all
            await first.join("first")
        await until(lambda: not server.sessions)
        await anyio.sleep(0.1)
        before = len(goroutines())
        it = Churn(server, random.Random(20))
        async with tcp(server) as control:
            await control.join("control")
            async with Group() as group:
                for worker in range(workers):
                    group.go(several, it, worker, each)
            await until(lambda: len(server.sessions) == 1)
            await control.send({"t": "who", "id": "end", "room": "lobby"})
            members = (await control.find("members", id="end"))["members"]
        await until(lambda: not server.sessions)
        with anyio.move_on_after(5):  # presence is told to the broker by goroutines of the moment
            while len(goroutines()) > before:
                await anyio.sleep(0.01)
        left = len(server.hub.rooms), len(server.node.registry.sessions), max(len(goroutines()) - before, 0)
        server.hub._check()
        restarts = server.hub.restarts
    return [
        told("visits, and answers to who joined and left in one breath", f"{it.visits:,}, {it.answers:,}"),
        exactly("wrong answers", it.wrong[:3], []),
        exactly("members of a room at the end, besides the control", members, ["control"]),
        exactly("rooms, sessions and goroutines that are left", left, (0, 0, 0)),
        exactly("failures of the hub", restarts, 0),
    ]


async def several(it: Churn, worker: int, each: int) -> None:
    for number in range(each):
        await it.visit(worker * each + number)


async def apart(work: Callable[[], T]) -> T:
    """Run what has a loop of its own."""
    return await anyio.to_thread.run_sync(partial(contextvars.Context().run, work))


async def swept(size: Size) -> list[Check]:
    backend: faults.Backend = "trio" if size.loop == "trio" else "asyncio"
    log = logging.getLogger("examples.chat")
    log.disabled = True  # the failures are meant
    logging.disable(logging.CRITICAL)
    try:
        report = await apart(lambda: explore(faults.crowd, 100, 3, backend=backend, runs=4))
        hang_ups = await apart(lambda: in_virtual_time(faults.every_hang_up, backend=backend))
        crashes = await apart(lambda: in_virtual_time(faults.every_crash, backend=backend))
        writer = await apart(lambda: faults.sweep_writer(backend))
        hub = await apart(lambda: faults.sweep_hub(backend))
    finally:
        logging.disable(logging.NOTSET)
        log.disabled = False
    return [
        at_least("schedules of a hundred people, all well", report.runs, 4),
        at_least("moments at which a client hung up", hang_ups, 30),
        at_least("moments at which the hub failed", crashes, 50),
        at_least("moments at which a writer was cancelled", writer.points, 20),
        at_least("moments at which the hub was cancelled", hub.points, 50),
    ]


async def run(size: Size) -> Sequence[Check]:
    with anyio.fail_after(size.pick(BOUND * 2, BOUND * 6)):
        checks = await churn(size)
    return checks + (await swept(size) if size.full else [])


ROW = Row("20", "join, leave and cancel races", run)
