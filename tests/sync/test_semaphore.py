"""The weighted semaphore: amounts, order, a size that changes, and who leaves."""

from __future__ import annotations

import random
from enum import IntEnum
from typing import Any, Literal

import anyio
import pytest
from tests.conformance.helpers import bounded, settle

import gochan
from gochan import Channel, Group, Semaphore, go, select, try_select
from gochan._core.driver import NOWHERE
from gochan._core.waiter import PARKED
from gochan._sync.semaphore import TOO_LARGE, _AcquireCase
from gochan.testing import CancelOutcome, cancel_sweep, explore

from .places import Place

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
        assert store.got == ["large", "small"]
        store.semaphore._state._check()
        store.semaphore.release(1)
    assert store.got == ["large", "small", "middle"]


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
        assert store.got == ["one", "three"]
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
    assert store.got == ["one", "nothing"]


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
    """At once, in their order."""
    store = Store(2, held=2)
    async with Group() as group:
        await store.queue(group, one=1, two=2, three=1)
        store.semaphore.resize(4)
        await settle()
        assert store.got == ["one"]
        store.semaphore._state._check()
        store.semaphore.resize(6)
    assert store.got == ["one", "two", "three"]
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
        store.semaphore.release(2)
    assert store.got == ["select", "one", "two"]


@pytest.mark.parametrize("count", [1, 2, 2000])
def test_a_long_chain_of_selects(count: int) -> None:
    """Ten thousand, each with two requests: who leaves sets all of them going, each once, in order, and not deeply."""
    log = list[Any]()
    states = [Semaphore(10_001)._state for _ in range(count)]
    for state in states:
        state.held = 1
    first = Place("first", log).stand(states[0].waiting(NOWHERE), 10_001)
    for number in range(10_000):
        here, there = states[number % count], states[(number + 1) % count]
        Place(number, log).select(*(_AcquireCase(state, n) for state, n in ((here, 1), (there, 9))))
    first.give_up()
    for state in states:
        state._check()
    assert log == list(range(10_000 if count < 3 else len(log)))
    assert len(log) >= count


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


# ---- the state machine alone ----


@pytest.mark.parametrize("seed", range(20))
def test_the_state_machine_against_the_rules(seed: int) -> None:
    """S1 to S3 after every step of a random program, and everybody goes when and in the order the rules say."""
    rng = random.Random(seed)
    semaphore, log, expected = Semaphore(5), list[Any](), list[Any]()
    state = semaphore._state
    waiting = list[tuple[int, tuple[int, ...]]]()
    places = dict[int, Place]()
    held = 0

    def let_in(size: int | None = None) -> None:
        nonlocal held
        size = state.size if size is None else size
        while waiting:
            number, amounts = waiting[0]
            fitting = [n for n in amounts if held + n <= size]
            if not fitting:
                return
            held += fitting[0]
            expected.append(number)
            waiting.pop(0)

    for number in range(300):
        match rng.choice(["ask", "ask", "select", "release", "release", "leave", "resize"]):
            case "ask" if state.size:
                n = rng.randint(0, state.size)
                if state.fits(n):
                    assert not waiting
                    state.held += n
                    held += n
                else:
                    waiting.append((number, (n,)))
                    places[number] = Place(number, log).stand(state.waiting(NOWHERE), n)
            case "select" if state.size:
                amounts = tuple(rng.randint(1, state.size) for _ in range(2))
                if not any(map(state.fits, amounts)):
                    waiting.append((number, amounts))
                    places[number] = Place(number, log).select(*map(semaphore.acquiring, amounts))
            case "release" if held:
                n = rng.randint(1, held)
                held -= n
                let_in()
                state.release(n)
            case "leave":
                parked = [place for place in places.values() if place.state == PARKED]
                if parked:
                    leaver = rng.choice(parked)
                    waiting = [one for one in waiting if one[0] != leaver.name]
                    let_in()
                    leaver.give_up()
            case "resize":
                size = rng.randint(0, 7)
                refused = [one for one, amounts in waiting if max(amounts) > size]
                waiting = [one for one in waiting if one[0] not in refused]
                let_in(size)
                state.resize(size)
                for one in refused:
                    got = places[one].got[0]
                    assert got is TOO_LARGE or got[1] is TOO_LARGE
                    log.remove(one)
            case _:
                pass
        state._check()
        assert log == expected
        assert state.held == held
