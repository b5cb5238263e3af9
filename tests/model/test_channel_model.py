"""Random sequences of channel operations, compared step by step with the sequential model.

Each step is one call; after it everything that can move does. Then every operation so far must have the model's outcome, or be
parked where the model says so, and length and statistics must agree: that holds the values' FIFO order, the waiters' FIFO
order, exactly-one, all-or-nothing under cancellation, the overflow policies and close to the contract at once. The last test
gives up the settling: goroutines run against each other, and only what must hold under every interleaving is checked.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gochan import Channel, ChannelClosed, Goroutine, Group, receive_ok, select, send, try_select

from .sequential import Case, Form, Operation, Raised, SequentialChannel, SequentialWorld

Overflow = Literal["block", "drop_newest", "drop_oldest"]
CANCELLED = object()


class Boom(Exception):
    """What a channel is closed with."""


# -- steps -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A plain operation on one channel; `now` is its non-blocking form."""

    channel: int
    form: Form
    now: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Choice:
    """A select; its cases are (channel, form) or None."""

    cases: tuple[tuple[int, Form] | None, ...]
    priority: bool
    now: bool


@dataclass(frozen=True)
class Close:
    channel: int
    with_cause: bool


@dataclass(frozen=True)
class Cancel:
    """Cancel one of the parked operations, by its own scope or by its goroutine's handle."""

    which: int
    by_handle: bool


Step = Call | Choice | Close | Cancel

channel_numbers = st.integers(0, 1)
select_cases = st.none() | st.tuples(channel_numbers, st.sampled_from(["send", "plain", "ok"]))
calls = st.builds(Call, channel_numbers, st.sampled_from(["send", "plain"]))
steps = st.one_of(
    calls,
    calls,
    st.builds(Call, channel_numbers, st.sampled_from(["ok", "next"])),
    st.builds(Call, channel_numbers, st.sampled_from(["send", "plain"]), st.just(True)),
    st.builds(Call, channel_numbers, st.just("many"), st.just(False), st.none() | st.integers(1, 3)),
    st.builds(Choice, st.lists(select_cases, max_size=4).map(tuple), st.booleans(), st.booleans()),
    st.builds(Choice, st.lists(select_cases, min_size=1, max_size=4).map(tuple), st.booleans(), st.just(False)),
    st.builds(Cancel, st.integers(0, 9), st.booleans()),
    st.builds(Cancel, st.integers(0, 9), st.booleans()),
    st.builds(Close, channel_numbers, st.booleans()),
)
capacities = st.sampled_from([0, 0, 1, 2, math.inf])
shapes = st.tuples(capacities, st.sampled_from(["block", "block", "block", "drop_newest", "drop_oldest"]))


# -- the two worlds side by side ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class Running:
    """A real operation beside the model's."""

    operation: Operation
    many_cases: bool
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    handle: Goroutine[None] | None = None
    actual: object = None
    ended: bool = False


