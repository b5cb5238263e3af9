"""Row 15: whatever is sent, its sender gets a code that is documented, and nobody else notices.

Shape
    by hand    the cases of the tests, each on each transport and format, with the code that each must get
    messages   mutated ones, framed as they should be, many on a connection: whatever the codec refuses gets an ``err``
               with that code, the connection stays, and a ping after each is answered
    streams    everything that a client sends is mutated, its framing, its handshake and its request too, on a
               connection of its own: all that comes back can be read, has documented codes, and comes to an end
    All the while: no error is reported, none logged, the hub does not fail, a control connection is undisturbed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import anyio
from tests.chat import test_malformed as as_json
from tests.chat import test_malformed_protobuf as as_protobuf
from tests.chat.pb_talkers import PB_TALKERS
from tests.chat.table.mutations import Mutations
from tests.chat.table.replies import Wrong, judge_replies
from tests.chat.table.row import Check, Row, Size, at_least, exactly, told
from tests.chat.talkers import BOUND, HELLO, TALKERS, Connect, Ended, Talker, connected, fetch, running, tcp
from tests.chat.test_bad_frames import BAD_BINARY, BAD_FRAMES, BAD_TEXT
from websockets.frames import Frame, Opcode

from examples.chat.config import Settings
from examples.chat.node import assemble
from examples.chat.server import Server
from examples.chat.telemetry import Telemetry
from examples.chat.wire import JSON as JSON_CODEC
from examples.chat.wire import Close, Code, WireError
from examples.chat.wire.protobuf_codec import PROTOBUF
from gochan import Channel, Group

KINDS: dict[str, Connect] = {**TALKERS, **PB_TALKERS}
CHUNK = 32
FIRST_PING = 2**52
WORKERS = 8
SETTINGS: dict[str, Any] = {
    "max_errors": 10**9, "accept_rate": 1e6, "accept_burst": 10**6, "per_user": 10**6, "linger": BOUND,
    "hello_timeout": BOUND,
}  # fmt: skip


class Watch(logging.Handler):
    """Counts what must not happen: errors that are reported, or logged by whomever."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.reported: list[BaseException] = []
        self.logged: list[str] = []

    def report(self, error: BaseException, /, **_: str) -> None:
        self.reported.append(error)

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append(record.getMessage())

    def server(self, settings: Settings) -> Server:
        return Server(settings, assemble(settings, telemetry=Telemetry(errors=self)))

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield
            gc.collect()  # a task whose exception nobody took tells about it when it is thrown away
        finally:
            root.removeHandler(self)


async def undisturbed(control: Talker) -> int:
    """How much the control connection hears besides the answer to what it asks."""
    await control.send({"t": "who", "id": "control", "room": "quiet"})
    surprises = 0
    with anyio.fail_after(BOUND):
        while (message := await control.receive())["t"] != "members":
            surprises += 1
    return surprises + int(message["members"] != ["control"])


# ---- by hand ----


def some(cases: dict[str, tuple[Any, int]], size: Size) -> list[tuple[str, Any, int]]:
    return [(name, what, code) for name, (what, code) in list(cases.items())[:: size.pick(8, 1)]]


async def by_hand(server: Server, kind: str, size: Size) -> tuple[int, list[str]]:
    """How many cases of this transport and format, and those that got something else than their code."""
    module: Any = as_protobuf if kind in PB_TALKERS else as_json
    first = as_protobuf.AT_FIRST if kind in PB_TALKERS else as_json.FIRST
    wrong: list[str] = []
    messages, firsts = some(module.MESSAGES, size), some(first, size)
    async with KINDS[kind](server) as ann:
        await ann.join(f"ann {kind}")
        for name, message, code in messages:
            await ann.send(message, {"t": "ping", "n": FIRST_PING})
            codes: list[int] = []
            while (answer := await ann.receive())["t"] != "pong":
                if answer["t"] == "err":
                    codes.append(answer["code"])
            if codes != [code]:  # the answer of the hub may come after the pong
                codes += [(await ann.find("err"))["code"]] if not codes else []
                wrong += [name] * (codes != [code])
    for name, message, code in firsts:
        async with KINDS[kind](server) as ann:
            await ann.send(message)
            wrong += [name] * (((await ann.receive()).get("code"), await ann.end()) != (code, 4500))
    return len(messages) + len(firsts), wrong


