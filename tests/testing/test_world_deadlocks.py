"""Deadlocks in a world: found at once, with the dump; clean-up runs (ST-3, ST-4, ST-9), on both backends."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import anyio
import pytest

import gochan
from gochan import testing
from gochan.diagnostics import Deadlock

HOUR = 3600.0


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_main_alone_is_a_deadlock(backend: Any) -> None:
    """At once, bare, with the dump."""

    async def main() -> None:
        await gochan.Channel[int](name="never").receive()

    with pytest.raises(Deadlock, match="all goroutines are asleep - deadlock!") as caught:
        testing.run(main, backend=backend)
    assert "goroutine 1 [chan receive]" in str(caught.value)
    assert "never" in str(caught.value)
    assert [info.id for info in caught.value.goroutines] == [1]


def test_goroutines_that_wait_for_each_other(backend: Any) -> None:
    """All that are alive are in it, main first, each with what it waits for."""

    async def main() -> None:
        a, b = gochan.Channel[int](name="a"), gochan.Channel[int](name="b")

        async def one() -> None:
            await a.receive()
            await b.send(1)

        async def other() -> None:
            await b.receive()
            await a.send(1)

        async with gochan.Group() as group:
            group.go(one, name="one")
            group.go(other, name="other")

    with pytest.raises(Deadlock) as caught:
        testing.run(main, backend=backend)
    assert [(info.name, info.state) for info in caught.value.goroutines] == [
        ("main", "goroutine wait"),
        ("one", "chan receive"),
        ("other", "chan receive"),
    ]


def test_what_is_left_blocked_after_main_is_a_deadlock(backend: Any) -> None:
    """A goroutine that nobody will ever receive from is not quietly cancelled."""

    async def main() -> str:
        gochan.go(gochan.Channel[int]().send, 1)
        return "main is done"

    with pytest.raises(Deadlock):
        testing.run(main, backend=backend)


def test_a_foreign_wait_can_be_a_deadlock_too(backend: Any) -> None:
    """Nothing outside can act, so an event of anyio's that nobody sets is never set."""

    async def main() -> None:
        await anyio.Event().wait()

    with pytest.raises(Deadlock):
        testing.run(main, backend=backend)


def test_sleeping_for_ever_is_a_deadlock(backend: Any) -> None:
    """A timer that is never due is none."""
    with pytest.raises(Deadlock):
        testing.run(anyio.sleep_forever, backend=backend)
    with pytest.raises(Deadlock):
        testing.run(anyio.sleep, float("inf"), backend=backend)


def test_a_deadlock_lets_clean_up_run(backend: Any) -> None:
    """It cancels all; the clean-up may take its time, and main may not swallow it."""
    cleaned = list[str]()

    async def main() -> None:
        async def work() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(60)
                cleaned.append("work")

        gochan.go(work)
        try:
            await gochan.Channel[int]().receive()
        except BaseException:
            cleaned.append("main")

    with pytest.raises(Deadlock):
        testing.run(main, backend=backend)
    assert sorted(cleaned) == ["main", "work"]


def test_a_deadlock_in_the_clean_up_is_ended_by_force(backend: Any) -> None:
    """The first is what is reported, with a note about the second."""

    async def main() -> None:
        try:
            await gochan.Channel[int](name="first").receive()
        finally:
            with anyio.CancelScope(shield=True):
                await gochan.Channel[int](name="second").receive()

    with pytest.raises(Deadlock) as caught:
        testing.run(main, backend=backend)
    assert "first" in str(caught.value)
    assert "second" in caught.value.__notes__[-1]


STUBBORN = """
import anyio, gochan, sys
from gochan import testing

async def stubborn():
    for _ in range(1000):
        try:
            with anyio.CancelScope(shield=True):
                await gochan.Channel().receive()
        except BaseException:
            pass

try:
    testing.run(stubborn, backend=sys.argv[1])
except gochan.diagnostics.Deadlock:
    print("a deadlock")
"""


def test_who_will_not_end_is_left_behind(backend: Any) -> None:
    """A task that waits again, whatever comes, does not keep the run from ending."""
    # In a process of its own: what is left behind makes noise when it is collected.
    done = subprocess.run([sys.executable, "-c", STUBBORN, backend], capture_output=True, text=True, timeout=50)
    assert done.stdout == "a deadlock\n", done.stderr


def test_the_next_run_is_not_touched_by_a_deadlock(backend: Any) -> None:
    """What was swapped for the run is back, on either backend."""
    with pytest.raises(Deadlock):
        testing.run(anyio.sleep_forever, backend=backend)
    assert testing.run(_hour, backend=backend) == HOUR
    assert gochan.run(_answer, backend=backend) == 42


async def _hour() -> float:
    await anyio.sleep(HOUR)
    return anyio.current_time()


async def _answer() -> int:
    return 42