class Pair:
    """Real channels and their models, driven together."""

    def __init__(self, group: Group, shapes: list[tuple[float, Overflow]]) -> None:
        self.group = group
        self.real: list[Channel[int]] = [Channel(capacity, overflow=overflow) for capacity, overflow in shapes]
        self.model = [SequentialChannel(capacity, overflow) for capacity, overflow in shapes]
        self.world = SequentialWorld(self.model, self.choose)
        self.running: list[Running] = []
        self.values = 0

    # What really happened decides where the contract leaves a choice.

    def choose(self, operation: Operation, allowed: list[int]) -> int:
        (running,) = (running for running in self.running if running.operation is operation)
        assert running.ended, f"the model has it done, but it still waits: {operation}"
        if isinstance(running.actual, Raised):
            # The error tells the channel, not the case.
            for index in allowed:
                case = operation.cases[index]
                assert case is not None
                if case.channel is running.actual.channel and isinstance(case.result_when_closed(), Raised):
                    return index
            raise AssertionError(f"{running.actual} from none of the cases {allowed}")
        assert isinstance(running.actual, tuple), running.actual
        index = running.actual[0]
        assert index in allowed
        return int(index)

    async def apply(self, step: Step) -> None:
        match step:
            case Call():
                await self.call(step)
            case Choice():
                await self.choice(step)
            case Close():
                cause = Boom() if step.with_cause else None
                self.real[step.channel].close(cause)
                await settle()
                self.world.close(self.model[step.channel], cause)
            case Cancel():
                await self.cancel(step)
        self.compare()

    def next_value(self) -> int:
        self.values += 1
        return self.values

    async def call(self, step: Call) -> None:
        real = self.real[step.channel]
        case = Case(self.model[step.channel], step.form, self.next_value(), step.limit)
        running = Running(Operation([case]), many_cases=False)
        if step.now:
            try:
                result = real.send_nowait(case.value) if step.form == "send" else real.receive_nowait()
                self.finish(running, result)
            except anyio.WouldBlock:
                assert not case.channel.ready(case), "refused although it was ready"
                return
            except ChannelClosed as error:
                self.finish(running, self.raised(error))
            await settle()
            assert self.world.attempt(running.operation), "done although it should have refused"
            return
        operation: Awaitable[object]
        match step.form:
            case "send":
                operation = real.send(case.value)
            case "plain":
                operation = real.receive()
            case "ok":
                operation = real.receive_ok()
            case "next":
                operation = real.__anext__()
            case "many":
                operation = real.receive_many(step.limit)
        await self.spawn(running, operation)

    async def choice(self, step: Choice) -> None:
        cases: list[Case | None] = []
        real_cases: list[Any] = []
        for chosen in step.cases:
            if chosen is None:
                cases.append(None)
                real_cases.append(None)
                continue
            number, form = chosen
            case = Case(self.model[number], form, self.next_value())
            cases.append(case)
            channel = self.real[number]
            real_cases.append(
                send(channel, case.value) if form == "send" else receive_ok(channel) if form == "ok" else channel
            )
        running = Running(Operation(cases, step.priority), many_cases=True)
        if not step.now:
            await self.spawn(running, select(*real_cases, priority=step.priority))
            return
        try:
            outcome = try_select(*real_cases, priority=step.priority)
        except ChannelClosed as error:
            self.finish(running, self.raised(error))
        else:
            if outcome is None:
                assert not self.world.attempt(Operation(cases)), "found nothing although a case was ready"
                return
            self.finish(running, outcome)
        await settle()
        assert self.world.attempt(running.operation), "found a case although none was ready"

    def finish(self, running: Running, actual: object) -> None:
        if actual is not CANCELLED and not isinstance(actual, Raised) and not running.many_cases:
            actual = (0, actual)
        running.actual = actual
        running.ended = True
        if running not in self.running:
            self.running.append(running)

    def raised(self, error: ChannelClosed) -> Raised:
        number = next(number for number, channel in enumerate(self.real) if channel is error.channel)
        return Raised(self.model[number], error.__cause__)

    async def spawn(self, running: Running, operation: Awaitable[object]) -> None:
        async def run() -> None:
            with running.scope:
                try:
                    self.finish(running, await operation)
                except ChannelClosed as error:
                    self.finish(running, self.raised(error))
                except StopAsyncIteration:
                    self.finish(running, StopAsyncIteration)
                except BaseException:
                    self.finish(running, CANCELLED)
                    raise

        self.running.append(running)
        running.handle = self.group.go(run)
        await settle()
        self.world.start(running.operation)

    async def cancel(self, step: Cancel) -> None:
        parked = [running for running in self.running if not running.ended]
        if not parked:
            return
        running = parked[step.which % len(parked)]
        if step.by_handle:
            assert running.handle is not None
            running.handle.cancel()
        else:
            running.scope.cancel()
        await settle()
        assert running.actual is CANCELLED
        self.world.withdraw(running.operation)

    # Comparing.

    def compare(self) -> None:
        for running in self.running:
            expected = running.operation.outcome
            if running.actual is CANCELLED:
                assert expected is None
            elif expected is None:
                assert not running.ended, f"the model has it parked, but it ended with {running.actual}"
            else:
                assert running.ended, f"the model has it done with {expected}, but it still waits"
                raised = isinstance(expected[1], Raised)
                assert running.actual == (expected[1] if raised else expected)
        for real, model in zip(self.real, self.model, strict=True):
            self.compare_channel(real, model)

    def compare_channel(self, real: Channel[int], model: SequentialChannel) -> None:
        check = getattr(getattr(real, "_state", None), "_check", None)
        if check is not None:
            check()
        statistics = real.statistics()
        assert len(real) == statistics.buffered == len(model.buffer)
        assert statistics.received == model.received
        assert statistics.sent == statistics.received + statistics.buffered
        assert statistics.dropped == model.dropped
        assert real.closed is statistics.closed is model.closed
        assert real.capacity == statistics.capacity == model.capacity
        # Whether a select with two cases in one queue counts once or twice is nobody's promise.
        for counted, queue in (
            (statistics.senders_waiting, model.senders),
            (statistics.receivers_waiting, model.receivers),
        ):
            assert len({id(operation) for operation, _ in queue}) <= counted <= len(queue)


