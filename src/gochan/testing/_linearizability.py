"""Linearizability: is there an order, one moment per operation, that explains a history of channel operations?

Shape
    A depth-first search over (which operations have happened, what the channels hold), as Wing and Gong's with Lowe's
    memory of states seen. The next operation is one that was called before any that has not happened returned. On an
    unbuffered channel a send and a receive happen together, at a moment that lies in both.

    What each outcome asks of its moment
        ok         The alternative that was chosen can be done, with the value that was seen.
        closed     The channel is closed (to receive: and empty).
        blocked    No alternative can be done.
        pending    Any alternative, or none: it may never have happened.
        cancelled  Nothing: it is left out, so what it did, if it did, has no explanation.

    Channels that no select joins are looked at one by one: a history is linearizable exactly if each of its objects
    is.

Why not
    Only comparing what came out with what went in: that misses a value that is received before it was sent, an
    unbuffered channel that buffers, a receive that says "closed" beside a value.

Prior art
    Wing and Gong 1993; Lowe 2017; porcupine; Knossos, whose "info" outcome is ``pending`` here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ._history import UNKNOWN, Alternative, History, Operation
from ._timeline import timeline

_State = tuple[tuple[tuple[Any, ...], bool], ...]  # of each channel: the buffer, and whether it is closed
_Node = tuple[int, _State]

BUDGET: Final = 200_000


@dataclass(frozen=True, slots=True)
class ChannelModel:
    """What a channel should do."""

    capacity: float = 0
    overflow: Literal["block", "drop_newest", "drop_oldest"] = "block"

    @staticmethod
    def of(channel: Any) -> ChannelModel:
        """The model that a channel claims to be."""
        state = getattr(channel, "_state", None)
        return ChannelModel(channel.capacity, getattr(state, "overflow", "block"))


@dataclass(frozen=True, slots=True)
class Linearizable:
    """There is such an order."""

    nodes: int
    """How many states were looked at."""


@dataclass(frozen=True, slots=True, repr=False)
class Counterexample:
    """There is none; false where a truth value is asked for. As text: the timeline."""

    operations: tuple[Operation, ...]
    """What cannot be explained, cancelled operations included."""
    explained: tuple[Operation, ...]
    """The longest beginning that can be, in its order."""
    held: str
    """What the channels hold after it."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:  # what a failing assert shows
        marks = {operation: f"{number}." for number, operation in enumerate(self.explained, 1)}
        marks |= {operation: "!" for operation in self.operations if operation not in marks and _counts(operation)}
        text = timeline(self.operations, marks)
        return f"not linearizable: after the numbered operations no other fits ({self.held})\n{text}"


@dataclass(frozen=True, slots=True)
class Unknown:
    """The budget was used up; false where a truth value is asked for."""

    budget: int

    def __bool__(self) -> bool:
        return False


def check(
    history: History,
    model: ChannelModel | Mapping[Any, ChannelModel] | None = None,
    *,
    fifo: bool = False,
    budget: int = BUDGET,
) -> Linearizable | Counterexample | Unknown:
    """Look for an order of the recorded operations that a model of channels allows.

    Args:
        model: what the channels should be: one for all, one for each, or ``None`` for what they say of themselves.
        fifo: also demand that waiters are served in the order in which they came.
        budget: how many states to look at before giving up.

    Returns:
        ``Linearizable``, which is true; or a ``Counterexample`` or ``Unknown``, which are false.
    """
    nodes = 0
    for operations in _parts(history.operations):
        search = _Search(operations, model, fifo=fifo)
        if not search.run(budget - nodes):
            return Unknown(budget) if search.nodes > budget - nodes else search.counterexample()
        nodes += search.nodes
    return Linearizable(nodes)


def _counts(operation: Operation) -> bool:
    return operation.outcome != "cancelled"


def _parts(operations: Sequence[Operation]) -> list[list[Operation]]:
    """The operations by groups of channels that selects join."""
    leader: dict[int, int] = {}

    def find(channel: int) -> int:
        while leader.setdefault(channel, channel) != channel:
            channel = leader[channel]
        return channel

    owners: list[int | None] = []
    for operation in operations:
        channels = [id(a.channel) for a in operation.alternatives if a.way != "other"]
        owners.append(channels[0] if channels else None)
        for other in channels[1:]:
            leader[find(other)] = find(channels[0])
    parts: dict[int, list[Operation]] = {}
    for operation, owner in zip(operations, owners, strict=True):
        if owner is not None:
            parts.setdefault(find(owner), []).append(operation)
    return list(parts.values())


def _comparable(value: Any) -> Any:
    """The value, or for one that cannot be hashed something that is equal for the same object."""
    try:
        hash(value)
    except TypeError:
        return (_comparable, id(value))
    return value


