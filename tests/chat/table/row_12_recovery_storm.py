"""Row 12: subscribers who are thrown out again and again, while much is said, hear everything once and in order.

Shape
    Most subscribers are as plain as can be, so that there can be many of them; some are real clients. Each is thrown
    out as soon as it is back and its turn comes: by a server that forgets what waits for it (``drop``), by one that
    writes it first (``close``), or by a reset of its own. In their full size the plain ones live in a process of their
    own, which says who is back, and resets whom it is told to: what is to be tested is the server, not this loop.

What the server counts as recovered must be what the subscribers found in the answers to their joins.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.chat.table.instruments import Meter
from tests.chat.table.process import ROOT
from tests.chat.table.row import Check, Row, Size, at_least, exactly, told
from tests.chat.talkers import BOUND, TcpTalker, running, tcp, until
from tests.chat.test_client_chaos import client

from examples.chat.client import Gap, Joined, Message
from examples.chat.server import Server
from examples.chat.wire import Close, Goodbye
from gochan import Event, Group

_OFFSET = re.compile(rb'"off":(\d+)')
ROOM = "lobby"
DROP, CLOSE, RESET = range(3)
COUNTED = ("returns", "recovered", "heard", "gaps", "duplicates", "last")


class Subscriber:
    """What one has heard."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside = Event()
        self.returns = self.recovered = self.heard = self.gaps = self.duplicates = 0
        self.last = 0

    def take(self, off: int) -> None:
        if off <= self.last:
            self.duplicates += 1
            return
        self.gaps += off != self.last + 1
        self.last = off
        self.heard += 1

    async def live(self, server: Server) -> None:
        """Come back for ever."""
        raise NotImplementedError

    async def kick(self, server: Server, how: int) -> None:
        self.inside = Event()
        for session in list(server.node.registry.users.get(self.name, ())):
            goodbye = Goodbye(Close.CLOSED, "thrown out")
            session.close(goodbye) if how == CLOSE else session.drop(goodbye)


