"""Input that nobody thought of: good messages, requests and whole connections, changed at random from a seed.

mutate = Mutations(random.Random(15))
mutate.payload("json"), mutate.payload("pb")       one message, to be framed as it should be
mutate.stream("ws pb")                             everything that a client sends, its framing changed as well
"""

from __future__ import annotations

import json
import random
from typing import Any, Final

from tests.chat.test_codecs import MALFORMED, MALFORMED_JSON, MALFORMED_PROTOBUF
from tests.chat.test_malformed import REQUESTS, UPGRADE
from websockets.frames import Frame, Opcode

from examples.chat.transport import PREFACE
from examples.chat.wire.protobuf_codec import PROTOBUF

TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
GOOD: Final[list[dict[str, Any]]] = [
    {"t": "hello", "v": 1, "user": "ann", "token": "x", "sid": "s", "secret": "y", "caps": ["a", "b"]},
    {"t": "join", "id": 1, "room": "lobby", "since": {"off": 1, "ep": "e"}, "limit": 3},
    {"t": "leave", "id": "two", "room": "lobby"},
    {"t": "who", "id": 3, "room": "lobby"},
    {"t": "history", "id": 4, "room": "lobby", "since": {"off": 0, "ep": "e"}, "limit": 2, "rev": True},
    {"t": "say", "id": "five", "room": "lobby", "body": "hi ünï 🐟", "tp": TRACE},
    {"t": "dm", "id": 6, "to": "ann", "body": "psst"},
    {"t": "ping", "n": 7},
    {"t": "pong", "n": 8},
]
VALUES: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 1.5, 2**31, 2**53, 2**64, -(2**63), 1e308, "", " ", "x", "x" * 9000, "\0", "\n",
    "\u202e",
    "🐟", [], [[]], ["x"] * 40, {}, {"off": 1}, {"off": -1, "ep": ""}, {"off": 2**60, "ep": "e"}, "say", "hello",
    "bye", TRACE,
]  # fmt: skip
TOKENS: Final = {
    "json": [
        b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"-", b"\xff",
        b"\xc3",
        b"\xed\xa0\x80", b"\0", b"\r", b"null", b"9" * 400, b"[" * 2000, b'"t":"bye",', b'{"a":' * 300,
    ],
    "pb": [
        b"\0", b"\xff", b"\x80" * 11, b"\xff" * 10, b"\x0b", b"\x0c", b"\x0f", b"\x5a\x7f", b"\x0a\xff\xff\xff\xff\x0f",
        b"\x9a\x06\x00", b"\x08\x01", b"\x12\x00", b"\x3a\xfd\x07", b"\xed\xa0\x80", b"x" * 300,
    ],
    "frames": [
        b"\x81\x80\0\0\0\0", b"\x82\x80\0\0\0\0", b"\x01\x80\0\0\0\0", b"\x80\x80\0\0\0\0", b"\x88\x80\0\0\0\0",
        b"\x88\x82\0\0\0\0\x03\xe8", b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0", b"\x81\xfe", b"\x81\xff", b"\xff",
        b"\x7f",
    ],
    "head": [
        b"\r\n", b"\n", b"\r", b":", b" ", b"\0", b"\t", b"\xff", b"GET / HTTP/1.1\r\n", b"Host: evil.example\r\n",
        b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: websocket\r\n", b"Origin: null\r\n",
        b"\r\n\r\n",
        b"Sec-WebSocket-Protocol: gochat.pb\r\n", b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"x" * 9000,
    ],
}  # fmt: skip
_SESSION: Final = (
    {"t": "hello", "v": 1, "user": "ann"}, {"t": "join", "id": 1, "room": "lobby"},
    {"t": "say", "id": 2, "room": "lobby", "body": "hi"}, {"t": "who", "id": 3, "room": "lobby"}, {"t": "ping", "n": 4},
)  # fmt: skip