async def settle() -> None:
    for _ in range(6):
        await anyio.lowlevel.checkpoint()


async def run_steps(shapes: list[tuple[float, Overflow]], program: list[Step]) -> None:
    with anyio.fail_after(30):
        async with Group() as group:
            pair = Pair(group, shapes)
            for step in program:
                await pair.apply(step)
            await drain(pair)
            group.cancel()


async def drain(pair: Pair) -> None:
    """Close everything and take what is left: the order of the rest must agree, too."""
    for number in range(len(pair.real)):
        await pair.apply(Close(number, with_cause=False))
    for number, model in enumerate(pair.model):
        for _ in range(len(model.buffer) + 1):
            await pair.apply(Call(number, "plain", now=True))


programs = st.lists(steps, max_size=30)


@settings(max_examples=120)
@given(shapes=st.tuples(shapes, shapes).map(list), program=programs)
async def test_channels_agree_with_the_model(shapes: list[tuple[float, Overflow]], program: list[Step]) -> None:
    """Any sequence of operations on two channels has the outcomes, the order and the statistics of the model."""
    await run_steps(shapes, program)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=5_000)
@given(shapes=st.tuples(shapes, shapes).map(list), program=st.lists(steps, max_size=80))
async def test_channels_agree_with_the_model_at_length(
    shapes: list[tuple[float, Overflow]], program: list[Step]
) -> None:
    """The same with more and longer sequences."""
    await run_steps(shapes, program)


# -- without settling --------------------------------------------------------------------------------------------------

Action = Literal["send", "receive", "send now", "receive now", "select", "try select", "many", "yield"]
worker_programs = st.lists(
    st.tuples(
        st.sampled_from(
            ["send", "send", "receive", "receive", "send now", "receive now", "select", "try select", "many", "yield"]
        ),
        channel_numbers,
    ),
    max_size=12,
)


