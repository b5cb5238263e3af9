"""Whether an operation stays as cheap among 100,000 as among few."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from benchmarks.growing import GROWING, SIZES, Growing, carry_out
from benchmarks.harness import BackendName
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.report.model import Chart, Row, Table
from benchmarks.spread import Spread

OPERATIONS = """\
CPU time an operation: a value from the sender to the waiting task that counts it; a waiter that is cancelled in \
the middle of the queue; a goroutine's whole life; a select and the send that ends it"""
FULL, QUICK = SIZES, (1, 100, 1_000)


def one_size(run: Run, what: str, who: str, backend: BackendName, work: Growing, size: int) -> Iterable[Row]:
    rounds = run.rounds(9 if size < 100_000 else 5, 3)
    yield Row({"what": what, "who": who, "number": str(size)}, Spread.of(carry_out(backend, work, size, rounds)))


def wanted(run: Run, who: str, backend: BackendName) -> bool:
    names = {peer.name for peer in run.peers}
    if who.startswith("gochan"):
        return backend in run.backends
    return (who.startswith("asyncio") and "asyncio.Queue" in names) or (who.startswith("trio") and "trio" in names)


def plan(run: Run) -> list[Plan]:
    table = Table(
        "growth",
        "What one operation costs among many",
        "ns",
        pivot="number",
        baseline={"who": "gochan"},
        chart=Chart("lines", "number", "who", "what", numeric=True),
        assumptions=[
            OPERATIONS,
            "a select takes time in the number of its cases, in Go too; the rest should stay flat but for full caches",
        ],
        remarks=[
            "Go's reflect.Select refuses more than 65,536 cases",
            "asyncio has no select: the idiom with asyncio.wait takes more than one item (see the suite `peers`)",
        ],
    )
    jobs = [
        Job(f"{what}, {who}, {size:,}", partial(one_size, run, what, who, backend, work, size))
        for what, contenders in GROWING.items()
        for (who, backend), work in contenders.items()
        if wanted(run, who, backend)
        for size in (QUICK if run.quick else FULL)
    ]
    if run.go:
        jobs.append(Job("the same in Go", partial(run.go.rows, "growth")))
    return [Plan(table, jobs)]


GROWTH = Design("growth", "Growth from 1 to 100,000", plan)
