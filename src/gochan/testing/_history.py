"""Histories: what was asked of channels, when, and how it ended.

A History does the operations that it records, so a program under test calls ``history.send(channel, value)`` for
``channel.send(value)``. Each has a *call* and a *return*, in ticks that count these events. That is all that is known
of when it happened, and ``check`` (``_linearizability.py``) looks for moments between the two that explain what all of
them saw.

Two more things are looked up in ``channel.statistics()`` at a call, where there is one, because ticks do not tell
them (an operation may yield before it tries, so that a call is not yet a wait):
    behind  operations that certainly waited on the same side by then: as many wait there as have not returned.
    met     whether somebody waited on the other side when an operation that never waits said that it would have to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, cast

import anyio

from gochan._case import Case, Selectable, _Mapped
from gochan._channel import Channel
from gochan._channel_cases import ReceiveCase, ReceiveOkCase, SendCase
from gochan._channel_views import ReceiveChannel, SendChannel
from gochan._core.driver import current_driver
from gochan._select import _case_of, select, try_select

T = TypeVar("T")

CLOSED_ERRORS: Final = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError)


class _Unknown:
    __slots__ = ()

    def __repr__(self) -> str:
        return "?"


UNKNOWN: Final[Any] = _Unknown()
"""In the place of a value that only a ``Case.map`` function has seen."""

Outcome = Literal["pending", "ok", "closed", "cancelled", "blocked"]


@dataclass(eq=False, slots=True)
class Alternative:
    """One thing that an operation may do: a plain one has one, a select has one per case."""

    way: Literal["send", "receive", "close", "other"]
    channel: Any
    value: Any = None
    """What is sent."""
    mapped: bool = False
    label: str = ""
    """The channel's name, or the number that it has in this history."""

    def __str__(self) -> str:
        return f"{self.way}({self.label}{f', {self.value!r}' if self.way == 'send' else ''})"


@dataclass(eq=False, slots=True)
class Operation:
    """One call."""

    task: str
    alternatives: tuple[Alternative, ...]
    waits: bool
    call: int
    returned: int | None = None
    outcome: Outcome = "pending"
    """"closed" is what a closed channel answers, also by ``(None, False)``; "blocked" is WouldBlock, or None."""
    chosen: int | None = None
    """Which alternative was done; None if that is not known."""
    value: Any = None
    """What was received."""
    behind: list[tuple[int, Operation]] = field(default_factory=list["tuple[int, Operation]"])
    """For alternatives, by number: who waited for the same before."""
    met: bool = False

    def __str__(self) -> str:
        text = ", ".join(str(alternative) for alternative in self.alternatives)
        if len(self.alternatives) != 1:
            text = f"select({text})"
        if not self.waits and self.alternatives[:1] and self.alternatives[0].way != "close":
            text += " at once"
        if self.outcome != "ok":
            return f"{text} -> {self.outcome}"
        results: list[str] = [] if len(self.alternatives) == 1 else [f"case {self.chosen}"]
        if self.chosen is not None and self.alternatives[self.chosen].way == "receive":
            results.append(repr(self.value))
        return f"{text} -> {', '.join(results) or 'ok'}"


