"""Row 19: one id of one user, said at once over several connections and nodes, is said once, and acknowledged to all.

Shape
    Two nodes over one engine. ``ann`` has four connections, one of each kind, two at each node; each says all ids, in
    an order of its own, a few at a time. ``bob`` uses the same ids: those are his. At each node somebody listens.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import anyio
from tests.chat.pb_talkers import tcp_pb, ws_pb
from tests.chat.table.row import Check, Row, Size, at_least, exactly
from tests.chat.talkers import Talker, running, tcp, ws

from examples.chat import wire
from examples.chat.broker import MemoryEngine, Window
from examples.chat.config import Settings
from examples.chat.node import assemble
from examples.chat.server import Server
from gochan import Group

BATCH = 8


class Speaker:
    """A connection that says every id, and keeps what it was told of each."""

    def __init__(self, user: str, node: str, talker: Talker) -> None:
        self.user = user
        self.node = node
        self.acks: dict[int, Any] = {}
        self._talker = talker

    async def speak(self, ids: list[int], chance: random.Random) -> None:
        ids = chance.sample(ids, len(ids))
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            await self._talker.send(
                *({"t": "say", "id": id_, "room": "lobby", "body": f"{self.user} {id_}"} for id_ in batch)
            )
            while len(self.acks) < start + len(batch):
                ack = await self._talker.find("ack", room="lobby")
                self.acks[ack["id"]] = ack


async def listen(talker: Talker, count: int) -> list[tuple[int, str]]:
    """What is heard: so much, and what had come on the way when an answer to the question after it is there."""
    heard: list[tuple[int, str]] = []
    while True:
        message = await talker.receive()
        if message["t"] == "msg":
            heard.append((message["off"], message["body"]))
            if len(heard) == count:
                await talker.send({"t": "who", "id": "end", "room": "lobby"})
        elif message["t"] == "members":
            return heard


async def run(size: Size) -> Sequence[Check]:
    ids = list(range(size.pick(60, 3000)))
    chance = random.Random(19)
    engine = MemoryEngine(Window(2 * len(ids)))
    async with contextlib.AsyncExitStack() as stack:

        async def node(name: str) -> Server:
            def make(settings: Settings) -> Server:
                return Server(settings, assemble(settings, engine.broker(name)))

            return await stack.enter_async_context(running(make, 120, outbox=100_000))

        one, two = await node("one"), await node("two")
        speakers: list[Speaker] = []
        for user, server, connect in (
            ("ann", one, tcp), ("ann", one, ws_pb), ("ann", two, tcp_pb), ("ann", two, ws), ("bob", one, tcp),
        ):  # fmt: skip
            talker = await stack.enter_async_context(connect(server))
            await talker.join(user)
            speakers.append(Speaker(user, server.node.broker.node, talker))
        listeners = [await stack.enter_async_context(tcp(server)) for server in (one, two)]
        for listener in listeners:
            await listener.join("eve")
        with anyio.fail_after(size.pick(20, 110)):
            async with Group() as group:
                hearing = [group.go(listen, listener, 2 * len(ids)) for listener in listeners]
                for speaker in speakers:
                    group.go(speaker.speak, ids, chance)
                heard = [await each.result() for each in hearing]
        page = await one.node.broker.history("lobby", None, 1_000_000)
        kept = {event.pos.off: wire.loads(event.payload)["body"] for event in page.events}
        top = page.top.off
    return judge(ids, speakers, heard, kept, top)


def judge(
    ids: Sequence[int], speakers: Sequence[Speaker], heard: list[list[tuple[int, str]]], kept: dict[int, str], top: int
) -> list[Check]:
    firsts: Counter[str] = Counter()
    broken = 0
    for user in ("ann", "bob"):
        acks: defaultdict[int, list[tuple[Speaker, Any]]] = defaultdict(list)
        for speaker in speakers:
            if speaker.user == user:
                for id_, ack in speaker.acks.items():
                    acks[id_].append((speaker, ack))
        for id_ in ids:
            first = [speaker for speaker, ack in acks[id_] if not ack.get("dup")]
            places = {(ack["off"], ack["ep"]) for _, ack in acks[id_]}
            if len(first) != 1 or len(places) != 1:
                broken += 1
                continue
            firsts[f"{user} {first[0].node}"] += 1
            broken += kept.get(next(iter(places))[0]) != f"{user} {id_}"
    repeated = sum(len(each) - len(set(each)) for each in heard)
    orders = sum([off for off, _ in each] != list(range(1, top + 1)) for each in heard)
    return [
        exactly("acknowledgements", sum(len(speaker.acks) for speaker in speakers), 5 * len(ids)),
        exactly("publications of the two users' ids", top, 2 * len(ids)),
        exactly("ids not said once, at one place, dup but once", broken, 0),
        exactly("messages heard twice", repeated, 0),
        exactly("nodes that heard another order, or not all", orders + (heard[0] != heard[1]), 0),
        at_least("ids that each node was first with (a race)", min(firsts["ann one"], firsts["ann two"]), 1),
    ]


ROW = Row("19", "idempotency races", run)
