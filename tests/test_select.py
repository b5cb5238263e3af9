"""``select`` and ``try_select``, beyond Go's scenarios: the choice, the shapes of cases, errors after the commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from math import sqrt
from typing import Any

import anyio
import pytest
from tests.conformance.helpers import blocks, receivers_parked, senders_parked, settle
from tests.turns import given_up

from gochan import Case, Channel, ChannelClosed, Event, Group, receive, receive_ok, select, send, try_select

Choose = Callable[..., Awaitable[Any]]


async def trying(*cases: Any, priority: bool = False) -> Any:
    """``try_select`` in the shape of ``select``."""
    return try_select(*cases, priority=priority)


both = pytest.mark.parametrize("choose", [select, trying], ids=["select", "try_select"])


def filled(value: Any = 1) -> Channel[Any]:
    channel = Channel[Any](1)
    channel.send_nowait(value)
    return channel


# ---- the choice ----


@both
@pytest.mark.parametrize("kinds", ["rrr", "sss", "eee", "rse", "cccc", "rscexrsc", "rsersersers"])
async def test_ready_cases_have_the_same_chance(choose: Choose, kinds: str) -> None:
    """Whatever the kinds: receive, send, event, closed; within 6 sigma of uniform."""

    def case(kind: str) -> Any:
        match kind:
            case "r":
                channel = Channel[int](4000)
                for number in range(4000):
                    channel.send_nowait(number)
                return channel
            case "s":
                return send(Channel[int](4000), 1)
            case "e":
                event = Event()
                event.set()
                return event
            case "c":
                channel = Channel[int]()
                channel.close()
                return receive_ok(channel)
            case _:
                return None

    cases = [case(kind) for kind in kinds]
    ready = len(kinds) - kinds.count("x")
    rounds = 1500
    with anyio.fail_after(20):
        chosen = Counter([(await choose(*cases))[0] for _ in range(rounds)])
    assert set(chosen) == {index for index, kind in enumerate(kinds) if kind != "x"}
    sigma = sqrt(rounds * (1 / ready) * (1 - 1 / ready))
    assert all(abs(count - rounds / ready) < 6 * sigma for count in chosen.values()), chosen


@both
async def test_priority_takes_the_first_ready_one(choose: Choose) -> None:
    """In the order given, every time; what is not ready does not count."""
    empty, first, second = Channel[int](), Channel[int](100), Channel[int](100)
    for number in range(100):
        first.send_nowait(number)
        second.send_nowait(number)
    with anyio.fail_after(20):
        for number in range(100):
            assert await choose(None, empty, first, second, priority=True) == (2, number)
        assert await choose(None, empty, first, second, priority=True) == (3, 0)


async def test_waiting_cases_are_chosen_by_who_comes() -> None:
    """Priority or not: the peer that arrives first decides, and the others are left without a trace."""
    for priority in (False, True):
        channels = [Channel[int]() for _ in range(3)]
        with anyio.fail_after(20):
            async with Group() as group:
                chosen = group.go(partial(select, *channels, priority=priority))
                await receivers_parked(channels[2])
                await channels[2].send(7)
        assert await chosen.result() == (2, 7)
        assert [channel.statistics().receivers_waiting for channel in channels] == [0, 0, 0]


async def test_of_two_that_become_ready_the_first_wins() -> None:
    """In one tick, before the select's task has run; the second value stays where it is."""
    first, second = Channel[int](1), Channel[int](1)
    with anyio.fail_after(20):
        async with Group() as group:
            chosen = group.go(select, first, second)
            await receivers_parked(second)
            second.send_nowait(2)
            first.send_nowait(1)
        assert await chosen.result() == (1, 2)
    assert (len(first), len(second)) == (1, 0)


# ---- the shapes of cases ----


@both
async def test_numbers_are_those_of_the_caller(choose: Choose) -> None:
    """``None`` keeps its number and is never chosen; any number of cases will do."""
    cases: list[Any] = [None] * 40
    cases[31] = filled("here")
    assert await choose(*cases) == (31, "here")
    assert try_select(*cases) is None


async def test_select_of_nothing_waits_for_ever() -> None:
    """No cases, or ``None`` alone; a cancellation ends it. ``try_select`` gives ``None``."""
    with anyio.fail_after(10):
        assert await blocks(select)
        assert await blocks(lambda: select(None, None))
        for cases in ([], [None]):
            with given_up() as scope:
                await select(*cases)
            assert scope.cancelled_caught
    assert try_select() is None
    assert try_select(None) is None


@pytest.mark.parametrize("peer", ["send", "receive"])
async def test_both_directions_of_one_channel_never_meet_each_other(peer: str) -> None:
    """The select waits until somebody else comes, for whichever direction that one brings."""
    channel = Channel[str]()
    both_ways = (receive(channel), send(channel, "own"))
    assert try_select(*both_ways) is None
    with anyio.fail_after(20):
        assert await blocks(lambda: select(*both_ways))
        async with Group() as group:
            chosen = group.go(select, *both_ways)
            await senders_parked(channel)
            channel._state._check()
            if peer == "send":
                await channel.send("other")
            else:
                assert await channel.receive() == "own"
        assert await chosen.result() == ((0, "other") if peer == "send" else (1, None))
    assert repr(channel) == "<Channel 0/0 senders=0 receivers=0>"


async def test_two_selects_on_both_directions_meet_each_other() -> None:
    """One sends, the other receives, and nothing is left."""
    channel = Channel[int]()
    with anyio.fail_after(20):
        async with Group() as group:
            chosen = [group.go(select, channel, send(channel, number)) for number in (1, 2)]
        results = [await handle.result() for handle in chosen]
    assert sorted(index for index, _ in results) == [0, 1]
    assert {results[0][1], results[1][1]} in ({None, 1}, {None, 2})
    assert repr(channel) == "<Channel 0/0 senders=0 receivers=0>"


