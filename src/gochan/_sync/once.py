"""Once: run a function one time, however many ask; ``once_value``: and keep what it returned.

Shape
    Three states: new, running, done. The first who asks runs its function in its own task; who comes meanwhile waits
    in one queue. When the function has come to an end, all go on. When it was interrupted, the one that has waited
    longest is handed the turn, and runs what it brought itself.

Invariants
    ON1  Once it is done, nobody waits and nobody runs.
    ON2  At most one task has the turn; it is handed on without being given back, so nobody barges in between. Somebody
         waits only while somebody has it.
    ON3  A function that returned or raised is never followed by another. Interrupted (cancelled, KeyboardInterrupt,
         SystemExit, a coroutine that is closed) it has not come to its end, and does not count.

Why not
    A lock around a flag: it does not tell an end from an interruption. An error for ``do`` inside its own function: in
    another goroutine it could not be told; the deadlock is reported either way, as it is for a mutex. The function as
    a goroutine of its own: it would outlive the cancelled caller, and see another task's scopes and time-outs than
    those around the call.

Prior art
    Go's ``sync.Once`` and ``OnceValue``, which know no cancellation; trio's parking lots for the hand-over.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Final, Literal, TypeVar, cast, final, overload

import anyio
from typing_extensions import TypeVarTuple, Unpack

from gochan._callables import is_coroutine, refuse_uncallable
from gochan._core.driver import Driver, LoopBound, uninterruptible
from gochan._core.waitqueue import EMPTY, WaitQueue

from .primitive import Primitive

T = TypeVar("T")
Args = TypeVarTuple("Args")

TURN: Final = object()


class OnceState(LoopBound):
    """Who has the turn, and who waits."""

    __slots__ = ("phase", "turns", "waiters")

    def __init__(self) -> None:
        super().__init__()
        self.phase: Literal["new", "running", "done"] = "new"
        self.turns = 0  # how many there have been
        self.waiters: WaitQueue = EMPTY

    @uninterruptible
    async def turn(self, driver: Driver) -> int:
        """Wait until it is done (0), or until it is the caller's turn to run its function (the turn's number)."""
        if self.phase == "running":
            self.owner = driver
            if self.waiters is EMPTY:
                self.waiters = WaitQueue()
            if await driver.park(self.waiters) is not TURN:
                return 0
        elif self.phase == "done":
            return 0
        self.phase = "running"
        self.owner = driver  # its end will commit waiters: nobody may wait in another loop meanwhile
        self.turns += 1
        return self.turns

    @uninterruptible
    def finish(self, turn: int, error: BaseException | None) -> None:
        """The function has ended, with this error if it raised one."""
        if turn != self.turns:
            return  # what ran in a loop that is closed is collected now
        if self.owner is not None and not self.owner.alive():
            self.forget_waiters()
            return
        if self.waiters is EMPTY:
            self.owner = None  # nobody has waited yet, so it belongs to no loop
        if error is None or not _interrupted(error):
            self.phase = "done"
            self.waiters.drain(None)
        elif self.waiters.head is not None:
            self.waiters.commit_first(TURN)  # ON2: it stays "running"
        else:
            self.phase = "new"

    def forget_waiters(self) -> None:
        # Whoever ran it did so in a loop that is closed: it will not come to an end any more.
        self.waiters = EMPTY
        if self.phase == "running":
            self.phase = "new"
            self.turns += 1

    def __repr__(self) -> str:
        return f"<Once {self.phase} waiters={len(self.waiters)}>"

    def _check(self) -> None:
        self.waiters._check()
        assert self.phase == "running" or not self.waiters, "ON1, ON2: somebody waits and nobody has the turn"


def _interrupted(error: BaseException) -> bool:
    """Whether a function was kept from coming to its end (ON3)."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    if isinstance(error, BaseExceptionGroup):
        # A nursery inside the function reports the cancellations of its tasks in a group.
        return all(map(_interrupted, cast("Any", error).exceptions))
    return not isinstance(error, Exception) and isinstance(error, anyio.get_cancelled_exc_class())


