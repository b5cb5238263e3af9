"""The wire protocol, version 1: the messages, their JSON, and what is wrong with those that are refused.

Clients send   hello{v, user}  join{id, room}  leave{id, room}  who{id, room}  say{id, room, body}
               ping{n}  pong{n}  bye
Servers send   welcome{sid, node, lim}  joined{id, room, members}  ack{id, room}
               members{id, room, members}  msg{room, from, body, ts, id}  pres{room, join, leave}
               pong{n}  err{id?, code, msg, temp}  goaway{code, reason, after_ms, resume}

Every message is one JSON object whose ``t`` is its name. An ``id`` is a string of at most 64 characters or a whole
number; the answer carries it back. Fields that are not known are ignored, so that clients may be newer than servers.
Parsing is msgspec's where it is installed, the standard library's else; checking is done here, so that a message means
the same with either.

Prior art: centrifuge's client protocol, from which the error codes with ``temp`` and the close codes come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias, cast

msgspec: Any
try:
    import msgspec
except ImportError:  # the chat runs without it, a little slower
    msgspec = None

VERSION: Final = 1
SUBPROTOCOL: Final = "gochat.json"
MAX_USER: Final = 32
MAX_BODY: Final = 8000
MAX_ID: Final = 64
MAX_NUMBER: Final = 2**53 - 1  # the largest whole number that JavaScript keeps exact

Id: TypeAlias = str | int
Json: TypeAlias = dict[str, Any]


class Code(int, Enum):
    """The code of an ``err``."""

    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    NOT_FOUND = 404
    CONFLICT = 409
    TOO_LARGE = 413
    LIMIT = 422


class Close(int, Enum):
    """Why a connection ends: WebSocket's close code, on TCP the code of the ``goaway`` line.

    40xx: come back later. 45xx: do not, the same would happen again.
    """

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    INVALID_UTF8 = 1007
    TOO_BIG = 1009
    SHUTDOWN = 4001
    SLOW = 4008
    WRITE_TIMEOUT = 4009
    INTERNAL = 4014
    BAD_REQUEST = 4500
    NO_HELLO = 4502


class WireError(Exception):
    """A message that is refused: becomes an ``err`` for the one who sent it."""

    def __init__(self, code: Code, message: str, id_: Id | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = id_


class Goodbye(Exception):
    """Why a connection ends: what the cause of a closed outbox is, and what the client is told last."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(f"{reason} ({int(code)})")
        self.code = code
        self.reason = reason


# ---- what clients say ----


@dataclass(frozen=True, slots=True)
class Hello:
    user: str


@dataclass(frozen=True, slots=True)
class Join:
    id: Id
    room: str


@dataclass(frozen=True, slots=True)
class Leave:
    id: Id
    room: str


@dataclass(frozen=True, slots=True)
class Who:
    id: Id
    room: str


@dataclass(frozen=True, slots=True)
class Say:
    id: Id
    room: str
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


Command: TypeAlias = Hello | Join | Leave | Who | Say | Ping | Pong | Bye

_ROOM: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)


def decode(payload: bytes | bytearray) -> Command:
    """The command in one message.

    Raises:
        WireError: there is none, and the code says what is wrong.
    """
    message = loads(payload)
    kind = message.get("t")
    if not isinstance(kind, str):
        raise _bad("'t' must be a string: the name of the message", message)
    read = _COMMANDS.get(kind)
    if read is None:
        raise WireError(Code.NOT_FOUND, f"there is no message {kind[:MAX_ID]!r}", _echo(message))
    return read(message)


def _hello(message: Json) -> Hello:
    version = _field(message, "v", int)
    if version != VERSION:
        raise _bad(f"this server speaks version {VERSION} of the protocol", message)
    user = _field(message, "user", str)
    # isprintable() keeps out control characters and the invisible ones that turn the direction of a line.
    if not 1 <= len(user) <= MAX_USER or user != user.strip() or not user.isprintable():
        raise WireError(
            Code.LIMIT, f"a user name is 1 to {MAX_USER} visible characters without spaces at its ends", _echo(message)
        )
    return Hello(user)


def _say(message: Json) -> Say:
    id_, room, body = _id(message), _room(message), _field(message, "body", str)
    if not 1 <= len(body) <= MAX_BODY:
        raise WireError(Code.LIMIT, f"a body is 1 to {MAX_BODY} characters", id_)
    return Say(id_, room, body)


_COMMANDS: Final[Mapping[str, Callable[[Json], Command]]] = {
    "hello": _hello,
    "join": lambda message: Join(_id(message), _room(message)),
    "leave": lambda message: Leave(_id(message), _room(message)),
    "who": lambda message: Who(_id(message), _room(message)),
    "say": _say,
    "ping": lambda message: Ping(_number(message, "n")),
    "pong": lambda message: Pong(_number(message, "n")),
    "bye": lambda message: Bye(),
}


