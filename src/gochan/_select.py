"""Select: wait for the first of several operations, and do exactly that one.

Shape
    Three passes, as in Go's ``selectgo``.
    Pass 1  Look for cases that need not wait and commit one of them, chosen uniformly.
    Pass 2  Publish one entry per case, all sharing one waiter, and park.
    Pass 3  Nothing: the peer that commits an entry takes its sisters out of their queues before it wakes the task,
            and so does a cancellation.

Invariants
    S1  At most one case commits: all entries leave their queues together (W1, W2).
    S2  A losing case leaves no trace, and leaving is O(1) for each.
    S3  A select never pairs with itself: pass 1 looks while none of its entries is published, and pass 2 does not
        look.
    S4  Among ready cases each has the same chance. A channel listed twice therefore has two.

Why not
    Racing coroutines commits more than one (the losers' values are gone). Polling in random order starves, and two
    selects that poll on an unbuffered channel never meet.

Prior art
    Go's runtime/select.go; crossbeam-channel's select.rs; Concurrent ML's choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import get_ident
from typing import Any, Literal, TypeVar, cast, overload

from ._case import Case, Nothing, Selectable
from ._channel import Channel
from ._channel_cases import ReceiveCase, ReceiveOkCase, SendCase
from ._channel_state import CLOSED
from ._channel_views import ReceiveChannel, SendChannel
from ._core.driver import NOWHERE, Driver, current_driver, here, threads, uninterruptible
from ._core.waiter import SelectEntry, Waiter

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")

# What a select of up to eight cases gives: the number of the case, literally, with its value.
N0 = tuple[Literal[0], A]
N1 = tuple[Literal[1], B]
N2 = tuple[Literal[2], C]
N3 = tuple[Literal[3], D]
N4 = tuple[Literal[4], E]
N5 = tuple[Literal[5], F]
N6 = tuple[Literal[6], G]
N7 = tuple[Literal[7], H]


def send(channel: SendChannel[T], value: T) -> Case[None]:
    """The case of a select that sends ``value``.

    Go: ``case ch <- v:``. The value is evaluated whichever case wins.
    """
    if not isinstance(channel, Channel):
        raise TypeError(f"send() takes a gochan.Channel, not {channel!r}")
    return SendCase(channel, value)


def receive(channel: ReceiveChannel[T]) -> Case[T]:
    """The case of a select that receives; the same as passing the channel itself.

    Go: ``case v := <-ch:``.
    """
    if not hasattr(type(channel), "__case__"):
        raise TypeError(f"receive() takes a channel to receive from, not {channel!r}")
    return channel.__case__()


def receive_ok(channel: ReceiveChannel[T]) -> Case[tuple[T, Literal[True]] | tuple[None, Literal[False]]]:
    """The case of a select that receives a value with ``True``, or ``(None, False)`` on a closed, drained channel.

    Go: ``case v, ok := <-ch:``.
    """
    case = channel.__case__() if hasattr(type(channel), "__case__") else None
    if not isinstance(case, ReceiveCase):
        raise TypeError(f"receive_ok() takes a channel to receive from, not {channel!r}")
    return ReceiveOkCase(case._channel)


def _case_of(number: int, selectable: Any) -> Any:
    """What can be chosen: a case, or a channel, which is its own."""
    kind = cast("Any", type(selectable))
    if selectable is None or kind is Channel:
        return selectable
    if not hasattr(kind, "__case__"):
        raise TypeError(
            f"case {number} of the select cannot be selected over: {selectable!r}; pass a channel, "
            "send(channel, value), an Event, or anything with a __case__ method"
        )
    case: object = selectable.__case__()
    if not isinstance(case, Case):
        raise TypeError(f"case {number} of the select: __case__ of {selectable!r} gave {case!r}, not a Case")
    return case  # pyright: ignore[reportUnknownVariableType]  # any case will do


def _ready(choices: Sequence[Any]) -> list[int]:
    return [number for number, case in enumerate(choices) if case is not None and case._ready()]


def _publish(choices: Sequence[Any], driver: Driver, priority: bool) -> Waiter:
    """Pass 2. (Not in ``select`` itself: its frame, kept by an exception's traceback, would keep all of this.)"""
    waiter = driver.park(None)
    waiter.entries = entries = list[SelectEntry]()
    numbered = [(number, case) for number, case in enumerate(choices) if case is not None]
    if not priority and len({case._state for _, case in numbered}) < len(numbered):
        # S4: a peer takes the entry that stands first, so which of two on one channel does is drawn.
        numbered.sort(key=lambda _: driver.random())
    for number, case in numbered:
        entry = SelectEntry()
        entry.waiter = waiter
        entry.number = number
        try:
            case._publish(entry, driver)
        except BaseException:  # a context may find only here that it belongs to another loop
            waiter.withdraw()
            raise
        entries.append(entry)
    return waiter


@overload
async def select(
    a: Selectable[A] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A]: ...


@overload
async def select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B]: ...


@overload
async def select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C]: ...


@overload
async def select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D]: ...


@overload
async def select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E]: ...


