"""The state machine of a circuit breaker.

Shape
    ``closed`` lets every call through and counts; when ``ready_to_trip`` says so after a failure it becomes ``open``,
    which lets none through. When its time-out has passed it is ``half-open``: a few calls are let through, and decide.
    Nothing happens by itself: that a time has passed is noticed by whoever comes next.
    Each change of state, and each new interval, begins a generation with empty counts.

Invariants
    BR1  A result counts only in the generation in which its call was let through.
    BR2  No more than ``max_requests`` calls are under way or counted while half-open; excluded ones do not count.
    BR3  A change of state is complete before anybody hears of it; a hook that raises leaves everything as if it had
        not been asked (``on_state_change``: as if it had been told).
    BR4  A time has passed strictly after it.

Why not
    A timer that half-opens the breaker: a timer in the loop for every broken service, for nobody.

Prior art
    sony/gobreaker v2, whose numbers these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from ._clocked import Clocked
from ._core.driver import uninterruptible
from ._rolling_counts import Counts, RollingCounts

State = Literal["closed", "half-open", "open"]

MOST_BUCKETS: Final = 100_000


class Settings:
    """What the user chose, with Go's defaults; times in nanoseconds."""

    __slots__ = (
        "bucket_period",
        "buckets",
        "interval",
        "is_excluded",
        "is_successful",
        "max_requests",
        "name",
        "on_state_change",
        "ready_to_trip",
        "timeout",
    )

    def __init__(
        self,
        name: str,
        max_requests: int,
        interval: int,
        bucket_period: int,
        timeout: int,
        ready_to_trip: Callable[[Counts], bool],
        on_state_change: Callable[[str, State, State], object] | None,
        is_successful: Callable[[BaseException | None], bool],
        is_excluded: Callable[[BaseException | None], bool],
    ) -> None:
        self.name = name
        self.max_requests = max_requests or 1
        if interval and bucket_period:
            self.buckets = -(-interval // bucket_period)
            if self.buckets > MOST_BUCKETS:
                raise ValueError(
                    f"the interval of a CircuitBreaker has {self.buckets} bucket periods: at most {MOST_BUCKETS}"
                )
            self.bucket_period = bucket_period
            self.interval = self.buckets * bucket_period
        else:
            self.buckets = 1
            self.bucket_period = self.interval = interval
        self.timeout = timeout or 60_000_000_000
        self.ready_to_trip = ready_to_trip
        self.on_state_change = on_state_change
        self.is_successful = is_successful
        self.is_excluded = is_excluded


class Ticket:
    """A call that was let through, and has not ended."""

    __slots__ = ("age", "generation")

    def __init__(self, generation: int, age: int) -> None:
        self.generation = generation
        self.age = age


class BreakerState(Clocked):
    """The state of one breaker."""

    __slots__ = ("counts", "expiry", "generation", "settings", "start", "state")

    def __init__(self, settings: Settings, clock: Callable[[], float] | None) -> None:
        super().__init__(clock)
        self.settings = settings
        self.state: State = "closed"
        self.generation = 0  # none before the first use
        self.counts = RollingCounts(settings.buckets)
        self.start = 0
        self.expiry: int | None = None

    # What callers do.

    def notice(self, now: int) -> State:
        """The state now."""
        if self.generation == 0:
            self._begin(now)
        elif self.state == "closed":
            if self.expiry is not None and self.expiry < now:  # BR4
                self._begin(now)
            elif len(self.counts.buckets) > 1:
                self.counts.grow((now - self.start) // self.settings.bucket_period)
        elif self.state == "open":
            assert self.expiry is not None
            if self.expiry < now:  # BR4
                self._become("half-open", now)
        return self.state

    def full(self) -> bool:
        """BR2, while half-open."""
        return self.counts.valid_requests() >= self.settings.max_requests

    @uninterruptible
    def let_through(self) -> Ticket:
        self.counts.request()
        return Ticket(self.generation, self.counts.age)

    def settle(self, ticket: Ticket, error: BaseException | None, now: int) -> None:
        """The call has ended."""
        state = self.notice(now)
        if self.generation != ticket.generation:  # BR1
            return
        settings = self.settings
        try:
            excluded = settings.is_excluded(error)
            successful = not excluded and settings.is_successful(error)
        except BaseException:
            self.exclude(ticket)  # BR3: nobody can say how it ended
            raise
        if self.generation != ticket.generation:  # the hooks have used the breaker
            return
        if excluded:
            self.counts.exclusion(ticket.age)
        elif successful:
            self.counts.success(ticket.age)
            if state == "half-open" and self.counts.total.successes_in_a_row >= settings.max_requests:
                self._become("closed", now)
        elif state == "half-open":
            self._become("open", now)
        else:
            self.counts.failure(ticket.age)
            if settings.ready_to_trip(self.counts.counts()) and self.generation == ticket.generation:
                self._become("open", now)

    def exclude(self, ticket: Ticket) -> None:
        """The call has ended, and says nothing of what it called. Needs no clock, and works anywhere."""
        if self.generation == ticket.generation:  # BR1
            self.counts.exclusion(ticket.age)

    def left(self, now: int) -> float:
        """The seconds after which an open breaker lets somebody through."""
        assert self.expiry is not None
        return (self.expiry - now) / 1e9

    # What happens.

    def _become(self, state: State, now: int) -> None:
        before, self.state = self.state, state
        self._begin(now)
        if self.settings.on_state_change is not None:
            self.settings.on_state_change(self.settings.name, before, state)  # BR3: last of all

    @uninterruptible
    def _begin(self, now: int) -> None:
        """A new generation."""
        self.generation += 1
        self.start = now
        self.counts.clear()
        length: int | None = None
        if self.state == "closed":
            if len(self.counts.buckets) == 1:
                length = self.settings.interval or None
        elif self.state == "open":
            length = self.settings.timeout
        self.expiry = None if length is None else now + length

    def forget_waiters(self) -> None:
        if self.state == "half-open":
            # The calls that were under way in the loop that is closed must not keep their places for ever.
            self._begin(self.latest)

    def __repr__(self) -> str:
        return f"<CircuitBreaker{f' {self.settings.name!r}' if self.settings.name else ''} {self.state}>"

    def _check(self) -> None:
        self.counts._check()
        assert (self.expiry is None) == (
            self.generation == 0
            or self.state == "half-open"
            or (self.state == "closed" and (self.settings.interval == 0 or self.settings.buckets > 1))
        ), "a state that ends at no time, or one that should not end"
        if self.state == "half-open":
            assert self.counts.valid_requests() <= self.settings.max_requests, "BR2: too many were let through"
