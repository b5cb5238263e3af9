"""A native cancellation that arrives in the turn in which a group is cancelled anyway: asyncio makes one of the two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from gochan import Channel, Event, Group

pytestmark = pytest.mark.asyncio_only


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def fails_and(then: Callable[[], object]) -> None:
    """Fail; ``then`` is called in the same turn, after the group has heard of it."""
    await asyncio.sleep(0)
    this_task().add_done_callback(lambda _: then())
    raise LookupError


async def hosts(task_of_host: list[asyncio.Task[Any]], then: Callable[[], object], body: bool) -> None:
    """A group whose goroutine fails, while its host waits at the end or in its body."""
    task_of_host.append(this_task())
    async with Group() as group:
        group.go(fails_and, then)
        if body:
            await Channel[int]().receive()


@pytest.mark.parametrize("body", [False, True])
async def test_it_comes_after_the_errors(body: bool) -> None:
    """The failure is told first; the next operation that waits is cancelled, once."""
    told: list[str] = []
    host: list[asyncio.Task[Any]] = []

    async def program() -> None:
        try:
            await hosts(host, lambda: host[0].cancel(), body)
        except* LookupError:
            told.append("failed")
        assert this_task().cancelling() == 1
        try:
            await Event().wait()
        finally:
            told.append("cancelled")
            await asyncio.sleep(0.01)  # it is not delivered again
            told.append("cleaned up")

    with anyio.fail_after(5):
        task = asyncio.create_task(program())
        with pytest.raises(asyncio.CancelledError):
            await task
    assert told == ["failed", "cancelled", "cleaned up"]


@pytest.mark.parametrize("body", [False, True])
async def test_a_time_out_in_that_turn_is_one(body: bool) -> None:
    """``asyncio.timeout`` counts as it should."""
    with anyio.fail_after(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600) as time_out:
                loop = asyncio.get_running_loop()
                with pytest.raises(ExceptionGroup):
                    await hosts([], lambda: time_out.reschedule(loop.time() - 1), body)
                await Event().wait()
        assert this_task().cancelling() == 0


async def survives(then: Callable[[], object]) -> None:
    """A group that fails, and then what must not be cancelled."""
    with pytest.raises(ExceptionGroup):
        await hosts([], then, body=False)
    await asyncio.sleep(0.01)
    assert this_task().cancelling() == 0


async def test_without_one_nothing_is_cancelled() -> None:
    """The scope's own cancellations are all taken back."""
    with anyio.fail_after(5):
        await asyncio.create_task(survives(int))


async def test_one_from_before_is_not_asked_again() -> None:
    """A task that is being cancelled already may use groups in its clean-up."""

    async def program() -> None:
        try:
            await Event().wait()
        finally:
            with pytest.raises(ExceptionGroup):
                await hosts([], int, body=False)
            await asyncio.sleep(0.01)
            assert this_task().cancelling() == 1

    with anyio.fail_after(5):
        task = asyncio.create_task(program())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def inside_a_scope_of_the_same_task(clean_up: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope() as scope:
        try:
            await hosts([], scope.cancel, body=True)
        except* LookupError:
            pass
        finally:
            await clean_up()


async def inside_a_task_group_of_anyio(clean_up: Callable[[], Awaitable[None]]) -> None:
    async def child() -> None:
        try:
            await hosts([], tasks.cancel_scope.cancel, body=True)
        except* LookupError:
            pass
        finally:
            await clean_up()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)


async def inside_a_goroutine(clean_up: Callable[[], Awaitable[None]]) -> None:
    async def child() -> None:
        try:
            await hosts([], group.cancel, body=True)
        except* LookupError:
            pass
        finally:
            await clean_up()

    async with Group() as group:
        group.go(child)


@pytest.mark.parametrize("program", [inside_a_scope_of_the_same_task, inside_a_task_group_of_anyio, inside_a_goroutine])
async def test_a_scope_around_is_no_native_one(program: Callable[..., Awaitable[None]]) -> None:
    """Cancelled in the same turn, it goes on to respect shields."""
    cleaned_up: list[bool] = []

    async def clean_up() -> None:
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0.01)
            cleaned_up.append(True)

    with anyio.fail_after(5):
        await asyncio.create_task(in_a_task(program, clean_up))
    assert cleaned_up == [True]


async def in_a_task(program: Callable[..., Awaitable[None]], clean_up: Callable[[], Awaitable[None]]) -> None:
    await program(clean_up)
    assert this_task().cancelling() == 0
