"""The condition variable: goroutines that have seen that they must wait, and want to look again under the lock.

Shape
    Who waits stands in the queue of the Cond. ``signal`` does not wake anybody: it moves the one who has waited
    longest to the queue of the mutex, as a ``Claim``, and that one is woken when it has the mutex. So the order of the
    signals is the order in which they go on, whatever order the loop resumes tasks in, and a broadcast to a thousand
    wakes one after the other instead of all to queue up again.

Cancellation (promise 1)
    Before the signal a cancelled wait leaves the queue at once, so that no signal goes to it; then it claims the mutex
    and raises when it has it. After the signal the wait has happened: it returns normally, and the cancellation comes
    at the task's next suspension. In both cases nothing but the mutex ends the wait for the mutex: the claim
    keeps its place in the queue whatever happens to the task, which sleeps on beside it, shielded.

Invariants (``_check`` asserts them)
    K1  A wait stands in one of three places: parked in the Cond's queue, with its claim nowhere; in the mutex's queue,
        as its claim; in none, with the mutex held for it.
    K2  A claim that is granted is never given back by the wait: whatever comes, the mutex is held when it ends.

Why not
    To wake all who are signalled and have them acquire the mutex: a switch more each, in an order that trio shuffles;
    and a cancelled acquire loses its place in line.

Prior art
    Wait morphing of pthreads (requeue of futexes); Go's ``notifyList``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TypeVar, cast, final

import anyio

from gochan._core.asyncio_driver import AsyncioDriver
from gochan._core.driver import Driver, LoopBound, uninterruptible
from gochan._core.scopes import native
from gochan._core.waiter import Waiter
from gochan._core.waitqueue import EMPTY, Entry, WaitQueue

from .mutex import Mutex, MutexState
from .primitive import Primitive

T = TypeVar("T")


class Claim(Entry):
    """The place in the mutex's queue of a goroutine that was signalled or cancelled."""

    __slots__ = ("driver", "granted", "signalled", "waiter")

    waiter: Waiter

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.queue = None
        self.item = None
        self.granted = False
        self.signalled = False

    @uninterruptible
    def commit(self, value: object) -> None:
        self.granted = True
        self.waiter.expire()


class CondState(LoopBound):
    """Everything a Cond knows."""

    __slots__ = ("mutex", "waiters")

    def __init__(self, mutex: MutexState) -> None:
        super().__init__()
        self.mutex = mutex
        self.waiters: WaitQueue = EMPTY

    @uninterruptible
    def signal(self) -> None:
        """Have the one that has waited longest go on, if anybody waits."""
        if self.waiters.head is not None:
            claim: Claim = self.waiters.pop().item
            claim.signalled = True
            self.mutex.take_for(claim, claim.driver)

    @uninterruptible
    def broadcast(self) -> None:
        while self.waiters.head is not None:
            self.signal()

    @uninterruptible
    def waiting(self, driver: Driver) -> WaitQueue:
        """Where those wait who want a signal; they will want the mutex, too."""
        self.owner = driver
        self.mutex.own(driver)
        if self.waiters is EMPTY:
            self.waiters = WaitQueue()
        return self.waiters

    def must_be_locked(self) -> None:
        if not self.mutex.held:
            raise RuntimeError(f"wait on a Cond whose mutex is unlocked: acquire the mutex first: {self!r}")

    def forget_waiters(self) -> None:
        self.waiters = EMPTY

    def __repr__(self) -> str:
        return f"<Cond waiters={len(self.waiters)} of {self.mutex!r}>"

    def _check(self) -> None:
        self.waiters._check()
        self.mutex._check()
        entry = self.waiters.head
        while entry is not None:
            claim: Claim = entry.item
            assert claim.queue is None, "K1: waits for a signal and for the mutex"
            assert not claim.granted, "K1: waits for a signal and has the mutex"
            assert not claim.signalled, "K1: waits for a signal that has come"
            assert claim.waiter is entry, "K1: another's claim"
            entry = entry.next
        entry = self.mutex.waiters.head
        while entry is not None:
            assert not isinstance(entry, Claim) or not entry.granted, "K2: waits for the mutex and has it"
            entry = entry.next


