"""What servers say: one function for each message, which are plain dicts until a codec makes bytes of them.

    welcome{sid, secret?, node, hb?{ival, min_to}, lim{size, body, user, rate?, burst?, rooms?}, resumed}
    joined{id, room, off?, ep?, rec?, msgs[], members?}    members{id, room, members[]}
    history{id, room, off, ep, msgs[], complete}           ack{id, room?, off?, ep?, dup?, delivered?}
    msg{room, off?, ep?, from, body, ts, id?, tp?}         dm{from, body, ts}
    pres{room, join[], leave[]}   lag{room, n}   resync{room}   ping{n}   pong{n}
    err{id?, code, msg, temp, retry_ms?}                   goaway{code, reason, after_ms, resume}

``msgs`` are complete ``msg`` messages, ``t`` and all: a client reads them as it reads those that come live. Times in
``hb`` are seconds, ``rate`` is messages per second, ``ts`` is milliseconds since 1970; whatever ends in ``_ms`` is
milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .commands import MAX_BODY, MAX_USER, Json, Pos
from .errors import Goodbye, Id, WireError

MAX_MEMBERS: Final = 1000
"""Names in one message. More would be longer than clients take, and be made again for everybody who comes."""


def welcome(
    sid: str,
    node: str,
    max_size: int,
    *,
    secret: str | None = None,
    interval: float | None = None,
    min_timeout: float | None = None,
    rate: float | None = None,
    burst: int | None = None,
    rooms: int | None = None,
    resumed: bool = False,
) -> Json:
    """After hello.

    Args:
        max_size: the bytes of a message.
        secret: what resumes this session, together with ``sid``.
        interval: seconds between the server's pings; ``None`` when it sends none.
        min_timeout: the least number of seconds that a pong may take.
        rate: messages per second that are taken from this connection, in the long run.
        burst: messages that are taken at once.
        rooms: how many rooms this connection may be in.
        resumed: whether this is the session that the hello asked for.
    """
    limits = _sparse(size=max_size, body=MAX_BODY, user=MAX_USER, rate=rate, burst=burst, rooms=rooms)
    heartbeat = None if interval is None else _sparse(ival=interval, min_to=min_timeout)
    return _sparse(t="welcome", sid=sid, secret=secret, node=node, hb=heartbeat, lim=limits, resumed=resumed)


def joined(
    id_: Id,
    room: str,
    members: Sequence[str] | None = None,
    *,
    pos: Pos | None = None,
    rec: bool | None = None,
    msgs: Sequence[Json] = (),
) -> Json:
    """The client is in the room.

    Args:
        members: the names of all; ``None`` where they are more than ``MAX_MEMBERS``.
        pos: the newest message of the room.
        rec: whether ``msgs`` are everything since what the client had; ``None`` when it had not asked.
    """
    return _sparse(t="joined", id=id_, room=room, **_at(pos), rec=rec, msgs=list(msgs), members=members)


def members(id_: Id, room: str, members: Sequence[str]) -> Json:
    """The answer to ``who``: of more than ``MAX_MEMBERS`` the first."""
    return {"t": "members", "id": id_, "room": room, "members": members[:MAX_MEMBERS]}


def history(id_: Id, room: str, pos: Pos, msgs: Sequence[Json], complete: bool) -> Json:
    """The answer to ``history``.

    Args:
        pos: the newest message of the room.
        complete: whether nothing is missing between what was asked for and ``msgs``.
    """
    return {"t": "history", "id": id_, "room": room, **_at(pos), "msgs": list(msgs), "complete": complete}


def ack(
    id_: Id, room: str | None = None, *, pos: Pos | None = None, dup: bool | None = None, delivered: int | None = None
) -> Json:
    """A command was obeyed.

    Args:
        pos: where a ``say`` came to stand.
        dup: true when it had been said before, with the same id.
        delivered: to how many sessions a ``dm`` went.
    """
    return _sparse(t="ack", id=id_, room=room, **_at(pos), dup=dup, delivered=delivered)


def msg(
    room: str,
    sender: str,
    body: str,
    ts: int,
    id_: Id | None = None,
    *,
    pos: Pos | None = None,
    tp: str | None = None,
) -> Json:
    """What somebody said in a room."""
    said = {"from": sender, "body": body, "ts": ts, "id": id_, "tp": tp}
    return _sparse(t="msg", room=room, **_at(pos), **said)


def published(room: str, pos: Pos, fields: Json) -> Json:
    """The ``msg`` of which a broker keeps everything but its place: ``from``, ``body``, ``ts``, ``id``, ``tp``."""
    return {"t": "msg", "room": room, "off": pos.off, "ep": pos.ep, **fields}


def dm(sender: str, body: str, ts: int) -> Json:
    """What somebody said to this user alone."""
    return {"t": "dm", "from": sender, "body": body, "ts": ts}


def pres(room: str, join: Sequence[str] = (), leave: Sequence[str] = ()) -> Json:
    """Who came and who went."""
    return {"t": "pres", "room": room, "join": list(join), "leave": list(leave)}


def lag(room: str, n: int) -> Json:
    """So many messages of this room were dropped, because they were not read in time."""
    return {"t": "lag", "room": room, "n": n}


def resync(room: str) -> Json:
    """What the client has of this room may have gaps, or is of another epoch: it should load it again."""
    return {"t": "resync", "room": room}


def ping(n: int) -> Json:
    """To be answered with a pong of the same number."""
    return {"t": "ping", "n": n}


def pong(n: int) -> Json:
    """The answer to a ping."""
    return {"t": "pong", "n": n}


def goaway(goodbye: Goodbye) -> Json:
    """The connection ends, or will soon."""
    return {
        "t": "goaway",
        "code": int(goodbye.code),
        "reason": goodbye.reason,
        "after_ms": goodbye.after_ms,
        "resume": goodbye.resume,
    }


def err(error: WireError) -> Json:
    """A message was refused."""
    return _sparse(
        t="err",
        code=int(error.code),
        msg=error.message,
        temp=error.code.temporary,
        id=error.id,
        retry_ms=error.retry_ms,
    )


def _at(pos: Pos | None) -> Json:
    return {} if pos is None else {"off": pos.off, "ep": pos.ep}


def _sparse(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}
