"""The goals of the table as tests. `extra_info` has both times, the ratio and the goal; a round is a turn of each."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .harness import Backend, Contest, Score
from .memory import WEIGHTS, Weight
from .ratios import CONTESTS, run_weight

TURNS = 60


@pytest.mark.parametrize("contest", CONTESTS, ids=lambda contest: contest.name)
def test_ratio(benchmark: BenchmarkFixture, contest: Contest) -> None:
    """A goal on speed holds between the best turns of the two contenders, taken alternately."""
    if contest.missing:
        pytest.skip(f"{contest.missing}: pip install --group bench")
    score = Score(contest)
    with Backend(contest.backend) as backend:
        backend.turn(contest.ours, 200)
        backend.turn(contest.theirs, 200)
        benchmark.group = "ratios"
        benchmark.pedantic(score.take_turns, (backend,), rounds=TURNS)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        ours_ns=score.ours * 1e9, theirs_ns=score.theirs * 1e9, ratio=score.ratio, goal=str(contest.goal), met=score.met
    )
    if benchmark.disabled:
        pytest.skip("one turn each is no comparison: run without --benchmark-disable")
    assert score.met is not False, f"{contest.title}: {score.ratio:.2f}x, goal {contest.goal}x"


@pytest.mark.parametrize("weight", WEIGHTS, ids=lambda weight: weight.name)
def test_weight(weight: Weight) -> None:
    """A goal on size holds."""
    row = run_weight(weight)
    assert row.met is not False, f"{weight.title}: {row.ours:.0f} B, goal {weight.goal} B"
