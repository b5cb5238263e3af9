"""Downstream: somebody else's service is told of every message, and may be as slow or as dead as it likes.

    downstream = Downstream(send, capacity=256, workers=2, deadline=2.0, breaker=None, telemetry=NULL)
    group.go(downstream.run);  downstream.offer(Notice(...)) -> bool;  downstream.close()   send: async (Notice) -> None

Shape
    offer --> queue (256) --> workers --> breaker --> deadline --> send
    Three fences, each for one way of being sick: the deadline for a service that hangs, the breaker for one that fails
    (nobody waits for what will fail, and it is left in peace to recover), the queue for one that is slow.

Invariants
    D1  ``offer`` neither waits nor raises, whatever the service does.
    D2  At most ``capacity`` notices wait and ``workers`` are on their way.
    D3  Every notice that was offered is counted once, by what became of it.
    D4  A call ends within ``deadline``, and one that does not end by itself counts as a failure.
    D5  After ``close``, ``run`` returns once what waits has been tried; so a drain ends within (capacity / workers + 1)
        deadlines at worst, and far earlier with a breaker. Who has less time cancels ``run``: what is left is counted.

At most once: a notice that failed is not tried again. Whoever needs every message reads the history, which has them
all, in order; a second try here would only stand in the way of the next notice.

Why the deadline is inside the breaker: to the breaker a cancelled call says nothing, one that raised says that it
failed. Why workers and not a goroutine a notice: those would be the queue, without a bound.

Prior art: Nygard, "Release It!" (bulkhead, circuit breaker, timeout); sony/gobreaker.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import anyio

from gochan import (
    Channel,
    ChannelClosed,
    CircuitBreaker,
    CircuitBreakerError,
    Counts,
    background,
    worker_pool,
)

from .telemetry import BREAKER_MEANING, BREAKER_STATES, NULL, Telemetry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that was said, as the service is told of it."""

    room: str
    sender: str
    body: str
    id: str | int | None
    ts: int
    """Milliseconds since 1970."""
    traceparent: str | None = None
    """The span in which it was said."""


class Outcome(Enum):
    """What became of a notice."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """The service raised an error."""
    LATE = "late"
    """It did not answer within the deadline."""
    REFUSED = "refused"
    """The breaker was open."""
    FULL = "full"
    """The queue was full."""
    LEFT = "left"
    """The server stopped first, or had stopped already."""


class Downstream:
    """What stands between the chat and a service that is told of its messages.

    Args:
        send: tells the service; None if there is none, then everything offered is forgotten.
        capacity: notices that may wait.
        workers: calls that may be under way.
        deadline: seconds for one call.
        breaker: opens after 5 failures in a row, for 10 seconds, if not given. It is this object's alone.
        telemetry: where notices are counted, the calls traced, and unexpected errors told.
    """

    def __init__(
        self,
        send: Callable[[Notice], Awaitable[None]] | None,
        *,
        capacity: int = 256,
        workers: int = 2,
        deadline: float = 2.0,
        breaker: CircuitBreaker | None = None,
        telemetry: Telemetry = NULL,
    ) -> None:
        if not (capacity >= 1 and workers >= 1 and deadline > 0):
            raise ValueError(f"capacity={capacity!r}, workers={workers!r}, deadline={deadline!r}: all must be above 0")
        self._send = send
        self._queue = Channel[Notice](capacity, name="downstream")
        self._workers = workers
        self._deadline = deadline
        self._telemetry = telemetry
        self._counts = dict.fromkeys(Outcome, 0)
        metrics = telemetry.metrics
        self._counter = metrics.counter("gochat_notices_total", "Notices to the downstream service", ("outcome",))
        self._gauge = metrics.gauge("gochat_breaker_state", BREAKER_MEANING, ("name",))
        self._breaker = breaker or CircuitBreaker(
            "downstream", timeout=10, ready_to_trip=_five_in_a_row, on_state_change=self._changed
        )
        self._gauge.set(BREAKER_STATES[self._breaker.state], self._breaker.name)

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """How many notices ended how."""
        return self._counts

    @property
    def waiting(self) -> int:
        """How many notices wait."""
        return len(self._queue)

    @property
    def state(self) -> Literal["closed", "half-open", "open"]:
        """That of the breaker."""
        return self._breaker.state

    def offer(self, notice: Notice) -> bool:
        """Have the service told, if there is room; never waits.

        Returns:
            False if the notice is dropped, which is counted.
        """
        if self._send is None:
            return False
        try:
            self._queue.send_nowait(notice)
        except anyio.WouldBlock:
            self._count(Outcome.FULL)
        except ChannelClosed:
            self._count(Outcome.LEFT)
        else:
            return True
        return False

    def close(self) -> None:
        """Take no more notices; ``run`` returns when those that wait have been tried."""
        self._queue.close()

    async def run(self) -> None:
        """Tell the service, until closed and through.

        Cancellation: calls that are under way are cancelled; they and what still waits count as left.
        """
        try:
            await worker_pool(self._one, self._queue, workers=self._workers)
        finally:
            self.close()
            try:
                while True:
                    self._queue.receive_nowait()
                    self._count(Outcome.LEFT)
            except ChannelClosed:
                pass

    async def _one(self, notice: Notice) -> None:
        outcome = Outcome.LEFT
        try:
            with self._telemetry.tracer.span("notify", parent=notice.traceparent, room=notice.room) as span:
                await self._breaker.call(self._tell, notice)
                span.set("delivered", True)
            outcome = Outcome.DELIVERED
        except CircuitBreakerError:
            outcome = Outcome.REFUSED
        except TimeoutError:
            outcome = Outcome.LATE
        except OSError as error:
            outcome = Outcome.FAILED
            log.debug("the downstream service failed: %s", error)
        except Exception as error:  # a bug in ``send`` must not end a worker; the breaker has counted it
            outcome = Outcome.FAILED
            self._telemetry.errors.report(error, where="downstream")
        finally:
            self._count(outcome)  # D3, on a cancellation too

    async def _tell(self, notice: Notice) -> None:
        assert self._send is not None
        with background().with_timeout(self._deadline) as ctx:
            async with ctx.scope():
                await self._send(notice)

    def _count(self, outcome: Outcome) -> None:
        self._counts[outcome] += 1
        self._counter.inc(1, outcome.value)

    def _changed(self, name: str, old: str, new: str) -> None:
        self._gauge.set(BREAKER_STATES[new], name)
        log.warning("the breaker %s is %s, it was %s", name, new, old)


def _five_in_a_row(counts: Counts) -> bool:
    return counts.consecutive_failures >= 5
