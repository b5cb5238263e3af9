"""Checked, never run: arguments and results of goroutines, groups and `run`."""

from __future__ import annotations

from typing import assert_type

from gochan import (
    Cancelled,
    Channel,
    ContextError,
    DeadlineExceeded,
    Goroutine,
    Group,
    Signal,
    go,
    run,
    sleep,
)


async def no_arguments() -> int:
    return 1


async def two_arguments(number: int, word: str) -> bytes:
    return word.encode() * number


async def with_default(number: int, word: str = "x") -> None: ...


def plain(number: int) -> int:
    return number


async def going(group: Group, ch: Channel[int]) -> None:
    assert_type(go(no_arguments), Goroutine[int])
    assert_type(go(two_arguments, 1, "x", name="two"), Goroutine[bytes])
    assert_type(await go(two_arguments, 1, "x").result(), bytes)
    assert_type(go(ch.send, 1), Goroutine[None])
    assert_type(go(ch.receive), Goroutine[int])
    go(with_default, 1)
    go(with_default, 1, "y")

    assert_type(group.go(no_arguments), Goroutine[int])
    assert_type(group.go(two_arguments, 1, "x", name="two"), Goroutine[bytes])
    assert_type(group.try_go(two_arguments, 1, "x"), Goroutine[bytes] | None)
    assert_type(await group.go_when_free(two_arguments, 1, "x"), Goroutine[bytes])


async def wrong_arguments(group: Group, ch: Channel[int]) -> None:
    go(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    go(two_arguments, "x", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    go(no_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    go(ch.send, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    go(plain, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    group.go(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    group.go(two_arguments, "x", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    group.go(plain, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    group.try_go(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await group.go_when_free(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def groups() -> None:
    async with Group(limit=3, errors="first") as group:
        assert_type(group, Group)
        group.cancel()
        group.cancel(ValueError("why"))
    Group(errors="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def handles(goroutine: Goroutine[Channel[int]]) -> None:
    assert_type(goroutine.id, int)
    assert_type(goroutine.name, str)
    assert_type(goroutine.done, Signal)
    goroutine.cancel(ValueError("why"))
    assert_type(await goroutine.result(), Channel[int])
    as_object: Goroutine[object] = goroutine
    del as_object


def running() -> None:
    assert_type(run(no_arguments), int)
    assert_type(run(two_arguments, 1, "x"), bytes)
    assert_type(run(two_arguments, 1, "x", backend="trio", leaks="error"), bytes)
    run(no_arguments, backend_options={"use_uvloop": True})
    run(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(plain, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(no_arguments, backend="curio")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def errors(cancelled: Cancelled, late: DeadlineExceeded) -> None:
    base: ContextError = cancelled
    time_out: TimeoutError = late
    del base, time_out


async def sleeping() -> None:
    await sleep(1.5)
    await sleep("long")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def inside_and_after() -> bytes:
    async with Group() as group:
        first = group.go(no_arguments)
    assert_type(await first.result(), int)  # not "possibly unbound"
    async with Group():
        return b""  # not "may return nothing"
