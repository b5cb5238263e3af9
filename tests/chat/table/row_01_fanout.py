"""Row 1: everybody in a room hears everything that is said there, once, in the order of the offsets.

Shape
    Members of every transport and format, in turn; each is in all rooms but one. Ten of them speak, each in all of its
    rooms, with a few messages under way. Every member says goodbye once it has heard as much as there is, and reads on
    to the end: so a message too many is seen, too.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
from tests.chat.pb_talkers import PB_TALKERS
from tests.chat.table.row import Check, Row, Size, exactly, told
from tests.chat.talkers import TALKERS, Connect, Ended, Talker, running

from examples.chat import wire
from examples.chat.server import Server
from gochan import Group, Mutex, Semaphore

ROOMS = [f"room-{number}" for number in range(5)]
SENDERS = 10
WINDOW = 32
KINDS: list[Connect] = [*TALKERS.values(), *PB_TALKERS.values()]


class Member:
    """One client, and what it was told."""

    def __init__(self, number: int, talker: Talker) -> None:
        self.name = f"member {number}"
        self.rooms = [room for other, room in enumerate(ROOMS) if (number + other) % len(ROOMS)]
        self.heard: dict[str, list[tuple[int, Any]]] = {room: [] for room in self.rooms}
        self.acks: dict[Any, tuple[str, int]] = {}
        self.strange: list[Any] = []
        self.talker = talker
        self._under_way = Semaphore(WINDOW)
        self._writing = Mutex()

    async def enter(self) -> None:
        await self.talker.hello(self.name)
        for number, room in enumerate(self.rooms):
            await self.talker.send({"t": "join", "id": number, "room": room})
            await self.talker.find("joined", id=number)

    async def speak(self, count: int) -> None:
        for number in range(count):
            await self._under_way.acquire()
            id_ = f"{self.name}: {number}"
            room = self.rooms[number % len(self.rooms)]
            async with self._writing:
                await self.talker.send({"t": "say", "id": id_, "room": room, "body": id_})

    async def listen(self, count: int, acks: int) -> None:
        """Until the end of the connection, which is asked for when so much was heard."""
        said_goodbye = False
        with contextlib.suppress(Ended):
            while True:
                if not said_goodbye and len(self.acks) == acks and sum(map(len, self.heard.values())) >= count:
                    said_goodbye = True
                    async with self._writing:  # the last say may be answered before its ``send`` has returned
                        await self.talker.send({"t": "bye"})
                self._take(await self.talker.receive())

    def _take(self, message: Any) -> None:
        match message["t"]:
            case "msg" if message["room"] in self.heard and message["id"] == message["body"]:
                self.heard[message["room"]].append((message["off"], message["id"]))
            case "ack":
                self.acks[message["id"]] = message["room"], message["off"]
                self._under_way.release()
            case "pres" | "goaway":
                pass
            case _:
                self.strange.append(message)


async def run(size: Size) -> Sequence[Check]:
    count, messages = size.pick((16, 200), (50, 10_000))
    async with running(bound=size.pick(40, 120), history=messages) as server, contextlib.AsyncExitStack() as stack:
        members = [
            Member(number, await stack.enter_async_context(KINDS[number % len(KINDS)](server)))
            for number in range(count)
        ]
        for member in members:
            await member.enter()
        senders = members[:SENDERS]
        each = messages // SENDERS
        said = Counter(member.rooms[number % len(member.rooms)] for member in senders for number in range(each))
        began = time.perf_counter()
        with anyio.fail_after(size.pick(20, 110)):
            async with Group() as group:
                for member in members:
                    acks = each if member in senders else 0
                    group.go(member.listen, sum(said[room] for room in member.rooms), acks)
                for member in senders:
                    group.go(member.speak, each)
        seconds = time.perf_counter() - began
        kept = {room: await history(server, room) for room in ROOMS}
    rate = f"{deliveries(members) / seconds:,.0f}"
    return [*judge(members, said, kept), told("deliveries a second, clients included", rate)]


async def history(server: Server, room: str) -> list[tuple[int, Any]]:
    page = await server.node.broker.history(room, None, 1_000_000)
    return [(event.pos.off, wire.loads(event.payload)["id"]) for event in page.events]


def deliveries(members: Sequence[Member]) -> int:
    return sum(len(heard) for member in members for heard in member.heard.values())


def judge(members: Sequence[Member], said: Counter[str], kept: dict[str, list[tuple[int, Any]]]) -> list[Check]:
    differ = sum(heard != kept[room] for member in members for room, heard in member.heard.items())
    elsewhere = sum(
        (off, id_) not in kept[room][off - 1 : off] for member in members for id_, (room, off) in member.acks.items()
    )
    numbers = sum([off for off, _ in kept[room]] != list(range(1, said[room] + 1)) for room in ROOMS)
    return [
        exactly("messages acknowledged", sum(len(member.acks) for member in members), sum(said.values())),
        exactly("rooms whose offsets have a hole", numbers, 0),
        exactly("acks that name another place", elsewhere, 0),
        exactly("deliveries", deliveries(members), sum(said[room] for member in members for room in member.rooms)),
        exactly("members' rooms that differ from the history", differ, 0),
        exactly("messages nobody should have got", sum(len(member.strange) for member in members), 0),
    ]


ROW = Row("1", "fan-out correctness", run)
