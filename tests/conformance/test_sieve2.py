"""The sieve of Eratosthenes with merged multiples and feedback, after Go's test/chan/sieve2.go.

Go's program avoids a deadlock in its feedback loop with a goroutine that buffers without bound; both that goroutine (a
select that disables its sending case while there is nothing to send) and an unbounded channel in its place are run.
"""

from __future__ import annotations

import heapq
import math
from collections import deque

import pytest

from gochan import Channel, Group, ReceiveChannel, SendChannel, go, select, send

from .helpers import bounded
from .test_sieve import FIRST_PRIMES


async def count_up(out: SendChannel[int], start: int, step: int) -> None:
    while True:
        await out.send(start)
        start += step


async def buffer_without_bound(source: ReceiveChannel[int], out: SendChannel[int]) -> None:
    waiting: deque[int] = deque()
    while True:
        match await select(source, send(out, waiting[0]) if waiting else None):
            case (0, value):
                waiting.append(value)
            case _:
                waiting.popleft()


async def merge_multiples(primes: ReceiveChannel[int], composites: SendChannel[int]) -> None:
    heads: list[tuple[int, int, Channel[int]]] = []
    last = 0

    async def advance() -> None:
        nonlocal last
        head, prime, source = heads[0]
        heapq.heapreplace(heads, (await source.receive(), prime, source))
        if head != last:
            last = head
            await composites.send(head)

    while True:
        prime = await primes.receive()
        multiples: Channel[int] = Channel(10)
        go(count_up, multiples, prime * prime, 2 * prime)
        head = await multiples.receive()
        while heads and heads[0][0] < head:
            await advance()
        heapq.heappush(heads, (head, prime, multiples))
        # The square of the newest prime is known to be next: what lies before it is out already.
        await advance()


async def strike_out(composites: ReceiveChannel[int], feedback: SendChannel[int], out: SendChannel[int]) -> None:
    candidates: Channel[int] = Channel(50)
    go(count_up, candidates, 5, 2)
    candidate = await candidates.receive()
    async for composite in composites:
        while candidate < composite:
            await feedback.send(candidate)
            await out.send(candidate)
            candidate = await candidates.receive()
        if candidate == composite:
            candidate = await candidates.receive()


@pytest.mark.parametrize("proxy", [True, False], ids=["proxy-goroutine", "unbounded-channel"])
@bounded
async def test_the_first_primes_with_feedback(proxy: bool) -> None:
    """Primes fed back through an unbounded buffer drive the multiples that strike out the rest, without deadlock."""
    async with Group() as group:
        out: Channel[int] = Channel(10)
        composites: Channel[int] = Channel(50)
        primes: Channel[int] = Channel(10 if proxy else math.inf)
        for known in (2, 3):
            await out.send(known)
        await primes.send(3)
        feedback = primes
        if proxy:
            feedback = Channel(10)
            group.go(buffer_without_bound, feedback, primes)
        group.go(merge_multiples, primes, composites)
        group.go(strike_out, composites, feedback, out)
        assert [await out.receive() for _ in FIRST_PRIMES] == FIRST_PRIMES
        group.cancel()
