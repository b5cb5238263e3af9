"""Strategies: every schedule once, fewer preemptions first; random ones that differ; priorities that starve nobody."""

from __future__ import annotations

import random
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.toy import Program, Stuck, Task, independent, play

from gochan.testing._schedule import InOrder, Seeded
from gochan.testing._strategies import FAIR, Endless, Listed, Pct, Random, Run, Search, Strategy, schedule_of
from gochan.testing._token import Token


def search(program: Program, bound: int | None, limit: int = 10_000) -> tuple[list[tuple[str, ...]], Search]:
    """The traces of all schedules with so few preemptions, in the order in which they were tried."""
    found = Search(bound)
    traces: list[tuple[str, ...]] = []
    while len(traces) < limit and (prefix := found.next()) is not None:
        run = Run(Listed(prefix))
        traces.append(tuple(play(program, run)))
        assert run.values[: len(prefix)] == prefix
        found.ran(run)
    return traces, found


def preemptions(trace: tuple[str, ...]) -> int:
    """How often a task of independent steps was left before its end."""
    left = sum(a != b for a, b in pairwise(trace))
    return left - (len(set(trace)) - 1)


# ---- exhaustive ----


@pytest.mark.parametrize(("tasks", "each", "number"), [(2, 2, 6), (3, 2, 90), (2, 4, 70), (4, 1, 24)])
def test_exhaustive_takes_every_schedule_once(tasks: int, each: int, number: int) -> None:
    """All interleavings: (tasks * each)! / each! ** tasks of them."""
    program = independent(tasks, each)
    traces, found = search(program, None)
    names = [f"{i + 1} steps" for i in range(tasks)] * each
    assert len(traces) == number
    assert set(traces) == set(permutations(names))
    assert not found.cut


@pytest.mark.parametrize("bound", [0, 1, 2, 3])
def test_exhaustive_takes_all_with_few_preemptions_and_no_other(bound: int) -> None:
    """The bound counts preemptions; to switch where a task ends costs nothing."""
    program = independent(3, 3)
    every, _ = search(program, None)
    traces, found = search(program, bound)
    assert sorted(traces) == sorted(trace for trace in every if preemptions(trace) <= bound)
    assert len(traces) == len(set(traces))
    assert found.cut


def test_exhaustive_takes_fewer_preemptions_first() -> None:
    """A failure is found in its simplest form."""
    traces, _ = search(independent(3, 3), None)
    counted = [preemptions(trace) for trace in traces]
    assert counted == sorted(counted)
    assert counted[0] == 0


def test_to_switch_where_a_task_waits_costs_nothing() -> None:
    """Two tasks that hand a token to and fro have no preemption in any schedule."""

    def program() -> list[Task]:
        turn = 0

        def player(me: int) -> Task:
            nonlocal turn
            for _ in range(3):
                yield lambda: turn == me
                turn = 1 - me

        return [player(0), player(1)]

    traces, _ = search(program, 0)
    # Both may begin; from then on one of the two is ready, until one has ended.
    assert len(traces) > 1
    assert all(len(trace) == 8 for trace in traces)
    assert len(set(traces)) == len(traces)


def test_other_choices_are_searched_too() -> None:
    """And cost nothing."""
    seen: set[tuple[int, int]] = set()

    def chooser() -> Task:
        first = yield ["a", "b", "c"]
        second = yield ["x", "y"]
        seen.add((first, second))

    traces, _ = search(lambda: [chooser()], 0)
    assert seen == {(i, j) for i in range(3) for j in range(2)}
    assert len(traces) == 6


def test_a_yield_is_a_preemption_of_which_something_comes() -> None:
    """It costs one, and then another task runs: to yield and go on would be the same schedule again."""
    run = Run(Listed([1]))
    run.running("1 a", None)
    assert run.choose("yield", ["go on", "yield"]) == 1
    assert run.choose("task", ["1 a", "2 b", "3 c"]) == 1
    yielded, task = run.points
    assert (yielded.costs, yielded.width) == (True, 2)
    assert (task.costs, task.width) == (False, 2)


# ---- the normal order ----


def test_all_zeros_keep_the_running_task_going() -> None:
    """That is what preemptions are counted from."""
    assert play(independent(3, 3), Run(Listed())) == ["1 steps"] * 3 + ["2 steps"] * 3 + ["3 steps"] * 3


def test_all_zeros_are_fair() -> None:
    """A task that polls has ``FAIR`` steps, then the others come."""
    done = False

    def poller() -> Task:
        while not done:
            yield

    def setter() -> Task:
        nonlocal done
        done = True
        yield

    trace = play(lambda: [poller(), setter(), setter()], Run(Listed()))
    assert trace.count("1 poller") == FAIR + 1


def test_a_step_that_was_no_choice_counts() -> None:
    """Who ran last is who ran last, not who was chosen last."""
    run = Run(Listed())
    for _ in range(2):
        run.running("2 b", None)
        assert run.choose("task", ["1 a", "2 b"]) == 1
        run.running("2 b", None)
    assert run.steps == 4


def test_who_has_waited_is_not_preempted() -> None:
    """Once time had to move, no task is the running one: the next has its turn, and nobody's is taken."""
    run = Run(Listed())
    run.running("1 a", None)
    run.moved(1.0)
    assert run.choose("task", ["1 a", "2 b"]) == 1
    assert not run.points[0].costs
    assert run.points[0].width == 2


