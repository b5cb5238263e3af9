"""The rows of the table: who competes with whom, and what the ratio shall be."""

from __future__ import annotations

from . import workloads as w
from .harness import Contest, Goal


def _faster(bound: float | None) -> Goal | None:
    return None if bound is None else Goal("at least", bound)


CONTESTS = (
    Contest(
        "handoff-queue",
        "hand-off vs asyncio.Queue(1)",
        "asyncio",
        w.channel(0),
        w.asyncio_queue(1),
        _faster(3),
        "faster",
    ),
    Contest(
        "handoff-anyio",
        "hand-off vs anyio memory stream(0)",
        "asyncio",
        w.channel(0),
        w.anyio_stream(0),
        _faster(10),
        "faster",
    ),
    Contest(
        "cap100-queue",
        "capacity 100 vs asyncio.Queue(100)",
        "asyncio",
        w.channel(100),
        w.asyncio_queue(100),
        _faster(1.5),
        "faster",
        5_000,
    ),
    Contest(
        "cap100-anyio",
        "capacity 100 vs anyio memory stream(100)",
        "asyncio",
        w.channel(100),
        w.anyio_stream(100),
        None,
        "faster",
        5_000,
    ),
    Contest(
        "trio-handoff",
        "trio: hand-off vs memory channel(0)",
        "trio",
        w.channel(0, on_trio=True),
        w.trio_channel(0),
        _faster(2.5),
        "faster",
    ),
    Contest(
        "trio-cap100",
        "trio: capacity 100 vs memory channel(100)",
        "trio",
        w.channel(100, on_trio=True),
        w.trio_channel(100),
        _faster(2.5),
        "faster",
        5_000,
    ),
    Contest(
        "select-parked",
        "select over 4, hand-off, in plain hand-offs",
        "asyncio",
        w.select_parked(),
        w.channel(0),
        Goal("at most", 4),
        "dearer",
    ),
    Contest(
        "select-ready",
        "select over 4, all ready, in plain receives",
        "asyncio",
        w.select_ready,
        w.receive_ready,
        Goal("at most", 4),
        "dearer",
    ),
    Contest(
        "trio-select-parked",
        "trio: select over 4, hand-off, in plain hand-offs",
        "trio",
        w.select_parked(on_trio=True),
        w.channel(0, on_trio=True),
        Goal("at most", 4),
        "dearer",
    ),
    Contest(
        "go",
        "group.go vs asyncio.create_task",
        "asyncio",
        w.spawn_group,
        w.spawn_create_task,
        Goal("at most", 1.5),
        "dearer",
        1_000,
    ),
    Contest(
        "go-taskgroup",
        "group.go vs asyncio.TaskGroup",
        "asyncio",
        w.spawn_group,
        w.spawn_asyncio_task_group,
        None,
        "dearer",
        1_000,
    ),
    Contest(
        "go-anyio",
        "group.go vs anyio task group",
        "asyncio",
        w.spawn_group,
        w.spawn_anyio_task_group,
        None,
        "dearer",
        1_000,
    ),
    Contest("trio-go", "trio: group.go vs nursery", "trio", w.spawn_group, w.spawn_nursery, None, "dearer", 1_000),
)
