"""Every known bug is found, by the goroutines that are stuck, and its repaired twin is left alone."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import anyio
import pytest

import gochan
from gochan.diagnostics import Deadlock, find_leaks
from gochan.testing import run

from . import __main__ as table
from .bug import Bug
from .catalogue import BUGS
from .measure import BACKENDS, REPLAYS, TWIN_SCHEDULES, Backend, asleep, explored, is_expected, leaked

ALWAYS = [bug for bug in BUGS if bug.deterministic]
SOMETIMES = [bug for bug in BUGS if not bug.deterministic]
SLOW = pytest.mark.slow

backends = pytest.mark.parametrize("backend", BACKENDS)
# Real timers would let the machine's speed decide; and a thousand of the same need to be looked at once only.
PLAIN = [bug for bug in ALWAYS if bug.name != "Kubernetes/5316" and len(bug.stuck) <= 100]

ALWAYS_MARKED = [pytest.param(bug, marks=SLOW) if bug.name == "MutexHeap" else bug for bug in ALWAYS]

always = pytest.mark.parametrize("bug", ALWAYS_MARKED, ids=str)
plain = pytest.mark.parametrize("bug", PLAIN, ids=str)
sometimes = pytest.mark.parametrize("bug", SOMETIMES, ids=str)
all_bugs = pytest.mark.parametrize("bug", BUGS, ids=str)
schedules = pytest.mark.parametrize("runs", [20, pytest.param(TWIN_SCHEDULES, marks=SLOW)])
seeds = pytest.mark.parametrize("seed", [None, *(pytest.param(seed, marks=SLOW) for seed in range(1, 6))])


def test_the_catalogue_is_complete() -> None:
    """The 15 micro leaks, the 6 patterns and the 63 bugs of GoKer, each once."""
    sources = Counter(bug.source for bug in BUGS)
    assert sources == {
        "micro": 15,
        "pattern": 6,
        "goker communication": 26,  # GoKer counts Cockroach/18101 among the locks, but its leak is a send
        "goker resource": 23,
        "goker mixed": 14,
    }
    assert len({bug.name for bug in BUGS}) == len(BUGS)


@backends
@seeds
@always
def test_leaks_are_found_whatever_the_order(bug: Bug, seed: int | None, backend: Backend) -> None:
    """``find_leaks`` names exactly the goroutines that are stuck, while main lives."""
    assert leaked(bug.program, backend, seed) == bug.stuck


async def test_leaks_are_found_in_an_ordinary_loop() -> None:
    """On every loop there is, in real time, all of them at once: exactly those that are stuck."""
    # Where main is stuck itself, its goroutine would be one of many here.
    bugs = [bug for bug in PLAIN if bug.name != "SelectNoCasesMain"]
    with anyio.fail_after(30):
        async with gochan.Group() as group:
            for bug in bugs:
                group.go(bug.program)
            for _ in range(100):
                await anyio.sleep(0)
            names = Counter(info.name for info in find_leaks())
            group.cancel()
    assert names == Counter(name for bug in bugs for name in bug.stuck)


@backends
@plain
def test_a_program_that_ends_with_them_is_a_deadlock(bug: Bug, backend: Backend) -> None:
    """Under ``testing.run``, whose report names the same goroutines."""
    with pytest.raises(Deadlock) as caught:
        run(bug.program, backend=backend)
    # What a module holds is no leak; yet here nobody is left to use it.
    assert asleep(caught.value) == (bug.stuck or ("receiver",))


@backends
@sometimes
def test_schedules_are_found_and_replayed(bug: Bug, backend: Backend) -> None:
    """``explore`` finds a schedule under which goroutines of the bug are stuck, and its token shows it every time."""
    failure = explored(bug.program, backend)
    assert failure is not None
    assert is_expected(bug, failure.stuck)
    for _ in range(REPLAYS):
        again = explored(bug.program, backend, failure.token)
        assert again is not None
        assert again.stuck == failure.stuck


@SLOW
@backends
@sometimes
def test_schedules_are_found_from_any_seed(bug: Bug, backend: Backend) -> None:
    """Not by the luck of one seed."""
    for seed in range(1, 11):
        failure = explored(bug.program, backend, seed)
        assert failure is not None
        assert is_expected(bug, failure.stuck)


@backends
@schedules
@all_bugs
def test_twins_are_silent(bug: Bug, runs: int, backend: Backend) -> None:
    """The repaired program ends under every schedule that is tried."""
    assert explored(bug.twin, backend, runs=runs) is None


def test_the_table_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By one command, with a number for each claim; it fails when a bug is missed or a twin is not silent."""
    monkeypatch.setattr(table, "SEEDS", 2)
    monkeypatch.setattr(table, "TWIN_SCHEDULES", 20)
    monkeypatch.setattr(sys, "argv", ["tests.bugs", "Cockroach/24808", "cockroach/584"])
    assert table.main() == 0
    printed = capsys.readouterr().out
    assert "recall: 2 of 2 bugs" in printed
    assert "false alarms: 0 of 2 twins, 20 schedules each" in printed
    assert "replayed 40 of 40 times" in printed
    wrong = replace(BUGS[0], twin=BUGS[0].program)
    monkeypatch.setattr(table, "BUGS", [wrong])
    monkeypatch.setattr(sys, "argv", ["tests.bugs", wrong.name])
    assert table.main() == 1
    assert "FALSE ALARMS" in capsys.readouterr().out


@backends
@all_bugs
def test_twins_leak_nothing(bug: Bug, backend: Backend) -> None:
    """``find_leaks`` has nothing to say of the repaired program."""
    assert leaked(bug.twin, backend) == ()
