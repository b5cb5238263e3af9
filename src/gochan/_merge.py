"""Merge: several channels received from as one.

Shape
    No goroutine and no buffer: a receive from the merge is a select over the sources. A source gives a value only
    when a receiver of the merge takes it, so there is never one in flight that a cancellation, or leaving the block,
    could lose; an unbuffered source still meets its receiver. Who waits has one entry in the merge's own queue (for
    the end of the block) and a branch in the queue of every source; the first branch that gets a value hands it to
    the entry, and all others leave.

Invariants
    M1  A branch that is committed with a value completes its operation; one that is told of the end of its source
        does so only if no other source is open. So nobody is woken for nothing.
    M2  A merge that waits has a branch in every source that is open, and in no other.
    M3  Closed, or without an open source: nobody waits.

Why not
    A goroutine per source that sends into a common channel: it holds a value that it has received and not yet sent.
    A select in a loop that drops closed sources: it could not be one case of another select.

Prior art
    The fan-in of Go's pipelines article; Concurrent ML's choose, which composes alike.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast, final, overload

from ._broadcast_state import SubscriptionState
from ._case import Case
from ._channel_cases import ReceiveCase
from ._channel_state import CLOSED, PENDING, ChannelState
from ._channel_views import ReceiveChannel
from ._core.driver import NOWHERE, Driver, LoopBound, current_driver, here, uninterruptible
from ._core.waiter import SelectEntry, Waiter
from ._core.waitqueue import EMPTY, WaitQueue
from ._errors import ChannelClosed
from ._receiving import Receiving

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")


class MergedState(LoopBound):
    """The sources that are open, and who waits for them."""

    __slots__ = ("closed", "failure", "receivers", "sources")

    def __init__(self, sources: list[Case[Any]]) -> None:
        super().__init__()
        self.sources = sources
        self.closed = False  # the block was left
        self.failure: BaseException | None = None  # of the first source that was closed with a cause
        self.receivers: WaitQueue = EMPTY

    # What belongs to a loop here are the sources.

    def enter(self) -> Driver:
        driver = super().enter()
        for source in self.sources:
            source._state.enter()
        return driver

    def check(self) -> None:
        super().check()
        for source in self.sources:
            source._state.check()

    def _verify(self) -> None:
        for source in self.sources:
            if source._state.driver is not self.driver:
                source._state.check()

    @property
    def cause(self) -> BaseException | None:
        return None if self.closed else self.failure

    def ended(self) -> bool:
        """Whether nothing more will come."""
        if any(map(_ended, self.sources)):
            for source in self.sources:
                if self.failure is None and _ended(source):
                    self.failure = source._state.cause
            self.sources = [source for source in self.sources if not _ended(source)]
        return not self.sources

    def can_take(self) -> bool:
        """Whether a receive would not have to wait."""
        self._verify()
        return self.ended() or any(source._ready() for source in self.sources)

    def has_value(self) -> bool:
        """Whether a source has a value, and no word of missed ones comes before it."""
        return any(map(_has_value, self.sources))

    @uninterruptible
    def take(self) -> Any:
        """Take a value now, with its source, or answer PENDING or CLOSED."""
        self._verify()
        if self.ended():
            return CLOSED
        ready = [source for source in self.sources if source._ready()]
        if not ready:
            return PENDING
        source = self._one_of(ready)
        return source, source._take()

    @uninterruptible
    def take_value(self) -> Any:
        """Take a value now; there must be one."""
        source = self._one_of([source for source in self.sources if _has_value(source)])
        state = source._state
        return source, state.take_value() if isinstance(state, MergedState) else source._take()

    def _one_of(self, sources: list[Case[Any]]) -> Case[Any]:
        if len(sources) == 1:
            return sources[0]
        driver = self.driver if here() is self.driver.home else current_driver() or NOWHERE
        return sources[int(driver.random() * len(sources))]

    def park(self, driver: Driver) -> Waiter:
        """A receiver that waits, to be awaited at once."""
        waiter = driver.park(None)
        root = _Root()
        root.waiter = waiter
        waiter.entries = [root]
        self.publish(root, driver)
        return waiter

    @uninterruptible
    def publish(self, entry: SelectEntry, driver: Driver) -> None:
        """A select that waits to receive."""
        self.owner = driver
        if self.receivers is EMPTY:
            self.receivers = WaitQueue()
        self.receivers.append(entry)
        entries = cast("list[SelectEntry]", entry.waiter.entries)
        for source in self.sources:
            branch = _Branch()
            branch.waiter = entry.waiter
            branch.number = entry.number
            branch.entry = entry
            branch.merged = self
            branch.source = source
            entries.append(branch)
            source._publish(branch, driver)

    @uninterruptible
    def close(self) -> None:
        self.closed = True
        self.sources = []
        self.receivers.drain(CLOSED)

    def forget_waiters(self) -> None:
        self.receivers = EMPTY

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"of {len(self.sources)} open channels"
        return f"<Merge {state} receivers={len(self.receivers)}>"

    def _check(self) -> None:
        self.receivers._check()
        assert not (self.receivers and (self.closed or self.ended())), "M3: somebody waits, and nothing will come"
        root = cast("SelectEntry | None", self.receivers.head)
        if root is not None:
            branches = [one for one in root.waiter.entries or () if isinstance(one, _Branch) and one.entry is root]
            waiting = [branch.source for branch in branches if branch.queue is not None]
            assert waiting == self.sources, "M2: it does not wait for every open source"


class _Root(SelectEntry):
    """The entry of a plain operation in the queue of its merge."""

    __slots__ = ()

    def __init__(self) -> None:
        self.number = 0

    def commit(self, value: Any) -> None:
        self.waiter.withdraw()
        self.waiter.commit(value)


class _Branch(SelectEntry):
    """An entry in the queue of a source, on behalf of one in the queue of the merge."""

    __slots__ = ("entry", "merged", "source")

    entry: SelectEntry
    merged: MergedState
    source: Case[Any]

    def commit(self, value: Any) -> None:
        if value is not CLOSED:
            self.entry.commit((self.source, value))
        elif self.merged.ended():
            if self.entry.queue is not None:
                self.entry.queue.remove(self.entry)  # M3, also if a merge around this one waits on
            self.entry.commit(CLOSED)
        else:  # M1; a merge in this one that was left still has branches
            _withdraw_under(self)


def _withdraw_under(entry: SelectEntry) -> None:
    for branch in entry.waiter.entries or ():
        if isinstance(branch, _Branch) and branch.entry is entry:
            if branch.queue is not None:
                branch.queue.remove(branch)
            _withdraw_under(branch)


def _ended(source: Case[Any]) -> bool:
    """Whether nothing more will come from it."""
    state = source._state
    if isinstance(state, ChannelState):
        return state.closed and not state.buffer
    return isinstance(state, SubscriptionState | MergedState) and state.ended()


def _has_value(source: Case[Any]) -> bool:
    """Whether it gives a value that no exception can come with or from."""
    state = source._state
    if type(source) is not ReceiveCase:
        return False
    if isinstance(state, ChannelState):
        return bool(state.buffer) or state.senders.head is not None
    return isinstance(state, SubscriptionState | MergedState) and state.has_value()


@final
class Merged(Receiving[T_co]):
    """What ``merge`` makes: the receiving side of several channels, to be left by ``async with`` or ``with``."""

    __slots__ = ()

    _state: MergedState

    def __init__(self, sources: list[Case[Any]]) -> None:
        self._state = MergedState(sources)

    def close(self) -> None:
        """Receive nothing more; idempotent. The sources stay as they are, with all that nobody received.

        Whoever waits to receive from the merge gets ``ChannelClosed``, as later receives do; iteration ends.
        """
        self._state.check()
        self._state.close()

    def _take_more(self, values: list[T_co], limit: float) -> None:
        state = self._state
        while len(values) < limit and state.has_value():
            values.append(self._result(state.take_value()))

    def _result(self, value: Any) -> Any:
        if value is CLOSED:
            error = ChannelClosed(f"receive from a merge that has ended: {self!r}", self)
            error.__cause__ = self._state.cause
            raise error
        source, given = value
        return source._result(given)


@overload
def merge(a: ReceiveChannel[A], /) -> Merged[A]: ...


@overload
def merge(a: ReceiveChannel[A], b: ReceiveChannel[B], /) -> Merged[A | B]: ...


@overload
def merge(a: ReceiveChannel[A], b: ReceiveChannel[B], c: ReceiveChannel[C], /) -> Merged[A | B | C]: ...


@overload
def merge(
    a: ReceiveChannel[A], b: ReceiveChannel[B], c: ReceiveChannel[C], d: ReceiveChannel[D], /
) -> Merged[A | B | C | D]: ...


@overload
def merge(
    a: ReceiveChannel[A],
    b: ReceiveChannel[B],
    c: ReceiveChannel[C],
    d: ReceiveChannel[D],
    e: ReceiveChannel[E],
    /,
) -> Merged[A | B | C | D | E]: ...


@overload
def merge(
    a: ReceiveChannel[A],
    b: ReceiveChannel[B],
    c: ReceiveChannel[C],
    d: ReceiveChannel[D],
    e: ReceiveChannel[E],
    f: ReceiveChannel[F],
    /,
) -> Merged[A | B | C | D | E | F]: ...


@overload
def merge(
    a: ReceiveChannel[A],
    b: ReceiveChannel[B],
    c: ReceiveChannel[C],
    d: ReceiveChannel[D],
    e: ReceiveChannel[E],
    f: ReceiveChannel[F],
    g: ReceiveChannel[G],
    /,
) -> Merged[A | B | C | D | E | F | G]: ...


@overload
def merge(
    a: ReceiveChannel[A],
    b: ReceiveChannel[B],
    c: ReceiveChannel[C],
    d: ReceiveChannel[D],
    e: ReceiveChannel[E],
    f: ReceiveChannel[F],
    g: ReceiveChannel[G],
    h: ReceiveChannel[H],
    /,
) -> Merged[A | B | C | D | E | F | G | H]: ...


@overload
def merge(*channels: ReceiveChannel[T]) -> Merged[T]: ...


def merge(*channels: ReceiveChannel[Any]) -> Merged[Any]:
    """Receive from several channels as from one: ``async with merge(a, b) as values``.

    A value is taken from its channel when somebody receives it from the merge, not before: nothing is in flight, so
    no cancellation and no end of the block loses one, and what nobody received is still where it was. The values of
    one channel come in its order; among channels that have one, each has the same chance.

    The merge is a ``ReceiveChannel``, and can be selected over and merged again. It ends when all channels are closed
    and drained; if one of them was closed with a cause, the others are drained first, then it ends with that cause
    (of several, with the one that was noticed first). Leaving the block ends it too, and leaves the channels alone.

    Args:
        channels: channels, subscriptions, merges. Without any it has ended at once.

    Raises:
        TypeError: one of them is nothing to receive from.

    Go: the goroutine per channel of a fan-in, without the goroutines.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     evens, odds = gochan.Channel[int](5), gochan.Channel[int](5)
        ...     for n in range(6):
        ...         await (odds if n % 2 else evens).send(n)
        ...     evens.close()
        ...     odds.close()
        ...     async with gochan.merge(evens, odds) as numbers:
        ...         print(sorted([n async for n in numbers]))
        >>> gochan.run(main)
        [0, 1, 2, 3, 4, 5]
    """
    sources = list[Case[Any]]()
    for channel in channels:
        case: object = channel.__case__() if hasattr(type(channel), "__case__") else None
        if not isinstance(case, Case):
            raise TypeError(f"merge() takes channels to receive from, not {channel!r}")
        sources.append(case)
    return Merged(sources)
