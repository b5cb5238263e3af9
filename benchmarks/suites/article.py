"""Two tables that an article on chat servers in Go printed, redone: the same work for all, side by side.

The article gives the numbers, hardly the work. What the work is taken to be stands with each table.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from benchmarks.fanout import MEMBERS, FanOut, rounds_of
from benchmarks.harness import Backend, BackendName, Workload
from benchmarks.peers import ANYIO, GOCHAN, QUEUE, TRIO, Peer
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.race import race
from benchmarks.report.grid import times
from benchmarks.report.model import Chart, Row, Table, Unit
from benchmarks.spread import Spread
from benchmarks.workloads import flow

from .channels import rivals_at

PRINTED = "the article, in Go"
CAPACITIES = (0, 5)

NEITHER = """\
the article names neither machine nor work; where Go is measured here too, its row tells that an operation there \
was more than a bare value: what may be compared is how much a buffer gains"""
LITTLE = """\
in both lines of the article time × rate is about 100 (15.2 ms × 6,800/s = 103; 2.3 ms × 42,000/s = 97), so by \
Little's law 100 messages were under way"""
POSTING = """\
each member has one message under way; the time is from posting a message until its author has it back, the mean \
over the messages of a round, in CPU time of the loop's thread, which never sleeps here (Go: by the wall clock)"""
WAYS = """\
synchronous: the hub sends on each member's unbuffered channel in turn; non-blocking: a queue for each member, \
the hub puts without waiting, and the queues are as long as it takes that no message is dropped"""
LAST_WOKEN = """\
with GOMAXPROCS=1 Go runs next whom it woke last: without a wait in between, hardly more than one message is \
under way there, and its time is that of one message alone"""


def printed(labels: dict[str, str], value: float) -> Row:
    return Row({"who": PRINTED, **labels}, Spread.of([value]))


def rates(run: Run, name: BackendName) -> Iterable[Row]:
    works: dict[tuple[str, int], Workload] = {}
    for capacity in CAPACITIES:
        able, _ = rivals_at(run, name, capacity)
        works |= {(peer.name, capacity): flow(peer, capacity, on_trio=name == "trio") for peer in able}
    with Backend(name) as backend:
        found_times = race(backend, works, run.rounds(25))
    for (who, capacity), found in found_times.items():
        per_ms = Spread.of([1e6 / nanoseconds for nanoseconds in found])
        yield Row({"who": f"{who} on {name}", "channel": _channel(capacity)}, per_ms)


def with_gain(rows: Iterable[Row]) -> Iterable[Row]:
    """The rows, and for who has both columns, what the buffer gains."""
    unbuffered: dict[str, Spread] = {}
    for row in rows:
        yield row
        who, spread = row.labels["who"], row.spread
        if row.labels["channel"] == _channel(0) and spread:
            unbuffered[who] = spread
        elif who in unbuffered and spread:
            yield Row({"who": who, "channel": "the buffer gains"}, note=times(spread.by(unbuffered[who])))


def _channel(capacity: int) -> str:
    return f"capacity {capacity}" if capacity else "unbuffered"


def _rates(run: Run) -> Plan:
    table = Table(
        "article-capacity",
        "Operations per millisecond, unbuffered and with capacity 5",
        "per ms",
        list(with_gain([printed({"channel": "unbuffered"}, 120), printed({"channel": "capacity 5"}, 480)])),
        pivot="channel",
        baseline={"who": "gochan on asyncio"},
        chart=Chart("bars", "who", "channel"),
        assumptions=[
            "an operation is one value from one producer to one consumer, nothing else is done with it",
            NEITHER,
            "where a peer has no unbuffered channel, that column is empty: 0 means unbounded there",
        ],
    )
    jobs = [
        Job(f"{name}, unbuffered and capacity 5", lambda name=name: with_gain(rates(run, name)))  # type: ignore[misc]
        for name in run.backends
    ]
    if run.go:
        go = run.go
        jobs.append(Job("the same in Go", lambda: with_gain(go.rows("article-capacity"))))
    return Plan(table, jobs)


# How many messages each member posts in a round; a round takes some tenths of a second.
EACH = 5


class _FanOuts:
    """Each is run once and fills two tables: the time a message takes, and the messages a second."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._found: dict[tuple[str, BackendName, int | None], list[FanOut]] = {}

    def rows(self, peer: Peer, name: BackendName, synchronous: int | None, *, rate: bool) -> Iterable[Row]:
        key = (peer.name, name, synchronous)
        if key not in self._found:
            each = 2 if self.run.quick else EACH
            self._found[key] = rounds_of(peer, name, synchronous, each, self.run.rounds(5, 2))
        values = [one.rate if rate else one.latency for one in self._found[key]]
        who = f"{peer.name} on {name}"
        if synchronous:
            who += f" (capacity {synchronous} for want of 0)"
        yield Row({"who": who, "fan-out": "non-blocking" if synchronous is None else "synchronous"}, Spread.of(values))


def _fan_outs(run: Run) -> list[Plan]:
    assumptions = [
        f"{MEMBERS} members in one room, every message goes to all of them, in one process",
        LITTLE,
        POSTING,
        f"so a message is {MEMBERS} deliveries: 1,000 messages a second are 100,000 values through channels",
        WAYS,
    ]
    kinds: list[tuple[str, str, Unit, list[str]]] = [
        ("article-latency", "time of a message", "ms", assumptions),
        ("article-rate", "messages a second", "per s", ["as above"]),
    ]
    latency, rate = (
        Table(
            name,
            f"Fan-out in a room: {what}",
            unit,
            pivot="fan-out",
            baseline={"who": "gochan on asyncio"},
            chart=Chart("bars", "who", "fan-out"),
            assumptions=assumed,
        )
        for name, what, unit, assumed in kinds
    )
    latency.rows = [printed({"fan-out": "synchronous"}, 15.2), printed({"fan-out": "non-blocking"}, 2.3)]
    rate.rows = [printed({"fan-out": "synchronous"}, 6_800), printed({"fan-out": "non-blocking"}, 42_000)]
    found = _FanOuts(run)
    contenders: list[tuple[Peer, BackendName]] = [(GOCHAN, name) for name in run.backends]
    for peer in run.peers:
        home: BackendName = "trio" if peer is TRIO else "asyncio"
        if peer in (QUEUE, ANYIO, TRIO) and home in run.backends:
            contenders.append((peer, home))
    plans: list[Plan] = []
    for table, is_rate in ((latency, False), (rate, True)):
        jobs = [
            Job(f"{peer.name} on {name}", partial(found.rows, peer, name, synchronous, rate=is_rate))
            for peer, name in contenders
            for synchronous in (1 if peer is QUEUE else 0, None)
        ]
        if run.go:
            jobs.append(Job("the same in Go", partial(run.go.rows, table.name)))
            table.remarks.append(LAST_WOKEN)
        plans.append(Plan(table, jobs))
    return plans


def plan(run: Run) -> list[Plan]:
    return [_rates(run), *_fan_outs(run)]


ARTICLE = Design("article", "Two tables of an article on Go's chat servers", plan)
