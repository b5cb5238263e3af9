"""`python -m benchmarks`: what it runs, what it says, what it writes, how it ends."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmarks.tiny import install, rows, suite

from benchmarks import __main__ as command
from benchmarks.peers import PEER_NAMES, PEERS, QUEUE
from benchmarks.report.model import Report, Row
from benchmarks.spread import Spread
from benchmarks.suites import SUITES


@pytest.fixture(autouse=True)
def no_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go is not on this machine, unless a test puts it there."""
    monkeypatch.setattr(shutil, "which", lambda name: None)


def run(*arguments: str) -> int:
    return command.main(arguments)


def test_runs_all_suites_or_those_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name all suites run, with names only those."""
    install(monkeypatch, suite("first", [rows]), suite("second", [rows]))
    assert run() == 0
    shown = capsys.readouterr().out
    assert "The suite first" in shown and "The suite second" in shown
    assert run("second") == 0
    shown = capsys.readouterr().out
    assert "The suite first" not in shown and "The suite second" in shown


def test_table_shows_medians_quartiles_ratios_and_the_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Medians with quartiles, times of gochan, why something was not timed, CPU, OS and Python."""
    install(monkeypatch, suite("tiny", [rows]))
    run()
    shown = capsys.readouterr().out
    assert "2.20 µs (2.10–2.30)" in shown
    assert "500 ns" in shown
    assert "4.00×" in shown
    assert "not timed: loses items" in shown
    for name in ("CPU: ", "OS: ", "Python: CPython"):
        assert name in shown


def test_unknown_suite_is_named_and_the_rest_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown suite gives a line with the nearest name; the known ones run; the exit code is 2."""
    install(monkeypatch, suite("channels", [rows]))
    assert run("chanels", "channels") == 2
    shown = capsys.readouterr()
    assert "no such suite: chanels (did you mean channels?)" in shown.err
    assert "2.20 µs" in shown.out


def test_nothing_but_unknown_suites(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If no name is known nothing runs, and those that there are are listed."""
    install(monkeypatch, suite("channels", [rows]))
    assert run("xyz") == 2
    shown = capsys.readouterr()
    assert "no such suite: xyz (there are channels)" in shown.err
    assert shown.out == ""


def test_unknown_peer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown peer is named, and the rest runs; the exit code is 2."""
    install(monkeypatch, suite("tiny", [rows]))
    assert run("--peer", "anyoi", "--peer", "trio") == 2
    shown = capsys.readouterr()
    assert "no such peer: anyoi (did you mean anyio?)" in shown.err
    assert "2.20 µs" in shown.out


def test_missing_peer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that is not installed, or fails when it is imported, is left out with a line; that is no failure."""
    install(monkeypatch, suite("tiny", [rows]))
    absent = replace(QUEUE, name="absent", module="a_module_that_is_not_there")
    monkeypatch.setattr(command, "PEERS", (absent, *PEERS))
    monkeypatch.setattr(command, "PEER_NAMES", ("absent", *PEER_NAMES))
    assert run() == 0
    shown = capsys.readouterr()
    assert "absent: left out, it is not installed: pip install --group bench" in shown.err
    assert "absent: left out" in shown.out


def test_peer_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reason is the error of its import."""
    (tmp_path / "broken_peer.py").write_text("raise RuntimeError('no Python 4')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert replace(QUEUE, module="broken_peer").missing == "does not work on this Python: RuntimeError('no Python 4')"


def test_no_go(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Go there is a line that says how to get it, and all else runs."""
    install(monkeypatch, suite("tiny", [rows]))
    assert run() == 0
    assert "go: left out, it is not installed: apt-get install golang-go" in capsys.readouterr().err


def fake_go(monkeypatch: pytest.MonkeyPatch, directory: Path, built: str, code: int = 0) -> None:
    """A `go` whose `build` writes `built` as the program, or fails."""
    go = directory / "go"
    go.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "if sys.argv[1] == 'version': print('go version go1.99.1 linux/amd64')\n"
        f"elif {code}: sys.exit('main.go:1: no good')\n"
        f"else:\n    open(sys.argv[3], 'w').write({built!r})\n    os.chmod(sys.argv[3], 0o755)\n"
    )
    go.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(go))