@overload
async def select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    f: Selectable[F] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E] | N5[F]: ...


@overload
async def select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    f: Selectable[F] | None,
    g: Selectable[G] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E] | N5[F] | N6[G]: ...


@overload
async def select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    f: Selectable[F] | None,
    g: Selectable[G] | None,
    h: Selectable[H] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E] | N5[F] | N6[G] | N7[H]: ...


@overload
async def select(*cases: Selectable[T] | None, priority: bool = ...) -> tuple[int, T]: ...


@uninterruptible
async def select(*cases: Any, priority: bool = False) -> Any:
    """Wait for the first of several operations; exactly one of them is done.

    Args:
        cases: channels (to receive), ``send(channel, value)``, ``receive_ok(channel)``, events, or anything with a
            ``__case__`` method. ``None`` is never ready.
        priority: the first ready case in the order given wins, instead of a random one.

    Returns:
        The index of the case and its value.

    Raises:
        ChannelClosed: the case that was chosen receives from a closed, drained channel or sends on a closed one.
        TypeError: a case is not selectable.

    Cancellation: all or nothing. A cancelled select has done none of its cases; a committed one returns normally.
    Fairness: among ready cases each has the same chance; waiting, each case stands in its queue like a plain
    operation. Without any case that can be ready it waits for ever.
    Go: ``select``; ``None`` is the nil channel.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     jobs, results = gochan.Channel[int](1), gochan.Channel[str](1)
        ...     await jobs.send(3)
        ...     match await gochan.select(jobs, gochan.send(results, "done"), priority=True):
        ...         case (0, job):
        ...             print("job", job)
        ...         case (1, _):
        ...             print("sent")
        >>> gochan.run(main)
        job 3
    """
    choices: Any = cases
    driver: Driver | None = None
    ready: list[int] = []
    case: Any
    for number, selectable in enumerate(cases):
        if type(selectable) is Channel:  # its own case; written out, since this is what most selects are made of
            state = selectable._state
            if state.driver is not driver:
                driver = state.driver
                if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
                    driver = state.enter()
            if state.buffer or state.senders.head is not None or state.closed:
                ready.append(number)
        elif selectable is not None:
            case = selectable
            if not isinstance(case, Case):
                if choices is cases:
                    choices = list(cases)
                choices[number] = case = _case_of(number, selectable)
            if case._state.driver is not driver:
                driver = case._state.enter()
            if case._ready():
                ready.append(number)
    if choices is not cases:
        ready = _ready(choices)  # what users' __case__ methods did meanwhile may have changed the earlier ones
    if driver is None:
        driver = Nothing().enter()
    if driver.budget:
        driver.budget -= 1
    else:
        await driver.pause()
        ready = _ready(choices)
    if ready:
        number = ready[0] if priority or len(ready) == 1 else ready[int(driver.random() * len(ready))]  # S4
        case = choices[number]
        if type(case) is not Channel:
            return number, case._result(case._take())
        value = case._state.take()
        return number, case._result(value) if value is CLOSED else value
    number, value = await _publish(choices, driver, priority)
    return number, choices[number]._result(value)


@overload
def try_select(
    a: Selectable[A] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | None: ...


@overload
def try_select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | None: ...


@overload
def try_select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | None: ...


@overload
def try_select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | None: ...


@overload
def try_select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E] | None: ...


@overload
def try_select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    f: Selectable[F] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E] | N5[F] | None: ...


@overload
def try_select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    f: Selectable[F] | None,
    g: Selectable[G] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E] | N5[F] | N6[G] | None: ...


@overload
def try_select(
    a: Selectable[A] | None,
    b: Selectable[B] | None,
    c: Selectable[C] | None,
    d: Selectable[D] | None,
    e: Selectable[E] | None,
    f: Selectable[F] | None,
    g: Selectable[G] | None,
    h: Selectable[H] | None,
    /,
    *,
    priority: bool = ...,
) -> N0[A] | N1[B] | N2[C] | N3[D] | N4[E] | N5[F] | N6[G] | N7[H] | None: ...


@overload
def try_select(*cases: Selectable[T] | None, priority: bool = ...) -> tuple[int, T] | None: ...


@uninterruptible
def try_select(*cases: Any, priority: bool = False) -> Any:
    """Do one of several operations if that needs no waiting.

    Args:
        cases: as in ``select``.
        priority: as in ``select``.

    Returns:
        The index of the case and its value, or ``None`` when no case is ready.

    Raises:
        ChannelClosed: the case that was chosen receives from a closed, drained channel or sends on a closed one.
        TypeError: a case is not selectable.

    Go: ``select`` with a ``default``.

    Example:
        >>> import gochan
        >>> gochan.try_select(gochan.Channel[int]()) is None
        True
    """
    choices = [_case_of(number, case) for number, case in enumerate(cases)]
    for case in choices:
        if case is not None:
            case._state.check()
    ready = _ready(choices)
    if not ready:
        return None
    number = ready[0]
    if not priority and len(ready) > 1:
        number = ready[int((current_driver() or NOWHERE).random() * len(ready))]
    case = choices[number]
    return number, case._result(case._take())
