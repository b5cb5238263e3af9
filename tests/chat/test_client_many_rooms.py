"""A client in many rooms comes back to all of them, however few commands a second the server takes."""

from __future__ import annotations

import anyio
import pytest
from tests.chat.heart import Heart, beating

from examples.chat.client import Client, Joined, Reconnecting
from examples.chat.limits import Limits, Rate
from examples.chat.session import Session
from examples.chat.transport import Lines, MemoryPipe
from examples.chat.transport.memory import MemoryStream
from examples.chat.wire import Close, Goodbye

virtual = pytest.mark.gochan(virtual_time=True)


class Door:
    """Where the client connects to, and how it is cut off."""

    def __init__(self, heart: Heart) -> None:
        self.heart = heart
        self.calls = 0
        self.last: MemoryStream | None = None

    async def dial(self) -> MemoryStream:
        self.calls += 1
        pipe = MemoryPipe()
        session = Session(pipe.server, Lines(pipe.server, b"", 65536), self.heart.node)
        self.heart.sessions.append(session)

        async def serve() -> None:
            try:
                await session.run(anyio.current_time() + 10)
            finally:
                pipe.server.close()

        self.heart.group.go(serve)
        self.last = pipe.server
        return pipe.client


@virtual
async def test_it_comes_back_to_all_of_them() -> None:
    """Where the server takes 20 commands a second, 100 rooms take a few seconds, on one connection, and it stays."""
    async with beating() as heart:
        door = Door(heart)
        async with Client.connect("memory", 1, user="ada", transport="tcp", dial=door.dial) as ada:
            for number in range(100):
                await ada.join(f"room{number}")
            heart.node.limits = Limits(connection=Rate(20, 40), user=Rate(40, 80))
            assert door.last is not None
            door.last.abort()
            heart.sessions[-1].drop(Goodbye(Close.CLOSED, "cut"))
            back: set[str] = set()
            lost = 0
            with anyio.move_on_after(30):
                async for event in ada.events:
                    if isinstance(event, Reconnecting):
                        lost += 1
                        back.clear()
                    elif isinstance(event, Joined):
                        back.add(event.room)
                    if len(back) == 100:
                        break
            assert (len(back), lost, door.calls) == (100, 1, 2)
