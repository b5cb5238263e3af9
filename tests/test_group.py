"""Groups and goroutines."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any

import anyio
import pytest
from tests.turns import given_up, parked

from gochan import Cancelled, Channel, Event, Goroutine, Group, go, select


async def value(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return number


async def fail(error: BaseException) -> None:
    await anyio.lowlevel.checkpoint()
    raise error


async def forever() -> None:
    await Event().wait()


async def test_the_group_is_left_when_all_are_done() -> None:
    """Results are there, done is set, and the handles say so."""
    with anyio.fail_after(20):
        async with Group() as group:
            handles = [group.go(value, number) for number in range(10)]
            assert not any(handle.done.is_set() for handle in handles)
        assert [await handle.result() for handle in handles] == list(range(10))
    assert all(handle.done.is_set() for handle in handles)
    assert [handle.id for handle in handles] == sorted({handle.id for handle in handles})
    assert "value" in repr(handles[0])
    assert "done" in repr(handles[0])


async def test_a_failure_cancels_the_others_and_comes_out_in_a_group() -> None:
    """The siblings end; the error is the one raised, with its traceback."""
    error = ValueError("boom")
    with anyio.fail_after(20):
        with pytest.raises(ExceptionGroup) as caught:
            async with Group() as group:
                sibling = group.go(forever)
                failing = group.go(fail, error)
        assert caught.value.exceptions == (error,)
        with pytest.raises(Cancelled, match="forever"):
            await sibling.result()
        with pytest.raises(ValueError, match="boom") as again:
            await failing.result()
    assert again.value is error
    assert any(entry.name == "fail" for entry in again.traceback)


async def test_all_errors_or_the_first() -> None:
    """``errors="all"`` groups every one, the body's too; ``"first"`` raises the first bare."""
    one, two = ValueError(1), KeyError(2)
    with anyio.fail_after(20):
        with pytest.raises(ExceptionGroup) as caught:
            async with Group() as group:
                group.go(fail, one)
                raise two
        assert set(caught.value.exceptions) <= {one, two}
        assert two in caught.value.exceptions
        with pytest.raises(ValueError) as first:
            async with Group(errors="first") as group:
                group.go(fail, one)
                group.go(forever)
        assert first.value is one


async def test_cancel_ends_the_group_quietly() -> None:
    """The body and the goroutines are cancelled; no error leaves the group."""
    reached = False
    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(forever)
            group.cancel()
            await Event().wait()
            reached = True
        with pytest.raises(Cancelled):
            await handle.result()
        await anyio.sleep(0)
    assert not reached


async def test_one_goroutine_can_be_cancelled_alone() -> None:
    """Its group goes on; ``result()`` raises ``Cancelled`` from the cause."""
    cause = RuntimeError("why")
    with anyio.fail_after(20):
        async with Group() as group:
            handle, other = group.go(forever), group.go(value, 3)
            handle.cancel(cause)
            handle.cancel()
            with pytest.raises(Cancelled) as caught:
                await handle.result()
            assert caught.value.__cause__ is cause
            assert await other.result() == 3
            handle.cancel()


async def test_a_cancelled_goroutine_that_goes_on_is_cancelled_again() -> None:
    """Level cancellation, as anyio has it: swallowing it once does not help."""
    times = 0

    async def stubborn() -> None:
        nonlocal times
        while times < 3:
            try:
                await Event().wait()
            except anyio.get_cancelled_exc_class():
                times += 1
        await Event().wait()

    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(stubborn)
            await anyio.wait_all_tasks_blocked()
            handle.cancel()
            with pytest.raises(Cancelled):
                await handle.result()
    assert times == 3


@pytest.mark.parametrize("who", ["goroutine", "group"])
async def test_a_shield_inside_a_goroutine_holds(who: str) -> None:
    """Clean-up under a shield is finished, whether the goroutine or its group is cancelled."""
    cleaned = False

    async def careful() -> None:
        nonlocal cleaned
        try:
            await Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await parked()
                cleaned = True

    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(careful)
            await anyio.wait_all_tasks_blocked()
            if who == "group":
                group.cancel()
            else:
                handle.cancel()
    assert cleaned


async def test_a_handle_is_a_case_of_a_select() -> None:
    """Its value is the result; a failure comes out of the select."""
    with anyio.fail_after(20):
        async with Group() as group:
            assert await select(group.go(value, 5), Channel[int]()) == (0, 5)
        with pytest.raises(ExceptionGroup):
            async with Group() as group:
                handle = group.go(fail, ValueError(7))
        with pytest.raises(ValueError, match="7"):
            await select(handle)


async def test_the_limit_holds_and_places_are_given_in_order() -> None:
    """Never more than the limit run; ``go`` waits its turn, ``try_go`` refuses, ``go_when_free`` waits."""
    running, most, order = 0, 0, list[int]()
    gate = Channel[None]()

    async def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(number)
        await gate.receive()
        running -= 1
        return number

    with anyio.fail_after(20):
        async with Group(limit=2) as group:
            handles = [group.go(work, number) for number in range(4)]
            assert group.try_go(work, 99) is None
            waiting = anyio.Event()
            late: list[Goroutine[int]] = []

            async def patient() -> None:
                waiting.set()
                late.append(await group.go_when_free(work, 4))

            async with anyio.create_task_group() as outside:
                outside.start_soon(patient)
                await waiting.wait()
                await parked()
                assert sorted(order) == [0, 1]  # trio starts a batch in its own order
                for _ in range(5):
                    await gate.send(None)
                    await parked(5)  # one place at a time, so that trio has no batch to shuffle
        assert [await handle.result() for handle in [*handles, *late]] == [0, 1, 2, 3, 4]
    assert most == 2
    assert order[2:] == [2, 3, 4]


