"""Circuit breakers: calls to a service that fails are refused for a while. ``_breaker_state.py`` says when."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, TypeVar, cast, final, overload

from typing_extensions import TypeVarTuple, Unpack

from ._breaker_state import BreakerState, Settings, State, Ticket
from ._callables import _is_async, is_coroutine, refuse_uncallable
from ._clocked import checked_clock, in_nanoseconds
from ._core.driver import uninterruptible
from ._rolling_counts import Counts
from ._seconds import duration
from ._sync.primitive import Primitive

T = TypeVar("T")
Args = TypeVarTuple("Args")


class CircuitBreakerError(Exception):
    """A circuit breaker has not let a call through; what was to be called has not been."""

    name: str
    """The breaker's name."""

    def __init__(self, message: str = "the circuit breaker lets nothing through", name: str = "") -> None:
        super().__init__(message)
        self.name = name


class CircuitOpen(CircuitBreakerError):
    """The circuit breaker is open: too many calls have failed, and none is made for a while.

    Go: ``gobreaker.ErrOpenState``.
    """

    retry_after: float
    """Seconds, after which the breaker lets calls through again; more than so many."""

    def __init__(self, message: str = "the circuit breaker is open", name: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, name)
        self.retry_after = retry_after


class TooManyRequests(CircuitBreakerError):
    """The circuit breaker is half-open, and as many calls as may try are under way.

    Go: ``gobreaker.ErrTooManyRequests``.
    """

    def __init__(self, message: str = "the circuit breaker has enough calls that try", name: str = "") -> None:
        super().__init__(message, name)


def _six_in_a_row(counts: Counts) -> bool:
    return counts.consecutive_failures > 5


def _without_error(error: BaseException | None) -> bool:
    return error is None


def _never(_error: BaseException | None) -> bool:
    return False


def _hook(fn: Any, what: str) -> Any:
    if fn is not None and (not callable(fn) or _is_async(fn)):
        raise TypeError(f"{what} of a CircuitBreaker is a plain function, not {fn!r}: it is asked, and not waited for")
    return fn


def _span(seconds: Any, what: str) -> int:
    seconds = duration(seconds, f"the {what} of a CircuitBreaker")
    if seconds < 0:
        raise ValueError(f"the {what} of a CircuitBreaker cannot be {seconds!r}: 0 or more seconds")
    return in_nanoseconds(seconds)


