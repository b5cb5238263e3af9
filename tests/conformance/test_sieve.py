"""The prime sieve as a growing chain of filters, after Go's test/chan/sieve1.go."""

from __future__ import annotations

from gochan import Channel, Group, ReceiveChannel, SendChannel, go

from .helpers import bounded

FIRST_PRIMES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97]


async def count_from_two(out: SendChannel[int]) -> None:
    candidate = 2
    while True:
        await out.send(candidate)
        candidate += 1


async def drop_multiples(source: ReceiveChannel[int], out: SendChannel[int], prime: int) -> None:
    async for candidate in source:
        if candidate % prime:
            await out.send(candidate)


async def sieve(primes: SendChannel[int]) -> None:
    candidates: Channel[int] = Channel()
    go(count_from_two, candidates)
    while True:
        prime = await candidates.receive()
        await primes.send(prime)
        remaining: Channel[int] = Channel()
        go(drop_multiples, candidates, remaining, prime)
        candidates = remaining


@bounded
async def test_the_first_primes() -> None:
    """A chain that grows by one filter per prime yields the first 25 primes; parked goroutines end with their group."""
    async with Group() as group:
        primes: Channel[int] = Channel()
        group.go(sieve, primes)
        assert [await primes.receive() for _ in FIRST_PRIMES] == FIRST_PRIMES
        group.cancel()
