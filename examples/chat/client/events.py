"""What a client tells its user: what is said, who is there, what was missed, and how the connection fares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .. import wire

# ---- what is said, and by whom ----


@dataclass(frozen=True, slots=True)
class Message:
    room: str
    sender: str
    body: str
    sent_at: float
    """Seconds since the epoch, by the server's clock."""
    id: wire.Id
    position: wire.Pos | None = None
    """``None`` from a server without a history."""


@dataclass(frozen=True, slots=True)
class DirectMessage:
    sender: str
    body: str
    sent_at: float


@dataclass(frozen=True, slots=True)
class Presence:
    room: str
    joined: tuple[str, ...]
    left: tuple[str, ...]


# ---- what may be missing ----


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a room between those before this event and those after it did not reach us, or may not have.

    What the history still has of them, ``Client.history(room, since=after)`` brings.
    """

    room: str
    after: wire.Pos | None
    """The last message before the gap."""
    before: wire.Pos | None
    """The first one after it, where the server has said that."""
    missed: int | None
    """How many they are; ``None`` when that cannot be known, as after the history has begun anew."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The answer to ``history``."""

    messages: tuple[Message, ...]
    top: wire.Pos | None
    """Where the room's history ends now."""
    complete: bool
    """Whether nothing is missing between what was asked for and these."""


# ---- the connection ----


@dataclass(frozen=True, slots=True)
class Joined:
    """We are in a room: the answer to ``join``, and an event when a new connection has brought us back."""

    room: str
    members: tuple[str, ...]
    position: wire.Pos | None
    recovered: bool | None
    """Whether all that was missed was handed out; ``None`` when nothing was asked for."""


@dataclass(frozen=True, slots=True)
class Expelled:
    """The server did not let us back into a room."""

    room: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection was lost; the next one is tried after a while."""

    code: int
    reason: str
    after: float
    """Seconds."""
    attempt: int


@dataclass(frozen=True, slots=True)
class Reconnected:
    """A new connection is welcome; the rooms are joined again next."""

    resumed: bool
    """Whether the server still knew our session."""
    attempt: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server is about to close the connection."""

    code: int
    reason: str
    after: float
    """Seconds to wait before the next connection."""
    resume: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that answers no request."""

    code: int
    text: str
    temporary: bool


ChatEvent: TypeAlias = (
    Message | DirectMessage | Presence | Gap | Joined | Expelled | Reconnecting | Reconnected | GoAway | Problem
)


# ---- what goes wrong ----


class Disconnected(ConnectionError):
    """The connection has ended."""

    def __init__(self, code: int, reason: str, *, after: float = 0.0) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason
        self.after = after
        """Seconds that the server wants to be left alone."""


class Refused(Exception):
    """The server's answer to a request is an error."""

    def __init__(self, code: int, text: str, temporary: bool, retry_after: float | None = None) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code
        self.text = text
        self.temporary = temporary
        self.retry_after = retry_after
        """Seconds after which the same request may succeed, where the server has said that."""
