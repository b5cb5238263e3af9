"""What a suite is going to do: tables, and the jobs that fill them. Counted beforehand, so progress can be shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .golang import Go
from .harness import BackendName
from .peers import GOCHAN, Peer
from .report.model import Row, Suite, Table


@dataclass(frozen=True)
class Job:
    title: str
    rows: Callable[[], Iterable[Row]]


@dataclass
class Plan:
    table: Table
    jobs: list[Job]


@dataclass
class Run:
    """What was asked for: how long, on which backends, beside whom."""

    quick: bool
    peers: tuple[Peer, ...]
    backends: tuple[BackendName, ...]
    go: Go | None
    said: list[str] = field(default_factory=list[str])

    def rounds(self, full: int, quick: int = 5) -> int:
        return quick if self.quick else full

    def rivals(self, backend: BackendName) -> list[Peer]:
        return [GOCHAN, *(peer for peer in self.peers if backend in peer.loops)]


@dataclass(frozen=True)
class Design:
    """A suite before it is run."""

    name: str
    title: str
    plan: Callable[[Run], list[Plan]]


def carry_out(design: Design, plans: list[Plan], step: Callable[[str], None], say: Callable[[str], None]) -> Suite:
    """Runs every job. One that fails is said so, and the rest still runs."""
    began = time.perf_counter()
    for plan in plans:
        for job in plan.jobs:
            step(f"{design.name}: {job.title}")
            try:
                plan.table.rows.extend(job.rows())
            except Exception as error:
                say(f"{design.name}: {job.title}: failed with {error!r}")
        plan.table.compare()
    tables = [plan.table for plan in plans if plan.table.rows]
    return Suite(design.name, design.title, tables, time.perf_counter() - began)
