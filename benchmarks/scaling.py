"""How many nodes and engines a chat takes: ``python -m benchmarks.scaling --help``. Arithmetic, from measured costs.

Shape
    said/s = connections × messages a minute / 60
    nodes   ≥ connections / what one may have
            ≥ CPU seconds a second / the load that is wanted, where the CPU is
                said × publish  +  said × nodes that hear it × hear  +  said × members × deliver
                + presences × renew  +  entries × read
    engines ≥ said × (publish + nodes that hear it × announce)  +  presences × renew  +  entries × read,  by the load

The members of a room are spread over the nodes at random, so of N nodes N * (1 - (1 - 1/N)**members) hear it. Every
session is present in its rooms and in the list of its user; every node reads the lists of the rooms that it hears.

What is not in it: bursts (plan for the busiest minute), clients that come back all at once, the network, rooms of very
different sizes (add them up one by one). The load that is wanted, half of a core by default, is the reserve for these.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from statistics import linear_regression
from typing import Any, Final, Self

from examples.chat.elsewhere import LOOK, TTL

_MICRO: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Microseconds of CPU for one of each, on one core.

    The defaults are of two cores of an AMD EPYC that others used, too, so rather too high: that of ``deliver`` was
    printed by the command beside it, the others are what ``read`` makes of a ``python -m benchmarks.cluster --quick``.
    Measure yours.
    """

    node_publish: float = 26.0
    node_hear: float = 44.0
    node_renew: float = 103.0
    node_entry: float = 3.0
    deliver: float = 1.6
    """To one member. ``make chat-table ARGS="2 --loop uvloop"``"""
    engine_publish: float = 22.0
    engine_announce: float = 5.0
    engine_renew: float = 13.0
    engine_entry: float = 0.78

    @classmethod
    def read(cls, path: Path) -> Self:
        """From the ``results.json`` of ``python -m benchmarks.cluster``.

        Raises:
            ValueError: it is something else.
        """
        try:
            found = json.loads(path.read_text("utf-8"))
            tables = {table["name"]: table["rows"] for suite in found["suites"] for table in suite["tables"]}
            engine_publish, engine_announce = _line(tables["cluster-cpu"], "the engine")
            node_publish, node_hear = _line(tables["cluster-cpu"], "nodes, Valkey")
            renew = _by(tables["cluster-presence"], what="a renewal")
            entry = _by(tables["cluster-presence"], what="an entry of a list")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not what benchmarks.cluster has written: {error!r}") from error
        return cls(
            node_publish=node_publish, node_hear=node_hear, node_renew=renew["the node"], node_entry=entry["the node"],
            engine_publish=engine_publish, engine_announce=engine_announce,
            engine_renew=renew["the engine"], engine_entry=entry["the engine"],
        )  # fmt: skip


def _line(rows: Iterable[Any], of: str) -> tuple[float, float]:
    """What one message costs, and what each node that hears it adds."""
    points = [
        (float(row["labels"]["nodes"].split()[0]), row["spread"]["median"] / 1e3)
        for row in rows
        if row["labels"]["of"] == of and row["labels"]["rooms"] == "100"
    ]
    slope, start = linear_regression(*zip(*points, strict=True))
    return max(start, 0.0), max(slope, 0.0)


def _by(rows: Iterable[Any], what: str) -> dict[str, float]:
    return {row["labels"]["of"]: row["spread"]["median"] / 1e3 for row in rows if row["labels"]["what"] == what}


@dataclass(frozen=True, kw_only=True)
class Chat:
    """What people do."""

    connections: int
    rooms_each: float = 2.0
    members: float = 50.0
    """Of one room, that are connected."""
    per_minute: float = 1.0
    """Messages of one connection."""
    presence_seconds: float = TTL
    """How long a presence is good for; it is renewed after a third of that."""
    look_seconds: float = LOOK
    """How often a node reads who is in its rooms. A chat that does not show who is there has ``math.inf`` for both."""
    gathered: float = math.inf
    """Nodes on which the members of a room are at most, where a proxy sends them to nodes by their room."""
    node_connections: int = 20_000
    """What one node may have: by its memory and files, and how many you want to see come back when it dies."""
    load: float = 0.5
    """Of one core, as nodes and engines have one each."""

    @property
    def said(self) -> float:
        return self.connections * self.per_minute / 60

    @property
    def rooms(self) -> float:
        return self.connections * self.rooms_each / self.members


