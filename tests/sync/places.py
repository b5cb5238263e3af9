"""Parked operations without a loop, for the state machines alone."""

from __future__ import annotations

from typing import Any

from gochan._core.driver import NOWHERE
from gochan._core.waiter import CANCELLED, COMMITTED, PARKED, SelectEntry, Waiter
from gochan._core.waitqueue import WaitQueue


class Place(Waiter):
    """A parked operation that notes what it was committed with, and when, in the log that it is given."""

    __slots__ = ("got", "log", "name")

    def __init__(self, name: Any, log: list[Any]) -> None:
        self.name = name
        self.log = log
        self.item = None
        self.queue = None
        self.entries = None
        self.state = PARKED
        self.since = 0.0
        self.got: list[Any] = []

    def commit(self, value: Any) -> None:
        assert self.state == PARKED
        self.state = COMMITTED
        self.got.append(value)
        self.log.append(self.name)

    def give_up(self) -> None:
        """As a cancellation does."""
        assert self.state == PARKED
        self.withdraw()
        self.state = CANCELLED

    def stand(self, queue: WaitQueue, item: Any = None) -> Place:
        """In one queue."""
        self.item = item
        queue.append(self)
        return self

    def select(self, *cases: Any) -> Place:
        """In the queues of these cases."""
        self.entries = []
        for number, case in enumerate(cases):
            entry = SelectEntry()
            entry.waiter = self
            entry.number = number
            self.entries.append(entry)
            case._publish(entry, NOWHERE)
        return self
