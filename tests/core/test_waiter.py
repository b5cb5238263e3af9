"""A parked operation: its states, and the one claim that all the entries of a select share."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import anyio
import pytest
from tests.conformance.helpers import until

from gochan import Channel, Group
from gochan._core.driver import current_driver
from gochan._core.waiter import CANCELLED, COMMITTED, PARKED, SelectEntry, Waiter
from gochan._core.waitqueue import WaitQueue


class Parked(Waiter):
    """A waiter without a task: it counts how often it is committed."""

    __slots__ = ("commits",)

    def __init__(self) -> None:
        self.item = None
        self.queue = None
        self.entries = None
        self.state = PARKED
        self.commits = list[Any]()

    def commit(self, value: Any) -> None:
        assert self.state == PARKED, "W1: it left PARKED before"
        self.state = COMMITTED
        self.commits.append(value)

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError


def entry_of(waiter: Waiter, number: int) -> SelectEntry:
    entry = SelectEntry()
    entry.waiter, entry.number, entry.item, entry.queue = waiter, number, None, None
    return entry


def parked_select(queues: list[WaitQueue]) -> tuple[Parked, list[SelectEntry]]:
    """One waiter with an entry in every queue, in the middle of others."""
    waiter = Parked()
    waiter.entries = entries = [entry_of(waiter, number) for number in range(len(queues))]
    for queue, entry in zip(queues, entries, strict=True):
        queue.append(Parked())
        queue.append(entry)
        queue.append(Parked())
    return waiter, entries


@pytest.mark.parametrize("winner", range(3))
def test_the_first_commit_takes_all_entries_out(winner: int) -> None:
    """W2: before the task is told, so that a peer in the same tick finds none of them."""
    queues = [WaitQueue() for _ in range(3)]
    waiter, entries = parked_select(queues)
    queues[winner].pop()
    queues[winner].pop().commit("value")
    assert waiter.commits == [(winner, "value")]
    assert [entry.queue for entry in entries] == [None, None, None]
    for number, queue in enumerate(queues):
        queue._check()
        assert len(queue) == (1 if number == winner else 2)


def test_every_queue_at_once_commits_one() -> None:
    """W1: peers that drain all the queues in one go find the select once."""
    queues = [WaitQueue() for _ in range(3)]
    waiter, _ = parked_select(queues)
    for queue in queues:
        queue.drain("value")
    assert len(waiter.commits) == 1


def test_a_queue_that_holds_two_entries_of_one_select() -> None:
    """A channel listed twice: draining its queue commits the select once and goes on with those behind."""
    queue = WaitQueue()
    waiter, behind = Parked(), Parked()
    waiter.entries = [entry_of(waiter, number) for number in range(2)]
    for entry in (*waiter.entries, behind):
        queue.append(entry)
    queue.drain("value")
    assert waiter.commits == [(0, "value")]
    assert behind.commits == ["value"]
    queue._check()


def test_withdrawing_leaves_nothing() -> None:
    """Twice is as good as once; the neighbours stay where they are."""
    queues = [WaitQueue() for _ in range(3)]
    waiter, _ = parked_select(queues)
    for _ in range(2):
        waiter.withdraw()
        for queue in queues:
            queue._check()
            assert len(queue) == 2
    plain, queue = Parked(), WaitQueue()
    queue.append(plain)
    for _ in range(2):
        plain.withdraw()
        assert not queue


async def test_the_states_of_an_operation() -> None:
    """W1: parked, then committed with a value, or cancelled and in no queue."""
    driver = current_driver()
    assert driver is not None
    queue, waiters, got = WaitQueue(), list[Waiter](), list[Any]()

    async def operation(item: str) -> None:
        waiters.append(driver.park(queue, item))
        got.append(await waiters[-1])

    with anyio.fail_after(20):
        async with Group() as group:
            handles = []
            for number, item in enumerate(["first", "second"]):
                handles.append(group.go(operation, item))
                await until(lambda n=number: len(waiters) == n + 1)  # type: ignore[misc]
            assert [(waiter.state, waiter.item) for waiter in waiters] == [(PARKED, "first"), (PARKED, "second")]
            handles[0].cancel()
            await until(lambda: len(queue) == 1)
            queue.pop().commit("value")
            assert [waiter.state for waiter in waiters] == [CANCELLED, COMMITTED]
    assert got == ["value"]
    assert not queue


async def test_a_coroutine_that_is_closed_leaves_the_queue() -> None:
    """Nobody will resume it, so it must not be served."""
    channel = Channel[int]()
    operation = channel.receive()
    operation.send(None)
    assert channel.statistics().receivers_waiting == 1
    operation.close()
    assert channel.statistics().receivers_waiting == 0
    operation = channel.send(1)
    operation.send(None)
    with pytest.raises(ZeroDivisionError):
        operation.throw(ZeroDivisionError())
    assert channel.statistics().senders_waiting == 0
