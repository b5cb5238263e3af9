"""What clients that speak Protobuf get wrong: the same codes as in JSON, and nobody but its maker notices."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import pytest
from tests.chat.pb_talkers import PB_TALKERS, TcpPbTalker, encode, tcp_pb, ws_pb
from tests.chat.talkers import BOUND, HELLO, JOIN, TALKERS, Connect, connected, running, tcp
from tests.chat.test_codecs import MALFORMED, MALFORMED_PROTOBUF, SAY
from tests.chat.test_malformed import FIRST, client_frame, talks, works
from websockets.frames import Frame, Opcode

# Answered with this code; the connection stays.
MESSAGES: dict[str, tuple[Any, int]] = {
    **{name: case for name, case in MALFORMED.items() if case[0]["t"] != "hello"},
    **MALFORMED_PROTOBUF,
    "second hello": (HELLO, 409),
    "second join": (JOIN, 409),
    "say elsewhere": ({**SAY, "room": "kitchen"}, 409),
    "leave elsewhere": ({"t": "leave", "id": 1, "room": "kitchen"}, 409),
    "dm to who is not here": ({"t": "dm", "id": 1, "to": "nobody", "body": "hi"}, 404),
}

# Instead of hello: an err with this code, then 4500.
AT_FIRST: dict[str, tuple[Any, int]] = {
    **{name: case for name, case in MALFORMED.items() if case[0]["t"] == "hello"},
    **{name: FIRST[name] for name in ("garbage", "join", "say", "ping", "bye")},
    "nothing": (b"", 400),
    "a message of the future": (b"\x9a\x06\x00", 404),
}
every_talker = pytest.mark.parametrize("connect", PB_TALKERS.values(), ids=PB_TALKERS)


@every_talker
async def test_messages(connect: Connect) -> None:
    """Every malformed message is answered with its code; the connection stays and works."""
    assert len(MESSAGES) >= 50
    async with running() as server, tcp(server) as control, connect(server) as ann:
        await control.join("control")
        await ann.join()
        for name, (message, code) in MESSAGES.items():
            await ann.send(message)
            answer = await ann.receive()
            assert (name, answer["t"], answer.get("code")) == (name, "err", code)
            assert answer["msg"]
            await works(ann, control, name)
        await talks(server, control)


@every_talker
async def test_first_message(connect: Connect) -> None:
    """Whatever comes instead of a hello is answered with its code, and ends the connection with 4500."""
    async with running() as server, tcp(server) as control:
        await control.join("control")
        for name, (message, code) in AT_FIRST.items():
            async with connect(server) as ann:
                await ann.send(message)
                answer = await ann.receive()
                assert (name, answer["t"], answer.get("code")) == (name, "err", code)
                assert (name, await ann.end()) == (name, 4500)
        await talks(server, control)


FRAMES: dict[str, tuple[bytes, int]] = {
    "text": (client_frame(Opcode.TEXT, b"{}"), 1003),
    "no mask": (Frame(Opcode.BINARY, encode(SAY)).serialize(mask=False), 1002),
    "too long by a byte": (client_frame(Opcode.BINARY, b"x" * 65537), 1009),
    "fragments too long": (
        client_frame(Opcode.BINARY, b"x" * 40_000, fin=False) + client_frame(Opcode.CONT, b"x" * 40_000), 1009,
    ),
}  # fmt: skip


async def test_frames() -> None:
    """Every malformed frame ends its WebSocket with the code of RFC 6455."""
    async with running() as server, tcp(server) as control:
        await control.join("control")
        for name, (frames, code) in FRAMES.items():
            async with ws_pb(server) as ann:
                await ann.join()
                await ann.raw(frames)
                assert (name, await ann.end()) == (name, code)
        await talks(server, control)


@pytest.mark.parametrize("header", [b"\0\1\0\1", b"\xff\xff\xff\xff", b'{"t"'])
async def test_lengths(header: bytes) -> None:
    """A length above 64 KiB is answered with 413, then 1009, before anything of that length has come."""
    async with running() as server, tcp(server) as control, tcp_pb(server) as ann:
        await control.join("control")
        await ann.join()
        await ann.send({"t": "ping", "n": 1})
        await ann.raw(header)
        await ann.get("pong", n=1)
        await ann.get("err", code=413)
        await ann.get("goaway", code=1009)
        assert await ann.end() == 1009
        await talks(server, control)


@every_talker
async def test_largest_message(connect: Connect) -> None:
    """A message of exactly 64 KiB is taken."""
    ping = encode({"t": "ping", "n": 1})
    size = 65536 - len(ping) - 5
    unknown = b"\xfa\x3f" + bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14)) + b"x" * size  # field 1023
    assert len(ping + unknown) == 65536
    async with running() as server, connect(server) as ann:
        await ann.hello()
        await ann.send(ping + unknown)
        await ann.get("pong", n=1)


async def test_every_byte_alone() -> None:
    """A client whose bytes come one by one, the preface too, is understood."""
    async with running() as server, connected(server) as stream:
        ann = TcpPbTalker(stream)
        for byte in b"GCP1" + b"".join(ann.frame(encode(message)) for message in (HELLO, JOIN, SAY)):
            await ann.raw(bytes((byte,)))
            await anyio.lowlevel.checkpoint()
        await ann.get("welcome")
        await ann.get("joined", id=1)
        assert sorted([(await ann.receive())["t"], (await ann.receive())["t"]]) == ["ack", "msg"]


async def test_no_preface() -> None:
    """What only begins like the preface is HTTP, and bad."""
    async with running() as server:
        for start in (b"GCP2\0\0\0\5\r\n", b"GCP\n", b"G\n"):
            async with connected(server) as stream:
                await stream.send(start)
                with anyio.fail_after(BOUND):
                    assert (await stream.receive()).startswith(b"HTTP/1.1 400 ")


async def test_one_room_in_all_formats() -> None:
    """Whatever they speak, the members of a room hear the same, in the same order."""
    everybody: dict[str, Connect] = {**TALKERS, **PB_TALKERS}
    async with running() as server:
        heard: dict[str, list[Any]] = {}
        async with contextlib.AsyncExitStack() as stack:
            members = [await stack.enter_async_context(connect(server)) for connect in everybody.values()]
            for number, member in enumerate(members):
                await member.join(f"user {number}")
            for number, member in enumerate(members):
                await member.send({"t": "say", "id": f"s{number}", "room": "lobby", "body": f"\0 ünï 🐟 {number}"})
                await member.find("msg", id=f"s{number}")
            for name, member in zip(everybody, members, strict=True):
                await member.send({"t": "history", "id": "all", "room": "lobby"})
                heard[name] = (await member.find("history", id="all"))["msgs"]
    assert [msg["id"] for msg in heard["tcp"]] == ["s0", "s1", "s2", "s3"]
    assert all(msgs == heard["tcp"] for msgs in heard.values())
