"""Random sequences of channel operations, compared step by step with the sequential model.

Each step is one call; after it everything that can move does. Then every operation so far must have the model's
outcome, or be parked where the model says so, and length and statistics must agree: that holds the values' FIFO order,
the waiters' FIFO order, exactly-one, all-or-nothing under cancellation, the overflow policies and close to the contract
at once.
"""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gochan import Group

from .pair import Call, Cancel, Choice, Close, Overflow, Pair, Step
from .shapes import capacities, channel_numbers

select_cases = st.none() | st.tuples(channel_numbers, st.sampled_from(["send", "plain", "ok"]))
calls = st.builds(Call, channel_numbers, st.sampled_from(["send", "plain"]))
steps = st.one_of(
    calls,
    calls,
    st.builds(Call, channel_numbers, st.sampled_from(["ok", "next"])),
    st.builds(Call, channel_numbers, st.sampled_from(["send", "plain"]), st.just(True)),
    st.builds(Call, channel_numbers, st.just("many"), st.just(False), st.none() | st.integers(1, 3)),
    st.builds(Choice, st.lists(select_cases, max_size=4).map(tuple), st.booleans(), st.booleans()),
    st.builds(Choice, st.lists(select_cases, min_size=1, max_size=4).map(tuple), st.booleans(), st.just(False)),
    st.builds(Cancel, st.integers(0, 9), st.booleans()),
    st.builds(Cancel, st.integers(0, 9), st.booleans()),
    st.builds(Close, channel_numbers, st.booleans()),
)


shapes = st.tuples(capacities, st.sampled_from(["block", "block", "block", "drop_newest", "drop_oldest"]))


async def run_steps(shapes: list[tuple[float, Overflow]], program: list[Step]) -> None:
    with anyio.fail_after(30):
        async with Group() as group:
            pair = Pair(group, shapes)
            for step in program:
                await pair.apply(step)
            await drain(pair)
            group.cancel()


async def drain(pair: Pair) -> None:
    """Close everything and take what is left: the order of the rest must agree, too."""
    for number in range(len(pair.real)):
        await pair.apply(Close(number, with_cause=False))
    for number, model in enumerate(pair.model):
        for _ in range(len(model.buffer) + 1):
            await pair.apply(Call(number, "plain", now=True))


programs = st.lists(steps, max_size=30)


# A select that may receive what is left of a closed channel, or send on it: the error is the send's.
LEFT_OR_CLOSED = [
    Choice(((1, "send"),), False, False),
    Close(1, False),
    Choice(((1, "plain"), (1, "send")), False, False),
]


@settings(max_examples=120)
@given(shapes=st.tuples(shapes, shapes).map(list), program=programs)
@example(shapes=[(0, "block"), (1, "block")], program=8 * LEFT_OR_CLOSED)
async def test_channels_agree_with_the_model(shapes: list[tuple[float, Overflow]], program: list[Step]) -> None:
    """Any sequence of operations on two channels has the outcomes, the order and the statistics of the model."""
    await run_steps(shapes, program)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=5_000)
@given(shapes=st.tuples(shapes, shapes).map(list), program=st.lists(steps, max_size=80))
async def test_channels_agree_with_the_model_at_length(
    shapes: list[tuple[float, Overflow]], program: list[Step]
) -> None:
    """The same with more and longer sequences."""
    await run_steps(shapes, program)
