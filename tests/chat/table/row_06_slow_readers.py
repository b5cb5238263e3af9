"""Row 6: a tenth of the room stops reading, under each policy: the others notice nothing, and the server stays small.

Some seconds with everybody reading are the yardstick. Then 50 of 500 do not read for 30 seconds (6 where they are sent
away), while the talk goes on; then they go on reading, and what they are told is checked to the last offset:

    disconnect                what fitted, without a hole, then 4008; all of them are out of the room within 6 s
    drop_oldest, drop_newest  offsets that grow, and ``lag`` says exactly how many are missing
    catchup                   everything, each once, in order

The deadline of a write and the interval of the heartbeat are longer than that here: they would end every policy in the
same way, as whoever does not read for so long is gone, for all that the server can know.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise
from typing import Any

from tests.chat.talkers import running

from .crowd import Crowd, crowd
from .process import LINUX, Process, cores, serving
from .row import Check, Row, Size, at_most, exactly, told

POLICIES = ("disconnect", "drop_oldest", "drop_newest", "catchup")
_SEND_BUFFER = 64 * 1024
_MOST = (1 << 20) + _SEND_BUFFER


@contextlib.asynccontextmanager
async def server(policy: str, size: Size) -> AsyncGenerator[tuple[int, Process | None], None]:
    """Its port; at full size, a process of its own."""
    if not size.full:
        async with running(slow=policy, outbox=16, write_timeout=60.0, linger=0.05) as here:
            yield here.port, None
        return
    flags = ("--slow", policy, "--outbox", "100", "--history", "10000", "--write-timeout", "120")
    limits = ("--rate", "1e6", "--burst", "1000000", "--accept-rate", "1e6", "--ping-interval", "3600")
    async with serving(*size.flags, *flags, *limits, core=cores()[0]) as process:
        yield process.port, process


def account_of(policy: str, told_: dict[str, Any], messages: int) -> list[Check]:
    """What the slow ones were told, held against the promise."""
    offsets: Sequence[Sequence[int]] = told_["offsets"]
    holes = sum(later != earlier + 1 for each in offsets for earlier, later in pairwise(each))
    backwards = sum(later <= earlier for each in offsets for earlier, later in pairwise(each))
    checks = [exactly(f"{policy}: told anything else", told_["others"], [])]
    if policy == "disconnect":
        checks.append(exactly(f"{policy}: close codes", set(told_["codes"]), {4008}))
    else:
        checks.append(exactly(f"{policy}: sent away", set(told_["codes"]), {None}))
        heard = {len(each) + lost for each, lost in zip(offsets, told_["lost"], strict=True)}
        checks.append(exactly(f"{policy}: heard, and told to be lost", heard, {messages}))
    if policy.startswith("drop"):
        checks.append(exactly(f"{policy}: offsets that do not grow", backwards, 0))
        checks.append(exactly(f"{policy}: who lost nothing", sum(lost == 0 for lost in told_["lost"]), 0))
    else:
        checks.append(exactly(f"{policy}: holes and doubles", holes, 0))
        checks.append(exactly(f"{policy}: told to be lost", sum(told_["lost"]), 0))
    return checks


async def play(policy: str, size: Size, people: Crowd) -> list[Check]:
    slow, healthy = size.pick((2, 4), (50, 450))
    body, rate = size.pick((8000, 1000.0), (2048, 40.0))
    yardstick, seconds = size.pick((0.0, 0.1), (4.0, 6.0 if policy == "disconnect" else 30.0))
    async with server(policy, size) as (port, process):
        checks: list[Check] = []
        for name, count, buffer in (("good", healthy, 0), ("slow", slow, 8192)):
            joined = await people.do("connect", port=port, count=count, user=name, receive_buffer=buffer)
            checks.append(exactly(f"{policy}: clients", joined["joined"], count))
        alike = await people.do("open_loop", seconds=yardstick, rate=rate, size=body)
        await people.do("stop_reading", user="slow")
        before = process.rss() if process is not None else 0
        account = await people.do("open_loop", seconds=seconds, rate=rate, size=body, to=healthy)
        checks.append(exactly(f"{policy}: deliveries to the others", account["delivered"], account["expected"]))
        if process is not None:
            grown = process.rss() - before
            calm, now = alike["latency_p99"] * 1000, account["latency_p99"] * 1000
            checks.append(told(f"{policy}: p99 of all before", f"{calm:.0f} ms"))
            checks.append(at_most(f"{policy}: p99 of the others", now, 2 * calm, "ms"))
            checks.append(at_most(f"{policy}: memory for a slow one", grown / slow / 1024, _MOST / 1024, "KB"))
            if policy == "disconnect":
                checks.append(exactly("disconnect: gone within 6 s", process.log.count("is dropped: too slow"), slow))
        after = await people.do("resume", user="slow", seconds=30.0, messages=account["messages"])
        await people.do("close")
    return checks + account_of(policy, after, account["messages"])


async def run(size: Size) -> list[Check]:
    checks: list[Check] = []
    async with crowd(core=cores()[1] if size.full else None) as people:
        for policy in POLICIES:
            checks += await play(policy, size, people)
    return checks


ROW = Row("6", "slow readers", run, small=LINUX)
