"""The clockwork: ways of cancelling a task, and one scene that lets such a way meet one operation.

A scene has a victim (a task that waits in the operation, inside the reach of a *source* of cancellation), and the test's
own task, which plays a *script*: at which turn of the loop the partner completes the operation, at which the source
fires, which of both comes first within a turn, and whether the partner comes as a callback of the loop instead. When the
script is over, the victim runs on through several suspensions that nothing may disturb.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import pytest
import sniffio

from gochan import Channel

from .operations import Operation, assert_no_waiter

After = Literal["ends", "suspends", "ready", "parks"]
Body = Callable[[], Awaitable[None]]


class Abort(Exception):
    """What ends a task group in these tests."""


class Source:
    """One way of cancelling. Its reach is `guard`; what it asks for is withdrawn when `guard` is left, unless it lasts."""

    lasts = False
    """The cancellation outlives the guard: it must arrive, once, even if the body ended before it could."""
    exact = True
    """`fire` cancels at once, not some turns later."""
    by_turns = True
    """When it cancels depends on the turns of the loop alone, not on a clock."""

    async def guard(self, body: Body) -> bool:
        """Runs the body; tells whether it came to its end."""
        raise NotImplementedError

    def fire(self) -> None:
        """Cancels."""
        raise NotImplementedError

    def pending(self) -> bool:
        """Called in the body: this source has asked for a cancellation that has not been delivered yet."""
        raise NotImplementedError

    async def clean_up(self, scene: Callable[[], Awaitable[None]]) -> None:
        """Runs the scene as the clean-up code of a task that is being cancelled already."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------------------------------
# asyncio's own ways


