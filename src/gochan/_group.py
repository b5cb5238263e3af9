"""Goroutines: ``go`` starts one, a ``Group`` owns it, ``run`` is the program.

Shape
    A Group holds an anyio cancel scope, entered in its host task. On asyncio its goroutines are bare tasks made
    members of that scope (``_core/scopes.py``); on trio they live in a nursery inside it. The host waits at the end,
    shielded once it has been cancelled, until every goroutine is gone.

Invariants
    G1  Every goroutine belongs to one group and is gone when ``async with`` has been left.
    G2  ``active`` is the number of places taken: goroutines that run, and places handed to a waiting
        ``go_when_free`` that has not resumed yet. With a limit, ``active <= limit``.
    G3  Whoever waits for a place stands in one queue, ``go`` and ``go_when_free`` alike; after a failure or a cancel
        nobody in it starts. Who is refused had no place, and gives none back.

Why not
    anyio's TaskGroup: 50 µs and 3.9 KB a goroutine. ``asyncio.TaskGroup``: edge cancellation, no shields, no trio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from sys import _getframe
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any, Literal, Self, TypeVar, cast, final
from weakref import ref

import anyio
from typing_extensions import TypeVarTuple, Unpack

from ._callables import coroutine_of, refuse_plain
from ._context import Context as Ctx
from ._core.asyncio_driver import AsyncioDriver
from ._core.driver import NOWHERE, Driver, current_driver, here, nothing
from ._core.scopes import asked_natively, cancel_member, cancel_scope, cancel_until_gone, native
from ._errors import check_cause
from ._goroutine import Goroutine, TaskGoroutine, number_of, tell_where
from ._group_context import GroupContext
from ._group_errors import failure_of
from ._group_state import STOPPED, GroupState, Pending
from ._group_tasks import start
from ._nearest import Nearest, current
from ._no_copies import no_copies

T = TypeVar("T")
Args = TypeVarTuple("Args")


@final
class Group:
    """Goroutines that end together: ``async with`` is left when all of them are done.

    A goroutine that fails cancels the others; the group then raises an ``ExceptionGroup`` of all errors. The body's
    own exception is one of them.

    Args:
        ctx: when this context ends, the goroutines are cancelled and the group raises the context's error.
        limit: how many goroutines run at a time; ``None`` is any number.
        errors: ``"first"`` raises the first error itself instead of a group of all.

    Go: ``errgroup.Group`` with ``SetLimit``, as structured concurrency: errors are not lost, siblings are cancelled.

    Example:
        >>> import gochan
        >>> async def square(n: int) -> int:
        ...     return n * n
        >>> async def main() -> list[int]:
        ...     async with gochan.Group() as group:
        ...         squares = [group.go(square, n) for n in range(3)]
        ...     return [await s.result() for s in squares]
        >>> gochan.run(main)
        [0, 1, 4]
    """

    def __init__(
        self, *, ctx: Ctx | None = None, limit: int | None = None, errors: Literal["all", "first"] = "all"
    ) -> None:
        if not isinstance(cast("object", limit), int | None) or isinstance(limit, bool):
            raise TypeError(f"the limit of a group is a number of goroutines or None, not {limit!r}")
        if limit is not None and limit < 1:
            raise ValueError(f"the limit of a group is a positive number of goroutines, not {limit!r}")
        if errors not in ("all", "first"):
            raise ValueError(f"errors is 'all' or 'first', not {errors!r}")
        self._limit = limit
        self._contexts = GroupContext(ctx, self)
        self._errors_mode: Literal["all", "first"] = errors
        self._state: Literal["new", "open", "ended"] = "new"
        self._stopped = False
        self._cause: BaseException | None = None
        self._errors: dict[int, BaseException] = {}  # by identity (X1)
        self._told: BaseException | None = None  # the last of them
        self._active = 0
        self._queues = GroupState()
        self._scope: Any = None
        self._nursery: Any = None
        self._nursery_manager: Any = None
        self._driver: Driver = NOWHERE
        self._loop: Any = None
        self._context: Context | None = None  # for what the loop calls when a goroutine has ended
        self._unadopted: set[asyncio.Task[Any]] = set()
        self._beside: set[Goroutine[Any]] = set()  # above the limit, and not counted in it
        self._parent: Nearest | None = None
        self._host = 0

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError("a Group is entered once: make a new one")
        self._driver = driver = self._queues.enter()
        self._contexts.claim(driver)
        self._host = id(driver.task())
        self._scope = anyio.CancelScope()
        self._scope.__enter__()
        if isinstance(driver, AsyncioDriver):
            self._loop = driver.loop
            self._context = copy_context()
        else:
            import trio

            self._nursery_manager = trio.open_nursery()
            self._nursery = await self._nursery_manager.__aenter__()
        self._state = "open"
        self._parent = current.get()
        current.set(self)
        if self._stopped:
            self._scope.cancel()
        else:
            self._contexts.follow()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:  # "bool" would say of everything after the block that it may be unbound
        current.set(self._parent)
        cancelled: BaseException | None = None
        failure: BaseException | None = None
        try:
            try:
                if error is not None:
                    if isinstance(error, anyio.get_cancelled_exc_class()):
                        cancelled = error
                    else:
                        self._errors[id(error)] = error
                    self._stop(None if cancelled is error else error)
                cancelled = await self._wait(cancelled)
                self._state = "ended"
                if self._nursery_manager is not None:
                    # Every goroutine is gone; the nursery must not find a cancellation of its own here.
                    self._nursery.cancel_scope.shield = True
                    await self._nursery_manager.__aexit__(None, None, None)
                failure = failure_of(self._errors.values(), self._errors_mode, self._contexts)
                if failure is not None:
                    if cancelled is not None and self._nursery is None and self._is_native(cancelled):
                        # A native cancellation is asked for once. The errors go first, it comes after them.
                        task = cast("asyncio.Task[Any]", self._driver.task())
                        task.uncancel()
                        task.cancel()
                    raise failure
                if cancelled is not None:
                    raise cancelled
            except BaseException as raised:
                if self._scope.__exit__(type(raised), raised, raised.__traceback__):
                    return True
                raise
            self._scope.__exit__(None, None, None)
            return error is not None  # it told of nothing but the group's end
        finally:
            self._state = "ended"
            self._contexts.leave()
            self._contexts.end(self._cause)
            del cancelled, error, failure

    def _is_native(self, cancelled: BaseException) -> bool:
        """Whether ``task.cancel()`` was called on the host, also in the turn in which the scope cancelled it."""
        driver = self._driver
        assert isinstance(driver, AsyncioDriver)
        # What the driver has put off comes by itself.
        return native(cancelled) or (asked_natively(self._scope) and driver.task() not in driver.deferred)

    async def _wait(self, cancelled: BaseException | None) -> BaseException | None:
        """Until every goroutine is gone, whatever cancellation arrives; that one, if any."""
        queues, driver = self._queues, self._driver
        while self._active or self._queues.places:
            queues.own(driver)
            waiter = driver.park(queues.host)
            try:
                if cancelled is None:
                    await waiter
                else:
                    with anyio.CancelScope(shield=True):
                        await waiter
            except anyio.get_cancelled_exc_class() as error:
                self._stop()
                # A native cancellation carries no message, and must not be hidden by one of a scope.
                if cancelled is None or native(error):
                    cancelled = error
            except GeneratorExit:
                raise
            except BaseException as error:  # trio raises a KeyboardInterrupt where its main task waits
                self._fail(error)
        return cancelled

    def go(
        self,
        fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]],
        *args: *Args,
        name: str | None = None,
    ) -> Goroutine[T]:
        """Start ``fn(*args)`` as a goroutine; never waits. Above the limit it starts when a place is free.

        Raises:
            RuntimeError: the group is not open, or belongs to another loop.
            TypeError: ``fn`` is not an async function.

        Go: ``g.Go(f)``, which waits at the limit; see ``go_when_free``.
        """
        return self._go(fn, args, name, _getframe(1))

    def try_go(
        self,
        fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]],
        *args: *Args,
        name: str | None = None,
    ) -> Goroutine[T] | None:
        """Start ``fn(*args)`` if a place is free now; ``None`` if not.

        Go: ``g.TryGo(f)``.
        """
        self._check_open()
        if self._limit is not None and (self._active >= self._limit or self._queues.places or self._stopped):
            return None
        return self._go(fn, args, name, _getframe(1))

    async def go_when_free(
        self,
        fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]],
        *args: *Args,
        name: str | None = None,
    ) -> Goroutine[T]:
        """Wait for a place under the limit, then start ``fn(*args)``.

        Cancellation: a cancelled wait has started nothing and passed its place on.
        Fairness: first come, first served, together with ``go``.
        Go: ``g.Go(f)`` with a limit.
        """
        self._check_open()
        refuse_plain(fn, "Group.go_when_free()")
        queues = self._queues
        driver = queues.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
            self._check_open()
        reserved = False
        full = self._limit is not None and (self._active >= self._limit or queues.places)
        if full and not self._stopped:
            queues.own(driver)
            reserved = await driver.park(queues.places) is None
        try:
            coroutine = coroutine_of(fn, args, "Group.go_when_free()")
        except BaseException:
            if reserved:
                self._leave()
            raise
        goroutine: Goroutine[T] = self._goroutine(fn, name, _getframe(1))
        if self._stopped:
            if reserved:
                self._leave()
            self._refuse(goroutine, coroutine)
        else:
            if not reserved:
                self._active += 1
            start(self, goroutine, coroutine, None)
        return goroutine

    @property
    def ctx(self) -> Ctx:
        """A context that is cancelled with the first error as its cause, by ``cancel``, or when the group ends.

        Whoever raises its ``err`` counts as cancelled: the group raises what ended it, and no more.

        Go: what ``errgroup.WithContext`` returns.
        """
        ctx = self._contexts.context()
        if self._stopped or self._state == "ended":
            self._contexts.end(self._cause)
        return ctx

    def cancel(self, cause: BaseException | None = None) -> None:
        """End the group quietly: cancel its goroutines and its body; ``async with`` is left without an error.

        Raises:
            RuntimeError: the group belongs to another event loop or thread.
            TypeError: the cause is no exception.
        """
        check_cause(cause)
        self._check_here("cancel")
        self._stop(cause)

    __reduce__ = no_copies

    def __repr__(self) -> str:
        limit = "" if self._limit is None else f"/{self._limit}"
        return f"<Group {self._state} goroutines={self._active}{limit} waiting={len(self._queues.places)}>"

    def _usable(self) -> bool:
        return self._state == "open" and current_driver() is self._driver

    def _check_open(self) -> None:
        if self._state != "open":
            how = "has ended" if self._state == "ended" else "is not entered: use 'async with'"
            raise RuntimeError(f"this group {how}; nothing can be started in it")
        self._check_here("start goroutines in")

    def _check_here(self, what: str) -> None:
        driver = self._driver
        if here() is driver.home and driver.ident == get_ident():
            return
        driver_here = current_driver()
        if self._state != "open" or driver_here is driver:
            return
        # Between two runs of its loop, the thread that ran it may go on with it.
        if driver_here is not None or driver.running() or driver.ident != get_ident():
            raise RuntimeError(
                f"this group belongs to another event loop or thread: {what} it in its own loop, from a thread through "
                "anyio.from_thread.run_sync"
            )

    def _goroutine(self, fn: Any, name: str | None, caller: FrameType) -> Goroutine[Any]:
        driver = self._driver
        goroutine: Goroutine[Any] = TaskGoroutine() if self._nursery is None else Goroutine()
        goroutine.id = driver.goroutines = driver.goroutines + 1
        goroutine.name = name or getattr(fn, "__qualname__", None) or repr(fn)
        goroutine._group = self
        goroutine._task = goroutine._outcome = goroutine._signal = None
        goroutine._state = "waiting"
        # What is the same for all that one goroutine starts in one place is looked up and kept once.
        code, instruction, task, made = caller.f_code, caller.f_lasti, driver.task(), driver.made
        if made is None or made[0] is not code or made[1] != instruction or driver.creator() is not task:
            driver.creator = nothing if task is None else ref(task)
            driver.made = made = (code, instruction, self._number_of(task))
        goroutine._made = made
        return goroutine

    def _go(
        self, fn: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], name: str | None, caller: FrameType
    ) -> Goroutine[T]:
        driver = self._driver
        if self._state != "open" or here() is not driver.home or driver.ident != get_ident():
            self._check_open()
        coroutine = coroutine_of(fn, args, "Group.go()")
        goroutine: Goroutine[T] = self._goroutine(fn, name, caller)
        if self._limit is not None:
            if self._stopped:
                self._refuse(goroutine, coroutine)
                return goroutine
            if self._active >= self._limit or self._queues.places:
                goroutine._task = entry = Pending(self, goroutine, coroutine, copy_context())
                self._queues.places.append(entry)
                return goroutine
        self._active += 1
        start(self, goroutine, coroutine, None)
        return goroutine

    def _go_beside(
        self, fn: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], name: str | None, caller: FrameType
    ) -> Goroutine[T]:
        """Start one that takes no place of the limit: those who hold the places wait for what it does."""
        self._check_open()
        coroutine = coroutine_of(fn, args, "Group.go()")
        goroutine: Goroutine[T] = self._goroutine(fn, name, caller)
        if self._limit is not None:
            self._limit += 1
            self._beside.add(goroutine)
        self._active += 1
        start(self, goroutine, coroutine, None)
        return goroutine

    def _number_of(self, task: object) -> int:
        outermost = self
        while outermost._parent is not None:
            outermost = cast("Group", outermost._parent)
        return 1 if id(task) == outermost._host else number_of(task)

    def _refuse(self, goroutine: Goroutine[Any], coroutine: Coroutine[Any, Any, Any]) -> None:
        coroutine.close()
        goroutine._end("cancelled", goroutine._outcome)
        self._wake_host()

    def _cancel_one(self, goroutine: Goroutine[Any], cause: BaseException | None) -> None:
        self._check_here("cancel a goroutine of")
        goroutine._cancelling(cause)
        task = goroutine._task
        if isinstance(task, Pending):
            self._queues.places.remove(task)
            self._refuse(goroutine, task.coroutine)
        elif self._nursery is None:
            cancel_member(task, self._scope)
        else:
            task.cancel()

    def _ended(self, goroutine: Goroutine[Any], error: BaseException | None) -> None:
        if error is not None:
            # A WaitGroup tells before it counts down.
            if isinstance(error, Exception) and (error is self._told or id(error) not in self._errors):
                tell_where(error, goroutine)
            self._fail(error)
            self._told = None
        if self._beside and goroutine in self._beside:
            self._beside.discard(goroutine)
            if self._limit is not None:
                self._limit -= 1
        self._leave()

    def _fail(self, error: BaseException) -> None:
        """As if a goroutine had failed: one has, or what was called on behalf of the group did."""
        self._told = error
        self._errors[id(error)] = error
        self._stop(error)

    def _leave(self) -> None:
        """A place is free (G2, G3)."""
        places = self._queues.places
        if places.head is not None and not self._stopped and (self._limit is None or self._active <= self._limit):
            places.commit_first(None)
            return
        self._active -= 1
        if not self._active:
            self._wake_host()

    def _wake_host(self) -> None:
        queues = self._queues
        if queues.host.head is not None and not self._active and queues.places.head is None:
            queues.host.commit_first(None)

    def _stop(self, cause: BaseException | None = None) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._cause = cause
        try:
            self._contexts.end(cause)  # it runs users' functions
        finally:
            self._queues.places.drain(STOPPED)
            if self._state == "open":
                cancel_scope(self._scope, self._driver)
                for task in tuple(self._unadopted):
                    cancel_until_gone(task, self._scope)
