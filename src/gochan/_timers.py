"""Timers: one value, at a time.

Invariant R1: ``when`` is the time of the value that nobody has yet; infinity when it was taken or the timer stopped.
"""

from __future__ import annotations

from math import inf

from ._alarm_state import AlarmCase, AlarmState
from ._case import Case
from ._core.driver import uninterruptible
from ._no_copies import no_copies
from ._seconds import duration


class _TimerState(AlarmState):
    __slots__ = ("when",)

    def __init__(self, seconds: float) -> None:
        super().__init__("a Timer")
        self.when = self.now() + max(seconds, 0.0)

    def due(self) -> float:
        return self.when

    def take(self) -> float:
        when, self.when = self.when, inf
        return when

    @uninterruptible
    def set(self, when: float) -> bool:
        """Give it another time; whether it had a value to come."""
        was_active = self.when < inf
        self.when = when
        self.adjust()
        return was_active

    def __repr__(self) -> str:
        return f"<Timer {f'at {self.when}' if self.when < inf else 'not set'} waiters={len(self.waiters)}>"


class Timer:
    """One value after so many seconds: the loop's time at which it was due. One waiter gets it.

    Args:
        seconds: from now on; none or fewer is at once, ``math.inf`` never.

    Raises:
        RuntimeError: no event loop runs here, so there is no clock.
        TypeError, ValueError: no number of seconds.

    Go: ``time.NewTimer``, by the rules since 1.23: after ``stop`` and ``reset`` no value from before can be received.
    It is in the loop only while somebody waits for it, so there is no need to stop it.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     timer = gochan.Timer(0.01)
        ...     await timer.wait()
        ...     print("stopped in time:", timer.stop())
        >>> gochan.run(main)
        stopped in time: False
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(self, seconds: float) -> None:
        self._state = _TimerState(duration(seconds, "the time of a Timer"))

    def stop(self) -> bool:
        """Take the value back, if nobody has it yet; those who wait go on waiting.

        Returns:
            Whether there was one to come, or one that had come and was not received.

        Go: ``t.Stop()``.
        """
        self._state.check()
        return self._state.set(inf)

    def reset(self, seconds: float) -> bool:
        """Let the value come so many seconds from now, instead of when it was due.

        Returns:
            Whether there was one to come, or one that had come and was not received.

        Go: ``t.Reset(d)``.
        """
        seconds = duration(seconds, "the time of a Timer")
        self._state.check()
        return self._state.set(self._state.now() + max(seconds, 0.0))

    async def wait(self) -> float:
        """Wait for the value: the loop's time at which it was due.

        Cancellation: leaves the value to others.
        Fairness: the one who has waited longest gets it; the others wait on, for a ``reset``.
        Go: ``<-t.C``.

        Example:
            >>> import anyio, gochan
            >>> async def main() -> bool:
            ...     due = await gochan.Timer(0.01).wait()
            ...     return due <= anyio.current_time()
            >>> gochan.run(main)
            True
        """
        state = self._state
        due: float = await state.next(await state.begin())
        return due

    def __case__(self) -> Case[float]:
        return AlarmCase(self._state)

    __reduce__ = no_copies

    def __repr__(self) -> str:
        return repr(self._state)


def after(seconds: float) -> Timer:
    """A timer for one case of a select: its value comes so many seconds from now.

    Args:
        seconds: from this call on; none or fewer is at once, ``math.inf`` never.

    Go: ``time.After``.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     answers = gochan.Channel[str]()
        ...     match await gochan.select(answers, gochan.after(0.01)):
        ...         case (0, answer):
        ...             print(answer)
        ...         case (1, _):
        ...             print("no answer")
        >>> gochan.run(main)
        no answer
    """
    return Timer(seconds)
