"""Wrong use: every error is at once, says what was wrong and what to do, and leaves everything as it was."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Any

import anyio
import pytest

from gochan import (
    Broadcast,
    Channel,
    ChannelClosed,
    Event,
    Group,
    go,
    receive,
    receive_ok,
    run,
    select,
    send,
    try_select,
)


async def nothing() -> None: ...


class Size(IntEnum):
    SMALL = 2


# ---- making a channel ----


def kind(wrong: object) -> str:
    """An id without an address, the same in every process."""
    return type(wrong).__name__


@pytest.mark.parametrize("capacity", [-1, -math.inf, math.nan, -(10**30)], ids=repr)
def test_impossible_capacities(capacity: Any) -> None:
    """A ValueError with the value and what is allowed."""
    with pytest.raises(ValueError, match=r"0 or more, or math\.inf") as caught:
        Channel[int](capacity)
    assert repr(capacity) in str(caught.value)


@pytest.mark.parametrize("capacity", [True, False, 1.0, 0.5, "3", None, [], Decimal(1), 1j], ids=repr)
def test_capacities_of_another_type(capacity: Any) -> None:
    """A TypeError that says which types are right; a bool is not a number of places."""
    with pytest.raises(TypeError, match=r"an int or math\.inf") as caught:
        Channel[int](capacity)
    assert repr(capacity) in str(caught.value)


def test_an_int_of_a_subclass_is_an_int() -> None:
    """A named number, for one."""
    assert Channel[int](Size.SMALL).capacity == 2


@pytest.mark.parametrize("overflow", ["drop", "BLOCK", "", None, 3, ["block"]], ids=repr)
def test_unknown_overflow_policies(overflow: Any) -> None:
    """A ValueError that lists the known ones."""
    with pytest.raises(ValueError, match="'block', 'drop_newest' or 'drop_oldest'"):
        Channel[int](1, overflow=overflow)


def test_the_options_of_a_channel_are_named() -> None:
    """The capacity alone is positional."""
    with pytest.raises(TypeError):
        Channel[int](1, "drop_oldest")  # type: ignore[misc]


# ---- using one ----


@pytest.mark.parametrize("limit", [0, -3, math.nan, 1.5, "3", math.inf], ids=repr)
async def test_limits_of_receive_many(limit: Any) -> None:
    """A whole number, 1 or more; nothing is taken otherwise."""
    channel = Channel[int](3)
    for number in range(3):
        channel.send_nowait(number)
    with pytest.raises((ValueError, TypeError), match="receive_many"):
        await channel.receive_many(limit)
    assert len(channel) == 3


async def test_a_bad_limit_does_not_wait() -> None:
    """The error comes before anything else, on an empty channel as well."""
    with anyio.fail_after(20), pytest.raises(ValueError, match="receive_many"):
        await Channel[int]().receive_many(0)


async def test_sending_on_a_closed_channel() -> None:
    """Nothing is stored by any of the ways to send."""
    channel = Channel[int](3)
    channel.close()
    for attempt in (channel.send(1), select(send(channel, 1))):
        with pytest.raises(ChannelClosed, match="closed"):
            await attempt
    for attempt_now in (lambda: channel.send_nowait(1), lambda: try_select(send(channel, 1))):
        with pytest.raises(ChannelClosed, match="closed"):
            attempt_now()
    assert len(channel) == 0
    assert channel.statistics().sent == 0


# ---- select ----


@pytest.mark.parametrize("wrong", [3, "ch", object(), [Channel[int]()], nothing, Channel, Event], ids=kind)
@pytest.mark.parametrize("position", [0, 1])
async def test_cases_that_are_none(wrong: Any, position: int) -> None:
    """A TypeError with the number of the case and what may stand there; none of the other cases is done."""
    channel = Channel[int](1)
    channel.send_nowait(1)
    cases = [channel, channel]
    cases[position] = wrong
    with pytest.raises(TypeError, match=f"case {position} of the select") as caught:
        await select(*cases)
    assert "send(channel, value)" in str(caught.value)
    with pytest.raises(TypeError, match=f"case {position} of the select"):
        try_select(*cases)
    assert len(channel) == 1


async def test_a_case_method_that_gives_no_case() -> None:
    """The message names what it gave."""

    class Wrong:
        def __case__(self) -> int:
            return 3

    with pytest.raises(TypeError, match="gave 3, not a Case"):
        await select(Wrong())  # type: ignore[type-var]


@pytest.mark.parametrize("error", [AttributeError("mine"), ZeroDivisionError("mine")], ids=repr)
async def test_a_case_method_that_fails(error: Exception) -> None:
    """Its own error comes out, an AttributeError too: it must not be mistaken for a missing ``__case__``."""

    class Broken:
        def __case__(self) -> Any:
            raise error

    channel = Channel[int](1)
    channel.send_nowait(1)
    for selecting in (lambda: try_select(channel, Broken()), lambda: try_select(Broken())):
        with pytest.raises(type(error), match="mine") as caught:
            selecting()
        assert caught.value is error
    assert len(channel) == 1


@pytest.mark.parametrize("wrong", [3, None, "ch", object()], ids=kind)
def test_send_receive_and_receive_ok_of_something_else(wrong: Any) -> None:
    """A TypeError that names the function and the thing."""
    for make, name in ((lambda: send(wrong, 1), "send"), (lambda: receive(wrong), "receive")):
        with pytest.raises(TypeError, match=rf"{name}\(\) takes"):
            make()
    with pytest.raises(TypeError, match=r"receive_ok\(\) takes"):
        receive_ok(wrong)


def test_receive_ok_is_for_channels() -> None:
    """An event has no closed state to tell."""
    with pytest.raises(TypeError, match=r"receive_ok\(\) takes a channel"):
        receive_ok(Event())  # type: ignore[arg-type]


# ---- goroutines ----


def test_go_outside_a_group() -> None:
    """Both ways in are named; the function is not called and no coroutine is left behind."""
    with pytest.raises(RuntimeError, match=r"gochan\.run\(main\).*Group"):
        go(nothing)


async def test_go_in_a_task_without_a_group() -> None:
    """The same inside a loop that was not started by ``run``."""
    with pytest.raises(RuntimeError, match=r"gochan\.run\(main\).*Group"):
        go(nothing)


@pytest.mark.parametrize("limit", [0, -1, math.nan, 1.5, "3"], ids=repr)
def test_limits_of_a_group(limit: Any) -> None:
    """A positive whole number of goroutines."""
    with pytest.raises((ValueError, TypeError), match="limit of a group"):
        Group(limit=limit)


def test_a_run_inside_a_run() -> None:
    """The loop's own error, and nothing is left behind."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"[Aa]lready running"):
            run(nothing)

    for backend in ("asyncio", "trio"):
        run(main, backend=backend)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [Channel, Event, Group], ids=lambda make: str(make.__name__))
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"])
def test_what_is_waited_on_is_not_copied(make: Callable[[], object], duplicate: Callable[[object], object]) -> None:
    """A copy would share waiters with the original; it is refused with a reason."""
    with pytest.raises(TypeError, match="cannot be copied"):
        duplicate(make())


@pytest.mark.parametrize("make", [Channel, lambda: Broadcast[int](1)], ids=["Channel", "Broadcast"])
def test_a_cause_is_an_exception(make: Callable[[], Any]) -> None:
    """Anything else is refused, and the channel stays open."""
    channel = make()
    for cause in ("why", ValueError, 3):
        with pytest.raises(TypeError, match="the cause is an exception or None"):
            channel.close(cause)
    assert not channel.closed
