"""What goes wrong, and how it is told: the codes of an ``err``, and why a connection ends.

Prior art: centrifuge's client protocol, from which the codes with ``temp`` and the two ranges of close codes come.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

Id: TypeAlias = str | int


class Code(int, Enum):
    """The code of an ``err``."""

    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    NOT_FOUND = 404
    CONFLICT = 409
    GONE = 410
    TOO_LARGE = 413
    LIMIT = 422
    RATE_LIMITED = 429
    INTERNAL = 500
    UNAVAILABLE = 503
    TIMEOUT = 504

    @property
    def temporary(self) -> bool:
        """Whether the same message may succeed later."""
        return self in _TEMPORARY


_TEMPORARY: Final = frozenset({Code.RATE_LIMITED, Code.INTERNAL, Code.UNAVAILABLE, Code.TIMEOUT})


class Close(int, Enum):
    """Why a connection ends: WebSocket's close code, on TCP the code of the last ``goaway``.

    40xx: come back later. 45xx: do not, the same would happen again.
    """

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    INVALID_UTF8 = 1007
    TOO_BIG = 1009
    CLOSED = 4000
    SHUTDOWN = 4001
    SLOW = 4008
    WRITE_TIMEOUT = 4009
    INSUFFICIENT_STATE = 4010
    NO_PONG = 4012
    TOO_MANY_REQUESTS = 4013
    INTERNAL = 4014
    BAD_REQUEST = 4500
    INVALID_TOKEN = 4501
    NO_HELLO = 4502
    KICKED = 4503
    CONNECTION_LIMIT = 4504

    @property
    def reconnect(self) -> bool:
        """Whether the client is asked to come back."""
        return 4000 <= self < 4500


class WireError(Exception):
    """A message that is refused: becomes an ``err`` for the one who sent it.

    Args:
        id_: the id of the refused message, where it had one.
        retry_ms: when the same message may be sent again, for a code that is temporary.
    """

    def __init__(self, code: Code, message: str, id_: Id | None = None, *, retry_ms: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id_
        self.retry_ms = retry_ms


class Goodbye(Exception):
    """Why a connection ends: what the cause of a closed outbox is, and what the client is told last.

    Args:
        after_ms: how long the client should wait before it comes back.
        resume: whether its session is kept for it until then.
        final: the client itself has said that it does not come back.
    """

    def __init__(
        self, code: Close, reason: str, *, after_ms: int = 0, resume: bool = False, final: bool = False
    ) -> None:
        super().__init__(f"{reason} ({int(code)})")
        self.code = code
        self.reason = reason
        self.after_ms = after_ms
        self.resume = resume
        self.final = final
