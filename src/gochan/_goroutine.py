"""The handle of a goroutine: how it ends, and what it leaves.

Invariant H1: it ends once; from then on it has no group, no task, and its ``done`` is set.
"""

from __future__ import annotations

import asyncio
from typing import Any, Generic, Literal, Protocol, TypeVar, final

from ._case import Case
from ._core.driver import Driver
from ._core.scopes import release
from ._core.waiter import SelectEntry
from ._errors import Cancelled
from ._event import Signal

T_co = TypeVar("T_co", covariant=True)


class Owner(Protocol):
    """What a goroutine asks of its group."""

    def cancel_one(self, goroutine: Goroutine[Any]) -> None:
        """Cancel this one."""
        ...

    def ended(self, error: BaseException | None) -> None:
        """One has ended, with this error if it failed."""
        ...


@final
class Goroutine(Generic[T_co]):
    """A handle of a running function, made by ``go`` and ``Group.go``."""

    __slots__ = (
        "__weakref__",
        "_cause",
        "_error",
        "_group",
        "_signal",
        "_state",
        "_task",
        "_value",
        "id",
        "name",
    )

    id: int
    """The number it has in dumps; main is 1."""
    name: str
    """The name it was given, or its function's."""

    def __init__(self, group: Owner, number: int, name: str) -> None:
        self.id = number
        self.name = name
        self._group: Owner | None = group
        self._task: Any = None
        self._state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
        self._value: Any = None
        self._error: BaseException | None = None
        self._cause: BaseException | None = None
        self._signal: Signal | None = None

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
        """
        if self._group is not None and self._cause is None:
            self._cause = cause
        if self._group is not None:
            self._group.cancel_one(self)

    async def result(self) -> T_co:
        """Wait for it to end; what it returned.

        Raises:
            Cancelled: it was cancelled.
            BaseException: what it raised, with its own traceback.

        Cancellation: leaves the goroutine as it is.
        Fairness: everybody who waits is woken, first come, first served.
        Go: nothing alike; a channel of capacity 1.
        """
        await self.done.wait()
        return self._outcome()

    def __case__(self) -> Case[T_co]:
        return _ResultCase(self)

    def __repr__(self) -> str:
        return f"<Goroutine {self.id} {self.name!r} {self._state}>"

    def _outcome(self) -> T_co:
        if self._error is not None:
            raise self._error.with_traceback(self._error.__traceback__)
        if self._state == "cancelled":
            raise Cancelled(f"goroutine {self.id} {self.name!r} was cancelled") from self._cause
        value: T_co = self._value
        return value

    def _end(self, state: Literal["done", "failed", "cancelled"], value: Any, error: BaseException | None) -> None:
        group = self._group
        assert group is not None
        self._state, self._value, self._error = state, value, error
        self._group = self._task = None
        if self._signal is not None:
            self._signal._state.set()
        group.ended(error)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        release(task)
        if task.cancelled():
            self._end("cancelled", None, None)
            return
        error = task.exception()
        if error is None:
            self._end("done", task.result(), None)
        else:
            self._end("failed", None, error)


class _ResultCase(Case[T_co]):
    __slots__ = ("_goroutine",)

    def __init__(self, goroutine: Goroutine[T_co]) -> None:
        self._goroutine = goroutine
        self._state = goroutine.done._state

    def _ready(self) -> bool:
        return self._state.fired

    def _take(self) -> Any:
        return None

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._state.waiting(driver).append(entry)

    def _result(self, value: Any) -> Any:
        return self._goroutine._outcome()
