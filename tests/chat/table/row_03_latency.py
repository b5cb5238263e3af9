"""Row 3: how long a message takes to everybody, when there is room to breathe.

A thousand WebSocket clients in one room, and twenty messages a second, said when their time comes whether or not those
before have arrived: what a stall delays is counted with its delay.
"""

from __future__ import annotations

from .crowd import crowd
from .process import cores, serving
from .row import Check, Row, Size, at_most, exactly, told
from .row_02_throughput import UNLIMITED


async def run(size: Size) -> list[Check]:
    clients, seconds = size.pick((50, 0.3), (1000, 30.0))
    mine, theirs = cores()
    async with serving(*size.flags, *UNLIMITED, core=mine) as server, crowd(core=theirs) as people:
        joined = await people.do("connect", port=server.port, count=clients)
        before = server.cpu_seconds()
        account = await people.do("open_loop", seconds=seconds, rate=20.0)
        core = (server.cpu_seconds() - before) / account["seconds"]
    checks = [
        exactly("clients", joined["joined"], clients),
        exactly("deliveries", account["delivered"], account["expected"]),
    ]
    if size.full:
        checks += [
            at_most("latency p50", account["latency_p50"] * 1000, 40, "ms"),
            at_most("latency p99", account["latency_p99"] * 1000, 120, "ms"),
            told("latency, longest", f"{account['latency_p100'] * 1000:,.0f} ms"),
            at_most("CPU", core, 0.5, "cores"),
            told("the clients' own CPU", f"{account['cpu'] / account['seconds']:.2f} cores"),
        ]
    return checks


# Small, it would be the first row once more: what it is about needs a quiet machine.
ROW = Row("3", "steady latency", run, small=False)
