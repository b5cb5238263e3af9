"""Programs made at random, and looked at while they run: what ``find_leaks`` names never makes another step."""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

import anyio
import pytest

from gochan import (
    CancelContext,
    Channel,
    ChannelClosed,
    ContextError,
    Event,
    Goroutine,
    Group,
    Mutex,
    Semaphore,
    Timer,
    WaitGroup,
    background,
    merge_contexts,
    select,
    send,
    sleep,
)
from gochan.diagnostics import find_leaks
from gochan.testing import run

BACKENDS = ["asyncio", "trio"]
OPERATIONS = 8
"""Of one goroutine."""
MOST = 40
"""Goroutines of one program."""
Thing = Channel[Any] | Event | Goroutine[Any] | CancelContext | Mutex | Semaphore | WaitGroup | Timer


def buffered() -> Channel[Any]:
    """One with a place."""
    return Channel(1)


def waited_for() -> WaitGroup:
    group = WaitGroup()
    group.add()
    return group


class Program:
    """Goroutines that hand references to each other, use some of them, and forget others."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.steps = Counter[str]()
        self.claims: list[tuple[str, int]] = []

    async def main(self) -> None:
        async with Group() as group:
            things = self.things(8)
            for _ in range(10):
                self.start(group, things)
            mine = self.some(things, 2)
            del things
            for _ in range(6):
                await sleep(1)
                # The look must not hold what it looks at.
                self.claims += [(info.name, self.steps[info.name]) for info in find_leaks()]
                for thing in self.some(mine, 1):
                    self.act(thing)
            mine.clear()
            await sleep(20)
            self.claims += [(info.name, self.steps[info.name]) for info in find_leaks()]
            await sleep(20)
            for name, steps in self.claims:
                assert self.steps[name] == steps, f"{name} was said never to wake, and did"
            group.cancel()

    def things(self, number: int) -> list[Thing]:
        makers: list[Callable[[], Thing]] = [
            *[Channel] * 6,
            buffered,
            Event,
            background().with_cancel,
            Mutex,
            partial(Semaphore, 1),
            waited_for,
            partial(Timer, 3),
        ]
        return [self.random.choice(makers)() for _ in range(number)]

    def some(self, things: list[Thing], most: int) -> list[Thing]:
        return self.random.sample(things, min(self.random.randint(1, most), len(things)))

    def start(self, group: Group, things: list[Thing]) -> Goroutine[None] | None:
        self.steps["goroutines"] += 1
        number = self.steps["goroutines"]
        if number > MOST:
            return None
        name = f"g{number}"
        return group.go(self.goroutine, name, group, self.held_somehow(self.some(things, 3)), name=name)

    def held_somehow(self, things: list[Thing]) -> Callable[[], list[Thing]]:
        """References come in many shapes; a call takes them out."""

        class Holder:
            def __init__(self) -> None:
                self.things = things

            def take(self) -> list[Thing]:
                taken: list[Thing] = self.__dict__.pop("things")
                return taken

        match self.random.randrange(4):
            case 0:
                return Holder().take
            case 1:
                return partial(list, deque(things))
            case 2:
                return iter([things]).__next__
            case _:
                return lambda: things

    async def goroutine(self, name: str, group: Group, held: Callable[[], list[Thing]]) -> None:
        things = held()
        del held
        for _ in range(OPERATIONS):
            if not things:
                return
            seconds = self.random.choice((None, None, None, None, 1.5))
            try:
                with anyio.move_on_after(seconds):
                    await self.operation(group, things)
            except (ChannelClosed, ContextError, RuntimeError):
                pass
            self.steps[name] += 1

    async def operation(self, group: Group, things: list[Thing]) -> None:
        thing = self.random.choice(things)
        match self.random.randrange(9):
            case 0:
                self.act(thing)
            case 1:
                things.remove(thing)
                if self.random.random() < 0.3:
                    things.append(self.derived(thing))
            case 2:
                started = self.start(group, things)
                if started is not None and self.random.random() < 0.5:
                    things.append(started)
            case 3:
                await sleep(self.random.random() * 3)
            case 4:
                ctx = thing if isinstance(thing, CancelContext) else None
                async with Group(limit=self.random.choice((None, 1)), ctx=ctx) as inner:
                    for _ in range(2):
                        self.start(inner, things)
            case 5:
                del thing
                await self.choose(self.some(things, 3), things)
            case _:
                await self.use(thing, things)

    async def use(self, thing: Thing, things: list[Thing]) -> None:
        match thing:
            case Channel():
                if self.random.random() < 0.5:
                    await thing.send(self.random.choice(things))
                else:
                    things.append(await thing.receive())
            case Goroutine():
                await thing.result()
            case CancelContext():
                await thing.done.wait()
            case Mutex():
                await thing.acquire()
            case Semaphore():
                await thing.acquire()
            case _:
                await thing.wait()

    async def choose(self, among: list[Thing], things: list[Thing]) -> None:
        cases: list[Any] = [self.case(one, things) for one in among]
        _, value = await select(*cases)
        if value is not None and not isinstance(value, float):
            things.append(value)

    def case(self, thing: Thing, things: list[Thing]) -> Any:
        match thing:
            case Channel() if self.random.random() < 0.5:
                return send(thing, self.random.choice(things))
            case CancelContext():
                return thing.done
            case Mutex() | Semaphore():
                return thing.acquiring()
            case _:
                return thing

    def act(self, thing: Thing) -> None:
        """What needs no waiting, and may wake others."""
        try:
            match thing:
                case Event():
                    thing.set()
                case CancelContext():
                    thing.cancel()
                case Mutex() | Semaphore():
                    thing.release()
                case WaitGroup():
                    thing.add(self.random.choice((1, -1)))
                case Timer():
                    thing.reset(self.random.choice((1, 2, float("inf"))))
                case Channel():
                    match self.random.randrange(4):
                        case 0:
                            thing.close()
                        case 1:
                            thing.receive_nowait()
                        case _:
                            thing.send_nowait(Event())
                case _:
                    pass
        except (anyio.WouldBlock, ChannelClosed, RuntimeError, ValueError):
            pass

    def derived(self, thing: Thing) -> Thing:
        """Another that ends with it, or after it."""
        if isinstance(thing, CancelContext):
            match self.random.randrange(4):
                case 0:
                    return thing.with_timeout(self.random.choice((2, 200)))
                case 1:
                    return merge_contexts(background().with_cancel(), thing)
                case 2:
                    event = Event()
                    thing.after_func(event.set)
                    return event
                case _:
                    return thing.with_value("key", 1).with_cancel()
        return thing


def named(seeds: range, backend: Any) -> int:
    """How many were named in these programs."""
    found = 0
    gc.collect()
    gc.freeze()  # each look collects garbage; the test suite's own objects need not be searched every time
    try:
        for seed in seeds:
            program = Program(seed)
            main: Callable[[], Coroutine[Any, Any, None]] = program.main
            run(main, backend=backend, seed=seed)
            found += len(set(program.claims))
    finally:
        gc.unfreeze()
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(1000, 1500), marks=pytest.mark.slow)], ids=str)
def test_what_is_named_never_wakes(seeds: range, backend: Any) -> None:
    """Whoever hands which reference to whom; and many are named."""
    assert named(seeds, backend) > len(seeds)
