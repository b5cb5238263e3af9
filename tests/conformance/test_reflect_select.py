"""Every combination of cases against an oracle, after TestSelect and its neighbours in Go's src/reflect/all_test.go.

The generator makes selects out of ready, waiting, nil and closed cases, with and without a default, with and without a
helper that makes one waiting case ready later. The oracle says which indices may win, when the select must raise and
when it must block; afterwards exactly one channel may have changed, and no queue may hold a trace.

Not ported: reflection itself; the limit of 65,536 cases (gochan has none; that a select of more works is tested); two
defaults, or a send case without a value (the Python call cannot express them). A nil channel and the zero channel value
are both `None`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import anyio
import pytest

from gochan import Channel, ChannelClosed, Group, receive, receive_ok, select, send, try_select

from .helpers import bounded, patient, receivers_parked, senders_parked, settle

Kind = Literal[
    "room",  # send into a buffer with room
    "value",  # receive from a buffer with a value
    "receiver",  # send to a goroutine that waits to receive
    "sender",  # receive from a goroutine that waits to send
    "send",  # a send that must wait
    "receive",  # a receive that must wait
    "full",  # a send to a full buffer
    "nil",
    "closed send",
    "closed receive",
    "closed value",  # receive from a closed channel that still holds a value
]
KINDS: tuple[Kind, ...] = (
    "room",
    "value",
    "receiver",
    "sender",
    "send",
    "receive",
    "full",
    "nil",
    "closed send",
    "closed receive",
    "closed value",
)
READY = {"room", "value", "receiver", "sender", "closed send", "closed receive", "closed value"}
CAN_BE_HELPED = {"send", "receive", "full"}
SENDS = {"room", "receiver", "send", "full", "closed send"}
RECEIVES = {"value", "sender", "receive", "closed receive", "closed value"}


class Arm:
    """One case of a select: its channel, the goroutine on the other side if any, and what is expected of it."""

    def __init__(self, kind: Kind, index: int, with_ok: bool) -> None:
        self.kind = kind
        self.value = f"{kind} {index}"
        self.with_ok = with_ok and kind in RECEIVES
        self.channel: Channel[str] = Channel(1 if kind in {"room", "value", "full", "closed value"} else 0)
        self.partner_got: list[object] = []
        if kind in {"value", "full", "closed value"}:
            self.channel.send_nowait(self.value if kind != "full" else "old")
        if kind.startswith("closed"):
            self.channel.close()

    async def start_partner(self, group: Group) -> None:
        if self.kind == "receiver":
            group.go(self.receive_here)
            await receivers_parked(self.channel)
        elif self.kind == "sender":
            group.go(self.send_here)
            await senders_parked(self.channel)

    async def receive_here(self) -> None:
        self.partner_got.append(await self.channel.receive())

    async def send_here(self) -> None:
        await self.channel.send(self.value)
        self.partner_got.append("taken")

    def case(self) -> Any:
        if self.kind == "nil":
            return None
        if self.kind in SENDS:
            return send(self.channel, self.value)
        if self.with_ok:
            return receive_ok(self.channel)
        # The two spellings of a receive are the same case.
        return self.channel if len(self.value) % 2 else receive(self.channel)

    async def help(self) -> None:
        """Make a waiting case ready."""
        if self.kind == "receive":
            await self.channel.send(self.value)
        elif self.kind == "send":
            self.partner_got.append(await self.channel.receive())
        else:
            assert await self.channel.receive() == "old"

    def expected_result(self) -> object:
        """What the select returns when this case wins; `ChannelClosed` stands for raising it."""
        if self.kind in SENDS:
            return ChannelClosed if self.kind == "closed send" else None
        if self.kind == "closed receive":
            return (None, False) if self.with_ok else ChannelClosed
        return (self.value, True) if self.with_ok else self.value

    def check_afterwards(self, won: bool, helped: bool) -> None:
        statistics = self.channel.statistics()
        untouched_partner = self.kind in {"receiver", "sender"} and not won
        assert statistics.receivers_waiting == (1 if untouched_partner and self.kind == "receiver" else 0)
        assert statistics.senders_waiting == (1 if untouched_partner and self.kind == "sender" else 0)
        match self.kind:
            case "room":
                assert len(self.channel) == int(won)
            case "value" | "closed value":
                assert len(self.channel) == int(not won)
            case "full":
                assert len(self.channel) == 1
                assert self.channel.receive_nowait() == (self.value if won else "old")
            case "receiver":
                assert self.partner_got == ([self.value] if won else [])
            case "sender":
                assert self.partner_got == (["taken"] if won else [])
            case "send":
                assert self.partner_got == ([self.value] if won else [])
            case "receive":
                assert won == helped
            case _:
                assert len(self.channel) == 0


async def check(kinds: tuple[Kind, ...], *, default: bool, priority: bool, with_ok: bool, helped: int | None) -> None:
    """Make the select, predict it, run it, and look at everything it may have touched."""
    arms = [Arm(kind, index, with_ok) for index, kind in enumerate(kinds)]
    ready = [index for index, kind in enumerate(kinds) if kind in READY]
    may_win = ready[:1] if priority else ready
    must_block = not ready and not default and helped is None
    outcome: Any = "still waiting"

    async def run_select() -> None:
        nonlocal outcome
        cases = [arm.case() for arm in arms]
        try:
            if default:
                outcome = try_select(*cases, priority=priority)
            else:
                outcome = await select(*cases, priority=priority)
        except ChannelClosed as error:
            outcome = error

    async with Group() as group:
        for arm in arms:
            await arm.start_partner(group)
        chooser = group.go(run_select)
        if must_block:
            await settle()
            assert outcome == "still waiting"
            chooser.cancel()
        elif not ready and helped is not None and not default:
            may_win = [helped]
            await settle(4)
            assert outcome == "still waiting"
            group.go(arms[helped].help)
        await settle(6)

        winner: int | None = None
        if must_block:
            assert outcome == "still waiting"
        elif isinstance(outcome, ChannelClosed):
            (winner,) = (index for index, arm in enumerate(arms) if arm.channel is outcome.channel)
            assert arms[winner].expected_result() is ChannelClosed
        elif outcome is None:
            assert default
            assert not ready
        else:
            winner, result = outcome
            assert result == arms[winner].expected_result()
        if winner is not None:
            assert winner in may_win
        else:
            assert not ready
        for index, arm in enumerate(arms):
            arm.check_afterwards(index == winner, index == helped)
        group.cancel()


Setup = dict[str, Any]


def setups(kinds: tuple[Kind, ...]) -> Iterator[Setup]:
    """All the ways in which a list of cases can be selected over."""
    for priority, with_ok in product((False, True), repeat=2):
        if with_ok and not RECEIVES.intersection(kinds):
            continue
        yield {"default": True, "priority": priority, "with_ok": with_ok, "helped": None}
        yield {"default": False, "priority": priority, "with_ok": with_ok, "helped": None}
        if not READY.intersection(kinds):
            for helped, kind in enumerate(kinds):
                if kind in CAN_BE_HELPED:
                    yield {"default": False, "priority": priority, "with_ok": with_ok, "helped": helped}


@pytest.mark.parametrize("size", [0, 1, 2])
@bounded
async def test_every_small_select(size: int) -> None:
    """Every select of up to two cases, of every kind, in every order, does what the oracle says."""
    for kinds in product(KINDS, repeat=size):
        for setup in setups(kinds):
            await check(kinds, **setup)


@bounded
async def test_random_larger_selects() -> None:
    """Random selects of three to eight cases do what the oracle says."""
    rng = random.Random(43)
    for _ in range(150):
        kinds = tuple(rng.choices(KINDS, k=rng.randint(3, 8)))
        await check(kinds, **rng.choice(list(setups(kinds))))
    waiting: tuple[Kind, ...] = ("send", "receive", "full", "nil")
    for _ in range(60):
        kinds = tuple(rng.choices(waiting, k=rng.randint(3, 8)))
        await check(kinds, **rng.choice(list(setups(kinds))))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", KINDS)
@patient(1800)
async def test_every_select_of_three_cases(first: Kind) -> None:
    """Every select of three cases does what the oracle says."""
    for rest in product(KINDS, repeat=2):
        kinds = (first, *rest)
        for setup in setups(kinds):
            await check(kinds, **setup)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@patient(1800)
async def test_many_random_selects() -> None:
    """20,000 random selects of up to ten cases do what the oracle says."""
    rng = random.Random(4343)
    for _ in range(20_000):
        kinds = tuple(rng.choices(KINDS, k=rng.randint(0, 10)))
        await check(kinds, **rng.choice(list(setups(kinds))))


@bounded
async def test_every_ready_case_can_win() -> None:
    """Among cases of every ready kind, each wins some time, and those that are not ready never do."""
    winners: set[int] = set()
    kinds: tuple[Kind, ...] = ("room", "receive", "value", "send", "closed receive", "nil", "closed value", "full")
    for _ in range(200):
        arms = [Arm(kind, index, True) for index, kind in enumerate(kinds)]
        index, _ = await select(*[arm.case() for arm in arms])
        winners.add(index)
    assert winners == {index for index, kind in enumerate(kinds) if kind in READY}


@pytest.mark.parametrize("capacity", [0, 1])
@bounded
async def test_trying(capacity: int) -> None:
    """The non-blocking forms report not ready, done and closed alike for channels with and without buffer."""
    channel: Channel[int] = Channel(capacity)
    with pytest.raises(anyio.WouldBlock):
        channel.receive_nowait()
    if capacity:
        channel.send_nowait(1)
        with pytest.raises(anyio.WouldBlock):
            channel.send_nowait(2)
        assert channel.receive_nowait() == 1
    else:
        with pytest.raises(anyio.WouldBlock):
            channel.send_nowait(2)
    channel.close()
    assert try_select(receive_ok(channel)) == (0, (None, False))
    with pytest.raises(ChannelClosed):
        try_select(send(channel, 3))


@bounded
async def test_a_select_of_very_many_cases() -> None:
    """A select may have more than 65,536 cases, ready or not, and leaves all their queues when it is done."""
    number = 70_000
    channels: list[Channel[int]] = [Channel() for _ in range(100)]
    last: Channel[int] = Channel(1)
    cases: list[Channel[int] | None] = [channels[i % 100] if i % 7 == 0 else None for i in range(number)]
    cases.append(last)
    last.send_nowait(5)
    assert await select(*cases) == (number, 5)
    async with Group() as group:
        chooser = group.go(select, *cases)
        await receivers_parked(last)
        await last.send(6)
        assert await chooser.result() == (number, 6)
    assert all(channel.statistics().receivers_waiting == 0 for channel in channels)


@bounded
async def test_only_a_default() -> None:
    """A non-blocking select without cases does nothing."""
    assert try_select() is None
    assert try_select(priority=True) is None
