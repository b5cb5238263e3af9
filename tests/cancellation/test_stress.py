"""A seeded storm on channels of every capacity and overflow policy, and on a group's places, with cancellations.

Every worker keeps its own books. A sender numbers its values and goes on to the next number only when the send was
done; since a cancelled send has not delivered, each number must arrive exactly once if it was noted as sent, and never
if it was not. A receiver notes what it got, in order; what one sender sent to one channel must be in the sender's
order. A channel that drops tells how many it dropped, and nothing else may be missing there. Others want a place in a
group for a goroutine: it runs if and only if they were told so, and no place gets lost. The seed is in the message of
every failure.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import anyio
import pytest

import gochan
from gochan import Channel, ChannelClosed, Event, Goroutine, Group, select

from .worlds import assert_no_waiter, assert_nobody_waits_for, drain

Value = tuple[int, int]  # who sent it, and its number there

CAPACITIES: tuple[int | float, ...] = (0, 0, 1, 3, math.inf)
DROPPING: tuple[tuple[int, Literal["drop_newest", "drop_oldest"]], ...] = (
    (0, "drop_oldest"),
    (1, "drop_newest"),
    (2, "drop_oldest"),
)
PLACES = 2


class Storm:
    """One run. `native` cancels with asyncio's own means, otherwise with scopes."""

    def __init__(self, seed: int, operations: int, *, native: bool) -> None:
        self.random = random.Random(seed)
        self.operations = operations
        self.native = native
        self.begun = 0
        self.cancelled = 0
        self.channels: list[Channel[Value]] = [
            *(Channel(capacity) for capacity in CAPACITIES),
            *(Channel(capacity, overflow=overflow) for capacity, overflow in DROPPING),
        ]
        self.sent: list[tuple[Channel[Value], Value]] = []
        self.received: dict[int, list[tuple[Channel[Value], Value]]] = defaultdict(list)
        self.numbers: Counter[int] = Counter()
        self.never = Event()
        self.group = Group(limit=PLACES)
        self.started: Counter[Value] = Counter()
        self.handles: list[tuple[Value, Goroutine[Value]]] = []
        self.targets: dict[int, Callable[[], object]] = {}
        self.over = False

    # What a worker does: one operation, of which it is known afterwards whether it was done.

    def prepare_send(self, worker: int) -> Callable[[], Awaitable[None]]:
        channel = self.random.choice(self.channels)
        value = (worker, self.numbers[worker])

        async def operation() -> None:
            await channel.send(value)
            self.note_sent(channel, value)

        return operation

    def prepare_receive(self, worker: int) -> Callable[[], Awaitable[None]]:
        channel = self.random.choice(self.channels)
        kind = self.random.randrange(4)

        async def operation() -> None:
            values: list[Value]
            if kind == 0:
                values = [await channel.receive()]
            elif kind == 1:
                value, ok = await channel.receive_ok()
                assert ok and value is not None
                values = [value]
            elif kind == 2:
                values = list(await channel.receive_many(3))
                assert 1 <= len(values) <= 3
            else:
                values = [await channel.__anext__()]
            for value in values:
                self.note_received(worker, channel, value)

        return operation

    def prepare_select(self, worker: int) -> Callable[[], Awaitable[None]]:
        value = (worker, self.numbers[worker])
        cases: list[tuple[Channel[Value] | None, Any]] = [(None, self.never), (None, None)]
        for _ in range(self.random.randint(1, 4)):
            channel = self.random.choice(self.channels)
            sending = self.random.random() < 0.5
            cases.append((channel, gochan.send(channel, value) if sending else channel))
        self.random.shuffle(cases)
        priority = self.random.random() < 0.2

        async def operation() -> None:
            index, result = await select(*(case for _, case in cases), priority=priority)
            channel, case = cases[index]
            assert channel is not None
            if case is channel:
                self.note_received(worker, channel, result)
            else:
                self.note_sent(channel, value)

        return operation

    def prepare_go(self, worker: int) -> Callable[[], Awaitable[None]]:
        number = (worker, self.numbers[worker])
        self.numbers[worker] += 1

        async def run() -> Value:
            self.started[number] += 1
            await anyio.sleep(0)
            return number

        async def operation() -> None:
            handle = await self.group.go_when_free(run)
            self.handles.append((number, handle))
            if worker % 2:
                assert await handle.result() == number
            else:
                assert await select(self.never, handle, handle.done, priority=True) == (1, number)

        return operation

    def note_sent(self, channel: Channel[Value], value: Value) -> None:
        self.sent.append((channel, value))
        self.numbers[value[0]] += 1

    def note_received(self, worker: int, channel: Channel[Value], value: Value) -> None:
        self.received[worker].append((channel, value))

    # How a worker may be cancelled.

    async def attempt(self, worker: int, operation: Callable[[], Awaitable[None]]) -> None:
        self.begun += 1
        chance = self.random.random()
        seconds = self.random.choice([0, 0, 0.0001, 0.001])
        if self.native:
            await self.attempt_natively(operation, chance, seconds)
        elif chance < 0.2:
            with anyio.move_on_after(seconds) as scope:
                await operation()
            self.cancelled += scope.cancelled_caught
        else:
            with anyio.CancelScope() as scope:
                self.targets[worker] = scope.cancel
                await operation()
            self.targets.pop(worker, None)
            self.cancelled += scope.cancelled_caught

    async def attempt_natively(self, operation: Callable[[], Awaitable[None]], chance: float, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if chance < 0.15:
                async with asyncio.timeout(seconds):
                    await operation()
            elif chance < 0.3:
                await asyncio.wait_for(operation(), seconds)
            elif chance < 0.4:
                with anyio.move_on_after(seconds) as scope:
                    await operation()
                self.cancelled += scope.cancelled_caught
            else:
                await operation()
        except TimeoutError:
            self.cancelled += 1
        except asyncio.CancelledError:
            if self.over:
                raise
            self.cancelled += 1
            task.uncancel()

    async def work(self, worker: int) -> None:
        roles = (self.prepare_send, self.prepare_receive, self.prepare_select, self.prepare_receive, self.prepare_go)
        prepare = roles[worker % len(roles)]
        while self.begun < self.operations:
            await self.attempt(worker, prepare(worker))

    # Whoever cancels.

    async def cancel_at_random(self) -> None:
        while self.begun < self.operations:
            for _ in range(self.random.randint(0, 3)):
                await anyio.sleep(0)
            if self.targets:
                self.targets[self.random.choice(list(self.targets))]()
            if self.random.random() < 0.01:
                await anyio.sleep(0.0005)

    async def run(self, workers: int) -> None:
        async with self.group:
            await self.run_workers(workers)
            await self.check_places()

    async def check_places(self) -> None:
        """Every goroutine ran whose starter was told so, and no other; all places are free again."""
        for number, handle in self.handles:
            assert await handle.result() == number
        assert self.started == Counter(number for number, _ in self.handles)
        assert len(self.started) > 0
        gate = Event()
        for _ in range(PLACES):
            assert self.group.try_go(gate.wait) is not None
        assert self.group.try_go(gate.wait) is None
        gate.set()

    async def run_workers(self, workers: int) -> None:
        if self.native:
            loop = asyncio.get_running_loop()
            tasks = [loop.create_task(self.work(worker)) for worker in range(workers)]

            def cancel(task: asyncio.Task[None]) -> None:
                # 3.11's wait_for may swallow a cancellation; one at a time keeps the books simple.
                if not task.cancelling():
                    task.cancel()

            for worker, task in enumerate(tasks):
                self.targets[worker] = lambda task=task: cancel(task)
            await self.cancel_at_random()
            self.over = True
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                    raise outcome
        else:
            async with anyio.create_task_group() as group:
                for worker in range(workers):
                    group.start_soon(self.work, worker)
                await self.cancel_at_random()
                group.cancel_scope.cancel()

    def check(self) -> None:
        assert self.begun >= self.operations
        assert self.cancelled > 0
        assert_no_waiter(*self.channels)
        assert_nobody_waits_for(self.never)
        got: dict[Channel[Value], Counter[Value]] = defaultdict(Counter)
        count: Counter[Channel[Value]] = Counter()
        for log in self.received.values():
            last: dict[tuple[Channel[Value], int], int] = {}
            for channel, (sender, number) in log:
                got[channel][sender, number] += 1
                count[channel] += 1
                assert last.get((channel, sender), -1) < number, "a sender's values were received out of order"
                last[channel, sender] = number
        sent: dict[Channel[Value], Counter[Value]] = defaultdict(Counter)
        for channel, value in self.sent:
            sent[channel][value] += 1
        for channel in self.channels:
            statistics = channel.statistics()
            assert statistics.sent == sent[channel].total() - statistics.dropped
            assert statistics.received == count[channel]
            assert statistics.buffered == statistics.sent - statistics.received
            left = drain(channel)
            last_left: dict[int, int] = {}
            for sender, number in left:
                assert last_left.get(sender, -1) < number, "the buffer is out of order"
                last_left[sender] = number
            missing = sent[channel] - got[channel] - Counter(left)
            assert missing.total() == statistics.dropped
            assert got[channel] + Counter(left) + missing == sent[channel]
            assert max(sent[channel].values(), default=1) == 1
            with pytest.raises(ChannelClosed):
                channel.close()
                channel.receive_nowait()


async def storm(seed: int, operations: int, *, native: bool) -> None:
    try:
        weather = Storm(seed, operations, native=native)
        with anyio.fail_after(50):
            await weather.run(workers=25)
        weather.check()
    except BaseException as error:
        error.add_note(f"seed={seed} operations={operations} native={native}")
        raise


SEEDS = pytest.mark.parametrize("seed", [1, random.SystemRandom().randrange(10**9)], ids=["fixed", "fresh"])


@SEEDS
async def test_scopes(seed: int) -> None:
    """5,000 random operations under scopes that cancel at random: conservation, and each sender's order, hold."""
    await storm(seed, 5_000, native=False)


@pytest.mark.asyncio_only
@SEEDS
async def test_natively(seed: int) -> None:
    """5,000 random operations under task.cancel, timeout and wait_for: conservation, and each sender's order, hold."""
    await storm(seed, 5_000, native=True)


@pytest.mark.slow
@SEEDS
async def test_scopes_for_long(seed: int) -> None:
    """The same with 50,000 operations."""
    await storm(seed, 50_000, native=False)


@pytest.mark.slow
@pytest.mark.asyncio_only
@SEEDS
async def test_natively_for_long(seed: int) -> None:
    """The same with 50,000 operations."""
    await storm(seed, 50_000, native=True)
