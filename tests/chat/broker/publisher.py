"""A process that publishes to a file until it is killed: ``python -m tests.chat.broker.publisher FILE BACKEND``.

It writes a line for each publication that was acknowledged, after that: its number, its offset and its epoch.
"""

from __future__ import annotations

import sys
from typing import Literal, cast

import gochan
from examples.chat.broker import Broker, Window
from examples.chat.broker.sqlite import SqliteEngine

PUBLISHERS = 8


async def publish(broker: Broker, publisher: int) -> None:
    number = publisher
    while True:
        published = await broker.publish("lobby", b"%d" % number, key=str(number))
        print(number, published.pos.off, published.pos.ep, flush=True)
        number += PUBLISHERS


async def main(path: str) -> None:
    async with SqliteEngine(path, Window(messages=10_000_000)) as engine, gochan.Group() as group:
        broker = engine.broker("node")
        for publisher in range(PUBLISHERS):
            group.go(publish, broker, publisher)


if __name__ == "__main__":
    gochan.run(main, sys.argv[1], backend=cast(Literal["asyncio", "trio"], sys.argv[2]))
