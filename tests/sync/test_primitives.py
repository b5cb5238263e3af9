"""What holds for the mutexes, the Cond and the semaphore alike."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

import anyio
import pytest
from tests.conformance.helpers import bounded, settle
from tests.diagnostics.looking import seen

import gochan
from gochan import Channel, Cond, Group, Mutex, RWMutex, Semaphore, select
from gochan.diagnostics import dump, find_leaks

MAKE: dict[str, Callable[[], Any]] = {
    "Mutex": Mutex,
    "RWMutex": RWMutex,
    "Cond": lambda: Cond(Mutex()),
    "Semaphore": lambda: Semaphore(3),
}
made = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)

# A primitive that is held, and an operation that waits for it.
Waits = tuple[Any, Callable[[], Coroutine[Any, Any, Any]]]


def held_mutex() -> Waits:
    mutex = Mutex()
    mutex.acquire_nowait()
    return mutex, mutex.acquire


def read_held() -> Waits:
    mutex = RWMutex()
    mutex.acquire_read_nowait()
    return mutex, mutex.acquire_write


def write_held() -> Waits:
    mutex = RWMutex()
    mutex.acquire_write_nowait()
    return mutex, mutex.acquire_read


def cond() -> Waits:
    changed = Cond(Mutex())

    async def wait() -> None:
        async with changed.mutex:
            await changed.wait()

    return changed, wait


def full() -> Waits:
    semaphore = Semaphore(2)
    semaphore.acquire_nowait()

    async def acquire() -> None:
        await semaphore.acquire(2)

    return semaphore, acquire


def selecting() -> Waits:
    mutex, semaphore, shared = Mutex(), Semaphore(1), RWMutex()
    mutex.acquire_nowait()
    semaphore.acquire_nowait()
    shared.acquire_read_nowait()

    async def both() -> None:
        await select(mutex.acquiring(), semaphore.acquiring(), shared.acquiring_write())

    return semaphore, both


WAITS = {
    "mutex": (held_mutex, "sync.Mutex.Lock"),
    "write": (read_held, "sync.RWMutex.Lock"),
    "read": (write_held, "sync.RWMutex.RLock"),
    "cond": (cond, "sync.Cond.Wait"),
    "semaphore": (full, "semacquire"),
    "select": (selecting, "select"),
}
waits = pytest.mark.parametrize(("waits", "word"), WAITS.values(), ids=WAITS)


# ---- copies ----


@made
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"])
def test_they_cannot_be_copied(make: Callable[[], Any], how: Callable[[Any], Any]) -> None:
    """A copy would be another lock, or the same one behind another face; the error names the object."""
    with pytest.raises(TypeError, match="cannot be copied"):
        how(make())


@made
def test_they_have_no_dictionary(make: Callable[[], Any]) -> None:
    """A misspelled attribute is an error, and weak references work."""
    primitive = make()
    with pytest.raises(AttributeError):
        primitive.lokced = True
    assert weakref.ref(primitive)() is primitive


# ---- dumps and leaks ----


@waits
@bounded
async def test_what_a_dump_says(waits: Callable[[], Waits], word: str) -> None:
    """The word of Go's own dumps, and the primitive."""
    primitive, wait = waits()
    info = await seen(wait)
    assert info.state == word
    assert any(repr(primitive).split(maxsplit=1)[0] in shown for shown in info.waiting_on)


@waits
@bounded
async def test_who_can_never_be_woken_is_a_leak(waits: Callable[[], Waits], word: str) -> None:
    """Only while nobody else has the primitive, with a timer that ticks all the while."""
    primitive, wait = waits()

    async def tick() -> None:
        await gochan.sleep(100)

    async with Group() as group:
        group.go(tick)
        stuck = group.go(wait, name="stuck")
        await settle()
        assert find_leaks() == []
        del primitive, wait
        found = find_leaks()
        assert [(info.name, info.state) for info in found] == [("stuck", word)]
        assert f"[{word} (leaked)" in dump(leaks=True)
        stuck.cancel()
        await settle()
        assert find_leaks() == []
        group.cancel()


@bounded
async def test_a_cycle_of_mutexes_is_a_leak() -> None:
    """Each of two goroutines holds what the other wants; found while other goroutines go on."""

    async def both() -> None:
        a, b = Mutex(), Mutex()

        async def lock(one: Mutex, other: Mutex) -> None:
            async with one:
                await settle(3)
                async with other:
                    pass

        gochan.go(lock, a, b, name="A then B")
        gochan.go(lock, b, a, name="B then A")

    async def tick() -> None:
        while True:
            await gochan.sleep(0.001)

    async with Group() as group:
        group.go(tick)
        await group.go(both).result()
        await settle()
        found = find_leaks()
        assert sorted(info.name for info in found) == ["A then B", "B then A"]
        assert {info.state for info in found} == {"sync.Mutex.Lock"}
        group.cancel()


