"""What can be started as a goroutine, and what is said about the rest."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from unittest.mock import AsyncMock

import anyio
import pytest

from gochan import Group, go, run
from gochan._callables import coroutine_of


async def double(number: int) -> int:
    return number * 2


class Thing:
    async def method(self, number: int) -> int:
        return number * 2

    @classmethod
    async def of_class(cls, number: int) -> int:
        return number * 2

    @staticmethod
    async def of_nothing(number: int) -> int:
        return number * 2

    def plain(self, number: int) -> int:
        return number * 2

    async def __call__(self, number: int) -> int:
        return number * 2


def traced(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def inner(*args: Any) -> Any:
        return fn(*args)

    return inner


ASYNC: dict[str, Any] = {
    "function": double,
    "method": Thing().method,
    "classmethod": Thing.of_class,
    "staticmethod": Thing.of_nothing,
    "object": Thing(),
    "partial": functools.partial(double),
    "partial of partial": functools.partial(functools.partial(Thing().method)),
    "partial of an object": functools.partial(Thing()),
    "decorated": traced(double),
    "decorated twice": traced(traced(Thing().method)),
    "mock": AsyncMock(side_effect=double),
}


@pytest.mark.parametrize("name", ASYNC)
async def test_every_kind_of_async_callable(name: str) -> None:
    """They run, with their arguments."""
    with anyio.fail_after(20):
        async with Group() as group:
            handles = [group.go(ASYNC[name], 2), go(ASYNC[name], 3), await group.go_when_free(ASYNC[name], 4)]
        assert [await handle.result() for handle in handles] == [4, 6, 8]


def sync_returning_coroutine(number: int) -> Coroutine[Any, Any, int]:
    raise AssertionError("it must not be called")


async def generator(number: int) -> AsyncIterator[int]:
    yield number


PLAIN: dict[str, Any] = {
    "function": sync_returning_coroutine,
    "lambda": lambda number: double(number),
    "method": Thing().plain,
    "builtin": print,
    "class": Thing,
    "partial": functools.partial(sync_returning_coroutine),
    "decorated": traced(sync_returning_coroutine),
    "async generator": generator,
}


@pytest.mark.parametrize("name", PLAIN)
async def test_a_plain_one_is_refused_at_the_call(name: str) -> None:
    """Before it runs; the message names it and the way out."""
    async with Group() as group:
        for start in (group.go, go, group.try_go):
            with pytest.raises(TypeError, match=r"anyio\.to_thread\.run_sync") as caught:
                start(PLAIN[name], 1)
            assert "async function" in str(caught.value)
        with pytest.raises(TypeError, match=r"anyio\.to_thread\.run_sync"):
            await group.go_when_free(PLAIN[name], 1)
        assert "goroutines=0" in repr(group)
    with pytest.raises(TypeError, match=r"run\(\) takes"):
        await anyio.to_thread.run_sync(run, PLAIN[name], 1)


@pytest.mark.parametrize("wrong", [None, 3, "double", b"x", []], ids=repr)
async def test_what_is_no_callable_at_all(wrong: Any) -> None:
    """Named in the message."""
    async with Group() as group:
        with pytest.raises(TypeError, match="takes an async function, not"):
            group.go(wrong)


async def test_a_coroutine_instead_of_a_function() -> None:
    """The commonest slip: said what to leave out, and the coroutine is closed without a warning."""
    async with Group() as group:
        for start in (group.go, go):
            coroutine = double(1)
            with pytest.raises(TypeError, match="leave out the call"):
                start(coroutine)  # type: ignore[arg-type]
            assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_wrong_arguments_come_out_of_the_call() -> None:
    """As from any function; nothing is started and no place is taken."""
    async with Group(limit=1) as group:
        for _ in range(2):
            with pytest.raises(TypeError, match="positional argument"):
                group.go(double)  # type: ignore[call-arg]
            with pytest.raises(TypeError, match="positional argument"):
                await group.go_when_free(double, 1, 2)  # type: ignore[call-arg]
        assert await group.go(double, 2).result() == 4


async def test_an_async_looking_function_that_returns_something_else() -> None:
    """It has run by then; the error says what it returned."""

    @functools.wraps(double)
    def liar(number: int) -> int:
        return number

    with pytest.raises(TypeError, match="returned 5"):
        coroutine_of(liar, (5,), "go()")


def test_the_asker_is_named() -> None:
    """So that the message tells which call was wrong."""
    with pytest.raises(TypeError, match=r"^wg\.go\(\) takes"):
        coroutine_of(print, (), "wg.go()")


async def test_a_plain_one_is_refused_before_it_waits_for_a_place() -> None:
    """Also where every place is taken."""
    with anyio.fail_after(20):
        async with Group(limit=1) as group:
            group.go(anyio.sleep_forever)
            with pytest.raises(TypeError, match="async function"):
                await group.go_when_free(PLAIN["function"], 1)
            group.cancel()
