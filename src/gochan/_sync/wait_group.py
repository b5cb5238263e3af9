"""WaitGroup: wait until a number of things are done.

Shape
    A counter, and the queue of those who wait for zero. ``go`` puts one more entry among those who wait for the end
    of the goroutine that it starts; committed, that entry counts down.

Invariants
    WG1  At zero nobody waits.
    WG2  The count is never negative: what would make it so raises and changes nothing.
    WG3  Whoever waits when the count reaches zero goes on, whatever is counted up afterwards: all are committed in
         that moment. So Go's panic on reuse before an earlier Wait has returned has no counterpart.
    WG4  When ``go`` counts down, the group of the goroutine knows of its failure, and those who wait for its result
         have it.

Why not
    A wrapper around the function that counts down in ``finally``: its failure is the group's only when the task has
    ended, one turn of the loop later, and a waiter would go on meanwhile as if all were well (go#76126). One that
    is cancelled before it starts would not count down at all.

Prior art
    Go's ``sync.WaitGroup``, with ``Go`` of 1.25.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from sys import _getframe
from typing import Any, TypeVar, cast, final

from typing_extensions import TypeVarTuple, Unpack

from gochan._callables import refuse_plain
from gochan._case import Case
from gochan._core.driver import Driver, LoopBound, uninterruptible
from gochan._core.waiter import SelectEntry
from gochan._core.waitqueue import EMPTY, Entry, WaitQueue
from gochan._goroutine import Goroutine
from gochan._nearest import Nearest, current_group

from .primitive import Primitive

T = TypeVar("T")
Args = TypeVarTuple("Args")


class _WaitGroupState(LoopBound):
    __slots__ = ("count", "waiters")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.waiters: WaitQueue = EMPTY

    @uninterruptible
    def add(self, number: int) -> None:
        count = self.count + number
        if count < 0:
            raise ValueError(
                f"{self!r} cannot count down by {-number}: done() was called more often than add() and go() counted up"
            )
        self.count = count
        if not count:
            self.waiters.drain(None)

    @uninterruptible
    def count_until_end(self, goroutine: Goroutine[Any], group: Nearest, driver: Driver) -> None:
        """Count a goroutine that has just been made, until it has ended."""
        if goroutine._group is None:  # a group that has been stopped refused it
            return
        self.count += 1
        self.owner = driver  # its end will commit waiters: nobody may wait in another loop meanwhile
        end = goroutine.done._state
        end.waiting(driver).append(_Counted(self, goroutine, group, end.waiters))

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
        return f"<WaitGroup count={self.count} waiters={len(self.waiters)}>"

    def _check(self) -> None:
        self.waiters._check()
        assert self.count >= 0, "WG2: the count is negative"
        assert self.count or not self.waiters, "WG1: somebody waits for zero at zero"


class _Counted(Entry):
    """Among those who wait for a goroutine's end: one that counts down."""

    __slots__ = ("ends", "goroutine", "group", "state")

    def __init__(self, state: _WaitGroupState, goroutine: Goroutine[Any], group: Nearest, ends: WaitQueue) -> None:
        self.state = state
        self.goroutine = goroutine
        self.group = group
        self.ends = ends
        self.queue = None

    def commit(self, value: Any) -> None:
        if self.ends.head is not None:
            # A failure cancels those who wait in the group, so whoever waits for this result goes first (WG4).
            self.ends.append(self)
            return
        failed = self.goroutine._state == "failed"
        if failed:
            self.group._fail(self.goroutine._outcome[0])
        try:
            self.state.add(-1)
        except ValueError as error:
            # The function has called done() itself. This runs in no task of the user's: the group hears of it.
            if not failed:
                self.group._fail(error)


