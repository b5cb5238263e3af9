"""What the README and the design notes say of seeing and testing, where no other test has it."""

from __future__ import annotations

import copy
import pickle
import re
import time
import warnings
from pathlib import Path
from typing import Any

import anyio
import pytest

import gochan
from gochan import Channel, Event, Ticker, after, go, select, sleep, testing
from gochan.diagnostics import Deadlock, LeakError, LeakWarning, find_leaks

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_the_readme_s_example_fails_as_it_says() -> None:
    """A ScheduleFailure, with the goroutine that is stuck, a table of who ran when, and a token."""
    section = README.read_text("utf-8").partition("\n## Seeing and testing\n")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    with pytest.raises(testing.ScheduleFailure) as caught:
        exec(compile(code[1], str(README), "exec"), {"__name__": "readme"})
    failure = caught.value
    assert isinstance(failure.__cause__, Deadlock)
    assert [info.state for info in failure.__cause__.goroutines if info.id != 1] == ["chan send"]
    assert "who ran when" in str(failure)
    assert failure.seed in str(failure)


def test_a_token_that_no_longer_fits_is_run_and_reported() -> None:
    """By ``explore``; ``run`` and ``replay`` run it as well."""

    async def two() -> None:
        async with gochan.Group() as group:
            group.go(sleep, 0)
            group.go(sleep, 0)

    async def fails() -> None:
        await two()
        raise LookupError

    with pytest.raises(testing.ScheduleFailure) as caught:
        testing.explore(fails)
    token = caught.value.token
    assert testing.explore(two, seed=token).fits

    async def changed() -> int:
        await two()
        await two()
        return 1

    report = testing.explore(changed, seed=token)
    assert (report.runs, report.fits) == (1, False)
    assert "the program has changed" in repr(report)
    assert testing.run(changed, seed=token) == testing.replay(changed, token=token) == 1


def test_leaks_are_named_while_timers_tick(backend: Any) -> None:
    """An armed timer puts a deadlock off; a cycle of goroutines is found meanwhile."""
    found: list[str] = []

    async def main() -> None:
        first, second = Channel[int](), Channel[int]()

        async def one(take: Channel[int], give: Channel[int]) -> None:
            await take.receive()
            await give.send(1)

        go(one, first, second, name="one")
        go(one, second, first, name="other")
        del first, second
        ticker, ticks = Ticker(0.005), 0
        async for _ in ticker:
            ticks += 1
            found[:] = [info.name for info in find_leaks()]
            if ticks == 3:
                ticker.stop()

    with pytest.warns(LeakWarning, match="2 goroutines can never wake"):
        gochan.run(main, backend=backend)
    assert found == ["one", "other"]


def test_a_timer_that_lost_does_not_put_a_deadlock_off(backend: Any) -> None:
    """Nor does one that nobody waits for; the deadlock is seen at once, and at the time of the last event."""
    began = time.perf_counter()
    times: list[float] = []

    async def main() -> None:
        answers = Channel[int](1)
        answers.send_nowait(1)
        unused, clock = after(60), anyio.current_time()
        try:
            await select(answers, after(60))
            go(answers.send, 1)
            await select(after(60), answers)
            with anyio.move_on_after(0.001):
                await unused.wait()
            await Event().wait()
        finally:
            times.append(anyio.current_time() - clock)

    with pytest.raises(Deadlock):
        gochan.run(main, backend=backend)
    with pytest.raises(Deadlock):
        testing.run(main, backend=backend)
    assert time.perf_counter() - began < 30
    assert times[1] == 0.001


def test_a_sleep_without_an_end_is_a_deadlock(backend: Any) -> None:
    """No timer is armed for it."""

    async def main() -> None:
        go(sleep, float("inf"))
        await Event().wait()

    for run in (gochan.run, testing.run):
        with pytest.raises(Deadlock) as caught:
            run(main, backend=backend)
        assert [info.state for info in caught.value.goroutines] == ["event wait", "sleep"]


def test_a_deadlock_travels(backend: Any) -> None:
    """It is copied and pickled with what it says."""
    with pytest.raises(Deadlock) as caught:
        gochan.run(Event().wait, backend=backend)
    for again in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert str(again) == str(caught.value)
        assert again.goroutines == caught.value.goroutines


def test_a_leak_is_a_warning_like_others(backend: Any) -> None:
    """A RuntimeWarning of the module ``warnings``; the error of the other choice has the goroutines."""

    async def main() -> None:
        go(Channel[int]().receive, name="leaked")
        await sleep(0.001)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gochan.run(main, backend=backend)
    with pytest.raises(LeakError, match="1 goroutine can never wake") as caught:
        gochan.run(main, backend=backend, leaks="error")
    assert [info.name for info in caught.value.goroutines] == ["leaked"]


def test_an_hour_of_every_timer_passes_at_once(backend: Any) -> None:
    """gochan's own keep the world's time, and fire at the second they were set for."""

    async def main() -> list[float]:
        times = [await after(1000).wait()]
        await sleep(1000)
        times.append(anyio.current_time())
        ticker = Ticker(1000)
        await ticker.wait()
        times.append(await ticker.wait())
        return times

    began = time.perf_counter()
    assert testing.run(main, backend=backend) == [1000, 2000, 4000]
    assert time.perf_counter() - began < 30
