"""Row 12b: as row 12, with two servers over a real engine: whoever is thrown out comes back at the other one.

In the full size the servers, and the subscribers as well, have processes of their own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.chat.broker import engine
from tests.chat.table.cluster import Node, bounded, inside, nodes
from tests.chat.table.instruments import Meter
from tests.chat.table.process import ROOT
from tests.chat.table.row import Check, Row, Size, at_least, exactly, told
from tests.chat.table.row_12_recovery_storm import COUNTED, RESET, ROOM, Plain, talk, tell
from tests.chat.talkers import BOUND, TcpTalker, tcp

from gochan import Event, Goroutine, Group


class Either:
    """A server that is another one each time that one connects."""

    def __init__(self, ports: Sequence[int], first: int) -> None:
        self._ports = itertools.cycle([*ports[first % len(ports) :], *ports[: first % len(ports)]])

    @property
    def port(self) -> int:
        return next(self._ports)


class Patient(Plain):
    """100,000 messages a second, each read by itself, would be more than this process can do."""

    pause = 0.02


class Storm:
    """The subscribers."""

    def __init__(self, ports: Sequence[int], count: int, kicks: int, seconds: float) -> None:
        self._everybody = [(Patient(f"plain {number}"), Either(ports, number)) for number in range(count)]
        self._kicks = kicks
        self._seconds = seconds

    async def enter(self, group: Group) -> None:
        for each, either in self._everybody:
            server: Any = either
            group.go(each.live, server)
        await self._inside()

    async def _inside(self) -> None:
        for each, _ in self._everybody:
            await each.inside.wait()

    async def throw_out(self) -> None:
        turns = [pair for pair in self._everybody for _ in range(self._kicks)]
        random.Random(12).shuffle(turns)
        began = anyio.current_time()
        for number, (each, either) in enumerate(turns):
            await anyio.sleep_until(began + self._seconds * number / len(turns))
            await each.inside.wait()
            server: Any = either
            await each.kick(server, RESET)
        await self._inside()

    async def account(self, said: int) -> dict[str, int]:
        """What they have heard, once that is all."""
        with anyio.move_on_after(3 * BOUND):
            while not all(each.last == said for each, _ in self._everybody):
                await anyio.sleep(0.01)
        return {name: sum(getattr(each, name) for each, _ in self._everybody) for name in COUNTED}


async def elsewhere(ports: Sequence[int], count: int, kicks: int, seconds: float) -> None:
    """The storm in a process of its own, step by step, as it is told."""
    storm = Storm(ports, count, kicks, seconds)

    async def hear() -> str:
        return await anyio.to_thread.run_sync(sys.stdin.readline)

    async with Group() as group:
        await storm.enter(group)
        print("inside", flush=True)
        await hear()
        await storm.throw_out()
        print("thrown out", flush=True)
        print(json.dumps(await storm.account(int(await hear()))), flush=True)
        group.cancel()


class Remote:
    """That, seen from here."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdout is not None
        self._process = process
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def enter(self, group: Group) -> None:
        await self._line()

    async def throw_out(self) -> None:
        await tell(self._process, "go")
        await self._line()

    async def account(self, said: int) -> dict[str, int]:
        await tell(self._process, str(said))
        account: dict[str, int] = json.loads(await self._line())
        return account

    async def _line(self) -> bytes:
        return await self._lines.receive_until(b"\n", 1 << 20)


@contextlib.asynccontextmanager
async def storming(size: Size, ports: Sequence[int], *numbers: float) -> AsyncGenerator[Storm | Remote, None]:
    count, kicks, seconds = numbers
    if not size.full:
        yield Storm(ports, int(count), int(kicks), seconds)
        return
    words = [json.dumps(ports), str(count), str(kicks), str(seconds)]
    command = [sys.executable, "-m", __name__, *words]
    process = await anyio.open_process(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=None)
    try:
        yield Remote(process)
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.aclose()


class Speech:
    """What becomes of what is said; what is refused is said again, with the same id."""

    def __init__(self) -> None:
        self.acknowledged = self.refused = 0
        self._again: list[tuple[TcpTalker, int]] = []

    async def hear(self, speaker: TcpTalker) -> None:
        while True:
            message = await speaker.receive()
            if message["t"] == "ack":
                self.acknowledged += 1
            elif message["t"] == "err":
                assert message["temp"], message
                self.refused += 1
                self._again.append((speaker, message["id"]))

    async def insist(self, said: int) -> None:
        """Say again what was refused, now that nobody else speaks, until all is acknowledged."""
        while self.acknowledged < said:
            again, self._again = self._again, []
            for speaker, id_ in again:
                await speaker.send({"t": "say", "id": id_, "room": ROOM, "body": "x" * 50})
            await anyio.sleep(0.02)


@contextlib.asynccontextmanager
async def servers(size: Size, url: str) -> AsyncGenerator[tuple[Sequence[Any], Sequence[Meter]], None]:
    if size.full:
        async with nodes(size, url, "one", "two") as places:
            yield places, ()
    else:
        meters = Meter(), Meter()
        async with inside(url, "one", meters[0]) as one, inside(url, "two", meters[1]) as two:
            yield (one, two), meters


async def run(size: Size) -> Sequence[Check]:
    count, kicks, seconds, rate = size.pick((12, 3, 0.6, 200), (200, 20, 25.0, 500))
    speech = Speech()
    speakers = size.pick(2, 10)  # each has one message under way at a time
    name = 'gochat_recovered_total{why="%s"}'
    with engine.running() as valkey:
        async with (
            bounded(valkey, size.pick(40, 170)),
            servers(size, valkey.url) as (places, meters),
            storming(size, [place.port for place in places], count, kicks, seconds) as storm,
            contextlib.AsyncExitStack() as stack,
            Group() as group,
        ):
            await storm.enter(group)
            over = Event()
            talking: list[Goroutine[int]] = []
            for number in range(speakers):
                speaker = await stack.enter_async_context(tcp(places[number % len(places)]))
                await speaker.join(f"speaker {number}")
                group.go(speech.hear, speaker)
                talking.append(group.go(talk, speaker, rate / speakers, over))
            began = anyio.current_time()
            await storm.throw_out()
            over.set()
            said = sum([await each.result() for each in talking])
            took = anyio.current_time() - began
            with anyio.move_on_after(BOUND):
                await speech.insist(said)
            account = await storm.account(said)
            counted = {
                why: sum([m.read(name % why) for m in meters])
                + sum([await place.counted(name % why) for place in places if isinstance(place, Node)])
                for why in ("return", "behind")
            }
            group.cancel()
    return [
        exactly("times that somebody was thrown out and came back", account["returns"], count * kicks),
        at_least("messages a second, meanwhile", said / took, size.pick(0.5, 0.95) * rate),
        exactly("messages acknowledged", speech.acknowledged, said),
        exactly("messages heard", account["heard"], count * said),
        exactly("gaps", account["gaps"], 0),
        exactly("duplicates", account["duplicates"], 0),
        exactly("recovered, as the servers count it", int(counted["return"]), account["recovered"]),
        told("refused meanwhile, and said again", str(speech.refused)),
        told("sent again to who had fallen behind", f"{counted['behind']:,.0f}"),
        told("all of it took", f"{took:.0f} s for {said:,} messages"),
    ]


ROW = Row("12b", "recovery storm over an engine", run)

if __name__ == "__main__":
    anyio.run(elsewhere, json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