@final
class WaitGroup(Primitive):
    """Waits for a number of things to be done: count them up, count each down when it is, wait for zero.

    It may be used again as soon as the count is zero. In most programs a ``Group`` is what is wanted; this is for
    waiting for a part of what runs in one, or for things that are not goroutines.

    Go: ``sync.WaitGroup``. To count up again while an earlier ``wait`` has not returned is no error.

    Example:
        >>> import gochan
        >>> async def main() -> list[int]:
        ...     squares: list[int] = []
        ...     async def square(n: int) -> None:
        ...         squares.append(n * n)
        ...     all_done = gochan.WaitGroup()
        ...     for n in range(3):
        ...         all_done.go(square, n)
        ...     await all_done.wait()
        ...     return sorted(squares)
        >>> gochan.run(main)
        [0, 1, 4]
    """

    __slots__ = ()

    _state: _WaitGroupState

    def __init__(self) -> None:
        self._state = _WaitGroupState()

    @property
    def count(self) -> int:
        """How many are not done; can be read anywhere."""
        return self._state.count

    def add(self, n: int = 1) -> None:
        """Count ``n`` more things to wait for; a negative ``n`` counts down.

        Everybody who waits goes on when the count reaches zero.

        Raises:
            TypeError: ``n`` is not an int.
            ValueError: the count would be negative; nothing was changed.

        Go: ``wg.Add(n)``, which panics below zero.
        """
        if not isinstance(cast("object", n), int) or isinstance(n, bool):
            raise TypeError(f"a WaitGroup counts whole numbers, not {n!r}")
        self._state.check()
        self._state.add(n)

    def done(self) -> None:
        """Count one down: ``add(-1)``.

        Raises:
            ValueError: the count is zero; it stays so.

        Go: ``wg.Done()``.
        """
        self._state.check()
        self._state.add(-1)

    @uninterruptible
    async def wait(self) -> None:
        """Wait until the count is zero; returns at once when it is.

        Cancellation: nothing is changed; a wait that was reached by zero returns normally.
        Fairness: everybody is woken, first come, first served.
        Go: ``wg.Wait()``. A time-out is ``with anyio.fail_after(1):`` around it, and it is a case of ``select``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     rockets = gochan.WaitGroup()
            ...     rockets.add(2)
            ...     async def launch(name: str) -> None:
            ...         print(name)
            ...         rockets.done()
            ...     gochan.go(launch, "up")
            ...     gochan.go(launch, "up")
            ...     await rockets.wait()
            ...     print("away")
            >>> gochan.run(main)
            up
            up
            away
        """
        state = self._state
        driver = await state.begin()
        if state.count:
            await driver.park(state.waiting(driver))

    def go(
        self,
        fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]],
        *args: *Args,
        name: str | None = None,
    ) -> Goroutine[T]:
        """Start ``fn(*args)`` as a goroutine of the nearest ``Group`` or ``run``, counted until it has ended.

        However it ends it counts as done: it returned, failed, was cancelled, or never started. A failure is its
        group's as well, and reaches the group first: a ``wait()`` inside the group is cancelled, and does not return
        as if all were well.

        Args:
            name: shown in dumps; the function's own when left out.

        Returns:
            The goroutine's handle.

        Raises:
            RuntimeError: there is no group, or the WaitGroup belongs to another loop.
            TypeError: ``fn`` is not an async function.

        Go: ``wg.Go(f)``. A panic in ``f`` ends the program there; here the error ends the group.
        """
        group = current_group()
        if group is None:
            raise RuntimeError(
                "WaitGroup.go() outside a group: start the program with gochan.run(main), or open 'async with "
                "gochan.Group():' around the code that starts goroutines"
            )
        refuse_plain(fn, "WaitGroup.go()")
        driver = self._state.enter()
        goroutine: Goroutine[T] = group._go(fn, args, name, _getframe(1))
        self._state.count_until_end(goroutine, group, driver)
        return goroutine

    def __case__(self) -> Case[None]:
        return _WaitGroupCase(self._state)


class _WaitGroupCase(Case[None]):
    __slots__ = ()

    def __init__(self, state: _WaitGroupState) -> None:
        self._state = state

    def _ready(self) -> bool:
        zero: bool = not self._state.count
        return zero

    def _take(self) -> Any:
        return None

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._state.waiting(driver).append(entry)
