"""What a server said, judged by its bytes alone: it can be read to its end, and every code in it is documented."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from examples.chat.transport import Opening, recognise
from examples.chat.wire import Close, Code, WireError
from examples.chat.wire.protobuf_codec import PROTOBUF

STATUSES: Final = frozenset({101, 200, 400, 403, 404, 405, 426, 431, 503, 505})
_CODES: Final = frozenset(int(code) for code in Code)
_CLOSES: Final = frozenset(int(code) for code in Close)
_KINDS: Final = frozenset({
    "welcome", "joined", "members", "history", "ack", "msg", "dm", "pres", "lag", "resync", "ping", "pong", "goaway",
    "err",
})  # fmt: skip


class Wrong(Exception):
    """This is no answer."""


def judge_replies(sent: bytes, replies: bytes) -> Iterator[str]:
    """What there was: ``err 400``, ``goaway 1000``, ``status 404``, ``close 1002``, ``welcome``.

    Raises:
        Wrong: it cannot be read, or has a code that is not documented.
    """
    opening = recognise(sent)
    if opening is Opening.HTTP:
        yield from _http(replies)
    elif opening is Opening.PREFIXED:
        while replies:
            end = 4 + int.from_bytes(replies[:4], "big")
            yield from _message(_protobuf(replies[4:end]))
            if len(replies) < end:
                raise Wrong("a message that does not end")
            replies = replies[end:]
    elif replies:
        if not replies.endswith(b"\n"):
            raise Wrong("a line that does not end")
        for line in replies[:-1].split(b"\n"):
            yield from _message(_json(line))
    if not replies:
        yield "the end"


def _http(replies: bytes) -> Iterator[str]:
    head, _, rest = replies.partition(b"\r\n\r\n")
    words = head.split(b" ")
    if not replies:
        return
    if words[0] != b"HTTP/1.1" or not words[1].isdigit() or int(words[1]) not in STATUSES:
        raise Wrong(f"a status that is not documented: {head[:80]!r}")
    yield f"status {int(words[1])}"
    if int(words[1]) == 101:
        yield from _frames(rest)


def _frames(data: bytes) -> Iterator[str]:
    while data:
        first, size, start = data[0], data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        payload, data = data[start : start + size], data[start + size :]
        if len(payload) < size:
            raise Wrong("a frame that does not end")
        match first:
            case 0x81:
                yield from _message(_json(payload))
            case 0x82:
                yield from _message(_protobuf(payload))
            case 0x88:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                # A code of the client's comes back to it.
                if payload and code not in _CLOSES and not 1000 <= code < 5000:
                    raise Wrong(f"closed with {code}")
                yield f"close {code}"
            case 0x8A:
                yield "pong"
            case _:
                raise Wrong(f"a frame that no server sends: {first:#x}")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise Wrong(f"no JSON: {data[:80]!r}") from error


def _protobuf(data: bytes) -> Any:
    try:
        return PROTOBUF.loads(data)
    except WireError as error:
        raise Wrong(f"no Protobuf: {data[:80]!r}") from error


def _message(message: Any) -> Iterator[str]:
    kind = message.get("t")
    if kind not in _KINDS:
        raise Wrong(f"no message of a server: {message!r}")
    if kind == "err" and message["code"] not in _CODES:
        raise Wrong(f"a code that is not documented: {message!r}")
    if kind == "goaway" and message["code"] not in _CLOSES:
        raise Wrong(f"a close code that is not documented: {message!r}")
    yield f"{kind} {message['code']}" if kind in ("err", "goaway") else str(kind)
