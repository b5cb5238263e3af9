"""The weighted semaphore: amounts, order, a size that changes, and who leaves."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal

import anyio
import pytest
from tests.conformance.helpers import bounded, settle

import gochan
from gochan import Channel, Group, Semaphore, go, select, try_select
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Size(IntEnum):
    BIG = 3


class Store:
    """A semaphore and who has got something from it, in their order."""

    def __init__(self, size: int, held: int = 0) -> None:
        self.semaphore = Semaphore(size)
        self.semaphore.acquire_nowait(held)
        self.got = list[str]()

    async def take(self, name: str, n: int) -> None:
        await self.semaphore.acquire(n)
        self.got.append(name)

    async def queue(self, group: Group, **amounts: int) -> dict[str, gochan.Goroutine[None]]:
        """Goroutines that ask for these amounts, in this order."""
        started = dict[str, gochan.Goroutine[None]]()
        for name, n in amounts.items():
            started[name] = group.go(self.take, name, n)
            await settle(3)
            self.semaphore._state._check()
        return started


@bounded
async def test_amounts() -> None:
    """What is held counts; what does not fit waits or is refused."""
    semaphore = Semaphore(5)
    assert (semaphore.size, semaphore.held) == (5, 0)
    await semaphore.acquire()
    await semaphore.acquire(3)
    assert semaphore.held == 4
    with pytest.raises(anyio.WouldBlock):
        semaphore.acquire_nowait(2)
    semaphore.acquire_nowait()
    semaphore.release(5)
    assert repr(semaphore) == "<Semaphore 0/5 waiters=0>"


@bounded
async def test_blocks() -> None:
    """``hold`` gives back what it took, whatever happens; the semaphore itself holds one."""
    semaphore = Semaphore(3)
    async with semaphore.hold(2) as given:
        assert given is None
        assert semaphore.held == 2
        async with semaphore:
            assert semaphore.held == 3
    with pytest.raises(ZeroDivisionError):
        async with semaphore.hold():
            raise ZeroDivisionError
    assert semaphore.held == 0


@bounded
async def test_first_come_first_served() -> None:
    """A large request at the front is not starved by small ones behind it, not by those who try either."""
    store = Store(5, held=4)
    async with Group() as group:
        await store.queue(group, large=3, small=1, middle=2)
        assert store.got == []
        with pytest.raises(anyio.WouldBlock):
            store.semaphore.acquire_nowait()
        assert try_select(store.semaphore.acquiring()) is None
        store.semaphore.release(1)
        await settle()
        assert store.got == []
        store.semaphore.release(2)
        await settle()
        assert sorted(store.got) == ["large", "small"]  # let in together: trio resumes them in any order
        store.semaphore._state._check()
        store.semaphore.release(2)
    assert store.got[2:] == ["middle"]


@bounded
async def test_who_gives_up_at_the_front_lets_others_go() -> None:
    """As many as fit now, in their order."""
    store = Store(5, held=3)
    async with Group() as group:
        started = await store.queue(group, large=5, one=1, two=1, three=1)
        started["two"].cancel()
        await settle()
        assert store.got == []
        started["large"].cancel()
        await settle()
        assert sorted(store.got) == ["one", "three"]
        store.semaphore._state._check()
    assert store.semaphore.held == 5


@bounded
async def test_nothing_at_all() -> None:
    """An amount of 0 holds nothing; it stands in line like any other."""
    store = Store(1)
    await store.semaphore.acquire(0)
    store.semaphore.release(0)
    store.semaphore.acquire_nowait()
    await store.semaphore.acquire(0)
    async with Group() as group:
        await store.queue(group, one=1, nothing=0)
        assert store.got == []
        store.semaphore.release()
    assert sorted(store.got) == ["nothing", "one"]


async def test_of_size_zero() -> None:
    """It gives nothing away until it grows."""
    semaphore = Semaphore(0)
    with pytest.raises(ValueError, match="more than the size of <Semaphore 0/0"):
        await semaphore.acquire()
    semaphore.resize(1)
    await semaphore.acquire()


# ---- misuse ----


@pytest.mark.parametrize("wrong", [1.0, "1", None, True], ids=repr)
async def test_amounts_of_another_type(wrong: Any) -> None:
    """A TypeError, before anything is done."""
    semaphore = Semaphore(3)
    for call in (Semaphore, semaphore.acquire_nowait, semaphore.release, semaphore.acquiring, semaphore.hold):
        with pytest.raises(TypeError, match="is an int, not"):
            call(wrong)
    with pytest.raises(TypeError):
        semaphore.resize(wrong)
    with pytest.raises(TypeError):
        await semaphore.acquire(wrong)
    assert repr(semaphore) == "<Semaphore 0/3 waiters=0>"


async def test_amounts_that_are_negative() -> None:
    """A ValueError."""
    semaphore = Semaphore(3)
    for call in (Semaphore, semaphore.acquire_nowait, semaphore.release, semaphore.acquiring, semaphore.hold):
        with pytest.raises(ValueError, match="cannot be negative"):
            call(-1)
    with pytest.raises(ValueError, match="cannot be negative"):
        semaphore.resize(-1)
    with pytest.raises(ValueError, match="cannot be negative"):
        await semaphore.acquire(-1)
    assert repr(semaphore) == "<Semaphore 0/3 waiters=0>"


async def test_amounts_above_the_size() -> None:
    """A ValueError at once, and nobody is held up by it."""
    semaphore = Semaphore(3)
    for call in (semaphore.acquire_nowait, semaphore.acquiring, semaphore.hold):
        with pytest.raises(ValueError, match="4 is more than the size of <Semaphore 0/3"):
            call(4)
    with pytest.raises(ValueError, match="could never be acquired"):
        await semaphore.acquire(4)
    await semaphore.acquire(Size.BIG)
    assert semaphore.held == 3


async def test_releasing_more_than_held() -> None:
    """A RuntimeError that says so; nothing has changed."""
    semaphore = Semaphore(3)
    with pytest.raises(RuntimeError, match="released more than held"):
        semaphore.release()
    semaphore.acquire_nowait(2)
    with pytest.raises(RuntimeError, match=r"released more than held: release\(3\) of <Semaphore 2/3"):
        semaphore.release(3)
    assert semaphore.held == 2
    semaphore._state._check()


# ---- another size ----


@bounded
async def test_a_larger_size_lets_in_who_fits() -> None:
    """At once, those behind who does not fit apart."""
    store = Store(2, held=2)
    async with Group() as group:
        await store.queue(group, one=1, two=2, three=1)
        store.semaphore.resize(4)
        await settle()
        assert store.got == ["one"]
        store.semaphore._state._check()
        store.semaphore.resize(6)
    assert sorted(store.got) == ["one", "three", "two"]
    assert (store.semaphore.held, store.semaphore.size) == (6, 6)


@bounded
async def test_a_smaller_size_lets_holders_finish() -> None:
    """Nothing is taken from them; the next one fits when enough has come back."""
    store = Store(4, held=4)
    async with Group() as group:
        await store.queue(group, next=2)
        store.semaphore.resize(2)
        store.semaphore._state._check()
        assert store.semaphore.held == 4
        store.semaphore.release(2)
        await settle()
        assert store.got == []
        store.semaphore.release(2)
    assert store.got == ["next"]


@bounded
async def test_a_smaller_size_refuses_those_who_wait_for_more() -> None:
    """A ValueError, for a plain acquire and for a select; those behind them go on."""
    store = Store(5, held=2)

    async def refused() -> None:
        with pytest.raises(ValueError, match="4 is more than the size"):
            await store.semaphore.acquire(4)
        store.got.append("refused")

    async def refused_select() -> None:
        with pytest.raises(ValueError, match="5 is more than the size"):
            await select(store.semaphore.acquiring(5), Channel[int]())
        store.got.append("refused")

    late = store.semaphore.acquiring(5)
    async with Group() as group:
        group.go(refused)
        await settle()
        group.go(refused_select)
        await settle()
        await store.queue(group, one=1)
        store.semaphore.resize(3)
        store.semaphore._state._check()
    assert sorted(store.got) == ["one", "refused", "refused"]
    with pytest.raises(ValueError, match="5 is more than the size"):
        await select(late)
    assert repr(store.semaphore) == "<Semaphore 3/3 waiters=0>"


# ---- select ----


@bounded
async def test_as_a_case_of_a_select() -> None:
    """Held when chosen; a case that loses at the front lets others go."""
    store, channel = Store(3, held=2), Channel[int]()
    assert await select(store.semaphore.acquiring(), channel) == (0, None)
    async with Group() as group:
        chosen = group.go(select, store.semaphore.acquiring(3), channel)
        await settle()
        await store.queue(group, one=1)
        store.semaphore.release()
        await settle()
        assert store.got == []
        await channel.send(1)
        assert await chosen.result() == (1, 1)
    assert store.got == ["one"]
    assert store.semaphore.held == 3


@pytest.mark.parametrize("cases", [(3, 1), (1, 3), (3, 2, 1)], ids=str)
@bounded
async def test_several_amounts_in_one_select(cases: tuple[int, ...]) -> None:
    """It is not kept out by itself: as soon as one of them fits, it is let in, and once."""
    store = Store(3, held=3)

    async def any_of() -> int:
        number, _ = await select(*(store.semaphore.acquiring(n) for n in cases))
        store.got.append("select")
        return cases[number]

    async with Group() as group:
        chosen = group.go(any_of)
        await settle()
        await store.queue(group, one=1, two=1)
        store.semaphore.release()
        assert await chosen.result() == 1
        store.semaphore._state._check()
        assert store.semaphore.held == 3
        assert store.got == ["select"]
        store.semaphore.release(2)
    assert sorted(store.got[1:]) == ["one", "two"]


# ---- cancellation ----


@backends
@pytest.mark.parametrize("how", ["acquire", "hold", "select"])
def test_cancelled_anywhere(how: str, backend: Backend) -> None:
    """At every suspension: it holds its amount and returned, or nothing, and the one behind it goes on."""

    async def setup() -> Store:
        store = Store(3, held=2)

        async def release() -> None:
            await gochan.sleep(1)
            store.semaphore.release(2)

        async def behind() -> None:
            await gochan.sleep(0.5)
            await store.take("behind", 1)
            store.semaphore.release()

        go(release)
        go(behind)
        return store

    async def operation(store: Store) -> None:
        match how:
            case "acquire":
                await store.semaphore.acquire(2)
            case "select":
                assert await select(None, store.semaphore.acquiring(2)) == (1, None)
            case _:
                async with store.semaphore.hold(2):
                    await anyio.lowlevel.checkpoint()

    async def check(store: Store, outcome: CancelOutcome) -> None:
        await gochan.sleep(5)
        store.semaphore._state._check()
        assert store.got == ["behind"]
        assert store.semaphore.held == (2 if outcome.returned and how != "hold" else 0)

    assert cancel_sweep(setup, operation, check, backend=backend).points >= 4


@backends
def test_under_many_schedules(backend: Backend) -> None:
    """Never more than the size, with goroutines that give up and a size that changes."""

    async def main() -> None:
        store, inside = Store(4), 0

        async def work(n: int) -> None:
            nonlocal inside
            async with store.semaphore.hold(n):
                inside += n
                try:
                    assert inside <= 5
                    await anyio.lowlevel.checkpoint()
                    store.semaphore._state._check()
                finally:
                    inside -= n

        async with Group() as group:
            leaving = [group.go(work, 3), group.go(work, 1)]
            for n in (2, 4, 1, 3):
                group.go(work, n)
            await anyio.lowlevel.checkpoint()
            leaving[0].cancel()
            store.semaphore.resize(5)
            leaving[1].cancel()
        assert repr(store.semaphore) == "<Semaphore 0/5 waiters=0>"

    explore(main, backend=backend, runs=150)
