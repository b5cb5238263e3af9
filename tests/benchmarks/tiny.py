"""A suite that measures nothing, for tests of what surrounds the suites."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from benchmarks import __main__ as command
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.report.model import Chart, Row, Table
from benchmarks.spread import Spread


def rows() -> Iterable[Row]:
    yield Row({"who": "gochan", "capacity": "0"}, Spread.of([2000.0, 2100.0, 2200.0, 2300.0, 2400.0]))
    yield Row({"who": "a peer", "capacity": "0"}, Spread.of([8000.0, 8800.0, 9000.0]))
    yield Row({"who": "gochan", "capacity": "10"}, Spread.of([500.0]))
    yield Row({"who": "a peer", "capacity": "10"}, note="not timed: loses items")


def suite(name: str, jobs: list[Callable[[], Iterable[Row]]]) -> Design:
    def plan(run: Run) -> list[Plan]:
        chart = Chart("lines", "capacity", "who")
        table = Table(f"{name}-table", "Some work", "ns", pivot="capacity", baseline={"who": "gochan"}, chart=chart)
        planned = [Job(f"job {number}", job) for number, job in enumerate(jobs)]
        if run.go:
            go = run.go
            planned.append(Job("go", lambda: go.rows("tiny")))
        return [Plan(table, planned)]

    return Design(name, f"The suite {name}", plan)


def install(monkeypatch: pytest.MonkeyPatch, *designs: Design) -> None:
    """They are all the suites there are."""
    monkeypatch.setattr(command, "SUITES", {design.name: design for design in designs})
