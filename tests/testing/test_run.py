"""``testing.run``: Go's synctest rules, by their numbers (ST-1 to ST-12), on both backends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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


# ---- ST-1: the run ends when all goroutines have ----


def test_gives_what_main_returned(backend: Any) -> None:
    """And hands on its arguments."""

    async def main(a: int, b: int) -> int:
        return a + b

    assert testing.run(main, 2, 3, backend=backend) == 5


def test_waits_for_every_goroutine(backend: Any) -> None:
    """Those that main left are not cancelled: they run to their end."""
    ended = list[int]()

    async def main() -> None:
        async def work(n: int) -> None:
            for _ in range(n):
                await anyio.sleep(0)
            ended.append(n)
            if n:
                gochan.go(work, n - 1)

        gochan.go(work, 3)

    testing.run(main, backend=backend)
    assert ended == [3, 2, 1, 0]


def test_goroutines_that_need_no_time_finish_after_main(backend: Any) -> None:
    """Also through channels."""

    async def main() -> list[int]:
        numbers = gochan.Channel[int]()
        got = list[int]()

        async def give() -> None:
            with numbers:
                for n in range(3):
                    await numbers.send(n)

        async def take() -> None:
            async for n in numbers:
                got.append(n)

        gochan.go(give)
        gochan.go(take)
        return got

    assert testing.run(main, backend=backend) == [0, 1, 2]


def test_the_clock_starts_at_nought(backend: Any) -> None:
    """Every run has its own."""

    async def main() -> float:
        start = anyio.current_time()
        await anyio.sleep(5)
        return start

    assert [testing.run(main, backend=backend) for _ in range(2)] == [0, 0]


# ---- ST-2, ST-3: when time moves ----


@pytest.mark.parametrize("sleep", [anyio.sleep, gochan.sleep], ids=["anyio", "gochan"])
def test_an_hour_passes_in_no_time(backend: Any, sleep: Callable[[float], Any]) -> None:
    """And the clock says that it was an hour, exactly."""

    async def main() -> float:
        await sleep(HOUR)
        return anyio.current_time()

    before = time.perf_counter()
    assert testing.run(main, backend=backend) == HOUR
    assert time.perf_counter() - before < 30


def test_a_year_of_ticks(backend: Any) -> None:
    """Many timers, each at its time: floats must not stall the clock."""

    async def main() -> float:
        for _ in range(365):
            await anyio.sleep(86400.1)
        return anyio.current_time()

    assert testing.run(main, backend=backend) == pytest.approx(365 * 86400.1)


def test_time_moves_only_when_everything_waits(backend: Any) -> None:
    """A goroutine that is busy, however long, keeps the clock where it is."""

    async def main() -> float:
        seen = set[float]()

        async def busy() -> None:
            for _ in range(1000):
                await anyio.sleep(0)
                seen.add(anyio.current_time())

        busy_one = gochan.go(busy)
        with anyio.move_on_after(1e-9):
            await anyio.sleep_forever()
        await busy_one.result()
        assert seen == {0}
        return anyio.current_time()

    assert testing.run(main, backend=backend) == 1e-9


def test_timers_fire_in_their_order(backend: Any) -> None:
    """Each at its own time, however they were started."""

    async def main() -> list[tuple[float, float]]:
        fired = list[tuple[float, float]]()

        async def after(seconds: float) -> None:
            await anyio.sleep(seconds)
            fired.append((seconds, anyio.current_time()))

        async with gochan.Group() as group:
            for seconds in (3.0, 1.0, 0.1, 2.5, 0.0):
                group.go(after, seconds)
        return fired

    assert testing.run(main, backend=backend) == [(s, s) for s in (0.0, 0.1, 1.0, 2.5, 3.0)]


def test_every_clock_is_the_world_s(backend: Any) -> None:
    """anyio's time-outs, asyncio's, trio's: all that keeps time in the loop."""

    async def main() -> None:
        with anyio.move_on_after(10) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(10):
                await gochan.Channel[int]().receive()
        assert anyio.current_time() == 20
        if backend == "trio":
            import trio

            await trio.sleep(10)
            with trio.move_on_at(trio.current_time() + 10):
                await trio.sleep_forever()
        else:
            loop = asyncio.get_running_loop()
            called = asyncio.Event()
            loop.call_later(10, called.set)
            await called.wait()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.Event().wait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(HOUR), 5)
            assert loop.time() == 40
        assert anyio.current_time() == 40

    testing.run(main, backend=backend)


def test_time_stops_when_main_has_returned(backend: Any) -> None:
    """A goroutine that only needs to sleep is a deadlock then (ST-9)."""

    async def main() -> None:
        gochan.go(anyio.sleep, 1, name="sleeper")

    with pytest.raises(Deadlock) as caught:
        testing.run(main, backend=backend)
    assert {info.name for info in caught.value.goroutines} == {"main", "sleeper"}
    assert "main has returned" in caught.value.__notes__[0]


def test_clean_up_after_an_error_may_take_its_time(backend: Any) -> None:
    """The clock stands still after main returned, not after it failed."""
    cleaned = list[float]()

    async def main() -> None:
        async def work() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(5)
                cleaned.append(anyio.current_time())

        gochan.go(work)
        await anyio.sleep(1)
        raise LookupError("main failed")

    with pytest.raises(LookupError):
        testing.run(main, backend=backend)
    assert cleaned == [6]


