"""Locks, after Go's src/sync/{mutex,rwmutex}_test.go and src/runtime/sema_test.go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import anyio
import pytest

from gochan import Channel, Group, Mutex, RWMutex, sleep, try_select
from gochan.testing import explore

from .helpers import bounded, settle

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


# ---- Mutex ----


async def _hammer(mutex: Mutex, loops: int, done: Channel[bool]) -> None:
    for i in range(loops):
        if i % 3 == 0:
            try:
                mutex.acquire_nowait()
            except anyio.WouldBlock:
                continue
            mutex.release()
            continue
        await mutex.acquire()
        if i % 7 == 0:
            await anyio.lowlevel.checkpoint()
        mutex.release()
    await done.send(True)


@bounded
async def test_mutex() -> None:
    """Trying fails on a held mutex and works on a free one; ten goroutines that hammer at it all come through."""
    mutex, done = Mutex(), Channel[bool]()
    await mutex.acquire()
    with pytest.raises(anyio.WouldBlock):
        mutex.acquire_nowait()
    mutex.release()
    mutex.acquire_nowait()
    mutex.release()
    async with Group() as group:
        for _ in range(10):
            group.go(_hammer, mutex, 300, done)
        for _ in range(10):
            await done.receive()
    assert not mutex.locked()
    mutex._state._check()


def _unlock() -> None:
    Mutex().release()


def _unlock_twice() -> None:
    mutex = Mutex()
    mutex.acquire_nowait()
    mutex.release()
    mutex.release()


def _write_unlock() -> None:
    RWMutex().release_write()


def _write_unlock_of_a_reader() -> None:
    mutex = RWMutex()
    mutex.acquire_read_nowait()
    mutex.release_write()


def _write_unlock_twice() -> None:
    mutex = RWMutex()
    mutex.acquire_write_nowait()
    mutex.release_write()
    mutex.release_write()


def _read_unlock() -> None:
    RWMutex().release_read()


def _read_unlock_of_a_writer() -> None:
    mutex = RWMutex()
    mutex.acquire_write_nowait()
    mutex.release_read()


def _read_unlock_twice() -> None:
    mutex = RWMutex()
    mutex.acquire_read_nowait()
    mutex.release_read()
    mutex.release_read()


@pytest.mark.parametrize(
    "misuse",
    [
        _unlock,
        _unlock_twice,
        _write_unlock,
        _write_unlock_of_a_reader,
        _write_unlock_twice,
        _read_unlock,
        _read_unlock_of_a_writer,
        _read_unlock_twice,
    ],
)
def test_mutex_misuse(misuse: Callable[[], None]) -> None:
    """Eight ways to unlock what is not locked: each is an error that says "unlocked"."""
    with pytest.raises(RuntimeError, match="unlocked"):
        misuse()


@pytest.mark.gochan(virtual_time=True)
@bounded
async def test_mutex_fairness() -> None:
    """One goroutine that holds the mutex nearly all the time does not keep another from getting it ten times."""
    mutex, stop = Mutex(), False

    async def hog() -> None:
        while not stop:
            async with mutex:
                await sleep(100e-6)

    began = anyio.current_time()
    async with Group() as group:
        group.go(hog)
        for _ in range(10):
            await sleep(100e-6)
            await mutex.acquire()
            mutex.release()
        stop = True
    assert anyio.current_time() - began < 0.01


@bounded
async def test_hand_off() -> None:
    """A release gives the lock to who waits, though the one that released it wants it again at once."""
    mutex, turns = Mutex(), list[str]()

    async def player(name: str) -> None:
        for _ in range(5):
            await mutex.acquire()
            turns.append(name)
            if len(turns) == 1:
                await settle()  # the other comes to wait
            mutex.release()

    async with Group() as group:
        group.go(player, "a")
        group.go(player, "b")
    first, second = turns[:2]
    assert turns == [first, second] * 5


# ---- RWMutex ----


class _Activity:
    """Go's counter: a reader counts 1, a writer 10,000."""

    def __init__(self) -> None:
        self.mutex = RWMutex()
        self.count = 0

    async def reader(self, loops: int) -> None:
        for _ in range(loops):
            async with self.mutex.read():
                self.count += 1
                try:
                    assert 1 <= self.count < 10_000
                    await anyio.lowlevel.checkpoint()
                finally:
                    self.count -= 1

    async def writer(self, loops: int) -> None:
        for _ in range(loops):
            async with self.mutex.write():
                self.count += 10_000
                try:
                    assert self.count == 10_000
                    await anyio.lowlevel.checkpoint()
                finally:
                    self.count -= 10_000
                self.mutex._state._check()


