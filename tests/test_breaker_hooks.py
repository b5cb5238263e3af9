"""Circuit breakers: hooks that fail, clocks, loops and threads, and wrong use."""

from __future__ import annotations

import asyncio
import copy
import functools
import math
import pickle
import time
from collections.abc import Callable
from typing import Any

import anyio.lowlevel
import pytest
from tests.circuits import Clock, Oops, fail, first_failure, tripped
from tests.threads import Call

from gochan import CircuitBreaker, CircuitOpen, Counts, Group, sleep

# ---- hooks ----


async def test_a_hook_that_fails() -> None:
    """Its error comes out, with the call's own as its context; the call counts neither way."""
    failing = True

    def successful(error: BaseException | None) -> bool:
        if failing:
            raise KeyError("hook")
        return error is None

    for name in ("is_successful", "is_excluded"):
        clock = Clock()
        hooks: Any = {name: successful}
        breaker = CircuitBreaker(ready_to_trip=lambda _: True, timeout=5, clock=clock, **hooks)
        failing = True
        with pytest.raises(KeyError, match="hook") as caught:
            await breaker.call(fail)
        assert isinstance(caught.value.__context__, Oops)
        with pytest.raises(KeyError, match="hook"):
            await breaker.call(lambda: None)
        assert breaker.counts == Counts(2, 0, 0, 2)
        assert breaker.state == "closed"
        breaker._state._check()


async def test_a_hook_that_fails_while_half_open() -> None:
    """The place is free again."""
    clock, failing = Clock(), False

    def successful(error: BaseException | None) -> bool:
        if failing:
            raise KeyError("hook")
        return error is None

    breaker = tripped(clock, timeout=5, is_successful=successful)
    clock.now, failing = 6, True
    for _ in range(3):
        with pytest.raises(KeyError):
            await breaker.call(lambda: None)
        assert breaker.state == "half-open"
    failing = False
    await breaker.call(lambda: None)
    assert breaker.state == "closed"


async def test_a_decision_that_fails() -> None:
    """The failure is counted, and the breaker stays closed."""

    def decide(_: Counts) -> bool:
        raise KeyError("hook")

    breaker = CircuitBreaker(ready_to_trip=decide)
    for _ in range(2):
        with pytest.raises(KeyError):
            await breaker.call(fail)
    assert (breaker.state, breaker.counts) == ("closed", Counts(2, 0, 2, 0, 0, 2))


async def test_a_listener_that_fails() -> None:
    """Every change is complete before it is told."""
    clock, told = Clock(), list[str]()

    def listen(name: str, old: str, new: str) -> None:
        told.append(f"{name}: {old} to {new}")
        raise KeyError(new)

    breaker = CircuitBreaker("db", ready_to_trip=first_failure, on_state_change=listen, timeout=5, clock=clock)
    with pytest.raises(KeyError, match="open"):
        await breaker.call(fail)
    assert breaker.state == "open"
    clock.now = 6
    with pytest.raises(KeyError, match="half-open"):
        await breaker.call(lambda: None)  # noticed, told, and not called
    assert (breaker.state, breaker.counts) == ("half-open", Counts())
    with pytest.raises(KeyError, match="closed"):
        await breaker.call(lambda: None)
    assert breaker.state == "closed"
    assert told == ["db: closed to open", "db: open to half-open", "db: half-open to closed"]
    breaker._state._check()


def test_hooks_that_use_the_breaker() -> None:
    """In Go that is a deadlock."""
    seen = list[str]()
    holder = list[CircuitBreaker]()

    def decide(_: Counts) -> bool:
        holder[0].allow()(None)  # a success, meanwhile
        return True

    def listen(_name: str, _old: str, new: str) -> None:
        seen.append(holder[0].state)
        assert seen[-1] == new

    breaker = CircuitBreaker(ready_to_trip=decide, on_state_change=listen, clock=Clock())
    holder.append(breaker)
    breaker.allow()(Oops())
    assert seen == ["open"]
    breaker._state._check()


def test_a_decision_that_opens_it_by_itself() -> None:
    """Opened once, though both say so."""
    changes, depth = list[str](), 0
    holder = list[CircuitBreaker]()

    def decide(_: Counts) -> bool:
        nonlocal depth
        depth += 1
        if depth == 1:
            holder[0].allow()(Oops())
        return True

    breaker = CircuitBreaker(
        ready_to_trip=decide, on_state_change=lambda _, __, new: changes.append(new), clock=Clock()
    )
    holder.append(breaker)
    breaker.allow()(Oops())
    assert changes == ["open"]


