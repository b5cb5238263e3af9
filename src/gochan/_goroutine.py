"""The handle of a goroutine: how it ends, and what it leaves.

Invariants
    H1  It ends once; from then on it has no group and no task, and its ``done`` is set.
    H2  ``_outcome`` is why it was cancelled, if it was, while it runs and after it was cancelled; what it returned
        when it is done; the error and its traceback when it has failed.
"""

from __future__ import annotations

import asyncio
from types import CodeType
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, final

from ._case import Case
from ._core.driver import Driver
from ._core.scopes import release
from ._core.waiter import SelectEntry
from ._errors import Cancelled, check_cause
from ._event import Signal
from ._no_copies import no_copies

T_co = TypeVar("T_co", covariant=True)


class Owner(Protocol):
    """What a goroutine asks of its group."""

    def _cancel_one(self, goroutine: Goroutine[Any], cause: BaseException | None) -> None:
        """Cancel this one."""
        ...

    def _ended(self, goroutine: Goroutine[Any], error: BaseException | None) -> None:
        """One that ran has ended, with this error if it failed."""
        ...


class Goroutine(Generic[T_co]):
    """A handle of a running function, made by ``go`` and ``Group.go``."""

    __slots__ = (
        "__weakref__",
        "_group",
        "_made",
        "_outcome",
        "_signal",
        "_state",
        "_task",
        "id",
        "name",
    )

    id: int
    """The number it has in dumps; main is 1."""
    name: str
    """The name it was given, or its function's."""

    # Where it was made: the function that called ``go``, the place in it, and the number of the goroutine; 0 is none.
    _made: tuple[CodeType, int, int]

    # Filled in by its group: before 3.12 a call of __init__ costs as much as all of these.
    _group: Owner | None
    _task: Any  # what its group cancels it by
    _state: Literal["waiting", "running", "done", "failed", "cancelled"]
    _outcome: Any  # H2
    _signal: Signal | None

    @property
    def done(self) -> Signal:
        """Set when it has ended, however it ended."""
        signal = self._signal
        if signal is None:
            signal = self._signal = Signal()
            if self._group is None:
                signal._state.set()
        return signal

    def cancel(self, cause: BaseException | None = None) -> None:
        """Cancel it; it ends at its next suspension outside a shield. Its group goes on.

        Args:
            cause: becomes the ``__cause__`` of the ``Cancelled`` that ``result()`` raises.

        Raises:
            RuntimeError: it belongs to another event loop or thread.
            TypeError: the cause is no exception.
        """
        check_cause(cause)
        if self._group is not None:
            self._group._cancel_one(self, cause)

    async def result(self) -> T_co:
        """Wait for it to end; what it returned.

        Raises:
            Cancelled: it was cancelled.
            BaseException: what it raised, with its own traceback.

        Cancellation: leaves the goroutine as it is.
        Fairness: everybody who waits is woken, first come, first served.
        Go: nothing alike; a channel of capacity 1.

        Example:
            >>> import gochan
            >>> async def answer() -> int:
            ...     return 42
            >>> async def main() -> int:
            ...     return await gochan.go(answer).result()
            >>> gochan.run(main)
            42
        """
        await self.done.wait()
        return self._result()

    def __case__(self) -> Case[T_co]:
        return _ResultCase(self)

    __reduce__ = no_copies

    def __repr__(self) -> str:
        return f"<Goroutine {self.id} {self.name!r} {self._state}>"

    @property
    def _code(self) -> CodeType:
        return self._made[0]

    @property
    def _parent(self) -> int:
        return self._made[2]

    @property
    def _line(self) -> int:
        """The line in which it was made; noting the instruction alone is cheaper."""
        code, instruction, _ = self._made
        lines = (line for start, end, line in code.co_lines() if start <= instruction < end and line)
        return next(lines, code.co_firstlineno)

    def _result(self) -> T_co:
        if self._state == "cancelled":
            raise Cancelled(f"goroutine {self.id} {self.name!r} was cancelled") from self._outcome
        if self._state == "failed":
            error, traceback = self._outcome
            # Each raise adds its own frames; without this the traceback would grow with everybody who asks.
            raise error.with_traceback(traceback)
        value: T_co = self._outcome
        return value

    def _cancelling(self, cause: BaseException | None) -> None:
        if self._outcome is None:
            self._outcome = cause

    def _end(self, state: Literal["done", "failed", "cancelled"], outcome: Any) -> None:
        self._state = state
        self._outcome = outcome
        self._group = self._task = None
        if self._signal is not None:
            self._signal._state.set()


@final
class TaskGoroutine(Goroutine[T_co]):
    """A goroutine of asyncio, which is its task's done callback itself: a bound method takes 64 bytes."""

    __slots__ = ()

    def __call__(self, task: asyncio.Task[Any]) -> None:
        group = self._group
        assert group is not None
        release(task)
        error: BaseException | None = None
        try:
            error = task.exception()
        except asyncio.CancelledError:
            self._end("cancelled", self._outcome)
        else:
            if error is None:
                self._end("done", task.result())
            else:
                self._end("failed", (error, error.__traceback__))
        group._ended(self, error)


def tell_where(error: Exception, goroutine: Goroutine[Any]) -> None:
    """Note in an error in which goroutine it arose, and where that was started."""
    code, _, parent = goroutine._made
    by = f"goroutine {parent}" if parent else "a task"
    try:
        error.add_note(
            f"in goroutine {goroutine.id} {goroutine.name!r}, started by {by} in {code.co_qualname} "
            f"({code.co_filename}:{goroutine._line})"
        )
    except Exception:  # noqa: S110
        pass  # an exception may refuse every change of it, as a frozen dataclass does


def number_of(task: Any) -> int:
    """The number of the goroutine that this task of asyncio or trio is; 0 if it is none."""
    if task is None:
        return 0
    if isinstance(task, asyncio.Task):
        callbacks = getattr(cast("Any", task), "_callbacks", None) or ()
        return next((callback.id for callback, _ in callbacks if isinstance(callback, TaskGoroutine)), 0)
    frame = getattr(task.coro, "cr_frame", None)
    goroutine = None if frame is None else frame.f_locals.get("goroutine")
    return goroutine.id if isinstance(goroutine, Goroutine) else 0


class _ResultCase(Case[T_co]):
    __slots__ = ("_goroutine",)

    def __init__(self, goroutine: Goroutine[T_co]) -> None:
        self._goroutine = goroutine
        self._state = goroutine.done._state

    def _ready(self) -> bool:
        fired: bool = self._state.fired
        return fired

    def _take(self) -> Any:
        return None

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._state.waiting(driver).append(entry)

    def _result(self, value: Any) -> Any:
        return self._goroutine._result()
