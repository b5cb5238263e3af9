"""Waiting at a limiter with a context: what ends the wait, and what it gives back."""

from __future__ import annotations

import math
from typing import Any, Literal

import anyio
import pytest

import gochan
from gochan import DeadlineExceeded, Limiter, background, go, sleep
from gochan.testing import run


def now() -> float:
    return anyio.current_time()


@pytest.mark.gochan
async def test_a_context_that_ends_meanwhile() -> None:
    """Its own error, a fresh one from its cause; the tokens come back."""
    limiter = Limiter(1, 5, tokens=0)
    ctx = background().with_cancel()
    cause = KeyError("shut down")

    async def end() -> None:
        await sleep(1)
        ctx.cancel(cause)

    go(end)
    with pytest.raises(gochan.Cancelled) as first:
        await limiter.wait(5, ctx=ctx)
    assert (now(), limiter.tokens) == (1, 1)
    assert first.value.__cause__ is cause
    with pytest.raises(gochan.Cancelled) as second:
        await limiter.wait(ctx=ctx)
    assert second.value is not first.value
    assert limiter.tokens == 1


@pytest.mark.gochan
async def test_a_deadline() -> None:
    """Said at once if it comes too early, with nothing taken; a wait that ends just then is in time."""
    limiter = Limiter(10, 5, tokens=0)
    assert limiter.tokens == 0
    with background().with_timeout(0.2) as ctx:
        with pytest.raises(DeadlineExceeded, match=r"wait\(n=3\) on <Limiter 10/s burst=5"):
            await limiter.wait(3, ctx=ctx)
        assert (now(), limiter.tokens) == (0, 0)
        with pytest.raises(TimeoutError):
            await limiter.wait(3, ctx=ctx)
        await limiter.wait(1, ctx=ctx)
        assert now() == pytest.approx(0.1)
    with background().with_deadline(anyio.current_time() + 0.3) as ctx:
        await limiter.wait(2, ctx=ctx)
        assert now() == pytest.approx(0.3)
    with pytest.raises(gochan.Cancelled):
        await limiter.wait(0, ctx=ctx)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadline_at_the_very_moment(backend: Literal["asyncio", "trio"]) -> None:
    """It is in time, whichever of the two alarms the schedule lets fire first, and whatever adding floats has left."""

    async def main() -> None:
        limiter = Limiter(10, 1)
        for round_number in range(4):
            limiter.allow()
            with background().with_timeout(0.1) as ctx:
                await limiter.wait(ctx=ctx)
            assert now() == pytest.approx(0.1 + 0.3 * round_number)
            await sleep(0.2)

    for seed in range(10):
        run(main, backend=backend, seed=seed)


@pytest.mark.gochan
async def test_a_deadline_and_a_clock_of_one_s_own() -> None:
    """A deadline is a time of the loop, whatever the limiter goes by."""
    limiter = Limiter(10, 5, tokens=0, clock=lambda: 5e8)
    await sleep(100)
    with background().with_timeout(0.35) as ctx:
        await limiter.wait(3, ctx=ctx)
        assert now() == pytest.approx(100.3)
        with pytest.raises(DeadlineExceeded):
            await limiter.wait(1, ctx=ctx)


@pytest.mark.gochan
async def test_contexts_that_never_end() -> None:
    """Nor do they make a wait shorter or longer."""
    limiter = Limiter(10, 1, tokens=0)
    await limiter.wait(ctx=background())
    await limiter.wait(ctx=background().with_value("user", "ann"))
    with background().with_timeout(math.inf) as ctx:
        await limiter.wait(ctx=ctx)
    assert now() == pytest.approx(0.3)


async def test_it_takes_contexts_only() -> None:
    """Nothing is taken otherwise."""
    limiter, wrong = Limiter(10, 1), Any
    with pytest.raises(TypeError, match=r"Limiter\.wait\(\) takes a context"):
        await limiter.wait(ctx=wrong)  # type: ignore[arg-type]
    assert limiter.tokens == 1
