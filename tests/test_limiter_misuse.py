"""Limiters, used wrongly: every error is at once, says what was wrong, and leaves the limiter as it was."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from gochan import Limiter, every


@pytest.mark.parametrize("rate", [-1, -0.1, math.nan, -math.inf], ids=repr)
def test_impossible_rates(rate: Any) -> None:
    """At the start and later; nothing has changed then."""
    with pytest.raises(ValueError, match=r"events a second, or math\.inf"):
        Limiter(rate, 1)
    limiter = Limiter(10, 1)
    with pytest.raises(ValueError, match=r"events a second, or math\.inf"):
        limiter.set_rate(rate)
    assert limiter.rate == 10


@pytest.mark.parametrize("rate", ["10", None, True, 1j, Decimal(1), [1]], ids=repr)
def test_rates_of_another_type(rate: Any) -> None:
    """A bool is no number of events."""
    with pytest.raises(TypeError, match="number of events a second"):
        Limiter(rate, 1)
    with pytest.raises(TypeError, match="number of events a second"):
        Limiter(1, 1).set_rate(rate)


@pytest.mark.parametrize("burst", [-1, -(10**30), 2**63])
def test_impossible_bursts(burst: Any) -> None:
    """Also those that Go has no number for."""
    with pytest.raises(ValueError, match="0 or more events"):
        Limiter(1, burst)
    limiter = Limiter(10, 1)
    with pytest.raises(ValueError, match="0 or more events"):
        limiter.set_burst(burst)
    assert limiter.burst == 1


@pytest.mark.parametrize("burst", [1.0, math.inf, "3", None, True], ids=repr)
def test_bursts_of_another_type(burst: Any) -> None:
    """Without a limit the rate is infinite, not the burst."""
    with pytest.raises(TypeError, match=r"is an int.*the rate is math\.inf"):
        Limiter(1, burst)
    with pytest.raises(TypeError, match="is an int"):
        Limiter(1, 1).set_burst(burst)


@pytest.mark.parametrize("tokens", [-1, -0.001, 3.001, math.nan, math.inf], ids=repr)
def test_impossible_tokens(tokens: Any) -> None:
    """Fewer than none, or more than there is room for."""
    with pytest.raises(ValueError, match=r"cannot start with .* tokens: 0 to 3"):
        Limiter(1, 3, tokens=tokens)


@pytest.mark.parametrize("tokens", ["1", True, [1]], ids=repr)
def test_tokens_of_another_type(tokens: Any) -> None:
    """A number or None."""
    with pytest.raises(TypeError, match="are a number or None"):
        Limiter(1, 3, tokens=tokens)


@pytest.mark.parametrize("n", [1.0, "1", None, True, math.nan], ids=repr)
async def test_counts_of_another_type(n: Any) -> None:
    """For all three."""
    limiter = Limiter(1, 3)
    with pytest.raises(TypeError, match=r"allow\(\) takes a number"):
        limiter.allow(n)
    with pytest.raises(TypeError, match=r"reserve\(\) takes a number"):
        limiter.reserve(n)
    with pytest.raises(TypeError, match=r"wait\(\) takes a number"):
        await limiter.wait(n)
    assert limiter.tokens == 3


async def test_negative_counts() -> None:
    """Nothing is given back that way."""
    limiter = Limiter(1, 3, tokens=0)
    for operation in (limiter.allow, limiter.reserve):
        with pytest.raises(ValueError, match="0 or more events"):
            operation(-1)
    with pytest.raises(ValueError, match="0 or more events"):
        await limiter.wait(-1)
    assert limiter.tokens == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, -math.inf], ids=repr)
def test_impossible_periods(seconds: Any) -> None:
    """A period is longer than no time."""
    with pytest.raises(ValueError, match=r"period of every\(\)"):
        every(seconds)


@pytest.mark.parametrize("seconds", ["1", None, True], ids=repr)
def test_periods_of_another_type(seconds: Any) -> None:
    """A number of seconds."""
    with pytest.raises(TypeError, match=r"period of every\(\)"):
        every(seconds)


def test_a_clock_is_a_function() -> None:
    """Not a number, nor anything else."""
    wrong: Any = 3.0
    with pytest.raises(TypeError, match="the clock of a Limiter is a function"):
        Limiter(1, 1, clock=wrong)
