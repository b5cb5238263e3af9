"""What clients say, and what is wrong with what is refused.

    hello{v, user, token?, sid?, secret?, caps?}   first, once; sid and secret resume a session
    join{id, room, since?{off, ep}, limit?}        leave{id, room}        who{id, room}
    history{id, room, since?{off, ep}, limit?, rev?}
    say{id, room, body, tp?}                       dm{id, to, body}
    ping{n}   pong{n}   bye

A message is a ``Json`` dict whose ``t`` is its name, whatever the bytes were: the codecs make the dict, this file
judges it, so that a message means the same in every format. Fields that are not known are ignored, so that clients may
be newer than servers; an optional field may be null, which is as if it were left out.

An ``id`` is a string of at most 64 characters or a whole number; the answer carries it back. Numbers go to 2**53 - 1,
the largest that JavaScript keeps exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from .errors import Code, Id, WireError

VERSION: Final = 1
MAX_USER: Final = 32
MAX_BODY: Final = 8000
MAX_ID: Final = 64
MAX_NUMBER: Final = 2**53 - 1
MAX_TOKEN: Final = 4096
MAX_SECRET: Final = 128
MAX_CAPS: Final = 32

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pos:
    """A place in a room's history: the offset of a message, and the epoch in which offsets can be compared."""

    off: int
    ep: str


@dataclass(frozen=True, slots=True)
class Hello:
    user: str
    token: str | None = None
    sid: str | None = None
    secret: str | None = None
    caps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """``limit`` is what the client asks for: how much it gets is for the server to bound."""

    id: Id
    room: str
    since: Pos | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    id: Id
    room: str


@dataclass(frozen=True, slots=True)
class Who:
    id: Id
    room: str


@dataclass(frozen=True, slots=True)
class History:
    """``limit`` as in ``Join``; ``rev`` asks for the newest first."""

    id: Id
    room: str
    since: Pos | None = None
    limit: int | None = None
    rev: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """``id`` makes it idempotent, per user; ``tp`` is a W3C traceparent that is well formed."""

    id: Id
    room: str
    body: str
    tp: str | None = None


@dataclass(frozen=True, slots=True)
class Dm:
    id: Id
    to: str
    body: str


@dataclass(frozen=True, slots=True)
class Ping:
    n: int


@dataclass(frozen=True, slots=True)
class Pong:
    n: int


@dataclass(frozen=True, slots=True)
class Bye:
    pass


Command: TypeAlias = Hello | Join | Leave | Who | History | Say | Dm | Ping | Pong | Bye

_ROOM: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_KINDS: Final[Mapping[type[Any], str]] = {
    int: "a whole number", str: "a string", bool: "true or false", list: "a list", dict: "an object",
}  # fmt: skip


def command(message: Json) -> Command:
    """The command that a message is.

    Raises:
        WireError: it is none, and the code says what is wrong.
    """
    kind = message.get("t")
    if not isinstance(kind, str):
        raise _bad("'t' must be a string: the name of the message", message)
    read = _COMMANDS.get(kind)
    if read is None:
        raise WireError(Code.NOT_FOUND, f"there is no message {kind[:MAX_ID]!r}", echo(message))
    return read(message)


def echo(message: Json) -> Id | None:
    """The id to answer with, if it is one: an answer must not repeat whatever was sent."""
    id_ = message.get("id")
    if (type(id_) is str and 1 <= len(id_) <= MAX_ID) or (type(id_) is int and 0 <= id_ <= MAX_NUMBER):
        return id_
    return None


# ---- one function for each message ----


def _hello(message: Json) -> Hello:
    version = _field(message, "v", int)
    if version != VERSION:
        raise _bad(f"this server speaks version {VERSION} of the protocol", message)
    return Hello(
        _user(message, "user"),
        _word(message, "token", MAX_TOKEN),
        _word(message, "sid", MAX_ID),
        _word(message, "secret", MAX_SECRET),
        _caps(message),
    )


def _join(message: Json) -> Join:
    return Join(_id(message), _room(message), _since(message), _limit(message))


def _leave(message: Json) -> Leave:
    return Leave(_id(message), _room(message))


def _who(message: Json) -> Who:
    return Who(_id(message), _room(message))


def _history(message: Json) -> History:
    rev: bool | None = _optional(message, "rev", bool)
    return History(_id(message), _room(message), _since(message), _limit(message), rev is True)


