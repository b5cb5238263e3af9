"""The cursor by itself: a history and a queue of live events that do whatever a broker may do."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st
from tests.chat.broker.cursor import Cursor, Step

from examples.chat.broker import Event, HistoryPage, Pos, Resync
from examples.chat.broker.window import part


def at(off: int, ep: str = "a") -> Event:
    return Event("lobby", Pos(off, ep), b"%d" % off)


def page(events: Sequence[int], top: int, ep: str = "a", *, complete: bool = True) -> HistoryPage:
    return HistoryPage([at(off, ep) for off in events], Pos(top, ep), complete)


def offsets(events: Sequence[Event]) -> list[int]:
    return [event.pos.off for event in events]


def live(cursor: Cursor) -> Cursor:
    """A cursor that is at its first page's top, 5."""
    cursor.ask()
    cursor.page(page([], 5))
    return cursor


def test_join_without_since() -> None:
    """Who comes for the first time gets the latest messages, then what is live; nothing was recovered or lost."""
    cursor = Cursor()
    assert cursor.ask() == (None, True)
    assert offsets(cursor.page(page([5, 4], 5, complete=False)).events) == [4, 5]
    assert (cursor.pending, cursor.position, cursor.recovered) == (False, Pos(5, "a"), None)
    assert offsets(cursor.live(at(6))) == [6]


def test_join_with_since() -> None:
    """What was missed, then what came while it was read, then what is live: each once."""
    cursor = Cursor(Pos(2, "a"))
    assert cursor.live(at(4)) == ()
    assert cursor.ask() == (Pos(2, "a"), False)
    for off in (5, 6):
        assert cursor.live(at(off)) == ()
    assert offsets(cursor.page(page([3, 4, 5], 5)).events) == [3, 4, 5, 6]
    assert not cursor.pending
    assert cursor.recovered
    assert offsets(cursor.live(at(7))) == [7]


def test_page_ahead_of_the_node() -> None:
    """Events that the page had already come out at the node later: they are not handed out again."""
    cursor = Cursor(Pos(2, "a"))
    cursor.ask()
    assert offsets(cursor.page(page([3, 4, 5], 5)).events) == [3, 4, 5]
    assert [offsets(cursor.live(at(off))) for off in (3, 4, 5, 6)] == [[], [], [], [6]]


def test_hole() -> None:
    """A live event that does not follow makes the cursor read, and hand out what is missing in its place."""
    cursor = live(Cursor())
    assert cursor.live(at(8)) == ()
    assert cursor.pending
    assert cursor.live(at(9)) == ()
    assert cursor.ask() == (Pos(5, "a"), False)
    assert offsets(cursor.page(page([6, 7, 8, 9], 9)).events) == [6, 7, 8, 9]
    assert (cursor.pending, cursor.recovered) == (False, None)


def test_page_that_was_cut() -> None:
    """As long as a page does not reach the top the cursor reads on, whether something came meanwhile or not."""
    for meanwhile in ([], [9]):
        cursor = Cursor(Pos(2, "a"))
        cursor.ask()
        for off in meanwhile:
            cursor.live(at(off))
        assert offsets(cursor.page(page([3, 4], 8, complete=False)).events) == [3, 4]
        assert cursor.pending
        assert cursor.ask() == (Pos(4, "a"), False)


def test_hole_in_what_came_meanwhile() -> None:
    """A hole that nobody told of, in what was kept: the cursor reads on, even if nothing comes after it."""
    cursor = Cursor(Pos(2, "a"))
    cursor.ask()
    for off in (4, 6):
        cursor.live(at(off))
    assert offsets(cursor.page(page([3], 3)).events) == [3, 4]
    assert cursor.pending
    assert cursor.ask() == (Pos(4, "a"), False)


@pytest.mark.parametrize(
    "answer", [page([], 9, complete=False), page([], 3, "b", complete=False), page([7, 8, 9], 9, complete=False)]
)
def test_what_cannot_be_had(answer: HistoryPage) -> None:
    """Trimmed, another epoch, a hole in the page: it is said that something is lost, then the latest comes."""
    cursor = Cursor(Pos(5, "a"))
    cursor.ask()
    assert cursor.page(answer) == Step(lost=True)
    assert (cursor.pending, cursor.recovered, cursor.position) == (True, False, None)
    assert cursor.ask() == (None, True)
    top = answer.top
    assert offsets(cursor.page(HistoryPage([Event("lobby", top, b"")], top, False)).events) == [top.off]
    assert (cursor.pending, cursor.recovered, cursor.position) == (False, False, top)


def test_epoch_changes_while_live() -> None:
    """An event of another epoch is not passed on, whichever of the two is the newer one."""
    cursor = live(Cursor(Pos(5, "a")))
    assert cursor.live(at(6, "b")) == ()
    cursor.ask()
    assert cursor.page(page([], 6, "b", complete=False)).lost
    cursor.ask()
    assert offsets(cursor.page(page([6], 6, "b")).events) == [6]
    # One that was under way since before the change: the history says again that all is well.
    assert cursor.live(at(6, "a")) == ()
    assert cursor.pending
    cursor.ask()
    assert cursor.page(page([], 6, "b")) == Step([])
    assert not cursor.pending