class Mutations:
    """One of its seeds, changed, each time that it is asked."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        hand = [message for message, _ in MALFORMED.values()]
        self._json = [json.dumps(message, ensure_ascii=False).encode() for message in GOOD + hand]
        self._json += [payload for payload, _ in MALFORMED_JSON.values()]
        self._pb = [PROTOBUF.encode(message) for message in GOOD + hand] + [
            each for each, _ in MALFORMED_PROTOBUF.values()
        ]
        self._requests = [request for request, _ in REQUESTS.values() if len(request) < 1000]
        self._requests += [
            b"GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n" % path
            for path in (b"/", b"/healthz", b"/readyz", b"/metrics", b"/chat.js", b"/ws")
        ]

    def payload(self, codec: str) -> bytes:
        if codec == "json" and self._chance.random() < 0.5:
            return json.dumps(self._structure(dict(self._chance.choice(GOOD))), ensure_ascii=False).encode()
        seeds = self._json if codec == "json" else self._pb
        return self._bytes(self._chance.choice(seeds), TOKENS[codec], seeds)

    def stream(self, kind: str) -> bytes:
        """Everything that a client sends: of ``tcp``, ``ws``, ``tcp pb``, ``ws pb`` or ``http``."""
        if kind == "http":
            return self._bytes(self._chance.choice(self._requests), TOKENS["head"], self._requests)
        messages = list(_SESSION)
        if self._chance.random() < 0.3:
            messages.insert(self._chance.randrange(len(messages)), self._chance.choice(GOOD))
        if kind == "tcp":
            return self._bytes(b"".join(json.dumps(each).encode() + b"\n" for each in messages), TOKENS["json"])
        if kind == "tcp pb":
            payloads = [PROTOBUF.encode(each) for each in messages]
            data = PREFACE + b"".join(len(each).to_bytes(4, "big") + each for each in payloads)
            return self._bytes(data, TOKENS["pb"])
        head = UPGRADE
        if kind == "ws pb":
            head = head.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: gochat.pb\r\n\r\n")
        frames = b"".join(self._frame(each, kind == "ws pb") for each in messages)
        if self._chance.random() < 0.3:
            return self._bytes(head, TOKENS["head"]) + frames
        return head + self._bytes(frames, TOKENS["frames"])

    def _frame(self, message: dict[str, Any], binary: bool) -> bytes:
        payload = PROTOBUF.encode(message) if binary else json.dumps(message).encode()
        cut = self._chance.randrange(len(payload)) if self._chance.random() < 0.2 else 0
        first = Opcode.BINARY if binary else Opcode.TEXT
        if not cut:
            return Frame(first, payload).serialize(mask=True)
        return Frame(first, payload[:cut], fin=False).serialize(mask=True) + Frame(
            Opcode.CONT, payload[cut:]
        ).serialize(mask=True)

    def _structure(self, message: dict[str, Any]) -> dict[str, Any]:
        chance = self._chance
        for _ in range(chance.randint(1, 3)):
            name = chance.choice([*message, "t", "id", "extra"])
            match chance.randrange(4):
                case 0:
                    message.pop(name, None)
                case 1:
                    message[name] = {name: message.get(name)}
                case 2:
                    message[name] = chance.choice(list(chance.choice(GOOD).values()))
                case _:
                    message[name] = chance.choice(VALUES)
        return message

    def _bytes(self, data: bytes, tokens: list[bytes], others: list[bytes] | None = None) -> bytes:
        chance = self._chance
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
            start = chance.randrange(len(changed) + 1)
            end = min(len(changed), start + chance.choice((1, 1, 2, 5, 40)))
            match chance.randrange(7):
                case 0 if changed[start:end]:
                    changed[start] ^= 1 << chance.randrange(8)
                case 1:
                    del changed[start:end]
                case 2:
                    changed[start:start] = changed[start:end]
                case 3:
                    changed[start:start] = chance.choice(tokens)
                case 4:
                    changed[start:end] = chance.randbytes(end - start)
                case 5 if others:
                    changed[start:] = chance.choice(others)[start:]
                case _:
                    del changed[start:]
        return bytes(changed)
