"""A room of a chat server, in one process: members post to a hub, the hub gives every message to every member.

Each member has one message under way: it posts, waits until the message has come back to itself, and posts the next.
Synchronous: the hub sends on each member's unbuffered channel in turn, and so waits for each. Non-blocking: each member
has a queue, and the hub puts without waiting. A full queue would drop the message, which would not be the same work: so
the queues hold all messages of a round.

The clock is the CPU time of the loop's thread: nothing here ever sleeps, so on a quiet machine that is the wall clock,
and on another one the neighbours do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import fmean
from time import thread_time
from typing import Any

import anyio

from .harness import Backend, BackendName
from .peers import Line, Peer

MEMBERS = 100


class MessageLost(RuntimeError):
    pass


@dataclass(frozen=True)
class FanOut:
    """What one round found."""

    latency: float  # milliseconds from posting a message until its author has it back: the mean over the messages
    rate: float  # messages a second that went to all


async def fan_out(peer: Peer, synchronous: int | None, each: int) -> FanOut:
    """`each` messages of every member. `synchronous` is the capacity of the members' channels, None for queues."""
    total = MEMBERS * each
    capacity = total if synchronous is None else synchronous
    inbox = peer.open(MEMBERS)  # wide, so that posting is not what is measured
    outboxes = [peer.open(capacity) for _ in range(MEMBERS)]
    echoes = [peer.open(1) for _ in range(MEMBERS)]
    latencies: list[float] = []
    read = 0

    async def hub() -> None:
        for _ in range(total):
            message: Any = await inbox.receive()
            if synchronous is None:
                for outbox in outboxes:
                    outbox.send_nowait(message)
            else:
                for outbox in outboxes:
                    await outbox.send(message)

    async def reader(number: int, outbox: Line) -> None:
        nonlocal read
        for _ in range(total):
            author, posted = await outbox.receive()
            if author == number:
                latencies.append((thread_time() - posted) * 1e3)
                await echoes[number].send(None)
            read += 1

    async def author(number: int) -> None:
        for _ in range(each):
            await inbox.send((number, thread_time()))
            await echoes[number].receive()

    start = thread_time()
    async with anyio.create_task_group() as group:  # around, not in, the work: all tasks live from start to end
        for number, outbox in enumerate(outboxes):
            group.start_soon(reader, number, outbox)
            group.start_soon(author, number)
        group.start_soon(hub)
    seconds = thread_time() - start
    for line in (inbox, *outboxes, *echoes):
        await line.close()
    if read != total * MEMBERS or len(latencies) != total:
        raise MessageLost(f"{read} of {total * MEMBERS} deliveries arrived")
    return FanOut(fmean(latencies), total / seconds)


def rounds_of(peer: Peer, name: BackendName, synchronous: int | None, each: int, rounds: int) -> list[FanOut]:
    """After one round of warm-up."""
    with Backend(name) as backend:
        backend.run(partial(fan_out, peer, synchronous, 1))
        return [backend.run(partial(fan_out, peer, synchronous, each)) for _ in range(rounds)]