class Native(Source):
    """What asyncio's own ways have in common: the count of `Task.cancelling`."""

    base = 0

    def __init__(self) -> None:
        self.inside = False

    def pending(self) -> bool:
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling() > self.base

    async def clean_up(self, scene: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.base = 1
            await scene()
        assert task.cancelling() == 1
        task.uncancel()


class TaskCancel(Native):
    """`task.cancel()`"""

    lasts = True

    async def guard(self, body: Body) -> bool:
        task = self.task = asyncio.current_task()
        assert task is not None
        try:
            await body()
        except asyncio.CancelledError:
            assert task.cancelling() == self.base + 1
            task.uncancel()
            return False
        return True

    def fire(self) -> None:
        assert self.task is not None
        self.task.cancel("from the test")


class Timeout(Native):
    """`async with asyncio.timeout(...)`, due this very moment: its callback runs in the next turn of the loop."""

    exact = False

    async def guard(self, body: Body) -> bool:
        try:
            async with asyncio.timeout(None) as self.timeout:
                self.inside = True
                try:
                    await body()
                finally:
                    self.inside = False
                return True
        except (TimeoutError, asyncio.CancelledError):  # 3.11's timeout reports as the latter in a clean-up
            return False

    def fire(self) -> None:
        if self.inside:
            self.timeout.reschedule(asyncio.get_running_loop().time())


class WaitFor(Native):
    """`asyncio.wait_for(...)`, whose timer falls due while the loop is kept busy."""

    exact = False
    by_turns = False
    seconds = 0.001

    async def guard(self, body: Body) -> bool:
        self.due = time.perf_counter() + self.seconds
        try:
            await asyncio.wait_for(self._in_task_of_its_own(body), self.seconds)
        except TimeoutError:
            return False
        return True

    async def _in_task_of_its_own(self, body: Body) -> None:
        task = asyncio.current_task()
        assert task is not None
        base, self.base = self.base, task.cancelling()  # 3.11 makes another task for it
        try:
            await body()
        finally:
            self.base = base

    def fire(self) -> None:
        while time.perf_counter() < self.due + 0.001:  # uvloop counts in milliseconds
            pass


class GroupAbort(Native):
    """A task of an `asyncio.TaskGroup` whose sibling fails."""

    exact = False

    async def guard(self, body: Body) -> bool:
        base = self.base
        ended = False

        async def child() -> None:
            nonlocal ended
            self.base = 0
            try:
                await body()
                ended = True
            finally:
                self.base = base
                self.bomb.cancel()

        await self.group(lambda group: group.create_task(child()))
        return ended

    async def group(self, fill: Callable[[asyncio.TaskGroup], object]) -> None:
        """Runs a group with a task that fails when the source fires, and with what `fill` brings."""
        task = asyncio.current_task()
        assert task is not None
        base = self.base
        self.bomb: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asked = False

        async def boom() -> None:
            await self.bomb
            raise Abort

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(boom())
                try:
                    filling = fill(group)
                    if isinstance(filling, Awaitable) and not isinstance(filling, asyncio.Task):
                        await filling
                finally:
                    asked = task.cancelling() > base
        except* Abort:
            if sys.version_info < (3, 13):
                # asyncio's own defect: a group whose body has ended cancels its parent and never takes that back.
                if not asked:
                    while task.cancelling() > base:
                        task.uncancel()
            elif base:
                # asyncio's own doing: a failed group cancels a parent anew that is being cancelled already.
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.sleep(0)

    def fire(self) -> None:
        if not self.bomb.done():
            self.bomb.set_result(None)


class GroupBody(GroupAbort):
    """The body of an `asyncio.TaskGroup` one of whose tasks fails."""

    async def guard(self, body: Body) -> bool:
        ended = False

        async def inside() -> None:
            nonlocal ended
            try:
                await body()
                ended = True
            finally:
                self.bomb.cancel()

        await self.group(lambda _: inside())
        return ended


NATIVE_SOURCES: dict[str, Callable[[], Source]] = {
    "task.cancel": TaskCancel,
    "timeout": Timeout,
    "wait_for": WaitFor,
    "TaskGroup": GroupAbort,
    "TaskGroup-body": GroupBody,
}


# ---------------------------------------------------------------------------------------------------------------------
# Scopes


class Scope(Source):
    """`anyio.CancelScope.cancel()`"""

    def __init__(self) -> None:
        self.shield = False
        self.scope = anyio.CancelScope()

    async def guard(self, body: Body) -> bool:
        ended = False
        self.scope.shield = self.shield
        with self.scope:
            await body()
            ended = True
        return ended

    def fire(self) -> None:
        self.scope.cancel()

    def pending(self) -> bool:
        return bool(self.scope.cancel_called)

    async def clean_up(self, scene: Callable[[], Awaitable[None]]) -> None:
        self.shield = True
        with anyio.CancelScope() as outer:
            outer.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await scene()
        assert outer.cancelled_caught


class Deadline(Scope):
    """An anyio scope whose deadline has come."""

    exact = False

    def fire(self) -> None:
        self.scope.deadline = anyio.current_time()


class ScopeGroup(Scope):
    """A task of an anyio task group whose sibling fails."""

    exact = False

    async def guard(self, body: Body) -> bool:
        self.bomb = anyio.Event()
        self.fired = False
        ended = False

        async def boom() -> None:
            await self.bomb.wait()
            if self.fired:
                raise Abort

        async def child() -> None:
            nonlocal ended
            try:
                await body()
                ended = True
            finally:
                self.bomb.set()

        with anyio.CancelScope(shield=self.shield):
            try:
                async with anyio.create_task_group() as self.group:
                    self.group.start_soon(boom)
                    self.group.start_soon(child)
            except* Abort:
                pass
        return ended

    def fire(self) -> None:
        if not self.bomb.is_set():
            self.fired = True
            self.bomb.set()

    def pending(self) -> bool:
        return bool(self.group.cancel_scope.cancel_called)


SCOPE_SOURCES: dict[str, Callable[[], Source]] = {"scope": Scope, "deadline": Deadline, "task-group": ScopeGroup}


class TrioScope(Source):
    """`trio.CancelScope.cancel()`"""

    def __init__(self) -> None:
        import trio

        self.trio = trio
        self.scope = trio.CancelScope()

    async def guard(self, body: Body) -> bool:
        ended = False
        with self.scope:
            await body()
            ended = True
        return ended

    def fire(self) -> None:
        self.scope.cancel()

    def pending(self) -> bool:
        return bool(self.scope.cancel_called)

    async def clean_up(self, scene: Callable[[], Awaitable[None]]) -> None:
        self.scope.shield = True
        with self.trio.CancelScope() as outer:
            outer.cancel()
            try:
                await self.trio.sleep_forever()
            finally:
                with self.trio.CancelScope(shield=True):
                    await scene()
        assert outer.cancelled_caught


class TrioDeadline(TrioScope):
    """A trio scope whose deadline has come."""

    exact = False

    def fire(self) -> None:
        self.scope.deadline = self.trio.current_time()


class TrioNursery(TrioScope):
    """A task of a trio nursery that is cancelled as a whole."""

    async def guard(self, body: Body) -> bool:
        ended = False

        async def child() -> None:
            nonlocal ended
            await body()
            ended = True

        with self.trio.CancelScope(shield=self.scope.shield):
            async with self.trio.open_nursery() as nursery:
                self.scope = nursery.cancel_scope
                nursery.start_soon(child)
        return ended


TRIO_SOURCES: dict[str, Callable[[], Source]] = {
    "CancelScope": TrioScope,
    "deadline": TrioDeadline,
    "nursery": TrioNursery,
}


# ---------------------------------------------------------------------------------------------------------------------
# One scene


@dataclass(frozen=True)
class Script:
    """When the partner completes the operation and when the source fires, in turns of the loop."""

    complete: int
    fire: int
    first: Literal["complete", "fire"] = "complete"
    as_callback: bool = False


def scripts(reach: int = 3) -> Iterator[Script]:
    """Cancelled long before the partner comes, shortly before, in the same turn in both orders, shortly and long after."""
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
    """Lets one source meet one operation, by the script; checks what must hold whatever happens; returns what happened."""
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

    with anyio.fail_after(5):
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
