"""What things weigh: a channel, and a goroutine that waits on one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from benchmarks import memory
from benchmarks.peers import GOCHAN, PEERS, Peer
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.report.model import Chart, Row, Table
from benchmarks.spread import Spread

CHANNEL, WAITING = "a channel, idle", "a task that waits, on a channel of its own"
SHARED = "a task that waits, on one channel"


def weigh(what: str, who: str, scale: Callable[[int], float], count: int) -> Iterable[Row]:
    yield Row({"what": what, "who": who}, Spread.of([scale(count)]))


def plan(run: Run) -> list[Plan]:
    count = 1_000 if run.quick else memory.COUNT
    table = Table(
        "memory",
        f"Bytes each, the mean of {count:,}",
        "B",
        pivot="what",
        baseline={"who": GOCHAN.name},
        chart=Chart("bars", "who", "what", "what"),
        assumptions=[
            "Python: allocations that `tracemalloc` sees; Go: heap and stacks in use by `runtime.MemStats`",
            "peers' tasks are asyncio's (trio's on trio) in no group; gochan's are goroutines of a Group",
        ],
    )
    asyncio_peers: list[Peer] = [peer for peer in (GOCHAN, *PEERS) if peer is GOCHAN or peer in run.peers]
    entries: list[tuple[str, str, Callable[[int], float]]] = []
    entries += [(CHANNEL, peer.name, memory.idle(peer)) for peer in asyncio_peers]
    entries += [(SHARED, GOCHAN.name, memory.parked_goroutine), (WAITING, GOCHAN.name, memory.parked_goroutine_own)]
    for peer in asyncio_peers[1:]:
        if "asyncio" in peer.loops:
            entries.append((SHARED, peer.name, memory.parked_on(peer, shared=True)))
            entries.append((WAITING, peer.name, memory.parked_on(peer, shared=False)))
    entries += [(SHARED, "bare future", memory.task_on_future), (SHARED, "anyio task group", memory.anyio_tasks)]
    if "trio" in run.backends:
        entries += [(SHARED, "gochan on trio", memory.parked_goroutine_on_trio), (SHARED, "trio", memory.trio_tasks)]
    jobs = [Job(f"{what}, {who}", partial(weigh, what, who, scale, count)) for what, who, scale in entries]
    if run.go:
        jobs.append(Job("the same in Go", partial(run.go.rows, "memory")))
    return [Plan(table, jobs)]


SIZES = Design("memory", "Memory", plan)
