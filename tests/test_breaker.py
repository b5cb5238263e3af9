"""Circuit breakers: calls, what they raise, and cancellations. Go's own cases are in ``tests/conformance``."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
from itertools import pairwise
from typing import Any, Literal

import anyio.lowlevel
import pytest
from tests.circuits import Clock, Oops, fail, first_failure, tripped
from tests.threads import Call

import gochan
from gochan import CircuitBreaker, CircuitBreakerError, CircuitOpen, Counts, Group, TooManyRequests, go, sleep
from gochan.testing import CancelOutcome, cancel_sweep, explore, wait_idle

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


# ---- calls ----


async def test_what_can_be_called() -> None:
    """Plain and async functions, partial ones, objects, lambdas; their value comes out."""
    breaker = CircuitBreaker()

    async def double(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * number

    class Doubler:
        async def __call__(self, number: int) -> int:
            return 2 * number

    assert await breaker.call(double, 3) == 6
    assert await breaker.call(int, "6") == 6
    assert await breaker.call(functools.partial(double, 3)) == 6
    assert await breaker.call(lambda: double(3)) == 6
    assert await breaker.call(Doubler(), 3) == 6
    assert breaker.counts == Counts(5, 5, 0, 0, 5, 0)


async def test_what_it_raises() -> None:
    """Itself, with its own traceback and nothing around it."""
    breaker = CircuitBreaker()
    with pytest.raises(Oops) as caught:
        await breaker.call(fail)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert caught.traceback[-1].name == "fail"
    assert breaker.counts.total_failures == 1


@pytest.mark.parametrize("wrong", [None, 3, "fn"], ids=repr)
async def test_what_cannot_be_called(wrong: Any) -> None:
    """A TypeError at once; it does not count as a call."""
    breaker = CircuitBreaker()
    with pytest.raises(TypeError, match=r"CircuitBreaker\.call\(\) takes a function"):
        await breaker.call(wrong)
    coroutine: Any = fail()
    with pytest.raises(TypeError, match="leave out the call"):
        await breaker.call(coroutine)
    assert breaker.counts == Counts()


async def test_an_open_breaker() -> None:
    """It calls nothing, and says when to try again."""
    clock = Clock()
    breaker, called = tripped(clock, timeout=5), False

    def call() -> None:
        nonlocal called
        called = True

    clock.now = 2
    with pytest.raises(
        CircuitOpen, match="<CircuitBreaker 'db' open> refuses calls: try again in more than 3 s"
    ) as caught:
        await breaker.call(call)
    assert (caught.value.name, caught.value.retry_after) == ("db", 3)
    clock.now = 5  # strictly after: not yet
    with pytest.raises(CircuitOpen) as caught:
        breaker.allow()
    assert caught.value.retry_after == 0
    assert not called
    clock.now = 5.000000001
    await breaker.call(call)
    assert called
    assert breaker.state == "closed"


async def test_a_half_open_breaker() -> None:
    """It lets through so many at a time; the first failure opens it, and what ends later does not count."""
    clock = Clock()
    breaker = tripped(clock, timeout=5, max_requests=2)
    clock.now = 6
    first, second = breaker.allow(), breaker.allow()
    with pytest.raises(TooManyRequests, match="'db' half-open> lets 2 at a time try") as caught:
        await breaker.call(fail)
    assert caught.value.name == "db"
    first(Oops())
    assert breaker.state == "open"
    second(None)
    assert (breaker.state, breaker.counts) == ("open", Counts())


def test_one_base_for_both() -> None:
    """Who does not care why, catches that; the errors travel."""
    for kind in (CircuitOpen, TooManyRequests):
        assert issubclass(kind, CircuitBreakerError)
        assert str(kind())
    error = CircuitOpen("is open", "db", 3.5)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (str(twin), twin.name, twin.retry_after) == ("is open", "db", 3.5)


async def test_two_steps() -> None:
    """``done`` once, with an exception or None."""
    breaker = CircuitBreaker("db")
    done = breaker.allow()
    wrong: Any = "error"
    with pytest.raises(TypeError, match="the error of the call, or None"):
        done(wrong)
    done(Oops())
    for error in (Oops(), None):
        with pytest.raises(RuntimeError, match="called twice"):
            done(error)
    assert breaker.counts == Counts(1, 0, 1, 0, 0, 1)


@pytest.mark.gochan
async def test_a_task_that_only_asks_yields() -> None:
    """Also when every call is refused at once."""
    breaker = CircuitBreaker(ready_to_trip=first_failure)
    breaker.allow()(Oops())
    turns = 0

    async def other() -> None:
        nonlocal turns
        while breaker.counts.requests == 0 and turns < 1000:
            turns += 1
            await anyio.lowlevel.checkpoint()

    go(other)
    for _ in range(1000):
        with pytest.raises(CircuitOpen):
            await breaker.call(fail)
    assert turns > 3


# ---- cancellation ----


@pytest.mark.gochan
async def test_a_cancelled_call_counts_neither_way() -> None:
    """The hooks are not asked, and its place among those that try is free again."""
    asked = list[object]()
    breaker = CircuitBreaker(
        timeout=5,
        ready_to_trip=first_failure,
        is_successful=lambda error: not asked.append(error) and error is None,
    )
    with pytest.raises(Oops):
        await breaker.call(fail)
    await sleep(6)
    async with Group() as group:
        trying = group.go(breaker.call, sleep, 3600)
        await wait_idle()
        with pytest.raises(TooManyRequests):
            await breaker.call(fail)
        trying.cancel()
        await wait_idle()
        assert breaker.counts == Counts(1, 0, 0, 1)
        assert breaker.state == "half-open"
    await breaker.call(sleep, 1)
    assert breaker.state == "closed"
    assert len(asked) == 2


@pytest.mark.gochan
async def test_a_time_out_inside_is_a_failure_and_one_outside_is_none() -> None:
    """Only the function itself can say that the service is too slow."""
    breaker = CircuitBreaker()

    async def slow() -> None:
        with anyio.fail_after(1):
            await sleep(3600)

    with pytest.raises(TimeoutError):
        await breaker.call(slow)
    assert breaker.counts == Counts(1, 0, 1, 0, 0, 1)
    with anyio.move_on_after(1):
        await breaker.call(sleep, 3600)
    assert breaker.counts == Counts(2, 0, 1, 1, 0, 1)


async def test_what_else_says_nothing() -> None:
    """A group of cancellations, and a coroutine that is closed; a failure beside one is a failure."""
    breaker = CircuitBreaker()
    cancelled: list[BaseException] = [asyncio.CancelledError(), GeneratorExit()]
    for error, excluded in (
        (BaseExceptionGroup("", cancelled), True),
        (BaseExceptionGroup("", [BaseExceptionGroup("", cancelled)]), True),
        (BaseExceptionGroup("", [*cancelled, Oops()]), False),
        (ExceptionGroup("", [Oops()]), False),
        (gochan.Cancelled(), False),
    ):
        before = breaker.counts
        breaker.allow()(error)
        assert breaker.counts.total_exclusions - before.total_exclusions == excluded
        assert breaker.counts.total_failures - before.total_failures == (not excluded)


def test_a_call_of_a_loop_that_was_given_up() -> None:
    """Whose coroutine is closed by the collector, anywhere: its place is free."""
    clock = Clock()
    breaker = tripped(clock, timeout=5)
    clock.now = 6
    coroutine: Any = None

    async def main() -> None:
        nonlocal coroutine
        coroutine = breaker.call(anyio.lowlevel.checkpoint)
        coroutine.send(None)

    anyio.run(main)
    assert breaker.counts.requests == 1
    Call(coroutine.close).join()
    assert breaker.counts == Counts(1, 0, 0, 1)


@backends
def test_a_sweep_of_cancellations(backend: Backend) -> None:
    """At each point: what was let through is counted once, and a half-open breaker is never stuck."""

    class Scene:
        def __init__(self) -> None:
            self.breaker = CircuitBreaker(timeout=1, ready_to_trip=first_failure, max_requests=2)
            self.answers = gochan.Channel[int]()

        async def operation(self) -> None:
            await self.breaker.call(self.answers.receive)
            with pytest.raises(Oops):
                await self.breaker.call(fail)
            await sleep(1.5)
            for _ in range(2):
                await self.breaker.call(self.answers.receive)

        async def answer(self) -> None:
            for number in range(3):
                await sleep(1)
                with anyio.move_on_after(5):
                    await self.answers.send(number)

    async def setup() -> Scene:
        scene = Scene()
        go(scene.answer)
        return scene

    async def check(scene: Scene, outcome: CancelOutcome) -> None:
        breaker = scene.breaker
        breaker._state._check()
        counts = breaker.counts
        assert counts.requests == counts.total_successes + counts.total_failures + counts.total_exclusions
        if outcome.returned:
            assert breaker.state == "closed"
        await sleep(2)
        if breaker.state == "half-open":
            for _ in range(2):
                await breaker.call(lambda: None)
        assert breaker.state == "closed"

    assert cancel_sweep(setup, Scene.operation, check, backend=backend).points > 10


@backends
def test_many_at_once(backend: Backend) -> None:
    """In any schedule no more than max_requests try at a time, and changes follow each other."""

    async def main() -> None:
        changes, trying = list[tuple[str, str]](), 0
        breaker = CircuitBreaker(
            timeout=1,
            max_requests=2,
            ready_to_trip=lambda counts: counts.consecutive_failures >= 2,
            on_state_change=lambda _, old, new: changes.append((old, new)),
        )

        async def call(good: bool) -> None:
            nonlocal trying
            half_open = breaker.state == "half-open"
            trying += half_open
            assert trying <= 2
            try:
                await sleep(0.2)
                if not good:
                    raise Oops
            finally:
                trying -= half_open

        async def caller(number: int) -> None:
            for turn in range(4):
                try:
                    await breaker.call(call, (number + turn) % 3 == 0)
                except (Oops, CircuitBreakerError):
                    await sleep(0.3 * number)
                breaker._state._check()

        async with Group() as group:
            for number in range(5):
                group.go(caller, number)
        for (_, new), (old, _) in pairwise(changes):
            assert new == old

    explore(main, backend=backend, runs=60)