def test_a_question_that_opens_it() -> None:
    """The call that was asked about belongs to the generation before."""
    holder, asked = list[CircuitBreaker](), list[object]()

    def successful(error: BaseException | None) -> bool:
        asked.append(error)
        if len(asked) == 1:
            holder[0].allow()(Oops())
        return error is None

    breaker = CircuitBreaker(ready_to_trip=first_failure, is_successful=successful)
    holder.append(breaker)
    breaker.allow()(None)
    assert (breaker.state, breaker.counts, len(asked)) == ("open", Counts(), 2)


@pytest.mark.parametrize("name", ["ready_to_trip", "on_state_change", "is_successful", "is_excluded"])
def test_hooks_are_plain_functions(name: str) -> None:
    """What an async one says would never be known; None is the default."""

    async def hook(*_: object) -> bool:
        return True

    for wrong in (hook, functools.partial(hook, 1), "hook", 3):
        options: Any = {name: wrong}
        with pytest.raises(TypeError, match=f"{name} of a CircuitBreaker is a plain function"):
            CircuitBreaker(**options)
    options = {name: None}
    assert CircuitBreaker(**options).state == "closed"


# ---- clocks, loops, threads ----


@pytest.mark.gochan
async def test_the_loop_s_clock() -> None:
    """Virtual here; strictly after a minute it is half-open."""
    breaker = CircuitBreaker(ready_to_trip=first_failure)
    await sleep(1000)
    with pytest.raises(Oops):
        await breaker.call(fail)
    await sleep(60)
    assert breaker.state == "open"
    await sleep(0.001)
    assert breaker.state == "half-open"


def test_the_interval_begins_with_the_first_use() -> None:
    """Not when it is made; and it is over strictly after its end."""
    clock = Clock()
    breaker = CircuitBreaker(interval=10, clock=clock)
    clock.now = 100
    breaker.allow()(None)
    clock.now = 110
    breaker.allow()(None)
    assert breaker.counts.requests == 2
    clock.now = 110.000000001
    assert breaker.counts.requests == 2  # nobody has looked
    assert breaker.state == "closed"
    assert breaker.counts.requests == 0


@pytest.mark.parametrize("second", ["asyncio", "trio"])
@pytest.mark.parametrize("first", ["asyncio", "trio"])
def test_the_next_loop_takes_it_over(first: str, second: str) -> None:
    """State and counts stay, and its time goes on."""
    pytest.importorskip("trio")
    breaker = CircuitBreaker("db", timeout=1000, ready_to_trip=first_failure)

    async def use() -> None:
        await breaker.call(anyio.lowlevel.checkpoint)
        with pytest.raises(Oops):
            await breaker.call(fail)

    anyio.run(use, backend=first)

    async def go_on() -> None:
        with pytest.raises(CircuitOpen) as caught:
            await breaker.call(fail)
        assert caught.value.retry_after == pytest.approx(1000, abs=100)

    anyio.run(go_on, backend=second)
    assert breaker.state == "open"


@pytest.mark.asyncio_only
def test_calls_under_way_in_a_loop_that_is_closed_keep_no_place() -> None:
    """A half-open breaker begins to try anew in the next loop; a late answer does not count."""
    clock = Clock()
    breaker = tripped(clock, timeout=5)
    clock.now = 6
    loop = asyncio.new_event_loop()
    task = loop.create_task(breaker.call(asyncio.sleep, 3600))
    loop.run_until_complete(asyncio.sleep(0))
    assert breaker.counts.requests == 1
    task.cancel()  # which nobody delivers
    loop.close()

    async def go_on() -> None:
        await breaker.call(anyio.lowlevel.checkpoint)
        assert breaker.state == "closed"

    anyio.run(go_on)
    coroutine: Any = task.get_coro()
    coroutine.close()
    assert breaker.counts == Counts()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