async def framing_by_hand(server: Server, size: Size) -> dict[str, tuple[int, list[str]]]:
    """The same below the messages, on a server whose messages have at most 200 bytes."""
    found: dict[str, tuple[int, list[str]]] = {}
    for kind, cases in (("ws", BAD_FRAMES | BAD_TEXT), ("ws pb", BAD_FRAMES | BAD_BINARY)):
        wrong: list[str] = []
        chosen = some(cases, size)
        for name, data, code in chosen:
            async with KINDS[kind](server) as ann:
                await ann.hello()
                payload = JSON_CODEC.encode(PING) if kind == "ws" else PROTOBUF.encode(PING)
                opcode = Opcode.TEXT if kind == "ws" else Opcode.BINARY
                if data.startswith(b"M"):
                    data = Frame(opcode, payload).serialize(mask=True) + data[1:]
                await ann.raw(data)
                wrong += [name] * (await ann.end() != code)
        found[kind] = len(chosen), wrong
    too_long = {
        "tcp": {"too long by a byte": b"x" * 201 + b"\n", "without an end": b"x" * 5000},
        "tcp pb": {f"length {header.hex()}": header for header in (b"\0\0\0\xc9", b"\xff" * 4, b"\x80\0\0\0", b'{"t"')},
    }
    for kind, lines in too_long.items():
        wrong = []
        for name, data in lines.items():
            async with KINDS[kind](server) as ann:
                await ann.hello()
                await ann.raw(data)
                wrong += [name] * (((await ann.receive()).get("code"), await ann.end()) != (413, 1009))
        found[kind] = len(lines), wrong
    return found


PING = {"t": "ping", "n": 1}


async def requests_by_hand(server: Server, size: Size) -> tuple[int, list[str]]:
    chosen = some(as_json.REQUESTS, size)
    return len(chosen), [name for name, request, code in chosen if (await fetch(server, request))[0] != code]


# ---- mutated messages ----


async def messages(server: Server, kind: str, inputs: list[bytes]) -> tuple[Counter[int], list[str]]:
    """The codes of the answers, and what got none, or another one than its codec has for it."""
    codec: Any = PROTOBUF if kind in PB_TALKERS else JSON_CODEC
    codes: Counter[int] = Counter()
    wrong: list[str] = []
    waiting = list(enumerate(inputs, FIRST_PING))
    while waiting:
        async with KINDS[kind](server) as ann:
            await ann.join(f"ann {kind}")
            try:
                while waiting:
                    chunk = waiting[:CHUNK]
                    await ann.send(*(each for n, payload in chunk for each in (payload, {"t": "ping", "n": n})))
                    for n, payload in chunk:
                        heard = await up_to_pong(ann, n)
                        codes.update(heard)
                        expected = refusal(codec, payload)
                        if expected is not None and expected not in heard:
                            wrong.append(f"{kind}: {payload[:80]!r} got {heard}, not {expected}")
                        waiting.pop(0)
            except Ended as ended:  # a bye
                if ended.code != Close.NORMAL:
                    wrong.append(f"{kind}: {waiting[0][1][:80]!r} ended with {ended.code}")
                waiting.pop(0)
    return codes, wrong


async def up_to_pong(ann: Talker, n: int) -> list[int]:
    heard: list[int] = []
    with anyio.fail_after(BOUND):
        while (message := await ann.receive()) != {"t": "pong", "n": n}:
            if message["t"] == "err":
                heard.append(message["code"])
    return heard


def refusal(codec: Any, payload: bytes) -> int | None:
    try:
        codec.decode(payload)
    except WireError as error:
        return int(error.code)
    return None


