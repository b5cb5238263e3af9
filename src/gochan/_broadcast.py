"""Broadcasts: the public face. What a broadcast does is in ``_broadcast_state.py``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, final

import anyio

from ._broadcast_state import BroadcastState
from ._case import Case
from ._channel_state import CLOSED, PENDING
from ._core.driver import Driver, uninterruptible
from ._core.waiter import SelectEntry
from ._errors import ChannelClosed, check_cause
from ._no_copies import no_copies
from ._subscription import Subscription

T = TypeVar("T")

_POLICIES = ("wait", "lag", "latest")


@dataclass(frozen=True, slots=True)
class BroadcastStatistics:
    """What a broadcast has seen, at one moment."""

    capacity: int | float
    """How many values a subscription may have unread."""
    buffered: int
    """Values that somebody has not read yet."""
    subscriptions: int
    """Subscriptions that are open."""
    publishers_waiting: int
    """Operations and select cases that wait to publish."""
    receivers_waiting: int
    """Operations and select cases that wait to receive, of all subscriptions."""
    published: int
    """Values that were published, to however many subscriptions."""
    missed: int
    """Values that subscriptions missed, counted once for each."""
    closed: bool
    """``close()`` was called."""


@final
class Broadcast(Generic[T]):
    """Every value to every subscriber.

    A subscription sees all that is published after it was made. A value is kept, once, until the last subscription
    has read it; with no subscription at all a value is gone.

    Args:
        capacity: how many values a subscription may have unread, at least 1; ``math.inf`` is any number.
        policy: what happens when a subscription is that far behind. ``"wait"``: publish waits until it has read one,
            so nothing is lost, and the slowest sets the pace. ``"lag"``: publish never waits; the subscription loses
            its oldest values and is told by ``Lagged`` before it goes on. ``"latest"``: the same without a word; with
            capacity 1 a receiver gets the latest value and none before it.
        name: shown in reprs, errors and dumps.

    Raises:
        TypeError: the capacity is neither an int nor ``math.inf``.
        ValueError: it is below 1 or NaN, or the policy is unknown.

    Go: nothing alike (go#28157); closing a channel is the only broadcast there.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     prices = gochan.Broadcast[int](10)
        ...     first, second = prices.subscribe(), prices.subscribe()
        ...     await prices.publish(7)
        ...     prices.close()
        ...     print([price async for price in first], [price async for price in second])
        >>> gochan.run(main)
        [7] [7]
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(
        self,
        capacity: int | float,
        policy: Literal["wait", "lag", "latest"] = "wait",
        *,
        name: str | None = None,
    ) -> None:
        number = isinstance(capacity, int) and not isinstance(capacity, bool)
        if not number and not (isinstance(capacity, float) and not math.isfinite(capacity)):
            raise TypeError(f"the capacity of a broadcast is an int or math.inf, not {capacity!r}")
        if not capacity >= 1:
            raise ValueError(f"the capacity of a broadcast cannot be {capacity!r}: 1 or more, or math.inf")
        if policy not in _POLICIES:
            raise ValueError(f"policy is 'wait', 'lag' or 'latest', not {policy!r}")
        self._state = BroadcastState(capacity, policy, name)

    def subscribe(self) -> Subscription[T]:
        """A view of what is published from now on; close it, best by ``with``, when nothing more is wanted.

        Of a closed broadcast it is one that has ended.
        """
        self._state.check()
        return Subscription(self._state.subscribe())

    @uninterruptible
    async def publish(self, value: T) -> None:
        """Give a value to every subscription; under "wait", as soon as none is ``capacity`` values behind.

        Raises:
            ChannelClosed: the broadcast is closed, or was closed while this waited; nobody got the value.

        Cancellation: all or nothing. A cancelled publish has delivered to nobody; one that was let in returns.
        Fairness: publishers are let in first come, first served; subscriptions are woken in the order in which they
        began to wait.
        Go: nothing alike.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     news = gochan.Broadcast[str](1, "latest")
            ...     reader = news.subscribe()
            ...     for text in ("one", "two", "three"):
            ...         await news.publish(text)
            ...     print(await reader.receive())
            >>> gochan.run(main)
            three
        """
        state = self._state
        driver = await state.begin()
        outcome = state.put(value)
        if outcome is PENDING:
            outcome = await driver.park(state.publishing(driver), value)
        if outcome is CLOSED:
            raise self._closed()

    def publish_nowait(self, value: T) -> None:
        """Give a value to every subscription if that needs no waiting.

        Raises:
            anyio.WouldBlock: under "wait", a subscription has no room; nobody got the value.
            ChannelClosed: the broadcast is closed.
        """
        self._state.check()
        outcome = self._state.put(value)
        if outcome is PENDING:
            raise anyio.WouldBlock
        if outcome is CLOSED:
            raise self._closed()

    def publishing(self, value: T) -> Case[None]:
        """The case of a select that publishes ``value``."""
        return _PublishCase(self, value)

    def close(self, cause: BaseException | None = None) -> None:
        """Say that nothing more will be published; only the first call counts.

        Waiting and later publishers raise ``ChannelClosed``. Subscriptions read what they have not read, then they
        end.

        Args:
            cause: why; it becomes the ``__cause__`` of every ``ChannelClosed``, and ends iteration with one.
        """
        check_cause(cause)
        self._state.check()
        self._state.close(cause)

    async def aclose(self) -> None:
        """``close()``, for anyio and ``async with``; it does not wait."""
        self.close()

    def statistics(self) -> BroadcastStatistics:
        """What the broadcast has seen; works anywhere."""
        state = self._state
        return BroadcastStatistics(
            capacity=state.capacity,
            buffered=state.buffered,
            subscriptions=state.subscriptions - len(state.forgotten),
            publishers_waiting=len(state.publishers),
            receivers_waiting=sum(len(subscription.receivers) for subscription in list(state.waiting)),
            published=int(state.end.number),
            missed=state.missed,
            closed=state.closed,
        )

    @property
    def capacity(self) -> int | float:
        """How many values a subscription may have unread."""
        return self._state.capacity

    @property
    def policy(self) -> Literal["wait", "lag", "latest"]:
        """What happens when a subscription has no room."""
        return self._state.policy

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called; subscriptions may still have values to read."""
        return self._state.closed

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self._state.name

    def __repr__(self) -> str:
        return repr(self._state)

    __reduce__ = no_copies

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A cancellation is no failure: the subscribers see a plain end.
        self.close(error if isinstance(error, Exception) else None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _closed(self) -> ChannelClosed:
        error = ChannelClosed(f"publish on a closed broadcast: {self!r}", self)
        error.__cause__ = self._state.cause
        return error


class _PublishCase(Case[None]):
    __slots__ = ("_broadcast", "_value")

    def __init__(self, broadcast: Broadcast[Any], value: object) -> None:
        self._broadcast = broadcast
        self._value = value
        self._state = broadcast._state

    def _ready(self) -> bool:
        ready: bool = self._state.can_put()
        return ready

    def _take(self) -> Any:
        return self._state.put(self._value)

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        entry.item = self._value
        self._state.publishing(driver).append(entry)

    def _result(self, value: Any) -> None:
        if value is CLOSED:
            raise self._broadcast._closed()


__all__ = ["Broadcast", "BroadcastStatistics"]
