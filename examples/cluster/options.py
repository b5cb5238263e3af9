"""What ``python -m examples.cluster`` may be told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    nodes: int
    port: int
    engine: str
    data: Path | None
    node_options: tuple[str, ...]
    """Passed on to each node."""

    @property
    def ports(self) -> range:
        return range(self.port, self.port + self.nodes)


def from_command_line(argv: Sequence[str]) -> Options:
    """The options.

    Raises:
        SystemExit: 0 after ``--help``, 2 after what makes no sense.
    """
    words = list(argv)
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="python -m examples.cluster",
        usage="%(prog)s [options] [-- options of each node]",
        description="A chat of several nodes on this machine, and the Valkey behind them. A node that dies is started "
        "again. What comes after -- goes to every node, as in: -- --backend trio --metrics",
        epilog="Ctrl-C or SIGTERM stops it gently: the nodes first, then the engine; a second one at once. "
        "Exit codes: 0 stopped, 1 could not start, 2 wrong usage, 130 stopped at once.",
    )
    parser.add_argument("--nodes", type=int, default=2, help="how many (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8765, help="of the first node; the others have the next ones (default: %(default)s)"
    )
    parser.add_argument(
        "--engine", default="", metavar="URL", help="redis://HOST:PORT of an engine that runs already, instead of ours"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="directory in which our engine keeps the messages, on disk before they are acknowledged; without one "
        "they end with the engine",
    )
    given = parser.parse_args(words[:cut])
    if not 1 <= given.nodes <= MOST:
        parser.error(f"--nodes {given.nodes}: from 1 to {MOST}")
    if not 1 <= given.port <= 65535 - given.nodes + 1:
        parser.error(f"--port {given.port}: from 1 to {65536 - given.nodes}, as each node has one")
    if given.engine and given.data:
        parser.error("--data is for our engine; one that --engine names keeps its data itself")
    return Options(
        nodes=given.nodes,
        port=given.port,
        engine=given.engine,
        data=given.data,
        node_options=tuple(words[cut + 1 :]),
    )