def of_the_right_kind(kind: str, payload: bytes) -> bytes:
    """Without what would not be this one message for the framing: that is for the streams."""
    if kind == "tcp":
        return payload.replace(b"\n", b" ")
    return payload.decode(errors="replace").encode() if kind == "ws" else payload


# ---- mutated streams ----


async def streams(server: Server, inputs: list[tuple[str, bytes]]) -> tuple[Counter[str], list[str]]:
    """What came back, by kind, and what was wrong with it."""
    found: Counter[str] = Counter()
    wrong: list[str] = []
    todo = Channel[tuple[str, bytes]](len(inputs))
    for each in inputs:
        todo.send_nowait(each)
    todo.close()

    async def work() -> None:
        async for kind, data in todo:
            try:
                found.update(judge_replies(data, await everything(server, data)))
            except (Wrong, TimeoutError) as error:
                wrong.append(f"{kind}: {data[:300]!r}: {error!r}")

    async with Group() as group:
        for _ in range(WORKERS):
            group.go(work)
    return found, wrong


async def everything(server: Server, data: bytes) -> bytes:
    """Send this and no more; what comes back until the end."""
    replies = b""
    with anyio.fail_after(BOUND):
        async with connected(server) as stream:
            with contextlib.suppress(anyio.BrokenResourceError):
                await stream.send(data)
                await stream.send_eof()
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    replies += await stream.receive()
    return replies


# ---- all of it ----


async def run(size: Size) -> Sequence[Check]:
    mutate = Mutations(random.Random(15))
    each_message, each_stream = size.pick((30, 6), (3000, 1600))
    payloads = {
        kind: [
            of_the_right_kind(kind, mutate.payload("pb" if kind in PB_TALKERS else "json")) for _ in range(each_message)
        ]
        for kind in KINDS
    }
    connections = [(kind, mutate.stream(kind)) for _ in range(each_stream) for kind in (*KINDS, "http")]
    watch = Watch()
    wrong: list[str] = []
    checks: list[Check] = []
    with watch.watching(), anyio.fail_after(size.pick(BOUND * 2, 170)):
        async with running(watch.server, 180, **SETTINGS) as server, tcp(server) as control:
            await control.send({**HELLO, "user": "control"}, {"t": "join", "id": 1, "room": "quiet"})
            await control.find("joined")
            async with running(watch.server, **SETTINGS, max_size=200) as short:
                framing = await framing_by_hand(short, size)
            for kind in KINDS:
                count, bad = await by_hand(server, kind, size)
                count, bad = count + framing[kind][0], bad + framing[kind][1]
                checks += cases(f"cases by hand, {kind}", count, bad, size)
            checks += cases("cases by hand, http", *await requests_by_hand(server, size), size)
            surprises = await undisturbed(control)
            codes: Counter[int] = Counter()
            async with Group() as group:
                asking = [group.go(messages, server, kind, inputs) for kind, inputs in payloads.items()]
                for one in asking:
                    heard, bad = await one.result()
                    codes += heard
                    wrong += bad
            surprises += await undisturbed(control)
            found, bad = await streams(server, connections)
            wrong += bad
            surprises += await undisturbed(control)
            restarts = server.hub.restarts
    documented = {int(code) for code in Code}
    return [
        *checks,
        told("mutated inputs", f"{sum(map(len, payloads.values())) + len(connections):,}"),
        exactly("mutated inputs without their documented code", wrong[:5], []),
        exactly("codes that are not documented", sorted(codes.keys() - documented), []),
        told("errs to mutated messages", " ".join(f"{code}:{n}" for code, n in sorted(codes.items()))),
        told("what streams got", " ".join(f"{what}:{n}" for what, n in found.most_common(12))),
        exactly("errors that were reported", len(watch.reported), 0),
        exactly("errors that were logged", watch.logged[:3], []),
        exactly("failures of the hub", restarts, 0),
        exactly("what disturbed the control connection", surprises, 0),
    ]


def cases(what: str, count: int, wrong: list[str], size: Size) -> list[Check]:
    return [at_least(what, count, size.pick(3, 30)), exactly(f"{what}: another code", wrong, [])]


ROW = Row("15", "malformed input", run)
