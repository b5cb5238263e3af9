"""Signals: things that happen once, and wake everybody who waits for them.

Invariant E1: a signal that is set has no waiters.
"""

from __future__ import annotations

from threading import get_ident
from typing import Any

from ._case import Case
from ._core.driver import Driver, LoopBound, here, threads, uninterruptible
from ._core.waiter import SelectEntry
from ._core.waitqueue import EMPTY, WaitQueue
from ._no_copies import no_copies


class _SignalState(LoopBound):
    __slots__ = ("fired", "kind", "waiters")

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.fired = False
        self.waiters: WaitQueue = EMPTY

    @uninterruptible
    def set(self) -> None:
        if not self.fired:
            self.fired = True
            self.waiters.drain(None)

    @uninterruptible
    def waiting(self, driver: Driver) -> WaitQueue:
        """Where those wait who want to know."""
        self.owner = driver
        if self.waiters is EMPTY:
            self.waiters = WaitQueue()
        return self.waiters

    def forget_waiters(self) -> None:
        self.waiters = EMPTY

    def __repr__(self) -> str:
        return f"<{self.kind} {'set' if self.fired else 'not set'} waiters={len(self.waiters)}>"

    def _check(self) -> None:
        self.waiters._check()
        assert not (self.fired and self.waiters), "E1: somebody waits for a signal that is set"


class Signal:
    """Something that happens once, seen from the outside: wait for it, ask for it, select over it.

    Go: a channel that is only ever closed, as ``ctx.Done()`` is.
    """

    __slots__ = ("__weakref__", "_state")

    def __init__(self) -> None:
        self._state = _SignalState(type(self).__name__)

    def is_set(self) -> bool:
        """Whether it has happened; works anywhere."""
        return self._state.fired

    @uninterruptible
    async def wait(self) -> None:
        """Wait until it happens; returns at once when it has.

        Cancellation: nothing is consumed; a wait that was reached by the signal returns normally.
        Fairness: everybody is woken, first come, first served.
        Go: ``<-done``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     started = gochan.Event()
            ...     async def server() -> None:
            ...         started.set()
            ...     gochan.go(server)
            ...     await started.wait()
            ...     print("started")
            >>> gochan.run(main)
            started
        """
        state = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        if not state.fired:
            await driver.park(state.waiting(driver))

    def __case__(self) -> Case[None]:
        return _SignalCase(self._state)

    __reduce__ = no_copies

    def __repr__(self) -> str:
        return repr(self._state)


class Event(Signal):
    """Something that happens once: ``set()`` it, and everybody who waits or will wait goes on.

    Go: a done channel, and closing it.
    """

    __slots__ = ()

    def set(self) -> None:
        """Let it happen; idempotent."""
        self._state.check()
        self._state.set()


class _SignalCase(Case[None]):
    __slots__ = ()

    def __init__(self, state: _SignalState) -> None:
        self._state = state

    def _ready(self) -> bool:
        fired: bool = self._state.fired
        return fired

    def _take(self) -> Any:
        return None

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._state.waiting(driver).append(entry)
