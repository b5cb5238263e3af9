"""One scene: a way of cancelling meets one operation, by a script.

A scene has a victim (a task that waits in the operation, inside the reach of a *source* of cancellation), and the
test's own task, which plays a *script*: at which turn of the loop the partner completes the operation, at which the
source fires, which of both comes first within a turn, and whether the partner comes as a callback of the loop instead.
When the script is over, the victim runs on through several suspensions that nothing may disturb.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import sniffio

from gochan import Channel

from .sources import Native, Source
from .worlds import Operation, assert_no_waiter

After = Literal["ends", "suspends", "ready", "parks"]


@dataclass(frozen=True)
class Script:
    """When the partner completes the operation and when the source fires, in turns of the loop."""

    complete: int
    fire: int
    first: Literal["complete", "fire"] = "complete"
    as_callback: bool = False


def scripts(reach: int = 3) -> Iterator[Script]:
    """Cancelled long before the partner comes, shortly before, in the same turn in both orders, shortly, long after."""
    for lag in range(-reach, reach + 1):
        complete, fire = max(0, lag), max(0, -lag)
        for as_callback in (False, True):
            yield Script(complete, fire, "complete", as_callback)
            if lag == 0:
                yield Script(complete, fire, "fire", as_callback)


@dataclass
class Outcome:
    """What the victim saw."""

    returned: bool = False
    result: Any = None
    deferred: bool = False
    """A cancellation had been asked for when the operation returned: it was put off."""
    went_on: bool = False
    """The suspension after the operation passed undisturbed."""
    ended: bool = False
    late: int = 0
    clean: bool = False
    log: list[str] = field(default_factory=list)


def later(function: Callable[[], None]) -> None:
    """Has the loop call the function in its next turn."""
    if sniffio.current_async_library() == "trio":
        import trio

        trio.lowlevel.current_trio_token().run_sync_soon(function)
    else:
        asyncio.get_running_loop().call_soon(function)


async def play(operation: Operation, source: Source, script: Script, after: After, *, cleaning_up: bool) -> Outcome:
    """Let one source meet one operation, by the script; check what must hold whatever happens; say what happened."""
    outcome = Outcome()
    side: Channel[int] = Channel(1)
    nobody: Channel[int] = Channel()
    native = isinstance(source, Native)

    async def body() -> None:
        outcome.result = await operation.call()
        outcome.returned = True
        outcome.deferred = source.pending()
        if after == "suspends":
            await anyio.sleep(0)
        elif after == "ready":
            if outcome.deferred:  # ready operations do not look for a pending cancellation
                await side.send(1)
                assert await side.receive() == 1
            await anyio.sleep(0)
        elif after == "parks" and outcome.deferred:
            await nobody.receive()
        outcome.went_on = after != "ends"

    async def scene() -> None:
        outcome.ended = await source.guard(body)
        for _ in range(6):
            try:
                await anyio.sleep(0)
            except anyio.get_cancelled_exc_class():
                if not native:
                    raise
                outcome.late += 1
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()
        outcome.clean = True

    async def victim() -> None:
        if cleaning_up:
            await source.clean_up(scene)
        else:
            await scene()
        if native:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    async with operation:
        await _meet(operation, source, script, victim)
        assert outcome.clean, "a cancellation nobody asked for reached the victim later"
        if outcome.deferred and after != "ends":
            assert not outcome.went_on, "the cancellation that was put off did not come at the next suspension"
        if source.lasts:
            assert outcome.late + (not outcome.ended) == 1, outcome
        else:
            assert outcome.late == 0, outcome
        await operation.check(returned=outcome.returned, result=outcome.result)
        assert_no_waiter(side, nobody)
    return outcome


async def _meet(operation: Operation, source: Source, script: Script, victim: Callable[[], Awaitable[None]]) -> None:
    """Starts the victim, waits until it waits, plays the script, waits for the victim's end."""

    async def act() -> None:
        for _ in range(10):  # the victim parks; in a clean-up, and in a task group, that takes some turns
            await anyio.sleep(0)

        def complete() -> None:
            if script.as_callback:
                later(operation.complete)
            else:
                operation.complete()

        for turn in range(max(script.complete, script.fire) + 1):
            steps = [complete] if turn == script.complete else []
            if turn == script.fire:
                steps.insert(0 if script.first == "fire" else len(steps), source.fire)
            for step in steps:
                step()
            await anyio.sleep(0)

    with anyio.fail_after(20):
        if sniffio.current_async_library() == "trio":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(victim)
                await act()
        else:
            task = asyncio.ensure_future(victim())
            try:
                await act()
                await asyncio.wait([task])
            finally:
                task.cancel()
            await task


async def turns(number: int) -> None:
    for _ in range(number):
        await anyio.sleep(0)


def reached(source: Source) -> Callable[[Callable[[], Awaitable[None]]], Awaitable[bool]]:
    """The source's guard, with a cancellation that lasts taken back by whoever asked for it."""

    async def guard(body: Callable[[], Awaitable[None]]) -> bool:
        ended = await source.guard(body)
        if ended and source.lasts:
            try:
                await turns(3)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()
        return ended

    return guard
