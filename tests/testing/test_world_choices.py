"""What a world leaves to the schedule: tasks, cases, timers, yields, random numbers."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.testing.toy import Always

import gochan
from gochan._core.driver import current_driver
from gochan.testing._schedule import InOrder, Seeded
from gochan.testing._world import execute


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("answer", [0, 1, 2])
def test_the_ready_case_is_the_schedule_s(backend: Any, answer: int) -> None:
    """It is asked with the cases that are ready, by their numbers."""

    async def main() -> list[int]:
        channels = [gochan.Channel[int](1) for _ in range(4)]
        for channel in channels[1:]:
            channel.send_nowait(0)
        waited = await gochan.select(*channels)
        channels[waited[0]].send_nowait(0)
        tried = gochan.try_select(*channels)
        assert tried is not None
        return [waited[0], tried[0]]

    schedule = Always("case", answer)
    assert execute(main, (), backend, schedule) == [answer + 1] * 2
    assert schedule.asked == [("case 1", "case 2", "case 3")] * 2


@pytest.mark.parametrize("answer", [0, 1])
def test_which_of_two_cases_on_one_channel_stands_first_is_the_schedule_s(backend: Any, answer: int) -> None:
    """It is asked while they are published, once."""

    async def main() -> int:
        channel = gochan.Channel[int]()
        gochan.go(channel.send, 1)
        number, _ = await gochan.select(channel, channel)
        return number

    schedule = Always("case", answer)
    assert execute(main, (), backend, schedule) == answer
    assert schedule.asked == [("case 1", "case 0")]


def test_entries_stand_in_every_order(backend: Any) -> None:
    """Whichever of four is the first, and those that are never ready do not count."""

    async def main() -> int:
        channel = gochan.Channel[int]()
        gochan.go(channel.send, 1)
        number, _ = await gochan.select(None, channel, channel, None, channel, channel)
        return number

    assert {execute(main, (), backend, Seeded(seed)) for seed in range(40)} == {1, 2, 4, 5}


def test_anybody_s_random_number_is_the_schedule_s(backend: Any) -> None:
    """Whoever asks the driver for one, and whatever its variables are called."""

    async def main() -> float:
        ready, choices = True, None
        driver = current_driver()
        assert driver is not None
        assert (ready, choices) == (True, None)
        return driver.random()

    schedule = Always("draw", 3)
    assert execute(main, (), backend, schedule) == 3.5 / 8
    assert [len(asked) for asked in schedule.asked] == [8]


@pytest.mark.parametrize("answer", [0, 1])
def test_the_first_of_equal_deadlines_is_the_schedule_s(backend: Any, answer: int) -> None:
    """It is asked once, for the two."""

    async def main() -> int:
        order = list[int]()

        async def timed(n: int) -> None:
            with anyio.CancelScope(deadline=1) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            order.append(n)

        async with gochan.Group() as group:
            group.go(timed, 0)
            group.go(timed, 1)
        return len(order)

    schedule = Always("timer", answer)
    assert execute(main, (), backend, schedule) == 2
    assert len(schedule.asked) == 1
    assert len(schedule.asked[0]) == 2


def test_every_operation_is_a_switch_point(backend: Any) -> None:
    """One that need not wait yields if the schedule says so, and not if it does not."""

    async def main() -> str:
        trace = ""
        buffer = gochan.Channel[int](10)

        async def other() -> None:
            nonlocal trace
            for _ in range(3):
                trace += "o"
                await anyio.lowlevel.checkpoint()

        async with gochan.Group() as group:
            group.go(other)
            for _ in range(3):
                await buffer.send(0)
                trace += "m"
        return trace

    assert execute(main, (), backend, Always("yield", 1)) == "omomom"
    assert execute(main, (), backend, Always("yield", 0)) == "mmmooo"


def test_a_hog_yields_in_the_end(backend: Any) -> None:
    """Whatever the schedule says: others that it waits for must run."""

    async def main() -> None:
        buffer = gochan.Channel[int](1)
        stop = list[int]()

        async def other() -> None:
            stop.append(1)

        gochan.go(other)
        while not stop:
            await buffer.send(0)
            await buffer.receive()

    execute(main, (), backend, Always("yield", 0))


def test_a_schedule_can_stop_the_run(backend: Any) -> None:
    """Everything is cancelled, clean-up runs, and its error comes out bare."""
    cleaned = list[str]()

    class Enough(Exception):
        pass

    class Stops(InOrder):
        def running(self, task: str, coroutine: Any) -> None:
            super().running(task, coroutine)
            if self.turns == 100:
                self.stop = Enough()

    async def main() -> None:
        async def spin() -> None:
            try:
                while True:
                    await anyio.sleep(0)
            finally:
                cleaned.append("spin")

        gochan.go(spin)
        await spin()

    with pytest.raises(Enough):
        execute(main, (), backend, Stops())
    assert cleaned == ["spin", "spin"]
