"""A chat of one room on ``websockets.broadcast``, as a yardstick: ``python -m tests.chat.table.broadcasting``.

What anybody says goes to everybody. Prints the port on which it listens; ``--uvloop`` is its only option.
"""

from __future__ import annotations

import sys

import anyio
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

everybody: set[ServerConnection] = set()


async def talk(client: ServerConnection) -> None:
    everybody.add(client)
    try:
        async for message in client:
            broadcast(everybody, message)
    except ConnectionClosed:
        pass
    finally:
        everybody.discard(client)


async def main() -> None:
    # Its best: no compression, which would be done anew for each client, and no pings.
    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=1024) as server:
        (listening, *_) = server.sockets
        print(f"port {listening.getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": "--uvloop" in sys.argv})
