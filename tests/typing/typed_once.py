"""Checked, never run: wait groups, things done once, and flights."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from gochan import Case, Channel, Flight, Goroutine, Once, Selectable, SingleFlight, WaitGroup, once_value, select


async def no_arguments() -> int:
    return 1


async def two_arguments(number: int, word: str) -> bytes:
    return word.encode() * number


def plain(number: int) -> int:
    return number


async def wait_groups(group: WaitGroup, ch: Channel[str]) -> None:
    group.add()
    group.add(2)
    group.done()
    assert_type(group.count, int)
    await group.wait()
    assert_type(group.go(no_arguments), Goroutine[int])
    assert_type(group.go(two_arguments, 1, "x", name="two"), Goroutine[bytes])
    assert_type(group.go(ch.receive), Goroutine[str])
    selectable: Selectable[None] = group
    assert_type(group.__case__(), Case[None])
    match await select(ch, group):
        case (0, word):
            assert_type(word, str)
        case (1, nothing):
            assert_type(nothing, None)
    del selectable


def wrong_wait_groups(group: WaitGroup) -> None:
    group.add("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    group.count = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    group.go(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    group.go(plain, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def once(once: Once) -> None:
    await once.do(no_arguments)
    await once.do(two_arguments, 1, "x")
    await once.do(plain, 1)
    await once.do(print, "any", "number", "of", "arguments")
    await once.do(lambda: 1)
    await once.do(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await once.do(plain, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await once.do(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@once_value
async def decorated() -> dict[str, int]:
    """An async one."""
    return {}


@once_value
def decorated_plain() -> list[str]:
    """A plain one."""
    return []


async def values() -> None:
    assert_type(await decorated(), dict[str, int])
    assert_type(await decorated_plain(), list[str])
    assert_type(await once_value(no_arguments)(), int)
    assert_type(decorated, Callable[[], Coroutine[Any, Any, dict[str, int]]])
    await decorated(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def wrong_values() -> None:
    once_value(two_arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    once_value(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def flights(flights: SingleFlight[str, int], pages: SingleFlight[tuple[str, int], bytes]) -> None:
    flight = await flights.do("key", no_arguments)
    assert_type(flight, Flight[int])
    assert_type(flight.value, int)
    assert_type(flight.shared, bool)
    value, shared = flight
    assert_type(value, int)
    assert_type(shared, bool)
    assert_type(await flights.do("key", plain, 1), Flight[int])
    assert_type(await pages.do(("x", 1), two_arguments, 1, "x"), Flight[bytes])
    flights.forget("key")
    assert_type(SingleFlight[str, int](), SingleFlight[str, int])


async def wrong_flights(flights: SingleFlight[str, int]) -> None:
    await flights.do(1, no_arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await flights.do("key", two_arguments, 1, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await flights.do("key", plain, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    flights.forget(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SingleFlight[list[int], int]()  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
