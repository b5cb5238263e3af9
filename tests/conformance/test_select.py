"""Evaluation and scope of selects, after Go's test/chan/select.go, select2.go, select4.go, select5.go and select8.go.

Python evaluates the arguments of a call in order, exactly once, whichever case wins; what Go's files check of that is
checked here in a few lines instead of generated programs. Leaving a select with `break` or `goto` (select8.go), and
left-hand sides that are not evaluated unless chosen (select4.go), have `match` in their place: only the chosen branch
runs.
"""

from __future__ import annotations

import gc
import sys

import pytest

from gochan import Channel, Event, Group, select, send, try_select

from .helpers import bounded, patient, settle


@bounded
async def test_operands_are_evaluated_once_in_order() -> None:
    """Channels and values of all cases are evaluated on entry, once each, also when one case is sure to win."""
    evaluated: list[str] = []
    ready: Channel[int] = Channel(1)
    idle: Channel[int] = Channel()

    def channel(name: str, which: Channel[int]) -> Channel[int]:
        evaluated.append(name)
        return which

    def value(number: int) -> int:
        evaluated.append(f"value {number}")
        return number

    for _ in range(5):
        evaluated.clear()
        index, _ = await select(
            send(channel("a", idle), value(1)), channel("b", idle), send(channel("c", ready), value(2))
        )
        assert index == 2
        assert evaluated == ["a", "value 1", "b", "c", "value 2"]
        assert ready.receive_nowait() == 2


@bounded
async def test_switching_cases_off_in_a_loop() -> None:
    """A loop that replaces a case by None once its work is done serves both sides and then ends."""
    first: Channel[int] = Channel(1)
    second: Channel[int] = Channel(1)
    sent: list[int] = []
    left = {0: 5, 1: 5}
    while any(left.values()):
        index, _ = await select(
            send(first, 10 + left[0]) if left[0] else None,
            send(second, 20 + left[1]) if left[1] else None,
        )
        left[index] -= 1
        sent.append((first, second)[index].receive_nowait())
    assert sorted(sent) == [11, 12, 13, 14, 15, 21, 22, 23, 24, 25]


@bounded
async def test_only_the_chosen_branch_runs() -> None:
    """Matching on the index runs the branch of the case that won, and no other."""
    ready: Channel[str] = Channel(1)
    idle: Channel[str] = Channel()
    await ready.send("value")
    branches: list[str] = []
    match await select(idle, ready):
        case (0, _):
            branches.append("idle")
        case (1, text):
            branches.append(text)
    assert branches == ["value"]


async def _losing_cases(rounds: int) -> int:
    """Run selects whose second case always loses; return by how many blocks the heap has grown after the first half."""
    work: Channel[int] = Channel()
    dummy: Channel[int] = Channel()
    stop = Event()
    before = 0

    async def sender() -> None:
        for i in range(rounds):
            await select(send(work, i), dummy)

    async with Group() as group:
        group.go(sender)
        for i in range(rounds):
            if i == rounds // 2:
                gc.collect()
                before = sys.getallocatedblocks()
            assert (await select(dummy, work, stop))[0] == 1
        gc.collect()
        after = sys.getallocatedblocks()
    assert dummy.statistics().receivers_waiting == 0
    stop.set()
    return after - before


@bounded
async def test_losing_cases_leave_no_memory_behind() -> None:
    """Thousands of selects that lose on an idle channel and an event do not make the heap grow."""
    assert await _losing_cases(4_000) < 1_000


@pytest.mark.slow
@patient(300)
async def test_losing_cases_leave_no_memory_behind_in_full() -> None:
    """The same in 100,000 rounds."""
    assert await _losing_cases(100_000) < 1_000


@bounded
async def test_nonblocking_selects_leave_nothing_in_the_queues() -> None:
    """A try_select that finds nothing never queued."""
    idle: Channel[int] = Channel()
    for _ in range(100):
        assert try_select(idle, send(idle, 1)) is None
    await settle(1)
    statistics = idle.statistics()
    assert (statistics.senders_waiting, statistics.receivers_waiting, statistics.sent) == (0, 0, 0)