@pytest.mark.parametrize(("readers", "loops"), [(1, 60), (3, 60), (10, 30), (5, 30)])
@bounded
async def test_rwmutex_hammered(readers: int, loops: int) -> None:
    """Two writers among the readers: a writer is alone, readers are not beside one."""
    activity = _Activity()
    async with Group() as group:
        group.go(activity.writer, loops)
        for _ in range(readers // 2):
            group.go(activity.reader, loops)
        group.go(activity.writer, loops)
        for _ in range(readers - readers // 2):
            group.go(activity.reader, loops)
    assert activity.count == 0
    assert "unlocked" in repr(activity.mutex)


@backends
def test_rwmutex_under_many_schedules(backend: Backend) -> None:
    """The same, small, whatever the order."""

    async def main() -> None:
        activity = _Activity()
        async with Group() as group:
            for _ in range(2):
                group.go(activity.reader, 2)
                group.go(activity.writer, 1)

    explore(main, backend=backend, runs=150)


@bounded
async def test_rwmutex_try() -> None:
    """What may be tried beside a reader, a writer, and a writer that waits."""
    mutex = RWMutex()

    def possible() -> tuple[bool, bool]:
        """Whether reading is, and writing."""
        reading = try_select(mutex.acquiring_read()) is not None
        if reading:
            mutex.release_read()
        writing = try_select(mutex.acquiring_write()) is not None
        if writing:
            mutex.release_write()
        return reading, writing

    assert possible() == (True, True)
    async with mutex.write():
        assert possible() == (False, False)
    async with mutex.read():
        assert possible() == (True, False)
        async with Group() as group:
            writer = group.go(mutex.acquire_write)
            await settle()
            assert possible() == (False, False)
            writer.cancel()
        assert possible() == (True, False)
    assert possible() == (True, True)


@pytest.mark.parametrize("count", [1, 3, 4])
@bounded
async def test_parallel_readers(count: int) -> None:
    """So many readers are inside at once."""
    mutex, locked, unlock, done = RWMutex(), Channel[bool](), Channel[bool](), Channel[bool]()

    async def reader() -> None:
        async with mutex.read():
            await locked.send(True)
            await unlock.receive()
        await done.send(True)

    async with Group() as group:
        for _ in range(count):
            group.go(reader)
        for _ in range(count):
            await locked.receive()
        for _ in range(count):
            await unlock.send(True)
        for _ in range(count):
            await done.receive()


@bounded
async def test_readers_block() -> None:
    """``read()`` gives a locker that really locks for reading: others read beside it, and a writer waits."""
    mutex, wrote = RWMutex(), Channel[bool](1)

    async def write() -> None:
        async with mutex.write():
            wrote.send_nowait(True)

    for _ in range(10):
        async with Group() as group:
            async with mutex.read(), mutex.read():
                group.go(write)
                await settle()
                assert len(wrote) == 0
            assert await wrote.receive()


@bounded
async def test_rwmutex_order_after_a_writer() -> None:
    """Writer, reader, writer, reader wait: both readers go first, then the writers."""
    mutex, order = RWMutex(), list[str]()

    async def write(name: str) -> None:
        async with mutex.write():
            order.append(name)

    async def read(name: str) -> None:
        async with mutex.read():
            order.append(name)

    await mutex.acquire_write()
    async with Group() as group:
        for lock, name in ((write, "W1"), (read, "R1"), (write, "W2"), (read, "R2")):
            group.go(lock, name)
            await settle()
        mutex.release_write()
    assert (set(order[:2]), order[2:]) == ({"R1", "R2"}, ["W1", "W2"])
