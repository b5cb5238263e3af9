"""Buffered against unbuffered, one and many on each side, beside the peers: the work that channels are for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from benchmarks.harness import Backend, BackendName
from benchmarks.peers import GOCHAN, Peer
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.promises import lost_in_flow
from benchmarks.race import race
from benchmarks.report.model import Chart, Row, Table
from benchmarks.spread import Spread
from benchmarks.workloads import flow

CAPACITIES = (0, 1, 5, 10, 100, 1000)
SHAPES = {"1 to 1": (1, 1), "10 to 1": (10, 1), "1 to 10": (1, 10), "10 to 10": (10, 10)}


def rivals_at(run: Run, backend: BackendName, capacity: int) -> tuple[list[Peer], list[tuple[Peer, str]]]:
    """Who can do the work, and who cannot, with the reason."""
    able: list[Peer] = []
    unable: list[tuple[Peer, str]] = []
    for peer in run.rivals(backend):
        why = peer.refuses(backend, capacity) or lost_in_flow(peer, backend)
        if why:
            unable.append((peer, why))
        else:
            able.append(peer)
    return able, unable


def one_cell(run: Run, name: BackendName, shape: str, capacity: int) -> Iterable[Row]:
    producers, consumers = SHAPES[shape]
    able, unable = rivals_at(run, name, capacity)
    with Backend(name) as backend:
        works = {peer.name: flow(peer, capacity, producers, consumers, on_trio=name == "trio") for peer in able}
        times = race(backend, works, run.rounds(15))
    for peer in able:
        ratio = None if peer is GOCHAN else Spread.of_ratios(times[peer.name], times[GOCHAN.name])
        labels = {"work": shape, "who": peer.name, "capacity": str(capacity)}
        yield Row(labels, Spread.of(times[peer.name]), ratio)
    for peer, _ in unable:
        yield Row({"work": shape, "who": peer.name, "capacity": str(capacity)}, note="–")


def plan(run: Run) -> list[Plan]:
    plans: list[Plan] = []
    for backend in run.backends:
        table = Table(
            f"channels-{backend}",
            f"A value from a producer to a consumer, on {backend}",
            "ns",
            pivot="capacity",
            baseline={"who": GOCHAN.name},
            chart=Chart("lines", "capacity", "who", "work"),
            assumptions=["CPU time a value, of one thread; so many producers to so many consumers, each a task"],
        )
        jobs = [
            Job(f"{backend}, {shape}, capacity {capacity}", partial(one_cell, run, backend, shape, capacity))
            for shape in SHAPES
            for capacity in CAPACITIES
        ]
        if run.go:
            jobs.append(Job("the same in Go", partial(run.go.rows, "channels")))
        for peer in run.rivals(backend):
            if why := peer.refuses(backend, 0):
                table.remarks.append(f"{peer.name}: not timed at capacity 0 ({why})")
        plans.append(Plan(table, jobs))
    return plans


CHANNELS = Design("channels", "Buffered and unbuffered channels", plan)
