"""What is received from that is no channel: one face for everything that can take, or park who wants to.

A subscription and a merge differ in where values come from; how an operation waits, ends and is chosen by a select
is here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, cast

import anyio
from anyio.abc import ObjectReceiveStream

from ._case import Case
from ._channel_cases import ReceiveCase
from ._channel_state import CLOSED, PENDING
from ._core.driver import Driver, here, threads, uninterruptible
from ._core.waiter import SelectEntry, Waiter
from ._no_copies import no_copies

T_co = TypeVar("T_co", covariant=True)


class Receivable(Protocol):
    """The state behind it, a LoopBound."""

    driver: Driver

    @property
    def cause(self) -> BaseException | None:
        """Why it was closed."""
        ...

    def enter(self) -> Driver:
        """As LoopBound."""
        ...

    def check(self) -> None:
        """As LoopBound."""
        ...

    def take(self) -> Any:
        """A value, or PENDING, or CLOSED, or something that ``_result`` raises."""
        ...

    def can_take(self) -> bool:
        """Whether ``take`` gives something else than PENDING."""
        ...

    def has_value(self) -> bool:
        """Whether ``take`` gives a value that ``_result`` does not raise."""
        ...

    def park(self, driver: Driver) -> Waiter:
        """A receiver that waits."""
        ...

    def publish(self, entry: SelectEntry, driver: Driver) -> None:
        """A select that waits."""
        ...


class Receiving(ObjectReceiveStream[T_co]):
    """The receiving side of something: a ``ReceiveChannel`` and an anyio object stream."""

    __slots__ = ("_state",)

    _state: Any  # a Receivable

    async def receive(self) -> T_co:
        """Receive the next value, waiting for one.

        Raises:
            ChannelClosed: no more values will come.
            Lagged: values were missed, see ``Broadcast``.

        Cancellation: all or nothing. A cancelled receive has not consumed; one that got a value returns it.
        Fairness: first come, first served, together with the select cases that receive.
        Go: ``v := <-ch``; at the end an exception instead of the zero value.
        """
        return cast("T_co", self._result(await self._next()))

    async def receive_ok(self) -> tuple[T_co, Literal[True]] | tuple[None, Literal[False]]:
        """Receive the next value with ``True``, or ``(None, False)`` when no more will come.

        Raises:
            Lagged: values were missed, see ``Broadcast``.

        Cancellation: as ``receive``.
        Fairness: as ``receive``.
        Go: ``v, ok := <-ch``.
        """
        value = await self._next()
        return (None, False) if value is CLOSED else (self._result(value), True)

    async def receive_many(self, limit: int | None = None) -> list[T_co]:
        """Wait for one value, then take what is there.

        Args:
            limit: at most so many; ``None`` is all.

        Raises:
            ChannelClosed: no more values will come.
            Lagged: values were missed, see ``Broadcast``; none was taken.
            TypeError: the limit is neither an int nor ``None``.
            ValueError: the limit is below 1.

        Cancellation: all or nothing, as ``receive``.
        Fairness: as ``receive``.
        Go: nothing alike; a loop of ``select`` with ``default``.
        """
        if limit is not None and not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the limit of receive_many() is an int or None, not {limit!r}")
        if limit is not None and limit < 1:
            raise ValueError(f"receive_many() takes at least one value, not {limit}: leave the limit out for all")
        values = [await self.receive()]
        self._take_more(values, math.inf if limit is None else limit)
        return values

    def receive_nowait(self) -> T_co:
        """Receive a value if that needs no waiting.

        Raises:
            anyio.WouldBlock: there is none.
            ChannelClosed: there is none, and no more will come.
            Lagged: values were missed, see ``Broadcast``.

        Go: ``select`` with ``default``.
        """
        self._state.check()
        value = self._state.take()
        if value is PENDING:
            raise anyio.WouldBlock
        return cast("T_co", self._result(value))

    @abstractmethod
    def close(self) -> None:
        """Receive nothing more; idempotent."""

    async def aclose(self) -> None:
        """``close()``, for anyio and ``async with``; it does not wait."""
        self.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """None; anyio asks."""
        return {}

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return repr(self._state)

    __reduce__ = no_copies

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        value = await self._next()
        if value is CLOSED and self._state.cause is None:
            raise StopAsyncIteration
        return cast("T_co", self._result(value))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __case__(self) -> Case[T_co]:
        return ReceiveCase(self)

    @uninterruptible
    async def _next(self) -> Any:
        """What ``take`` gives, as soon as it does not answer PENDING."""
        state: Receivable = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        value = state.take()
        if value is PENDING:
            value = await state.park(driver)
        return value

    @uninterruptible
    def _take_more(self, values: list[T_co], limit: float) -> None:
        state: Receivable = self._state
        while len(values) < limit and state.has_value():
            values.append(self._result(state.take()))

    @abstractmethod
    def _result(self, value: Any) -> Any:
        """The user's value of what ``take`` gave, or an exception."""

    # It is its own receive case, as a Channel is.

    def _ready(self) -> bool:
        ready: bool = self._state.can_take()
        return ready

    def _take(self) -> Any:
        return self._state.take()

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._state.publish(entry, driver)
