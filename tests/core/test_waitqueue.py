"""The FIFO of parked operations."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from gochan import Event, Group, select
from gochan._case import Case
from gochan._core.driver import Driver, LoopBound
from gochan._core.waiter import SelectEntry
from gochan._core.waitqueue import Entry, WaitQueue, WatchedQueue


class Place(Entry):
    __slots__ = ("got", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.got: list[object] = []
        self.queue = None

    def commit(self, value: object) -> None:
        self.got.append(value)


def test_entries_leave_in_the_order_in_which_they_came() -> None:
    """Q3: first come, first served."""
    queue = WaitQueue()
    places = [Place(n) for n in range(5)]
    for place in places:
        queue.append(place)
        queue._check()
    assert [queue.pop() for _ in places] == places
    queue._check()
    assert len(queue) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_queue_agrees_with_a_list_whoever_leaves(seed: int) -> None:
    """Q2 and Q3 hold through any mixture of arrivals, commits and withdrawals."""
    rng = random.Random(seed)
    queue, model = WaitQueue(), list[Place]()
    for number in range(500):
        match rng.randrange(3):
            case 0:
                model.append(place := Place(number))
                queue.append(place)
            case 1 if model:
                assert queue.pop() is model.pop(0)
            case 2 if model:
                leaver = model.pop(rng.randrange(len(model)))
                queue.remove(leaver)
                assert leaver.queue is None
            case _:
                pass
        queue._check()
        assert len(queue) == len(model)


def test_drain_commits_everybody_in_order() -> None:
    """Everybody gets the value, the longest waiting first, and the queue is empty."""
    queue, order = WaitQueue(), list[int]()
    places = [Place(n) for n in range(3)]
    for place in places:
        queue.append(place)
        place.got = order  # type: ignore[assignment]
    queue.drain("end")
    assert order == ["end", "end", "end"]
    assert queue.head is None


def test_check_finds_a_broken_queue() -> None:
    """The executable invariants notice a wrong tail, owner and link."""
    for breakage in ("tail", "queue", "link"):
        queue = WaitQueue()
        places = [Place(n) for n in range(3)]
        for place in places:
            queue.append(place)
        match breakage:
            case "tail":
                queue.tail = places[1]
            case "queue":
                places[1].queue = None
            case _:
                places[2].previous = places[0]
        with pytest.raises(AssertionError, match="Q"):
            queue._check()


# ---- watched ----


class Watched(LoopBound):
    """A primitive with nothing but a watched queue: who comes waits, until somebody is let go."""

    def __init__(self, left: Callable[[], object]) -> None:
        super().__init__()
        self.waiters = WatchedQueue(left)

    async def wait(self) -> Any:
        driver = self.enter()
        self.owner = driver
        return await driver.park(self.waiters)

    def __case__(self) -> Case[Any]:
        return WatchedCase(self)

    def forget_waiters(self) -> None:
        raise AssertionError


class WatchedCase(Case[Any]):
    """Never ready."""

    def __init__(self, place: Watched) -> None:
        self._state = place

    def _ready(self) -> bool:
        return False

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        entry.item = None
        self._state.owner = driver
        self._state.waiters.append(entry)


async def test_a_waiter_that_leaves_is_told_when_it_is_out() -> None:
    """Cancelled, it is in the queue no more when ``left`` runs, and those behind it stand first."""
    lengths: list[int] = []
    place = Watched(lambda: lengths.append(len(place.waiters)))
    async with Group() as group:
        waiting = [group.go(place.wait) for _ in range(3)]
        await anyio.wait_all_tasks_blocked()
        for goroutine in waiting:
            goroutine.cancel()
            await goroutine.done.wait()
            place.waiters._check()
    assert lengths == [2, 1, 0]


async def test_a_commit_is_no_leaving() -> None:
    """Neither of a plain operation nor of a select."""
    told: list[None] = []
    place = Watched(lambda: told.append(None))
    async with Group() as group:
        results = [group.go(place.wait), group.go(select, Event(), place)]
        await anyio.wait_all_tasks_blocked()
        place.waiters.commit_first("first")
        place.waiters.drain("all")
    assert [await goroutine.result() for goroutine in results] in (["first", (1, "all")], ["all", (1, "first")])
    assert told == []


@pytest.mark.parametrize("ends", ["another case", "cancelled"])
async def test_a_select_has_left_every_queue_before_anybody_is_told(ends: str) -> None:
    """Whoever is let go by ``left`` finds no entry of it anywhere; each queue is told of each entry."""
    seen: list[tuple[int, int]] = []

    def left() -> None:
        for place in (a, b):
            place.waiters._check()
        seen.append((len(a.waiters), len(b.waiters)))

    a, b, event = Watched(left), Watched(left), Event()
    with anyio.fail_after(20):
        async with Group() as group:
            goroutine = group.go(select, a, event, b, a)
            await anyio.wait_all_tasks_blocked()
            assert (len(a.waiters), len(b.waiters)) == (2, 1)
            if ends == "cancelled":
                goroutine.cancel()
            else:
                event.set()
            await goroutine.done.wait()
    assert seen == [(0, 0)] * 3


async def test_the_queue_of_the_case_that_won_is_not_told() -> None:
    """But that of its sister is, before the task goes on."""
    told: list[str] = []
    a, b = Watched(lambda: told.append("a")), Watched(lambda: told.append("b"))
    async with Group() as group:
        goroutine = group.go(select, a, b)
        await anyio.wait_all_tasks_blocked()
        a.waiters.commit_first("won")
        assert told == ["b"]
        assert await goroutine.result() == (0, "won")
    assert told == ["b"]


async def test_left_may_let_the_next_go() -> None:
    """In the middle of a commit, too: who is let go may be another case of a select that stands in the same queues."""
    order: list[str] = []
    a = Watched(lambda: None)

    def left() -> None:
        order.append("left b")
        if b.waiters:
            b.waiters.commit_first("from left")

    b = Watched(left)
    with anyio.fail_after(20):
        async with Group() as group:
            first = group.go(select, a, b)
            await anyio.wait_all_tasks_blocked()
            second = group.go(select, a, b)
            await anyio.wait_all_tasks_blocked()
            third = group.go(b.wait)
            await anyio.wait_all_tasks_blocked()
            a.waiters.commit_first("from a")
            # The second was let go by the first one's leaving, and left the queue of a: nobody else was told of b.
            assert len(a.waiters) == 0
            assert len(b.waiters) == 1
            b.waiters.commit_first("last")
            assert await first.result() == (0, "from a")
            assert await second.result() == (1, "from left")
            assert await third.result() == "last"
    assert order == ["left b"]


async def test_left_may_end_a_chain_of_waiters() -> None:
    """Each one that leaves cancels the next, in its ``left``: as deep as the queue is long."""
    place = Watched(lambda: None)
    leaving: list[int] = []

    def left() -> None:
        leaving.append(len(place.waiters))
        head = place.waiters.head
        if isinstance(head, SelectEntry):
            head.waiter.withdraw()
            head.waiter.commit((0, "gone"))

    place = Watched(left)
    with anyio.fail_after(20):
        async with Group() as group:
            waiting = [group.go(select, place) for _ in range(20)]
            await anyio.wait_all_tasks_blocked()
            waiting[0].cancel()
            results = [await goroutine.result() for goroutine in waiting[1:]]
    assert results == [(0, "gone")] * 19
    assert leaving == list(range(19, -1, -1))