async def test_what_waits_for_a_place_does_not_start_after_a_failure() -> None:
    """G3: it is cancelled, never run."""
    started: list[int] = []

    async def work(number: int) -> None:
        started.append(number)
        await fail(ValueError(number))

    with anyio.fail_after(20):
        with pytest.raises(ExceptionGroup) as caught:
            async with Group(limit=1) as group:
                handles = [group.go(work, number) for number in range(3)]
        assert len(caught.value.exceptions) == 1
        with pytest.raises(Cancelled):
            await handles[2].result()
    assert started == [0]


async def test_a_cancelled_wait_for_a_place_takes_none() -> None:
    """The place goes to whoever comes next."""
    with anyio.fail_after(20):
        async with Group(limit=1) as group:
            first = group.go(forever)
            with given_up():
                await group.go_when_free(value, 1)
            pending = group.go(value, 2)
            pending.cancel()
            with pytest.raises(Cancelled):
                await pending.result()
            first.cancel()
            assert await (await group.go_when_free(value, 3)).result() == 3


async def test_go_finds_the_nearest_group() -> None:
    """The innermost open one; a goroutine's own is its group, wherever ``go`` was called; one that ended is not."""
    found: dict[str, Any] = {}

    async def child(key: str) -> None:
        found[key] = go(value, 1)

    with anyio.fail_after(20):
        async with Group() as outer:
            async with Group() as inner:
                handle = go(value, 1)
                assert handle._group is inner
                await outer.go(child, "outer").result()
                await inner.go(child, "inner").result()
                assert found["outer"]._group in (outer, None)
                context = contextvars.copy_context()
            late = context.run(go, value, 2)
            assert late._group is outer


async def test_contextvars_are_those_at_the_call() -> None:
    """Also for a goroutine that waited for its place."""
    variable = contextvars.ContextVar[int]("variable")

    async def read() -> int:
        return variable.get()

    with anyio.fail_after(20):
        async with Group(limit=1) as group:
            handles = list[Goroutine[int]]()
            for number in range(3):
                variable.set(number)
                handles.append(group.go(read))
            variable.set(9)
        assert [await handle.result() for handle in handles] == [0, 1, 2]


async def test_async_callables_of_every_kind_can_be_started() -> None:
    """Methods, partials, objects with an async call, and decorated functions."""

    class Thing:
        async def method(self, number: int) -> int:
            return number

        async def __call__(self, number: int) -> int:
            return number

    def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(fn)
        def inner(*args: Any) -> Any:
            return fn(*args)

        return inner

    thing = Thing()
    with anyio.fail_after(20):
        async with Group() as group:
            handles: list[Goroutine[int]] = [
                group.go(thing.method, 1),
                group.go(thing, 2),
                group.go(partial(value, 3)),
                group.go(decorated(value), 4),
            ]
        assert [await handle.result() for handle in handles] == [1, 2, 3, 4]


@pytest.mark.parametrize("wrong", [print, lambda: None, 3], ids=["builtin", "plain", "no function"])
async def test_a_plain_function_is_refused_at_the_call(wrong: Any) -> None:
    """It does not run, and the message says what to do."""
    with anyio.fail_after(20):
        async with Group() as group:
            with pytest.raises(TypeError, match="async function"):
                group.go(wrong)
            coroutine = value(1)
            with pytest.raises(TypeError, match="leave out the call"):
                group.go(coroutine)  # type: ignore[arg-type]


async def test_a_group_is_entered_once_and_takes_nothing_when_it_has_ended() -> None:
    """Both misuses say so, and so does a group that was never entered."""
    group = Group()
    with pytest.raises(RuntimeError, match="async with"):
        group.go(value, 1)
    async with group:
        pass
    with pytest.raises(RuntimeError, match="ended"):
        group.go(value, 1)
    with pytest.raises(RuntimeError, match="once"):
        async with group:
            pass
    with pytest.raises(ValueError, match="limit"):
        Group(limit=0)
    with pytest.raises(ValueError, match="errors"):
        Group(errors="some")  # type: ignore[arg-type]


async def test_an_outer_cancellation_goes_through() -> None:
    """A scope around the group ends it and its goroutines, and is caught by that scope alone."""
    with anyio.fail_after(20):
        with given_up() as scope:
            async with Group() as group:
                handle = group.go(forever)
        assert scope.cancelled_caught
        with pytest.raises(Cancelled):
            await handle.result()
        await anyio.sleep(0)


class Compiled(Coroutine[Any, Any, Any]):
    """A coroutine that says nothing about itself, as some compiled ones."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self.inner = inner

    def send(self, value: Any) -> Any:
        return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Any:
        return self.inner.__await__()


@pytest.mark.asyncio_only
async def test_a_compiled_coroutine_is_cancelled_too() -> None:
    """A coroutine that cannot be asked whether it has started ends with its group like any other."""
    ch = Channel[int]()

    @wraps(ch.receive)
    def start() -> Any:
        return Compiled(ch.receive())

    with anyio.fail_after(20):
        async with Group() as group:
            goroutine = group.go(start)
            await anyio.sleep(0)
            group.cancel()
    assert ch.statistics().receivers_waiting == 0
    assert goroutine.done.is_set()
