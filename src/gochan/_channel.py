"""Channels: the public face. What a channel does is in ``_channel_state.py``; here it waits, checks and explains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast, final

import anyio
from anyio.abc import ObjectStream

from ._blocking import BlockingChannel
from ._case import Case
from ._channel_cases import ReceiveCase
from ._channel_state import CLOSED, PENDING, ChannelState
from ._channel_views import ChannelStatistics
from ._core.driver import Driver, here, threads, uninterruptible
from ._core.waiter import SelectEntry
from ._errors import ChannelClosed, check_cause
from ._no_copies import no_copies

T = TypeVar("T")


@final
class Channel(ObjectStream[T]):
    """A typed queue between goroutines: rendezvous, buffered or unbounded.

    Args:
        capacity: how many values wait in the buffer; 0 makes every send meet a receive (Go's unbuffered channel),
            ``math.inf`` never lets a send wait.
        overflow: what a send does when the buffer is full: ``"block"`` waits, ``"drop_newest"`` drops the value that
            is sent, ``"drop_oldest"`` the one that has been in the buffer longest.
        name: shown in reprs, errors and dumps.

    Raises:
        TypeError: the capacity is neither an int nor ``math.inf``.
        ValueError: it is negative or NaN, or the overflow policy is unknown.

    It can be used wherever a ``SendChannel[T]``, a ``ReceiveChannel[T]`` or an anyio object stream is asked for.

    Go: ``make(chan T, capacity)``. ``close`` may be called twice; an empty channel is true; there is no nil channel
    but ``None`` in a select.

    Example:
        >>> import gochan
        >>> async def main() -> list[int]:
        ...     numbers = gochan.Channel[int](3)
        ...     for n in range(3):
        ...         await numbers.send(n)
        ...     numbers.close()
        ...     return [n async for n in numbers]
        >>> gochan.run(main)
        [0, 1, 2]
    """

    __slots__ = ("_state",)

    def __init__(
        self,
        capacity: int | float = 0,
        *,
        overflow: Literal["block", "drop_newest", "drop_oldest"] = "block",
        name: str | None = None,
    ) -> None:
        number = isinstance(capacity, int) and not isinstance(capacity, bool)
        if not number and not (isinstance(capacity, float) and not math.isfinite(capacity)):
            raise TypeError(f"the capacity of a channel is an int or math.inf, not {capacity!r}")
        if not capacity >= 0:
            raise ValueError(f"the capacity of a channel cannot be {capacity!r}: 0 or more, or math.inf")
        if overflow not in ("block", "drop_newest", "drop_oldest"):
            raise ValueError(f"overflow is 'block', 'drop_newest' or 'drop_oldest', not {overflow!r}")
        self._state = ChannelState(capacity, overflow, name)

    @uninterruptible
    async def send(self, item: T) -> None:
        """Send a value, waiting while there is no room for it, or at capacity 0 until a receiver has it.

        Args:
            item: any value, ``None`` too.

        Raises:
            ChannelClosed: the channel is closed, or was closed while this waited; the value was not sent.

        Cancellation: all or nothing. A cancelled send has not delivered; one that a receiver took returns normally.
        Fairness: first come, first served, together with the select cases that send.
        Go: ``ch <- v``; on a closed channel an exception instead of a panic.

        Example:
            >>> import gochan
            >>> async def main() -> int:
            ...     answers = gochan.Channel[int]()
            ...     gochan.go(answers.send, 42)
            ...     return await answers.receive()
            >>> gochan.run(main)
            42
        """
        state = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        buffer = state.buffer
        if 0 < len(buffer) < state.limit:  # C7
            buffer.append(item)
            return
        outcome = state.put(item)
        if outcome is PENDING:
            outcome = await driver.park(state.sending(driver), item)
        if outcome is CLOSED:
            raise self._closed("send on a closed channel")

    @uninterruptible
    async def receive(self) -> T:
        """Receive the next value, waiting for one.

        Returns:
            The value that was sent first.

        Raises:
            ChannelClosed: the channel is closed and drained; its ``__cause__`` is what was given to ``close()``.

        Cancellation: all or nothing. A cancelled receive has not consumed; one that got a value returns it.
        Fairness: first come, first served, together with the select cases that receive.
        Go: ``v := <-ch``; on a closed channel an exception instead of the zero value.

        Example:
            >>> import gochan
            >>> async def main() -> str:
            ...     greetings = gochan.Channel[str](1)
            ...     await greetings.send("hello")
            ...     return await greetings.receive()
            >>> gochan.run(main)
            'hello'
        """
        state = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        buffer = state.buffer
        if buffer and state.senders.head is None:
            state.received += 1
            item: T = buffer.popleft()
            return item
        value: Any = state.take()
        if value is PENDING:
            value = await driver.park(state.receiving(driver))
        if value is CLOSED:
            raise self._closed("receive from a closed channel")
        return cast("T", value)

    async def receive_ok(self) -> tuple[T, Literal[True]] | tuple[None, Literal[False]]:
        """Receive the next value with ``True``, or ``(None, False)`` when the channel is closed and drained.

        Cancellation: as ``receive``.
        Fairness: as ``receive``.
        Go: ``v, ok := <-ch``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     numbers = gochan.Channel[int](1)
            ...     await numbers.send(1)
            ...     numbers.close()
            ...     for _ in range(2):
            ...         match await numbers.receive_ok():
            ...             case (number, True):
            ...                 print("got", number)
            ...             case _:
            ...                 print("closed")
            >>> gochan.run(main)
            got 1
            closed
        """
        value = await self._next()
        return (None, False) if value is CLOSED else (value, True)

    async def receive_many(self, limit: int | None = None) -> list[T]:
        """Wait for one value, then take what is there, from the buffer and from waiting senders.

        Args:
            limit: at most so many; ``None`` is all.

        Raises:
            ChannelClosed: the channel is closed and drained.
            TypeError: the limit is neither an int nor ``None``.
            ValueError: the limit is below 1.

        Cancellation: all or nothing, as ``receive``.
        Fairness: as ``receive``.
        Go: nothing alike; a loop of ``select`` with ``default``.

        Example:
            >>> import gochan
            >>> async def main() -> list[int]:
            ...     numbers = gochan.Channel[int](3)
            ...     for n in range(3):
            ...         await numbers.send(n)
            ...     return await numbers.receive_many(2)
            >>> gochan.run(main)
            [0, 1]
        """
        if limit is not None and not isinstance(limit, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the limit of receive_many() is an int or None, not {limit!r}")
        if limit is not None and limit < 1:
            raise ValueError(f"receive_many() takes at least one value, not {limit}: leave the limit out for all")
        values = [await self.receive()]
        self._state.take_more(values, math.inf if limit is None else limit)
        return values

    def send_nowait(self, item: T) -> None:
        """Send a value if that needs no waiting.

        Raises:
            anyio.WouldBlock: there is no room, or at capacity 0 no receiver waits; nothing was sent.
            ChannelClosed: the channel is closed.

        Go: ``select`` with ``default``.
        """
        self._state.check()
        outcome = self._state.put(item)
        if outcome is PENDING:
            raise anyio.WouldBlock
        if outcome is CLOSED:
            raise self._closed("send on a closed channel")

    def receive_nowait(self) -> T:
        """Receive a value if that needs no waiting.

        Raises:
            anyio.WouldBlock: there is none.
            ChannelClosed: there is none, and the channel is closed.

        Go: ``select`` with ``default``.
        """
        self._state.check()
        value: T = self._state.take()
        if value is PENDING:
            raise anyio.WouldBlock
        if value is CLOSED:
            raise self._closed("receive from a closed channel")
        return value

    def close(self, cause: BaseException | None = None) -> None:
        """Say that nothing more will be sent; only the first call counts.

        Waiting and later senders raise ``ChannelClosed``. Receivers drain the buffer, then they raise it too.

        Args:
            cause: why; it becomes the ``__cause__`` of every ``ChannelClosed``, and ends iteration with one.

        Go: ``close(ch)``; twice is no error, and wake-ups are handed out first come, first served.
        """
        check_cause(cause)
        self._state.check()
        self._state.close(cause)

    async def aclose(self) -> None:
        """``close()``, for anyio and ``async with``; it does not wait."""
        self.close()

    async def send_eof(self) -> None:
        """``close()``, as anyio's object streams spell it."""
        self.close()

    def blocking(self) -> BlockingChannel[T]:
        """This channel for plain threads; the channel must belong to a loop, or be bound to the running one by this.

        Raises:
            RuntimeError: the channel belongs to no loop yet and none runs here.
        """
        return BlockingChannel(self._state, self._closed)

    def statistics(self) -> ChannelStatistics:
        """What the channel has seen; works anywhere."""
        state = self._state
        return ChannelStatistics(
            capacity=state.capacity,
            buffered=len(state.buffer),
            senders_waiting=len(state.senders),
            receivers_waiting=len(state.receivers),
            sent=state.sent,
            received=state.received,
            dropped=state.dropped,
            closed=state.closed,
        )

    @property
    def capacity(self) -> int | float:
        """The size of the buffer."""
        return self._state.capacity

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called; values may still be in the buffer."""
        return self._state.closed

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self._state.name

    @property
    def __orig_class__(self) -> Any:
        """Not kept: for the mark that ``Channel[int]()`` leaves, an instance would need a dictionary of its own."""
        raise AttributeError("__orig_class__")

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """None; anyio asks."""
        return {}

    def __len__(self) -> int:
        return len(self._state.buffer)

    def __bool__(self) -> bool:
        return True

    __reduce__ = no_copies

    def __repr__(self) -> str:
        return repr(self._state)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        value: T = await self._next()
        if value is CLOSED:
            if self._state.cause is not None:
                raise self._closed("receive from a closed channel")
            raise StopAsyncIteration
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        # A cancellation is no failure: the receivers see a plain end.
        self.close(error if isinstance(error, Exception) else None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __case__(self) -> Case[T]:
        return ReceiveCase(self)

    @uninterruptible
    async def _next(self) -> Any:
        """A value, or CLOSED."""
        state = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        value = state.take()
        if value is PENDING:
            value = await driver.park(state.receiving(driver))
        return value

    # A channel is its own receive case to select, which so need not make one.

    def _ready(self) -> bool:
        return self._state.can_take()

    def _take(self) -> Any:
        return self._state.take()

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._state.receiving(driver).append(entry)

    def _result(self, value: Any) -> Any:
        if value is CLOSED:
            raise self._closed("receive from a closed channel")
        return value

    def _closed(self, what: str) -> ChannelClosed:
        """A fresh error each time; with the cause that ``close()`` was given."""
        error = ChannelClosed(f"{what}: {self!r}", self)
        error.__cause__ = self._state.cause
        return error
