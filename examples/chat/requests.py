"""What sessions ask of the hub. Whoever asks waits for ``done``: then the hub has obeyed, or has failed at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gochan import Event, SendChannel

from . import wire
from .broker.base import Event as Said
from .rooms import Client, Member
from .wire import Code, Pos, WireError


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """Something that a client asks for."""

    client: Client
    done: Event = field(default_factory=Event)

    @property
    def id(self) -> wire.Id | None:
        """What the answer carries."""
        return None


@dataclass(slots=True, eq=False, kw_only=True)
class Enter(Request):
    """A session wants to be in a room; what is said from now on is kept for it."""

    member: Member


@dataclass(slots=True, eq=False, kw_only=True)
class Arrive(Request):
    """It has read the history up to ``reached``, and goes live."""

    member: Member
    reached: Pos
    events: Sequence[Said] = ()
    more: bool = False
    """The history has more than this: go live only after the next part."""
    lost: bool = False
    """The history no longer reaches back to where the member was."""
    since: Pos | None = None
    """Where the member was, when it was read for one that had fallen behind."""
    join: wire.Join | None = None
    rec: bool | None = None

    @property
    def id(self) -> wire.Id | None:
        return None if self.join is None else self.join.id


@dataclass(slots=True, eq=False, kw_only=True)
class Depart(Request):
    """It leaves a room (``leave``), a join has failed (``member``), or it leaves them all."""

    leave: wire.Leave | None = None
    member: Member | None = None

    @property
    def id(self) -> wire.Id | None:
        return None if self.leave is None else self.leave.id


@dataclass(slots=True, eq=False, kw_only=True)
class Ask(Request):
    """Who is there, or a message for one user; on this node. The session, which may wait, asks the others."""

    command: wire.Who | wire.Dm
    users: Sequence[str] | None = None
    """Who is in the room; ``None`` if nobody of this node is."""
    delivered: int = 0
    """How many sessions took the message."""
    failed: bool = False
    """The hub failed at it."""

    @property
    def id(self) -> wire.Id:
        return self.command.id


async def ask(channel: SendChannel[Request], request: Request) -> None:
    """Have it done.

    Raises:
        ChannelClosed: the hub has ended.
    """
    await channel.send(request)
    await request.done.wait()


def failure(id_: wire.Id | None) -> WireError:
    """What a client is told whose request the hub failed at."""
    return WireError(Code.INTERNAL, "the server failed at this", id_)
