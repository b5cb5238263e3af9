"""Tickers: a value in every period.

Shape
    The ticks lie on a grid, ``start`` plus whole periods; ``place`` is that of the tick that nobody has yet. Whoever
    takes it moves ``place`` to the first one that lies ahead of the clock: of the ticks that nobody wanted the oldest
    is kept, and the others never were.

Invariants
    K1  A tick is a place on the grid, however late it is taken, so a slow receiver does not shift those that follow.
    K2  After ``stop`` no iteration waits.

Prior art
    Go's tickers since 1.23.
"""

from __future__ import annotations

from math import floor, inf
from typing import Any, Final

from ._alarm_state import AlarmCase, AlarmState
from ._case import Case
from ._core.driver import uninterruptible
from ._no_copies import no_copies
from ._seconds import period as positive

SHORTEST: Final = 1e-9  # seconds; finer than the clock of any loop, and as fine as Go's durations
_ITERATION: Final = object()  # waits for the next tick or the end, not for a ticker that goes on some day
_STOPPED: Final = object()


class _TickerState(AlarmState):
    __slots__ = ("period", "place", "start", "stopped")

    def __init__(self, period: float) -> None:
        super().__init__("a Ticker")
        self.restart(period)

    @uninterruptible
    def restart(self, period: float) -> None:
        self.stopped = False
        self.period = max(period, SHORTEST)
        self.start = self.now()
        self.place = 1
        self.adjust()

    def at(self, place: int) -> float:
        return self.start + place * self.period

    def due(self) -> float:
        return inf if self.stopped else self.at(self.place)

    def take(self) -> float:
        tick, now = self.due(), self.now()
        last = floor((now - self.start) / self.period)
        # As floats the quotient and the place on the grid may disagree by one.
        if self.at(last) > now:
            last -= 1
        elif self.at(last + 1) <= now:
            last += 1
        self.place = max(self.place, last) + 1  # K1
        return tick

    @uninterruptible
    def stop(self) -> None:
        self.stopped = True
        entry = self.waiters.head
        while entry is not None:
            following = entry.next
            if entry.item is _ITERATION:
                self.waiters.remove(entry)
                entry.commit(_STOPPED)
            entry = following
        self.adjust()

    def __repr__(self) -> str:
        state = "stopped" if self.stopped else f"next at {self.due()}"
        return f"<Ticker every {self.period} s, {state}, waiters={len(self.waiters)}>"

    def _check(self) -> None:
        super()._check()
        entry = self.waiters.head
        while entry is not None:
            assert not (self.stopped and entry.item is _ITERATION), "K2: an iteration waits for a stopped ticker"
            entry = entry.next


class Ticker:
    """A value in every period: the loop's time at which the tick was due. One waiter gets each tick.

    Of the ticks that nobody has received the oldest is kept. The ticks stay on their grid, however late they are
    received.

    Args:
        period: seconds between two ticks, more than 0; the first comes one period from now.

    Raises:
        RuntimeError: no event loop runs here, so there is no clock.
        TypeError, ValueError: no positive number of seconds.

    Go: ``time.NewTicker``. It is in the loop only while somebody waits for it, so there is no need to stop it.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     ticker = gochan.Ticker(0.01)
        ...     ticks = 0
        ...     async for _ in ticker:
        ...         ticks += 1
        ...         if ticks == 3:
        ...             ticker.stop()
        ...     print(ticks, "ticks")
        >>> gochan.run(main)
        3 ticks
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(self, period: float) -> None:
        self._state = _TickerState(positive(period, "the period of a Ticker"))

    def stop(self) -> None:
        """No more ticks, and none that is still there; iterations end, other waiters wait for a ``reset``.

        Go: ``t.Stop()``, which ends no loop over ``t.C``.
        """
        self._state.check()
        self._state.stop()

    def reset(self, period: float) -> None:
        """Start anew: the next tick comes one period from now, and one that was still there is gone.

        Args:
            period: seconds between two ticks, more than 0.

        Go: ``t.Reset(d)``.
        """
        period = positive(period, "the period of a Ticker")
        self._state.check()
        self._state.restart(period)

    async def wait(self) -> float:
        """Wait for the next tick: the loop's time at which it was due.

        Cancellation: leaves the tick to others.
        Fairness: the one who has waited longest gets it.
        Go: ``<-t.C``.

        Example:
            >>> import gochan
            >>> async def main() -> bool:
            ...     ticker = gochan.Ticker(0.01)
            ...     return await ticker.wait() < await ticker.wait()
            >>> gochan.run(main)
            True
        """
        state = self._state
        tick: float = await state.next(await state.begin())
        return tick

    def __aiter__(self) -> Ticker:
        return self

    async def __anext__(self) -> float:
        state = self._state
        driver = await state.begin()
        tick: Any = _STOPPED if state.stopped else await state.next(driver, _ITERATION)
        if tick is _STOPPED:
            raise StopAsyncIteration
        value: float = tick
        return value

    def __case__(self) -> Case[float]:
        return AlarmCase(self._state)

    __reduce__ = no_copies

    def __repr__(self) -> str:
        return repr(self._state)
