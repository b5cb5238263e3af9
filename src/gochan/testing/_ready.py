"""The tasks that are ready, and which of them makes the next step: the schedule's choice.

Invariants
    D1  ``lanes`` is in spawn order, whatever order the tasks became ready in.
    D2  A step costs O(log n) of the ready tasks where the schedule does not look at each of them, so that a program
        may have ten thousand.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, TypeVar, overload

if TYPE_CHECKING:
    from ._schedule import Schedule
    from ._world import World

FEW: Final = 64  # tasks whose labels are put into a list: strategies look at that more than once


class Lane:
    """What the world knows of one task."""

    __slots__ = ("label", "last", "number")

    def __init__(self, number: int) -> None:
        self.number = number  # in spawn order
        self.label = ""
        self.last = 0  # the turn in which it last made a step

    def __lt__(self, other: Lane) -> bool:
        return self.number < other.number

    def named(self) -> str:
        """Its label: the same in every run of the same program."""
        return self.label


L = TypeVar("L", bound=Lane)


class Ready(Generic[L]):
    """The ready tasks of one run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lanes: list[L] = []
        self._turn = 0
        self._by_turn: list[tuple[int, int, L]] = []  # a heap for schedules that go in turn
        self._by_turn_for: Schedule | None = None

    def __len__(self) -> int:
        return len(self.lanes)

    def add(self, lane: L) -> None:
        insort(self.lanes, lane)
        if self._by_turn_for is self.world.schedule:
            heappush(self._by_turn, (lane.last, lane.number, lane))

    def take(self) -> L:
        """Take out the one that goes next; there must be one."""
        lanes, schedule = self.lanes, self.world.schedule
        if len(lanes) == 1:
            index = 0
        elif schedule.in_turn:
            index = self._next_in_turn(schedule)
        else:
            index = self.world.choose("task", [lane.named() for lane in lanes] if len(lanes) <= FEW else Labels(lanes))
        lane = lanes.pop(index)
        self._turn += 1
        lane.last = self._turn
        return lane

    def _next_in_turn(self, schedule: Schedule) -> int:
        if self._by_turn_for is not schedule:
            self._by_turn_for = schedule
            self._by_turn = [(lane.last, lane.number, lane) for lane in self.lanes]
            heapify(self._by_turn)
        lanes = self.lanes
        while True:
            last, _, lane = heappop(self._by_turn)
            index = bisect_left(lanes, lane)
            # One that was the only ready task was taken without a look at the heap.
            if lane.last == last and index < len(lanes) and lanes[index] is lane:
                return index


class Labels(Sequence[str]):
    """The labels of many tasks, made when they are asked for."""

    __slots__ = ("_lanes",)

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes

    def __len__(self) -> int:
        return len(self._lanes)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [lane.named() for lane in self._lanes[index]]
        return self._lanes[index].named()

    def __iter__(self) -> Iterator[str]:
        return (lane.named() for lane in self._lanes)
