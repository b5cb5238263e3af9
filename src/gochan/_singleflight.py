"""SingleFlight: of several calls for one key at a time, one is made, and all get what it gives.

Shape
    A table from key to flight. A flight is a signal: its waiters, the caller who began it among them, stand in its
    queue. The signal is the ``done`` of the goroutine that runs the function, so the flight lands when that has ended,
    however it ended, even if it never began. A plain function has run before anybody could wait.

Invariants
    SF1  A flight in the table has not landed.
    SF2  A flight leaves the table when it lands, when it is forgotten, or when its last waiter has left, whichever is
         first; and it takes nobody out but itself, for a newer one may fly under its key.
    SF3  A flight in the air that nobody waits for is being cancelled.
    SF4  What goes wrong in a flight is its waiters' and nobody else's: not its group's, so that one failing request
         does not end a server. An error that nobody waits for any more is logged. (SystemExit and KeyboardInterrupt end
         the group as well.)
    SF5  A flight is cancelled with the group that it runs in, the group of one who asked. Those who wait elsewhere have
         not left, so the one that has waited longest makes the call again, in its own group, and the others join.

Why not
    The function in the first caller's task, as in Go: a cancellation of that one would hit all the others. A group of
    its own for the flights: nothing would say when they end. Ten libraries for Go take the key out only when the
    function has ended: who comes after the last waiter has left gets a cancelled flight's error (SF2).

Prior art
    ``golang.org/x/sync/singleflight``; for contexts ``resenje.org/singleflight`` and tailscale's ``DoChanContext``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Hashable
from sys import _getframe
from types import FrameType
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast, final

import anyio
from typing_extensions import TypeVarTuple, Unpack

from ._callables import is_coroutine, refuse_uncallable
from ._core.driver import Driver, LoopBound, uninterruptible
from ._errors import Cancelled
from ._event import Signal, _SignalState
from ._goroutine import Goroutine
from ._nearest import current_group
from ._sync.primitive import Primitive

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
Args = TypeVarTuple("Args")

_CANCELLED: Final = object()


class Flight(NamedTuple, Generic[T]):
    """What ``SingleFlight.do`` gives: the value, and whether others got it, too."""

    value: T
    """What the function returned."""
    shared: bool
    """Whether at least two calls asked for it; the same for all of them."""


class _Failure:
    """What a flight ended with, if not with a value."""

    __slots__ = ("error", "traceback")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.traceback = None if error.__traceback__ is None else error.__traceback__.tb_next  # without our own frame


class _Flight(_SignalState):
    """One call on its way."""

    __slots__ = ("cause", "coroutine", "flights", "goroutine", "group", "key", "outcome", "shared")

    def __init__(self, flights: dict[Any, _Flight], key: Hashable) -> None:
        super().__init__("flight")
        self.flights = flights
        self.key = key
        self.shared = False
        self.outcome: Any = None
        self.cause: BaseException | None = None
        self.group: Any = None
        self.goroutine: Goroutine[Any] | None = None
        self.coroutine: Coroutine[Any, Any, Any] | None = None  # until it has begun

    @uninterruptible
    def take_off(self, name: str, caller: FrameType) -> None:
        """Run the coroutine as a goroutine made where ``caller`` is."""
        group = current_group()
        if group is None:
            raise RuntimeError(
                "SingleFlight.do() with an async function outside a group: it needs a group to run in. Start the "
                "program with gochan.run(main), open 'async with gochan.Group():' around the call, or give a plain "
                "function"
            )
        self.group = group
        self.goroutine = goroutine = group._go_beside(_fly, (self, self.coroutine), name, caller)
        goroutine._signal = signal = Signal.__new__(Signal)
        signal._state = self

    @uninterruptible
    def set(self) -> None:
        """It has landed."""
        if self.fired:
            return
        self.fired = True
        goroutine, coroutine, outcome = self.goroutine, self.coroutine, self.outcome
        if goroutine is not None and goroutine._state == "failed":
            outcome = _Failure(goroutine._outcome[0])
        elif goroutine is not None and goroutine._state == "cancelled":
            outcome = _CANCELLED
            self.cause = self.group._cause
        # The outcome goes to the waiters and stays nowhere: an error knows the frames, and these know the flight.
        self.goroutine = self.coroutine = self.group = self.outcome = None
        try:
            self.leave_table()
            if coroutine is not None:
                coroutine.close()
        finally:
            self.waiters.drain(outcome)

    def leave_table(self) -> None:
        if self.flights.get(self.key) is self:  # SF2
            del self.flights[self.key]

    @uninterruptible
    def left(self) -> None:
        """A waiter has (SF3)."""
        if not self.fired and self.waiters.head is None:
            self.leave_table()
            if self.goroutine is not None:
                self.goroutine.cancel()

    def __repr__(self) -> str:
        return f"<flight of {self.key!r} {'landed' if self.fired else 'in the air'} waiters={len(self.waiters)}>"


class _SingleFlightState(LoopBound):
    __slots__ = ("flights",)

    def __init__(self) -> None:
        super().__init__()
        self.flights: dict[Any, _Flight] = {}

    def forget_waiters(self) -> None:
        self.flights = {}

    def __repr__(self) -> str:
        return f"<SingleFlight flights={len(self.flights)}>"

    def _check(self) -> None:
        for key, flight in self.flights.items():
            flight._check()
            assert flight.key == key, "SF2: a flight stands under another key"
            assert not flight.fired, "SF1: a flight that has landed is in the table"


async def _fly(flight: _Flight, coroutine: Coroutine[Any, Any, Any]) -> None:
    """The goroutine of a flight: it ends well, unless it was cancelled (SF4)."""
    flight.coroutine = None  # it has begun
    try:
        flight.outcome = await coroutine
        return
    except (SystemExit, KeyboardInterrupt, anyio.get_cancelled_exc_class()):
        raise
    except BaseExceptionGroup as errors:
        # A nursery inside the function reports the cancellations of its tasks in a group.
        own = cast("Any", errors).split(anyio.get_cancelled_exc_class())[1]
        if own is None or own.split((SystemExit, KeyboardInterrupt))[0] is not None:
            raise
        flight.outcome = _Failure(own.with_traceback(errors.__traceback__))
        del own
    except BaseException as error:
        flight.outcome = _Failure(error)
    if flight.waiters.head is None:
        logging.getLogger("gochan").error(
            "the flight of %r failed when nobody waited for it any more", flight.key, exc_info=flight.outcome.error
        )


@final
class SingleFlight(Primitive, Generic[K, T]):
    """Makes one call at a time for each key, and gives its outcome to all who ask meanwhile.

    Nothing is cached: when the call has ended, the next one is made anew.

    Go: ``singleflight.Group``, with the keys and values typed. Waiting can be cancelled: who leaves hurts nobody, and
    the call is cancelled when nobody waits for it any more.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     async def load(user: int) -> str:
        ...         print("loading", user)
        ...         await gochan.sleep(0.001)
        ...         return f"user {user}"
        ...     flights = gochan.SingleFlight[int, str]()
        ...     async with gochan.Group() as group:
        ...         asked = [group.go(flights.do, 7, load, 7) for _ in range(3)]
        ...     print([(await one.result()).value for one in asked])
        >>> gochan.run(main)
        loading 7
        ['user 7', 'user 7', 'user 7']
    """

    __slots__ = ()

    _state: _SingleFlightState

    def __init__(self) -> None:
        self._state = _SingleFlightState()

    async def do(self, key: K, fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T] | T], *args: *Args) -> Flight[T]:
        """Wait for the call that is made for ``key``; if there is none, make it: ``fn(*args)``.

        An async ``fn`` runs as a goroutine of the caller's nearest ``Group`` or ``run``, above a group's limit, with
        the context variables of the caller. A plain one runs at once.

        Args:
            key: hashable; it is let go when the call ends.

        Returns:
            The value, and whether at least two calls asked for it.

        Raises:
            BaseException: what ``fn`` raised, in everybody who waits; it does not end the group.
            Cancelled: the group that it ran in was cancelled, and this one made the call or has no group to make it in.
            RuntimeError: ``fn`` is async and there is no group for it; or this belongs to another loop.
            TypeError: the key is not hashable, or ``fn`` is not a function.

        Cancellation: of one who waits, the call goes on for the others; it is cancelled with the last one. Who asks
            while it is still cleaning up gets a new call. It is cancelled with its group, too: if others wait
            elsewhere, the one that has waited longest makes the call again, with its own ``fn``.
        Fairness: everybody is woken, first come, first served.
        Go: ``g.Do(key, fn)``, where nobody can leave, and the first caller's context is everybody's.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     flights = gochan.SingleFlight[str, int]()
            ...     print(await flights.do("hello", len, "hello"))
            >>> gochan.run(main)
            Flight(value=5, shared=False)
        """
        _hashable(key, "SingleFlight.do()")
        refuse_uncallable(fn, "SingleFlight.do()")
        state = self._state
        driver = await state.begin()
        while True:
            flight = state.flights.get(key)
            led = flight is None
            if flight is not None:
                flight.shared = True
            else:
                owner, state.owner = state.owner, driver
                flight = state.flights[key] = _Flight(state.flights, key)
                try:
                    outcome: Any = fn(*args)
                    if not is_coroutine(outcome):
                        flight.outcome = outcome
                        flight.set()
                        if not state.flights:
                            state.owner = owner  # nobody has waited
                        return Flight(outcome, flight.shared)
                    flight.coroutine = outcome
                    del outcome
                    flight.take_off(getattr(fn, "__qualname__", None) or repr(fn), _getframe(1))
                except BaseException as error:
                    flight.outcome = _Failure(error) if isinstance(error, Exception) else _CANCELLED
                    flight.set()
                    if not state.flights:
                        state.owner = owner
                    raise
            landed: Any = await self._wait(flight, driver)
            if landed is not _CANCELLED:
                break
            if led or current_group() is None:
                raise Cancelled(f"the flight of {key!r} was cancelled, with the group that it ran in") from flight.cause
            # SF5: round again.
        shared = flight.shared
        if type(landed) is _Failure:
            try:
                # Each raise adds its own frames; without this the traceback would grow with everybody who waits.
                raise landed.error.with_traceback(landed.traceback)
            finally:
                del landed
        return Flight(landed, shared)

    def forget(self, key: K) -> None:
        """Let the next ``do`` for this key make a new call; one that is on its way goes on for those who wait for it.

        Raises:
            RuntimeError: this belongs to another loop.
            TypeError: the key is not hashable.

        Go: ``g.Forget(key)``.
        """
        _hashable(key, "SingleFlight.forget()")
        self._state.check()
        self._state.flights.pop(key, None)

    @uninterruptible
    async def _wait(self, flight: _Flight, driver: Driver) -> Any:
        try:
            return await driver.park(flight.waiting(driver))
        except GeneratorExit:
            raise  # not cancelled: thrown away, and its loop may be
        except BaseException:
            flight.left()
            raise


def _hashable(key: object, asker: str) -> None:
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(f"{asker} takes a hashable key, not {key!r}: {error}") from None
