"""The table of who ran when: what a reader must find in it, and how it stays readable."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from tests.testing.toy import Program, Task, independent, play

from gochan.testing._strategies import Listed
from gochan.testing._table import WatchedRun, table


def shown(program: Program, values: list[int]) -> list[str]:
    run = WatchedRun(Listed(values))
    play(program, run)
    return table(run).splitlines()


def polite() -> Task:
    yield  # the first place
    yield  # the second place


def test_a_line_says_who_ran_and_how_far() -> None:
    """The lane, the task, and the line of source where it stopped."""
    header, first, second, third = shown(lambda: [polite()], [])
    assert header == "  step  1  who"
    assert first.startswith("     1  *  1 polite  to test_table.py:")
    assert first.endswith("yield  # the first place")
    assert second.endswith("yield  # the second place")
    assert third == "     3  *  1 polite  ends"


def test_preemptions_are_marked() -> None:
    """There, and only there, the schedule took the turn from a task that could go on."""
    lines = shown(lambda: [polite(), polite()], [1, 1])
    assert [line[0] for line in lines] == [" ", " ", "!", " ", " ", " ", " "]
    assert [line[8:11] for line in lines[1:]] == [". *", "* .", "* .", "* .", ". *", ". *"]


def test_a_turn_that_was_given_up_is_marked_where_it_was_taken() -> None:
    """A ready operation that was made to yield."""
    run = WatchedRun(Listed([1]))
    run.running("1 a", None)
    run.choose("yield", ["go on", "yield"])
    run.choose("task", ["1 a", "2 b"])
    run.running("2 b", None)
    assert [line[0] for line in table(run).splitlines()] == [" ", " ", "!"]


def test_other_choices_stand_where_they_were_made() -> None:
    """The select that took its second case."""

    def chooser() -> Generator[Any, Any, None]:
        yield
        yield ["case 0", "case 2"]

    lines = shown(lambda: [chooser()], [1])
    assert lines[2].endswith("ends; case 2 of 0, 2")
    assert "case" not in lines[1]


def test_choices_among_very_many_are_not_all_named() -> None:
    """A select of two hundred cases."""

    def chooser() -> Generator[Any, Any, None]:
        yield [f"case {number}" for number in range(200)]

    assert re.search(r"case 3 of 0, 1, .*, \d\d …$", shown(lambda: [chooser()], [3])[1])
    assert re.search(r"case at 150 of 0, 1, .*, \d\d …$", shown(lambda: [chooser()], [150])[1])


def test_a_long_table_keeps_its_two_ends() -> None:
    """The failure is at the end, the set-up at the beginning."""

    def turns() -> Task:
        for _ in range(100):
            yield
            yield lambda: True

    lines = shown(lambda: [turns(), turns()], [])
    assert len(lines) < 70
    assert sum("more steps" in line for line in lines) == 1
    assert "346 more steps" in lines[9]
    assert lines[-1].startswith("   402")


def test_of_a_very_long_run_only_the_ends_are_looked_at() -> None:
    """When its length is known, because it has been run before."""

    def turns() -> Task:
        for _ in range(5000):
            yield lambda: True
            yield

    run = WatchedRun(Listed(), length=10_001)
    play(lambda: [turns()], run)
    assert len(run.rows) < 500
    lines = table(run).splitlines()
    assert lines[9].strip() == "… 9945 more steps …"
    assert lines[10].startswith("  9954")
    assert lines[-1].startswith("  10001")


def test_a_loop_is_one_line() -> None:
    """As long as nothing comes between, and nothing is to be said of a step."""

    def spin() -> Task:
        for _ in range(9):
            yield

    lines = shown(lambda: [spin(), spin()], [0, 0, 0, 1])
    assert len(lines) == 6
    assert lines[1].endswith("yield (and 2 more such steps)")
    assert lines[2].startswith("!    4  . *")
    assert lines[2].endswith("yield (and 8 more such steps)")
    assert lines[4].endswith("yield (and 5 more such steps)")
    assert lines[5].endswith("ends")


def test_many_tasks_are_listed_without_lanes() -> None:
    """Forty columns of dots help nobody."""
    lines = shown(independent(40, 1), [])
    assert lines[0] == "  step  who"
    assert lines[40] == "    40  40 steps  ends"


def test_lanes_stay_in_line_when_numbers_grow() -> None:
    """Task 10 takes two columns."""
    lines = shown(independent(12, 1), [9])
    assert len({line.index("ends") for line in lines[1:]}) == 1
    assert lines[1].startswith("     1  . . . . . . . . .  * ")


def test_time_that_passes_is_a_line() -> None:
    """Between the steps; in no lane."""
    run = WatchedRun(Listed())
    run.running("1 a", None)
    run.moved(3600.0)
    run.running("1 a", None)
    assert table(run).splitlines()[1:] == [
        "     1  *  1 a  ends",
        "     1  .       time moves to 3600 s",
        "     2  *  1 a  ends",
    ]


def test_an_empty_run_is_an_empty_table() -> None:
    """A program that fails before its first step."""
    assert table(WatchedRun(Listed())) == "  step  who"
