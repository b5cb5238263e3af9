"""``no_leaks``: what a block started has ended when the block ends, or it fails and says what is left."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.turns import given_up, parked

from gochan import Channel, Event, Group, go, run
from gochan.diagnostics import LeakError, no_leaks


async def sleeper() -> None:
    await anyio.sleep(3600)


async def starter(group: Group) -> None:
    group.go(Event().wait, name="made by the starter")


async def test_a_block_that_leaves_nothing_passes() -> None:
    """Even if the last goroutine ends a moment after it."""
    async with Group() as group:
        async with no_leaks():
            group.go(parked, 20)
            group.go(anyio.lowlevel.checkpoint)


async def test_what_outlives_the_block_is_named() -> None:
    """With what it waits for and where it was made: stuck or not."""
    async with Group() as group:
        with pytest.raises(LeakError) as caught:
            async with no_leaks(within=0):
                group.go(Channel[int](name="jobs").receive, name="worker")
                group.go(sleeper)
                await parked()
        group.cancel()
    assert [info.name for info in caught.value.goroutines] == ["worker", "sleeper"]
    text = str(caught.value)
    assert text.startswith("2 goroutines outlived the block:")
    assert "[chan receive] on jobs" in text
    assert "created by" in text
    assert __file__ in text


@pytest.mark.gochan(virtual_time=True)
async def test_goroutines_have_a_second_to_end() -> None:
    """Looked for more and more rarely, and not a moment longer than that."""
    async with Group() as group:
        begun = anyio.current_time()
        async with no_leaks():
            group.go(anyio.sleep, 0.9)
        assert 0.9 <= anyio.current_time() - begun < 1
        begun = anyio.current_time()
        with pytest.raises(LeakError, match="sleep"):
            async with no_leaks():
                group.go(anyio.sleep, 2)
        assert 1 <= anyio.current_time() - begun < 1.2
        group.cancel()


async def test_what_ran_before_does_not_count() -> None:
    """Only what the block started does, unless all is asked for."""
    async with Group() as group:
        group.go(sleeper, name="older")
        await anyio.lowlevel.checkpoint()
        async with no_leaks(within=0):
            pass
        with pytest.raises(LeakError, match="older"):
            async with no_leaks(within=0, ignore_current=False):
                pass
        group.cancel()


async def test_what_is_ignored_does_not_count() -> None:
    """By its name, by a function on its stack, by the function that made it."""
    options: list[dict[str, Any]] = [
        {"ignore_names": ["sleeper"]},
        {"ignore_functions": [sleeper]},
        {"ignore_functions": ["sleeper"]},
        {"ignore_created_by": [test_what_is_ignored_does_not_count]},
        {"ignore_created_by": ["test_what_is_ignored_does_not_count"]},
    ]
    for option in options:
        async with Group() as group:
            async with no_leaks(within=0, **option):
                group.go(sleeper)
                await parked()
            with pytest.raises(LeakError, match="made by the starter"):
                async with no_leaks(within=0, **option):
                    await group.go(starter, group).result()
                    await parked()
            group.cancel()


async def test_what_cannot_be_ignored_is_refused() -> None:
    """A function of C has no place on a stack."""
    with pytest.raises(TypeError, match="functions"):
        no_leaks(ignore_functions=[print])


async def test_an_exception_of_the_block_goes_first() -> None:
    """It is not hidden by what the block left behind."""
    async with Group() as group:
        with pytest.raises(ValueError, match="block"):
            async with no_leaks(within=0):
                group.go(sleeper)
                raise ValueError("block")
        group.cancel()


async def test_cancellation_ends_the_wait() -> None:
    """A block that is cancelled does not look for a second longer."""
    async with Group() as group:
        with given_up(10) as scope:
            async with no_leaks(within=3600):
                group.go(sleeper)
        assert scope.cancelled_caught
        group.cancel()


@pytest.mark.asyncio_only
async def test_a_foreign_task_counts() -> None:
    """Whoever started it."""
    with pytest.raises(LeakError, match="foreign"):
        async with no_leaks(within=0):
            task = asyncio.create_task(sleeper(), name="foreign")
    task.cancel()
    await asyncio.wait([task])


async def test_a_plain_with_inside_a_loop_is_refused() -> None:
    """And it says what to write."""
    with pytest.raises(RuntimeError, match="async with"), no_leaks():
        pass


# Around code that runs loops itself.


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_ends_all_passes(backend: Any) -> None:
    """What ``run`` ends with main is not left."""

    async def main() -> None:
        go(sleeper)
        await anyio.sleep(0)

    with no_leaks():
        run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_leaks_fails(backend: Any) -> None:
    """An error instead of run's warning."""

    async def main() -> None:
        go(Channel[int]().receive, name="worker")
        await parked()

    with pytest.raises(LeakError, match="worker"), no_leaks():
        run(main, backend=backend)
    with no_leaks(ignore_names=["worker"]):
        run(main, backend=backend)
    with no_leaks():
        run(main, backend=backend, leaks="ignore")


def test_a_loop_that_is_left_with_tasks_fails() -> None:
    """Until they are gone."""
    loop = asyncio.new_event_loop()

    async def starts() -> Any:
        return asyncio.create_task(sleeper(), name="left")

    try:
        with pytest.raises(LeakError, match="left"), no_leaks():
            task = loop.run_until_complete(starts())
        with no_leaks():
            pass
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
    finally:
        loop.close()


def test_a_loop_in_another_thread_has_time_to_end() -> None:
    """It is given up to a second, which is real: the loop is another thread's."""

    def thread() -> None:
        async def main() -> None:
            started.set()
            await asyncio.sleep(0.01)

        asyncio.run(main())

    started = threading.Event()
    with no_leaks():
        worker = threading.Thread(target=thread)
        worker.start()
        started.wait()
    worker.join()
