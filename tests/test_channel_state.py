"""The channel's state machine, without a loop: random programs against its invariants."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from gochan import Channel, receive, receive_ok, send
from gochan._channel_state import CLOSED, PENDING, ChannelState
from gochan._core.driver import NOWHERE
from gochan._core.waitqueue import Entry


class Place(Entry):
    """A parked operation that notes what it was committed with."""

    __slots__ = ("got",)

    def __init__(self, item: Any = None) -> None:
        self.item = item
        self.queue = None
        self.got: list[Any] = []

    def commit(self, value: Any) -> None:
        self.got.append(value)


def put(state: ChannelState, item: Any) -> Place | None:
    """Send, parking where it would wait."""
    if state.put(item) is not PENDING:
        return None
    place = Place(item)
    state.sending(NOWHERE).append(place)
    return place


def take(state: ChannelState) -> Any:
    """Receive, parking where it would wait."""
    value = state.take()
    if value is not PENDING:
        return value
    place = Place()
    state.receiving(NOWHERE).append(place)
    return place


@pytest.mark.parametrize("overflow", ["block", "drop_newest", "drop_oldest"])
@pytest.mark.parametrize("capacity", [0, 1, 3, math.inf])
@pytest.mark.parametrize("seed", range(3))
def test_the_invariants_hold(overflow: str, capacity: float, seed: int) -> None:
    """C1 to C7 after every step of a random program, withdrawals and the close included; and no value is lost."""
    rng = random.Random(seed)
    state = ChannelState(capacity, overflow, None)
    waiting, received, sent = list[Place](), list[int](), 0
    receivers = list[Place]()
    for _ in range(400):
        match rng.randrange(8):
            case 0 | 1 | 2:
                place = put(state, sent)
                if place is not None:
                    waiting.append(place)
                sent += 1
            case 3 | 4 | 5:
                got = take(state)
                if isinstance(got, Place):
                    receivers.append(got)
                else:
                    received.append(got)
            case 6:
                parked = [place for place in (*waiting, *receivers) if place.queue is not None]
                if parked:
                    leaver = rng.choice(parked)
                    leaver.queue.remove(leaver)  # type: ignore[union-attr]
                    if leaver.item is not None:
                        sent = max(sent, leaver.item)
            case _:
                values: list[Any] = []
                state.take_more(values, rng.randrange(1, 4))
                received.extend(values)
        state._check()
        handed = sum(bool(place.got) for place in receivers)
        assert state.sent == len(received) + handed + len(state.buffer)
    state.close(None)
    state._check()
    everything = received + [place.got[0] for place in receivers if place.got and place.got[0] is not CLOSED]
    everything += state.buffer
    assert len(everything) == len(set(everything)) == state.sent


@pytest.mark.parametrize("waiting", ["nobody", "sender", "receiver"])
@pytest.mark.parametrize("close", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("overflow", ["block", "drop_newest", "drop_oldest"])
def test_ready_means_that_the_attempt_will_not_be_pending(overflow: Any, close: bool, waiting: str) -> None:
    """What a case says beforehand is what its attempt comes to, whatever the state of the channel."""
    for capacity in (0, 1, 2):
        for fill in range(capacity + 1):
            for kind in ("send", "receive", "receive_ok"):
                channel = Channel[int](capacity, overflow=overflow)
                state = channel._state
                for number in range(fill):
                    state.put(number)
                if waiting == "sender" and state.put(9) is PENDING:
                    state.sending(NOWHERE).append(Place(9))
                if waiting == "receiver" and not fill:
                    state.receiving(NOWHERE).append(Place())
                if close:
                    state.close(None)
                case = {"send": send(channel, 1), "receive": receive(channel), "receive_ok": receive_ok(channel)}[kind]
                assert case._ready() == (case._take() is not PENDING), (capacity, fill, kind)


def test_close_hands_out_first_come_first_served() -> None:
    """Everybody gets CLOSED, in the order in which they came, and nobody is left (C6)."""
    order = list[str]()

    class Named(Place):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def commit(self, value: Any) -> None:
            assert value is CLOSED
            order.append(self.name)

    state = ChannelState(0, "block", None)
    for name in "abc":
        state.receiving(NOWHERE).append(Named(name))
    state.close(None)
    state.close(ValueError())
    state._check()
    assert order == ["a", "b", "c"]
    assert state.cause is None
    assert state.put(1) is CLOSED
    assert state.take() is CLOSED


def test_a_receiver_that_frees_a_place_lets_the_first_sender_in() -> None:
    """Behind those in the buffer, so that the order is kept."""
    state = ChannelState(1, "block", None)
    assert put(state, 1) is None
    places = [put(state, number) for number in (2, 3)]
    assert state.take() == 1
    assert [place.got for place in places if place is not None] == [[None], []]
    assert [state.take(), state.take(), state.take()] == [2, 3, PENDING]


def test_what_a_dropped_value_does_when_it_dies() -> None:
    """Its finalizer may use the channel: the drop is complete by then (C4, C7)."""
    for action in ("send", "close", "receive"):
        state = ChannelState(2, "drop_oldest", None)
        seen = list[Any]()

        class Last:
            def __del__(self, state: ChannelState = state, action: str = action, seen: list[Any] = seen) -> None:
                state._check()
                match action:
                    case "send":
                        seen.append(state.put("from the finalizer"))
                    case "close":
                        state.close(None)
                    case _:
                        seen.append(state.take())
                state._check()

        state.put(Last())
        state.put("second")
        state.put("third")
        state._check()
        assert {"send": [None], "close": [], "receive": ["second"]}[action] == seen


@pytest.mark.parametrize("wrong", ["C2", "C3", "C4", "C6", "C7"])
def test_check_finds_a_broken_state(wrong: str) -> None:
    """The executable invariants are not empty words."""
    state = ChannelState(1, "block", None)
    match wrong:
        case "C2":
            state.put(1)
            state.receiving(NOWHERE).append(Place())
        case "C3":
            state.sending(NOWHERE).append(Place(1))
        case "C4":
            state.put(1)
            state.buffer.extend([2, 3])
        case "C6":
            state.put(1)
            state.close(None)
            state.sending(NOWHERE).append(Place(1))
        case _:
            state.limit = 5
    with pytest.raises(AssertionError, match=wrong):
        state._check()
