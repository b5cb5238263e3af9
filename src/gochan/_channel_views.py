"""What a channel looks like from either side, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from ._case import Case

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class SendChannel(Protocol[T_contra]):
    """The sending side of a channel: ask for it where a function only sends. Go: ``chan<- T``."""

    async def send(self, item: T_contra, /) -> None:
        """Send a value, waiting while it cannot be accepted."""
        ...

    def send_nowait(self, item: T_contra, /) -> None:
        """Send a value if that needs no waiting."""
        ...

    def close(self, cause: BaseException | None = None) -> None:
        """Say that nothing more will be sent."""
        ...

    async def aclose(self) -> None:
        """The same, for ``async with`` and anyio."""
        ...


class ReceiveChannel(Protocol[T_co]):
    """The receiving side of a channel: ask for it where a function only receives. Go: ``<-chan T``."""

    async def receive(self) -> T_co:
        """Receive the next value, waiting for one."""
        ...

    async def receive_ok(self) -> tuple[T_co, Literal[True]] | tuple[None, Literal[False]]:
        """Receive the next value, or learn that there will be none."""
        ...

    async def receive_many(self, limit: int | None = None) -> Sequence[T_co]:
        """Receive one value and whatever else is there."""
        ...

    def receive_nowait(self) -> T_co:
        """Receive a value if that needs no waiting."""
        ...

    def __aiter__(self) -> ReceiveChannel[T_co]: ...

    async def __anext__(self) -> T_co: ...

    def __case__(self) -> Case[T_co]: ...


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a channel has seen, at one moment."""

    capacity: int | float
    """The size of the buffer."""
    buffered: int
    """Values in the buffer."""
    senders_waiting: int
    """Operations, select cases and threads that wait to send."""
    receivers_waiting: int
    """Operations, select cases and threads that wait to receive."""
    sent: int
    """Values accepted: received or buffered; a dropped one does not count."""
    received: int
    """Values taken out."""
    dropped: int
    """Values dropped by the overflow policy."""
    closed: bool
    """``close()`` was called."""
