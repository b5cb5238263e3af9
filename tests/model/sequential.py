"""Channels and select as one-step-at-a-time bookkeeping: what the real ones are compared with.

Nothing waits here. An operation that cannot be done is parked as (operation, case) entries in its channels' queues, and
whoever makes it possible later completes it on the spot. Where the contract leaves a choice (which of several ready
cases wins), the model asks the caller, who looks at what the real channels did and so learns only whether it was
allowed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Form = Literal["send", "plain", "ok", "next", "many"]


@dataclass(frozen=True)
class Raised:
    """The operation ended with ChannelClosed of this channel."""

    channel: SequentialChannel
    cause: BaseException | None


@dataclass(eq=False)
class Case:
    """One thing that an operation may do."""

    channel: SequentialChannel
    form: Form
    value: int = 0
    limit: int | None = None

    def result(self, value: object) -> object:
        return {"send": None, "ok": (value, True), "many": [value]}.get(self.form, value)

    def result_when_closed(self) -> object:
        if self.form == "ok":
            return (None, False)
        if self.form == "next" and self.channel.cause is None:
            return StopAsyncIteration
        return Raised(self.channel, self.channel.cause)


@dataclass(eq=False)
class Operation:
    """A call with one case, or a select with several; None is the case that is never ready."""

    cases: list[Case | None]
    priority: bool = False
    outcome: tuple[int, object] | None = None


Choose = Callable[[Operation, list[int]], int]


@dataclass(eq=False)
class SequentialChannel:
    """A buffer, two queues and four numbers."""

    capacity: float
    overflow: Literal["block", "drop_newest", "drop_oldest"] = "block"
    buffer: deque[int] = field(default_factory=deque)
    senders: list[tuple[Operation, int]] = field(default_factory=list)
    receivers: list[tuple[Operation, int]] = field(default_factory=list)
    received: int = 0
    dropped: int = 0
    closed: bool = False
    cause: BaseException | None = None

    def ready(self, case: Case) -> bool:
        if case.form == "send":
            room = len(self.buffer) < self.capacity or self.overflow != "block"
            return self.closed or room or bool(self.receivers)
        return self.closed or bool(self.buffer) or bool(self.senders)

    def queue_of(self, case: Case) -> list[tuple[Operation, int]]:
        return self.senders if case.form == "send" else self.receivers


@dataclass(eq=False)
class SequentialWorld:
    """Some channels and the operations on them, done one after another."""

    channels: list[SequentialChannel]
    choose: Choose

    def start(self, operation: Operation) -> bool:
        """Do the operation, or park it and return False."""
        if self.attempt(operation):
            return True
        for index, case in enumerate(operation.cases):
            if case is not None:
                case.channel.queue_of(case).append((operation, index))
        return False

    def attempt(self, operation: Operation) -> bool:
        """Do the operation if it need not wait."""
        ready = [i for i, case in enumerate(operation.cases) if case is not None and case.channel.ready(case)]
        if not ready:
            return False
        index = self.pick(operation, ready)
        case = operation.cases[index]
        assert case is not None
        operation.outcome = (index, self.send(case) if case.form == "send" else self.receive(case))
        return True

    def pick(self, operation: Operation, indices: list[int]) -> int:
        """The first with priority, else what the caller says of those that are allowed."""
        if operation.priority or len(indices) == 1:
            return min(indices)
        return self.choose(operation, indices)

    def send(self, case: Case) -> object:
        channel = case.channel
        if channel.closed:
            return case.result_when_closed()
        if channel.receivers:
            channel.received += 1
            self.complete_first(channel.receivers, case.value)
        elif len(channel.buffer) < channel.capacity:
            channel.buffer.append(case.value)
        else:
            channel.dropped += 1
            if channel.overflow == "drop_oldest" and channel.buffer:
                channel.buffer.popleft()
                channel.buffer.append(case.value)
        return case.result(None)

    def receive(self, case: Case) -> object:
        channel = case.channel
        values: list[int] = []
        most = 1 if case.form != "many" else case.limit
        while (channel.buffer or channel.senders) and (most is None or len(values) < most):
            if channel.senders:
                sent = self.complete_first(channel.senders, None)
                channel.buffer.append(sent.value)
            values.append(channel.buffer.popleft())
        channel.received += len(values)
        if not values:
            return case.result_when_closed()
        return values if case.form == "many" else case.result(values[0])

    def complete_first(self, queue: list[tuple[Operation, int]], value: object) -> Case:
        """Complete the operation that has waited longest."""
        operation = queue[0][0]
        indices = [index for other, index in queue if other is operation]
        index = self.pick(operation, indices)
        case = operation.cases[index]
        assert case is not None
        operation.outcome = (index, case.result(value))
        self.withdraw(operation)
        return case

    def close(self, channel: SequentialChannel, cause: BaseException | None) -> None:
        if channel.closed:
            return
        channel.closed, channel.cause = True, cause
        # As Go's closechan: the receivers first, so a select that waits on both sides ends as a receiver.
        for queue in (channel.receivers, channel.senders):
            while queue:
                self.complete_first_closed(queue)

    def complete_first_closed(self, queue: list[tuple[Operation, int]]) -> None:
        """End the operation that has waited longest, by one of its cases in this queue."""
        operation = queue[0][0]
        index = self.pick(operation, [index for other, index in queue if other is operation])
        case = operation.cases[index]
        assert case is not None
        operation.outcome = (index, case.result_when_closed())
        self.withdraw(operation)

    def withdraw(self, operation: Operation) -> None:
        """Take a parked operation out of every queue: it is done, or was cancelled."""
        for channel in self.channels:
            channel.senders[:] = _without(operation, channel.senders)
            channel.receivers[:] = _without(operation, channel.receivers)


def _without(operation: Operation, queue: Iterable[tuple[Operation, int]]) -> list[tuple[Operation, int]]:
    return [entry for entry in queue if entry[0] is not operation]
