"""Row 14: one client sends as fast as it can, and comes back each time it is sent away; the others do not notice.

Shape
    People talk at a steady pace, below the limit. The flooder speaks JSON lines, a hundred messages in each write; it
    counts what it is answered. At full size the server and the flooder are processes of their own: so the
    memory is the server's, and what the others wait for is not the flooder.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import anyio
from tests.chat.table.instruments import own_rss, percentile
from tests.chat.table.pace import talking
from tests.chat.table.process import ROOT, Process, serving
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import Ended, TcpTalker, running, tcp, until

from examples.chat.limits import Limits, Rate
from gochan import Group

RATE, BURST = 20.0, 40
PIECE = 100
MIB = 1 << 20


class Flood:
    """What one user who does not care about limits got."""

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.refused = 0
        self.ends = Counter[int | None]()
        self.most = 0.0
        """Accepted on one connection, as a share of what a connection may have in its time."""
        self._pieces = cycle([b"".join(map(_say, range(at, at + PIECE))) for at in range(0, 20_000, PIECE)])

    async def run(self, server: Any, rate: float) -> None:
        """For ever, with a new connection when one is ended."""
        while True:
            async with tcp(server) as talker:
                await talker.hello("flood")
                began, before = anyio.current_time(), self.accepted
                try:
                    await self._once(talker, rate)
                finally:
                    seconds = anyio.current_time() - began
                    self.most = max(self.most, (self.accepted - before) / (RATE * seconds + BURST))

    async def _once(self, talker: TcpTalker, rate: float) -> None:
        async with Group(errors="first") as group:
            sending = group.go(self._send, talker, rate)
            try:
                while True:
                    match await talker.receive():
                        case {"t": "ack" | "joined"}:
                            self.accepted += 1
                        case {"t": "err", "code": 429}:
                            self.refused += 1
                        case _:
                            pass
            except Ended as ended:
                self.ends[ended.code] += 1
            sending.cancel()

    async def _send(self, talker: TcpTalker, rate: float) -> None:
        with contextlib.suppress(anyio.BrokenResourceError):
            await talker.send({"t": "join", "id": "j", "room": "flooded"})
            began, sent = anyio.current_time(), 0
            while True:
                await talker.raw(next(self._pieces))
                self.sent += PIECE
                sent += PIECE
                await anyio.sleep_until(began + sent / rate)


def _say(number: int) -> bytes:
    return json.dumps({"t": "say", "id": number, "room": "flooded", "body": "x" * 50}).encode() + b"\n"


@contextlib.asynccontextmanager
async def server_of(size: Size) -> AsyncGenerator[tuple[Any, Any], None]:
    """The server, and what tells the bytes of memory of its process."""
    if size.full:
        flags = (*size.flags, "--rate", str(RATE), "--burst", str(BURST), "--log-level", "warning")
        async with serving(*flags) as process:
            server: Process = process
            yield server, server.rss
            assert await server.stop() == 0
        return
    async with running(rate=RATE, burst=BURST) as here:
        rate = Rate(RATE, BURST)
        here.node.limits = Limits(connection=rate, user=Rate(RATE * 2, BURST * 2), patience=0.1)
        yield here, own_rss


async def flood_from_here(server: Any, seconds: float) -> dict[str, Any]:
    """What came of it, in so many seconds or until it was sent away once."""
    flood = Flood()
    began = anyio.current_time()
    async with Group() as group:
        group.go(flood.run, server, 10_000.0)
        await anyio.sleep(seconds)
        await until(lambda: flood.ends)
        group.cancel()
    account = {name: getattr(flood, name) for name in ("sent", "accepted", "refused", "ends", "most")}
    return {**account, "seconds": anyio.current_time() - began}


async def flood_from_elsewhere(server: Any, seconds: float) -> dict[str, Any]:
    """The same, from a process of its own."""
    command = [sys.executable, "-m", __name__, str(server.port), str(seconds)]
    done = await anyio.run_process(command, cwd=ROOT, stderr=None)
    account: dict[str, Any] = json.loads(done.stdout)
    account["ends"] = {int(code): count for code, count in account["ends"].items() if code != "null"}
    return account


async def run(size: Size) -> Sequence[Check]:
    people, rate, seconds = size.pick((4, 15.0, 0.2), (10, 5.0, 10.0))
    with anyio.fail_after(4 * seconds + 60):
        async with server_of(size) as (server, rss), talking(server, people, rate) as pace:
            await anyio.sleep(seconds / 5)
            pace.take()
            await anyio.sleep(seconds)
            calm = pace.take()
            async with Group() as group:
                flooding = group.go(flood_from_elsewhere if size.full else flood_from_here, server, 1.2 * seconds)
                await anyio.sleep(seconds / 5)
                before = rss()
                pace.take()
                await anyio.sleep(seconds)
                flooded = pace.take()
                grown = rss() - before
                flood = await flooding.result()
    which, percent, bound, least = size.pick(("p50", 50.0, 10.0, 0.05), ("p99", 99.0, 2.0, 0.0))
    usual = percentile(calm, percent)
    ends = flood["ends"]
    return [
        at_most("accepted on a connection, of 20 t + 40", flood["most"], 1.02),
        at_most(
            "accepted of the user, who may have twice that",
            flood["accepted"],
            1.02 * 2 * (RATE * flood["seconds"] + BURST),
        ),
        at_least("refused with 429", flood["refused"], 19),
        at_least("sent away with 4013", ends.get(4013, 0), 1),
        exactly("other ends", sorted(str(code) for code in ends if code != 4013), []),
        at_most(f"{which} of the others, to that before", percentile(flooded, percent) / max(usual, least), bound),
        at_most("memory grown", grown / MIB, size.pick(64.0, 2.0), "MiB"),
        told(f"{which} before the flood", f"{usual * 1000:.1f} ms"),
        told("messages sent, accepted, refused", f"{flood['sent']}, {flood['accepted']}, {flood['refused']}"),
    ]


async def _main() -> None:
    port, seconds = sys.argv[1:]
    print(json.dumps(await flood_from_here(SimpleNamespace(port=int(port)), float(seconds))))


ROW = Row("14", "flood", run)

if __name__ == "__main__":
    anyio.run(_main)