def _field(message: Json, name: str, kind: type[Any]) -> Any:
    value = message.get(name)
    if type(value) is not kind:  # not isinstance: true is an int to Python, but no number to JSON
        what = {int: "a whole number", str: "a string"}[kind]
        raise _bad(f"{name!r} is missing" if name not in message else f"{name!r} must be {what}", message)
    return value


def _number(message: Json, name: str) -> int:
    value: int = _field(message, name, int)
    if not 0 <= value <= MAX_NUMBER:
        raise _bad(f"{name!r} must be from 0 to 2**53 - 1", message)
    return value


def _id(message: Json) -> Id:
    id_ = _echo(message)
    if id_ is None:
        raise _bad(f"'id' must be a string of 1 to {MAX_ID} characters or a whole number", message)
    return id_


def _echo(message: Json) -> Id | None:
    """The id to answer with, if it is one: an answer must not repeat whatever was sent."""
    id_ = message.get("id")
    if (type(id_) is str and 1 <= len(id_) <= MAX_ID) or (type(id_) is int and 0 <= id_ <= MAX_NUMBER):
        return id_
    return None


def _room(message: Json) -> str:
    room: str = _field(message, "room", str)
    if not _ROOM.fullmatch(room):
        raise WireError(Code.LIMIT, "a room is 1 to 64 of a-z, 0-9, '_', '.' and '-'", _echo(message))
    return room


def _bad(reason: str, message: Json) -> WireError:
    return WireError(Code.BAD_REQUEST, reason, _echo(message))


# ---- what servers say ----


def welcome(sid: str, node: str, max_size: int) -> Json:
    return {"t": "welcome", "sid": sid, "node": node, "lim": {"size": max_size, "body": MAX_BODY, "user": MAX_USER}}


def joined(id_: Id, room: str, members: Sequence[str]) -> Json:
    return {"t": "joined", "id": id_, "room": room, "members": members}


def members(id_: Id, room: str, members: Sequence[str]) -> Json:
    return {"t": "members", "id": id_, "room": room, "members": members}


def ack(id_: Id, room: str) -> Json:
    return {"t": "ack", "id": id_, "room": room}


def msg(room: str, sender: str, body: str, ts: int, id_: Id) -> Json:
    return {"t": "msg", "room": room, "from": sender, "body": body, "ts": ts, "id": id_}


def pres(room: str, join: Sequence[str] = (), leave: Sequence[str] = ()) -> Json:
    return {"t": "pres", "room": room, "join": join, "leave": leave}


def pong(n: int) -> Json:
    return {"t": "pong", "n": n}


def goaway(goodbye: Goodbye) -> Json:
    return {"t": "goaway", "code": int(goodbye.code), "reason": goodbye.reason, "after_ms": 0, "resume": False}


def err(error: WireError) -> Json:
    # "temp" says that the same message may succeed later; none of today's errors is of that kind.
    answer = {"t": "err", "code": int(error.code), "msg": error.message, "temp": False}
    return answer if error.id is None else {**answer, "id": error.id}


# ---- JSON ----


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _loads_stdlib(payload: bytes | bytearray) -> Any:
    text = payload.decode()
    value = json.loads(text, parse_constant=_no_constant)
    # "\ud800" is half a character: it could be read, but never sent on.
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _dumps_stdlib(message: Json) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


_parse: Callable[[bytes | bytearray], Any] = _loads_stdlib
dumps: Callable[[Json], bytes] = _dumps_stdlib
if msgspec is not None:
    _parse, dumps = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


def loads(payload: bytes | bytearray) -> Json:
    """The JSON object in one message."""
    try:
        message = _parse(payload)
    except UnicodeDecodeError:
        raise WireError(Code.BAD_REQUEST, "this is not UTF-8") from None
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, too
        raise WireError(Code.BAD_REQUEST, "this is not JSON") from None
    if not isinstance(message, dict):
        raise WireError(Code.BAD_REQUEST, "a message is a JSON object")
    return cast("Json", message)


# ---- frames ----


class Framing(Enum):
    """How a message is set apart from the next one."""

    LINES = "lines"
    WEBSOCKET = "websocket"


class Encoded:
    """One message, turned into bytes at most once per framing, however many clients it goes to.

    This is what makes a broadcast cheap. It holds only while no WebSocket extension is negotiated: with compression
    every connection would need bytes of its own.
    """

    __slots__ = ("_lines", "_websocket", "payload")

    def __init__(self, message: Json) -> None:
        self.payload = dumps(message)
        self._lines: bytes | None = None
        self._websocket: bytes | None = None

    def framed(self, framing: Framing) -> bytes:
        """The bytes to write."""
        if framing is Framing.LINES:
            if self._lines is None:
                self._lines = self.payload + b"\n"
            return self._lines
        if self._websocket is None:
            self._websocket = text_frame(self.payload)
        return self._websocket


def text_frame(payload: bytes) -> bytes:
    """A server's WebSocket text frame: RFC 6455, section 5.2, final and unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
