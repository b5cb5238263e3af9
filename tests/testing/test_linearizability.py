"""``check``: what it lets pass, and what it finds."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest

from gochan import Channel
from gochan.testing import ChannelModel, Counterexample, History, Linearizable, Unknown, check, run
from gochan.testing._history import Alternative, Operation

from .traffic import mixture

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class There:
    """Stands for a channel in a history that was made by hand."""


THERE = There()


def did(
    what: str, call: int, returned: int | None, value: Any = None, outcome: Any = "ok", waits: bool = True
) -> Operation:
    """One operation of a history that was made by hand."""
    way: Any = what
    alternative = Alternative(way, THERE, value if what == "send" else None, label="there")
    chosen = 0 if outcome in ("ok", "closed") else None
    return Operation("someone", (alternative,), waits, call, returned, outcome, chosen, value)


def verdict(model: ChannelModel, *operations: Operation) -> bool:
    history = History()
    history.operations.extend(sorted(operations, key=lambda operation: operation.call))
    return bool(check(history, model))


# ---- by hand ----


def test_a_value_is_received_after_it_was_sent() -> None:
    """Not before the send was called."""
    assert verdict(ChannelModel(1), did("send", 1, 2, "a"), did("receive", 3, 4, "a"))
    assert verdict(ChannelModel(1), did("receive", 1, 4, "a"), did("send", 2, 3, "a"))
    assert not verdict(ChannelModel(1), did("receive", 1, 2, "a"), did("send", 3, 4, "a"))


def test_a_rendezvous_takes_both_at_once() -> None:
    """Without a buffer, a send cannot return before a receive was called."""
    assert verdict(ChannelModel(0), did("send", 1, 3, "a"), did("receive", 2, 4, "a"))
    assert not verdict(ChannelModel(0), did("send", 1, 2, "a"), did("receive", 3, 4, "a"))
    assert not verdict(ChannelModel(0), did("send", 1, 2, "a"))


def test_values_come_out_in_the_order_in_which_they_went_in() -> None:
    """If that order is known; sends that overlap may be in any."""
    received = did("receive", 5, 6, "b"), did("receive", 7, 8, "a")
    assert verdict(ChannelModel(2), did("send", 1, 3, "a"), did("send", 2, 4, "b"), *received)
    assert not verdict(ChannelModel(2), did("send", 1, 2, "a"), did("send", 3, 4, "b"), *received)


def test_a_buffer_has_its_capacity() -> None:
    """And one that is unbounded has none."""
    sends = [did("send", 2 * n + 1, 2 * n + 2, n) for n in range(3)]
    assert not verdict(ChannelModel(2), *sends)
    assert verdict(ChannelModel(3), *sends)
    assert verdict(ChannelModel(math.inf), *sends)


def test_each_value_is_received_once() -> None:
    """Neither twice nor out of nothing."""
    sent = did("send", 1, 2, "a")
    assert not verdict(ChannelModel(1), sent, did("receive", 3, 4, "a"), did("receive", 5, 6, "a"))
    assert not verdict(ChannelModel(1), sent, did("receive", 3, 4, "b"))


def test_a_closed_channel_is_drained() -> None:
    """It says "closed" when it is empty, and to who sends."""
    sent, closed = did("send", 1, 2, "a"), did("close", 3, 4)
    late = did("receive", 5, 6, outcome="closed")
    assert not verdict(ChannelModel(1), sent, closed, late)
    assert verdict(ChannelModel(1), sent, closed, did("receive", 5, 6, "a"), did("receive", 7, 8, outcome="closed"))
    assert verdict(ChannelModel(1), closed, did("send", 5, 6, "a", outcome="closed"))
    assert not verdict(ChannelModel(1), closed, did("send", 5, 6, "a"))
    assert not verdict(ChannelModel(1), did("receive", 1, 2, outcome="closed"))


def test_a_cancelled_operation_had_no_effect() -> None:
    """What it sent cannot be received, what it received is still there."""
    cancelled = did("send", 1, 2, "a", outcome="cancelled")
    assert verdict(ChannelModel(1), cancelled)
    assert not verdict(ChannelModel(1), cancelled, did("receive", 3, 4, "a"))
    taken = did("receive", 3, 4, outcome="cancelled")
    assert not verdict(ChannelModel(1), did("send", 1, 2, "a"), taken, did("send", 5, 6, "b"))


def test_a_pending_operation_may_have_happened() -> None:
    """Or may not."""
    pending = did("send", 1, None, "a", outcome="pending")
    assert verdict(ChannelModel(0), pending)
    assert verdict(ChannelModel(0), pending, did("receive", 2, 3, "a"))
    assert not verdict(ChannelModel(0), pending, did("receive", 2, 3, "b"))


def test_who_never_waits_had_to() -> None:
    """WouldBlock is wrong where there was a value, or room."""
    sent = did("send", 1, 2, "a")
    assert not verdict(ChannelModel(1), sent, did("receive", 3, 4, outcome="blocked", waits=False))
    assert verdict(ChannelModel(1), sent, did("send", 3, 4, "b", outcome="blocked", waits=False))
    assert not verdict(ChannelModel(2), sent, did("send", 3, 4, "b", outcome="blocked", waits=False))
    assert not verdict(ChannelModel(0), did("close", 1, 2), did("receive", 3, 4, outcome="blocked", waits=False))


def test_a_dropping_channel_drops() -> None:
    """The value that is sent, or the oldest; and never waits."""
    sends = did("send", 1, 2, "a"), did("send", 3, 4, "b")
    first, second = did("receive", 5, 6, "a"), did("receive", 5, 6, "b")
    assert verdict(ChannelModel(1, "drop_newest"), *sends, first)
    assert not verdict(ChannelModel(1, "drop_newest"), *sends, second)
    assert verdict(ChannelModel(1, "drop_oldest"), *sends, second)
    assert not verdict(ChannelModel(1, "drop_oldest"), *sends, first)
    assert verdict(ChannelModel(0, "drop_newest"), *sends)
    assert not verdict(ChannelModel(1, "drop_newest"), did("send", 1, 2, "a", outcome="blocked", waits=False))


def test_a_search_that_takes_too_long_says_so() -> None:
    """It is neither true nor a counterexample."""
    history = History()
    history.operations.extend(did("send", n + 1, 100 + n, n) for n in range(12))
    history.operations.append(did("receive", 200, 201, "never sent"))
    assert check(history, ChannelModel(12), budget=100) == Unknown(100)
    assert not Unknown(100)


def test_values_need_not_be_hashable() -> None:
    """The same object is the same value."""
    history, channel, value = History(), Channel[list[int]](1), [1]
    history.send_nowait(channel, value)
    assert history.receive_nowait(channel) is value
    assert check(history)


def test_a_counterexample_is_readable() -> None:
    """What fits is numbered, what does not is marked, and the bars show what overlaps."""
    history = History()
    history.operations += [did("send", 1, 3, "a"), did("receive", 2, 4, "a"), did("receive", 5, 6, "a")]
    found = check(history, ChannelModel(0))
    assert isinstance(found, Counterexample)
    assert repr(found).splitlines() == [
        "not linearizable: after the numbered operations no other fits (there holds [])",
        "1.  someone  send(there, 'a') -> ok  ├─┤",
        "2.  someone  receive(there) -> 'a'    ├─┤",
        " !  someone  receive(there) -> 'a'       ├┤",
    ]


# ---- real channels ----


@backends
@pytest.mark.parametrize("capacity", [0, 1, 2, math.inf])
@pytest.mark.parametrize("overflow", ["block", "drop_newest", "drop_oldest"])
@pytest.mark.parametrize("orders", [16, pytest.param(200, marks=pytest.mark.slow)])
def test_channels_are_linearizable(orders: int, capacity: float, overflow: Any, backend: Backend) -> None:
    """Under many orders, with their waiters served first come, first served; and the search is short."""
    for seed in range(orders):
        history, channel = History(), Channel[int](capacity, overflow=overflow)
        run(mixture, history, channel, seed % 8, backend=backend, seed=seed)
        found = check(history, fifo=True)
        assert found, seed
        assert isinstance(found, Linearizable)
        assert found.nodes < 5_000
        models = dict.fromkeys(channels(history), ChannelModel(1)) | {channel: ChannelModel(capacity, overflow)}
        assert check(history, models)


def channels(history: History) -> list[Any]:
    return [alternative.channel for operation in history.operations for alternative in operation.alternatives]


def test_select_belongs_to_both_of_its_channels() -> None:
    """A value that a select cannot have taken from either is found."""

    async def program(history: History) -> None:
        first, second = Channel[int](1, name="first"), Channel[int](1, name="second")
        await history.send(first, 1)
        await history.send(second, 2)
        await history.select(first, second, priority=True)

    history = History()
    run(program, history)
    assert check(history)
    history.operations[-1].value = 2
    found = check(history)
    assert isinstance(found, Counterexample)
    assert "first holds" in repr(found)
    assert "select(receive(first), receive(second)) -> case 0, 2" in repr(found)
