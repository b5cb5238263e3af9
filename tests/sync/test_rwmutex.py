"""The reader/writer mutex: who goes together, who goes first, and what happens when one who waits leaves."""

from __future__ import annotations

import random
from typing import Any, Literal

import anyio
import pytest
from tests.conformance.helpers import bounded, settle

import gochan.testing
from gochan import Channel, Group, RWMutex, go, select, try_select
from gochan._core.driver import NOWHERE
from gochan._core.waiter import PARKED
from gochan._sync.rwmutex import _ReadCase, _WriteCase
from gochan.testing import CancelOutcome, cancel_sweep, explore

from .places import Place

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Library:
    """A mutex, who is inside, and in which order they came in."""

    def __init__(self) -> None:
        self.mutex = RWMutex()
        self.readers = 0
        self.writers = 0
        self.order = list[str]()

    async def read(self, name: str = "R", turns: int = 1) -> None:
        async with self.mutex.read():
            self.readers += 1
            self.order.append(name)
            try:
                await self._look(turns)
            finally:
                self.readers -= 1

    async def write(self, name: str = "W", turns: int = 1) -> None:
        async with self.mutex.write():
            self.writers += 1
            self.order.append(name)
            try:
                await self._look(turns)
            finally:
                self.writers -= 1

    async def _look(self, turns: int) -> None:
        for _ in range(turns):
            assert self.writers <= 1
            assert not (self.readers and self.writers)
            self.mutex._state._check()
            await anyio.lowlevel.checkpoint()

    async def queue(self, group: Group, names: str) -> dict[str, gochan.Goroutine[None]]:
        """Start readers and writers in this order ("R1 W1"), each when the one before has done what it can."""
        started = dict[str, gochan.Goroutine[None]]()
        for name in names.split():
            started[name] = group.go(self.read if name[0] == "R" else self.write, name)
            await settle(3)
            self.mutex._state._check()
        return started


@bounded
async def test_readers_together_writers_alone() -> None:
    """A reader beside readers; a writer beside nobody."""
    mutex = RWMutex()
    async with mutex.read(), mutex.read():
        mutex.acquire_read_nowait()
        with pytest.raises(anyio.WouldBlock):
            mutex.acquire_write_nowait()
        mutex.release_read()
    async with mutex.write() as given:
        assert given is None
        for try_it in (mutex.acquire_read_nowait, mutex.acquire_write_nowait):
            with pytest.raises(anyio.WouldBlock):
                try_it()
    mutex.acquire_write_nowait()
    mutex.release_write()
    assert repr(mutex) == "<RWMutex unlocked readers_waiting=0 writers_waiting=0>"


@bounded
async def test_a_writer_that_waits_keeps_readers_out() -> None:
    """So that writers do not starve; trying is refused as well."""
    library = Library()
    mutex = library.mutex
    await mutex.acquire_read()
    async with Group() as group:
        await library.queue(group, "W1 R1")
        with pytest.raises(anyio.WouldBlock):
            mutex.acquire_read_nowait()
        assert try_select(mutex.acquiring_read()) is None
        assert library.order == []
        mutex.release_read()
    assert library.order == ["W1", "R1"]


@bounded
async def test_after_a_writer_all_readers_that_wait_go_first() -> None:
    """Those that wait at the moment of the release, wherever they stand; then the writers (RW-3)."""
    library = Library()
    await library.mutex.acquire_write()
    async with Group() as group:
        await library.queue(group, "W1 R1 W2 R2")
        library.mutex.release_write()
        library.mutex._state._check()
        late = group.go(library.read, "R3")
    await late.result()
    assert sorted(library.order[:2]) == ["R1", "R2"]
    assert library.order[2:] == ["W1", "R3", "W2"] or library.order[2:] == ["W1", "W2", "R3"]


@bounded
async def test_writers_that_give_up_let_readers_in() -> None:
    """The readers behind them as far as the next writer; also when the last one gives up."""
    library = Library()
    await library.mutex.acquire_read()
    async with Group() as group:
        started = await library.queue(group, "W1 R1 R2 W2 R3")
        started["W1"].cancel()
        await settle()
        library.mutex._state._check()
        assert sorted(library.order) == ["R1", "R2"]
        started["W2"].cancel()
        await settle()
        assert sorted(library.order) == ["R1", "R2", "R3"]
        library.mutex.release_read()
    assert "unlocked readers_waiting=0 writers_waiting=0" in repr(library.mutex)


