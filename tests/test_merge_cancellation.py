"""Merge: cancelled at every point, under every schedule, seen in dumps, and misused."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import suppress
from typing import Any, Literal

import anyio
import pytest
from anyio.abc import ObjectReceiveStream
from tests.conformance.helpers import receivers_parked, settle
from tests.memory.test_cycles import no_garbage

from gochan import (
    Case,
    Channel,
    ChannelClosed,
    Group,
    ReceiveChannel,
    find_leaks,
    merge,
    select,
)
from gochan.diagnostics import goroutines
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def filled(*values: int, closed: bool = True) -> Channel[int]:
    """A channel with these values, closed behind them."""
    channel = Channel[int](math.inf)
    for value in values:
        channel.send_nowait(value)
    if closed:
        channel.close()
    return channel


# ---- cancellation, schedules ----


@backends
@pytest.mark.parametrize("how", ["receive", "receive_many", "anext", "select"])
@pytest.mark.parametrize("capacity", [0, 1])
def test_a_cancelled_receive_has_taken_nothing(how: str, capacity: int, backend: Backend) -> None:
    """At every suspension: what was sent was received, or is still in its channel."""

    class Scene:
        def __init__(self) -> None:
            self.sources = [Channel[int](capacity), Channel[int](capacity)]
            self.numbers = merge(*self.sources)
            self.sent = 0
            self.got = 0

    async def produce(scene: Scene, number: int) -> None:
        for value in range(2):
            await anyio.sleep(1.0 + number)
            await scene.sources[number].send(value)
            scene.sent += 1

    async def setup() -> Scene:
        import gochan

        scene = Scene()
        for number in range(2):
            gochan.go(produce, scene, number)
        return scene

    async def operation(scene: Scene) -> None:
        async with scene.numbers as numbers:
            while scene.got < 4:
                match how:
                    case "receive":
                        await numbers.receive()
                        scene.got += 1
                    case "receive_many":
                        scene.got += len(await numbers.receive_many())
                    case "anext":
                        await anext(numbers)
                        scene.got += 1
                    case _:
                        await select(numbers)
                        scene.got += 1

    def check(scene: Scene, outcome: CancelOutcome) -> None:
        for channel in scene.sources:
            channel._state._check()
            assert channel.statistics().receivers_waiting == 0
        assert scene.got + sum(map(len, scene.sources)) == scene.sent

    report = cancel_sweep(setup, operation, check, backend=backend)
    assert report.suspensions >= 6
    assert report.returned > 0


@backends
@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_under_every_schedule(strategy: Any, backend: Backend) -> None:
    """Producers, receivers that time out, a close in between: every value once, in order, and nobody is stuck."""

    async def main() -> None:
        sources = [Channel[tuple[int, int]](capacity) for capacity in (0, 1)]
        got = list[tuple[int, int]]()

        async def produce(who: int) -> None:
            with sources[who] as channel:
                for number in range(4):
                    await channel.send((who, number))

        async def consume(values: ReceiveChannel[tuple[int, int]], hasty: bool) -> None:
            while True:
                try:
                    with anyio.fail_after(0 if hasty else math.inf):
                        match await values.receive_ok():
                            case (value, True):
                                got.append(value)
                            case _:
                                return
                except TimeoutError:
                    hasty = False
                for channel in sources:
                    channel._state._check()

        async with merge(*sources) as values:
            async with Group() as group:
                for who in range(2):
                    group.go(produce, who)
                group.go(consume, values, False)
                group.go(consume, values, True)
            values._state._check()
        assert sorted(got) == [(who, number) for who in range(2) for number in range(4)]

    explore(main, backend=backend, runs=100, strategy=strategy)


# ---- seeing, misuse ----


async def test_state_word_and_leaks() -> None:
    """Waits in "chan receive"; a leak when nobody has any of the channels, and none while somebody has one."""
    a, b = Channel[int](), Channel[int]()

    async def wait(numbers: ReceiveChannel[int]) -> None:
        await numbers.receive()

    with anyio.fail_after(10):
        async with Group() as group:
            group.go(wait, merge(a, b), name="waiter")
            await receivers_parked(a, 1)
            info = next(one for one in goroutines() if one.name == "waiter")
            assert info.state == "chan receive"
            assert info.waiting_on == ("<Merge of 2 open channels receivers=1>",)
            del b
            assert find_leaks() == []
            del a
            assert [one.name for one in find_leaks()] == ["waiter"]
            group.cancel()


@pytest.mark.parametrize("thing", [None, 5, object(), "channel"])
def test_what_cannot_be_merged(thing: Any) -> None:
    """Named in the error, before anything is done."""
    with pytest.raises(TypeError, match=r"merge\(\) takes channels to receive from"):
        merge(Channel[int](), thing)


async def test_a_delegating_channel_merges() -> None:
    """Whoever has a ``__case__``; a ``map`` function runs in the receiver, and its exception takes nothing along."""

    class Doubled:
        def __init__(self, channel: Channel[int]) -> None:
            self.channel = channel

        def __case__(self) -> Case[int]:
            return self.channel.__case__().map(lambda value: 10 // value)

    doubled: Any = Doubled(filled(5, 0, 2))
    got = list[int]()
    async with merge(doubled, filled(7, 8)) as numbers:
        assert isinstance(numbers, ObjectReceiveStream)
        for _ in range(9):
            try:
                got += await numbers.receive_many()
            except ZeroDivisionError:
                got.append(0)
            except ChannelClosed:
                break
    assert sorted(got) == [0, 2, 5, 7, 8]


def test_a_source_of_another_loop_is_refused() -> None:
    """By the channel itself, with nothing done; the other sources are as they were."""

    async def main() -> None:
        foreign, own = Channel[int](), filled(1, closed=False)
        errors = list[str]()

        async def elsewhere() -> None:
            numbers = merge(own, foreign)
            for operation in (numbers.receive, lambda: select(numbers)):
                with pytest.raises(RuntimeError) as caught:
                    await operation()
                errors.append(str(caught.value))

        async with Group() as group:
            group.go(foreign.receive_ok)
            await receivers_parked(foreign, 1)
            await anyio.to_thread.run_sync(anyio.run, elsewhere)
            foreign.close()
        assert len(errors) == 2
        assert len(own) == 1

    anyio.run(main)


async def test_a_source_that_another_loop_took_over_is_refused() -> None:
    """Also when the merge was used here before; nothing is taken from the others."""
    own, foreign = filled(1, 2, closed=False), Channel[int]()
    numbers = merge(own, foreign)
    assert await numbers.receive() == 1
    parked, done = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        async with Group() as group:
            group.go(foreign.receive_ok)
            await receivers_parked(foreign, 1)
            parked.set()
            done.wait(10)
            foreign.close()

    thread = threading.Thread(target=anyio.run, args=(elsewhere,))
    thread.start()
    try:
        assert parked.wait(10)
        for operation in (numbers.receive, lambda: select(numbers)):
            with anyio.fail_after(5), pytest.raises(RuntimeError, match="another thread"):
                await operation()
        with pytest.raises(RuntimeError, match="another thread"):
            numbers.receive_nowait()
    finally:
        done.set()
        thread.join()
    assert len(own) == 1


@pytest.mark.asyncio_only
async def test_nothing_needs_the_collector() -> None:
    """No operation leaves a reference cycle behind, however it ended."""

    async def operations() -> None:
        a, b = Channel[int](1), Channel[int](1)
        numbers = merge(merge(a), b)
        for operation in (numbers.receive, lambda: select(numbers)):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await operation()
        await a.send(1)
        await numbers.receive()
        async with asyncio.TaskGroup() as group:
            group.create_task(numbers.receive())
            await asyncio.sleep(0)
            b.close()
            await a.send(2)

    with anyio.fail_after(10):
        await operations()  # what is made once is made here
        with no_garbage():
            await operations()
            await settle()
