"""Row 17: a notification service that hangs, fails and recovers is no matter of those who talk.

Shape
    People talk at a steady pace; each message is told to a real HTTP service, which is well, then hangs, then answers
    with errors, then is well again. Between the phases the breaker is waited for; what it did is written down.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

import anyio
from anyio.abc import SocketAttribute, SocketStream
from tests.chat.table.instruments import percentile
from tests.chat.table.pace import Pace, talking
from tests.chat.table.row import Check, Row, Size, at_most, exactly, told
from tests.chat.talkers import BOUND, running, until

from examples.chat.config import Settings
from examples.chat.downstream import Downstream, Outcome
from examples.chat.node import assemble
from examples.chat.server import Server
from examples.chat.webhook import Webhook
from gochan import CircuitBreaker, Event, Group

CAPACITY = 256


class Service:
    """A service over HTTP, in one of several moods."""

    def __init__(self) -> None:
        self.well = Event()
        self.well.set()
        self.answer = b"HTTP/1.1 204 No Content\r\n\r\n"

    async def __call__(self, stream: SocketStream) -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            async with stream:
                await stream.receive()
                await self.well.wait()
                await stream.send(self.answer)


@contextlib.asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Service, str], None]:
    service = Service()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, Group() as group:
        group.go(listener.serve, service)
        yield service, f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"
        group.cancel()


async def run(size: Size) -> Sequence[Check]:
    people, rate, seconds = size.pick((4, 25.0, 0.1), (10, 8.0, 20.0))
    states = ["closed"]
    longest = 0
    async with serving() as (service, url), Group() as group:
        downstream = Downstream(
            Webhook(url),
            capacity=CAPACITY,
            deadline=size.pick(0.06, 2.0),
            breaker=CircuitBreaker(
                "downstream",
                timeout=size.pick(0.05, 10.0),
                ready_to_trip=lambda counts: counts.consecutive_failures >= 5,
                on_state_change=lambda _name, _old, new: states.append(new),
            ),
        )

        def make(settings: Settings) -> Server:
            node = assemble(settings)
            node.downstream = downstream
            return Server(settings, node)

        async def watch() -> None:
            nonlocal longest
            while True:
                longest = max(longest, downstream.waiting)
                await anyio.sleep(0.01)

        async with running(make, 4 * seconds + 3 * BOUND) as server, talking(server, people, rate) as pace:
            group.go(watch)
            await anyio.sleep(size.pick(0.05, 2.0))
            pace.take()
            healthy = await _phase(pace, seconds)
            service.well = Event()
            hanging = await _phase(pace, seconds)
            await until(lambda: "half-open" in states and states[-1] == "open")
            service.well.set()
            service.answer = b"HTTP/1.1 500 Oops\r\n\r\n"
            failing = await _phase(pace, seconds)
            await until(lambda: states.count("open") >= 3 and states[-1] == "open")
            service.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
            await until(lambda: states[-1] == "closed")
            last = states[-3:]
            pace.take()
            again = await _phase(pace, seconds)
            counts = dict(downstream.counts)
        group.cancel()
    # A hundred samples have no 99th percentile worth comparing.
    which, percent, bound, least = size.pick(("p50", 50.0, 5.0, 0.05), ("p99", 99.0, 1.2, 0.0))
    before = percentile(healthy, percent)
    return [
        *(
            at_most(f"{which} while it {what}, to that before", percentile(phase, percent) / max(before, least), bound)
            for what, phase in (("hangs", hanging), ("fails", failing), ("is well again", again))
        ),
        told(f"{which} while it is well", f"{before * 1000:.1f} ms"),
        exactly("first states of the breaker", " ".join(states[:4]), "closed open half-open open"),
        exactly("last states of the breaker", " ".join(last), "open half-open closed"),
        at_most("notices that ever waited", longest, CAPACITY),
        exactly("kinds of outcome that were seen", _kinds(counts), ["delivered", "failed", "late", "refused"]),
    ]


async def _phase(pace: Pace, seconds: float) -> Sequence[float]:
    pace.take()
    await anyio.sleep(seconds)
    return pace.take()


def _kinds(counts: dict[Outcome, int]) -> list[str]:
    kinds = (Outcome.DELIVERED, Outcome.FAILED, Outcome.LATE, Outcome.REFUSED)
    return [outcome.value for outcome in kinds if counts[outcome]]


ROW = Row("17", "downstream failure", run)
