"""Following a room without loss, duplicate or silent gap: history and live events made into one stream.

A room is read in two ways, and neither is enough: live events may have begun too late or have a hole, a page of
history is old when it arrives. A ``Cursor`` joins them. One stands wherever somebody follows a room: a member that
joins with ``since``, a member whose outbox overflowed, and the node itself, which repairs holes for all its members.

Shape
                 ask() -> since                    page() reached the top, nothing missing
    PENDING  --------------------->  ASKED  ---------------------------------------------->  LIVE
       ^     <---------------------    |                                                       |
       |      page() was not enough    |  live() keeps the events that come meanwhile           |
       +---------------------------------------------------------------------------------------+
                                    a hole, another epoch, behind()

    While it is pending, somebody asks and delivers (``advance`` does the first), with no wait in between: what is
    handed out and not delivered is lost. Each live event, pending or not, goes through ``live()``.

Invariants
    R1  What is handed out is contiguous: each event is the one after ``position``, in its epoch; none comes twice.
    R2  Where that cannot be, ``lost`` is said before the next event, and ``recovered`` is False from then on.
    R3  At most ``events`` events of together ``size`` bytes are kept; more costs another page, not memory, nor an
        event.
    R4  Every page that follows brings ``position`` forward, or ends the pending: an endless loop needs somebody who
        publishes faster than pages can be read, and then everything is delivered all the same.

Why what was kept may be thrown away at ``ask()``
    An event comes out at a node only when it is in the history (promise B2 of ``base.py``). So a page that is asked
    for now has everything that has come until now. Only what comes while the page is on its way can be above its top.

Why ``live()`` is still asked after the page
    The page may be ahead of the node: its latest messages are still queued in ``broker.events``. Passing those on
    would say them twice. A member may join those who get everything unasked once the node's own cursor stands where
    its own does (``position`` equal); until then each event for it goes through its cursor.

Why not keep what is out of order, and sort
    Epochs have no order: of two events of different ones nobody can say which is older. The history can.

Prior art
    Centrifuge's ``recovery``: buffer, read, merge; it never gives a part of what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from examples.chat.broker import Broker, Event, HistoryPage, Pos

EVENTS: Final = 256
SIZE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now."""

    events: Sequence[Event] = ()
    """To be delivered, in this order."""
    lost: bool = False
    """First of all, say that what came before cannot be had any more."""


_NOTHING: Final = Step()
_LOST: Final = Step(lost=True)


class Cursor:
    """A reader's place in the stream of one room. It is pending until a page of history says where the stream is.

    Args:
        since: what the reader has already; None for a reader that comes for the first time, and gets the latest
            messages, as far as the page has them, before what is live.
        events: how many live events are kept at most while it is pending …
        size: … and of how many bytes together.
    """

    __slots__ = ("_asked", "_full", "_kept", "_limits", "_size", "pending", "position", "recovered")

    def __init__(self, since: Pos | None = None, *, events: int = EVENTS, size: int = SIZE) -> None:
        self.position = since
        """Everything up to here was handed out; None: nothing has been yet, or what was is worth nothing."""
        self.pending = True
        """A page is needed."""
        self.recovered: bool | None = None if since is None else True
        """Whether everything since ``since`` was handed out; None when there was no ``since``, until something is
        lost."""
        self._limits = events, size
        self._kept: list[Event] = []
        self._size = 0
        self._full = False  # something came that was not kept
        self._asked: Literal["no", "since", "latest"] = "no"

    def ask(self) -> tuple[Pos | None, bool]:
        """What to ask of ``Broker.history``: ``since`` and ``reverse``. Ask right now; ask again when that failed.

        With ``since`` the limit must be 1 or more, or the page says nothing.
        """
        self._forget()
        self._asked = "latest" if self.position is None else "since"
        return self.position, self.position is None

    def page(self, page: HistoryPage) -> Step:
        """The answer to the latest ``ask()`` is here."""
        if self._asked == "no":
            raise RuntimeError(f"{self!r} gets a page that it did not ask for: call ask() before each")
        asked, self._asked = self._asked, "no"
        if asked == "latest":
            events = list(reversed(page.events))
            self.position = page.top
        elif self.position is None or not page.follows(self.position):
            self._lose()
            return _LOST
        else:
            events = list(page.events)
            if events:
                self.position = events[-1].pos
        if self.position == page.top:
            events += self._join()
        return Step(events)

    def live(self, event: Event) -> Sequence[Event]:
        """An event came out at the node; what of it is to be delivered now: it, or nothing."""
        if self.pending:
            self._keep(event)
        elif self._is_next(event):
            self.position = event.pos
            return (event,)
        elif not self._is_old(event):
            self.behind()
        return ()

    def behind(self) -> None:
        """Events may have been lost on the way here (``Resync``), or were not delivered: ask the history."""
        if self.pending:
            self._full = True  # a page that is under way may be older than what was lost
        self.pending = True

    def undelivered(self, since: Pos) -> None:
        """What was handed out after ``since`` has not reached the reader: it must be handed out again."""
        self.position = since
        self.behind()

    def _join(self) -> list[Event]:
        """The position is the page's top: go on with what came meanwhile, as far as it fits."""
        events = list[Event]()
        for event in self._kept:
            if self._is_next(event):
                self.position = event.pos
                events.append(event)
            elif not self._is_old(event):
                break
        else:
            self.pending = self._full
        self._forget()
        return events

    def _lose(self) -> None:
        self.position = None
        self.recovered = False

    def _is_next(self, event: Event) -> bool:
        position = self.position
        return position is not None and event.pos.off == position.off + 1 and event.pos.ep == position.ep

    def _is_old(self, event: Event) -> bool:
        position = self.position
        return position is not None and event.pos.off <= position.off and event.pos.ep == position.ep

    def _keep(self, event: Event) -> None:
        most, size = self._limits
        # The first ones are kept: they go on where the page ends. Where one was left out, _join() stops.
        if len(self._kept) >= most or self._size + len(event.payload) > size:
            self._full = True
        else:
            self._kept.append(event)
            self._size += len(event.payload)

    def _forget(self) -> None:
        self._kept.clear()
        self._size = 0
        self._full = False

    def __repr__(self) -> str:
        state = f"pending, {len(self._kept)} kept" if self.pending else "live"
        return f"<Cursor {state} at {self.position} recovered={self.recovered}>"

    def _check(self) -> None:
        assert self.pending or not self._kept, "nothing is kept when live"
        assert len(self._kept) <= self._limits[0], "R3: events kept"
        assert self._size == sum(len(event.payload) for event in self._kept) <= self._limits[1], "R3: bytes kept"
        offsets = [(event.pos.ep, event.pos.off) for event in self._kept]
        assert len(set(offsets)) == len(offsets), "B4: an event came twice"


async def advance(cursor: Cursor, broker: Broker, room: str, *, recent: int = 0, limit: int = EVENTS) -> Step:
    """Read one page for a pending cursor; deliver the step before anything else is awaited.

    Args:
        recent: how many of the latest messages a reader gets that has none, or has lost what it had.
        limit: how many messages a page has at most, otherwise.

    Raises:
        Unavailable: the history could not be read; the cursor is as it was.

    Cancellation: nothing was handed out.
    """
    since, reverse = cursor.ask()
    return cursor.page(await broker.history(room, since, recent if reverse else limit, reverse))