def _says_nothing(error: BaseException) -> bool:
    """Whether the call was given up, by whoever made it or with the loop: that is no answer."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(map(_says_nothing, group.exceptions))
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return True
    trio = sys.modules.get("trio")  # who has not imported it cannot be cancelled by it
    return trio is not None and isinstance(error, trio.Cancelled)


@final
class CircuitBreaker(Primitive):
    """Keeps calls from a service that fails: they are refused at once, until a few that try have succeeded.

    Closed, it lets every call through. When ``ready_to_trip`` says so after a failure it opens, and refuses all calls
    for ``timeout`` seconds. Then it is half-open: ``max_requests`` calls may try; if all succeed it closes, and the
    first that fails opens it again.

    Args:
        name: shown in errors, and given to ``on_state_change``.
        max_requests: how many calls are let through while half-open, and must succeed; 0 is 1.
        interval: seconds after which a closed breaker counts from zero; 0 for never.
        bucket_period: seconds; if given, what is older than ``interval`` (rounded up to whole periods) is forgotten
            period by period, instead of all at once.
        timeout: seconds for which it stays open; 0 is 60.
        ready_to_trip: whether to open, given the ``Counts`` after a failure; at the sixth failure in a row if not
            given.
        on_state_change: called with the name, the old and the new state, after each change.
        is_successful: whether a call that ended with this error, or with ``None``, was a success; those without an
            error if not given.
        is_excluded: whether it counts neither way; asked first, with ``None`` too. No call if not given.
        clock: gives the time in seconds. If not given it is the loop's, or ``time.monotonic`` where no loop runs.

    Raises:
        ValueError: a number is negative or NaN, or the interval has more than 100 000 bucket periods.

    The hooks are plain functions; what they raise comes out of the operation that asked them, and leaves the breaker in
    order: the call counts neither way then, and a failure without a decision to open leaves it closed. A call that is
    cancelled counts neither way, and the hooks are not asked.

    That a time has passed is noticed by whoever uses the breaker next, as in Go. The clock starts at the first use.
    When another loop takes the breaker over, state and counts stay, and its time goes on by the clock of that loop.

    Go: sony/gobreaker v2, to the nanosecond, with ``CircuitBreaker`` and ``TwoStepCircuitBreaker`` in one. Negative
    times, its defaults, are an error here.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     breaker = gochan.CircuitBreaker("db", ready_to_trip=lambda counts: counts.total_failures >= 2)
        ...     async def query() -> None:
        ...         raise OSError("connection refused")
        ...     for _ in range(3):
        ...         try:
        ...             await breaker.call(query)
        ...         except OSError as error:
        ...             print(error)
        ...         except gochan.CircuitOpen:
        ...             print(breaker.state)
        >>> gochan.run(main)
        connection refused
        connection refused
        open
    """

    __slots__ = ()

    _state: BreakerState

    def __init__(
        self,
        name: str = "",
        *,
        max_requests: int = 1,
        interval: float = 0,
        bucket_period: float = 0,
        timeout: float = 60,
        ready_to_trip: Callable[[Counts], bool] | None = None,
        on_state_change: Callable[[str, State, State], object] | None = None,
        is_successful: Callable[[BaseException | None], bool] | None = None,
        is_excluded: Callable[[BaseException | None], bool] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if not isinstance(cast("object", name), str):
            raise TypeError(f"the name of a CircuitBreaker is a str, not {name!r}")
        if not isinstance(cast("object", max_requests), int) or isinstance(max_requests, bool):
            raise TypeError(f"max_requests of a CircuitBreaker is an int, not {max_requests!r}")
        if max_requests < 0:
            raise ValueError(f"max_requests of a CircuitBreaker cannot be {max_requests!r}: 0 or more calls")
        span = _span(interval, "interval")
        settings = Settings(
            name,
            max_requests,
            span if interval != inf else 0,
            _span(bucket_period, "bucket_period"),
            _span(timeout, "timeout"),
            _hook(ready_to_trip, "ready_to_trip") or _six_in_a_row,
            _hook(on_state_change, "on_state_change"),
            _hook(is_successful, "is_successful") or _without_error,
            _hook(is_excluded, "is_excluded") or _never,
        )
        self._state = BreakerState(settings, checked_clock(clock, "a CircuitBreaker"))

    @property
    def name(self) -> str:
        """As it was given."""
        return self._state.settings.name

    @property
    def state(self) -> State:
        """``"closed"``, ``"half-open"`` or ``"open"``, now: a time that has passed is noticed.

        Go: ``cb.State()``.
        """
        state = self._state
        return state.notice(state.now())

    @property
    def counts(self) -> Counts:
        """What has been counted; what is to be forgotten meanwhile is so with the next call.

        Go: ``cb.Counts()``.
        """
        return self._state.counts.counts()

    @overload
    async def call(self, fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]], *args: *Args) -> T: ...

    @overload
    async def call(self, fn: Callable[[Unpack[Args]], T], *args: *Args) -> T: ...

    async def call(self, fn: Callable[[Unpack[Args]], Any], *args: *Args) -> Any:
        """Call ``fn(*args)``, unless the breaker is open.

        Args:
            fn: a plain function or an async one; a coroutine that a plain one returns is awaited, too.
            *args: for it.

        Returns:
            What it returned.

        Raises:
            CircuitOpen: the breaker is open; ``fn`` is not called.
            TooManyRequests: it is half-open, and enough calls are under way; ``fn`` is not called.
            Exception: what ``fn`` raised.

        Cancellation: reaches ``fn``; the call then counts neither as a success nor as a failure, and leaves its place
        among those that try while the breaker is half-open. So a time-out that is to count as a failure belongs inside
        ``fn``.
        Fairness: nobody waits; while the breaker is half-open, those who come first try.
        Go: ``cb.Execute``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     breaker = gochan.CircuitBreaker()
            ...     async def fetch(page: int) -> str:
            ...         return f"page {page}"
            ...     print(await breaker.call(fetch, 3))
            ...     print(breaker.counts.total_successes)
            >>> gochan.run(main)
            page 3
            1
        """
        refuse_uncallable(fn, "CircuitBreaker.call()")
        state = self._state
        driver = await state.begin()
        ticket = self._enter()
        try:
            result = fn(*args)
            if is_coroutine(result):
                state.owner = driver  # somebody waits in it: from now on it belongs to this loop
                result = await result
        except BaseException as error:
            self._leave(ticket, error)
            raise
        self._leave(ticket, None)
        return result

    def allow(self) -> Callable[[BaseException | None], None]:
        """Ask for one call that you make yourself.

        Returns:
            ``done``, to be called once, with the error of the call or ``None``.

        Raises:
            CircuitOpen: the breaker is open.
            TooManyRequests: it is half-open, and enough calls are under way.
            RuntimeError: from ``done``, when it is called again.

        Go: ``TwoStepCircuitBreaker.Allow``.

        Example:
            >>> import gochan
            >>> breaker = gochan.CircuitBreaker()
            >>> done = breaker.allow()
            >>> done(OSError("no route to host"))
            >>> breaker.counts.total_failures
            1
        """
        ticket: Ticket | None = self._enter()

        def done(error: BaseException | None) -> None:
            nonlocal ticket
            if error is not None and not isinstance(cast("object", error), BaseException):
                raise TypeError(f"done() of {self!r} takes the error of the call, or None, not {error!r}")
            if ticket is None:
                raise RuntimeError(f"done() of {self!r} was called twice for one call: each allow() gives a new one")
            self._state.check()
            mine, ticket = ticket, None
            self._leave(mine, error)

        return done

    @uninterruptible
    def _enter(self) -> Ticket:
        state = self._state
        now = state.now()
        match state.notice(now):
            case "open":
                seconds = state.left(now)
                raise CircuitOpen(f"{self!r} refuses calls: try again in more than {seconds:.3g} s", self.name, seconds)
            case "half-open" if state.full():
                raise TooManyRequests(
                    f"{self!r} lets {state.settings.max_requests} at a time try: wait until they have ended", self.name
                )
            case _:
                return state.let_through()

    @uninterruptible
    def _leave(self, ticket: Ticket, error: BaseException | None) -> None:
        state = self._state
        if error is not None and _says_nothing(error):
            state.exclude(ticket)
            return
        try:
            now = state.now()
        except BaseException:
            state.exclude(ticket)
            raise
        state.settle(ticket, error, now)
