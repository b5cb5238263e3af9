"""What a suspended coroutine waits for: the word that a dump shows, and the primitives.

Nothing is recorded while a program runs. The chain of awaits ends in a parked ``Waiter`` if gochan suspended the
task; the gochan functions above it say in which operation, and their locals on what. They are known by their code
objects, in one table: a new primitive adds a line to it (``register``). Of several functions that call each other
the outermost counts: ``goroutine.result()`` waits for a signal, but for a goroutine first of all. Only functions
that do nothing but wait belong in the table, not those that run users' code meanwhile.

What others suspend is told where their function is known (asyncio's ``sleep``, trio's ``wait_readable``); the rest
is "await". asyncio's transports and servers cannot always be told from other futures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Final

from gochan._broadcast import Broadcast
from gochan._channel import Channel
from gochan._core.driver import LoopBound
from gochan._core.waiter import PARKED, Waiter
from gochan._event import Signal
from gochan._go import sleep
from gochan._goroutine import Goroutine
from gochan._group import Group
from gochan._limiter import Limiter
from gochan._receiving import Receiving
from gochan._select import select
from gochan._singleflight import SingleFlight
from gochan._sync.cond import Cond
from gochan._sync.mutex import Mutex
from gochan._sync.once import OnceState
from gochan._sync.rwmutex import RWMutex
from gochan._sync.semaphore import Semaphore
from gochan._sync.wait_group import WaitGroup
from gochan._ticker import Ticker
from gochan._timers import Timer

from ._coroutines import chain, frame_of, has_begun, is_running, package_in
from ._foreign import foreign_word

Locals = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a coroutine waits for."""

    word: str
    """A state word of the dump: "chan receive", "runnable", "await" …"""
    primitives: tuple[LoopBound, ...] = ()
    """The states in whose queues it stands (``ChannelState`` …): whoever can wake it can reach one of them."""
    waiter: Waiter | None = None
    """Its operation, if gochan suspended it; parked unless the word is "runnable"."""
    shown: tuple[object, ...] = ()
    """What it waits for as a user knows it: a goroutine rather than that one's signal."""
    frame: FrameType | None = None
    """Of the function that gave the word."""


def waiting(coroutine: object) -> Waiting:
    """What this coroutine waits for. It may be of any kind; what cannot be looked into is "await"."""
    links = list(chain(coroutine))
    if not links or any(map(is_running, links)):
        return Waiting("running")
    if not has_begun(links[-1]):
        return Waiting("runnable")
    for place in range(len(links) - 1, -1, -1):
        waiter = _waiter_of(links[place])
        if waiter is not None:
            return _parked(waiter, links[:place])
        if package_in(links[place]) == "gochan":
            break  # suspended by something else, below a function of ours
    word, frame = foreign_word(links)
    return Waiting(word, frame=frame)


def register(function: Any, describe: Callable[[Locals], Waiting]) -> None:
    """Have a task that waits in ``function`` described by what the function's locals say."""
    _OPERATIONS[function.__code__] = describe


def on_self(word: str) -> Callable[[Locals], Waiting]:
    """The operation of a method: it waits for its primitive, whose ``_state`` holds the queues."""

    def describe(names: Locals) -> Waiting:
        primitive = names["self"]
        return Waiting(word, (primitive._state,), shown=(primitive,))

    return describe


_OPERATIONS: Final = dict[CodeType, Callable[[Locals], Waiting]]()


def _parked(waiter: Waiter, above: list[Any]) -> Waiting:
    if waiter.state != PARKED:
        return Waiting("runnable", waiter=waiter)
    found = Waiting("await", waiter=waiter)
    for link in reversed(above):
        frame = frame_of(link)
        if frame is None or package_in(link) != "gochan":
            break
        describe = _OPERATIONS.get(frame.f_code)
        if describe is not None:
            said = describe(frame.f_locals)
            found = Waiting(said.word, said.primitives, waiter, said.shown, frame)
    return found


def _waiter_of(link: object) -> Waiter | None:
    frame = frame_of(link)
    if frame is None or frame.f_code.co_name != "__await__" or package_in(link) != "gochan":
        return None
    waiter = frame.f_locals.get("self")
    return waiter if isinstance(waiter, Waiter) else None


# What exists.


def _in_select(names: Locals) -> Waiting:
    cases = [case for case in names["choices"] if case is not None]
    if not cases:
        return Waiting("select (no cases)")
    return Waiting("select", tuple(case._state for case in cases), shown=tuple(map(_shown, cases)))


def _shown(case: Any) -> object:
    while (inner := getattr(case, "_case", None)) is not None:  # what map() changed
        case = inner
    goroutine: Goroutine[Any] | None = getattr(case, "_goroutine", None)
    return case._state if goroutine is None else goroutine


def _in_sleep(_names: Locals) -> Waiting:
    return Waiting("sleep")


def _on_cond(names: Locals) -> Waiting:
    cond: Cond = names["self"]
    claim = names.get("claim")
    if claim is not None and claim.queue is not None:  # it was signalled or cancelled
        return Waiting("sync.Mutex.Lock", (cond.mutex._state,), shown=(cond.mutex,))
    return Waiting("sync.Cond.Wait", (cond._state,), shown=(cond,))


def _on_group(word: str) -> Callable[[Locals], Waiting]:
    def describe(names: Locals) -> Waiting:
        group: Group = names["self"]
        return Waiting(word, (group._queues,), shown=(group,))

    return describe


def _for_goroutine(names: Locals) -> Waiting:
    goroutine: Goroutine[Any] = names["self"]
    return Waiting("goroutine wait", (goroutine.done._state,), shown=(goroutine,))


def _in_once(names: Locals) -> Waiting:
    state: OnceState = names["self"]
    return Waiting("sync.Once.Do", (state,), shown=(state,))


def _for_flight(names: Locals) -> Waiting:
    flight: Any = names["flight"]
    return Waiting("goroutine wait", (flight,), shown=(flight.goroutine or flight,))


def _in_limiter(names: Locals) -> Waiting:
    limiter, ctx = names["self"], names["ctx"]
    ends = () if ctx is None else (ctx.done._state,)
    return Waiting("sleep", (limiter._state, *ends), shown=(limiter,))


_channel: Any = Channel  # of anything
register(_channel.send, on_self("chan send"))
register(_channel.receive, on_self("chan receive"))
register(_channel._next, on_self("chan receive"))
register(select, _in_select)
register(sleep, _in_sleep)
register(Signal.wait, on_self("event wait"))
_goroutine: Any = Goroutine
register(_goroutine.result, _for_goroutine)
register(Group._wait, _on_group("goroutine wait"))
register(Group.go_when_free, _on_group("semacquire"))
for _operation in (Timer.wait, Ticker.wait, Ticker.__anext__):
    register(_operation, on_self("timer wait"))
_broadcast: Any = Broadcast
register(_broadcast.publish, on_self("chan send"))
_receiving: Any = Receiving
register(_receiving._next, on_self("chan receive"))
register(Mutex.acquire, on_self("sync.Mutex.Lock"))
register(RWMutex.acquire_read, on_self("sync.RWMutex.RLock"))
register(RWMutex.acquire_write, on_self("sync.RWMutex.Lock"))
register(Cond.wait, _on_cond)
register(Semaphore.acquire, on_self("semacquire"))
register(WaitGroup.wait, on_self("sync.WaitGroup.Wait"))
register(OnceState.turn, _in_once)
_flights: Any = SingleFlight
register(_flights._wait, _for_flight)
register(Limiter.wait, _in_limiter)
