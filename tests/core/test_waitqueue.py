"""The FIFO of parked operations."""

from __future__ import annotations

import random

import pytest

from gochan._core.waitqueue import Entry, WaitQueue


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
