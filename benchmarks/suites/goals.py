"""The ratios that the project has set itself goals for, channels to contexts, by alternating turns of two."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from benchmarks.harness import Contest, hold
from benchmarks.memory import COUNT, WEIGHTS, Weight
from benchmarks.plan import Design, Job, Plan, Run
from benchmarks.ratios import CONTESTS, run_weight
from benchmarks.report.model import Row, Table
from benchmarks.spread import Spread

TURNS = 40


def contest_rows(run: Run, contest: Contest) -> Iterable[Row]:
    score = hold(contest, run.rounds(TURNS))
    goal = ""
    if contest.goal:
        kind = "as fast" if contest.direction == "faster" else "as dear"
        goal = f"{contest.goal} times {kind}: {score.ratio:.2f}, {'met' if score.met else 'not met'}"
    ours, theirs = ([seconds * 1e9 for seconds in turns] for turns in (score.our_turns, score.their_turns))
    common = {"measure": f"{contest.title}", "goal, by best turns": goal}
    yield Row({**common, "who": "gochan"}, Spread.of(ours))
    yield Row({**common, "who": "the other"}, Spread.of(theirs), Spread.of_ratios(theirs, ours))


def weight_rows(run: Run, weight: Weight) -> Iterable[Row]:
    row = run_weight(weight, 2_000 if run.quick else COUNT)
    goal = "" if row.goal is None else f"{row.goal}: {'met' if row.met else 'not met'}"
    yield Row({"measure": weight.title, "goal": goal}, Spread.of([row.ours]))


def plan(run: Run) -> list[Plan]:
    speed = Table(
        "ratios",
        "Speed against the nearest thing elsewhere",
        "ns",
        pivot="who",
        baseline={"who": "gochan"},
        assumptions=["CPU time an operation; the two take alternating turns on one loop"],
    )
    size = Table("sizes", "Size against the goals", "B")
    jobs: list[Job] = []
    for contest in CONTESTS:
        if contest.missing:
            run.said.append(f"ratios: {contest.title}: left out, {contest.missing}")
        else:
            jobs.append(Job(contest.title, partial(contest_rows, run, contest)))
    weights = [Job(weight.title, partial(weight_rows, run, weight)) for weight in WEIGHTS]
    # Weights first: the tables in which asyncio and anyio keep tasks weigh what the contests would make of them.
    return [Plan(size, weights), Plan(speed, jobs)]


GOALS = Design("ratios", "The project's own goals", plan)
