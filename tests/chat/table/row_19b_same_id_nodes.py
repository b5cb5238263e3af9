"""Row 19b: as row 19, with two servers over a real engine: in processes of their own in the full size."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from tests.chat.broker import engine
from tests.chat.pb_talkers import tcp_pb, ws_pb
from tests.chat.table.cluster import bounded, history, inside, nodes, observing
from tests.chat.table.row import Check, Row, Size
from tests.chat.table.row_19_same_id import Speaker, judge, listen
from tests.chat.talkers import tcp, ws

from examples.chat import wire
from gochan import Group


@contextlib.asynccontextmanager
async def servers(size: Size, url: str) -> AsyncGenerator[Sequence[Any], None]:
    """Two of them; anything with a ``port``."""
    if size.full:
        async with nodes(size, url, "one", "two", flags=("--outbox", "100000")) as places:
            yield places
    else:
        async with inside(url, "one", outbox=100_000) as one, inside(url, "two", outbox=100_000) as two:
            yield one, two


async def run(size: Size) -> Sequence[Check]:
    ids = list(range(size.pick(60, 3000)))
    chance = random.Random(19)
    with engine.running() as valkey:
        async with (
            bounded(valkey, size.pick(30, 115)),
            observing(valkey.url) as observer,
            servers(size, valkey.url) as (one, two),
            contextlib.AsyncExitStack() as stack,
        ):
            speakers: list[Speaker] = []
            for user, name, server, connect in (
                ("ann", "one", one, tcp), ("ann", "one", one, ws_pb), ("ann", "two", two, tcp_pb),
                ("ann", "two", two, ws), ("bob", "one", one, tcp),
            ):  # fmt: skip
                talker = await stack.enter_async_context(connect(server))
                await talker.join(user)
                speakers.append(Speaker(user, name, talker))
            listeners = [await stack.enter_async_context(tcp(server)) for server in (one, two)]
            for listener in listeners:
                await listener.join("eve")
            async with Group() as group:
                hearing = [group.go(listen, listener, 2 * len(ids)) for listener in listeners]
                for speaker in speakers:
                    group.go(speaker.speak, ids, chance)
                heard = [await each.result() for each in hearing]
            (events,) = (await history(observer, ["lobby"])).values()
    kept = {event.pos.off: wire.loads(event.payload)["body"] for event in events}
    return judge(ids, speakers, heard, kept, events[-1].pos.off)


ROW = Row("19b", "idempotency over an engine", run)
