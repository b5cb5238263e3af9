"""How long to wait for an answer: the estimator alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.chat.rtt import RttEstimator


def test_first_sample_and_the_next() -> None:
    """RFC 6298, by hand: the first sample is the mean and half of it the deviation, the next moves both a little."""
    rtt = RttEstimator(floor=0.01, ceiling=100)
    assert (rtt.srtt, rtt.rto) == (None, 0.01)
    rtt.sample(0.8)
    assert (rtt.srtt, rtt.rttvar) == (0.8, 0.4)
    assert rtt.rto == pytest.approx(0.8 + 4 * 0.4)
    rtt.sample(1.6)
    assert rtt.rttvar == pytest.approx(0.75 * 0.4 + 0.25 * 0.8)
    assert rtt.srtt == pytest.approx(7 / 8 * 0.8 + 1.6 / 8)
    assert rtt.rto == pytest.approx(0.9 + 4 * 0.5)


def test_margin() -> None:
    """On a link that never varies there are still 50 ms between the mean and giving up."""
    rtt = RttEstimator(floor=0.001)
    for _ in range(200):
        rtt.sample(0.5)
    assert rtt.rto == pytest.approx(0.55)


def test_floor_and_ceiling() -> None:
    """R1: a quick link gets the floor, a slow one the ceiling, and one long pause is forgotten again."""
    rtt = RttEstimator()
    rtt.sample(0.001)
    assert rtt.rto == 2
    rtt.sample(4000)
    assert rtt.rto <= 20
    for _ in range(40):
        rtt.sample(0.001)
    assert rtt.rto == 2


def test_doubling() -> None:
    """R2: each miss doubles, to the ceiling; a sample ends it."""
    rtt = RttEstimator()
    waits = []
    for _ in range(6):
        waits.append(rtt.rto)
        rtt.missed()
    assert waits == [2, 4, 8, 16, 20, 20]
    rtt.sample(0.02)
    assert rtt.rto == 2


@given(st.lists(st.one_of(st.none(), st.floats(-1, 1e6)), max_size=50))
def test_any_history(history: list[float | None]) -> None:
    """The invariants hold whatever comes."""
    rtt = RttEstimator(floor=1, ceiling=8)
    for step in history:
        if step is None:
            rtt.missed()
        else:
            rtt.sample(step)
        rtt._check()


@pytest.mark.parametrize(("floor", "ceiling"), [(0, 1), (-1, 1), (3, 2), (float("nan"), 2)])
def test_bounds_that_make_no_sense(floor: float, ceiling: float) -> None:
    """Bounds are refused when they are given, not when they first matter."""
    with pytest.raises(ValueError, match="floor"):
        RttEstimator(floor=floor, ceiling=ceiling)
