"""Checked, never run: arguments and results of goroutines, groups, `run`, contexts and the sync primitives."""

from __future__ import annotations

from typing import assert_type

import gochan
from gochan import (
    CancelContext,
    Cancelled,
    Channel,
    Context,
    ContextError,
    Flight,
    Goroutine,
    Group,
    Mutex,
    Once,
    RWMutex,
    Semaphore,
    Signal,
    SingleFlight,
    Ticker,
    WaitGroup,
    background,
    go,
    merge_contexts,
    run,
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
    assert_type(group.ctx, Context)


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


async def groups(ctx: Context) -> None:
    async with Group(ctx=ctx, limit=3, errors="first") as group:
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


async def contexts(error: Cancelled) -> None:
    ctx = background()
    assert_type(ctx, Context)
    assert_type(ctx.with_value("key", 1), Context)
    assert_type(ctx.without_cancel(), Context)
    assert_type(ctx.with_cancel(), CancelContext)
    assert_type(ctx.with_timeout(1, cause=ValueError()), CancelContext)
    assert_type(ctx.with_deadline(1.5), CancelContext)
    assert_type(merge_contexts(ctx, ctx), CancelContext)
    assert_type(ctx.done, Signal)
    assert_type(ctx.err, ContextError | None)
    assert_type(ctx.cause, BaseException | None)
    assert_type(ctx.deadline, float | None)
    ctx.cancel()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    stop = ctx.after_func(lambda: None)
    assert_type(stop(), bool)
    ctx.after_func(no_arguments)
    with ctx.with_cancel() as child:
        assert_type(child, CancelContext)
    async with ctx.scope():
        pass
    base: ContextError = error
    del base


async def sync(mutex: Mutex, rwmutex: RWMutex, semaphore: Semaphore, wg: WaitGroup, once: Once) -> None:
    async with mutex, rwmutex.read(), rwmutex.write(), semaphore.hold(2):
        pass
    assert_type(mutex.locked(), bool)
    assert_type(wg.count, int)
    assert_type(wg.go(two_arguments, 1, "x"), Goroutine[bytes])
    wg.go(two_arguments, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await once.do(plain, 1)
    await once.do(two_arguments, 1, "x")


async def flights(flight: SingleFlight[str, bytes]) -> None:
    done = await flight.do("key", two_arguments, 1, "x")
    assert_type(done, Flight[bytes])
    assert_type(done.value, bytes)
    assert_type(done.shared, bool)
    flight.forget(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def ticking(ticker: Ticker) -> None:
    async for fired_at in ticker:
        assert_type(fired_at, float)
    assert_type(await ticker.wait(), float)
    await gochan.sleep(1.5)
