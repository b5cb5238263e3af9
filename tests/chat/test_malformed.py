"""What clients get wrong: each mistake has its code, and nobody but its maker notices.

After centrifuge's ``malformed_protocol``: a control connection talks before and after each case.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.chat.talkers import BOUND, HELLO, JOIN, TALKERS, Connect, Talker, encode, fetch, running, tcp, ws
from websockets.frames import Frame, Opcode

from examples.chat.server import Server

SAY = {"t": "say", "id": 1, "room": "lobby", "body": "hi"}

# Answered with this code; the connection stays.
MESSAGES: dict[str, tuple[Any, int]] = {
    "garbage": (b"garbage", 400),
    "empty": (b"", 400),
    "truncated": (b'{"t":"say"', 400),
    "two objects": (b'{"t":"ping","n":1}{"t":"ping","n":1}', 400),
    "an array": (b'[{"t":"ping","n":1}]', 400),
    "a string": (b'"ping"', 400),
    "null": (b"null", 400),
    "NaN": (b'{"t":"ping","n":NaN}', 400),
    "a deep nest": (b"[" * 30_000, 400),
    "a number too long": (b'{"t":"ping","n":' + b"9" * 5000 + b"}", 400),
    "half a character": (b'{"t":"say","id":1,"room":"lobby","body":"\\ud800"}', 400),
    "no t": ({"id": 1}, 400),
    "t is a number": ({"t": 1}, 400),
    "t is null": ({"t": None}, 400),
    "t is unknown": ({"t": "shout", "id": 1}, 404),
    "t is long": ({"t": "x" * 60_000}, 404),
    "t in capitals": ({**SAY, "t": "SAY"}, 404),
    "server's message": ({"t": "welcome"}, 404),
    "no id": ({"t": "say", "room": "lobby", "body": "hi"}, 400),
    "id is null": ({**SAY, "id": None}, 400),
    "id is true": ({**SAY, "id": True}, 400),
    "id is a fraction": ({**SAY, "id": 1.5}, 400),
    "id is negative": ({**SAY, "id": -1}, 400),
    "id is too large": ({**SAY, "id": 2**53}, 400),
    "id is empty": ({**SAY, "id": ""}, 400),
    "id is long": ({**SAY, "id": "x" * 65}, 400),
    "id is an object": ({**SAY, "id": {}}, 400),
    "no room": ({"t": "say", "id": 1, "body": "hi"}, 400),
    "room is a number": ({**SAY, "room": 1}, 400),
    "room is empty": ({**SAY, "room": ""}, 422),
    "room is long": ({**SAY, "room": "x" * 65}, 422),
    "room with a space": ({**SAY, "room": "the lobby"}, 422),
    "room with a line break": ({**SAY, "room": "lobby\n"}, 422),
    "no body": ({"t": "say", "id": 1, "room": "lobby"}, 400),
    "body is a list": ({**SAY, "body": ["hi"]}, 400),
    "body is empty": ({**SAY, "body": ""}, 422),
    "body is long": ({**SAY, "body": "x" * 8001}, 422),
    "ping without n": ({"t": "ping"}, 400),
    "ping with a string": ({"t": "ping", "n": "1"}, 400),
    "ping with true": ({"t": "ping", "n": True}, 400),
    "ping with a fraction": (b'{"t":"ping","n":1e3}', 400),
    "second hello": (HELLO, 409),
    "second hello, a bad one": ({**HELLO, "v": 2}, 400),
    "second join": (JOIN, 409),
    "dm without a name": ({"t": "dm", "id": 1, "body": "hi"}, 400),
    "dm to who is not here": ({"t": "dm", "id": 1, "to": "nobody", "body": "hi"}, 404),
    "since is a number": ({**JOIN, "since": 7}, 400),
    "limit is a fraction": ({**JOIN, "limit": 0.5}, 400),
    "history from nowhere": ({"t": "history", "id": 1, "room": "lobby", "since": {}}, 400),
    "say elsewhere": ({**SAY, "room": "kitchen"}, 409),
    "leave elsewhere": ({"t": "leave", "id": 1, "room": "kitchen"}, 409),
}

# Instead of hello: an err with this code, then 4500.
FIRST: dict[str, tuple[Any, int]] = {
    "garbage": (b"garbage", 400),
    "empty": (b"", 400),
    "an array": (b"[]", 400),
    "unknown": ({"t": "login"}, 404),
    "join": (JOIN, 401),
    "say": (SAY, 401),
    "ping": ({"t": "ping", "n": 1}, 401),
    "bye": ({"t": "bye"}, 401),
    "no version": ({"t": "hello", "user": "ann"}, 400),
    "another version": ({**HELLO, "v": 2}, 400),
    "version is true": ({**HELLO, "v": True}, 400),
    "no user": ({"t": "hello", "v": 1}, 400),
    "user is a number": ({**HELLO, "user": 7}, 400),
    "user is empty": ({**HELLO, "user": ""}, 422),
    "user is long": ({**HELLO, "user": "x" * 33}, 422),
    "user is a space": ({**HELLO, "user": " "}, 422),
    "user with a space at its end": ({**HELLO, "user": "ann "}, 422),
    "user with a control character": ({**HELLO, "user": "a\x1bnn"}, 422),
    "user that turns the line": ({**HELLO, "user": "a\u202enn"}, 422),
}


def client_frame(opcode: Opcode, data: bytes, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


TEXT, BINARY, CONT, PING, CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.CLOSE

# Ends the WebSocket with this code.
FRAMES: dict[str, tuple[bytes, int]] = {
    "no mask": (Frame(TEXT, b"{}").serialize(mask=False), 1002),
    "reserved bit": (b"\xc1\x80\0\0\0\0", 1002),
    "reserved opcode": (b"\x83\x80\0\0\0\0", 1002),
    "reserved control opcode": (b"\x8b\x80\0\0\0\0", 1002),
    "ping in fragments": (b"\x09\x80\0\0\0\0", 1002),
    "ping too long": (b"\x89\xfe\0\x7e\0\0\0\0" + b"x" * 126, 1002),
    "continuation of nothing": (client_frame(CONT, b"{}"), 1002),
    "text within fragments": (client_frame(TEXT, b"{", fin=False) + client_frame(TEXT, b"{}"), 1002),
    "close within fragments": (client_frame(TEXT, b"{", fin=False) + client_frame(CLOSE, b"\x03\xe8"), 1002),
    "close with one byte": (client_frame(CLOSE, b"\x03"), 1002),
    "close with a reserved code": (client_frame(CLOSE, b"\x03\xed"), 1002),
    "close with a bad reason": (client_frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "binary": (client_frame(BINARY, b"{}"), 1003),
    "binary in fragments": (client_frame(BINARY, b"{", fin=False), 1003),
    "not UTF-8": (client_frame(TEXT, b'{"t":"\xff"}'), 1007),
    "half a character at the end": (client_frame(TEXT, b'{"t":"\xc3'), 1007),
    "a surrogate": (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
    "overlong": (client_frame(TEXT, b"\xc0\xaf"), 1007),
    "not UTF-8, in fragments": (client_frame(TEXT, b"\xc3", fin=False) + client_frame(CONT, b"\x28"), 1007),
    "too long by a byte": (client_frame(TEXT, b"x" * 65537), 1009),
    "a header that promises too much": (b"\x81\xff\x7f" + b"\xff" * 7 + b"\0\0\0\0", 1009),
    "a length with the highest bit": (b"\x81\xff\xff" + b"\xff" * 7 + b"\0\0\0\0", 1009),
    "fragments too long": (
        client_frame(TEXT, b"x" * 40_000, fin=False) + client_frame(CONT, b"x" * 40_000), 1009,
    ),
    "fragments without end": (
        client_frame(TEXT, b"x", fin=False) + client_frame(CONT, b"x" * 100, fin=False) * 656, 1009,
    ),
}  # fmt: skip

# TCP: closed with this code after an err 413.
TOO_LONG = {
    "a line too long by a byte": b"x" * 65537 + b"\n",
    "a line without end": b"x" * 1_000_000,
    "a long line after good ones": b'{"t":"pong","n":1}\n' * 100 + b"x" * 65537,
}


async def talks(server: Server, control: Talker) -> None:
    """The control connection is as it was: asked, it answers, and nothing unasked has come."""
    await control.send({"t": "who", "id": "control", "room": "lobby"})
    with anyio.fail_after(BOUND):
        while (message := await control.receive())["t"] == "pres":
            pass
    assert message["t"] == "members"
    assert "control" in message["members"]
    server.hub._check()


@pytest.mark.parametrize("connect", TALKERS.values(), ids=TALKERS)
async def test_messages(connect: Connect) -> None:
    """Every malformed message is answered with its code; the connection stays and works."""
    async with running() as server, tcp(server) as control, connect(server) as ann:
        await control.join("control")
        await ann.join()
        for name, (message, code) in MESSAGES.items():
            await ann.send(message)
            answer = await ann.receive()
            assert (name, answer["t"], answer.get("code")) == (name, "err", code)
            assert answer["msg"]
            if isinstance(message, dict) and message.get("id") == 1 and type(message["id"]) is int:
                assert answer["id"] == 1, name
            else:
                assert "id" not in answer, name
            await works(ann, control, name)
        await talks(server, control)


async def works(ann: Talker, control: Talker, id_: str) -> None:
    """What one says, with an id of its own, is acknowledged (before or after it comes) and heard by the other."""
    await ann.send({**SAY, "id": id_})
    assert sorted([(await ann.receive())["t"], (await ann.receive())["t"]]) == ["ack", "msg"], id_
    await control.find("msg", id=id_)


@pytest.mark.parametrize("connect", TALKERS.values(), ids=TALKERS)
async def test_first_message(connect: Connect) -> None:
    """Whatever comes instead of a hello is answered with its code, and ends the connection with 4500."""
    async with running() as server, tcp(server) as control:
        await control.join("control")
        for name, (message, code) in FIRST.items():
            async with connect(server) as ann:
                await ann.send(message)
                answer = await ann.receive()
                assert (name, answer["t"], answer.get("code")) == (name, "err", code)
                assert (name, await ann.end()) == (name, 4500)
        await talks(server, control)


async def test_frames() -> None:
    """Every malformed frame ends its WebSocket with the code of RFC 6455."""
    async with running() as server, tcp(server) as control:
        await control.join("control")
        for name, (frames, code) in FRAMES.items():
            async with ws(server) as ann:
                await ann.join()
                await ann.raw(frames)
                assert (name, await ann.end()) == (name, code)
        await talks(server, control)


async def test_good_messages_before_a_bad_frame() -> None:
    """What was said properly before a mistake in the same packet is still heard."""
    async with running() as server, tcp(server) as control, ws(server) as ann:
        await control.join("control")
        await ann.join()
        await ann.raw(ann.frame(encode(SAY)) + client_frame(BINARY, b"{}"))
        await ann.find("ack", id=1)
        assert await ann.end() == 1003
        await control.find("msg", body="hi")


async def test_lines_too_long() -> None:
    """A line above 64 KiB is answered with 413, then 1009; what had come before it was obeyed."""
    async with running() as server, tcp(server) as control:
        await control.join("control")
        for name, line in TOO_LONG.items():
            async with tcp(server) as ann:
                await ann.join()
                try:
                    await ann.raw(line)
                except anyio.BrokenResourceError:
                    pass  # the server need not read to the end
                await ann.get("err", code=413)
                await ann.get("goaway", code=1009)
                assert (name, await ann.end()) == (name, 1009)
        await talks(server, control)


@pytest.mark.parametrize("connect", TALKERS.values(), ids=TALKERS)
async def test_largest_message(connect: Connect) -> None:
    """A message of exactly 64 KiB is taken."""
    ping = b'{"t":"ping","n":1}'
    async with running() as server, connect(server) as ann:
        await ann.hello()
        await ann.send(ping + b" " * (65536 - len(ping)))
        await ann.get("pong", n=1)


async def test_fragments() -> None:
    """A message in fragments, with a ping between them, is one message."""
    async with running() as server, ws(server) as ann:
        await ann.hello()
        parts = [b'{"t":', b"", b'"ping"', b',"n":1}']
        frames = [client_frame(TEXT, parts[0], fin=False), client_frame(PING, b"?")]
        frames += [client_frame(CONT, part, fin=part is parts[-1]) for part in parts[1:]]
        for byte in b"".join(frames):
            await ann.raw(bytes((byte,)))
        await ann.get("pong", n=1)


@pytest.mark.parametrize("connect", TALKERS.values(), ids=TALKERS)
async def test_too_many_errors(connect: Connect) -> None:
    """Twenty errors in a row end the connection with 4500; a good message in between starts the count again."""
    async with running() as server, connect(server) as ann:
        await ann.hello()
        await ann.send(*[b"?"] * 19, {"t": "ping", "n": 1}, *[b"?"] * 20, {"t": "ping", "n": 2})
        for _ in range(19):
            await ann.get("err", code=400)
        await ann.get("pong", n=1)
        for _ in range(20):
            await ann.get("err", code=400)
        assert await ann.end() == 4500


async def test_carriage_returns_and_strange_starts() -> None:
    """Lines may end in CRLF; what is neither JSON nor HTTP (a TLS hello, say) is told so and closed."""
    async with running() as server:
        async with tcp(server) as ann:
            await ann.raw(b'{"t":"hello","v":1,"user":"ann"}\r\n{"t":"ping","n":1}\r\n')
            await ann.get("welcome")
            await ann.get("pong")
        for start in (b"\x16\x03\x01\x02\0\n", b"help\n", b" \n", b"\xff\xfe\n", b"\0" * 100 + b"\n"):
            async with tcp(server) as ann:
                await ann.raw(start)
                await ann.get("err", code=400)
                assert await ann.end() == 4500


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

REQUESTS: dict[str, tuple[bytes, int]] = {
    "unknown path": (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "path out of the directory": (b"GET /../server.py HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "file that is no page": (b"GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "POST": (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 405),
    "HEAD": (b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "CONNECT": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 405),
    "a GET with a body": (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 400),
    "chunked": (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    "foreign host": (b"GET / HTTP/1.1\r\nHost: evil.example:8765\r\n\r\n", 403),
    "foreign address": (b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", 403),
    "host that is none": (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 403),
    "empty host": (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", 403),
    "not HTTP": (b"HELLO\r\n", 400),
    "not HTTP, without CR": (b"GET /\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 400),
    "HTTP/3": (b"GET / HTTP/3\r\nHost: localhost\r\n\r\n", 400),
    "header without colon": (b"GET / HTTP/1.1\r\nHost: localhost\r\nbad\r\n\r\n", 400),
    "header with NUL": (b"GET / HTTP/1.1\r\nHost: local\0host\r\n\r\n", 400),
    "long head": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 4000, 431),
    "long path": (b"GET /" + b"x" * 20_000, 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n", 400),
    "ws without upgrade": (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
    "ws without key": (UPGRADE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400),
    "ws with a bad key": (UPGRADE.replace(b"dGhl", b"!"), 400),
    "ws of an old version": (UPGRADE.replace(b": 13", b": 8"), 400),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 505),
    "ws over HTTP/1.0": (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "ws, another subprotocol": (UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), 400),
    "ws, foreign origin": (UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n"), 403),
    "ws, other port": (UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://localhost:1\r\n\r\n"), 403),
    "ws, no origin": (UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: null\r\n\r\n"), 403),
    "ws, two origins": (
        UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n\r\n"), 403,
    ),
    "ws, origin of a file": (UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: file://\r\n\r\n"), 403),
    "ws under a foreign host": (UPGRADE.replace(b"localhost", b"evil.example"), 403),
}  # fmt: skip


async def test_requests() -> None:
    """Every bad request gets its status, a length and a type, and the connection is closed."""
    async with running() as server, tcp(server) as control:
        await control.join("control")
        for name, (request, expected) in REQUESTS.items():
            status, headers, body = await fetch(server, request)
            assert (name, status) == (name, expected)
            assert int(headers["content-length"]) == len(body), name
            assert headers["content-type"].startswith("text/plain"), name
            assert headers["connection"] == "close", name
        await talks(server, control)


async def test_large_upload() -> None:
    """A refusal is read even by a client that is still sending: what it sends is read to the end."""
    async with running(linger=BOUND) as server:
        request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n" + b"x" * 20_000_000
        assert (await fetch(server, request))[0] == 405


async def test_frames_with_the_handshake() -> None:
    """A client that does not wait for the handshake's answer is understood all the same."""
    async with running() as server, ws(server) as ann:
        hello = ann.frame(b'{"t":"hello","v":1,"user":"ann"}')
        _, _, rest = await fetch(server, UPGRADE + hello + client_frame(CLOSE, b"\x03\xe8"))
        assert b'"welcome"' in rest
        assert rest.endswith(b"\x88\x02\x03\xe8")


async def test_close_handshake() -> None:
    """A close frame is answered with the same code, after the answers to what came before it."""
    async with running() as server, ws(server) as ann:
        await ann.hello()
        await ann.raw(ann.frame(b'{"t":"ping","n":1}') + client_frame(CLOSE, b"\x0f\xa0"))
        await ann.get("pong")
        assert await ann.end() == 4000
