"""The chat's table, at full size: ``python -m tests.chat.table [ROW …] [--loop LOOP] [--small] [--json FILE]``.

Each row runs on each of its loops in a process of its own, one after the other, since what is measured is CPU and
memory. Exit code 0 means that every bound was kept, 1 that one was not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from .row import LOOPS, Check, Loop, Row, Size, rows


def run_here(row: Row, size: Size) -> Sequence[Check]:
    async def scenario() -> Sequence[Check]:
        return await row.run(size)

    if size.loop == "trio":
        return anyio.run(scenario, backend="trio")
    return anyio.run(scenario, backend_options={"use_uvloop": size.loop == "uvloop"})


def run_apart(row: Row, size: Size) -> list[Check]:
    """The row in a process of its own; what it could not do is a check that failed."""
    command = [sys.executable, "-m", "tests.chat.table", row.number, "--loop", size.loop, "--here"]
    done = subprocess.run(command + (["--small"] if not size.full else []), stdout=subprocess.PIPE, check=False)
    try:
        return [Check(**check) for check in json.loads(done.stdout)]
    except (ValueError, TypeError):
        return [Check("the row ran", f"exit code {done.returncode}", "= 0", False)]


def show(row: Row, loop: Loop, checks: Sequence[Check], seconds: float) -> None:
    for check in checks:
        verdict = "" if not check.bound else "ok" if check.ok else "SHORT"
        print(
            f"{row.number:>3}  {row.name:28} {loop:8} {check.what:48} {check.measured:>16}  {check.bound:18} {verdict}"
        )
    print(f"{'':4} {'':28} {loop:8} {f'({seconds:.0f} s)':48}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chat.table", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", nargs="*", help="numbers of rows (default: all)")
    parser.add_argument("--loop", choices=LOOPS, action="append", help="only on this loop; may be repeated")
    parser.add_argument("--small", action="store_true", help="the size that CI runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    found = rows()
    if unknown := set(asked.row) - {row.number for row in found}:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(row.number for row in found)}")
    chosen = [row for row in found if not asked.row or row.number in asked.row]
    if asked.here:
        checks = run_here(chosen[0], Size(not asked.small, asked.loop[0]))
        json.dump([dataclasses.asdict(check) for check in checks], sys.stdout)
        return 0
    kept = broken = 0
    account: list[dict[str, object]] = []
    for row in chosen:
        for loop in asked.loop or LOOPS:
            if loop in row.loops:
                began = time.perf_counter()
                checks = run_apart(row, Size(not asked.small, loop))
                show(row, loop, checks, time.perf_counter() - began)
                kept += sum(check.ok and check.bound != "" for check in checks)
                broken += sum(not check.ok for check in checks)
                account.append({"row": row.number, "name": row.name, "loop": loop, "checks": checks})
    if asked.json:
        asked.json.write_text(json.dumps(account, default=dataclasses.asdict, indent=1) + "\n")
    print(f"{kept} bounds kept, {broken} not")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
