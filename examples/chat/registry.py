"""The registry: who is connected, under which name, and who may come back as the same session.

Invariants
    G1  ``sessions`` holds every session between its welcome and its end, ``users`` the same by name.
    G2  Nobody has more than ``per_user`` sessions, and the node no more than ``most``: the next one is refused (4504).
    G3  A session that ended without a goodbye of the client's own may be resumed for ``RESUME`` seconds, with the
        secret that only its client was told. One that is still connected is resumed as well, and its connection closed:
        the server may learn last that a connection is dead.

What resuming keeps is the session id and, with it, the proof to be the same client. Messages need nothing of it: they
are recovered by position (``since``), on any node.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from .wire import Close, Encoded, Goodbye

if TYPE_CHECKING:
    from .session import Session

RESUME: Final = 120.0
_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Ended:
    secret: str
    user: str
    until: float


class Registry:
    """The sessions of one node."""

    def __init__(self, *, per_user: int = 100, most: int = 100_000) -> None:
        self.sessions: dict[str, Session] = {}
        self.users: dict[str, dict[Session, None]] = {}  # dicts for sets: what is told to all is told in one order
        self._per_user = per_user
        self._most = most
        self._ended: OrderedDict[str, _Ended] = OrderedDict()

    def add(self, session: Session, user: str, sid: str | None = None, secret: str | None = None) -> bool:
        """Let a session in, under its name; whether it is an earlier one that is resumed.

        Raises:
            Goodbye: there are too many, of this user or of all.
        """
        resumed = sid is not None and secret is not None and self._resume(session, user, sid, secret)
        others = self.users.get(user, ())
        if len(self.sessions) >= self._most or len(others) >= self._per_user:
            whose = "the server" if len(self.sessions) >= self._most else f"{user!r}"
            raise Goodbye(Close.CONNECTION_LIMIT, f"{whose} has too many connections")
        session.user = user
        self.sessions[session.sid] = session
        self.users.setdefault(user, {})[session] = None
        return resumed

    def _resume(self, session: Session, user: str, sid: str, secret: str) -> bool:
        living = self.sessions.get(sid)
        ended = self._ended.get(sid)
        if living is not None:
            known = living.secret, living.user
        elif ended is not None and ended.until > anyio.current_time():
            known = ended.secret, ended.user
        else:
            return False
        if not hmac.compare_digest(known[0].encode(), secret.encode()) or known[1] != user:
            return False
        if living is not None:
            self.remove(living)
            living.close(Goodbye(Close.KICKED, "resumed by another connection"))
        self._ended.pop(sid, None)
        # A new secret each time: an old one, overheard, is worth nothing.
        session.sid = sid
        return True

    def remove(self, session: Session, *, resumable: bool = False) -> None:
        """A session has ended. Nothing happens if it is not, or no longer, the one of this id."""
        if self.sessions.get(session.sid) is not session:
            return
        del self.sessions[session.sid]
        others = self.users[session.user]
        others.pop(session, None)
        if not others:
            del self.users[session.user]
        if resumable:
            now = anyio.current_time()
            self._ended[session.sid] = _Ended(session.secret, session.user, now + RESUME)
            # In the order in which they ended, as each has the same time.
            while len(self._ended) > _KEPT or next(iter(self._ended.values())).until <= now:
                self._ended.popitem(last=False)

    def tell(self, user: str, frame: Encoded) -> int:
        """Give something to all sessions of a user; to how many."""
        return sum([session.tell(frame) for session in self.users.get(user, ())])

    def _check(self) -> None:
        by_name = {(session.user, session) for session in self.sessions.values()}
        assert by_name == {(user, session) for user, group in self.users.items() for session in group}, "G1"
        assert all(sid == session.sid for sid, session in self.sessions.items()), "G1: by their own id"
        assert all(len(group) <= self._per_user for group in self.users.values()), "G2"


def new_secret() -> str:
    return secrets.token_urlsafe(18)
