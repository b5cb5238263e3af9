"""Limiters: so many events a second, with bursts. The arithmetic is in ``_token_bucket.py``."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from numbers import Real
from typing import Any, final

from ._clocked import FOREVER, checked_clock, in_nanoseconds
from ._context import Context, check_context
from ._context_node import Node, fresh_err
from ._core.driver import Driver, uninterruptible
from ._errors import DeadlineExceeded
from ._limiter_state import LimiterState, SleepCase
from ._seconds import period
from ._select import select
from ._sync.primitive import Primitive
from ._token_bucket import Grant, TokenBucket, rate_of


def every(seconds: float) -> float:
    """The rate of one event in so many seconds.

    Args:
        seconds: between two events, more than 0.

    Returns:
        Events a second, for a ``Limiter``.

    Raises:
        ValueError: the period is zero, negative or NaN. For no limit at all the rate is ``math.inf``.

    Go: ``rate.Every``, which takes a period of 0 or less as infinitely often.

    Example:
        >>> import gochan
        >>> gochan.every(0.1)
        10.0
    """
    seconds = period(seconds, "the period of every()")
    nanoseconds = in_nanoseconds(seconds)
    # A period that is so many nanoseconds is divided as Go divides it; others are not rounded.
    return rate_of(nanoseconds) if nanoseconds / 1e9 == seconds else 1 / seconds


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


def _checked_rate(rate: Any) -> float:
    if not _is_number(rate):
        raise TypeError(f"the rate of a Limiter is a number of events a second, or math.inf, not {rate!r}")
    if not rate >= 0:
        raise ValueError(f"the rate of a Limiter cannot be {rate!r}: 0 or more events a second, or math.inf")
    return math.inf if rate >= sys.float_info.max else float(rate)  # the largest float is Go's infinite rate


def _checked_burst(burst: Any) -> int:
    if not isinstance(burst, int) or isinstance(burst, bool):
        raise TypeError(f"the burst of a Limiter is an int, not {burst!r}; for no limit the rate is math.inf")
    if not 0 <= burst <= FOREVER:
        raise ValueError(f"the burst of a Limiter cannot be {burst!r}: 0 or more events")
    return burst


def _checked_tokens(tokens: Any, burst: int) -> float:
    if tokens is None:
        return float(burst)
    if not _is_number(tokens):
        raise TypeError(f"the tokens that a Limiter starts with are a number or None, not {tokens!r}")
    if not 0 <= tokens <= burst:
        raise ValueError(f"a Limiter with a burst of {burst} cannot start with {tokens!r} tokens: 0 to {burst}")
    return float(tokens)


def _check_count(n: Any, operation: str) -> None:
    if type(n) is int and n >= 0:
        return
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"Limiter.{operation}() takes a number of events, not {n!r}")
    if n < 0:
        raise ValueError(f"Limiter.{operation}() takes 0 or more events, not {n!r}")


def _end_of(ctx: Context) -> BaseException:
    assert isinstance(ctx._node, Node)  # others never end
    return fresh_err(ctx._node)


@final
class Reservation:
    """Events that a limiter has granted, now or for later; what ``Limiter.reserve`` gives.

    Go: ``rate.Reservation``.
    """

    __slots__ = ("_grant", "_state")

    def __init__(self, state: LimiterState, grant: Grant | None) -> None:
        self._state = state
        self._grant = grant

    @property
    def ok(self) -> bool:
        """Whether the events were granted; if not, nothing was taken, and there is nothing to wait for."""
        return self._grant is not None

    @property
    def delay(self) -> float:
        """Seconds from now until the events may happen; 0 when they may happen now, ``math.inf`` if refused.

        Go: ``r.Delay()``.
        """
        if self._grant is None:
            return math.inf
        return max(self._grant.at - self._state.now(), 0) / 1e9

    def cancel(self) -> None:
        """Give the events back, as far as nothing that was reserved later counts on them.

        Idempotent, and without effect when the reservation was refused or its time has passed.

        Go: ``r.Cancel()``, which gives back again when it is called again.
        """
        if self._grant is not None:
            state = self._state
            state.bucket.give_back(self._grant, state.now())

    def __repr__(self) -> str:
        if self._grant is None:
            return "<Reservation refused>"
        events = "1 event" if self._grant.n == 1 else f"{self._grant.n} events"
        if self._grant.returned:
            return f"<Reservation of {events}, cancelled>"
        delay = max(self._grant.at - self._state.glance(), 0) / 1e9
        return f"<Reservation of {events}, {f'in {delay:g} s' if delay else 'due'}>"


@final
class Limiter(Primitive):
    """At most so many events a second on average, and a burst of them at once: a token bucket.

    The bucket holds up to ``burst`` tokens and gets ``rate`` new ones a second; an event takes one. ``allow`` asks
    whether events may happen now, ``wait`` waits until they may, and ``reserve`` says how long that takes.

    Args:
        rate: events a second; ``math.inf`` for no limit (the burst does not count then), 0 for no new tokens. Of a
            period: ``every(seconds)``.
        burst: how many events may happen at once; no single call can ask for more.
        tokens: how many there are at the start; all of ``burst`` if not given.
        clock: gives the time in seconds. If not given it is the loop's, or ``time.monotonic`` where no loop runs.

    Raises:
        ValueError: the rate or the burst is negative or NaN, or there is no room for so many tokens.

    The clock starts at the first use. When another loop takes the limiter over, its tokens and reservations stay, and
    its time goes on by the clock of that loop.

    Go: ``rate.NewLimiter``, to the nanosecond; ``tokens`` is new. Also Go's is that a rate of 0 grants what is within
    the burst, for a time that never comes: ``reserve`` is then ``ok`` with a delay of 292 years.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     limiter = gochan.Limiter(rate=100, burst=2)
        ...     print([limiter.allow() for _ in range(3)])
        ...     await limiter.wait()
        ...     print("10 ms later")
        >>> gochan.run(main)
        [True, True, False]
        10 ms later
    """

    __slots__ = ()

    _state: LimiterState

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        tokens: float | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        burst = _checked_burst(burst)
        bucket = TokenBucket(_checked_rate(rate), burst, _checked_tokens(tokens, burst))
        self._state = LimiterState(bucket, checked_clock(clock, "a Limiter"))

    @property
    def rate(self) -> float:
        """Events a second; ``math.inf`` if there is no limit."""
        return self._state.bucket.rate

    @property
    def burst(self) -> int:
        """How many events may happen at once."""
        return self._state.bucket.burst

    @property
    def tokens(self) -> float:
        """How many tokens there are now; below 0 when events are reserved for later.

        Go: ``lim.Tokens()``.
        """
        state = self._state
        return state.bucket.filled(state.now())

    def allow(self, n: int = 1) -> bool:
        """Whether ``n`` events may happen now; if so, they count as happened.

        Args:
            n: how many; more than the burst never may.

        Returns:
            False if there are too few tokens; none is taken then.

        Raises:
            ValueError: ``n`` is negative.

        Go: ``lim.AllowN``.
        """
        _check_count(n, "allow")
        state = self._state
        return state.bucket.take(state.now(), n, 0) is not None

    def reserve(self, n: int = 1) -> Reservation:
        """Take ``n`` events for as soon as they may happen; whoever reserves later comes after them.

        Args:
            n: how many; more than the burst is refused.

        Returns:
            What was granted: sleep for its ``delay`` before the events, or ``cancel`` it.

        Raises:
            ValueError: ``n`` is negative.

        Go: ``lim.ReserveN``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     limiter = gochan.Limiter(rate=100, burst=1)
            ...     limiter.allow()
            ...     reservation = limiter.reserve()
            ...     print(reservation.ok, 0 < reservation.delay <= 0.01)
            ...     reservation.cancel()
            >>> gochan.run(main)
            True True
        """
        _check_count(n, "reserve")
        state = self._state
        return Reservation(state, state.bucket.grant(state.now(), n, FOREVER))

    @uninterruptible
    async def wait(self, n: int = 1, *, ctx: Context | None = None) -> None:
        """Wait until ``n`` events may happen; they count as happened then.

        Args:
            n: how many, at most the burst.
            ctx: ends the wait when it is done.

        Raises:
            ValueError: ``n`` is negative or more than the burst.
            DeadlineExceeded: the deadline of ``ctx`` passes before the events may happen; said at once, with nothing
                taken.
            ContextError: ``ctx`` is done, or was before they happened.

        Cancellation: what was reserved is given back, as by ``Reservation.cancel``; a wait whose time has come returns
        normally.
        Fairness: first come, first served. When the rate was raised meanwhile, those who come later may go before
        those who came at the old rate.
        Go: ``lim.WaitN(ctx, n)``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     limiter = gochan.Limiter(rate=1000, burst=1)
            ...     for number in range(3):
            ...         await limiter.wait()
            ...         print("request", number)
            >>> gochan.run(main)
            request 0
            request 1
            request 2
        """
        _check_count(n, "wait")
        if ctx is not None:
            check_context(ctx, "Limiter.wait()")
        state = self._state
        driver = await state.begin()
        bucket = state.bucket
        if n > bucket.burst and bucket.rate != math.inf:
            raise ValueError(f"wait(n={n}) on {self!r} would wait for ever: ask for at most the burst, {bucket.burst}")
        if ctx is not None and ctx.err is not None:
            raise _end_of(ctx)
        now = state.now()
        grant = bucket.grant(now, n, FOREVER if ctx is None else self._patience(ctx, driver, now))
        if grant is None:
            raise DeadlineExceeded(
                f"wait(n={n}) on {self!r}: the deadline of the context would pass before; nothing was taken"
            )
        if grant.at <= now:
            return
        when = state.on_loop(grant.at, driver)
        try:
            if ctx is None:
                waiter = driver.park(state.waiting(driver), when)
                alarm = state.alarm_for(waiter, driver)
                try:
                    await waiter
                finally:
                    alarm.cancel()
            else:
                sleep = SleepCase(state, when)
                try:
                    chosen, _ = await select(ctx.done, sleep)
                finally:
                    sleep.disarm()
                # A deadline at this very moment is in time: the grant was given because it is.
                if chosen == 0 and state.glance() < grant.at:
                    raise _end_of(ctx)
        except BaseException:
            state.give_back(grant)
            raise

    def _patience(self, ctx: Context, driver: Driver, now: int) -> int:
        """How many nanoseconds are left before the deadline."""
        deadline = ctx.deadline
        if deadline is None or deadline == math.inf:
            return FOREVER
        state = self._state
        elsewhere = state.given is not None
        return round(deadline * 1e9) - (round(driver.clock() * 1e9) if elsewhere else now - state.shift)

    def set_rate(self, rate: float) -> None:
        """Another rate from now on; what is reserved or waited for keeps its time.

        Args:
            rate: events a second; ``math.inf`` for no limit.

        Raises:
            ValueError: it is negative or NaN.

        Go: ``lim.SetLimit``.
        """
        rate = _checked_rate(rate)
        state = self._state
        state.bucket.set_rate(state.now(), rate)

    def set_burst(self, burst: int) -> None:
        """Another size of the bucket from now on; what is reserved or waited for keeps its time.

        Args:
            burst: how many events may happen at once.

        Raises:
            ValueError: it is negative.

        Go: ``lim.SetBurst``.
        """
        burst = _checked_burst(burst)
        state = self._state
        state.bucket.set_burst(state.now(), burst)