def test_resync_while_the_page_is_under_way() -> None:
    """A page that was asked for before something was lost is used, and does not end the pending."""
    cursor = Cursor(Pos(2, "a"))
    cursor.ask()
    cursor.behind()
    assert offsets(cursor.page(page([3], 3)).events) == [3]
    assert cursor.pending
    assert cursor.ask() == (Pos(3, "a"), False)
    assert offsets(cursor.page(page([4], 4)).events) == [4]
    assert not cursor.pending


def test_bounded_by_events_and_bytes() -> None:
    """R3: what does not fit is read from the history instead; the first ones are used."""
    for cursor in (Cursor(Pos(2, "a"), events=2), Cursor(Pos(2, "a"), size=2)):
        cursor.ask()
        for off in (4, 5, 6, 7):
            cursor.live(at(off))
            cursor._check()
        assert offsets(cursor.page(page([3], 3)).events) == [3, 4, 5]
        assert cursor.pending
        assert cursor.ask() == (Pos(5, "a"), False)
        assert offsets(cursor.page(page([6, 7], 7)).events) == [6, 7]
        assert not cursor.pending


def test_undelivered() -> None:
    """Who could not pass on what was handed out gets it again."""
    cursor = live(Cursor())
    for off in (6, 7):
        cursor.live(at(off))
    cursor.undelivered(Pos(5, "a"))
    assert cursor.ask() == (Pos(5, "a"), False)
    assert offsets(cursor.page(page([6, 7], 7)).events) == [6, 7]
    assert cursor.recovered is None


def test_a_page_nobody_asked_for() -> None:
    """A page that belongs to no question is a mistake of the caller, and changes nothing."""
    cursor = Cursor(Pos(2, "a"))
    with pytest.raises(RuntimeError, match="ask"):
        cursor.page(page([3], 3))
    assert cursor.position == Pos(2, "a")


class World:
    """A room, a node's queue, and a reader: each step is one that a broker and a network may take."""

    def __init__(self, since: int | None, window: int, events: int) -> None:
        self.window = window
        self.epoch = 0
        self.published: list[Event] = []  # of this epoch
        self.queue: deque[Event | Resync] = deque()
        self.asked: tuple[Pos | None, bool] | None = None
        self.page: HistoryPage | None = None
        start = None if since is None else Pos(since, "0")
        self.cursor = Cursor(start, events=events)
        self.got: list[Event] = []
        self.last = start
        self.untold = False

    def publish(self) -> None:
        event = at(len(self.published) + 1, str(self.epoch))
        self.published.append(event)
        self.queue.append(event)

    def lose_memory(self) -> None:
        self.forget()
        self.queue.append(Resync(None))

    def forget(self) -> None:
        """Lose the memory, and tell nobody."""
        self.epoch += 1
        self.published.clear()
        self.untold = True

    def lose_event(self) -> None:
        if self.queue and self.queue[0] != Resync(None):
            self.queue.popleft()
            self.queue.append(Resync(None))

    def ask(self) -> None:
        if self.cursor.pending and self.asked is None:
            self.asked = self.cursor.ask()

    def read(self) -> None:
        """The broker looks into its history; the answer may take longer."""
        if self.asked is not None and self.page is None:
            since, reverse = self.asked
            top = Pos(len(self.published), str(self.epoch))
            first = max(1, top.off - self.window + 1)
            wanted, complete = part(top, first, since, 0 if reverse else 3, reverse)
            self.page = HistoryPage([self.published[off - 1] for off in wanted], top, complete)

    def answer(self) -> None:
        if self.page is not None:
            page, self.page, self.asked = self.page, None, None
            step = self.cursor.page(page)
            if step.lost:
                assert self.cursor.recovered is False
                self.last = None
                note("lost")
            self.deliver(step.events)

    def come(self) -> None:
        if self.queue:
            event = self.queue.popleft()
            if isinstance(event, Resync):
                self.cursor.behind()
            else:
                self.deliver(self.cursor.live(event))

    def deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            if self.last is not None:
                assert event.pos == Pos(self.last.off + 1, self.last.ep), "R1"
            self.last = event.pos
            self.got.append(event)
        self.cursor._check()


STEPS = [
    "publish",
    "publish",
    "publish",
    "ask",
    "read",
    "answer",
    "come",
    "come",
    "lose_event",
    "lose_memory",
    "forget",
]


@given(
    st.lists(st.sampled_from(STEPS), max_size=80),
    st.none() | st.integers(0, 3),
    st.integers(1, 8),
    st.integers(1, 4),
)
def test_any_order(steps: list[str], since: int | None, window: int, events: int) -> None:
    """R1 and R2 in any order of events; and once it is quiet, the reader soon stands where the room does."""
    world = World(since, window, events)
    for step in steps:
        getattr(world, step)()
    if world.untold:
        world.publish()  # what nobody tells of shows with the next message
    for _ in range(100):
        for step in ("come", "ask", "read", "answer"):
            getattr(world, step)()
    assert not world.queue
    assert not world.cursor.pending
    assert world.cursor.position == Pos(len(world.published), str(world.epoch))
    if world.cursor.recovered:
        assert since is not None
        assert offsets(world.got) == list(range(since + 1, len(world.published) + 1)), "R2: all since `since`"
