"""Go's benchmark names on each backend, with Go's own numbers beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from benchmarks.go_names import NAMES
from benchmarks.go_names_sync import SYNC_NAMES
from benchmarks.harness import Backend, BackendName, Workload
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.race import race
from benchmarks.report.model import Chart, Row, Table
from benchmarks.spread import Spread

OPERATIONS = "CPU time an operation, one P; an operation of SelectNonblock is one select, of ChanPopular one wake-up"
TOGETHER = 4  # names that are measured in one race


def one_race(run: Run, name: BackendName, works: Mapping[str, Workload]) -> Iterable[Row]:
    with Backend(name) as backend:
        times = race(backend, works, run.rounds(15), step=1_000)
    for benchmark, found in times.items():
        yield Row({"benchmark": benchmark, "on": name}, Spread.of(found))


def _plan(run: Run, name: str, title: str, works: Mapping[str, Workload], in_go: str) -> Plan:
    table = Table(
        name,
        title,
        "ns",
        pivot="on",
        baseline={"on": "asyncio"},
        assumptions=[OPERATIONS],
        chart=Chart("dots", "benchmark", "on"),
    )
    names = list(works)
    groups = [names[i : i + TOGETHER] for i in range(0, len(names), TOGETHER)]
    jobs = [
        Job(f"{backend}, {', '.join(group)}", partial(one_race, run, backend, {one: works[one] for one in group}))
        for group in groups
        for backend in run.backends
    ]
    if run.go:
        jobs.append(Job("the same in Go", partial(run.go.rows, in_go)))
    return Plan(table, jobs)


def plan(run: Run) -> list[Plan]:
    return [
        _plan(run, "go-names", "Go's benchmarks of channels and goroutines", NAMES, "names"),
        _plan(run, "go-names-sync", "Go's benchmarks of sync, context and time", SYNC_NAMES, "sync-names"),
    ]


GO_NAMES = Design("go-names", "Go's own benchmarks", plan)
