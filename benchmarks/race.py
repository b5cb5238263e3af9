"""Many contenders, one track: each takes a short turn in every round, in an order that moves on by one each time.

How many operations make a turn of `TURN` seconds is found for each contender first; these turns are its warm-up too.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable, Mapping
from typing import TypeVar

from .harness import Backend, Workload

TURN = 0.006
Name = TypeVar("Name", bound=Hashable)


def calibrate(backend: Backend, workload: Workload, *, step: int, turn: float = TURN, most: int = 20_000) -> int:
    """Operations, a multiple of `step`, that take about `turn` seconds."""
    operations = step
    while True:
        seconds = backend.turn(workload, operations)
        if seconds >= turn / 4 or operations >= most:
            wanted = operations * turn / max(seconds, 1e-9)
            return max(step, min(most, int(wanted)) // step * step)
        operations *= 4


def race(
    backend: Backend, contenders: Mapping[Name, Workload], rounds: int, *, step: int = 100, turn: float = TURN
) -> dict[Name, list[float]]:
    """Nanoseconds an operation, of each contender in each round."""
    operations = {name: calibrate(backend, work, step=step, turn=turn) for name, work in contenders.items()}
    times: dict[Name, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        for name in order:
            gc.collect()
            n = operations[name]
            times[name].append(backend.turn(contenders[name], n) / n * 1e9)
        order.append(order.pop(0))
    return times
