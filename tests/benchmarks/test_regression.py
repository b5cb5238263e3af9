"""The speed that must not be lost: ratios inside one run, with bounds far below what a quiet machine shows.

Turns are taken alternately until the bound is met by the best turns of the two. Noise only ever slows a turn down, so
waiting longer can only help a library that is fast enough; one that is too slow takes all its turns and fails.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.contests import CONTESTS
from benchmarks.harness import Backend, Contest, Goal, Score

# On a quiet machine: 3.4, 1.35, 4.1, 2.0, 2.6; trio 1.3 and 12.
BOUNDS = {
    "handoff-queue": Goal("at least", 1.5),
    "cap100-queue": Goal("at least", 0.75),
    "select-ready": Goal("at most", 9),
    "select-parked": Goal("at most", 5),
    "go": Goal("at most", 6),
    "trio-handoff": Goal("at least", 0.75),
    "trio-cap100": Goal("at least", 4),
}
TURNS = 40


def ahead(contest: Contest, turns: int = TURNS) -> Score:
    score = Score(replace(contest, operations=500))
    with Backend(contest.backend) as backend:
        for _ in range(turns):
            score.take_turns(backend)
            if score.met:
                break
    return score


@pytest.mark.parametrize("name", BOUNDS)
def test_ratio_keeps_its_distance(name: str) -> None:
    """A ratio of gochan to the nearest thing in asyncio or trio holds a bound that only a real loss can break."""
    contest = next(contest for contest in CONTESTS if contest.name == name)
    score = ahead(replace(contest, goal=BOUNDS[name]))
    assert score.met, f"{contest.title}: {score.ratio:.2f}, must be {BOUNDS[name]}, after {TURNS} turns each"


def test_check_can_fail() -> None:
    """A library that were slower than the bound would be found out: here the two have changed places."""
    contest = next(contest for contest in CONTESTS if contest.name == "handoff-queue")
    swapped = replace(contest, ours=contest.theirs, theirs=contest.ours, goal=BOUNDS["handoff-queue"])
    assert ahead(swapped, 5).met is False