# ---- ST-8, ST-10: misuse ----


async def test_inside_a_loop_is_an_error() -> None:
    """It runs a loop of its own."""
    with pytest.raises(RuntimeError, match="inside a running event loop"):
        testing.run(_answer)


def test_nested_runs_are_an_error(backend: Any) -> None:
    """With a message that says so."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="inside a running event loop"):
            testing.run(_answer, backend=backend)

    testing.run(main, backend=backend)


def test_bad_arguments() -> None:
    """Refused before anything runs."""
    with pytest.raises(ValueError, match="backend is 'asyncio' or 'trio', not 'curio'"):
        testing.run(_answer, backend="curio")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="async function"):
        testing.run(len, [])  # type: ignore[arg-type]
    for seed in (1.5, True, b"gc1:asyncio:AAAA"):
        with pytest.raises(TypeError, match="seed is a number, a token or None, not"):
            testing.run(_answer, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a schedule token"):
        testing.run(_answer, seed="1")
    coroutine = _answer()
    with pytest.raises(TypeError, match="leave out the call"):
        testing.run(coroutine)  # type: ignore[arg-type]


# ---- failures, as under gochan.run ----


def test_what_main_raises_comes_out_bare(backend: Any) -> None:
    """Its goroutines are cancelled."""
    cancelled = list[str]()

    async def main() -> None:
        async def work() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.append("work")

        gochan.go(work)
        await anyio.sleep(1)
        raise LookupError("main failed")

    with pytest.raises(LookupError, match="main failed"):
        testing.run(main, backend=backend)
    assert cancelled == ["work"]


def test_a_skip_comes_out_bare(backend: Any) -> None:
    """pytest's outcomes are no Exceptions, and no concern of the run."""

    async def main() -> None:
        pytest.skip("for the test's own reasons")

    with pytest.raises(pytest.skip.Exception):
        testing.run(main, backend=backend)


def test_a_failing_goroutine_comes_out_in_a_group(backend: Any) -> None:
    """Also after main has returned."""

    async def fail() -> None:
        await anyio.sleep(0)
        raise LookupError("goroutine failed")

    async def waits() -> None:
        gochan.go(fail)
        await anyio.sleep(10)

    async def returns() -> None:
        gochan.go(fail)

    for main in (waits, returns):
        with pytest.raises(ExceptionGroup) as caught:
            testing.run(main, backend=backend)
        assert [str(error) for error in caught.value.exceptions] == ["goroutine failed"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_endings_come_out_bare(backend: Any, error: BaseException) -> None:
    """From main and from a goroutine."""

    async def end() -> None:
        raise error

    async def main() -> None:
        gochan.go(end)
        await anyio.sleep_forever()

    for fn in (end, main):
        with pytest.raises(type(error)):
            testing.run(fn, backend=backend)


# ---- ST-11, ST-12, and seeds ----


def test_timers_of_no_time_fire_at_once(backend: Any) -> None:
    """They do not wait until everything is blocked."""

    async def main() -> None:
        fired = list[int]()

        async def timed() -> None:
            with anyio.move_on_after(0):
                await anyio.sleep_forever()
            fired.append(1)

        gochan.go(timed)
        for _ in range(20):
            await anyio.sleep(0)
        assert fired == [1]
        assert anyio.current_time() == 0

    testing.run(main, backend=backend)


def race(seed: int | None, backend: Any) -> list[str]:
    """Who came when, among goroutines, ready cases and equal deadlines."""

    async def main() -> list[str]:
        came = list[str]()

        async def step(name: str) -> None:
            for _ in range(3):
                await anyio.sleep(0)
                came.append(name)

        async def timed(name: str) -> None:
            with anyio.move_on_after(1):
                await anyio.sleep_forever()
            came.append(name)

        a, b = gochan.Channel[int](9), gochan.Channel[int](9)
        for n in range(4):
            a.send_nowait(n)
            b.send_nowait(n)
        async with gochan.Group() as group:
            for name in "xyz":
                group.go(step, name)
        for _ in range(4):
            number, value = await gochan.select(a, b)
            came.append(f"{'ab'[number]}{value}")
        async with gochan.Group() as group:
            for name in "tuv":
                group.go(timed, name)
        return came

    return testing.run(main, backend=backend, seed=seed)


def test_the_seed_decides_the_order(backend: Any) -> None:
    """The same seed gives the same run, another one another."""
    runs = {seed: race(seed, backend) for seed in range(8)}
    assert all(race(seed, backend) == run for seed, run in runs.items())
    assert len({tuple(run) for run in runs.values()}) > 4


def test_without_a_seed_everyone_has_its_turn(backend: Any) -> None:
    """In the order in which they were started, the same in every run."""
    assert race(None, backend) == race(None, backend)
    assert race(None, backend)[:9] == list("xyzxyzxyz")


async def _hour() -> float:
    await anyio.sleep(HOUR)
    return anyio.current_time()


async def _answer() -> int:
    return 42