@bounded
async def test_readers_that_give_up() -> None:
    """The others stand where they stood."""
    library = Library()
    await library.mutex.acquire_write()
    async with Group() as group:
        started = await library.queue(group, "R1 W1 R2 R3")
        started["R1"].cancel()
        started["R2"].cancel()
        await settle()
        library.mutex._state._check()
        library.mutex.release_write()
    assert library.order == ["R3", "W1"]


@bounded
async def test_releasing_what_is_not_held() -> None:
    """Eight ways; each says "unlocked", and changes nothing."""
    mutex = RWMutex()
    for release in (mutex.release_read, mutex.release_write) * 2:
        with pytest.raises(RuntimeError, match="unlocked RWMutex"):
            release()
    async with mutex.read():
        with pytest.raises(RuntimeError, match=r"unlocked.*no writer holds it.*readers=1"):
            mutex.release_write()
    async with mutex.write():
        with pytest.raises(RuntimeError, match=r"unlocked.*no reader holds it.*write-locked"):
            mutex.release_read()
    for release in (mutex.release_read, mutex.release_write):
        with pytest.raises(RuntimeError, match="unlocked RWMutex"):
            release()
    mutex._state._check()
    assert "unlocked" in repr(mutex)


@backends
def test_reading_twice_can_be_a_deadlock(backend: Backend) -> None:
    """With a writer in between, as in Go; both are named with their words."""

    async def main() -> None:
        library = Library()
        await library.mutex.acquire_read()
        go(library.write)
        await gochan.sleep(1)
        await library.mutex.acquire_read()

    with pytest.raises(gochan.Deadlock) as caught:
        gochan.testing.run(main, backend=backend)
    assert [info.state for info in caught.value.goroutines] == ["sync.RWMutex.RLock", "sync.RWMutex.Lock"]


# ---- select ----


@bounded
async def test_as_cases_of_a_select() -> None:
    """Held when chosen; the case that lost has left its queue."""
    mutex, channel = RWMutex(), Channel[int]()
    assert await select(mutex.acquiring_read(), channel) == (0, None)
    assert try_select(mutex.acquiring_write()) is None
    assert try_select(mutex.acquiring_read()) == (0, None)
    async with Group() as group:
        waiting = group.go(select, mutex.acquiring_write(), channel)
        await settle()
        reader = group.go(mutex.acquire_read)
        await settle()
        assert not reader.done.is_set()
        await channel.send(1)  # the writer takes the other case, and with that the reader may come in
        assert await waiting.result() == (1, 1)
        await reader.result()
    mutex._state._check()
    assert "readers=3" in repr(mutex)


@bounded
async def test_reading_or_writing_in_one_select() -> None:
    """It is not kept out by itself: as soon as it could read it does."""
    mutex = RWMutex()
    await mutex.acquire_write()
    async with Group() as group:
        either = group.go(select, mutex.acquiring_write(), mutex.acquiring_read())
        await settle()
        mutex._state._check()
        mutex.release_write()
        assert await either.result() == (1, None)
        writer = group.go(mutex.acquire_write)
        await settle()
        either = group.go(select, mutex.acquiring_write(), mutex.acquiring_read())
        await settle()
        writer.cancel()
        assert await either.result() == (1, None)
    mutex._state._check()
    assert "readers=2 readers_waiting=0 writers_waiting=0" in repr(mutex)


@pytest.mark.parametrize("count", [1, 2, 2000])
def test_a_long_chain_of_selects(count: int) -> None:
    """Each keeps the next one out, by wanting to write elsewhere; one who leaves sets all going, not deeply."""
    log = list[Any]()
    states = [RWMutex()._state for _ in range(count)]
    for state in states:
        state.readers = 1
    first = Place("first", log).stand(states[0].to_write(NOWHERE), states[0].ticket())
    for number in range(10_000):
        here, there = states[number % count], states[(number + 1) % count]
        Place(number, log).select(_ReadCase(here), _WriteCase(there))
    first.give_up()
    for state in states:
        state._check()
    assert len(log) == len(set(log))
    assert log == sorted(log)
    assert len(log) >= min(count, 9_999)


# ---- cancellation ----


