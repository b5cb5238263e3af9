"""Calls that are made once for many, after golang.org/x/sync/singleflight/singleflight_test.go."""

from __future__ import annotations

import traceback
from typing import Any

import anyio.lowlevel
import pytest

from gochan import Cancelled, Channel, Flight, Group, SingleFlight

from .helpers import bounded, settle


@bounded
async def test_do() -> None:
    """The value comes back."""

    async def fn() -> str:
        return "bar"

    async with Group():
        flight = await SingleFlight[str, str]().do("key", fn)
    assert f"{flight.value} ({type(flight.value).__name__})" == "bar (str)"
    assert not flight.shared


@bounded
async def test_do_error() -> None:
    """So does the error."""
    some = ValueError("some error")

    async def fn() -> str:
        raise some

    async with Group():
        with pytest.raises(ValueError, match="some error") as caught:
            await SingleFlight[str, str]().do("key", fn)
    assert caught.value is some


@bounded
async def test_duplicates_are_suppressed() -> None:
    """Of ten that ask, five before and five while the call is made, at most nine are saved, and all get its value."""
    flights, calls = SingleFlight[str, str](), 0
    started: Channel[None] = Channel()
    values: Channel[str] = Channel(1)

    async def fn() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await started.send(None)
        value = await values.receive()
        values.send_nowait(value)  # for those that were too late to share
        await anyio.lowlevel.checkpoint()
        return value

    async def ask() -> None:
        flight = await flights.do("key", fn)
        assert flight.value == "bar"

    async with Group() as group:
        for _ in range(5):
            group.go(ask)
        await started.receive()
        for _ in range(5):
            group.go(ask)
        await settle()
        await values.send("bar")
    assert 1 <= calls < 10


@bounded
async def test_forget() -> None:
    """The third caller, after a forget, gets what the second one's call gives; the first one's ends alone."""
    flights = SingleFlight[str, int]()
    first_started, first_go = Channel[None](), Channel[None]()
    second_running, second_go = Channel[None](), Channel[None]()

    async def first() -> int:
        await first_started.send(None)
        await first_go.receive()
        return 1

    async def second() -> int:
        await second_running.send(None)
        await second_go.receive()
        return 2

    async with Group() as group:
        one = group.go(flights.do, "key", first)
        await first_started.receive()
        flights.forget("key")
        two = group.go(flights.do, "key", second)
        await second_running.receive()
        await first_go.send(None)
        assert await one.result() == Flight(1, shared=False)
        three = group.go(flights.do, "key", pytest.fail, "a third call")
        await settle()
        await second_go.send(None)
        assert await two.result() == await three.result() == Flight(2, shared=True)


@bounded
async def test_as_a_goroutine() -> None:
    """DoChan: a goroutine that asks is a handle, and a case of a select, with the outcome."""

    async def fn() -> str:
        return "bar"

    async with Group() as group:
        handle = group.go(SingleFlight[str, str]().do, "key", fn)
        assert await handle.result() == Flight("bar", shared=False)


@bounded
async def test_whatever_is_raised_reaches_all_who_wait() -> None:
    """PanicDo: five callers, five errors, one call; and the goroutines around go on."""
    flights, calls, failures = SingleFlight[str, None](), 0, 0

    async def fn() -> None:
        nonlocal calls
        calls += 1
        await settle()
        raise RuntimeError("invalid memory address or nil pointer dereference")

    async def ask() -> None:
        nonlocal failures
        try:
            await flights.do("key", fn)
        except RuntimeError:
            failures += 1

    async with Group() as group:
        for _ in range(5):
            group.go(ask)
    assert (calls, failures) == (1, 5)


@bounded
async def test_a_call_that_is_ended_reaches_all_who_wait() -> None:
    """GoexitDo: a function that ends its own goroutine answers nobody, and nobody waits on."""
    flights, ended = SingleFlight[str, Any](), 0

    async def fn() -> None:
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await Channel[int]().receive()
            except anyio.get_cancelled_exc_class() as cancelled:
                own = cancelled
        raise own

    async def ask() -> None:
        nonlocal ended
        try:
            await flights.do("key", fn)
        except Cancelled:
            ended += 1

    async with Group() as group:
        for _ in range(5):
            group.go(ask)
    assert ended == 5


@bounded
async def test_an_error_that_nobody_catches_ends_the_askers_group() -> None:
    """PanicDoChan: Go's process dies; here the group of whoever asked, with the error and where it arose."""
    flights = SingleFlight[str, None]()

    async def fn() -> None:
        raise ValueError("Panicking in DoChan")

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(flights.do, "key", fn)
            group.go(flights.do, "key", fn)
    for error in caught.value.exceptions:
        assert str(error) == "Panicking in DoChan"
        assert traceback.extract_tb(error.__traceback__)[-1].name == "fn"


@bounded
async def test_the_error_is_the_one_that_was_raised() -> None:
    """PanicErrorUnwrap: no wrapper, so ``except`` and ``__cause__`` work as ever."""

    class Custom(Exception): ...

    async def fn() -> None:
        raise Custom("boom") from OSError("below")

    async with Group():
        with pytest.raises(Custom) as caught:
            await SingleFlight[str, None]().do("key", fn)
    assert isinstance(caught.value.__cause__, OSError)