@final
class Once(Primitive):
    """Runs one function once, however many goroutines ask for it, and lets none of them go on before it has run.

    Go: ``sync.Once``. Cancellation is new: when the caller that runs its function is cancelled, the one that has waited
    longest runs the function it brought.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     once = gochan.Once()
        ...     async def connect() -> None:
        ...         await gochan.sleep(0)
        ...         print("connected")
        ...     async with gochan.Group() as group:
        ...         group.go(once.do, connect)
        ...         group.go(once.do, connect)
        >>> gochan.run(main)
        connected
    """

    __slots__ = ()

    _state: OnceState

    def __init__(self) -> None:
        self._state = OnceState()

    async def do(self, fn: Callable[[Unpack[Args]], object], *args: *Args) -> None:
        """Run ``fn(*args)`` if this is the first call; return when the first one's function has returned.

        Args:
            fn: a plain function or an async one; it runs in this task. What it returns is dropped: see ``once_value``.

        Raises:
            BaseException: what ``fn`` raised, if this call ran it. It counts as run; other and later calls return.
            TypeError: ``fn`` is not a function.

        Cancellation: of a caller that waits, nothing happens. Of the one that runs ``fn``: ``fn`` is cancelled, and has
            not counted; the next one that waits runs its own function, or the next call does.
        Fairness: the turn goes to who has waited longest; at the end everybody is woken, first come, first served.
        Go: ``once.Do(f)``. As there, a call inside its own function is a deadlock, and is reported as one.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     once = gochan.Once()
            ...     for name in "Ann", "Bob":
            ...         await once.do(print, "first:", name)
            >>> gochan.run(main)
            first: Ann
        """
        refuse_uncallable(fn, "Once.do()")
        state = self._state
        driver = await state.begin()
        if state.phase != "done" and (turn := await state.turn(driver)):
            try:
                outcome: Any = fn(*args)
                if is_coroutine(outcome):
                    await outcome
            except BaseException as error:
                state.finish(turn, error)
                raise
            state.finish(turn, None)


@overload
def once_value(fn: Callable[[], Coroutine[Any, Any, T]]) -> Callable[[], Coroutine[Any, Any, T]]: ...
@overload
def once_value(fn: Callable[[], T]) -> Callable[[], Coroutine[Any, Any, T]]: ...
def once_value(fn: Any) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Make of a function without arguments an async one that computes its value once, and keeps it.

    The first call runs ``fn`` in its own task; calls that come meanwhile wait for the value. An exception is kept, too:
    every call raises it. A call that is cancelled while it runs ``fn`` hands the turn to the next one that waits.

    Args:
        fn: a plain function or an async one. It is let go when it has run. (An exception that is kept holds it through
            its traceback.)

    Returns:
        An async function without arguments.

    Raises:
        TypeError: ``fn`` is not a function.

    Go: ``sync.OnceValue``.

    Example:
        >>> import gochan
        >>> @gochan.once_value
        ... async def settings() -> dict[str, int]:
        ...     print("reading")
        ...     return {"port": 80}
        >>> async def main() -> int:
        ...     return (await settings())["port"] + (await settings())["port"]
        >>> gochan.run(main)
        reading
        160
    """
    refuse_uncallable(fn, "once_value()")
    state = OnceState()
    value: Any = None
    failure: tuple[BaseException, Any] | None = None

    async def get() -> Any:
        nonlocal fn, value, failure
        driver = await state.begin()
        if state.phase != "done" and (turn := await state.turn(driver)):
            try:
                outcome = fn()
                value = await outcome if is_coroutine(outcome) else outcome
            except BaseException as error:
                if not _interrupted(error):
                    traceback = error.__traceback__
                    failure, fn = (error, traceback and traceback.tb_next), None  # without this frame
                state.finish(turn, error)
                raise
            fn = None
            state.finish(turn, None)
        if failure is not None:
            # Each raise adds its own frames; without this the traceback would grow with everybody who asks.
            raise failure[0].with_traceback(failure[1])
        return value

    update_wrapper(get, fn, updated=())
    del vars(get)["__wrapped__"]  # it would keep the function
    return get
