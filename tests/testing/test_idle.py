"""``wait_idle`` and ``testing.sleep``: Go's synctest.Wait and Sleep (ST-6, ST-7, ST-11, ST-12), on both backends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import gochan
from gochan import testing
from gochan.diagnostics import Deadlock
from gochan.testing._schedule import InOrder
from gochan.testing._world import execute


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_everything_else_has_done_what_it_can(backend: Any) -> None:
    """However many steps that takes, through tasks of every kind (ST-6, ST-12)."""

    async def main() -> None:
        done = list[int]()
        ring = [gochan.Channel[int]() for _ in range(50)]

        async def hand_on(n: int) -> None:
            async for value in ring[n]:
                await anyio.sleep(0)
                done.append(n)
                if n + 1 < len(ring):
                    await ring[n + 1].send(value)

        for n in range(len(ring)):
            gochan.go(hand_on, n)
        await ring[0].send(0)
        await testing.wait_idle()
        assert done == list(range(50))
        for channel in ring:
            channel.close()

    for seed in (None, 1, 2, 3):
        testing.run(main, backend=backend, seed=seed)


def test_time_stands_still_meanwhile(backend: Any) -> None:
    """It is resumed before the clock moves: a sleeper sleeps on."""

    async def main() -> None:
        woken = list[float]()

        async def sleeper() -> None:
            await anyio.sleep(1)
            woken.append(anyio.current_time())

        gochan.go(sleeper)
        for _ in range(3):
            await testing.wait_idle()
        assert woken == []
        assert anyio.current_time() == 0
        await anyio.sleep(2)
        assert woken == [1]

    testing.run(main, backend=backend)


def test_timers_of_now_fire_before_it_returns(backend: Any) -> None:
    """ST-11."""

    async def main() -> None:
        fired = list[str]()

        async def timed() -> None:
            with anyio.move_on_after(0):
                await anyio.sleep_forever()
            fired.append("at once")

        gochan.go(timed)
        await testing.wait_idle()
        assert fired == ["at once"]

    testing.run(main, backend=backend)


@pytest.mark.parametrize("seed", range(10))
def test_sleep_sees_what_happens_at_that_time(backend: Any, seed: int) -> None:
    """Whichever of two timers of one time fires first (ST-7)."""

    async def main() -> None:
        happened = list[str]()

        async def timed() -> None:
            with anyio.move_on_after(1):
                await anyio.sleep_forever()
            await anyio.sleep(0)
            happened.append("time-out")

        gochan.go(timed)
        await testing.sleep(0.5)
        assert happened == []
        await testing.sleep(0.5)
        assert happened == ["time-out"]
        assert anyio.current_time() == 1

    testing.run(main, backend=backend, seed=seed)


def test_two_at_a_time_are_an_error(backend: Any) -> None:
    """Each would wait for the other. One after the other is fine."""

    async def main() -> None:
        async def wait() -> None:
            await testing.wait_idle()

        first = gochan.go(wait)
        await anyio.sleep(0)
        with pytest.raises(RuntimeError, match=r"in wait_idle\(\) already"):
            await testing.wait_idle()
        await first.result()
        await testing.wait_idle()

    testing.run(main, backend=backend)


async def test_outside_a_world_it_is_an_error() -> None:
    """An ordinary loop cannot tell."""
    with pytest.raises(RuntimeError, match=r"wait_idle\(\) belongs in a program that gochan.testing.run\(\) runs"):
        await testing.wait_idle()
    with pytest.raises(RuntimeError, match=r"testing.sleep\(\) belongs in"):
        await testing.sleep(1)


def test_outside_a_loop_it_is_an_error() -> None:
    """The same message, not a crash."""
    with pytest.raises(RuntimeError, match=r"wait_idle\(\) belongs in"):
        testing.wait_idle().send(None)


def test_it_can_be_cancelled(backend: Any) -> None:
    """Then the next one may wait."""

    async def main() -> None:
        waiting = gochan.go(testing.wait_idle)
        spinning = True

        async def spin() -> None:
            while spinning:
                await anyio.sleep(0)

        gochan.go(spin)
        for _ in range(5):
            await anyio.sleep(0)
        waiting.cancel()
        with pytest.raises(gochan.Cancelled):
            await waiting.result()
        spinning = False
        await testing.wait_idle()

    testing.run(main, backend=backend)


def test_it_works_after_main_has_returned(backend: Any) -> None:
    """Time stands still, but idle is idle."""
    done = list[str]()

    async def main() -> None:
        async def last() -> None:
            await testing.wait_idle()
            done.append("last")

        gochan.go(last)

    testing.run(main, backend=backend)
    assert done == ["last"]


def test_it_comes_before_a_deadlock(backend: Any) -> None:
    """Everyone else may be stuck; whoever asked for that sees it and can help."""

    async def main() -> None:
        channel = gochan.Channel[int]()
        stuck = gochan.go(channel.receive)
        await testing.wait_idle()
        channel.send_nowait(7)
        assert await stuck.result() == 7
        gochan.go(channel.receive)
        await testing.wait_idle()

    with pytest.raises(Deadlock):
        testing.run(main, backend=backend)


def test_a_thread_at_work_is_waited_for(backend: Any) -> None:
    """It is not blocked for good, so all is not idle while it runs."""

    async def main() -> None:
        done = list[str]()

        async def work() -> None:
            await anyio.to_thread.run_sync(time.sleep, 0.02)
            done.append("work")

        gochan.go(work)
        await testing.wait_idle()
        assert done == ["work"]

    testing.run(main, backend=backend)


class Counting(InOrder):
    """How many steps each task made."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = Counter[str]()

    def running(self, task: str, coroutine: Any) -> None:
        super().running(task, coroutine)
        self.steps[task] += 1

    def choose(self, kind: str, options: Sequence[str]) -> int:
        return super().choose(kind, options)


def test_it_does_not_poll(backend: Any) -> None:
    """However long the others take, it makes one step when they are done."""
    counts = list[int]()
    schedule = Counting()

    async def main() -> None:
        async def work() -> None:
            for _ in range(1000):
                await anyio.lowlevel.checkpoint()

        gochan.go(work)
        before = schedule.steps["1 main"]
        await testing.wait_idle()
        counts.append(schedule.steps["1 main"] - before)

    execute(main, (), backend, schedule)
    assert counts == [1]
