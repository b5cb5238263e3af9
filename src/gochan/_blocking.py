"""A channel for plain threads. The operations run in the loop's thread; the caller's thread sleeps on a lock."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final

from ._channel_state import CLOSED, PENDING, ChannelState
from ._core.driver import current_driver
from ._core.thread_driver import ThreadWaiter, bridge_of
from ._errors import ChannelClosed, check_cause

T = TypeVar("T")


@final
class BlockingChannel(Generic[T]):
    """What ``Channel.blocking()`` gives: the same channel, for threads outside its event loop.

    A thread that waits stands in the same queue as the tasks do, and counts as waiting in the statistics. When the
    run ends, threads that wait get a ``RuntimeError``.

    Example:
        >>> import anyio.to_thread, gochan
        >>> async def main() -> int:
        ...     numbers = gochan.Channel[int]()
        ...     view = numbers.blocking()
        ...     gochan.go(anyio.to_thread.run_sync, view.send, 7)
        ...     return await numbers.receive()
        >>> gochan.run(main)
        7
    """

    __slots__ = ("_bridge", "_closed", "_state")

    def __init__(self, state: ChannelState, closed: Callable[[str], ChannelClosed]) -> None:
        owner = state.owner
        if owner is None or not owner.alive():
            if current_driver() is None:
                raise RuntimeError(
                    f"{state!r} belongs to no event loop yet: call blocking() inside one, or after somebody has waited "
                    "on the channel"
                )
            owner = state.enter()
            state.own(owner)
        self._state = state
        self._closed = closed
        self._bridge = bridge_of(owner)

    def send(self, item: T, timeout: float | None = None) -> None:
        """Send a value, waiting at most ``timeout`` seconds; ``None`` waits as long as it takes.

        Raises:
            TimeoutError: the time passed; the value was not sent.
            ChannelClosed: the channel is closed.
            RuntimeError: called in the loop's own thread, or the loop has ended.
        """
        state = self._state

        def start(waiter: ThreadWaiter) -> None:
            outcome = state.put(item)
            if outcome is PENDING:
                state.sending(self._bridge.driver).append(waiter)
            else:
                waiter.commit(outcome)

        if self._bridge.wait(start, item, timeout) is CLOSED:
            raise self._closed("send on a closed channel")

    def receive(self, timeout: float | None = None) -> T:
        """Receive the next value, waiting at most ``timeout`` seconds; ``None`` waits as long as it takes.

        Raises:
            TimeoutError: the time passed; nothing was taken.
            ChannelClosed: the channel is closed and drained.
            RuntimeError: called in the loop's own thread, or the loop has ended.
        """
        value = self._take(timeout)
        if value is CLOSED:
            raise self._closed("receive from a closed channel")
        item: T = value
        return item

    def close(self, cause: BaseException | None = None) -> None:
        """Close the channel; returns when that has happened."""
        check_cause(cause)
        state = self._state

        def start(waiter: ThreadWaiter) -> None:
            state.close(cause)
            waiter.commit(None)

        self._bridge.wait(start, None, None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        value = self._take(None)
        if value is CLOSED:
            if self._state.cause is not None:
                raise self._closed("receive from a closed channel")
            raise StopIteration
        item: T = value
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close(error if isinstance(error, Exception) else None)

    def __repr__(self) -> str:
        return f"<BlockingChannel of {self._state!r}>"

    def _take(self, timeout: float | None) -> Any:
        state = self._state

        def start(waiter: ThreadWaiter) -> None:
            value = state.take()
            if value is PENDING:
                state.receiving(self._bridge.driver).append(waiter)
            else:
                waiter.commit(value)

        return self._bridge.wait(start, None, timeout)
