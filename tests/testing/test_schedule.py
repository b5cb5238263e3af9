"""The two schedules of a plain run: in order, and drawn from a number."""

from __future__ import annotations

import pytest
from tests.testing.toy import Task, independent, play

from gochan.testing._schedule import InOrder, Schedule, Seeded


def test_in_order_takes_turns() -> None:
    """Everybody who is ready has one step before anybody has two."""
    assert play(independent(3, 2), InOrder()) == ["1 steps", "2 steps", "3 steps"] * 2


def test_in_order_keeps_nobody_waiting_for_a_task_that_polls() -> None:
    """A loop around ``sleep(0)`` must see what the others do."""
    done = False

    def poller() -> Task:
        while not done:
            yield

    def setter() -> Task:
        nonlocal done
        yield
        done = True

    assert len(play(lambda: [poller(), setter()], InOrder())) == 5


def test_in_order_takes_the_first_of_everything_else() -> None:
    """No select, no timer and no yield is decided by chance."""
    schedule = InOrder()
    assert [schedule.choose(kind, ["a", "b"]) for kind in ("case", "timer", "yield")] == [0, 0, 0]


def test_a_seed_is_an_order() -> None:
    """The same number gives the same run, another one another; both in every process."""
    program = independent(4, 3)
    traces = [play(program, Seeded(seed)) for seed in range(20)]
    assert traces == [play(program, Seeded(seed)) for seed in range(20)]
    assert len(set(map(tuple, traces))) == 20
    assert [Seeded(7).choose("task", "abcdefgh") for _ in range(3)] == [2, 2, 2]


def test_a_seed_is_fair() -> None:
    """Every option comes up about equally often."""
    schedule = Seeded(0)
    counts = [0, 0, 0]
    for _ in range(3000):
        counts[schedule.choose("case", ["a", "b", "c"])] += 1
    assert min(counts) > 900


def test_the_base_decides_nothing() -> None:
    """But it may be told everything."""
    schedule = Schedule()
    schedule.running("1 main", None)
    schedule.outside("a thread")
    schedule.moved(1.0)
    schedule.ending()
    assert schedule.stop is None
    with pytest.raises(NotImplementedError):
        schedule.choose("task", ["a", "b"])
