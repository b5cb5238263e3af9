"""Heartbeat: who is still there. One goroutine and one timer for all sessions of a node.

    heart = Heartbeat(interval=25.0, floor=2.0, ceiling=20.0, metrics=...);  group.go(heart.run)
    pulse = heart.watch(session)      session: .sid, .ping(nonce) and .drop(goodbye), neither of which waits
    pulse.heard()  whenever bytes come      pulse.pong(nonce)  at every pong      pulse.stop()  at the end

Shape
    A wheel of 25 slots; every second it turns by one and visits the sessions in that slot. A session has one place on
    the wheel: its home, where it is pinged once a turn, or, after a ping, the slot in which its answer is overdue.

        ALIVE  --no answer within rto-->  SUSPECTED  --none to a second ping within twice rto-->  OFFLINE
          ^---------- any byte ---------------'                                  (drop, 4012)

Invariants
    W1  A pulse is in exactly one slot until it is stopped, then in none.
    W2  Any byte is life: it ends a suspicion at once. Only a pong that names an open ping is a measurement (Karn, R3).
    W3  A client is dropped only after two pings in a row were followed by silence, the second for twice as long.
    W4  Who is not listened to is not silent. The wheel moves by one slot a tick and never makes up for ticks that it
        missed, while this process did not run (a stopped container, a laptop asleep); and a session that is busy with
        a command of its client, and does not read meanwhile, is not due until it listens again.
    W5  ``counts`` is how many pulses are in each state.
    W6  What one peer raises is its own end, not the wheel's.

Why
    A wheel, not a timer a connection: idle connections cost little else. The slots are drawn from a hash of the sid,
    so that clients which came together (after a restart) are not pinged together.
    Pings are messages of the chat, not of WebSocket: browsers show those to nobody, and raw TCP has none. 25 seconds,
    since proxies cut connections that are idle for 30.
    Worst case on a good link: 25 s until the ping, 2 s until the second, 4 s until the end.

Prior art: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987 (scheme 6); centrifuge's ping and pong.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Mapping
from enum import Enum
from itertools import count
from typing import Final, Protocol

import anyio

from gochan import Ticker

from .rtt import RttEstimator
from .telemetry import Metrics, NullMetrics
from .wire import Close, Goodbye

log = logging.getLogger(__name__)

SLOTS: Final = 25
_AT_ONCE: Final = 256  # visits after which others get a turn


class Life(Enum):
    """What is known of a client."""

    ALIVE = "alive"
    SUSPECTED = "suspected"
    OFFLINE = "offline"


class Peer(Protocol):
    """What the heartbeat asks of a session; neither method waits."""

    @property
    def sid(self) -> str:
        """Its number on this node; decides about its slot."""
        ...

    def ping(self, nonce: int) -> None:
        """Have a ping sent, ahead of what waits in the outbox."""
        ...

    def drop(self, goodbye: Goodbye) -> None:
        """End the session."""
        ...


class Pulse:
    """One session on the wheel; made by ``Heartbeat.watch``."""

    __slots__ = (
        "_due",
        "_heart",
        "_misses",
        "_nonces",
        "_peer",
        "_silent",
        "_slot",
        "home",
        "life",
        "listening",
        "rtt",
    )

    def __init__(self, heart: Heartbeat, peer: Peer, rtt: RttEstimator) -> None:
        self._heart = heart
        self._peer = peer
        self.home = zlib.crc32(peer.sid.encode()) % SLOTS
        """The slot in which it is pinged."""
        self.life = Life.ALIVE
        """What is known of the client now."""
        self.rtt = rtt
        """Its round trips."""
        self.listening = True
        """Whether the session reads what its client sends (W4); the session says so."""
        self._slot: dict[Pulse, None] | None = None
        self._due = 0  # the tick at which it is visited
        self._nonces: dict[int, float] = {}  # open pings, by when they were sent; at most two
        self._silent = False  # no byte since the last ping
        self._misses = 0

    def heard(self) -> None:
        """A byte came in."""
        if self._silent:
            self._silent = False
            self._heart._alive(self)

    def pong(self, nonce: int) -> None:
        """The answer to a ping came in; one to no open ping is a sign of life like any other byte."""
        self.heard()
        sent = self._nonces.pop(nonce, None)
        if sent is not None:
            self._heart._answered(self, anyio.current_time() - sent)

    def stop(self) -> None:
        """The session ends; idempotent."""
        self._heart._forget(self)

    def __repr__(self) -> str:
        return f"<Pulse of {self._peer.sid}: {self.life.value}, {self.rtt!r}>"


class Heartbeat:
    """The heartbeat of one node.

    Args:
        interval: seconds between two pings to a client.
        floor: seconds, the least that is waited for an answer.
        ceiling: seconds, the most.
        metrics: where sessions by state, round trips and misses are counted.

    Raises:
        ValueError: the interval is not positive, or not 0 < floor <= ceiling.
    """

    def __init__(
        self, *, interval: float = 25.0, floor: float = 2.0, ceiling: float = 20.0, metrics: Metrics | None = None
    ) -> None:
        if not 0 < interval < math.inf:
            raise ValueError(f"an interval of {interval!r}: a number of seconds above 0 is needed")
        RttEstimator(floor=floor, ceiling=ceiling)
        self._period = interval / SLOTS
        self._floor, self._ceiling = floor, ceiling
        self._slots: tuple[dict[Pulse, None], ...] = tuple({} for _ in range(SLOTS))
        self._tick = 0
        self._counts = dict.fromkeys(Life, 0)
        # Of the node, not of the session: a nonce that one client was sent is no answer from another.
        self._next = count(1)
        metrics = metrics or NullMetrics()
        self._sessions = metrics.gauge("gochat_sessions", "Sessions after hello, by what is known of them", ("state",))
        self._rtts = metrics.histogram("gochat_rtt_seconds", "From a ping to its pong")
        self._missed = metrics.counter("gochat_pings_missed_total", "Pings that were followed by silence")
        self._dead = metrics.counter("gochat_no_pong_total", "Sessions ended for silence")

    @property
    def counts(self) -> Mapping[Life, int]:
        """How many sessions are in each state; those that are offline leave when their session ends."""
        return self._counts

    def watch(self, peer: Peer) -> Pulse:
        """Ping this session from now on: when the wheel comes to its slot, so within one interval."""
        pulse = Pulse(self, peer, RttEstimator(floor=self._floor, ceiling=self._ceiling))
        self._count(Life.ALIVE, 1)
        self._go_home(pulse)
        return pulse

    async def run(self) -> None:
        """Turn the wheel, until cancelled."""
        ticker = Ticker(self._period)
        async for _ in ticker:  # of the ticks that it missed a ticker gives one (W4)
            self._tick += 1
            slot = self._slots[self._tick % SLOTS]
            for number, pulse in enumerate(tuple(slot), 1):
                if pulse in slot and pulse._due <= self._tick:  # it may have moved while others had their turn
                    self._visit(pulse)
                if number % _AT_ONCE == 0:
                    await anyio.lowlevel.checkpoint()

    # ---- one session ----

    def _visit(self, pulse: Pulse) -> None:
        try:
            if pulse._silent and not pulse.listening:
                pulse._nonces.clear()  # how long the answer lay unread is no measurement
                self._move(pulse, self._tick + 1)
                return
            if not pulse._silent:
                if pulse._nonces and self._tick % SLOTS != pulse.home:
                    self._go_home(pulse)  # it spoke, though it did not answer: no miss
                else:
                    self._ping(pulse)
                return
            pulse._misses += 1
            pulse.rtt.missed()
            self._missed.inc()
            if pulse._misses < 2:
                self._become(pulse, Life.SUSPECTED)
                self._ping(pulse)
            else:
                self._dead.inc()
                self._lose(pulse, Goodbye(Close.NO_PONG, "no pong"))
        except Exception:
            log.exception("the heartbeat of session %s failed", pulse._peer.sid)
            self._lose(pulse, Goodbye(Close.INTERNAL, "internal error"))  # W6

    def _ping(self, pulse: Pulse) -> None:
        if not pulse._silent:
            pulse._nonces.clear()
            pulse._misses = 0
        nonce = next(self._next)
        pulse._nonces[nonce] = anyio.current_time()
        pulse._silent = True
        self._move(pulse, self._tick + max(1, math.ceil(pulse.rtt.rto / self._period - 1e-9)))
        pulse._peer.ping(nonce)

    def _answered(self, pulse: Pulse, rtt: float) -> None:
        pulse.rtt.sample(rtt)
        self._rtts.observe(rtt)
        if pulse._slot is not None:
            self._go_home(pulse)

    def _alive(self, pulse: Pulse) -> None:
        if pulse.life is Life.SUSPECTED:
            self._become(pulse, Life.ALIVE)

    def _lose(self, pulse: Pulse, goodbye: Goodbye) -> None:
        self._become(pulse, Life.OFFLINE)
        self._take_off(pulse)
        try:
            pulse._peer.drop(goodbye)
        except Exception:
            log.exception("session %s could not be dropped", pulse._peer.sid)

    def _forget(self, pulse: Pulse) -> None:
        if pulse._due >= 0:
            pulse._due = -1
            self._take_off(pulse)
            self._count(pulse.life, -1)
            pulse.life = Life.OFFLINE

    # ---- the wheel ----

    def _go_home(self, pulse: Pulse) -> None:
        self._move(pulse, self._tick + 1 + (pulse.home - self._tick - 1) % SLOTS)

    def _move(self, pulse: Pulse, due: int) -> None:
        self._take_off(pulse)
        pulse._due = due
        pulse._slot = self._slots[due % SLOTS]
        pulse._slot[pulse] = None

    def _take_off(self, pulse: Pulse) -> None:
        if pulse._slot is not None:
            del pulse._slot[pulse]
            pulse._slot = None

    def _become(self, pulse: Pulse, life: Life) -> None:
        self._count(pulse.life, -1)
        pulse.life = life
        self._count(life, 1)

    def _count(self, life: Life, n: int) -> None:
        self._counts[life] += n
        self._sessions.set(self._counts[life], life.value)

    def _check(self) -> None:
        on_wheel = [pulse for slot in self._slots for pulse in slot]
        assert len(on_wheel) == len(set(on_wheel)), "W1: in two slots"
        for number, slot in enumerate(self._slots):
            for pulse in slot:
                assert pulse._slot is slot, "W1: it does not know where it is"
                assert pulse._due % SLOTS == number, "W1: in a slot that is not its own"
                assert pulse._due >= self._tick, "W1: it was passed over"
                assert len(pulse._nonces) <= 2
                assert pulse._misses < 2, "W3"
                pulse.rtt._check()
        for life in (Life.ALIVE, Life.SUSPECTED):
            assert self._counts[life] == sum(pulse.life is life for pulse in on_wheel), "W5"