@dataclass(frozen=True)
class Size:
    """What it takes."""

    nodes: int
    engines: int
    hearing: float
    """Nodes that hear a message."""
    delivered: float
    """Messages a second, to all clients together."""
    node_cpu: dict[str, float]
    """Cores, of all nodes together, by what they are used for."""
    engine_cpu: dict[str, float]


def size(chat: Chat, costs: Costs | None = None) -> Size:
    """How many nodes and engines."""
    costs = costs or Costs()
    nodes = max(1, math.ceil(chat.connections / chat.node_connections))
    while True:
        found = _with(chat, costs, nodes)
        needed = math.ceil(sum(found.node_cpu.values()) / chat.load)
        if needed <= nodes:
            return found
        nodes = needed  # more nodes hear each message, so it is counted again


def _with(chat: Chat, costs: Costs, nodes: int) -> Size:
    hearing = min(nodes * (1 - (1 - 1 / nodes) ** chat.members), chat.gathered)
    renewals = chat.connections * (chat.rooms_each + 1) * 3 / chat.presence_seconds
    entries = chat.rooms * hearing * chat.members / chat.look_seconds if nodes > 1 else 0.0
    delivered = chat.said * chat.members
    node_cpu = {
        "messages": chat.said * (costs.node_publish + hearing * costs.node_hear) * _MICRO,
        "deliveries": delivered * costs.deliver * _MICRO,
        "presence": (renewals * costs.node_renew + entries * costs.node_entry) * _MICRO,
    }
    engine_cpu = {
        "messages": chat.said * (costs.engine_publish + hearing * costs.engine_announce) * _MICRO,
        "presence": (renewals * costs.engine_renew + entries * costs.engine_entry) * _MICRO,
    }
    engines = max(1, math.ceil(sum(engine_cpu.values()) / chat.load))
    return Size(nodes, engines, hearing, delivered, node_cpu, engine_cpu)


def busiest_room(chat: Chat, costs: Costs, nodes: int) -> float:
    """Messages a second in one room that every node hears, before its engine has the load: it cannot be divided."""
    return chat.load / ((costs.engine_publish + nodes * costs.engine_announce) * _MICRO)


def engine_of(room: str, engines: Sequence[str]) -> str:
    """Which of several engines has a room, by rendezvous hashing: one engine more moves only the rooms that it gets."""
    return max(engines, key=lambda engine: blake2b(f"{engine}\0{room}".encode(), digest_size=8).digest())


def table(chats: Sequence[Chat], costs: Costs | None = None) -> list[str]:
    costs = costs or Costs()
    head = ("connections", "said/s", "delivered/s", "heard by", "nodes", "engines", "engines' cores", "for presence")
    lines = [head]
    for chat in chats:
        found = size(chat, costs)
        engine_cpu = sum(found.engine_cpu.values())
        lines.append((
            f"{chat.connections:,}", f"{chat.said:,.0f}", f"{found.delivered:,.0f}", f"{found.hearing:.1f}",
            f"{found.nodes:,}", f"{found.engines:,}", f"{engine_cpu:,.2f}",
            f"{found.engine_cpu['presence'] / engine_cpu:.0%}",
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description="How many nodes and engines a chat takes, by arithmetic from measured costs.",
    )
    chat = Chat(connections=0)
    for name, meaning, kind in (
        ("rooms_each", "rooms that a connection is in", float),
        ("members", "connections that are in a room", float),
        ("per_minute", "messages that a connection says in a minute", float),
        ("presence_seconds", "how long a presence is good for; inf: nobody is present", float),
        ("look_seconds", "how often a node reads who is there; inf: never", float),
        ("gathered", "nodes on which a room's members are at most; inf: spread over all", float),
        ("node_connections", "connections that a node may have", int),
        ("load", "of one core, that nodes and engines may have", float),
    ):
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=getattr(chat, name),
            help=f"{meaning} (default: %(default)g)",
        )  # fmt: skip
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000], metavar="NUMBER"
    )
    parser.add_argument("--costs", type=Path, metavar="FILE", help="results.json of python -m benchmarks.cluster")
    given = vars(parser.parse_args(argv))
    path: Path | None = given.pop("costs")
    connections: list[int] = given.pop("connections")
    if min(*given.values(), *connections) <= 0:
        parser.error("every number is above 0")
    try:
        costs = Costs.read(path) if path else Costs()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(*table([replace(chat, connections=number, **given) for number in connections], costs), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
