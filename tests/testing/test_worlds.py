"""The worlds: one step at a time in an order that is the same everywhere, and what lies outside them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.testing.toy import Always

import gochan
from gochan import testing
from gochan.testing._schedule import InOrder, Schedule, Seeded
from gochan.testing._world import execute


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


class Recorded(Schedule):
    """Every question, answered by another schedule."""

    def __init__(self, inner: Schedule) -> None:
        self.inner = inner
        self.questions = list[tuple[str, tuple[str, ...], int]]()

    def choose(self, kind: str, options: Sequence[str]) -> int:
        choice = self.inner.choose(kind, options)
        self.questions.append((kind, tuple(options), choice))
        return choice

    def running(self, task: str, coroutine: Any) -> None:
        self.inner.running(task, coroutine)


async def everything() -> list[str]:
    """A program with what tempts a run to differ: sets of tasks, time-outs of one time, cancellation, select."""
    trace = list[str]()

    async def waits(name: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            trace.append(f"cancelled {name}")

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(waits, n)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()

    async def times_out(name: int) -> None:
        with anyio.move_on_after(1):
            await anyio.sleep_forever()
        trace.append(f"time-out {name}")

    async with anyio.create_task_group() as tasks:
        for n in range(5):
            tasks.start_soon(times_out, n)

    a, b = gochan.Channel[int](2), gochan.Channel[int]()

    async def give(channel: gochan.Channel[int]) -> None:
        for n in range(3):
            await channel.send(n)

    async with gochan.Group() as group:
        group.go(give, a)
        group.go(give, b)
        for _ in range(6):
            number, value = await gochan.select(a, b)
            trace.append(f"{number} {value}")

    async with gochan.Group() as group:
        for n in range(4):
            group.go(waits, n)
        await testing.wait_idle()
        group.cancel()
    return trace


def one_run(backend: Any, seed: int) -> str:
    recorded = Recorded(Seeded(seed))
    trace = execute(everything, (), backend, recorded)
    return hashlib.sha256(repr((trace, recorded.questions)).encode()).hexdigest()


# ---- the same everywhere ----


def test_a_run_is_the_same_every_time(backend: Any) -> None:
    """Its trace and every question it asked, in one process."""
    assert len({one_run(backend, 1) for _ in range(10)}) == 1
    assert len({one_run(backend, seed) for seed in range(5)}) == 5


def test_a_run_is_the_same_from_process_to_process() -> None:
    """With another order of hashes in each."""
    program = """
from tests.testing.test_worlds import one_run
print(*(one_run(backend, 7) for backend in ("asyncio", "trio")))
"""
    runs = list[str]()
    for seed in ("0", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=50)
        assert done.stdout, done.stderr
        runs.append(done.stdout)
    assert len(set(runs)) == 1


def test_labels_are_spawn_numbers_and_names(backend: Any) -> None:
    """The same on both backends, whoever made the task."""
    recorded = Recorded(InOrder())

    async def plain() -> None:
        await anyio.lowlevel.checkpoint()

    async def main() -> None:
        async with gochan.Group() as group:
            group.go(plain, name="first")
            group.go(plain, name="second")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(plain, name="third")
            tasks.start_soon(plain, name="fourth")

    execute(main, (), backend, recorded)
    labels = {label for kind, options, _ in recorded.questions if kind == "task" for label in options}
    assert labels - {"1 main"} == {"2 first", "3 second", "4 third", "5 fourth"}


def test_options_come_in_spawn_order(backend: Any) -> None:
    """Not in the order of arrival, which a set of tasks decides."""
    recorded = Recorded(Seeded(3))
    execute(everything, (), backend, recorded)
    for kind, options, _ in recorded.questions:
        if kind == "task":
            numbers = [int(label.split()[0]) for label in options]
            assert numbers == sorted(numbers)


# ---- plumbing ----


def test_a_shielded_task_that_is_cancelled_lets_time_pass(backend: Any) -> None:
    """The cancellation is delivered again and again until the task is gone; that is not progress."""

    async def main() -> float:
        async def shielded() -> None:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3600)

        async with gochan.Group() as group:
            one = group.go(shielded)
            await anyio.sleep(1)
            one.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shielded)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
        return anyio.current_time()

    for seed in (None, 1):
        assert testing.run(main, backend=backend, seed=seed) == 7200


def test_every_delivery_has_its_round_before_time_moves(backend: Any) -> None:
    """Of two groups, one in the other, that are cancelled at once."""

    async def main() -> float:
        async def nested() -> None:
            async with gochan.Group() as group:
                group.go(gochan.Channel[int]().receive)

        with anyio.fail_after(1):
            async with gochan.Group() as outer:
                outer.go(nested)
                outer.cancel()
        return anyio.current_time()

    for seed in (None, *range(10)):
        assert testing.run(main, backend=backend, seed=seed) == 0
    assert execute(main, (), backend, Always("task", 0)) == 0
    assert execute(main, (), backend, Always("task", -1)) == 0


def test_wait_all_tasks_blocked_works(backend: Any) -> None:
    """anyio's own idea of idle."""

    async def main() -> None:
        done = list[int]()

        async def work() -> None:
            for _ in range(5):
                await anyio.sleep(0)
            done.append(1)
            await anyio.sleep(3600)
            done.append(2)

        gochan.go(work)
        await anyio.wait_all_tasks_blocked()
        assert done == [1]
        await anyio.sleep(3600)
        await testing.wait_idle()

    testing.run(main, backend=backend)