class _Search:
    """The search in one part of a history."""

    def __init__(
        self, operations: list[Operation], model: ChannelModel | Mapping[Any, ChannelModel] | None, *, fifo: bool
    ) -> None:
        self.all = operations
        self.operations = counted = [operation for operation in operations if _counts(operation)]
        channels = {id(a.channel): a.channel for o in operations for a in o.alternatives if a.way != "other"}
        self.channels = list(channels.values())
        labels = {id(a.channel): a.label for o in operations for a in o.alternatives}
        self.labels = [labels[identity] for identity in channels]
        self.number = {identity: number for number, identity in enumerate(channels)}
        self.models = [
            model if isinstance(model, ChannelModel) else ChannelModel.of(channel) if model is None else model[channel]
            for channel in self.channels
        ]
        self.returns = [math.inf if o.returned is None else o.returned for o in counted]
        self.required = sum(1 << i for i, o in enumerate(counted) if o.outcome != "pending")
        self.behind: dict[tuple[int, int], int] = {}
        if fifo:
            index = {operation: i for i, operation in enumerate(counted)}
            for i, operation in enumerate(counted):
                for alternative, other in operation.behind:
                    if other in index:
                        self.behind[i, alternative] = self.behind.get((i, alternative), 0) | 1 << index[other]
        self.nodes = 0
        self.best: list[int] = []
        self.best_state: _State = ()

    def run(self, budget: int) -> bool:
        state: _State = tuple(((), False) for _ in self.channels)
        seen: set[_Node] = {(0, state)}
        self.best_state = state
        path: list[tuple[Iterator[tuple[int, _State]], int, tuple[int, ...]]] = []
        done = 0
        new: tuple[int, ...] = ()
        order: list[int] = []
        steps = self.steps(done, state)
        while True:
            if done & self.required == self.required:
                return True
            self.nodes += 1
            if self.nodes > budget:
                return False
            following = next((step for step in steps if (done | step[0], step[1]) not in seen), None)
            while following is None:
                if not path:
                    return False
                steps, done, new = path.pop()
                del order[len(order) - len(new) :]
                following = next((step for step in steps if (done | step[0], step[1]) not in seen), None)
            mask, state = following
            new = tuple(i for i in range(mask.bit_length()) if mask >> i & 1)
            path.append((steps, done, new))
            done |= mask
            order.extend(new)
            seen.add((done, state))
            if len(order) > len(self.best):
                self.best, self.best_state = order.copy(), state
            steps = self.steps(done, state)

    def candidates(self, done: int) -> list[int]:
        """Operations that may come next: called before any that is to come has returned."""
        found: list[int] = []
        limit = math.inf
        first = (~done & (done + 1)).bit_length() - 1  # the lowest that has not happened
        for i in range(first, len(self.operations)):
            if not done >> i & 1:
                if self.operations[i].call >= limit:
                    break
                limit = min(limit, self.returns[i])
                found.append(i)
        return found

    def steps(self, done: int, state: _State) -> Iterator[tuple[int, _State]]:
        """What may happen next: which operations, as bits, and the state after them."""
        candidates = self.candidates(done)
        for i in candidates:
            operation = self.operations[i]
            if operation.outcome == "blocked":
                if not any(self.ready(operation, alternative, state) for alternative in operation.alternatives):
                    yield 1 << i, state
                continue
            for number, alternative in self.wanted(operation):
                if alternative.way == "other":
                    yield 1 << i, state
                    continue
                c = self.number[id(alternative.channel)]
                buffer, closed = state[c]
                if operation.outcome == "closed":
                    if closed and (alternative.way == "send" or not buffer):
                        yield 1 << i, state
                elif alternative.way == "close":
                    yield 1 << i, _replaced(state, c, buffer, True)
                elif self.behind.get((i, number), 0) & ~done:
                    continue
                elif alternative.way == "receive":
                    if buffer and _sees(operation, buffer[0]):
                        yield 1 << i, _replaced(state, c, buffer[1:], closed)
                elif not closed:
                    yield from self.sent(i, c, alternative, state, candidates, done)

    def sent(
        self, i: int, c: int, alternative: Alternative, state: _State, candidates: list[int], done: int
    ) -> Iterator[tuple[int, _State]]:
        """A send on an open channel: into the buffer, dropped, or together with a receive."""
        buffer, model = state[c][0], self.models[c]
        value = _comparable(alternative.value)
        if len(buffer) < model.capacity:
            yield 1 << i, _replaced(state, c, (*buffer, value), False)
            return
        if not model.capacity:
            for j in candidates:
                if j != i and self.takes(j, alternative.channel, value, done):
                    yield 1 << i | 1 << j, state
        if model.overflow != "block":
            drops_first = model.overflow == "drop_oldest" and buffer
            yield 1 << i, _replaced(state, c, (*buffer[1:], value), False) if drops_first else state

    def takes(self, j: int, channel: Any, value: Any, done: int) -> bool:
        """Whether this operation may have received the value from the channel."""
        operation = self.operations[j]
        return operation.outcome in ("ok", "pending") and any(
            alternative.way == "receive"
            and alternative.channel is channel
            and _sees(operation, value)
            and not self.behind.get((j, number), 0) & ~done
            for number, alternative in self.wanted(operation)
        )

    def wanted(self, operation: Operation) -> Iterator[tuple[int, Alternative]]:
        """The alternatives that its outcome allows."""
        if operation.chosen is None:
            yield from enumerate(operation.alternatives)
        else:
            yield operation.chosen, operation.alternatives[operation.chosen]

    def ready(self, operation: Operation, alternative: Alternative, state: _State) -> bool:
        """Whether an alternative of an operation that never waits could have been done."""
        if alternative.way == "other":
            return False  # nothing is known of it
        c = self.number[id(alternative.channel)]
        (buffer, closed), model = state[c], self.models[c]
        if operation.met or closed:
            return True
        if alternative.way == "send":
            return len(buffer) < model.capacity or model.overflow != "block"
        return bool(buffer)

    def counterexample(self) -> Counterexample:
        held = "; ".join(
            f"{label} holds {list(buffer)}{', closed' if closed else ''}"
            for label, (buffer, closed) in zip(self.labels, self.best_state, strict=True)
        )
        return Counterexample(tuple(self.all), tuple(self.operations[i] for i in self.best), held)


def _sees(operation: Operation, value: Any) -> bool:
    if operation.outcome == "pending" or operation.value is UNKNOWN:
        return True
    same: bool = _comparable(operation.value) == value
    return same


def _replaced(state: _State, c: int, buffer: tuple[Any, ...], closed: bool) -> _State:
    return (*state[:c], (buffer, closed), *state[c + 1 :])
