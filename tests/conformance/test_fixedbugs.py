"""Bugs that Go once had, after its test/fixedbugs: bug147, issue8347, issue9110, and issue4313 with issue8336.

The order in which operands are evaluated (issue4313, issue8336) is in test_select.py. Not ported: issue21576 (a
deadlock is found although os/signal is imported), which belongs to the deadlock tests.
"""

from __future__ import annotations

import gc
import sys

from gochan import Channel, Group, receive_ok, select, try_select

from .helpers import bounded, receivers_parked, settle


@bounded
async def test_a_rendezvous_send_waits_for_the_receiver() -> None:
    """A second send does not complete while the receiver of the first is at work; it waits for the next receive."""
    channel: Channel[int] = Channel()
    finish_work: Channel[None] = Channel()
    events: list[str] = []

    async def worker() -> None:
        await channel.receive()
        events.append("first value")
        await finish_work.receive()
        events.append("work done")
        await channel.receive()

    async def sender() -> None:
        await channel.send(1)
        await channel.send(2)
        events.append("second sent")

    async with Group() as group:
        group.go(worker)
        group.go(sender)
        await settle()
        assert events == ["first value"]
        await finish_work.send(None)
    assert events == ["first value", "work done", "second sent"]


@bounded
async def test_the_ok_flag_turns_false_only_after_close() -> None:
    """A non-blocking receive_ok in a loop finds nothing while the channel is open, then (None, False)."""
    channel: Channel[bool] = Channel(1)
    for _ in range(10):
        assert try_select(receive_ok(channel)) is None
    channel.close()
    for _ in range(2):
        assert try_select(receive_ok(channel)) == (0, (None, False))


@bounded
async def test_selects_that_queue_three_times_are_all_woken_by_close() -> None:
    """Ten selects with one channel in three cases each end when it closes; repeated, nothing accumulates."""
    woken = 0
    first = 0

    async def chooser(channel: Channel[int]) -> None:
        nonlocal woken
        index, outcome = await select(receive_ok(channel), receive_ok(channel), receive_ok(channel))
        assert index in (0, 1, 2)
        assert outcome == (None, False)
        woken += 1

    for round_number in range(20):
        if round_number == 10:
            gc.collect()
            first = sys.getallocatedblocks()
        channel: Channel[int] = Channel()
        async with Group() as group:
            for _ in range(10):
                group.go(chooser, channel)
            await receivers_parked(channel, 30)
            channel.close()
    gc.collect()
    assert woken == 200
    assert sys.getallocatedblocks() - first < 1_000
