"""Subscriptions: what one receiver of a broadcast holds. What they do is in ``_broadcast_state.py``."""

from __future__ import annotations

from typing import Any, TypeVar, final

from ._broadcast_state import Missed, SubscriptionState
from ._channel_state import CLOSED
from ._errors import ChannelClosed, Lagged
from ._receiving import Receiving

T_co = TypeVar("T_co", covariant=True)


@final
class Subscription(Receiving[T_co]):
    """One receiver's view of a ``Broadcast``: every value that is published from now on, in order.

    Made by ``Broadcast.subscribe()``. It is a ``ReceiveChannel``, an anyio object receive stream, and can be selected
    over. Several goroutines may receive from one subscription; then each value goes to one of them.

    Close it when nothing more is wanted, best by ``with``: under the policy "wait" publishers wait for it. One that is
    forgotten counts as closed once it has been garbage-collected.

    Go: nothing alike; a channel for each receiver, and a goroutine that copies.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     news = gochan.Broadcast[str](10)
        ...     with news.subscribe() as reader:
        ...         await news.publish("hello")
        ...         print(await reader.receive())
        >>> gochan.run(main)
        hello
    """

    __slots__ = ()

    _state: SubscriptionState

    def __init__(self, state: SubscriptionState) -> None:
        if not isinstance(state, SubscriptionState):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a Subscription is made by Broadcast.subscribe(), not of {state!r}")
        self._state = state

    def close(self) -> None:
        """Receive nothing more; idempotent. What was not read is let go.

        Whoever waits to receive from it gets ``ChannelClosed``, as later receives do; iteration ends. Publishers that
        waited for it go on.
        """
        self._state.check()
        self._state.close()

    @property
    def closed(self) -> bool:
        """Whether it or its broadcast was closed; in the second case there may be values to read."""
        return self._state.closed or self._state.broadcast.closed

    @property
    def missed(self) -> int:
        """How many values it has missed in all, with those that no receive has told of yet."""
        return self._state.overtaken + self._state.missing

    @property
    def name(self) -> str | None:
        """The name of the broadcast."""
        return self._state.name

    def __len__(self) -> int:
        return len(self._state)

    def __del__(self) -> None:
        state = getattr(self, "_state", None)
        if state is not None:
            state.forget()

    def _result(self, value: Any) -> Any:
        if value is CLOSED:
            what = "subscription" if self._state.closed else "broadcast"
            error = ChannelClosed(f"receive from a closed {what}: {self!r}", self)
            error.__cause__ = self._state.cause
            raise error
        if type(value) is Missed:
            raise Lagged(
                f"{value.count} values went by before they were received: {self!r}; receive faster, or give the "
                "broadcast more capacity",
                value.count,
                self,
            )
        return value