@final
class Cond(Primitive):
    """A place to wait, with a mutex held, for something to change.

    Args:
        mutex: what guards that which changes. It is released while a goroutine waits, and held again afterwards.

    Raises:
        TypeError: this is not a ``gochan.Mutex``.

    Go: ``sync.NewCond(&mu)``. Waiting can be cancelled; a channel or an ``Event`` is often simpler.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     mutex, stock = gochan.Mutex(), list[str]()
        ...     changed = gochan.Cond(mutex)
        ...     async def customer() -> None:
        ...         async with mutex:
        ...             await changed.wait_for(lambda: stock)
        ...             print("got", stock.pop())
        ...     async with gochan.Group() as group:
        ...         group.go(customer)
        ...         async with mutex:
        ...             stock.append("tea")
        ...             changed.signal()
        >>> gochan.run(main)
        got tea
    """

    __slots__ = ("_mutex",)

    _state: CondState

    def __init__(self, mutex: Mutex) -> None:
        if not isinstance(cast("object", mutex), Mutex):
            raise TypeError(f"a Cond takes the gochan.Mutex that guards what it waits for, not {mutex!r}")
        self._mutex = mutex
        self._state = CondState(mutex._state)

    @property
    def mutex(self) -> Mutex:
        """The mutex it was made with."""
        return self._mutex

    @uninterruptible
    async def wait(self) -> None:
        """Release the mutex, wait for a signal or broadcast, and hold the mutex again.

        Others may have held the mutex in between, so look again at what you wait for, or use ``wait_for``.

        Raises:
            RuntimeError: the mutex is unlocked.

        Cancellation: the mutex is held again when a cancelled wait raises. No signal is lost: one that comes after the
            cancellation goes to the next, one that came before it makes the wait return normally.
        Fairness: signals go to those who wait in the order in which they came, and in that order they get the mutex.
        Go: ``c.Wait()``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     mutex = gochan.Mutex()
            ...     changed = gochan.Cond(mutex)
            ...     async def signal() -> None:
            ...         changed.signal()
            ...     gochan.go(signal)
            ...     async with mutex:
            ...         await changed.wait()
            ...         print(mutex.locked())
            >>> gochan.run(main)
            True
        """
        state = self._state
        driver = state.enter()
        state.mutex.enter()
        state.must_be_locked()
        cancels = _cancels(driver)
        claim = Claim(driver)
        waiter = claim.waiter = driver.park(state.waiting(driver), claim)
        state.mutex.hand_over()
        try:
            await waiter
        except GeneratorExit:
            _abandon(claim, state)
            raise
        except BaseException as error:
            cancelled: BaseException = error
        else:
            return
        try:
            if not claim.signalled:
                state.mutex.take_for(claim, driver)
            cancelled = await _until_granted(claim, state, cancelled)
            if not claim.signalled:
                raise cancelled
            _put_off(driver, cancelled, cancels)
        finally:
            del cancelled

    async def wait_for(self, predicate: Callable[[], T]) -> T:
        """Wait until ``predicate()`` is true; it is looked at with the mutex held, first of all without waiting.

        Args:
            predicate: a plain function.

        Returns:
            What the predicate gave.

        Raises:
            RuntimeError: the mutex is unlocked.
            TypeError: the predicate cannot be called, or is an async function.

        What the predicate raises comes out, with the mutex held.

        Cancellation: as ``wait``.
        Fairness: as ``wait``.
        Go: ``for !condition() { c.Wait() }``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     mutex, seen = gochan.Mutex(), list[int]()
            ...     changed = gochan.Cond(mutex)
            ...     async def count() -> None:
            ...         for n in range(3):
            ...             async with mutex:
            ...                 seen.append(n)
            ...                 changed.broadcast()
            ...     gochan.go(count)
            ...     async with mutex:
            ...         print(await changed.wait_for(lambda: len(seen) == 3 and seen))
            >>> gochan.run(main)
            [0, 1, 2]
        """
        if not callable(cast("object", predicate)) or iscoroutinefunction(predicate):
            raise TypeError(f"Cond.wait_for() takes a plain function, not {predicate!r}")
        state = self._state
        driver = state.enter()
        state.mutex.enter()
        state.must_be_locked()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        while not (found := predicate()):
            await self.wait()
        return found

    def signal(self) -> None:
        """Have the goroutine that has waited longest go on; nothing happens when nobody waits.

        The mutex need not be held.

        Go: ``c.Signal()``.
        """
        state = self._state
        state.check()
        state.mutex.check()
        state.signal()

    def broadcast(self) -> None:
        """Have every goroutine go on that waits now, first come, first served.

        The mutex need not be held.

        Go: ``c.Broadcast()``.
        """
        state = self._state
        state.check()
        state.mutex.check()
        state.broadcast()


async def _until_granted(claim: Claim, state: CondState, cancelled: BaseException) -> BaseException:
    """Hold the mutex, whatever comes; gives the cancellation that counts."""
    while not claim.granted:
        with anyio.CancelScope(shield=True):
            try:
                claim.waiter = claim.driver.park(None)
                await claim.waiter
            except GeneratorExit:
                _abandon(claim, state)
                raise
            except BaseException as error:
                if claim.driver.giving_up:  # the mutex will never be free
                    _abandon(claim, state)
                    raise
                # A native cancellation is asked for once; a scope asks again.
                if native(error):
                    cancelled = error
    try:
        return cancelled
    finally:
        del cancelled


def _abandon(claim: Claim, state: CondState) -> None:
    """The coroutine is closed and cannot wait; what follows is its ``finally``, which releases the mutex (K2)."""
    mutex = state.mutex
    if claim.queue is not None:
        claim.queue.remove(claim)
    elif not claim.granted and not mutex.held and mutex.owner is claim.driver:
        mutex.held = True


def _cancels(driver: Driver) -> int:
    """How many cancellations of the running task have been asked for and not taken back, on asyncio."""
    return cast("asyncio.Task[object]", driver.task()).cancelling() if isinstance(driver, AsyncioDriver) else 0


def _put_off(driver: Driver, cancelled: BaseException, cancels: int) -> None:
    """Have it come at the task's next suspension, if it is wanted then (A1 of the asyncio driver)."""
    if not isinstance(cancelled, anyio.get_cancelled_exc_class()):
        raise cancelled  # KeyboardInterrupt, from trio
    if isinstance(driver, AsyncioDriver):  # trio delivers it again by itself
        message = cancelled.args[0] if cancelled.args else None
        driver.defer(cast("asyncio.Task[object]", driver.task()), [(message, cancels + 1)])