@waits
@bounded
async def test_what_nobody_uses_any_more_is_freed(waits: Callable[[], Waits], word: str) -> None:
    """The primitive goes with the last reference, when its waiters have left."""
    primitive, wait = waits()
    with anyio.move_on_after(0):
        await wait()
    alive = weakref.ref(primitive)
    del primitive, wait
    await anyio.lowlevel.checkpoint()  # the loop keeps what it ran last
    gc.collect()
    assert alive() is None


# ---- whose they are ----


@waits
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_next_loop_takes_them_over(waits: Callable[[], Waits], word: str, backend: str) -> None:
    """What was held is held, and who waited under the loop that has ended is gone."""
    primitive, wait = waits()

    async def in_vain() -> None:
        with anyio.move_on_after(0.001) as scope:
            await wait()
        assert scope.cancelled_caught
        primitive._state._check()

    async def abandoned() -> None:
        async with Group() as group:
            group.go(wait)
            await settle()
            group.cancel()

    before = repr(primitive)
    for here in (backend, "trio" if backend == "asyncio" else "asyncio", backend):
        anyio.run(in_vain, backend=here)
        anyio.run(abandoned, backend=here)
        assert repr(primitive) == before


def a_reader_behind_a_writer(how: str) -> tuple[Any, Any, Any]:
    mutex = RWMutex()
    mutex.acquire_read_nowait()
    first = mutex.acquire_write() if how == "plain" else select(mutex.acquiring_write(), Channel[int]())
    return mutex, first, mutex.acquire_read()


def a_small_request_behind_a_large_one(how: str) -> tuple[Any, Any, Any]:
    places = Semaphore(2)
    places.acquire_nowait()
    first = places.acquire(2) if how == "plain" else select(places.acquiring(2), Channel[int]())
    return places, first, places.acquire(1)


@pytest.mark.parametrize("make", [a_reader_behind_a_writer, a_small_request_behind_a_large_one])
@pytest.mark.parametrize("how", ["plain", "select"])
def test_nobody_is_let_in_under_a_loop_that_is_closed(make: Callable[[str], tuple[Any, Any, Any]], how: str) -> None:
    """The tasks are thrown away with it, the first in line first: what went to the second would be lost."""
    primitive, *coroutines = make(how)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _context: None)  # that tasks were pending is what this is about
    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    loop.run_until_complete(asyncio.sleep(0))
    held = repr(primitive).split()[1]
    loop.close()
    for coroutine in coroutines:
        coroutine.close()
    assert repr(primitive).split()[1] == held
    tasks.clear()


@waits
@bounded
async def test_another_thread_is_refused(waits: Callable[[], Waits], word: str) -> None:
    """As soon as somebody has waited; a second loop as well. Nothing has changed."""
    primitive, wait = waits()
    with anyio.move_on_after(0.001):
        await wait()
    before = repr(primitive)
    kind = type(primitive)
    names = [name for name in vars(kind) if name.endswith("_nowait") or name.startswith(("release", "signal", "broad"))]

    def elsewhere() -> None:
        for name in names:
            with pytest.raises(RuntimeError, match=r"another thread.*from_thread"):
                getattr(primitive, name)()
        with pytest.raises(RuntimeError, match="belongs to the"):
            anyio.run(wait)

    await anyio.to_thread.run_sync(elsewhere)
    assert names
    assert repr(primitive) == before


# ---- leaving ----


async def crowd_leaves(waits: Callable[[], Waits], size: int) -> float:
    """Seconds that it takes until all who wait have given up, from the back of the queue to its front."""
    primitive, wait = waits()
    async with Group() as group:
        waiting = [group.go(wait) for _ in range(size)]
        await settle(size // 50 + 5)
        assert f"aiters={size}" in repr(primitive) or f"waiting={size}" in repr(primitive)
        gc.collect()
        began = perf_counter()
        for one in reversed(waiting):
            one.cancel()
        for one in waiting:
            await one.done.wait()
        elapsed = perf_counter() - began
    primitive._state._check()
    return elapsed


@waits
@bounded
async def test_leaving_takes_constant_time(waits: Callable[[], Waits], word: str) -> None:
    """Four times the waiters take about four times as long to give up, not sixteen times."""
    ratios = list[float]()
    for _ in range(5):
        ratios.append(await crowd_leaves(waits, 1200) / await crowd_leaves(waits, 300))
        if ratios[-1] < 8:
            return
    raise AssertionError(f"four times the waiters took {ratios} times as long")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@waits
def test_ten_thousand_time_out_together(waits: Callable[[], Waits], word: str, backend: Any) -> None:
    """In one turn of the loop; afterwards nobody waits, and all is in order."""

    async def main() -> None:
        primitive, wait = waits()
        scopes, given_up = list[anyio.CancelScope](), 0

        async def impatient() -> None:
            nonlocal given_up
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await wait()
            given_up += 1

        async with Group() as group:
            for _ in range(10_000):
                group.go(impatient)
            while len(scopes) < 10_000:
                await settle()
            await settle()
            now = anyio.current_time()
            for scope in scopes:
                scope.deadline = now
        assert given_up == 10_000
        primitive._state._check()
        assert "aiters=0" in repr(primitive) or "waiting=0" in repr(primitive)

    gochan.run(main, backend=backend)
