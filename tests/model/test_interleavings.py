"""Goroutines run against each other, unsettled: only what must hold under every interleaving is checked."""

from __future__ import annotations

from typing import Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gochan import Channel, ChannelClosed, Group, select, send, try_select

from .shapes import capacities, channel_numbers, settle

Action = Literal["send", "receive", "send now", "receive now", "select", "try select", "many", "yield"]
worker_programs = st.lists(
    st.tuples(
        st.sampled_from(
            ["send", "send", "receive", "receive", "send now", "receive now", "select", "try select", "many", "yield"]
        ),
        channel_numbers,
    ),
    max_size=12,
)


class Ledger:
    """What went in and what came out, noted by the goroutines themselves."""

    def __init__(self, channels: list[Channel[int]]) -> None:
        self.channels = channels
        self.sent: list[set[int]] = [set() for _ in channels]
        self.got: list[list[int]] = [[] for _ in channels]
        self.values = 0

    def next_value(self) -> int:
        self.values += 1
        return self.values

    def note_got(
        self, number: int, values: list[int], last: dict[tuple[int, int], int], owners: dict[int, int]
    ) -> None:
        for value in values:
            self.got[number].append(value)
            # Of one producer's values on one channel, a consumer sees the earlier first.
            key = (number, owners[value])
            assert last.get(key, -1) < value, "out of order"
            last[key] = value

    async def work(self, me: int, program: list[tuple[Action, int]], owners: dict[int, int]) -> None:
        last: dict[tuple[int, int], int] = {}
        for action, number in program:
            channel = self.channels[number]
            value = self.next_value()
            owners[value] = me
            try:
                match action:
                    case "send":
                        await channel.send(value)
                        self.sent[number].add(value)
                    case "send now":
                        channel.send_nowait(value)
                        self.sent[number].add(value)
                    case "receive":
                        self.note_got(number, [await channel.receive()], last, owners)
                    case "receive now":
                        self.note_got(number, [channel.receive_nowait()], last, owners)
                    case "many":
                        self.note_got(number, await channel.receive_many(), last, owners)
                    case "select" | "try select":
                        other = 1 - number
                        cases = (self.channels[other], send(channel, value), channel)
                        outcome = await select(*cases) if action == "select" else try_select(*cases)
                        if outcome is None:
                            continue
                        index, received = outcome
                        if index == 1:
                            self.sent[number].add(value)
                        else:
                            assert received is not None
                            self.note_got(other if index == 0 else number, [received], last, owners)
                    case "yield":
                        await anyio.lowlevel.checkpoint()
            except (anyio.WouldBlock, ChannelClosed):
                pass

    def check(self) -> None:
        for number, channel in enumerate(self.channels):
            left = []
            while True:
                try:
                    left.append(channel.receive_nowait())
                except (anyio.WouldBlock, ChannelClosed):
                    break
            out = self.got[number] + left
            assert len(out) == len(set(out)), "delivered twice"
            assert set(out) == self.sent[number], "lost, or delivered although the send failed"
            statistics = channel.statistics()
            assert (statistics.sent, statistics.received) == (len(out), len(out))
            assert statistics.senders_waiting == statistics.receivers_waiting == 0


async def run_workers(
    sizes: tuple[float, float], workers: list[list[tuple[Action, int]]], cancels: list[tuple[int, int, bool]]
) -> None:
    with anyio.fail_after(30):
        ledger = Ledger([Channel(size) for size in sizes])
        owners: dict[int, int] = {}
        async with Group() as group:
            scopes = [anyio.CancelScope() for _ in workers]

            async def run(me: int) -> None:
                with scopes[me]:
                    await ledger.work(me, workers[me], owners)

            handles = [group.go(run, me) for me in range(len(workers))]
            for which, pause, by_handle in cancels:
                for _ in range(pause):
                    await anyio.lowlevel.checkpoint()
                # In one turn of the loop: a waiter is cancelled, and somebody wants to deal with it.
                me = which % len(workers)
                if by_handle:
                    handles[me].cancel()
                else:
                    scopes[me].cancel()
                for number, channel in enumerate(ledger.channels):
                    value = ledger.next_value()
                    owners[value] = -1
                    if try_select(send(channel, value)) is not None:
                        ledger.sent[number].add(value)
                    outcome = try_select(channel)
                    if outcome is not None:
                        ledger.got[number].append(outcome[1])
            await settle()
            for channel in ledger.channels:
                channel.close()
        ledger.check()


workers = st.lists(worker_programs, min_size=1, max_size=6)
cancels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=6)
sizes = st.tuples(capacities, capacities)


@settings(max_examples=100)
@given(sizes=sizes, workers=workers, cancels=cancels)
async def test_nothing_is_lost_or_doubled(
    sizes: tuple[float, float], workers: list[list[tuple[Action, int]]], cancels: list[tuple[int, int, bool]]
) -> None:
    """Whatever goroutines do and whoever is cancelled: a value arrives, once, if and only if its send returned."""
    await run_workers(sizes, workers, cancels)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=5_000)
@given(sizes=sizes, workers=workers, cancels=cancels)
async def test_nothing_is_lost_or_doubled_at_length(
    sizes: tuple[float, float], workers: list[list[tuple[Action, int]]], cancels: list[tuple[int, int, bool]]
) -> None:
    """The same with more programs."""
    await run_workers(sizes, workers, cancels)
