"""SingleFlight: a failure is everybody's who waits, and nobody else's."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle

import gochan
from gochan import Event, Group, SingleFlight

from .work import for_ever

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@bounded
async def test_a_failure_is_everybody_s_and_not_the_group_s() -> None:
    """All raise it, with the traceback of the call and their own lines, which does not grow; the group goes on."""
    flights, gate, calls = SingleFlight[str, int](), Event(), list[int]()

    async def fail() -> int:
        calls.append(1)
        await gate.wait()
        raise ValueError("boom")

    async def ask() -> tuple[BaseException, list[str]]:
        with pytest.raises(ValueError, match="boom") as caught:
            await flights.do("key", fail)
        return caught.value, [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    async with Group() as group:
        asked = [group.go(ask) for _ in range(4)]
        await settle()
        gate.set()
        results = [await one.result() for one in asked]
    assert calls == [1]
    assert len({id(error) for error, _ in results}) == 1
    assert [names for _, names in results] == [["ask", "do", "fail"]] * 4
    assert repr(flights) == "<SingleFlight flights=0>"


@bounded
async def test_a_plain_one_s_failure_is_the_caller_s() -> None:
    """So are wrong arguments; the key is free again."""
    flights = SingleFlight[str, float]()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await flights.do("key", lambda: 1 / 0)
    with pytest.raises(TypeError, match="argument"):
        await flights.do("key", for_ever, 1)  # type: ignore[arg-type]
    assert repr(flights) == "<SingleFlight flights=0>"


@bounded
async def test_errors_in_a_group_s_shape() -> None:
    """As they are."""

    async def fail() -> int:
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    async with Group():
        with pytest.raises(ExceptionGroup) as caught:
            await SingleFlight[str, int]().do("key", fail)
    assert len(caught.value.exceptions) == 2


@backends
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt], ids=["SystemExit", "KeyboardInterrupt"])
def test_the_end_of_the_program_comes_out_bare(error: type[BaseException], backend: Backend) -> None:
    """Out of ``run``, as from everywhere."""

    async def leave() -> int:
        await anyio.lowlevel.checkpoint()
        raise error

    async def main() -> None:
        await SingleFlight[str, int]().do("key", leave)

    with pytest.raises(error):
        gochan.run(main, backend=backend)


@bounded
async def test_an_error_keeps_nothing_alive() -> None:
    """Neither through the flight nor in a cycle: when it is dropped it is gone, and what its frames held."""

    class Held: ...

    async def fail(held: Held) -> int:
        await anyio.lowlevel.checkpoint()
        raise ValueError("boom")

    async def ask() -> weakref.ref[Held]:
        held = Held()
        try:
            await flights.do("key", fail, held)
        except ValueError:
            pass
        return weakref.ref(held)

    flights = SingleFlight[str, int]()
    async with Group() as group:
        asked = [group.go(ask), group.go(ask)]
        gc.disable()
        try:
            references = [await one.result() for one in asked]
            await settle()
            assert [reference() for reference in references] == [None, None]
        finally:
            gc.enable()
