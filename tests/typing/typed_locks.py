"""Checked, never run: what locks give as cases of a select, and what `wait_for` gives back."""

from __future__ import annotations

from typing import Literal, assert_never, assert_type

from gochan import Case, Channel, Cond, Mutex, RWMutex, Selectable, Semaphore, select


async def cases(mutex: Mutex, shared: RWMutex, places: Semaphore, jobs: Channel[int]) -> None:
    assert_type(mutex.acquiring(), Case[None])
    either: Selectable[None] = shared.acquiring_write()
    assert_type(await select(either), tuple[Literal[0], None])
    match await select(mutex.acquiring(), shared.acquiring_read(), places.acquiring(2), jobs):
        case (0, _):
            mutex.release()
        case (1, _):
            shared.release_read()
        case (2, _):
            places.release(2)
        case (3, job):
            assert_type(job, int)
        case _ as never:
            assert_never(never)


async def blocks(mutex: Mutex, shared: RWMutex, places: Semaphore) -> None:
    async with mutex as held:
        assert_type(held, None)
    async with shared.read(), shared.write(), places.hold(3), places:
        pass


async def waiting(mutex: Mutex, stock: list[str]) -> None:
    changed = Cond(mutex)
    assert_type(changed.mutex, Mutex)
    assert_type(await changed.wait_for(lambda: stock), list[str])


async def rejected(mutex: RWMutex, places: Semaphore) -> None:
    Cond(mutex)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not a Mutex
    await places.acquire("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