def _say(message: Json) -> Say:
    return Say(_id(message), _room(message), _body(message), _traceparent(message))


def _dm(message: Json) -> Dm:
    return Dm(_id(message), _user(message, "to"), _body(message))


def _ping(message: Json) -> Ping:
    return Ping(_number(message, "n"))


def _pong(message: Json) -> Pong:
    return Pong(_number(message, "n"))


def _bye(_: Json) -> Bye:
    return Bye()


_COMMANDS: Final[Mapping[str, Callable[[Json], Command]]] = {
    "hello": _hello, "join": _join, "leave": _leave, "who": _who, "history": _history, "say": _say, "dm": _dm,
    "ping": _ping, "pong": _pong, "bye": _bye,
}  # fmt: skip


# ---- one function for each kind of field ----


def _field(message: Json, name: str, kind: type[Any]) -> Any:
    value = message.get(name)
    if type(value) is not kind:  # not isinstance: true is an int to Python, but no number to JSON
        raise _bad(f"{name!r} is missing" if name not in message else f"{name!r} must be {_KINDS[kind]}", message)
    return value


def _optional(message: Json, name: str, kind: type[Any]) -> Any:
    return None if message.get(name) is None else _field(message, name, kind)


def _number(message: Json, name: str) -> int:
    value: int = _field(message, name, int)
    if not 0 <= value <= MAX_NUMBER:
        raise _bad(f"{name!r} must be from 0 to 2**53 - 1", message)
    return value


def _limit(message: Json) -> int | None:
    return None if message.get("limit") is None else _number(message, "limit")


def _since(message: Json) -> Pos | None:
    since: Json | None = _optional(message, "since", dict)
    if since is None:
        return None
    since = {"id": message.get("id"), "off": since.get("off"), "ep": since.get("ep")}
    epoch = _word(since, "ep", MAX_ID)
    if epoch is None:
        raise _bad("'since' needs 'off' and 'ep'", message)
    return Pos(_number(since, "off"), epoch)


def _word(message: Json, name: str, longest: int) -> str | None:
    value: str | None = _optional(message, name, str)
    if value is not None and not 1 <= len(value) <= longest:
        raise WireError(Code.LIMIT, f"{name!r} is 1 to {longest} characters", echo(message))
    return value


def _caps(message: Json) -> tuple[str, ...]:
    caps: list[Any] = _optional(message, "caps", list) or []
    if any(type(cap) is not str for cap in caps):
        raise _bad("'caps' must be a list of strings", message)
    if len(caps) > MAX_CAPS or any(len(cap) > MAX_ID for cap in caps):
        raise WireError(Code.LIMIT, f"'caps' are at most {MAX_CAPS}, each of at most {MAX_ID} characters")
    return tuple(cast("list[str]", caps))


def _user(message: Json, name: str) -> str:
    user: str = _field(message, name, str)
    # isprintable() keeps out control characters and the invisible ones that turn the direction of a line.
    if not 1 <= len(user) <= MAX_USER or user != user.strip() or not user.isprintable():
        raise WireError(
            Code.LIMIT, f"a user name is 1 to {MAX_USER} visible characters without spaces at its ends", echo(message)
        )
    return user


def _body(message: Json) -> str:
    body: str = _field(message, "body", str)
    if not 1 <= len(body) <= MAX_BODY:
        raise WireError(Code.LIMIT, f"a body is 1 to {MAX_BODY} characters", echo(message))
    return body


def _traceparent(message: Json) -> str | None:
    tp: str | None = _optional(message, "tp", str)
    # As W3C's recommendation has it: whoever cannot read one starts a trace of its own, and refuses nothing.
    return tp if tp is not None and _TRACEPARENT.fullmatch(tp) else None


def _id(message: Json) -> Id:
    id_ = echo(message)
    if id_ is None:
        raise _bad(f"'id' must be a string of 1 to {MAX_ID} characters or a whole number", message)
    return id_


def _room(message: Json) -> str:
    room: str = _field(message, "room", str)
    if not _ROOM.fullmatch(room):
        raise WireError(Code.LIMIT, "a room is 1 to 64 of a-z, 0-9, '_', '.' and '-'", echo(message))
    return room


def _bad(reason: str, message: Json) -> WireError:
    return WireError(Code.BAD_REQUEST, reason, echo(message))
