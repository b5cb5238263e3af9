"""Checked, never run: what limiters and circuit breakers take and give."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, assert_never, assert_type

from gochan import (
    CircuitBreaker,
    CircuitBreakerError,
    CircuitOpen,
    Context,
    Counts,
    Limiter,
    Reservation,
    TooManyRequests,
    every,
)


async def limiters(ctx: Context) -> None:
    limiter = Limiter(10, 3)
    Limiter(math.inf, 0, tokens=0.5, clock=lambda: 1)
    Limiter(every(0.1), burst=1, tokens=None)
    Limiter(10, 1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Limiter("10", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Limiter(Fraction(1, 3), 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Limiter(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(limiter.allow(), bool)
    reservation = limiter.reserve(2)
    assert_type(reservation, Reservation)
    assert_type(reservation.ok, bool)
    assert_type(reservation.delay, float)
    reservation.cancel()
    reservation.delay = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    await limiter.wait()
    await limiter.wait(2, ctx=ctx)
    await limiter.wait(2, ctx)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(limiter.tokens, float)
    assert_type(limiter.rate, float)
    assert_type(limiter.burst, int)
    limiter.set_rate(every(2))
    limiter.set_burst(4)


def plain(number: int) -> str:
    return str(number)


async def fetch(number: int, text: str) -> bytes:
    return text.encode() * number


async def nothing() -> None: ...


async def breakers() -> None:
    breaker = CircuitBreaker()
    assert_type(await breaker.call(fetch, 1, "x"), bytes)
    assert_type(await breaker.call(plain, 1), str)
    assert_type(await breaker.call(lambda: fetch(1, "x")), bytes)
    assert_type(await breaker.call(nothing), None)
    await breaker.call(fetch, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await breaker.call(plain, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await breaker.call(fetch(1, "x"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert_type(breaker.counts, Counts)
    assert_type(breaker.counts.requests, int)
    assert_type(breaker.state, Literal["closed", "half-open", "open"])
    match breaker.state:
        case "closed" | "half-open":
            pass
        case "open":
            pass
        case _ as never:
            assert_never(never)
    done = breaker.allow()
    assert_type(done, Callable[[BaseException | None], None])
    done(None)
    done("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        await breaker.call(nothing)
    except CircuitOpen as error:
        assert_type(error.retry_after, float)
    except TooManyRequests as error:
        assert_type(error.name, str)
    except CircuitBreakerError:
        pass


def changed(
    name: str, old: Literal["closed", "half-open", "open"], new: Literal["closed", "half-open", "open"]
) -> None:
    print(name, old, new)


async def ask(_error: BaseException | None) -> bool:
    return True


def hooks() -> None:
    CircuitBreaker(
        "db",
        max_requests=3,
        interval=30,
        bucket_period=3.0,
        timeout=90,
        ready_to_trip=lambda counts: counts.valid_requests > 3,
        on_state_change=changed,
        is_successful=lambda error: isinstance(error, KeyError | None),
        is_excluded=lambda error: isinstance(error, TimeoutError),
    )
    CircuitBreaker(is_successful=ask)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CircuitBreaker("db", 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
