"""Row 4: ten thousand connections that mostly listen: what each of them costs in memory, and their heartbeat in CPU.

All of them are in one room, which hears two messages a second. Then nobody says anything, and what is left is the
heartbeat: each client is pinged every 25 seconds, and answers.
"""

from __future__ import annotations

from .crowd import crowd
from .process import LINUX, cores, serving
from .row import Check, Row, Size, at_most, exactly, told
from .row_02_throughput import UNLIMITED


async def run(size: Size) -> list[Check]:
    clients, seconds, quiet = size.pick((200, 0.5, 0.0), (10_000, 30.0, 25.0))
    mine, theirs = cores()
    async with serving(*size.flags, *UNLIMITED, core=mine) as server, crowd(core=theirs) as people:
        await people.do("connect", port=server.port, count=1)  # what is made once is not a client's
        empty = server.rss()
        joined = await people.do("connect", port=server.port, count=clients, user="many", within=150.0)
        account = await people.do("open_loop", seconds=seconds, rate=2.0)
        kilobytes = (server.rss() - empty) / clients / 1024
        before = server.cpu_seconds()
        here = await people.do("idle", seconds=quiet)
        used = server.cpu_seconds() - before
        failed = "Traceback" in server.log
    checks = [
        exactly("clients", joined["joined"], clients),
        exactly("deliveries", account["delivered"], account["expected"]),
        exactly("clients that are still there", here["here"], clients + 1),
        exactly("failures in the log", failed, False),
        # Of a few clients, what the allocator takes at once is a part that counts.
        at_most("memory of a connection", kilobytes, size.pick(80, 40), "KB"),
    ]
    if size.full:
        checks += [
            at_most("CPU of the heartbeat", used / quiet * 100, 10, "% of a core"),
            told("latency p99", f"{account['latency_p99'] * 1000:,.0f} ms"),
            told("all of them came and joined within", f"{joined['seconds']:.0f} s"),
        ]
    return checks


ROW = Row("4", "many connections", run, small=LINUX)