class History:
    """Does operations on channels, and records them.

    One that fails raises what the channel raised. One whose task is still in it is pending: it may or may not have
    happened. All operations on a channel have to be recorded, or what others did has no explanation.

    Example:
        >>> import gochan
        >>> from gochan.testing import ChannelModel, History, check
        >>> async def main() -> None:
        ...     history, numbers = History(), gochan.Channel[int]()
        ...     async with gochan.Group() as group:
        ...         group.go(history.send, numbers, 1)
        ...         await history.receive(numbers)
        ...     assert check(history, ChannelModel(capacity=0))
        >>> gochan.run(main)
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        """All calls, in their order."""
        self._ticks = 0
        self._inside: dict[tuple[int, str], list[Operation]] = {}
        self._labels: dict[int, str] = {}

    async def send(self, channel: SendChannel[T], value: T) -> None:
        """``channel.send(value)``."""
        operation = self._call(Alternative("send", channel, value))
        try:
            await channel.send(value)
        except BaseException as error:
            self._raised(operation, error)
            raise
        self._return(operation, "ok", 0)

    async def receive(self, channel: ReceiveChannel[T]) -> T:
        """``channel.receive()``."""
        operation = self._call(Alternative("receive", channel))
        try:
            value = await channel.receive()
        except BaseException as error:
            self._raised(operation, error)
            raise
        self._return(operation, "ok", 0, value)
        return value

    async def receive_ok(self, channel: ReceiveChannel[T]) -> tuple[T, Literal[True]] | tuple[None, Literal[False]]:
        """``channel.receive_ok()``."""
        operation = self._call(Alternative("receive", channel))
        try:
            result = await channel.receive_ok()
        except BaseException as error:
            self._raised(operation, error)
            raise
        self._return(operation, "ok" if result[1] else "closed", 0, result[0])
        return result

    def send_nowait(self, channel: SendChannel[T], value: T) -> None:
        """``channel.send_nowait(value)``."""
        self._at_once(Alternative("send", channel, value), lambda: channel.send_nowait(value))

    def receive_nowait(self, channel: ReceiveChannel[T]) -> T:
        """``channel.receive_nowait()``."""
        return self._at_once(Alternative("receive", channel), channel.receive_nowait)

    def close(self, channel: SendChannel[Any], cause: BaseException | None = None) -> None:
        """``channel.close(cause)``."""
        self._at_once(Alternative("close", channel), lambda: channel.close(cause) if cause else channel.close())

    async def select(self, *cases: Selectable[T] | None, priority: bool = False) -> tuple[int, T]:
        """``select(*cases)``."""
        choices = _choices(cases)
        operation = self._call(*map(_alternative, choices))
        try:
            number, value = await select(*choices, priority=priority)
        except BaseException as error:
            self._raised(operation, error)
            raise
        self._selected(operation, choices, number, value)
        return number, value

    def try_select(self, *cases: Selectable[T] | None, priority: bool = False) -> tuple[int, T] | None:
        """``try_select(*cases)``."""
        choices = _choices(cases)
        operation = self._call(*map(_alternative, choices), waits=False)
        try:
            chosen = try_select(*choices, priority=priority)
        except BaseException as error:
            self._raised(operation, error)
            raise
        if chosen is None:
            self._return(operation, "blocked")
            return None
        self._selected(operation, choices, *chosen)
        return chosen

    # Inside.

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def _call(self, *alternatives: Alternative, waits: bool = True) -> Operation:
        operation = Operation(_task_name(), alternatives, waits, self._tick())
        self.operations.append(operation)
        for number, alternative in enumerate(alternatives):
            alternative.label = self._label(alternative.channel)
            if alternative.way not in ("send", "receive"):
                continue
            waiting = _waiting(alternative.channel)
            here = self._inside.setdefault((id(alternative.channel), alternative.way), [])
            if waiting is not None:
                mine, theirs = waiting if alternative.way == "send" else waiting[::-1]
                if here and mine == len(here):
                    operation.behind.extend((number, other) for other in here)
                operation.met = operation.met or theirs > 0
        for alternative in alternatives:
            if alternative.way in ("send", "receive"):
                self._inside[id(alternative.channel), alternative.way].append(operation)
        return operation

    def _return(self, operation: Operation, outcome: Outcome, chosen: int | None = None, value: Any = None) -> None:
        operation.returned = self._tick()
        operation.outcome = outcome
        operation.chosen = chosen
        operation.value = value
        for alternative in operation.alternatives:
            here = self._inside.get((id(alternative.channel), alternative.way))
            if here is not None:
                here.remove(operation)

    def _selected(self, operation: Operation, choices: list[Any], number: int, value: Any) -> None:
        alternative = operation.alternatives[number]
        if alternative.mapped:
            value = UNKNOWN
        elif isinstance(choices[number], ReceiveOkCase):
            value, ok = cast("tuple[Any, bool]", value)
            if not ok:
                self._return(operation, "closed", number)
                return
        self._return(operation, "ok", number, value)

    def _raised(self, operation: Operation, error: BaseException) -> None:
        if isinstance(error, CLOSED_ERRORS):
            channel = getattr(error, "channel", None)
            alternatives = operation.alternatives
            numbers = [n for n, a in enumerate(alternatives) if channel is None or a.channel is channel]
            self._return(operation, "closed", numbers[0] if len(numbers) == 1 else None)
        elif isinstance(error, anyio.WouldBlock):
            self._return(operation, "blocked")
        elif not isinstance(error, GeneratorExit):  # that is the end of the loop: the operation stays pending
            # What was refused (another loop's channel, say) has had no effect either.
            self._return(operation, "cancelled")

    def _label(self, channel: Any) -> str:
        label = self._labels.get(id(channel))
        if label is None:
            name: str | None = getattr(channel, "name", None)
            label = self._labels[id(channel)] = name or f"{type(channel).__name__.lower()} {len(self._labels) + 1}"
        return label

    def _at_once(self, alternative: Alternative, do: Callable[[], T]) -> T:
        operation = self._call(alternative, waits=False)
        try:
            value = do()
        except BaseException as error:
            self._raised(operation, error)
            raise
        self._return(operation, "ok", 0, value)
        return value


def _task_name() -> str:
    driver = current_driver()
    task: Any = None if driver is None else driver.task()
    if task is None:
        return "outside"
    name: str = task.name if hasattr(task, "name") else task.get_name()
    return name.rpartition(".")[2]


def _waiting(channel: Any) -> tuple[int, int] | None:
    """Senders and receivers that wait; None where nothing says so."""
    if not isinstance(channel, Channel):
        return None
    state: Any = channel._state
    return len(state.senders), len(state.receivers)


def _choices(cases: tuple[Any, ...]) -> list[Any]:
    return [_case_of(number, case) for number, case in enumerate(cases)]


def _alternative(choice: Any) -> Alternative:
    mapped = False
    while isinstance(choice, _Mapped):
        choice, mapped = cast("Any", choice)._case, True
    if isinstance(choice, SendCase):
        return Alternative("send", choice._channel, choice._item, mapped)
    if isinstance(choice, ReceiveCase):
        return Alternative("receive", cast("Any", choice)._channel, None, mapped)
    if isinstance(choice, Channel):
        return Alternative("receive", cast("Any", choice), None, mapped)
    what = choice._state if isinstance(choice, Case) else choice
    return Alternative("other", what, None, mapped)