def test_callbacks_of_asyncio_go_in_their_order() -> None:
    """Plain callbacks are no tasks: nobody chooses among them."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        called = list[int]()

        def call(n: int) -> None:
            called.append(n)
            if n < 20:
                loop.call_soon(call, n + 10)

        for n in range(10):
            loop.call_soon(call, n)
        cancelled = loop.call_soon(call, 99)
        cancelled.cancel()
        loop.call_later(1, call, 100).cancel()
        await testing.wait_idle()
        return called

    for seed in (None, 1, 2):
        assert testing.run(main, seed=seed) == list(range(30))


def test_futures_gather_and_native_tasks() -> None:
    """asyncio's own ways to wait are under control too."""

    async def main() -> list[Any]:
        future = asyncio.get_running_loop().create_future()

        async def native(n: int) -> int:
            await asyncio.sleep(n)
            if n == 3:
                future.set_result("set")
            return n

        numbers = await asyncio.gather(*(native(n) for n in range(5)))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(native(1))
        return [*numbers, await future]

    assert testing.run(main, seed=5) == [0, 1, 2, 3, 4, "set"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="not applicable: eager tasks came with 3.12")
def test_eager_tasks() -> None:
    """A task that runs its first step inside create_task has its number and its lane as others do."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        trace = list[str]()

        async def child(name: str) -> None:
            trace.append(f"{name} at once")
            await asyncio.sleep(1)
            trace.append(f"{name} later")

        async def eager(name: str) -> None:
            asyncio.create_task(child(name), name=name)
            await asyncio.sleep(0)
            trace.append(f"{name} started")

        async with asyncio.TaskGroup() as tasks:
            for name in "xyz":
                tasks.create_task(eager(name))
        await testing.sleep(2)
        return trace

    for seed in (None, 1, 2, 3):
        first, second = (testing.run(main, seed=seed) for _ in range(2))
        assert first == second
        assert len(first) == 9
        assert all(f"{name} later" in first[6:] for name in "xyz")


def test_calls_from_the_loop_s_own_thread_are_no_threads(backend: Any) -> None:
    """``call_soon_threadsafe`` and ``run_sync_soon`` there are heard before time moves."""

    async def main() -> None:
        called = list[float]()
        if backend == "asyncio":
            asyncio.get_running_loop().call_soon_threadsafe(lambda: called.append(anyio.current_time()))
        else:
            import trio

            trio.lowlevel.current_trio_token().run_sync_soon(lambda: called.append(anyio.current_time()))
        await anyio.sleep(5)
        assert called == [0]

    testing.run(main, backend=backend)