@backends
@pytest.mark.parametrize("how", ["read", "write", "select"])
def test_cancelled_anywhere(how: str, backend: Backend) -> None:
    """At every suspension: it holds the mutex and returned, or it does not and those behind it go on."""

    async def setup() -> RWMutex:
        mutex = RWMutex()
        if how == "read":
            await mutex.acquire_write()
        else:
            await mutex.acquire_read()

        async def release() -> None:
            await gochan.sleep(1)
            (mutex.release_write if how == "read" else mutex.release_read)()

        async def reader() -> None:
            await gochan.sleep(0.5)
            async with mutex.read():
                pass

        go(release)
        go(reader)
        return mutex

    async def operation(mutex: RWMutex) -> None:
        match how:
            case "read":
                await mutex.acquire_read()
            case "write":
                await mutex.acquire_write()
            case _:
                assert await select(None, mutex.acquiring_write()) == (1, None)

    async def check(mutex: RWMutex, outcome: CancelOutcome) -> None:
        await gochan.sleep(5)
        mutex._state._check()
        if outcome.returned:
            (mutex.release_read if how == "read" else mutex.release_write)()
        await gochan.sleep(1)
        mutex._state._check()
        assert "unlocked readers_waiting=0 writers_waiting=0" in repr(mutex)

    assert cancel_sweep(setup, operation, check, backend=backend).points >= 4


@backends
def test_under_many_schedules(backend: Backend) -> None:
    """Readers and writers that come, go and give up: never a writer beside another."""

    async def main() -> None:
        library = Library()
        async with Group() as group:
            leaving = [group.go(library.write, "W0"), group.go(library.read, "R0")]
            for number in range(1, 3):
                group.go(library.read, f"R{number}")
                group.go(library.write, f"W{number}")
            await anyio.lowlevel.checkpoint()
            for one in leaving:
                one.cancel()
        assert "unlocked readers_waiting=0 writers_waiting=0" in repr(library.mutex)
        assert {"R1", "R2", "W1", "W2"} <= set(library.order)

    explore(main, backend=backend, runs=150)


# ---- the state machine alone ----


class Model:
    """The same rules once more, slowly: one list of who waits."""

    def __init__(self) -> None:
        self.readers = 0
        self.writing = False
        self.waiting = list[tuple[int, str]]()  # "R", "W", or "RW" for a select with both

    def admit(self, number: int, kind: str) -> list[int]:
        self.waiting = [one for one in self.waiting if one[0] != number]
        self.readers += kind == "R"
        self.writing = kind == "W"
        return [number]

    def ask(self, number: int, kind: str) -> list[int]:
        self.waiting.append((number, kind))
        return self.settle()

    def settle(self) -> list[int]:
        went = list[int]()
        while self.waiting and not self.writing:
            number, kind = self.waiting[0]
            if "R" in kind:
                went += self.admit(number, "R")
            elif self.readers:
                break
            else:
                went += self.admit(number, "W")
        return went

    def release_write(self) -> list[int]:
        self.writing = False
        went = list[int]()
        for number, kind in list(self.waiting):
            if "R" in kind:
                went += self.admit(number, "R")
        return went + self.settle()

    def release_read(self) -> list[int]:
        self.readers -= 1
        return self.settle()

    def leave(self, number: int) -> list[int]:
        self.waiting = [one for one in self.waiting if one[0] != number]
        return self.settle()


@pytest.mark.parametrize("seed", range(20))
def test_the_state_machine_against_the_rules(seed: int) -> None:
    """R1 to R3 after every step of a random program, and everybody goes when and in the order the rules say."""
    rng = random.Random(seed)
    mutex, model, log = RWMutex(), Model(), list[Any]()
    state = mutex._state
    places = dict[int, Place]()
    for number in range(400):
        before, expected = len(log), list[int]()
        match rng.choice(["R", "W", "RW", "release", "release", "release", "leave"]):
            case "R":
                expected = model.ask(number, "R")
                if state.can_read():
                    state.readers += 1
                    log.append(number)
                else:
                    places[number] = Place(number, log).stand(state.reading(NOWHERE), state.ticket())
            case "W":
                expected = model.ask(number, "W")
                if state.can_write():
                    state.writing = True
                    log.append(number)
                else:
                    places[number] = Place(number, log).stand(state.to_write(NOWHERE), state.ticket())
            case "RW":
                if not state.can_read():
                    expected = model.ask(number, "RW")
                    cases = [mutex.acquiring_write(), mutex.acquiring_read()]
                    rng.shuffle(cases)
                    places[number] = Place(number, log).select(*cases)
            case "release" if state.writing:
                expected = model.release_write()
                state.release_write()
            case "release" if state.readers:
                expected = model.release_read()
                state.release_read()
            case "leave":
                parked = [place for place in places.values() if place.state == PARKED]
                if parked:
                    leaver = rng.choice(parked)
                    expected = model.leave(leaver.name)
                    leaver.give_up()
            case _:
                pass
        state._check()
        assert log[before:] == expected
        assert (state.readers, state.writing) == (model.readers, model.writing)