def test_choices_among_very_many_are_remembered_in_little_room() -> None:
    """And still compared as a whole."""
    many = [f"{number} task" for number in range(5000)]
    first, second, third = Run(Listed()), Run(Listed()), Run(Listed())
    first.choose("task", many)
    second.choose("task", many)
    third.choose("task", [*many[:-1], "5000 other"])
    assert first.points == second.points != third.points
    assert len(first.points[0].options) < 100


@given(seed=st.integers(0, 1000))
def test_the_answers_are_the_run(seed: int) -> None:
    """T1: what a random run answered gives the same run, whatever drew it."""
    program = independent(4, 4)
    run = Run(Random(str(seed)))
    trace = play(program, run)
    again = Run(Listed(run.values))
    assert play(program, again) == trace
    assert again.points == run.points


def test_answers_that_do_not_fit_are_noticed() -> None:
    """The first one is named; the run goes on as a calm one."""
    listed = Listed([0, 7, 1])
    assert len(play(independent(2, 3), Run(listed))) == 6
    assert listed.misfit == 1


def test_a_run_without_end_is_ended() -> None:
    """With an error that says so."""

    def forever() -> Task:
        while True:
            yield

    with pytest.raises(Endless, match="500 steps"):
        play(lambda: [forever(), forever()], Run(Listed(), limit=500))


# ---- random ----


def test_random_runs_differ() -> None:
    """Nearly all schedules of a larger program are new ones."""
    traces = {tuple(play(independent(4, 4), Run(Random(str(seed))))) for seed in range(200)}
    assert len(traces) > 190


def test_random_reaches_every_schedule() -> None:
    """Of a small program."""
    assert len({tuple(play(independent(2, 3), Run(Random(str(seed))))) for seed in range(500)}) == 20


def test_how_often_a_ready_operation_yields_differs_from_run_to_run() -> None:
    """A bug may need many yields, or hardly any."""
    shares = set[float]()
    for seed in range(30):
        run = Run(Random(str(seed)))
        answers = [run.choose("yield", ["go on", "yield"]) for _ in range(1000)]
        shares.add(round(sum(answers) / 1000, 1))
    assert shares == {0.0, 0.1, 0.5}


# ---- priorities ----


def lost_wakeup() -> list[Task]:
    """Fails if the waiter looks, the signal comes, and only then the waiter lies down: depth 2, among noise."""
    signalled = waiting = asleep = False

    def waiter() -> Task:
        nonlocal waiting, asleep
        yield
        seen = signalled
        yield
        if not seen:
            waiting = asleep = True
            yield lambda: not asleep

    def signaller() -> Task:
        nonlocal signalled, asleep
        for _ in range(6):
            yield
        signalled = True
        if waiting:
            asleep = False

    def noise() -> Task:
        for _ in range(20):
            yield

    return [waiter(), signaller(), noise(), noise(), noise()]


def runs_until(strategy: type[Pct | Random], trial: int) -> int:
    for number in range(1, 3000):
        source = f"{trial}/{number}"
        chosen: Strategy = Pct(source, 2, 80) if strategy is Pct else Random(source)
        try:
            play(lost_wakeup, Run(chosen))
        except Stuck:
            return number
    raise AssertionError("not found in 3000 runs")


@pytest.mark.parametrize("strategy", [Pct, Random])
def test_a_bug_that_needs_an_order_is_found(strategy: type[Pct | Random]) -> None:
    """In a number of runs that one can afford."""
    assert sorted(runs_until(strategy, trial) for trial in range(5))[2] < 300


@pytest.mark.parametrize("depth", [2, 3])
def test_priorities_starve_nobody(depth: int) -> None:
    """T2: a task that polls ends up below the one that it waits for."""
    for seed in range(50):
        done = False

        def poller() -> Task:
            while not done:
                yield

        def setter() -> Task:
            nonlocal done
            yield
            done = True

        play(lambda: [poller(), poller(), setter()], Run(Pct(str(seed), depth, 50), limit=2000))


def test_priorities_keep_one_task_running() -> None:
    """With depth 1 nothing changes: every task runs from its beginning to its end."""
    orders = {tuple(play(independent(3, 4), Run(Pct(str(seed), 1, 12)))) for seed in range(60)}
    assert {preemptions(order) for order in orders} == {0}
    assert len(orders) == 6


def test_priorities_change_so_many_times() -> None:
    """Depth 3 is two changes, so two preemptions at most."""
    counted = [preemptions(tuple(play(independent(3, 6), Run(Pct(str(seed), 3, 18))))) for seed in range(100)]
    assert set(counted) == {0, 1, 2}


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_priorities_of_a_program_of_hardly_any_steps(steps: int) -> None:
    """There is nowhere to change them."""
    assert len(play(independent(2, 1), Run(Pct("0", 3, steps)))) == 2


# ---- what a user's seed means ----


def test_seeds_of_users() -> None:
    """None is in order, a number is drawn from, a token is replayed."""
    assert isinstance(schedule_of(None, "asyncio"), InOrder)
    assert isinstance(schedule_of(3, "trio"), Seeded)
    program = independent(3, 3)
    run = Run(Random("x"))
    trace = play(program, run)
    token = str(Token("trio", tuple(run.values), 0))
    assert play(program, schedule_of(token, "trio")) == trace
    with pytest.raises(ValueError, match="made on trio"):
        schedule_of(token, "asyncio")


def test_strategies_leave_the_shared_random_alone() -> None:
    """A program's own ``random.seed`` must go on to mean something."""
    random.seed(5)
    before = random.getstate()
    play(independent(3, 3), Run(Random("1")))
    play(independent(3, 3), Run(Pct("1", 3, 9)))
    assert random.getstate() == before
