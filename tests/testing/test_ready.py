"""Many ready tasks at a time."""

from __future__ import annotations

from typing import Literal

import pytest

from gochan import WaitGroup, sleep, testing
from gochan.testing._ready import FEW, Labels, Lane, Ready
from gochan.testing._schedule import InOrder, Seeded
from gochan.testing._world import World


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("seed", [None, 7])
def test_three_thousand_goroutines_wake_together(backend: Literal["asyncio", "trio"], seed: int | None) -> None:
    """A step does not look at all that are ready, so they take a second and not minutes; each has its turns."""

    async def main() -> list[int]:
        ended: list[int] = []
        group = WaitGroup()

        async def work(number: int) -> None:
            await sleep(1)
            await sleep(0)
            ended.append(number)

        for number in range(3_000):
            group.go(work, number)
        await group.wait()
        return ended

    ended = testing.run(main, backend=backend, seed=seed)
    assert sorted(ended) == list(range(3_000))


def lanes(number: int) -> list[Lane]:
    made = [Lane(number) for number in range(1, number + 1)]
    for lane in made:
        lane.label = f"{lane.number} task"
    return made


def test_in_turn() -> None:
    """Whoever has waited longest for a step has it, in spawn order at first; also after it was alone for a while."""
    ready = Ready[Lane](World(InOrder()))
    first, second, third = lanes(3)
    for lane in (third, first, second):
        ready.add(lane)
    assert [ready.take().number for _ in range(2)] == [1, 2]
    ready.add(first)
    assert ready.take() is third
    assert ready.take() is first  # alone
    for lane in (first, second, third):
        ready.add(lane)
    assert [ready.take().number for _ in range(3)] == [2, 3, 1]
    assert not ready


def test_a_schedule_that_is_exchanged() -> None:
    """The clean-up goes in turn, whatever went before."""
    world = World(Seeded(3))
    ready = Ready[Lane](world)
    some = lanes(5)
    for lane in some:
        ready.add(lane)
    taken = [ready.take() for _ in range(2)]
    world.schedule = InOrder()
    rest = [lane.number for lane in some if lane not in taken]
    assert [ready.take().number for _ in range(3)] == rest


def test_labels_of_many() -> None:
    """What a strategy is given for many tasks reads as the list that it is given for few."""
    some = lanes(FEW + 3)
    labels, plain = Labels(some), [lane.label for lane in some]
    assert list(labels) == plain
    assert len(labels) == len(plain)
    assert labels[5] == plain[5]
    assert labels[3:7] == plain[3:7]
    assert labels.index(plain[9]) == 9
    assert plain[11] in labels
