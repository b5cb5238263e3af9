"""Measures gochan beside its peers and shows what was found: python -m benchmarks [SUITE …]"""

from __future__ import annotations

import argparse
import difflib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from .golang import Go, GoError
from .harness import BACKENDS, BackendName
from .peers import GO, PEER_NAMES, PEERS, Peer
from .plan import Run, carry_out
from .progress import progress
from .report import grid
from .report.machine import describe
from .report.model import Report
from .suites import SUITES

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="suites:\n" + "\n".join(f"  {design.name:<10} {design.title}" for design in SUITES.values()),
    )
    made.add_argument("suites", nargs="*", metavar="SUITE", help="only these; all of them if none is named")
    made.add_argument(
        "--peer", action="append", metavar="NAME", help=f"only this peer; may be repeated. {', '.join(PEER_NAMES)}"
    )
    made.add_argument("--quick", action="store_true", help="few rounds, small crowds: a first look, not for quoting")
    made.add_argument(
        "--json", metavar="FILE", help="write what was found as JSON, too; - for stdout, instead of tables"
    )
    made.add_argument(
        "--output", metavar="DIR", type=Path, help="write results.json, tables.md and a chart for each table"
    )
    made.add_argument("--from", dest="found", metavar="FILE", type=Path, help="measure nothing: show a results.json")
    return made


def choose(asked: Sequence[str], known: Sequence[str], what: str, said: list[str]) -> list[str]:
    """Those that are known, in their own order; about the others something is said."""
    for name in dict.fromkeys(asked):
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            said.append(f"no such {what}: {name} ({hint})")
    return [name for name in known if name in asked]


def choose_peers(names: Sequence[str], said: list[str]) -> tuple[Peer, ...]:
    peers: list[Peer] = []
    for peer in PEERS:
        if peer.name in names:
            if peer.missing:
                said.append(f"{peer.name}: left out, it {peer.missing}")
            else:
                peers.append(peer)
    return tuple(peers)


def choose_go(names: Sequence[str], said: list[str], *, quick: bool) -> Go | None:
    if GO not in names:
        return None
    go = Go.find(quick=quick)
    if go is None:
        said.append("go: left out, it is not installed: apt-get install golang-go, or https://go.dev/dl")
        return None
    try:
        go.prepare()
    except (GoError, OSError) as error:
        go.close()
        said.append(f"go: left out, its programs cannot be built: {error}")
        return None
    return go


def choose_backends(said: list[str]) -> tuple[BackendName, ...]:
    if find_spec("uvloop"):
        return BACKENDS
    said.append("uvloop: left out, it is not installed: pip install uvloop")
    return tuple(name for name in BACKENDS if name != "uvloop")


def measure(options: argparse.Namespace, command: str) -> tuple[Report, int]:
    said: list[str] = []
    names = choose(options.suites or list(SUITES), list(SUITES), "suite", said)
    peer_names = choose(options.peer or PEER_NAMES, PEER_NAMES, "peer", said)
    status = WRONG_USAGE if said else OK
    run = Run(options.quick, choose_peers(peer_names, said), choose_backends(said), None, said)
    machine = describe()
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    report = Report(machine, command, started, options.quick, said=said)
    if not names:
        return report, status
    run.go = choose_go(peer_names, said, quick=options.quick)
    if run.go:
        machine["Go"] = f"{run.go.version}, GOMAXPROCS=1"
    began = time.perf_counter()
    plans = {name: SUITES[name].plan(run) for name in names}
    total = sum(len(plan.jobs) for each in plans.values() for plan in each)
    told = len(said)
    try:
        with progress(total) as shown:
            for line in said:
                shown.say(line)

            def failed(line: str) -> None:
                said.append(line)
                shown.say(line)

            for name, planned in plans.items():
                report.suites.append(carry_out(SUITES[name], planned, shown.step, failed))
    except KeyboardInterrupt:
        said.append("interrupted: what follows was not measured")
        return report, INTERRUPTED
    finally:
        report.seconds = time.perf_counter() - began
        if run.go:
            run.go.close()
    return report, status or (FAILED if len(said) > told else OK)


def charts_of(results: Path) -> list[str]:
    """The tables of an earlier run."""
    try:
        report = Report.from_json(json.loads(results.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [table.name for suite in report.suites for table in suite.tables]


def write(report: Report, directory: Path) -> list[str]:
    """The files; gives lines on what could not be made."""
    directory.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    drawn: list[str] = []
    for name in charts_of(directory / "results.json"):
        (directory / f"{name}.svg").unlink(missing_ok=True)  # of a table that this run may not have
    if find_spec("matplotlib"):
        from .report import charts

        drawn = charts.draw(report, directory)
    else:
        lines.append("no charts: matplotlib is not installed: pip install --group bench")
    (directory / "results.json").write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    (directory / "tables.md").write_text(grid.markdown(report, drawn), "utf-8")
    return [*lines, f"written: {directory}/results.json, tables.md and {len(drawn)} charts"]


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    made = parser()
    options = made.parse_args(words)
    if options.output and options.output.exists() and not options.output.is_dir():
        made.error(f"--output {options.output}: not a directory")
    if options.json and options.json != "-" and not Path(options.json).resolve().parent.is_dir():
        made.error(f"--json {options.json}: no such directory")
    if options.found:
        try:
            report, status = Report.from_json(json.loads(options.found.read_text("utf-8"))), OK
        except OSError as error:
            made.error(f"--from {options.found}: {error.strerror}")
        except (ValueError, KeyError, TypeError):
            made.error(f"--from {options.found}: not a results.json of this command")
    else:
        report, status = measure(options, shlex.join(["python", "-m", "benchmarks", *words]))
    if not report.suites:
        print(*report.said, sep="\n", file=sys.stderr)
        return status
    if options.json == "-":
        print(json.dumps(report.as_json(), indent=1))
    else:
        print(grid.text(report))
    if options.json and options.json != "-":
        Path(options.json).write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    if options.output and status != INTERRUPTED:
        print(*write(report, options.output), sep="\n", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
