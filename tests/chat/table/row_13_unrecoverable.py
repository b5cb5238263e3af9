"""Row 13: who was away for longer than the history reaches back is told so, gets no part of it, and goes on live.

Shape
    Real clients behind the proxy, which breaks their lines and refuses new ones until more was said than is kept; and
    the same by hand, with positions of each kind that cannot be recovered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.chat.table.row import Check, Row, Size, exactly
from tests.chat.talkers import TALKERS, running, tcp, until
from tests.chat.test_client_chaos import client

from examples.chaos_proxy import proxy
from examples.chat.client import Client, Gap, Joined, Message
from examples.chat.server import Server
from gochan import Event, Group


class Away:
    """A client that loses its line, and what it is told after that."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.gaps = list[Gap]()
        self.recovered = list[bool | None]()
        self.bodies = list[str]()

    async def live(self, port: int, joined: Event, number: int, last: str) -> None:
        """Until it has heard the last message."""
        async with client(port, self.user, "websocket" if number % 2 else "tcp") as chat:
            await chat.join("lobby")
            joined.set()
            while last not in self.bodies:
                match await chat.events.receive():
                    case Message(body=body):
                        self.bodies.append(body)
                    case Gap() as gap:
                        self.gaps.append(gap)
                    case Joined(recovered=recovered):
                        self.recovered.append(recovered)
                    case _:
                        pass


async def run(size: Size) -> Sequence[Check]:
    window = size.pick(20, 1000)
    missed = window + size.pick(10, 500)
    count = size.pick(4, 50)
    async with (
        running(bound=size.pick(40.0, 100.0), history=window) as server,
        proxy("127.0.0.1", server.port) as chaos,
        client(server.port, "speaker") as speaker,
        Group() as group,
    ):
        await speaker.join("lobby")
        group.go(_drain, speaker)
        aways = [Away(f"away {number}") for number in range(count)]
        for number, away in enumerate(aways):
            joined = Event()
            group.go(away.live, chaos.port, joined, number, "end")
            await joined.wait()
        await speaker.say("lobby", "before")
        await until(lambda: all(away.bodies for away in aways))
        chaos.change(refuse=True)
        chaos.reset()
        await until(lambda: len(server.sessions) == 1)
        for number in range(missed):
            await speaker.say("lobby", f"missed {number}")
        chaos.change(refuse=False)
        await until(lambda: all(away.recovered for away in aways))
        for number in range(5):
            await speaker.say("lobby", f"live {number}")
        await speaker.say("lobby", "end")
        await until(lambda: all("end" in away.bodies for away in aways))
        by_hand = [await _ask(server, name, missed) for name in TALKERS]
        group.cancel()
    live = [f"live {number}" for number in range(5)]
    return [
        exactly("clients that were told rec: false", sum(away.recovered == [False] for away in aways), count),
        exactly("clients that were told of one gap", sum(len(away.gaps) == 1 for away in aways), count),
        exactly("clients that went on live, with no part", _alike(aways, ["before", *live, "end"]), count),
        exactly("positions recovered though they cannot be", sum(answer["wrong"] for answer in by_hand), 0),
        exactly("positions recovered that can be", sum(answer["right"] for answer in by_hand), 2 * len(by_hand)),
    ]


def _alike(aways: Sequence[Away], bodies: list[str]) -> int:
    return sum(away.bodies == bodies for away in aways)


async def _drain(chat: Client) -> None:
    async for _ in chat.events:
        pass


async def _ask(server: Server, kind: str, missed: int) -> Counter[str]:
    """Positions of every kind, by hand: how many were recovered that must not be, and of those that must."""
    found = Counter[str]()
    async with tcp(server) as asker, TALKERS[kind](server) as talker:
        top: Any = await asker.join("asker")
        off, ep = top["off"], top["ep"]
        await talker.hello("by hand")
        positions: list[tuple[str, int, str]] = [
            ("wrong", 0, ep),
            ("wrong", off - missed - 1, ep),
            ("wrong", off + 1, ep),
            ("wrong", off, "another life"),
            ("right", off, ep),
            ("right", off - 6, ep),
        ]
        for number, (kind, since, epoch) in enumerate(positions):
            await talker.send(
                {"t": "join", "id": f"j{number}", "room": "lobby", "since": {"off": since, "ep": epoch}},
                {"t": "leave", "id": f"l{number}", "room": "lobby"},
            )
            joined = await talker.find("joined", id=f"j{number}")
            await talker.find("ack", id=f"l{number}")
            complete = joined["rec"] and [message["off"] for message in joined["msgs"]] == [*range(since + 1, off + 1)]
            if kind == "right":
                found[kind] += bool(complete)
            else:
                found[kind] += bool(joined["rec"] or joined["msgs"])
    return found


ROW = Row("13", "unrecoverable position", run)
