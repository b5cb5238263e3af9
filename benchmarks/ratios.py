"""`python -m benchmarks.ratios`: one table of what the library promises about speed and size, and what holds here.

Reports, never fails: the exit code is 0. `test_ratios.py` asserts the same goals.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .contests import CONTESTS as CHANNELS
from .harness import Contest, hold
from .memory import COUNT, WEIGHTS, Weight
from .toolbox_contests import TOOLBOX

CONTESTS = (*CHANNELS, *TOOLBOX)
TURNS = 100


@dataclass(frozen=True)
class Row:
    name: str
    measure: str
    ours: float
    theirs: float | None
    ratio: float | None
    unit: str
    goal: str | None
    met: bool | None


def run_contest(contest: Contest, turns: int = TURNS) -> Row:
    score = hold(contest, turns)
    return Row(
        name=contest.name,
        measure=contest.title,
        ours=score.ours * 1e9,
        theirs=score.theirs * 1e9,
        ratio=score.ratio,
        unit="ns",
        goal=f"{contest.goal}x" if contest.goal else None,
        met=score.met,
    )


def run_weight(weight: Weight, count: int = COUNT) -> Row:
    ours = weight.ours(count) - (weight.beyond(count) if weight.beyond else 0)
    theirs = weight.theirs(count) if weight.theirs else None
    return Row(
        name=weight.name,
        measure=weight.title,
        ours=ours,
        theirs=theirs,
        ratio=None,
        unit="B",
        goal=f"{weight.goal} B" if weight.goal else None,
        met=weight.goal.met(ours) if weight.goal else None,
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.measure,
        f"{row.ours:,.0f} {row.unit}",
        "-" if row.theirs is None else f"{row.theirs:,.0f} {row.unit}",
        "-" if row.ratio is None else f"{row.ratio:.2f}x",
        row.goal or "-",
        {True: "yes", False: "NO", None: "-"}[row.met],
    )


def table(rows: Sequence[Row]) -> str:
    lines = [("measure", "ours", "theirs", "ratio", "goal", "met"), *map(_cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    lines.insert(1, tuple("-" * width for width in widths))
    aligned = [
        [
            cell.rjust(width) if 0 < i < 5 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def main(arguments: Sequence[str] | None = None) -> int:
    names = [row.name for row in (*CONTESTS, *WEIGHTS)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratios", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"only these rows, of: {', '.join(names)}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--quick", action="store_true", help="fewer turns, a smaller crowd")
    options = parser.parse_args(arguments)
    if unknown := set(options.rows) - set(names):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    turns, count = (10, 2_000) if options.quick else (TURNS, COUNT)
    wanted = set(options.rows or names)
    # Weights first: the tables in which asyncio and anyio keep tasks weigh what the contests would make of them.
    weights = [run_weight(weight, count) for weight in WEIGHTS if weight.name in wanted]
    for contest in CONTESTS:
        if contest.name in wanted and contest.missing:
            wanted.remove(contest.name)
            print(f"{contest.title}: left out, {contest.missing}", file=sys.stderr)
    rows = [run_contest(contest, turns) for contest in CONTESTS if contest.name in wanted] + weights
    if options.json:
        print(
            json.dumps(
                {"python": sys.version, "machine": platform.machine(), "rows": [asdict(row) for row in rows]}, indent=2
            )
        )
    else:
        print(f"{platform.python_implementation()} {platform.python_version()}, best of {turns} alternating turns\n")
        print(table(rows))
        goals = [row for row in rows if row.met is not None]
        print(f"\n{sum(bool(row.met) for row in goals)} of {len(goals)} goals met")
    return 0


if __name__ == "__main__":
    sys.exit(main())
