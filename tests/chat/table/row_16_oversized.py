"""Row 16: what is too large is refused, what is too slow is closed in time, and neither takes memory.

Shape
    large     each transport, after hello: a message above 64 KiB, in one piece, in many, or only promised
    slow      each way of never getting to a hello, a byte at a time, all of them side by side
    memory    many connections on each transport, each with a message that lacks its last byte
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from tests.chat.pb_talkers import PB_TALKERS
from tests.chat.table.instruments import own_rss
from tests.chat.table.process import serving
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import TALKERS, Connect, Ended, Talker, TcpTalker, connected, running, tcp
from tests.chat.test_malformed import UPGRADE, client_frame
from websockets.frames import Opcode

from gochan import Group

KINDS: dict[str, Connect] = {**TALKERS, **PB_TALKERS}
MAX = 64 * 1024
TEXT, BINARY = Opcode.TEXT, Opcode.BINARY
KIB = 1024


@contextlib.asynccontextmanager
async def server_of(size: Size) -> AsyncGenerator[tuple[Any, Any], None]:
    """The server, and what tells the bytes of memory of its process."""
    if size.full:
        async with serving(*size.flags, "--log-level", "warning") as process:
            yield process, process.rss
            assert await process.stop() == 0
            assert process.log == ""
        return
    async with running(hello_timeout=0.25) as here:
        yield here, own_rss


# ---- too large ----


def large(kind: str, full: bool) -> dict[str, bytes]:
    """Messages that are too large, as bytes to be sent as they are."""
    if kind == "tcp":
        return {"a line": b"x" * (MAX + 1) + b"\n", "a line without end": b"x" * (MAX * 4)}
    if kind == "tcp pb":
        return {"a length": (MAX + 1).to_bytes(4, "big") + b"x" * 100, "the greatest length": b"\xff" * 4}
    opcode = BINARY if kind == "ws pb" else TEXT
    begin = client_frame(opcode, b"x", fin=False)
    return {
        "a frame": client_frame(opcode, b"x" * (MAX + 1)),
        "a frame that is promised": client_frame(opcode, b"")[:1] + b"\xff" + (1 << 40).to_bytes(8, "big") + b"\0" * 4,
        "two fragments": client_frame(opcode, b"x" * 40_000, fin=False) + client_frame(Opcode.CONT, b"x" * 40_000),
        "fragments for ever": begin + client_frame(Opcode.CONT, b"x" * 500, fin=False) * 200,
        **(
            {"fragments of nothing for ever": begin + client_frame(Opcode.CONT, b"", fin=False) * 70_000}
            if full
            else {}
        ),
    }


async def refused(server: Any, kind: str, data: bytes) -> bool:
    """Whether it ends with 1009, on TCP after an ``err`` with 413."""
    async with KINDS[kind](server) as talker:
        await talker.hello(kind)
        with contextlib.suppress(anyio.BrokenResourceError):  # the server need not read to the end
            await talker.raw(data)
        told_413 = kind.startswith("ws")
        try:
            while True:
                message = await talker.receive()
                told_413 = told_413 or (message["t"], message.get("code")) == ("err", 413)
        except Ended as ended:
            return told_413 and ended.code == 1009


# ---- too slow ----


@dataclass(frozen=True)
class Slow:
    """A client that never gets to its hello."""

    kind: str
    """How it connects; "" is a bare connection."""
    data: bytes
    code: int | None
    """With which it is closed; ``None`` before it is known what it speaks."""


HELLO = b'{"t":"hello","v":1,"user":"slow","token":"' + b"x" * 1000
SLOW = {
    "silence": Slow("", b"", None),
    "a request": Slow("", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1000, None),
    "a handshake": Slow("", UPGRADE[:-4] + b"\r\nX: " + b"x" * 1000, None),
    "half a preface": Slow("", b"GCP", None),
    "a line": Slow("tcp", HELLO, 4502),
    "a length": Slow("tcp pb", b"\0\0", 4502),
    "a message behind its length": Slow("tcp pb", b"\0\0\xff\0" + HELLO, 4502),
    "silence after the handshake": Slow("ws", b"", 4502),
    "a text frame": Slow("ws", client_frame(TEXT, HELLO), 4502),
    "a binary frame": Slow("ws pb", client_frame(BINARY, HELLO), 4502),
    "fragments": Slow("ws", client_frame(TEXT, b"{", False) + client_frame(Opcode.CONT, b"", False) * 300, 4502),
    "pings": Slow("ws", client_frame(Opcode.PING, b"?") * 300, 4502),
}  # fmt: skip


async def closed(server: Any, slow: Slow, pause: float) -> tuple[float, int | None]:
    """After how many seconds, and with which code."""
    async with KINDS[slow.kind](server) if slow.kind else bare(server) as talker, Group() as group:
        began = anyio.current_time()
        sending = group.go(trickle, talker, slow.data, pause)
        code = await talker.end()
        sending.cancel()
        return anyio.current_time() - began, code


@contextlib.asynccontextmanager
async def bare(server: Any) -> AsyncGenerator[Talker, None]:
    async with connected(server) as stream:
        yield TcpTalker(stream)


async def trickle(talker: Talker, data: bytes, pause: float) -> None:
    with contextlib.suppress(anyio.BrokenResourceError):
        for byte in data:
            await talker.raw(bytes((byte,)))
            await anyio.sleep(pause)


# ---- memory ----


async def hold(server: Any, rss: Any, each: int) -> float:
    """Bytes that one more connection with an unfinished message takes."""
    unfinished = {
        "tcp": b"x" * (MAX - 1),
        "tcp pb": MAX.to_bytes(4, "big") + b"x" * (MAX - 1),
        "ws": client_frame(TEXT, b"x" * MAX)[:-1],
        "ws pb": client_frame(BINARY, b"x" * MAX)[:-1],
    }
    async with contextlib.AsyncExitStack() as stack:
        talkers: list[tuple[str, Talker]] = []
        for kind, connect in KINDS.items():
            for number in range(each):
                talkers.append((kind, await stack.enter_async_context(connect(server))))
                await talkers[-1][1].hello(f"{kind} {number}")
        before = rss()
        for kind, talker in talkers:
            await talker.raw(unfinished[kind])
        # Who answers after all of them has read all of them: one loop, and each had its turn.
        async with tcp(server) as last:
            await last.hello("last")
            for number in range(20):
                await last.send({"t": "ping", "n": number})
                await last.find("pong", n=number)
        grown: int = rss() - before
    return grown / len(talkers)


async def run(size: Size) -> Sequence[Check]:
    deadline = size.pick(0.25, 10.0)
    cases = [(kind, name, data) for kind in KINDS for name, data in large(kind, size.full).items()]
    async with server_of(size) as (server, rss):
        wrong = [f"{kind}: {name}" for kind, name, data in cases if not await refused(server, kind, data)]
        async with Group() as group:
            ends = {name: group.go(closed, server, slow, size.pick(0.01, 1.0)) for name, slow in SLOW.items()}
        took = [(await end.result())[0] for end in ends.values()]
        codes = [name for name, end in ends.items() if (await end.result())[1] != SLOW[name].code]
        held = await hold(server, rss, size.pick(4, 100))
    return [
        exactly("too large, and not refused with 413 or 1009", wrong, []),
        exactly("too slow, and not closed with its code", codes, []),
        at_most("the last of the slow was closed after", max(took), deadline * 1.05 + size.pick(2.0, 0.0), "s"),
        at_least("the first of them", min(took), deadline * size.pick(0.5, 0.95), "s"),
        at_most("memory of an unfinished message", held / KIB, size.pick(2000.0, 160.0), "KiB"),
        told("cases, too large and too slow", f"{len(cases)}, {len(SLOW)}"),
    ]


ROW = Row("16", "oversized and slow-loris", run)
