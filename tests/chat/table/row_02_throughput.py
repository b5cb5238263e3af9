"""Row 2: what a delivery costs, next to what it costs others.

A thousand WebSocket clients in one room, and one of them who says 100 bytes, eight messages at a time: the next when
one has come to everybody. The same clients do the same with a server on ``websockets.broadcast`` and, at full size,
with gorilla's chat in Go, each server on one core, in turns. What is compared is CPU per delivery, which a busy machine
changes little; deliveries a second are told. The best of each server's turns counts.

The ratio to gorilla needs Go and Debian's golang-github-gorilla-websocket-dev, and is said to be missing without them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import anyio

from .crowd import crowd
from .process import LINUX, Process, cores, process, serving
from .row import Check, Row, Size, at_least, at_most, exactly, told

UNLIMITED = ("--rate", "1e6", "--burst", "1000000", "--accept-rate", "1e6", "--log-level", "warning")
_GOCODE = "/usr/share/gocode"
_PORT = r"port (\d+)\s"
_CLIENTS, _WINDOW, _BYTES = 1000, 8, 100
_HERE = Path(__file__).parent


class Account:
    """What one server did, over its turns."""

    def __init__(self, name: str, server: Process) -> None:
        self.name = name
        self.server = server
        self.rate = 0.0
        self.microseconds = float("inf")
        self.expected = self.delivered = 0

    async def turn(self, clients: int, seconds: float, window: int, core: int | None) -> None:
        """Have a crowd do it once."""
        async with crowd(core=core) as people:
            chat = self.name == "gochan"
            joined = await people.do("connect", port=self.server.port, count=clients, chat=chat)
            assert joined["joined"] == clients, joined
            before = self.server.cpu_seconds()
            account = await people.do("closed_loop", seconds=seconds, window=window, size=_BYTES)
            used = self.server.cpu_seconds() - before
        self.expected += account["expected"]
        self.delivered += account["delivered"]
        self.rate = max(self.rate, account["delivered"] / account["seconds"])
        self.microseconds = min(self.microseconds, used / account["delivered"] * 1e6)


def build_gorilla(folder: str) -> str | None:
    """The program; ``None`` where there is no Go, or not the package."""
    go = shutil.which("go")
    if go is None or not Path(_GOCODE, "src/github.com/gorilla/websocket").is_dir():
        return None
    program = str(Path(folder, "gorilla-chat"))
    environ = {**os.environ, "GO111MODULE": "off", "GOPATH": _GOCODE, "GOCACHE": str(Path(folder, "cache"))}
    subprocess.run([go, "build", "-o", program, "."], cwd=_HERE / "gorilla", env=environ, check=True, timeout=300)
    return program


@contextlib.asynccontextmanager
async def yardstick(name: str, command: Sequence[str], core: int | None) -> AsyncGenerator[Account, None]:
    async with process(command, port=_PORT, core=core) as server:
        yield Account(name, server)


async def run(size: Size) -> list[Check]:
    clients, seconds, turns = size.pick((50, 0.15, 3), (_CLIENTS, 4.0, 3))
    mine, theirs = cores()
    async with contextlib.AsyncExitStack() as stack:
        here = Account("gochan", await stack.enter_async_context(serving(*size.flags, *UNLIMITED, core=mine)))
        # Trio has no broadcast of its own in ``websockets`` that is near asyncio's, so it is held against that one.
        command = [sys.executable, "-m", "tests.chat.table.broadcasting"]
        command += ["--uvloop"] if size.loop == "uvloop" else []
        others = [await stack.enter_async_context(yardstick("websockets.broadcast", command, mine))]
        if size.full:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            if program := await anyio.to_thread.run_sync(build_gorilla, folder):
                others.append(await stack.enter_async_context(yardstick("gorilla", [program], mine)))
        for _ in range(turns):
            for account in (here, *others):
                await account.turn(clients, seconds, _WINDOW, theirs)
    checks = [exactly("deliveries", here.delivered, here.expected)]
    checks += [told(f"{each.name}: CPU per delivery", f"{each.microseconds:.2f} us") for each in others]
    checks += [told(f"{each.name}: deliveries", f"{each.rate:,.0f} /s") for each in others]
    ratio = others[0].microseconds / here.microseconds
    checks.append(at_least("CPU per delivery of websockets.broadcast / ours", ratio, size.pick(1.5, 3.0)))
    if size.full:
        checks.append(at_most("CPU per delivery", here.microseconds, 4.0, "us"))
        checks.append(at_least("deliveries", here.rate, 70_000 if size.loop == "trio" else 100_000, "/s"))
        if len(others) > 1:
            checks.append(at_most("CPU per delivery / gorilla's", here.microseconds / others[1].microseconds, 1.25))
        else:
            checks.append(told("gorilla", "not measured: no Go, or no gorilla"))
    return checks


ROW = Row("2", "fan-out throughput", run, small=LINUX)