class Plain(Subscriber):
    """Reads offsets, and nothing else of a message."""

    epoch: str | None = None
    pause = 0.0
    """Seconds between two reads: what comes meanwhile is read at once, which costs less."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._line = anyio.CancelScope()

    async def live(self, server: Server) -> None:
        while True:
            async with tcp(server) as talker:
                join: dict[str, Any] = {"t": "join", "id": 1, "room": ROOM}
                if self.epoch is not None:
                    join["since"] = {"off": self.last, "ep": self.epoch}
                with (
                    contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError),
                    anyio.CancelScope() as self._line,
                ):
                    await talker.send({"t": "hello", "v": 1, "user": self.name}, join)
                    await self._listen(talker)
                if self._line.cancel_called:
                    talker.reset()

    async def _listen(self, talker: TcpTalker) -> None:
        rest = b""
        while True:
            *lines, rest = (rest + await talker.stream.receive()).split(b"\n")
            for line in lines:
                if line.startswith(b'{"t":"msg"'):
                    found = _OFFSET.search(line)
                    assert found is not None
                    self.take(int(found[1]))
                elif line.startswith(b'{"t":"joined"'):
                    self._joined(json.loads(line))
            if self.pause:
                await anyio.sleep(self.pause)

    def _joined(self, joined: Any) -> None:
        if self.epoch is None:
            self.last = joined["off"]
        else:
            self.returns += 1
            self.gaps += joined["rec"] is not True or joined["ep"] != self.epoch
        self.epoch = joined["ep"]
        self.recovered += len(joined["msgs"])
        for message in joined["msgs"]:
            self.take(message["off"])
        self.inside.set()

    async def kick(self, server: Server, how: int) -> None:
        if how == RESET:
            self.inside = Event()
            self._line.cancel()
        else:
            await super().kick(server, how)


class Real(Subscriber):
    """A whole client."""

    async def live(self, server: Server) -> None:
        top = 0
        async with client(server.port, self.name, "websocket") as chat:
            joined = await chat.join(ROOM)
            assert joined.position is not None
            self.last = joined.position.off
            self.inside.set()
            async for event in chat.events:
                match event:
                    case Message(position=position) if position is not None:
                        self.recovered += position.off <= top
                        self.take(position.off)
                    case Gap():
                        self.gaps += 1
                    case Joined(position=position) if position is not None:
                        self.returns += 1
                        top = position.off
                        self.inside.set()
                    case _:
                        pass


# ---- in a process of their own ----


class Remote(Subscriber):
    """A plain one elsewhere, seen from here."""

    def __init__(self, name: str, process: anyio.abc.Process) -> None:
        super().__init__(name)
        self._process = process

    async def kick(self, server: Server, how: int) -> None:
        if how == RESET:
            self.inside = Event()
            await tell(self._process, f"reset {self.name}")
        else:
            await super().kick(server, how)


class Announced(Plain):
    """The same, there."""

    def _joined(self, joined: Any) -> None:
        super()._joined(joined)
        print(self.name, flush=True)


async def tell(process: anyio.abc.Process, command: str) -> None:
    assert process.stdin is not None
    await process.stdin.send(f"{command}\n".encode())


async def hear(process: anyio.abc.Process, remotes: Mapping[str, Subscriber]) -> None:
    """Note who is back; in the end, what each of them has heard."""
    assert process.stdout is not None
    lines = BufferedByteReceiveStream(process.stdout)
    while (line := (await lines.receive_until(b"\n", 1 << 20)).decode())[0] != "{":
        remotes[line].inside.set()
    for name, account in json.loads(line).items():
        vars(remotes[name]).update(account)


async def elsewhere(port: int, count: int) -> None:
    """The process: until it is told the end, and has heard as much."""
    server: Any = SimpleNamespace(port=port)
    plain = {f"plain {number}": Announced(f"plain {number}") for number in range(count)}
    async with Group() as group:
        for each in plain.values():
            group.go(each.live, server)
        while (command := (await anyio.to_thread.run_sync(sys.stdin.readline)).split(" ", 1))[0] == "reset":
            await plain[command[1].strip()].kick(server, RESET)
        said = int(command[1])
        with anyio.move_on_after(BOUND):
            await until(lambda: all(each.last == said for each in plain.values()))
        group.cancel()
    print(json.dumps({name: {field: getattr(each, field) for field in COUNTED} for name, each in plain.items()}))


@contextlib.asynccontextmanager
async def subscribers(
    size: Size, server: Server, count: int
) -> AsyncGenerator[tuple[Sequence[Subscriber], anyio.abc.Process | None], None]:
    """The plain ones, and the process in which they live, if it is not this one."""
    names = [f"plain {number}" for number in range(count)]
    async with Group() as group:
        if not size.full:
            plain: list[Subscriber] = [Plain(name) for name in names]
            for each in plain:
                group.go(each.live, server)
            yield plain, None
        else:
            command = [sys.executable, "-m", __name__, str(server.port), str(count)]
            async with await anyio.open_process(command, cwd=ROOT, stderr=None) as process:
                remotes = {name: Remote(name, process) for name in names}
                hearing = group.go(hear, process, remotes)
                yield list(remotes.values()), process
                with anyio.move_on_after(2 * BOUND):
                    await hearing.result()
                process.kill()
        group.cancel()


async def run(size: Size) -> Sequence[Check]:
    count, kicks, real = size.pick((12, 3, 2), (200, 20, 2))
    seconds, rate = size.pick((0.6, 200), (25.0, 500))
    meter = Meter()
    acks = [0]
    async with running(meter.server, 150.0, history=50_000) as server, tcp(server) as speaker, Group() as group:
        await speaker.join("speaker")
        everybody: list[Subscriber] = [Real(f"real {number}") for number in range(real)]
        for subscriber in everybody:
            group.go(subscriber.live, server)
        async with subscribers(size, server, count - real) as (plain, process):
            everybody += plain
            for subscriber in everybody:
                await subscriber.inside.wait()
            over = Event()
            group.go(acknowledged, speaker, acks)
            talking = group.go(talk, speaker, rate, over)
            began = anyio.current_time()
            with anyio.move_on_after(size.pick(10.0, 60.0)):
                await _throw_out(server, everybody, kicks, seconds)
            over.set()
            said = await talking.result()
            took = anyio.current_time() - began
            here = [subscriber for subscriber in everybody if not isinstance(subscriber, Remote)]
            with anyio.move_on_after(BOUND):
                await until(lambda: all(subscriber.last == said for subscriber in here) and acks[0] == said)
            if process is not None:
                await tell(process, f"end {said}")
        recovered = meter.read('gochat_recovered_total{why="return"}')
        behind = meter.read('gochat_recovered_total{why="behind"}')
        group.cancel()
    return [
        exactly("times that somebody was thrown out and came back", sum(s.returns for s in everybody), count * kicks),
        at_least("messages a second, meanwhile", said / took, size.pick(0.5, 0.95) * rate),
        exactly("messages acknowledged", acks[0], said),
        exactly("messages heard", sum(subscriber.heard for subscriber in everybody), count * said),
        exactly("gaps", sum(subscriber.gaps for subscriber in everybody), 0),
        exactly("duplicates", sum(subscriber.duplicates for subscriber in everybody), 0),
        exactly("recovered, as the server counts it", int(recovered), sum(s.recovered for s in everybody)),
        told("sent again to who had fallen behind", f"{behind:,.0f}"),
        told("all of it took", f"{took:.0f} s for {said:,} messages"),
    ]


async def _throw_out(server: Server, everybody: Sequence[Subscriber], kicks: int, seconds: float) -> None:
    chance = random.Random(12)
    turns = [subscriber for subscriber in everybody for _ in range(kicks)]
    chance.shuffle(turns)
    began = anyio.current_time()
    for number, subscriber in enumerate(turns):
        await anyio.sleep_until(began + seconds * number / len(turns))
        await subscriber.inside.wait()
        await subscriber.kick(server, chance.choice((DROP, CLOSE, RESET)))
    for subscriber in everybody:
        await subscriber.inside.wait()


async def talk(speaker: TcpTalker, rate: float, over: Event) -> int:
    """Say so many a second, in time with the clock; how many it were."""
    began, said = anyio.current_time(), 0
    while not over.is_set():
        due = int((anyio.current_time() - began) * rate) + 1 - said
        ids = range(said, said + due)
        await speaker.send(*({"t": "say", "id": id_, "room": ROOM, "body": "x" * 50} for id_ in ids))
        said += due
        await anyio.sleep(0.01)
    return said


async def acknowledged(speaker: TcpTalker, acks: list[int]) -> None:
    while True:
        acks[0] += (await speaker.receive())["t"] == "ack"


ROW = Row("12", "recovery storm", run)

if __name__ == "__main__":
    anyio.run(elsewhere, int(sys.argv[1]), int(sys.argv[2]))
