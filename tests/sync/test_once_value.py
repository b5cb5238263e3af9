"""once_value: a value, or an exception, that is computed once and kept."""

from __future__ import annotations

import gc
import inspect
import traceback
import weakref
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle

import gochan
from gochan import Event, Group, once_value

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def for_ever() -> None:
    await Event().wait()


@bounded
async def test_a_value_is_computed_once() -> None:
    """Whoever asks while it is computed waits for it; whoever asks later has it at once."""
    calls, finish = list[int](), Event()

    @once_value
    async def value() -> list[int]:
        calls.append(1)
        await finish.wait()
        return [42]

    async with Group() as group:
        handles = [group.go(value) for _ in range(4)]
        await settle()
        finish.set()
        values = [await handle.result() for handle in handles]
    assert calls == [1]
    assert all(one is values[0] for one in values)
    assert await value() is values[0]


@bounded
async def test_plain_functions_too() -> None:
    """A value may be anything: None, an awaitable that is no coroutine, a class's instance."""
    counts = list[int]()
    assert await once_value(lambda: counts.append(1))() is None  # type: ignore[func-returns-value]
    event = Event()
    assert await once_value(lambda: event)() is event
    assert await once_value(dict)() == {}
    value = once_value(lambda: counts)
    assert await value() is await value()


@bounded
async def test_an_exception_is_kept() -> None:
    """ON-4: every call raises the same one, with the traceback of the run, which does not grow."""
    calls = list[int]()

    @once_value
    async def fail() -> int:
        calls.append(1)
        await anyio.lowlevel.checkpoint()
        raise ValueError("boom")

    async def ask() -> tuple[BaseException, list[str]]:
        with pytest.raises(ValueError, match="boom") as caught:
            await fail()
        error = caught.value
        return error, [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    async with Group() as group:
        handles = [group.go(ask) for _ in range(3)]
    errors = [await handle.result() for handle in handles]
    errors += [await ask() for _ in range(3)]
    assert calls == [1]
    assert len({id(error) for error, _ in errors}) == 1
    assert all(names[-1] == "fail" for _, names in errors)
    assert [names for _, names in errors] == [["ask", "get", "fail"]] * 6


@bounded
async def test_a_cancelled_computation_is_begun_again() -> None:
    """By the next one that waits."""
    calls, finish = list[int](), Event()

    @once_value
    async def value() -> int:
        calls.append(1)
        await finish.wait()
        return len(calls)

    async with Group() as group:
        first = group.go(value)
        await settle()
        second, third = group.go(value), group.go(value)
        await settle()
        first.cancel()
        await settle()
        finish.set()
        assert (await second.result(), await third.result()) == (2, 2)


@bounded
async def test_the_function_is_let_go() -> None:
    """go's TestOnceXGC: when it has run nothing holds it, whether it was plain or async."""

    class Held: ...

    async def run(plain: bool) -> weakref.ref[Held]:
        held = Held()

        async def slow(held: Held = held) -> str:
            return type(held).__name__

        def fast(held: Held = held) -> str:
            return type(held).__name__

        value = once_value(fast) if plain else once_value(slow)
        kept.append(value)
        reference = weakref.ref(held)
        del held, slow, fast
        gc.collect()
        assert reference() is not None
        assert await value() == "Held"
        return reference

    kept = list[Any]()
    for plain in (True, False):
        reference = await run(plain)
        gc.collect()
        assert reference() is None


def test_it_looks_like_the_function() -> None:
    """Its name and its docstring; it is async, whatever that one is."""

    @once_value
    def settings() -> int:
        """The settings."""
        return 1

    assert settings.__name__ == "settings"
    assert settings.__doc__ == "The settings."
    assert inspect.iscoroutinefunction(settings)
    assert not hasattr(settings, "__wrapped__")


@backends
def test_the_next_loop_has_the_value(backend: Backend) -> None:
    """A module's value outlives a run."""
    calls = list[int]()

    @once_value
    async def value() -> int:
        calls.append(1)
        await anyio.lowlevel.checkpoint()
        return len(calls)

    async def both() -> None:
        async with Group() as group:
            group.go(value)
            group.go(value)

    anyio.run(both, backend=backend)
    assert anyio.run(value, backend="trio" if backend == "asyncio" else "asyncio") == 1


@bounded
async def test_a_group_can_run_it() -> None:
    """It is an async function for everybody who asks for one."""

    @once_value
    def value() -> int:
        return 1

    async with Group() as group:
        assert await group.go(value).result() == 1
        group_value = gochan.WaitGroup()
        assert await group_value.go(value).result() == 1
