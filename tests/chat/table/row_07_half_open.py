"""Row 7: connections that fall silent without an end, as after a cable was cut, are found and cleared away in time.

Shape
    Half of the clients speak WebSocket, half JSON lines, all through the proxy, which then forwards nothing any more.
    A witness with a line of its own hears who leaves, and asks who is there.

The bound is the heartbeat's own: one interval until the next ping, rto for its answer, twice rto for the second one.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import anyio
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import Talker, running, tcp, until
from tests.chat.test_client_chaos import client

from examples.chaos_proxy import proxy
from examples.chat.client import Disconnected
from examples.chat.session import Session
from examples.chat.wire import Close
from gochan import Event, Group


async def run(size: Size) -> Sequence[Check]:
    interval, floor = size.pick((0.1, 0.1), (1.0, 2.0))
    count = size.pick(6, 40)
    names = {f"silent {number}" for number in range(count)}
    gone: dict[str, float] = {}
    async with (
        running(ping_interval=interval, pong_timeout=floor, linger=0.1) as server,
        proxy("127.0.0.1", server.port) as chaos,
        tcp(server) as witness,
        Group() as group,
    ):
        await witness.join("witness")
        ready = Counter[str]()
        cut = Event()
        for number, name in enumerate(sorted(names)):
            group.go(_stay, chaos.port, name, "websocket" if number % 2 else "tcp", ready, cut)
        watching = group.go(_watch, witness, names, gone)
        await until(lambda: len(ready) == count)
        await anyio.sleep(3 * interval)  # so that every line was measured
        sessions = [session for session in server.sessions if session.user in names]
        rto = max(session._pulse.rtt.rto for session in sessions if session._pulse)
        found = list[float]()
        for session in sessions:
            group.go(_notice, session, found)
        chaos.stall()
        began = anyio.current_time()
        with anyio.move_on_after(10 * (interval + 3 * floor)):
            await watching.result()
            await until(lambda: len(server.sessions) == 1)
        codes = Counter(int(session.outbox.goodbye.code) for session in sessions if session.outbox.goodbye)
        left = set(server.hub.users)
        cut.set()
        chaos.reset()
        group.cancel()
    noise = size.pick(2.0, 0.0)
    return [
        exactly("silent clients found", len(found), count),
        at_most("the last one was found after", max(found, default=began) - began, interval + 3 * rto + noise, "s"),
        # What was asked just before the line was cut counts from then.
        at_least("the first one not before rto and twice rto", min(found, default=began) - began, 2.75 * floor, "s"),
        told("the last one was seen to leave after", f"{max(gone.values(), default=began) - began:.3f} s"),
        exactly("sessions ended with 4012, no pong", codes[Close.NO_PONG], count),
        exactly("who is still said to be there", sorted(left), ["witness"]),
    ]


async def _stay(port: int, name: str, transport: str, ready: Counter[str], cut: Event) -> None:
    with contextlib.suppress(Disconnected):
        async with client(port, name, "tcp" if transport == "tcp" else "websocket") as chat:
            await chat.join("lobby")
            ready[name] += 1
            await cut.wait()


async def _notice(session: Session, found: list[float]) -> None:
    await session.ctx.done.wait()
    found.append(anyio.current_time())


async def _watch(witness: Talker, names: set[str], gone: dict[str, float]) -> None:
    """Until all of them have left; pings are answered on the way, as the witness must not be taken for silent."""
    while len(gone) < len(names):
        match await witness.receive():
            case {"t": "ping", "n": n}:
                await witness.send({"t": "pong", "n": n})
            case {"t": "pres", "leave": leave}:
                gone.update((name, anyio.current_time()) for name in leave if name not in gone)
            case _:
                pass


ROW = Row("7", "half-open connections", run)
