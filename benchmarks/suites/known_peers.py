"""What the peers keep and lose, by probes; and the work under time-outs and in selects, for those that pass."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from time import thread_time

from benchmarks.harness import Backend, Workload
from benchmarks.peers import GOCHAN, PEERS, Peer
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.promises import PROBES, SELECTS, finding
from benchmarks.race import race
from benchmarks.report.model import Chart, Row, Table
from benchmarks.spread import Spread

CANCELLED = """\
cancelled, timed-out: a hundred times, a value is handed over and the receiver's task is cancelled (natively; or \
its `asyncio.timeout` is due) in the same turn of the loop; it must have the value, or the channel must"""


def promises(peer: Peer) -> Iterable[Row]:
    who = f"{peer.name} {peer.version}" if peer is not GOCHAN else GOCHAN.name
    for promise in PROBES:
        yield Row({"who": who, "promise": promise}, note=finding(peer, promise))


def guarded(peer: Peer) -> Workload:
    """One task gives, one takes, each value under an `asyncio.timeout` that never passes."""

    async def workload(n: int) -> float:
        line = peer.open(1)

        async def produce() -> None:
            for i in range(n):
                await line.send(i)

        start = thread_time()
        task = asyncio.create_task(produce())
        for _ in range(n):
            async with asyncio.timeout(60):
                await line.receive()
        await task
        seconds = thread_time() - start
        await line.close()
        return seconds

    return workload


def chosen(peer: Peer) -> Workload:
    """One value goes into either of two channels, a select takes it."""
    select = SELECTS[peer.name]

    async def workload(n: int) -> float:
        both = (peer.make(1), peer.make(1))
        sends = [peer.ends(one).send for one in both]
        start = thread_time()
        for i in range(n):
            await sends[i & 1](i)
            await select(*both)
        seconds = thread_time() - start
        for one in both:
            await peer.ends(one).close()
        return seconds

    return workload


# The work, the probes that a peer must pass to be timed at it, and how it is done.
TIMED = {
    "receive under asyncio.timeout": (("keeps items of cancelled receivers", "… of timed-out ones"), guarded),
    "select over two": (("a select takes one",), chosen),
}


def timed(run: Run, what: str) -> Iterable[Row]:
    needed, make = TIMED[what]
    works: dict[str, Workload] = {}
    for peer in run.rivals("asyncio"):
        failed = [found for promise in needed if (found := finding(peer, promise)) != "yes"]
        if failed:
            yield Row({"work": what, "who": peer.name}, note=f"not timed: {failed[0].removeprefix('NO: ')}")
        else:
            works[peer.name] = make(peer)
    with Backend("asyncio") as backend:
        times = race(backend, works, run.rounds(15))
    for name, turns in times.items():
        ratio = None if name == GOCHAN.name else Spread.of_ratios(turns, times[GOCHAN.name])
        yield Row({"work": what, "who": name}, Spread.of(turns), ratio)


def plan(run: Run) -> list[Plan]:
    kept = Table(
        "peers",
        "What the peers keep (asyncio)",
        "text",
        pivot="promise",
        assumptions=[
            "every item once: ten producers, ten consumers, 1,000 values",
            CANCELLED,
            "asyncio.Queue has no select: what is probed is `asyncio.wait` over two `get()`",
        ],
    )
    work = Table(
        "peers-work",
        "Work that needs those promises (asyncio)",
        "ns",
        pivot="work",
        baseline={"who": GOCHAN.name},
        chart=Chart("bars", "who", "work", "work"),
        assumptions=["CPU time a value; capacity 1"],
    )
    here = [GOCHAN, *(peer for peer in PEERS if peer in run.peers and "asyncio" in peer.loops)]
    return [
        Plan(kept, [Job(f"promises of {peer.name}", partial(promises, peer)) for peer in here]),
        Plan(work, [Job(what, partial(timed, run, what)) for what in TIMED]),
    ]


KNOWN_PEERS = Design("peers", "What the peers can do", plan)
