"""Ways of cancelling a task: asyncio's own, anyio's scopes, trio's scopes, each behind the same three methods."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

Body = Callable[[], Awaitable[None]]


class Abort(Exception):
    """What ends a task group in these tests."""


class Source:
    """One way of cancelling. Its reach is `guard`; its request is withdrawn when `guard` is left, unless it lasts."""

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
            # Two habits of asyncio's own (cpython#116720), not of the operation under test.
            if sys.version_info < (3, 13):
                # A group that waits at its end when a task fails cancels its parent, and never takes that back.
                if not asked:
                    task.uncancel()
                    assert task.cancelling() == base
            elif base:
                # A failed group cancels a parent anew that is being cancelled already.
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


class Scope(Source):
    """`anyio.CancelScope.cancel()`"""

    def __init__(self) -> None:
        self.shield = False
        self.scope = anyio.CancelScope()

    async def guard(self, body: Body) -> bool:
        self.scope.shield = self.shield
        with self.scope:
            await body()
            return True
        return False

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
        with self.scope:
            await body()
            return True
        return False

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
