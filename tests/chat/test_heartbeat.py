"""The heartbeat in virtual time, with clients that are nothing but a way to answer."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import pytest

from examples.chat.heartbeat import SLOTS, Heartbeat, Life, Pulse
from examples.chat.telemetry.text_metrics import TextMetrics
from examples.chat.wire import Goodbye
from gochan import Group, sleep
from gochan.testing import explore, wait_idle

virtual = pytest.mark.gochan(virtual_time=True)


class Client:
    """A peer: it answers after ``delay`` seconds, or not at all."""

    def __init__(self, group: Group, heart: Heartbeat, sid: str = "a", delay: float | None = 0.02) -> None:
        self.sid = sid
        self.delay = delay
        self.pings: list[tuple[float, int]] = []
        self.goodbye: Goodbye | None = None
        self.ended = 0.0
        self.lives: list[Life] = []
        self._group = group
        self.pulse: Pulse = heart.watch(self)

    def ping(self, nonce: int) -> None:
        self.pings.append((anyio.current_time(), nonce))
        self.lives.append(self.pulse.life)
        if self.delay is not None:
            self._group.go(self._answer, nonce, self.delay)

    async def _answer(self, nonce: int, delay: float) -> None:
        await sleep(delay)
        self.pulse.pong(nonce)

    def drop(self, goodbye: Goodbye) -> None:
        assert self.goodbye is None, "dropped twice"
        self.goodbye = goodbye
        self.ended = anyio.current_time()

    @property
    def gaps(self) -> list[float]:
        times = [time for time, _ in self.pings]
        return [round(later - earlier, 6) for earlier, later in pairwise(times)]


@contextlib.asynccontextmanager
async def beating(**options: Any) -> AsyncIterator[tuple[Heartbeat, Group]]:
    heart = Heartbeat(**options)
    async with Group() as group:
        group.go(heart.run)
        yield heart, group
        heart._check()
        group.cancel()


@virtual
async def test_pinged_every_interval() -> None:
    """A client that answers is pinged once an interval, stays alive, and its round trip is known."""
    async with beating() as (heart, group):
        client = Client(group, heart)
        await sleep(130)
        assert client.gaps == [25.0] * (len(client.pings) - 1)
        assert len(client.pings) >= 5
        assert client.pulse.life is Life.ALIVE
        assert client.pulse.rtt.srtt == pytest.approx(0.02)
        assert client.goodbye is None


@virtual
async def test_silence() -> None:
    """A miss brings a second ping at once, the second miss, after twice the time, the end with 4012: 31 s at most."""
    async with beating() as (heart, group):
        client = Client(group, heart, delay=None)
        began = anyio.current_time()
        await sleep(40)
        assert client.gaps == [2.0]
        assert client.lives == [Life.ALIVE, Life.SUSPECTED]
        assert client.goodbye is not None
        assert client.goodbye.code == 4012
        assert client.ended - client.pings[1][0] == pytest.approx(4)
        assert client.ended - began <= 31.000001
        assert client.pulse.life is Life.OFFLINE
        assert heart.counts == {Life.ALIVE: 0, Life.SUSPECTED: 0, Life.OFFLINE: 1}
        await sleep(60)
        assert len(client.pings) == 2
        client.pulse.stop()
        client.pulse.stop()
        assert set(heart.counts.values()) == {0}


@virtual
async def test_any_byte_is_life() -> None:
    """W2: a client that talks but never answers a ping lives; what it says is no measurement."""
    async with beating() as (heart, group):
        client = Client(group, heart, delay=None)
        for _ in range(100):
            await sleep(1.5)
            client.pulse.heard()
        assert client.goodbye is None
        assert client.gaps == [25.0] * (len(client.pings) - 1)
        assert client.pulse.rtt.srtt is None


@virtual
async def test_a_byte_ends_suspicion_at_once() -> None:
    """W2: who was suspected is alive with the first byte, not with the next turn of the wheel; misses start anew."""
    async with beating() as (heart, group):
        client = Client(group, heart, delay=None)
        while client.pulse.life is Life.ALIVE:
            await sleep(0.5)
        assert heart.counts[Life.SUSPECTED] == 1
        client.pulse.heard()
        assert client.pulse.life is Life.ALIVE
        assert heart.counts == {Life.ALIVE: 1, Life.SUSPECTED: 0, Life.OFFLINE: 0}
        await sleep(20)
        assert client.goodbye is None
        await sleep(20)
        assert len(client.pings) == 4, "two misses in a row are needed again"


@virtual
async def test_slow_link() -> None:
    """rto adapts: answers after 3 s are late once, then they are waited for."""
    async with beating() as (heart, group):
        client = Client(group, heart, delay=3.0)
        await sleep(25 * 12)
        assert client.goodbye is None
        assert client.pulse.rtt.rto > 3
        assert client.lives.count(Life.SUSPECTED) == 1


@virtual
async def test_jitter_kills_nobody() -> None:
    """200 ms with 150 ms of jitter, for half an hour: nobody is even suspected."""
    jitter = random.Random(7)
    metrics = TextMetrics()
    async with beating(metrics=metrics) as (heart, group):
        clients = [Client(group, heart, f"s{number}") for number in range(20)]
        for _ in range(1800):
            for client in clients:
                client.delay = jitter.uniform(0.05, 0.35)
            await sleep(1)
        assert not [client for client in clients if client.goodbye or Life.SUSPECTED in client.lives]
    assert b"gochat_pings_missed_total 0\n" in metrics.expose().body


@virtual
async def test_late_answer_to_the_first_ping() -> None:
    """Karn (R3): a pong counts for the ping that it names, so a late first answer shows the long way, not a short."""
    metrics = TextMetrics()
    async with beating(metrics=metrics) as (heart, group):
        first, second = Client(group, heart, delay=None), Client(group, heart, delay=None)
        while len(first.pings) < 2:
            await sleep(0.5)
        await sleep(1)
        first.pulse.pong(first.pings[0][1])
        second.pulse.pong(second.pings[1][1])
        assert first.pulse.rtt.srtt == pytest.approx(anyio.current_time() - first.pings[0][0])
        assert second.pulse.rtt.srtt == pytest.approx(anyio.current_time() - second.pings[1][0])
        first.pulse.pong(first.pings[0][1])
        first.pulse.pong(second.pings[0][1])
        first.pulse.pong(10**9)
        # Answers that come twice, or are for another client's ping, or for none, measure nothing.
        assert b"gochat_rtt_seconds_count 2\n" in metrics.expose().body


@virtual
async def test_spread() -> None:
    """Clients that came at the same moment are pinged in all slots, none of which has to do with the order."""
    async with beating() as (heart, group):
        clients = [Client(group, heart, f"session {number}") for number in range(1000)]
        await sleep(25.5)
        seconds = [round(client.pings[0][0]) for client in clients]
        sizes = [seconds.count(second) for second in set(seconds)]
        assert len(sizes) == SLOTS
        assert max(sizes) < 3 * 1000 / SLOTS
        assert heart.counts[Life.ALIVE] == 1000


@virtual
async def test_short_interval() -> None:
    """With an interval below rto a client is pinged again as soon as it has answered and its turn comes, not before."""
    async with beating(interval=1.0) as (heart, group):
        quick, silent = Client(group, heart, "quick"), Client(group, heart, "silent", delay=None)
        await sleep(10)
        assert quick.gaps == [1.0] * (len(quick.pings) - 1)
        assert silent.goodbye is not None
        assert silent.ended <= 7.05, "interval + 3 * rto"


@virtual
async def test_a_pause_of_the_process_is_nobodys_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """W4: after the wheel stood still for an hour, clients have as long to answer as before."""
    heart = Heartbeat()
    real = heart._visit
    async with Group() as group:
        pause: list[float] = []
        client = Client(group, heart, delay=None)

        def visit(pulse: Pulse) -> None:
            real(pulse)
            pause.append(anyio.current_time())

        monkeypatch.setattr(heart, "_visit", visit)
        first = group.go(heart.run)
        while not client.pings:
            await sleep(0.5)
        first.cancel()  # the goroutine does not run
        await sleep(3600)
        assert client.goodbye is None
        group.go(heart.run)
        await wait_idle()
        assert client.goodbye is None
        client.delay = 0.02
        await sleep(100)
        assert client.goodbye is None
        assert len(client.pings) >= 4
        group.cancel()


@virtual
async def test_a_failing_peer_is_its_own_end() -> None:
    """W6: what a session raises ends it, with 4014, and the others are pinged as ever."""
    async with beating() as (heart, group):
        broken, good = Client(group, heart, "x"), Client(group, heart, "x")

        def fail(nonce: int) -> None:
            raise RuntimeError("outbox")

        broken.ping = fail  # type: ignore[method-assign]
        await sleep(60)
        assert broken.goodbye is not None
        assert broken.goodbye.code == 4014
        assert len(good.pings) == 2


@virtual
async def test_stop() -> None:
    """A session that ended is not pinged, wherever it stood, and what comes late changes nothing."""
    async with beating() as (heart, group):
        clients = [Client(group, heart, f"s{number}", delay=None) for number in range(50)]
        await sleep(26)
        for client in clients:
            client.pulse.stop()
            client.pulse.heard()
            client.pulse.pong(client.pings[-1][1])
        counts = [len(client.pings) for client in clients]
        await sleep(60)
        assert counts == [len(client.pings) for client in clients]
        assert set(heart.counts.values()) == {0}
        assert not any(heart._slots)


def test_bounds() -> None:
    """Numbers that make no sense are refused at once."""
    for options in ({"interval": 0}, {"interval": float("inf")}, {"floor": 3, "ceiling": 2}):
        with pytest.raises(ValueError):
            Heartbeat(**options)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_any_schedule(backend: Any) -> None:
    """In every order of answers, ends and ticks the wheel stays whole, and only the silent are dropped."""

    async def program() -> None:
        async with beating(interval=2.5) as (heart, group):
            answering = Client(group, heart, "one", delay=2.0)
            silent = Client(group, heart, "two", delay=None)
            leaving = Client(group, heart, "three", delay=0.1)

            async def chatter() -> None:
                for _ in range(8):
                    await sleep(1.0)
                    leaving.pulse.heard()
                    heart._check()
                leaving.pulse.stop()

            async with Group() as others:
                others.go(chatter)
                others.go(sleep, 20.0)
            assert silent.goodbye is not None
            assert answering.goodbye is None
            assert leaving.goodbye is None

    explore(program, backend=backend, runs=25)
