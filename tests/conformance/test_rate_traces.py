"""What golang.org/x/time/rate and sony/gobreaker did in random sequences, and that ours do the same.

How the sequences were recorded is said in ``traces/main.go``.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import anyio
import pytest
from tests.conformance.traces import cases

import gochan
from gochan import CircuitBreaker, CircuitOpen, Counts, Limiter, Reservation, TooManyRequests
from gochan.testing import run, wait_idle

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

RATE = cases("rate")
GOBREAKER = cases("gobreaker")


class FailedError(Exception):
    """What a call raises."""


class ExcludedError(Exception):
    """What the breaker does not count."""


# ---- limiters ----


def step(limiter: Limiter, granted: list[Reservation], operation: str, arguments: list[Any]) -> list[Any]:
    """One operation: its arguments and what it gave, as the trace has them."""
    state = limiter._state
    match operation, arguments:
        case "allow", [n, _]:
            return [n, limiter.allow(n)]
        case "reserve", [n, ok, delay]:
            reservation = limiter.reserve(n)
            if reservation.ok:
                granted.append(reservation)
            assert reservation.delay == (delay / 1e9 if ok else math.inf)
            return [n, reservation.ok, delay]
        case "within", [n, longest, _, _]:
            now = state.now()
            grant = state.bucket.grant(now, n, longest)
            if grant is not None:
                granted.append(Reservation(state, grant))
            return [n, longest, grant is not None, 0 if grant is None else grant.at - now]
        case "cancel", [which]:
            granted[which].cancel()
        case "rate", [rate]:
            limiter.set_rate(float(rate))
        case "burst", [burst]:
            limiter.set_burst(burst)
        case _:
            raise AssertionError(operation)
    return arguments


@pytest.mark.parametrize("number", range(len(RATE)))
def test_limiter_to_the_last_bit(number: int) -> None:
    """Every grant to the nanosecond and every number of tokens to the bit, also when the clock jumps back."""
    case, clock = RATE[number], [0.0]
    limiter, granted = Limiter(float(case["rate"]), case["burst"], clock=lambda: clock[0]), list[Reservation]()
    for place, (operation, now, *arguments, tokens) in enumerate(case["steps"]):
        clock[0] = now / 1e9
        assert step(limiter, granted, operation, arguments) == arguments, place
        assert limiter.tokens == tokens, place
        limiter._state._check()


@backends
def test_limiter_by_the_clock_of_the_loop(backend: Backend) -> None:
    """The same in virtual time, up to where the clock would jump back; every sleep ends at the nanosecond."""

    async def play(case: dict[str, Any]) -> None:
        limiter, granted = Limiter(float(case["rate"]), case["burst"]), list[Reservation]()
        for place, (operation, now, *arguments, tokens) in enumerate(case["steps"]):
            if now / 1e9 < anyio.current_time():
                return
            while anyio.current_time() < now / 1e9:
                await gochan.sleep(now / 1e9 - anyio.current_time())
            assert step(limiter, granted, operation, arguments) == arguments, place
            assert limiter.tokens == tokens, place

    for case in RATE:
        run(play, case, backend=backend)


# ---- circuit breakers ----


def six_in_ten(counts: Counts) -> bool:
    return counts.valid_requests >= 3 and counts.total_failures / counts.valid_requests >= 0.6


TRIPS: Any = {"default": None, "ratio": six_in_ten, "two": lambda counts: counts.consecutive_failures >= 2}
ENDS = {"success": None, "failure": FailedError(), "excluded": ExcludedError()}


@pytest.mark.parametrize("number", range(len(GOBREAKER)))
def test_breaker_to_the_last_count(number: int) -> None:
    """Every call that is let through or refused, every count and every change of state, to the nanosecond."""
    case, clock = GOBREAKER[number], [0.0]
    changes, calls = list[list[str]](), list[Any]()
    breaker = CircuitBreaker(
        max_requests=case["max_requests"],
        **{name: case[name] / 1e9 for name in ("interval", "bucket_period", "timeout")},
        ready_to_trip=TRIPS[case["trip"]],
        is_excluded=lambda error: isinstance(error, ExcludedError),
        on_state_change=lambda _, old, new: changes.append([old, new]),
        clock=lambda: clock[0],
    )
    assert breaker.state == "closed"  # Go's clock starts when the breaker is made
    for place, (operation, now, *arguments, counts, changed) in enumerate(case["steps"]):
        clock[0] = now / 1e9
        changes.clear()
        match operation, arguments:
            case "begin", [outcome]:
                try:
                    calls.append(breaker.allow())
                    got = "ok"
                except CircuitOpen:
                    got = "open"
                except TooManyRequests:
                    got = "many"
                assert got == outcome, place
            case "end", [which, end]:
                calls[which](ENDS[end])
            case _, [state]:
                assert breaker.state == state, place
        assert breaker.counts == Counts(*counts), place
        assert changes == changed, place
        breaker._state._check()


@backends
def test_breaker_by_the_clock_of_the_loop(backend: Backend) -> None:
    """The same in virtual time, by calls that are under way meanwhile, up to where the clock would jump back."""

    async def play(case: dict[str, Any]) -> None:
        changes, calls = list[list[str]](), list[tuple[gochan.Event, list[BaseException]]]()
        breaker = CircuitBreaker(
            max_requests=case["max_requests"],
            **{name: case[name] / 1e9 for name in ("interval", "bucket_period", "timeout")},
            ready_to_trip=TRIPS[case["trip"]],
            is_excluded=lambda error: isinstance(error, ExcludedError),
            on_state_change=lambda _, old, new: changes.append([old, new]),
        )
        assert breaker.state == "closed"  # Go's clock starts when the breaker is made

        async def under_way() -> None:
            released, error = gochan.Event(), list[BaseException]()
            calls.append((released, error))
            await released.wait()
            if error:
                raise error[0]

        async def call() -> str:
            try:
                await breaker.call(under_way)
            except CircuitOpen:
                return "open"
            except TooManyRequests:
                return "many"
            except (FailedError, ExcludedError):
                pass
            return "ok"

        async with gochan.Group() as group:
            for place, (operation, now, *arguments, counts, changed) in enumerate(case["steps"]):
                if now / 1e9 < anyio.current_time():
                    break
                while anyio.current_time() < now / 1e9:
                    await gochan.sleep(now / 1e9 - anyio.current_time())
                changes.clear()
                match operation, arguments:
                    case "begin", [outcome]:
                        before = len(calls)
                        caller = group.go(call)
                        await wait_idle()
                        assert outcome == "ok" if len(calls) > before else await caller.result() == outcome, place
                    case "end", [which, end]:
                        released, error = calls[which]
                        error += [ENDS[end]] if ENDS[end] else []
                        released.set()
                        await wait_idle()
                    case _, [state]:
                        assert breaker.state == state, place
                assert breaker.counts == Counts(*counts), place
                assert changes == changed, place
            group.cancel()

    for case in GOBREAKER:
        run(play, case, backend=backend)
