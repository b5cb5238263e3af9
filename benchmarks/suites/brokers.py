"""The example chat's brokers: publications a second, with batches and without. A commit costs what the disk takes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import gochan
from benchmarks.brokers import ROWS, measure
from benchmarks.harness import BackendName
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.report.model import Row, Table
from benchmarks.spread import Spread


def one_row(run: Run, name: str, batch: int | None, publishers: int, backend: BackendName) -> Iterable[Row]:
    assert backend != "uvloop"
    seconds, rounds = (0.1, 2) if run.quick else (0.4, 5)
    rates = [gochan.run(measure, batch, publishers, seconds, backend=backend) for _ in range(rounds)]
    yield Row({"broker": name, "publishers": str(publishers), "on": backend}, Spread.of(rates))


def plan(run: Run) -> list[Plan]:
    table = Table(
        "brokers",
        "Publications a second",
        "per s",
        pivot="on",
        assumptions=["a hundred bytes each, ten rooms, on the disk of this machine; wall-clock time"],
    )
    jobs = [
        Job(f"{name}, {publishers} publishers, {backend}", partial(one_row, run, name, batch, publishers, backend))
        for name, batch, publishers in ROWS
        for backend in run.backends
        if backend != "uvloop"
    ]
    return [Plan(table, jobs)]


BROKERS = Design("brokers", "The example chat's brokers", plan)
