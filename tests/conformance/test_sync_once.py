"""Wait groups and things done once, after Go's src/sync/waitgroup_test.go, once_test.go and oncefunc_test.go."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import Any, Literal

import anyio.lowlevel
import pytest

import gochan
from gochan import Event, Group, Once, WaitGroup, once_value

from .helpers import bounded, settle

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

# ---- WaitGroup ----


@bounded
async def test_two_phases_of_sixteen_goroutines() -> None:
    """Nobody passes the second barrier before all have reached it; eight rounds over the same two objects."""
    here, there = WaitGroup(), WaitGroup()

    async def goroutine(exited: list[bool], number: int) -> None:
        here.done()
        await there.wait()
        exited[number] = True

    for _ in range(8):
        exited = [False] * 16
        here.add(16)
        there.add(16)
        async with Group() as group:
            for number in range(16):
                group.go(goroutine, exited, number)
            await here.wait()
            for _ in range(16):
                await settle(2)
                assert not any(exited), "it was released too soon"
                there.done()
        assert all(exited)


def test_the_count_cannot_be_negative() -> None:
    """One down too many is an error that says so."""
    group = WaitGroup()
    group.add(1)
    group.done()
    with pytest.raises(ValueError, match="more often"):
        group.done()


@bounded
async def test_nobody_is_woken_too_soon() -> None:
    """A thousand times: ``wait`` returns when both have been counted down, and sees what they did before."""
    for _ in range(1000):
        group, done = WaitGroup(), list[int]()

        async def work(done: list[int] = done, group: WaitGroup = group) -> None:
            done.append(1)
            group.done()

        group.add()
        async with Group() as goroutines:
            goroutines.go(work)
            group.add()
            goroutines.go(work)
            await group.wait()
            assert len(done) == 2


@bounded
async def test_go_of_the_wait_group() -> None:
    """Many functions started by it are waited for together."""
    group, total = WaitGroup(), 0

    async def work() -> None:
        nonlocal total
        await anyio.lowlevel.checkpoint()
        total += 1

    async with Group():
        for _ in range(100):
            group.go(work)
        await group.wait()
        assert total == 100


@backends
def test_a_failure_in_go_ends_the_program_before_wait_returns(backend: Literal["asyncio", "trio"]) -> None:
    """Go's issue 76126: what comes after ``wait`` must not be reached."""
    reached = list[bool]()

    async def main() -> None:
        async def fail() -> None:
            raise ValueError("test")

        group = WaitGroup()
        group.go(fail)
        await group.wait()
        reached.append(True)

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        gochan.run(main, backend=backend)
    assert reached == []


# ---- Once ----


@bounded
async def test_once_among_ten_goroutines() -> None:
    """Each sees it done when its call returns; it was done once."""
    once, count = Once(), 0

    async def increment() -> None:
        nonlocal count
        await anyio.lowlevel.checkpoint()
        count += 1

    async def run() -> None:
        await once.do(increment)
        assert count == 1

    async with Group() as group:
        for _ in range(10):
            group.go(run)
    assert count == 1


@bounded
async def test_a_failing_once_is_done() -> None:
    """The caller gets the error, and a second call runs nothing."""
    once = Once()

    async def fail() -> None:
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        await once.do(fail)
    await once.do(pytest.fail, "called twice")


# ---- OnceFunc, OnceValue, OnceValues ----


@bounded
async def test_the_value_of_the_only_call() -> None:
    """A function of no value, of one, and of two; called from many sides at once."""
    calls = 0

    def nothing() -> None:
        nonlocal calls
        calls += 1

    def one() -> int:
        nonlocal calls
        calls += 1
        return calls

    async def two() -> tuple[int, int]:
        nonlocal calls
        await anyio.lowlevel.checkpoint()
        calls += 1
        return calls, calls + 1

    for fn, expected in ((nothing, None), (one, 1), (two, (1, 2))):
        calls = 0
        once: Any = once_value(fn)
        async with Group() as group:
            handles = [group.go(once) for _ in range(10)]
        assert [await handle.result() for handle in handles] == [expected] * 10
        assert calls == 1


@bounded
async def test_every_call_fails_as_the_only_one_did() -> None:
    """With the same error, an exception without a message as well as any other; the function is not called again."""
    for error in (ValueError("x"), Exception(), BaseException(None)):
        calls = 0

        def fail(error: BaseException = error) -> None:
            nonlocal calls
            calls += 1
            raise error

        once = once_value(fail)
        for _ in range(3):
            with pytest.raises(type(error)) as caught:
                await once()
            assert caught.value is error
        assert calls == 1


@bounded
async def test_the_first_failure_shows_where_it_arose() -> None:
    """The frame of the function is in the traceback; ours keep it for the later ones, too, where Go shows it once."""

    def deep() -> None:
        raise ValueError("x")

    @once_value
    def fail() -> None:
        deep()

    for _ in range(2):
        with pytest.raises(ValueError, match="x") as caught:
            await fail()
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names[-2:] == ["fail", "deep"]


@bounded
async def test_a_goroutine_that_is_ended_in_the_middle() -> None:
    """Go leaves open what comes after a Goexit in the function; here who comes next runs it."""
    calls, finish = 0, Event()

    @once_value
    async def value() -> int:
        nonlocal calls
        calls += 1
        await finish.wait()
        return calls

    async with Group() as group:
        first = group.go(value)
        await settle()
        second = group.go(value)
        await settle()
        first.cancel()
        finish.set()
        assert await second.result() == 2
    assert await value() == 2


@bounded
async def test_the_function_is_collected() -> None:
    """TestOnceXGC: when it has run, what only it holds goes, though the once lives on."""

    class Buffer: ...

    def make(fails: bool) -> tuple[Any, weakref.ref[Buffer]]:
        buffer = Buffer()

        def fn() -> None:
            assert buffer
            if fails:
                raise ValueError("x")

        return once_value(fn), weakref.ref(buffer)

    once, reference = make(fails=False)
    gc.collect()
    assert reference() is not None
    await once()
    gc.collect()
    assert reference() is None
    await once()
