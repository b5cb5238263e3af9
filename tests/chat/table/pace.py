"""People who talk at a steady pace, and how long what they say takes to be heard."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from itertools import count
from typing import Any

import anyio
from tests.chat.talkers import TALKERS, Talker

from gochan import Group


class Pace:
    """What was heard: seconds from the moment in which something was to be said."""

    def __init__(self) -> None:
        self.said = 0
        self.heard: list[float] = []

    def take(self) -> Sequence[float]:
        """What was heard since this was last asked."""
        heard, self.heard = self.heard, []
        return heard


@contextlib.asynccontextmanager
async def talking(server: Any, people: int, rate: float, room: str = "pace") -> AsyncGenerator[Pace, None]:
    """So many people in a room, who each say so many things a second, in turn.

    Args:
        server: anything with a ``port``.
    """
    pace = Pace()
    kinds = list(TALKERS.values())
    async with contextlib.AsyncExitStack() as stack, Group() as group:
        talkers = [await stack.enter_async_context(kinds[number % len(kinds)](server)) for number in range(people)]
        for number, talker in enumerate(talkers):
            await talker.hello(f"pace {number}")
            await talker.send({"t": "join", "id": 0, "room": room})
            await talker.find("joined", id=0)
        for talker in talkers:
            group.go(_listen, talker, pace)
        group.go(_speak, talkers, pace, rate, room)
        yield pace
        group.cancel()


async def _listen(talker: Talker, pace: Pace) -> None:
    while True:
        message = await talker.receive()
        if message["t"] == "msg":
            pace.heard.append(anyio.current_time() - float(message["body"]))
        elif message["t"] == "ping":
            await talker.send({"t": "pong", "n": message["n"]})


async def _speak(talkers: Sequence[Talker], pace: Pace, rate: float, room: str) -> None:
    began = anyio.current_time()
    for number in count():
        due = began + number / (rate * len(talkers))
        await anyio.sleep_until(due)
        # The time at which it was due, not at which it is sent: who is held up must not look quick.
        say = {"t": "say", "id": number + 1, "room": room, "body": repr(due)}
        await talkers[number % len(talkers)].send(say)
        pace.said += 1
