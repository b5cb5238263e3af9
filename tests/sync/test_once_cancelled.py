"""Once whose runner, or waiter, is cancelled: the turn is handed on, and nobody is stranded."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle

import gochan
from gochan import Event, Group, Once, once_value
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def for_ever() -> None:
    await Event().wait()


@bounded
async def test_a_cancelled_runner_hands_the_turn_on() -> None:
    """D-7: to who has waited longest, who runs the function it brought; the others go on waiting."""
    once, finish, ran, returned = Once(), Event(), list[int](), list[int]()

    async def run(number: int) -> None:
        ran.append(number)
        await finish.wait()

    async def call(number: int) -> None:
        await once.do(run, number)
        returned.append(number)

    async with Group() as group:
        handles = list[Any]()
        for number in range(4):
            handles.append(group.go(call, number))
            await settle(3)
        handles[2].cancel()
        await settle()
        handles[0].cancel()
        late = group.go(call, 4)
        await settle()
        assert ran == [0, 1]
        once._state._check()
        handles[1].cancel()
        await settle()
        assert ran == [0, 1, 3]
        finish.set()
        await late.done.wait()
    assert sorted(returned) == [3, 4]


@bounded
async def test_a_cancelled_runner_that_nobody_follows_leaves_it_new() -> None:
    """The next call runs its function."""
    once, ran = Once(), list[int]()
    with anyio.move_on_after(0.001):
        await once.do(for_ever)
    assert repr(once) == "<Once new waiters=0>"
    await once.do(ran.append, 1)
    assert ran == [1]


@bounded
async def test_a_cancelled_runner_whose_clean_up_fails_has_run() -> None:
    """An exception counts, whatever made it come."""
    once = Once()

    async def fail() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("clean-up")

    with pytest.raises(ValueError, match="clean-up"), anyio.move_on_after(0.001):
        await once.do(fail)
    await once.do(pytest.fail)


@bounded
async def test_a_time_out_inside_the_function_is_its_own() -> None:
    """It returned, so it has run."""
    once = Once()

    async def patient() -> None:
        with anyio.move_on_after(0.001):
            await for_ever()

    await once.do(patient)
    await once.do(pytest.fail)


@bounded
async def test_tasks_of_the_function_are_cancelled_with_it() -> None:
    """A group that reports nothing but cancellations is an interruption, too."""
    once = Once()

    async def parallel() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(for_ever)
            tasks.start_soon(for_ever)

    with anyio.move_on_after(0.001):
        await once.do(parallel)
    assert repr(once) == "<Once new waiters=0>"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=["KeyboardInterrupt", "SystemExit"])
@bounded
async def test_the_end_of_the_program_does_not_count(error: type[BaseException]) -> None:
    """A program that goes on all the same can run it again."""
    once = Once()

    def leave() -> None:
        raise error

    calls = list[int]()

    @once_value
    def value() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return 7

    with pytest.raises(error):
        await once.do(leave)
    assert repr(once) == "<Once new waiters=0>"
    with pytest.raises(error):
        await value()
    assert await value() == 7


@backends
def test_a_waiter_cancelled_anywhere_leaves_nothing(backend: Backend) -> None:
    """At every suspension."""

    async def setup() -> Once:
        once = Once()
        gochan.go(once.do, anyio.sleep, 1)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert once._state.phase == "running"
        return once

    async def operation(once: Once) -> None:
        await once.do(pytest.fail)

    def check(once: Once, outcome: CancelOutcome) -> None:
        once._state._check()
        assert not once._state.waiters

    assert cancel_sweep(setup, operation, check, backend=backend).returned > 0


@backends
def test_a_runner_cancelled_anywhere_hands_on(backend: Backend) -> None:
    """Of two who wait, one runs then, and both return."""

    class Scene:
        def __init__(self) -> None:
            self.once = Once()
            self.begun = list[str]()
            self.ended = list[str]()
            self.returned = 0

        async def run(self, who: str) -> None:
            self.begun.append(who)
            await anyio.sleep(2)
            self.ended.append(who)

        async def follow(self, who: str) -> None:
            await anyio.sleep(1)
            await self.once.do(self.run, who)
            self.returned += 1

    async def setup() -> Scene:
        scene = Scene()
        gochan.go(scene.follow, "second")
        gochan.go(scene.follow, "third")
        return scene

    async def operation(scene: Scene) -> None:
        await scene.once.do(scene.run, "first")

    async def check(scene: Scene, outcome: CancelOutcome) -> None:
        await anyio.sleep(10)
        scene.once._state._check()
        assert len(scene.ended) == 1
        assert scene.returned == 2
        assert scene.ended == scene.begun[-1:]
        assert not outcome.returned or scene.begun == ["first"]

    cancel_sweep(setup, operation, check, backend=backend)


@backends
@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_no_schedule_runs_two_or_strands_a_caller(backend: Backend, strategy: Literal["random", "pct"]) -> None:
    """With cancelled runners and waiters, and calls that come late."""

    async def main() -> None:
        once = Once()
        running = ended = 0

        async def run() -> None:
            nonlocal running, ended
            assert not running
            assert not ended
            running += 1
            try:
                await gochan.sleep(0)
                ended += 1
            finally:
                running -= 1

        async def call() -> None:
            await once.do(run)
            assert ended == 1

        async with Group() as group:
            handles = [group.go(call) for _ in range(4)]
            await gochan.sleep(0)
            handles[0].cancel()
            await gochan.sleep(0)
            handles[2].cancel()
        assert ended == 1
        once._state._check()

    explore(main, backend=backend, runs=100, strategy=strategy)


@bounded
async def test_a_group_of_errors_is_an_interruption_only_if_all_of_it_is() -> None:
    """One real error among the cancellations, and it has run."""
    once, other = Once(), Once()

    def leave(*errors: BaseException) -> None:
        raise BaseExceptionGroup("several", errors)

    with pytest.raises(BaseExceptionGroup):
        await once.do(leave, SystemExit(), KeyboardInterrupt())
    assert repr(once) == "<Once new waiters=0>"
    with pytest.raises(BaseExceptionGroup):
        await other.do(leave, SystemExit(), ValueError())
    assert repr(other) == "<Once done waiters=0>"


def test_a_loop_that_is_closed_in_the_middle() -> None:
    """What ran there will not end: the next loop runs it. What is left of it there has no say when it is collected."""
    once, loop = Once(), asyncio.new_event_loop()
    tasks = [loop.create_task(once.do(for_ever)) for _ in range(2)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert repr(once) == "<Once running waiters=1>"
    loop.close()
    finish = Event()

    async def main() -> None:
        async with Group() as group:
            first = group.go(once.do, finish.wait)
            await settle()
            second = group.go(once.do, pytest.fail)
            await settle()
            while tasks:
                tasks.pop()._log_destroy_pending = False  # type: ignore[attr-defined]
            gc.collect()
            await settle()
            assert repr(once) == "<Once running waiters=1>"
            once._state._check()
            finish.set()
            await first.result()
            await second.result()

    anyio.run(main)
    assert repr(once) == "<Once done waiters=0>"


def test_one_that_is_collected_with_its_loop() -> None:
    """Before anybody asks again: it is new."""
    once, loop = Once(), asyncio.new_event_loop()
    tasks = [loop.create_task(once.do(for_ever)) for _ in range(2)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    while tasks:
        tasks.pop(0)._log_destroy_pending = False  # type: ignore[attr-defined]
    gc.collect()
    assert repr(once) == "<Once new waiters=0>"
