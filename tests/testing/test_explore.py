"""The explorer on real programs: it finds what is wrong, shows it again, and is silent where nothing is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Literal

import pytest
from tests.testing import programs
from tests.testing.programs import abba, endless, left_behind, lost_update, pipeline, same_time, starved

from gochan import Group, sleep
from gochan.diagnostics import Deadlock
from gochan.testing import Report, ScheduleFailure, explore, replay, run

Program = Callable[..., Coroutine[Any, Any, Any]]
Backend = Literal["asyncio", "trio"]

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
every_bug = pytest.mark.parametrize("program", programs.BUGS, ids=lambda fn: fn.__name__)


def failure(fn: Program, *args: Any, **options: Any) -> ScheduleFailure:
    with pytest.raises(ScheduleFailure) as caught:
        explore(fn, *args, **options)
    return caught.value


# ---- finding ----


@both_backends
@every_bug
@pytest.mark.parametrize("strategy", ["random", "pct", "exhaustive"])
def test_a_bug_is_found_and_replayed(
    program: Program, strategy: Literal["random", "pct", "exhaustive"], backend: Backend
) -> None:
    """Within 1,000 schedules, and then every time, in the same words and the same table."""
    found = failure(program, backend=backend, strategy=strategy)
    assert found.runs <= 1000
    for _ in range(20):
        again = failure(program, backend=backend, seed=found.seed)
        assert again.seed == found.seed
        assert again.table == found.table
        assert type(again.__cause__) is type(found.__cause__)
        assert str(again.__cause__).splitlines()[:1] == str(found.__cause__).splitlines()[:1]


@both_backends
@every_bug
@pytest.mark.parametrize("runs", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_without_the_bug_there_is_silence(program: Program, runs: int, backend: Backend) -> None:
    """Whatever the kind of schedules."""
    careful = partial(program, careful=True)
    for strategy in ("random", "pct", "exhaustive"):
        report = explore(careful, backend=backend, runs=runs, strategy=strategy)
        assert report.runs == runs or report.exhausted


@both_backends
@pytest.mark.parametrize("strategy", ["random", "pct", "exhaustive"])
def test_a_correct_program_is_silent(strategy: Literal["random", "pct", "exhaustive"], backend: Backend) -> None:
    """Whatever the schedule."""
    report = explore(pipeline, backend=backend, runs=100, strategy=strategy)
    assert report.runs == 100
    assert report.distinct > 50


@both_backends
def test_a_lost_update_is_found_at_once(backend: Backend) -> None:
    """Every second schedule has it."""
    assert failure(lost_update, backend=backend).runs <= 5


@both_backends
@pytest.mark.parametrize(("workers", "steps", "schedules"), [(2, 2, 6), (2, 3, 20), (3, 2, 90)])
def test_exhaustive_takes_every_schedule_once(workers: int, steps: int, schedules: int, backend: Backend) -> None:
    """So many as there are interleavings; the same on both backends."""
    seen: list[tuple[int, ...]] = []

    async def interleaved() -> None:
        trace: list[int] = []

        async def worker(number: int) -> None:
            trace.append(number)
            for _ in range(steps - 1):
                await sleep(0)
                trace.append(number)

        async with Group() as group:
            for number in range(workers):
                group.go(worker, number)
        seen.append(tuple(trace))

    report = explore(interleaved, backend=backend, strategy="exhaustive", preemptions=None)
    assert (report.runs, report.distinct, report.exhausted, report.preemptions) == (schedules, schedules, True, None)
    assert len(set(seen)) == schedules


@both_backends
def test_exhaustive_takes_more_schedules_with_a_higher_bound(backend: Backend) -> None:
    """Until there are no more."""
    careful = partial(lost_update, careful=True)
    reports = [
        explore(careful, backend=backend, strategy="exhaustive", preemptions=bound, runs=5000)
        for bound in (0, 1, 2, 50)
    ]
    assert all(report.exhausted for report in reports)
    numbers = [report.runs for report in reports]
    assert numbers == sorted(set(numbers))
    assert [report.distinct for report in reports] == numbers
    assert [report.preemptions for report in reports] == [0, 1, 2, None]


@both_backends
def test_exhaustive_finds_what_takes_one_preemption_among_those(backend: Backend) -> None:
    """With none there is no lost update but by a switch where a task gave up its turn."""
    found = failure(abba, backend=backend, strategy="exhaustive", preemptions=1)
    assert found.table.count("\n!") == 1
    assert explore(abba, backend=backend, strategy="exhaustive", preemptions=0).exhausted


def test_exhaustive_says_when_it_was_cut_short() -> None:
    """``runs`` is a bound for it, too."""
    report = explore(pipeline, strategy="exhaustive", runs=10)
    assert (report.runs, report.exhausted) == (10, False)


@both_backends
def test_a_goroutine_that_is_left_behind_is_a_failure(backend: Backend) -> None:
    """It is stuck for good, and the error says which one."""
    cause = failure(left_behind, backend=backend).__cause__
    assert isinstance(cause, Deadlock)
    assert any("ask" in goroutine.name for goroutine in cause.goroutines)


@both_backends
def test_a_program_that_does_not_end_is_a_failure(backend: Backend) -> None:
    """With the end of the table, and no waiting for ever."""
    found = failure(endless, backend=backend, steps=500)
    assert "500 steps" in str(found.__cause__)
    assert "more steps" in found.table


@both_backends
def test_time_is_virtual(backend: Backend) -> None:
    """Hundreds of hours pass in no time."""
    report = explore(partial(same_time, careful=True), backend=backend, runs=100)
    assert report.seconds < 30


# ---- the failure ----


@both_backends
def test_the_failure_says_what_how_and_when(backend: Backend) -> None:
    """The error, how many schedules it took, how to see it again, and who ran when."""
    found = failure(lost_update, backend=backend, seed=3)
    text = str(found)
    assert f"AssertionError: 1 updates of 2 (schedule {found.runs} of 1000 runs, strategy random, seed 3" in text
    assert found.token in text
    assert found.seed == found.token
    assert found.token.startswith(f"gc1:{backend}:")
    assert found.table in text
    assert "seen = state" not in found.table
    assert "await gochan.sleep(0)" in found.table
    assert isinstance(found.__cause__, ExceptionGroup | AssertionError)
    assert found.backend == backend


@both_backends
def test_the_failure_is_shrunk(backend: Backend) -> None:
    """From all the noise to the one turn that was taken at the wrong moment."""
    found = failure(starved, 3, backend=backend)
    assert re.search(r"shrunk from \d+ unforced choices to 1\n", str(found))
    assert found.table.count("\n!") <= 1


@both_backends
def test_the_table_of_a_deadlock_ends_where_everybody_waits(backend: Backend) -> None:
    """Not after the clean-up."""
    found = failure(abba, backend=backend)
    assert found.table.splitlines()[-1].endswith("(chan send)")


@both_backends
def test_replay_runs_the_program_bare(backend: Backend) -> None:
    """For a debugger: its own error, or what it returns."""
    found = failure(lost_update, backend=backend)
    with pytest.raises(AssertionError, match="1 updates of 2"):
        replay(lost_update, token=found.token)
    assert sorted(replay(programs.cancelled_together, token=found.token)) == list(range(8))


@both_backends
def test_run_takes_the_seed_of_a_failure(backend: Backend) -> None:
    """One seed for all tools."""
    found = failure(abba, backend=backend)
    with pytest.raises(Deadlock):
        run(abba, backend=backend, seed=found.seed)


def test_a_token_of_a_program_that_was_mended_is_run() -> None:
    """It passes; that it no longer fits is told."""
    found = failure(lost_update)
    report = explore(partial(lost_update, careful=True), seed=found.seed)
    assert report.runs == 1
    assert not report.fits
    assert "the program has changed since the token was made" in repr(report)


def test_another_seed_gives_other_schedules() -> None:
    """And none is 0: a test does not fail by chance."""
    runs = {seed: failure(starved, 3, seed=seed).runs for seed in range(6)}
    assert len(set(runs.values())) > 1
    assert failure(starved, 3).runs == runs[0]


# ---- the report ----


def test_the_report_reads_well() -> None:
    """What was tried, in one line."""
    exhausted = Report(12, 12, True, 340, 0.5, "asyncio", "exhaustive", 2)
    assert repr(exhausted) == (
        "<Report: 12 runs on asyncio, 12 distinct, exhaustive: exhausted, all with at most 2 preemptions; "
        "340 steps in 0.50 s>"
    )
    one = Report(1, 1, False, 9, 0.0, "trio", "random")
    assert repr(one) == "<Report: 1 run on trio, 1 distinct, random; 9 steps in 0.00 s>"
    every = Report(2, 2, True, 9, 0.0, "trio", "exhaustive")
    assert "exhausted, every schedule;" in repr(every)
    assert "not exhausted;" in repr(Report(2, 2, False, 9, 0.0, "trio", "exhaustive"))


# ---- from process to process ----


def everything() -> str:
    lines: list[str] = []
    for backend in ("asyncio", "trio"):
        for program in programs.BUGS:
            for strategy in ("random", "pct", "exhaustive"):
                found = failure(program, backend=backend, strategy=strategy, seed=1)
                lines.append(f"{found.runs} {found.token}")
        lines += [str(run(programs.cancelled_together, backend=backend, seed=seed)) for seed in range(10)]
    return "\n".join(lines)


def test_every_process_does_the_same() -> None:
    """Whatever PYTHONHASHSEED is: the failures are found in the same runs, with the same tokens."""
    command = [sys.executable, "-c", "from tests.testing.test_explore import everything; print(everything(), end='')"]
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    there = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=True).stdout
    here = everything()
    assert here.count("gc1:") == 2 * 3 * len(programs.BUGS)
    assert len(set(here.splitlines()[-10:])) > 5
    assert here == there