@pytest.mark.parametrize("waiting", [False, True], ids=["ready", "waiting"])
async def test_a_channel_listed_twice_gives_one_value(waiting: bool) -> None:
    """To one of its cases, either of them, and the rest of its values stay."""
    channel, chosen = Channel[int](200), set[int]()
    with anyio.fail_after(10):
        for number in range(100):
            async with Group() as group:
                if not waiting:
                    channel.send_nowait(number)
                handle = group.go(select, channel, channel)
                if waiting:
                    await receivers_parked(channel, 2)
                    channel.send_nowait(number)
            index, value = await handle.result()
            assert value == number
            chosen.add(index)
    assert chosen == {0, 1}
    assert repr(channel) == "<Channel 0/200 senders=0 receivers=0>"


async def test_a_case_may_be_used_again() -> None:
    """In a later select, in try_select, and after a cancelled one."""
    channel = Channel[int]()
    case = receive(channel)
    with anyio.fail_after(20):
        with given_up():
            await select(case)
        async with Group() as group:
            for number in range(3):
                assert try_select(case) is None
                handle = group.go(select, case)
                await receivers_parked(channel)
                await channel.send(number)
                assert await handle.result() == (0, number)


class Mailbox:
    """A user's own selectable: it delegates to what it holds."""

    def __init__(self) -> None:
        self.inner = Channel[str](1)
        self.asked = 0

    def __case__(self) -> Case[str]:
        self.asked += 1
        return self.inner.__case__().map(str.upper)


@both
async def test_a_selectable_of_ones_own(choose: Choose) -> None:
    """Anything with ``__case__`` is one; it is asked once for each select."""
    mailbox = Mailbox()
    mailbox.inner.send_nowait("hello")
    assert await choose(None, mailbox) == (1, "HELLO")
    assert mailbox.asked == 1
    assert await choose(receive(mailbox.inner).map(len), send(mailbox.inner, "again")) == (1, None)  # type: ignore[arg-type]


async def test_a_selectable_of_ones_own_can_be_waited_for() -> None:
    """The value is mapped by the task that selects."""
    mailbox = Mailbox()
    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(select, mailbox, Event())
            await receivers_parked(mailbox.inner)
            await mailbox.inner.send("hello")
        assert await handle.result() == (0, "HELLO")


# ---- closed channels ----


@both
async def test_a_closed_channel_is_ready(choose: Choose) -> None:
    """A chosen receive raises when it is drained, a chosen send always; ``receive_ok`` gives it as a value."""
    cause = ValueError("over")
    channel = Channel[int](1)
    channel.send_nowait(1)
    channel.close(cause)
    assert await choose(channel) == (0, 1)
    for case in (channel, send(channel, 2)):
        with pytest.raises(ChannelClosed) as caught:
            await choose(None, case)
        assert caught.value.channel is channel
        assert caught.value.__cause__ is cause
    assert await choose(None, receive_ok(channel)) == (1, (None, False))


@pytest.mark.parametrize("direction", ["receive", "send", "ok"])
async def test_a_close_wakes_a_waiting_select(direction: str) -> None:
    """The case that was closed is the chosen one, and its sisters are gone."""
    channel, other = Channel[int](), Channel[int]()
    cases = {"receive": channel, "send": send(channel, 1), "ok": receive_ok(channel)}
    caught: list[BaseException] = []

    async def selecting() -> Any:
        try:
            return await select(other, cases[direction])
        except ChannelClosed as error:
            caught.append(error)
            return None

    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(selecting)
            await receivers_parked(other)
            channel.close()
            assert other.statistics().receivers_waiting == 0
        assert await handle.result() == ((1, (None, False)) if direction == "ok" else None)
    assert [error.channel for error in caught] == ([] if direction == "ok" else [channel])  # type: ignore[attr-defined]


# ---- cancellation ----


async def test_a_cancelled_select_has_done_nothing() -> None:
    """No value is taken or delivered, no entry is left."""
    full, empty = filled("kept"), Channel[int]()
    with given_up():
        await select(send(full, "new"), empty, send(empty, 1), Event())
    await settle()
    assert try_select(full) == (0, "kept")
    for channel in (full, empty):
        channel._state._check()
        assert channel.statistics().senders_waiting == channel.statistics().receivers_waiting == 0


@pytest.mark.parametrize("change", ["takes", "closes", "fills"])
async def test_a_case_method_that_changes_an_earlier_case(change: str) -> None:
    """The choice is made when all cases have been asked for: what was seen before may not hold any more."""
    early, late = Channel[str](1), Channel[str](1)
    late.send_nowait("late")
    if change == "takes":
        early.send_nowait("early")

    class Meddling:
        def __case__(self) -> Case[str]:
            match change:
                case "takes":
                    early.receive_nowait()
                case "closes":
                    early.close()
                case _:
                    early.send_nowait("early")
            return receive(late)

    selecting = select(receive_ok(early) if change == "closes" else early, Meddling(), priority=True)
    expected = {"takes": (1, "late"), "closes": (0, (None, False)), "fills": (0, "early")}
    with anyio.fail_after(20):
        assert await selecting == expected[change]


async def test_a_case_method_that_closes_an_earlier_case_and_nothing_else_is_ready() -> None:
    """The close is not missed: the select must not wait on a channel that is closed."""
    channel = Channel[str]()

    class Closing:
        def __case__(self) -> Case[None]:
            channel.close()
            return Event().__case__()

    with anyio.fail_after(20):
        assert await select(receive_ok(channel), Closing()) == (0, (None, False))
