"""Row 5: everybody comes at once, and clients come and go: the server keeps up, or says no, and forgets nobody.

The storm   ten thousand clients shake hands, as fast as they can, 256 at a time; they say hello, and stay.
The churn   fifty thousand times: connect, say hello, be welcome, leave; one half says goodbye, the other just resets.
            Afterwards goroutines, descriptors and the registry are what they were.
The limit   a server that welcomes few a second: who comes too often is told 503, at once, and nobody is left hanging.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.request import urlopen

import anyio
from tests.chat.talkers import running, until

from gochan import goroutines

from .crowd import Crowd, crowd
from .process import BOUND, LINUX, Process, cores, serving
from .row import Check, Row, Size, at_least, at_most, exactly, told

_AT_ONCE = 256
_UNLIMITED = ("--rate", "1e6", "--burst", "1000000", "--per-user", "1000000", "--log-level", "warning")


async def page(server: Process, path: str, pattern: str) -> int:
    """The sum of the numbers that a page of the server has at these places."""

    def read() -> str:
        with urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=BOUND) as answer:
            text: str = answer.read().decode()
        return text

    numbers = re.findall(pattern, await anyio.to_thread.run_sync(read), re.MULTILINE)
    return int(sum(map(float, numbers)))


async def sessions(server: Process) -> int:
    return await page(server, "/metrics", r"^gochat_sessions{.*} (\S+)")


async def inside(server: Process) -> dict[str, int]:
    """What there is in the server."""
    return {
        "goroutines": await page(server, "/debug", r"(\d+) goroutines"),
        "sessions": await sessions(server),
        "descriptors": server.descriptors(),
    }


async def at_rest(server: Process) -> dict[str, int]:
    """The same, once it does not change any longer."""
    with anyio.fail_after(BOUND):
        seen = [await inside(server)]
        while len(seen) < 5 or any(one != seen[-1] for one in seen[-5:]):
            await anyio.sleep(0.01)
            seen.append(await inside(server))
    return seen[-1]


async def settled(server: Process, before: dict[str, int]) -> dict[str, int]:
    """The same, once it is as before, or does not become so in time: the last client may still be on its way out."""
    now = {"descriptors": -1}
    with anyio.move_on_after(BOUND):
        # First what costs the server nothing: thousands of goroutines make a long page.
        while server.descriptors() > before["descriptors"]:
            await anyio.sleep(0.02)
        # Goroutines come and go that tell the broker of presences: it is settled when they were seen to be gone.
        while (now := await inside(server)) != before:
            await anyio.sleep(0.1)
    return now


def handshakes(what: str, account: dict[str, Any], count: int) -> list[Check]:
    return [
        exactly(f"{what}: turned away, or left hanging", (account["refused"], account["broken"]), (0, 0)),
        at_least(f"{what}: connections", count / account["seconds"], 500, "/s"),
        at_most(f"{what}: handshake p99", account["handshake_p99"], 1.0, "s"),
    ]


async def here(people: Crowd) -> list[Check]:
    """The same in this loop, with a few clients."""
    count = 40
    async with running(metrics=True, per_user=1000) as server:
        await people.do("churn", port=server.port, cycles=4)
        await until(lambda: not server.sessions)
        empty = len(goroutines())
        storm = await people.do("connect", port=server.port, count=count, room="")
        full = len(server.node.registry.sessions)
        await people.do("close")
        churn = await people.do("churn", port=server.port, cycles=count)
        await until(lambda: not server.sessions and len(goroutines()) <= empty)
        left = len(goroutines())
    async with running(accept_rate=1.0, accept_burst=10) as server:
        limited = await people.do("connect", port=server.port, count=count, room="")
    return [
        exactly("storm: sessions", (storm["joined"], full), (count, count)),
        exactly("churn: cycles", (churn["cycles"], churn["refused"], churn["broken"]), (count, 0, 0)),
        at_most("goroutines that are left", left, empty),
        exactly("limit: answered 101 or 503", limited["joined"] + limited["refused"], count),
        at_most("limit: welcomed", limited["joined"], 10 + limited["seconds"] + 1),
    ]


async def run(size: Size) -> list[Check]:
    if not size.full:
        async with crowd() as people:
            return await here(people)
    mine, theirs = cores()
    return [*await storm_and_churn(size, mine, theirs), *await limit(size, mine, theirs)]


async def storm_and_churn(size: Size, mine: int | None, theirs: int | None) -> list[Check]:
    clients, cycles = 10_000, 50_000
    options = ("--accept-rate", "1e6", "--metrics", "--debug")
    async with serving(*size.flags, *_UNLIMITED, *options, core=mine) as server, crowd(core=theirs) as people:
        await people.do("churn", port=server.port, cycles=4)  # whatever is made once
        empty = await at_rest(server)
        storm = await people.do("connect", port=server.port, count=clients, at_once=_AT_ONCE, room="", within=120.0)
        full = await sessions(server)
        await people.do("close")
        left = await settled(server, empty)
        before = server.rss()
        churn = await people.do("churn", port=server.port, cycles=cycles, at_once=_AT_ONCE, within=150.0)
        after = await settled(server, empty)
        grown = (server.rss() - before) / 1e6
        failures = server.log.count("Traceback")
        code = await server.stop()
    checks = [
        exactly("storm: sessions", full, clients),
        *handshakes("storm", storm, clients),
        exactly("storm: what is left", left, empty),
        exactly("churn: cycles", churn["cycles"], cycles),
        *handshakes("churn", churn, cycles),
        exactly("churn: what is left", after, empty),
        exactly("failures in the log", failures, 0),
        exactly("exit code", code, 0),
    ]
    return [*checks, told("churn: memory", f"{grown:+.1f} MB")]


async def limit(size: Size, mine: int | None, theirs: int | None) -> list[Check]:
    """More than the listener wants to take: a burst of 1000, then 50 a second."""
    count = 5000
    async with (
        serving(*size.flags, *_UNLIMITED, "--accept-rate", "50", core=mine) as server,
        crowd(core=theirs) as people,
    ):
        account = await people.do("connect", port=server.port, count=count, at_once=_AT_ONCE, room="")
    most = 1000 + 50 * (account["seconds"] + 0.1) + 1
    return [
        exactly("limit: answered 101 or 503", account["joined"] + account["refused"], count),
        at_least("limit: welcomed", account["joined"], 1000),
        at_most("limit: welcomed, at most", account["joined"], most),
        at_most("limit: handshake p99", account["handshake_p99"], 1.0, "s"),
    ]


ROW = Row("5", "connect storm, churn", run, small=LINUX)