def test_rows_of_go(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What Go's program prints becomes rows, compared like those of others."""
    line = json.dumps({"labels": {"who": "Go", "capacity": "0"}, "values": [220.0, 220.0]})
    fake_go(monkeypatch, tmp_path, f"#!/bin/sh\necho '{line}'\n")
    install(monkeypatch, suite("tiny", [rows]))
    assert run() == 0
    shown = capsys.readouterr().out
    assert "Go: 1.99.1, GOMAXPROCS=1" in shown
    assert "220 ns" in shown
    assert "0.10×" in shown


def test_go_that_does_not_build(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The compiler's words are shown, and the rest runs."""
    fake_go(monkeypatch, tmp_path, "", code=1)
    install(monkeypatch, suite("tiny", [rows]))
    assert run() == 0
    shown = capsys.readouterr()
    assert "go: left out, its programs cannot be built" in shown.err and "no good" in shown.err
    assert "2.20 µs" in shown.out


def test_failing_job(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A measurement that fails is named with its error, the rest still runs, and the exit code is 1."""

    def fails() -> Iterable[Row]:
        raise ZeroDivisionError

    install(monkeypatch, suite("tiny", [fails, rows]))
    assert run() == 1
    shown = capsys.readouterr()
    assert "tiny: job 0: failed with ZeroDivisionError()" in shown.err
    assert "2.20 µs" in shown.out


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Ctrl-C shows the suites that are done, leaves the output directory as it was, and exits with 130."""

    def interrupts() -> Iterable[Row]:
        raise KeyboardInterrupt

    install(monkeypatch, suite("first", [rows]), suite("second", [interrupts]))
    assert run("--output", str(tmp_path / "out")) == 130
    assert "2.20 µs" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_output_without_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without matplotlib the tables and the JSON are written, and a line says what is missing."""
    install(monkeypatch, suite("tiny", [rows]))
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert run("--output", str(tmp_path / "out")) == 0
    assert "no charts: matplotlib is not installed" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "tables.md"}
    assert "| a peer | 8.80 µs (8.40–8.90) | not timed: loses items |" in (tmp_path / "out" / "tables.md").read_text()


def test_json_comes_back_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`--from` shows from the JSON exactly what the run that wrote it showed."""
    install(monkeypatch, suite("tiny", [rows]))
    found = tmp_path / "found.json"
    run("--json", str(found))
    shown = capsys.readouterr().out
    assert run("--from", str(found)) == 0
    assert capsys.readouterr().out == shown
    report = Report.from_json(json.loads(found.read_text("utf-8")))
    assert report.as_json() == json.loads(found.read_text("utf-8"))


def test_json_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json -` prints nothing but JSON."""
    install(monkeypatch, suite("tiny", [rows]))
    run("--json", "-")
    assert json.loads(capsys.readouterr().out)["suites"][0]["name"] == "tiny"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "nowhere.json"], "nowhere.json: No such file"),
        (["--json", "nowhere/a.json"], "nowhere/a.json: no such directory"),
        (["--output", __file__], "not a directory"),
        (["--speed"], "unrecognized arguments: --speed"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be meant ends with 2 and a line, before anything is measured."""
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_from_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A JSON file of another kind is refused."""
    other = tmp_path / "other.json"
    other.write_text('{"suites": [{"name": 1}]}')
    with pytest.raises(SystemExit) as left:
        run("--from", str(other))
    assert left.value.code == 2
    assert "not a results.json of this command" in capsys.readouterr().err


def test_spread_of_one_and_of_many() -> None:
    """The quartiles enclose the median; one value is its own."""
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0, 1)
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(3.0, 2.0, 4.0, 5)
    assert Spread.of_ratios([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]).median == 2.0


def test_help_names_suites_and_peers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m benchmarks --help` is a command and lists all there is."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--help"])
    monkeypatch.delitem(sys.modules, "benchmarks.__main__")
    with pytest.raises(SystemExit) as left:
        runpy.run_module("benchmarks", run_name="__main__")
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for name in (*SUITES, *PEER_NAMES):
        assert name in shown
