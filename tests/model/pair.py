"""The real channels and the model side by side: every step is done to both, and then they are compared."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import anyio.lowlevel

from gochan import Channel, ChannelClosed, Goroutine, Group, receive_ok, select, send, try_select

from .sequential import Case, Form, Operation, Raised, SequentialChannel, SequentialWorld
from .shapes import settle

Overflow = Literal["block", "drop_newest", "drop_oldest"]
CANCELLED = object()


class Boom(Exception):
    """What a channel is closed with."""


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
            # The error tells the channel, not the case: one that sends, or receives where nothing is left.
            for index in allowed:
                case = operation.cases[index]
                assert case is not None
                fails = case.form == "send" or not case.channel.buffer
                if case.channel is running.actual.channel and fails and isinstance(case.result_when_closed(), Raised):
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