async def test_another_thread_is_refused_while_a_call_is_under_way() -> None:
    """With the remedy; the counts and repr can be read anywhere."""
    breaker = CircuitBreaker("db")
    done = breaker.allow()

    def elsewhere() -> None:
        for operation in (breaker.allow, lambda: breaker.state, lambda: done(None)):
            with pytest.raises(RuntimeError, match="another thread"):
                operation()
        with pytest.raises(RuntimeError, match="another thread"):
            asyncio.run(breaker.call(fail))
        assert breaker.counts.requests == 2
        assert repr(breaker) == "<CircuitBreaker 'db' closed>"

    with anyio.fail_after(5):
        async with Group() as group:
            group.go(breaker.call, anyio.sleep_forever)
            await anyio.wait_all_tasks_blocked()
            await Call(elsewhere).result()
            done(None)
            group.cancel()
    assert breaker.counts == Counts(2, 1, 0, 1, 1, 0)


def test_without_a_loop() -> None:
    """By ``time.monotonic``."""
    breaker = CircuitBreaker(timeout=0.001, ready_to_trip=first_failure)
    breaker.allow()(Oops())
    start = time.monotonic()
    while breaker.state == "open":
        assert time.monotonic() - start < 5
    assert time.monotonic() - start > 0.0009
    assert breaker.state == "half-open"


# ---- wrong use ----


@pytest.mark.parametrize("name", ["interval", "bucket_period", "timeout"])
@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, -math.inf], ids=repr)
def test_impossible_times(name: str, seconds: float) -> None:
    """Negative is no time; 0 is the default."""
    options: Any = {name: seconds}
    with pytest.raises(ValueError, match=f"the {name} of a CircuitBreaker"):
        CircuitBreaker(**options)


@pytest.mark.parametrize("name", ["interval", "bucket_period", "timeout"])
@pytest.mark.parametrize("seconds", ["1", None, True, 1j], ids=repr)
def test_times_of_another_type(name: str, seconds: Any) -> None:
    """A number of seconds."""
    options: Any = {name: seconds}
    with pytest.raises(TypeError, match=f"the {name} of a CircuitBreaker is a number of seconds"):
        CircuitBreaker(**options)


@pytest.mark.parametrize("wrong", [1.0, "1", None, True], ids=repr)
def test_max_requests_of_another_type(wrong: Any) -> None:
    """An int."""
    with pytest.raises(TypeError, match="max_requests of a CircuitBreaker is an int"):
        CircuitBreaker(max_requests=wrong)


def test_other_arguments() -> None:
    """Each has its error."""
    wrong: Any = 3
    with pytest.raises(TypeError, match="name of a CircuitBreaker is a str"):
        CircuitBreaker(wrong)
    with pytest.raises(TypeError, match="clock of a CircuitBreaker is a function"):
        CircuitBreaker(clock=wrong)
    with pytest.raises(ValueError, match="max_requests of a CircuitBreaker cannot be -1"):
        CircuitBreaker(max_requests=-1)
    with pytest.raises(ValueError, match="at most 100000"):
        CircuitBreaker(interval=3600, bucket_period=0.001)


def test_for_ever() -> None:
    """A breaker that stays open, and one that never forgets."""
    clock = Clock()
    breaker = tripped(clock, timeout=math.inf, interval=math.inf)
    clock.now = 9e9
    assert breaker.state == "open"
    assert CircuitBreaker(interval=math.inf)._state.settings.interval == 0


async def test_a_clock_that_fails() -> None:
    """Its error comes out; a call that was let through is not counted, and keeps no place."""
    clock = Clock()
    breaker = tripped(clock, timeout=5)
    clock.now = 6

    def spoil() -> None:
        clock.now = math.nan

    with pytest.raises(ValueError, match="must give a number of seconds"):
        await breaker.call(spoil)
    with pytest.raises(ValueError, match="must give a number of seconds"):
        breaker.allow()
    clock.now = 6
    assert breaker.counts == Counts(1, 0, 0, 1)
    await breaker.call(lambda: None)
    assert breaker.state == "closed"


def test_it_cannot_be_copied() -> None:
    """A copy would share the counts."""
    makes: list[Callable[[Any], object]] = [copy.copy, copy.deepcopy, pickle.dumps]
    for make in makes:
        with pytest.raises(TypeError, match="cannot be copied"):
            make(CircuitBreaker())


def test_reprs() -> None:
    """Name and state; what it counts is data."""
    clock = Clock()
    assert repr(CircuitBreaker()) == "<CircuitBreaker closed>"
    assert repr(tripped(clock)) == "<CircuitBreaker 'db' open>"
    assert CircuitBreaker("db").name == "db"
    assert Counts(3, 1, 1, 1).valid_requests == 2
    assert "total_failures=1" in repr(Counts(3, 1, 1, 1))
