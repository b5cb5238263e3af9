"""The rows of the toolbox. Those that are "grown" compare ten times as many with so many, by the piece."""

from __future__ import annotations

from . import toolbox as t
from .harness import Contest, Goal, Workload

_FLAT = Goal("at most", 1.5)  # a heap, and caches that overflow, cost a little more when there is more in them


def _lock(name: str, what: str, make: object, theirs: str, goal: Goal | None = None) -> Contest:
    assert callable(make)
    return Contest(
        f"mutex-{name}-{theirs.replace(' ', '-')}",
        f"{what} vs {theirs}",
        "asyncio",
        make("gochan"),
        make(theirs),
        goal,
        "faster",
        needs="aiologic" if theirs == "aiologic" else None,
    )


def _grown(name: str, title: str, small: Workload, large: Workload, operations: int) -> Contest:
    return Contest(f"{name}-grown", title, "asyncio", large, small, _FLAT, "dearer", operations)


_NOT_SLOWER = Goal("at least", 1)

TOOLBOX = (
    _lock("pair", "Mutex: acquire and release", t.lock_pair, "asyncio", _NOT_SLOWER),
    _lock("block", "Mutex: async with", t.lock_block, "asyncio", _NOT_SLOWER),
    _lock("pair", "Mutex: acquire and release", t.lock_pair, "anyio"),
    _lock("pair", "Mutex: acquire and release", t.lock_pair, "anyio fast"),
    _lock("pair", "Mutex: acquire and release", t.lock_pair, "aiologic"),
    _lock("contended", "Mutex: ten tasks", t.lock_contended, "asyncio"),
    _lock("contended", "Mutex: ten tasks", t.lock_contended, "anyio"),
    _lock("contended", "Mutex: ten tasks", t.lock_contended, "aiologic"),
    Contest(
        "semaphore-asyncio",
        "Semaphore(3), ten tasks vs asyncio.Semaphore",
        "asyncio",
        t.semaphore("gochan"),
        t.semaphore("asyncio"),
        None,
        "faster",
    ),
    Contest(
        "semaphore-anyio",
        "Semaphore(3), ten tasks vs anyio.CapacityLimiter",
        "asyncio",
        t.semaphore("gochan"),
        t.semaphore("anyio"),
        None,
        "faster",
    ),
    Contest(
        "event",
        "Event, a waiter vs asyncio.Event",
        "asyncio",
        t.event("gochan"),
        t.event("asyncio"),
        None,
        "faster",
        1_000,
    ),
    Contest(
        "wait-group",
        "WaitGroup.go of 10,000 vs asyncio.gather",
        "asyncio",
        t.wait_group_go,
        t.gather,
        None,
        "dearer",
        10_000,
    ),
    Contest(
        "context-timeout",
        "with_timeout and cancel vs asyncio.timeout",
        "asyncio",
        t.context_timeout,
        t.asyncio_timeout,
        None,
        "dearer",
    ),
    Contest(
        "context-scope",
        "with_timeout and scope vs anyio.fail_after",
        "asyncio",
        t.context_scope,
        t.anyio_timeout,
        None,
        "dearer",
        1_000,
    ),
    Contest("timer", "a timer set and taken back vs call_later", "asyncio", t.timers(0), t.call_later, None, "dearer"),
    Contest(
        "timers-waiting",
        "1,000 tasks wait for timers vs asyncio.sleep",
        "asyncio",
        t.waiting_timers(1_000),
        t.sleeping_tasks(1_000),
        None,
        "faster",
    ),
    _grown(
        "context-wide",
        "cancel a context with 10,000 children, vs 1,000",
        t.context_tree(1_000, 1_000),
        t.context_tree(10_000, 10_000),
        10_000,
    ),
    _grown(
        "context-deep",
        "cancel a chain of 10,000 contexts, vs 1,000",
        t.context_tree(1_000, 1),
        t.context_tree(10_000, 1),
        10_000,
    ),
    _grown(
        "context-tree",
        "cancel a tree of 10,000 contexts, vs 1,000",
        t.context_tree(1_000, 10),
        t.context_tree(10_000, 10),
        10_000,
    ),
    _grown("timers", "a timer among 100,000 that are pending, vs 10,000", t.timers(10_000), t.timers(100_000), 1_000),
    _grown(
        "timers-waiting",
        "10,000 tasks wait for timers, vs 1,000",
        t.waiting_timers(1_000),
        t.waiting_timers(10_000),
        10_000,
    ),
)
