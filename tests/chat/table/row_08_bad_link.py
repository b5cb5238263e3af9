"""Row 8: a slow and uneven link, on which every byte travels alone, is not mistaken for a dead one.

Shape
    Clients of both transports behind the proxy, and a speaker without one. The least time for an answer
    (``pong_timeout``) is set below what the link may take, so that only rto, as it adapts, keeps them alive.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from tests.chat.table.instruments import Meter
from tests.chat.table.row import Check, Row, Size, exactly, told
from tests.chat.talkers import BOUND, running, until
from tests.chat.test_client_chaos import Ears, client

from examples.chaos_proxy import Faults, proxy
from examples.chat.client import Client
from gochan import Event, Group

MEGABIT = 125_000.0
"""Bytes a second."""


async def run(size: Size) -> Sequence[Check]:
    delay, jitter = size.pick((0.06, 0.03), (0.2, 0.15))
    floor, interval = size.pick((0.1, 0.1), (0.5, 1.0))
    seconds, count, pause = size.pick((0.4, 4, 0.1), (60.0, 12, 0.5))
    meter = Meter()
    ears = [Ears() for _ in range(count)]
    over = Event()
    said = 0
    async with (
        running(meter.server, seconds + BOUND, ping_interval=interval, pong_timeout=floor) as server,
        proxy("127.0.0.1", server.port, Faults(delay, jitter, MEGABIT, 1), seed=8) as chaos,
        client(server.port, "speaker") as speaker,
        Group() as group,
    ):
        entered = [Event() for _ in ears]
        for number, ear in enumerate(ears):
            group.go(_listen, chaos.port, number, ear, entered[number], over)
        await speaker.join("lobby")
        group.go(_hear, speaker)
        for event in entered:
            await event.wait()
        estimates = [s._pulse.rtt for s in server.sessions if s.user != "speaker" and s._pulse is not None]
        end = anyio.current_time() + seconds
        while anyio.current_time() < end:
            await speaker.say("lobby", f"{said} {'x' * 100}")
            said += 1
            await anyio.sleep(pause)
        await until(lambda: all(len(ear.bodies) >= said for ear in ears))
        await until(lambda: all(estimate.srtt is not None for estimate in estimates))
        alive, connections = len(server.sessions) - 1, chaos.accepted
        rtos = [estimate.rto for estimate in estimates]
        trips = [estimate.srtt or 0.0 for estimate in estimates]
        killed, missed = meter.read("gochat_no_pong_total"), meter.read("gochat_pings_missed_total")
        pings = missed + meter.read("gochat_rtt_seconds_count")
        over.set()
        group.cancel()
    return [
        exactly("sessions ended with 4012, no pong", killed, 0),
        exactly("clients that are still there", alive, count),
        exactly("connections they needed", connections, count),
        exactly("clients that heard everything in order", _heard(ears, said), count),
        exactly("clients whose rto has grown with the link", sum(rto > floor for rto in rtos), count),
        told("rto", f"{min(rtos):.2f} to {max(rtos):.2f} s, at least {floor} s"),
        told("smoothed round trips", f"{min(trips):.2f} to {max(trips):.2f} s"),
        told("single pings without a timely answer", f"{missed:.0f} of {pings:.0f}"),
    ]


def _heard(ears: Sequence[Ears], said: int) -> int:
    expected = [str(number) for number in range(said)]
    return sum([body.split()[0] for body in ear.bodies] == expected and not ear.gaps for ear in ears)


async def _listen(port: int, number: int, ear: Ears, entered: Event, over: Event) -> None:
    async with client(port, f"listener {number}", "websocket" if number % 2 else "tcp") as chat:
        await chat.join("lobby")
        entered.set()
        await ear.hear(chat, over.is_set)


async def _hear(chat: Client) -> None:
    async for _ in chat.events:
        pass


ROW = Row("8", "slow and uneven link", run)