class Ledger:
    """What went in and what came out, noted by the goroutines themselves."""

    def __init__(self, channels: list[Channel[int]]) -> None:
        self.channels = channels
        self.sent: list[set[int]] = [set() for _ in channels]
        self.got: list[list[int]] = [[] for _ in channels]
        self.values = 0

    def next_value(self) -> int:
        self.values += 1
        return self.values

    def note_got(self, number: int, values: list[int], last: dict[tuple[int, int], int], owners: dict[int, int]) -> None:
        for value in values:
            self.got[number].append(value)
            # Of one producer's values on one channel, a consumer sees the earlier first.
            key = (number, owners[value])
            assert last.get(key, -1) < value, "out of order"
            last[key] = value

    async def work(self, me: int, program: list[tuple[Action, int]], owners: dict[int, int]) -> None:
        last: dict[tuple[int, int], int] = {}
        for action, number in program:
            channel = self.channels[number]
            value = self.next_value()
            owners[value] = me
            try:
                match action:
                    case "send":
                        await channel.send(value)
                        self.sent[number].add(value)
                    case "send now":
                        channel.send_nowait(value)
                        self.sent[number].add(value)
                    case "receive":
                        self.note_got(number, [await channel.receive()], last, owners)
                    case "receive now":
                        self.note_got(number, [channel.receive_nowait()], last, owners)
                    case "many":
                        self.note_got(number, await channel.receive_many(), last, owners)
                    case "select" | "try select":
                        other = 1 - number
                        cases = (self.channels[other], send(channel, value), channel)
                        outcome = await select(*cases) if action == "select" else try_select(*cases)
                        if outcome is None:
                            continue
                        index, received = outcome
                        if index == 1:
                            self.sent[number].add(value)
                        else:
                            assert received is not None
                            self.note_got(other if index == 0 else number, [received], last, owners)
                    case "yield":
                        await anyio.lowlevel.checkpoint()
            except (anyio.WouldBlock, ChannelClosed):
                pass

    def check(self) -> None:
        for number, channel in enumerate(self.channels):
            left = []
            while True:
                try:
                    left.append(channel.receive_nowait())
                except (anyio.WouldBlock, ChannelClosed):
                    break
            out = self.got[number] + left
            assert len(out) == len(set(out)), "delivered twice"
            assert set(out) == self.sent[number], "lost, or delivered although the send failed"
            statistics = channel.statistics()
            assert (statistics.sent, statistics.received) == (len(out), len(out))
            assert statistics.senders_waiting == statistics.receivers_waiting == 0


async def run_workers(
    sizes: tuple[float, float], workers: list[list[tuple[Action, int]]], cancels: list[tuple[int, int, bool]]
) -> None:
    with anyio.fail_after(30):
        ledger = Ledger([Channel(size) for size in sizes])
        owners: dict[int, int] = {}
        async with Group() as group:
            scopes = [anyio.CancelScope() for _ in workers]

            async def run(me: int) -> None:
                with scopes[me]:
                    await ledger.work(me, workers[me], owners)

            handles = [group.go(run, me) for me in range(len(workers))]
            for which, pause, by_handle in cancels:
                for _ in range(pause):
                    await anyio.lowlevel.checkpoint()
                # In one turn of the loop: a waiter is cancelled, and somebody wants to deal with it.
                me = which % len(workers)
                if by_handle:
                    handles[me].cancel()
                else:
                    scopes[me].cancel()
                for number, channel in enumerate(ledger.channels):
                    value = ledger.next_value()
                    owners[value] = -1
                    if try_select(send(channel, value)) is not None:
                        ledger.sent[number].add(value)
                    outcome = try_select(channel)
                    if outcome is not None:
                        ledger.got[number].append(outcome[1])
            await settle()
            for channel in ledger.channels:
                channel.close()
        ledger.check()


workers = st.lists(worker_programs, min_size=1, max_size=6)
cancels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=6)
sizes = st.tuples(capacities, capacities)


@settings(max_examples=100)
@given(sizes=sizes, workers=workers, cancels=cancels)
async def test_nothing_is_lost_or_doubled(
    sizes: tuple[float, float], workers: list[list[tuple[Action, int]]], cancels: list[tuple[int, int, bool]]
) -> None:
    """Whatever goroutines do to each other and whoever is cancelled: a value arrives once if and only if its send returned."""
    await run_workers(sizes, workers, cancels)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=5_000)
@given(sizes=sizes, workers=workers, cancels=cancels)
async def test_nothing_is_lost_or_doubled_at_length(
    sizes: tuple[float, float], workers: list[list[tuple[Action, int]]], cancels: list[tuple[int, int, bool]]
) -> None:
    """The same with more programs."""
    await run_workers(sizes, workers, cancels)
