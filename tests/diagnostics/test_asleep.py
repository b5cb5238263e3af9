"""``Deadlock``: raised when all goroutines are asleep for ever, and never when anything could still act."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from gochan import Channel, Event, Group, go, run, select
from gochan.diagnostics import Deadlock

BACKENDS = ["asyncio", "trio"]
pytestmark = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def look_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real moment between two looks is for threads that are about to post something; no test here has such."""
    monkeypatch.setattr("gochan.diagnostics._asleep._LOOK_AGAIN", 0.001)


def deadlock_of(main: Any, backend: Any) -> Deadlock:
    with pytest.raises(Deadlock) as caught:
        run(main, backend=backend)
    return caught.value


# Deadlocks.


async def receives() -> None:
    await Channel[int]().receive()


async def sends() -> None:
    await Channel[int]().send(1)


async def selects_nothing() -> None:
    await select()


async def waits_for_a_goroutine() -> None:
    await go(receives).result()


async def waits_for_a_group() -> None:
    async with Group() as group:
        group.go(receives)
        group.go(sends)


async def waits_for_tasks_of_anyio() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(receives)
        group.start_soon(sends)


async def waits_under_a_limit() -> None:
    async with Group(limit=1) as group:
        group.go(receives)
        group.go(sends)
        await group.go_when_free(sends)


async def two_that_wait_for_each_other() -> None:
    x, y = Channel[int](), Channel[int]()

    async def one() -> None:
        await x.receive()
        await y.send(1)

    go(one)
    await y.receive()
    await x.send(1)


async def after_a_while() -> None:
    await anyio.sleep(0.001)
    await anyio.to_thread.run_sync(time.sleep, 0.001)  # its worker is idle now
    await Event().wait()


@pytest.mark.parametrize(
    "main",
    [
        receives,
        sends,
        selects_nothing,
        waits_for_a_goroutine,
        waits_for_a_group,
        waits_for_tasks_of_anyio,
        waits_under_a_limit,
        two_that_wait_for_each_other,
        after_a_while,
    ],
)
def test_it_is_raised(backend: str, main: Any) -> None:
    """Bare, out of ``run``."""
    deadlock = deadlock_of(main, backend)
    assert str(deadlock).startswith("all goroutines are asleep - deadlock!\n\ngoroutine 1 [")
    assert deadlock.goroutines[0].id == 1


@pytest.mark.parametrize("how", ["task", "gather", "TaskGroup", "wait"])
def test_who_waits_for_tasks_of_asyncio_is_asleep_with_them(backend: str, how: str) -> None:
    """However it waits."""
    if backend != "asyncio":
        pytest.skip("not applicable: tasks of asyncio")

    async def main() -> None:
        match how:
            case "task":
                await asyncio.create_task(receives())
            case "gather":
                await asyncio.gather(receives(), sends())
            case "wait":
                await asyncio.wait([asyncio.create_task(receives())])
            case _:
                async with asyncio.TaskGroup() as group:
                    group.create_task(receives())

    deadlock_of(main, backend)


def test_it_shows_all_that_are_alive(backend: str) -> None:
    """main first, each with what it waits for and where it was made."""

    async def main() -> None:
        jobs = Channel[int](name="jobs")
        go(jobs.receive, name="worker")
        await Event().wait()

    deadlock = deadlock_of(main, backend)
    assert [(info.id, info.name, info.state) for info in deadlock.goroutines] == [
        (1, "main", "event wait"),
        (2, "worker", "chan receive"),
    ]
    assert "goroutine 2 [chan receive] {chan: jobs" in str(deadlock)


def test_clean_up_runs(backend: str) -> None:
    """Of main and of the goroutines; it may wait for what can still happen."""
    log: list[str] = []

    async def worker() -> None:
        try:
            await receives()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
            log.append("worker")

    async def main() -> None:
        go(worker)
        try:
            await receives()
        finally:
            log.append("main")

    deadlock_of(main, backend)
    assert sorted(log) == ["main", "worker"]


def test_main_that_swallows_the_cancellation_does_not_hide_it(backend: str) -> None:
    """Whatever main returns or raises afterwards."""

    async def returns() -> int:
        try:
            await receives()
        except BaseException:
            return 1
        return 2

    async def raises() -> None:
        try:
            await receives()
        finally:
            raise ValueError("in the clean-up")

    deadlock_of(returns, backend)
    deadlock_of(raises, backend)


def test_a_failing_clean_up_does_not_hide_it(backend: str) -> None:
    """A goroutine's error neither."""

    async def worker() -> None:
        try:
            await receives()
        finally:
            raise ValueError("in the clean-up")

    async def main() -> None:
        go(worker)
        await receives()

    deadlock_of(main, backend)


def test_a_clean_up_that_falls_asleep_is_given_up(backend: str) -> None:
    """It is reported with the first one."""
    log: list[str] = []

    async def worker() -> None:
        try:
            await receives()
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await Event().wait()
            finally:
                log.append("given up")

    async def main() -> None:
        go(worker)
        await receives()

    deadlock = deadlock_of(main, backend)
    assert log == ["given up"]
    [note] = deadlock.__notes__
    assert "clean-up" in note
    assert "[event wait]" in note


def test_a_clean_up_after_main_that_falls_asleep_is_one(backend: str) -> None:
    """main has returned, and the run would never end."""

    async def worker() -> None:
        with anyio.CancelScope(shield=True):
            await receives()

    async def main() -> None:
        go(worker)
        await anyio.sleep(0.001)

    deadlock_of(main, backend)


def test_the_next_run_starts_afresh(backend: str) -> None:
    """A deadlock leaves nothing behind."""
    deadlock_of(receives, backend)

    async def main() -> int:
        await anyio.sleep(0)
        return 3

    assert run(main, backend=backend) == 3  # type: ignore[arg-type]
