"""The broadcast's state machine against a twin that keeps one list per subscription, and its invariants."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gochan._broadcast_state import BroadcastState, Missed, Policy, SubscriptionState
from gochan._channel_state import CLOSED, PENDING
from gochan._core.driver import NOWHERE
from gochan._core.waiter import SelectEntry


class Twin:
    """What a broadcast is, without sharing anything: every subscription has its own list."""

    def __init__(self, capacity: int, policy: Policy) -> None:
        self.capacity = capacity
        self.policy = policy
        self.unread: dict[int, list[int]] = {}
        self.lag: dict[int, int] = {}
        self.closed = False

    def put(self, value: int) -> object:
        if self.closed:
            return CLOSED
        if self.policy == "wait" and any(len(unread) >= self.capacity for unread in self.unread.values()):
            return PENDING
        for who, unread in self.unread.items():
            unread.append(value)
            if len(unread) > self.capacity:
                del unread[0]
                self.lag[who] += 1
        return None

    def take(self, who: int) -> object:
        if who not in self.unread:
            return CLOSED
        lag, self.lag[who] = self.lag[who], 0
        if lag and self.policy == "lag":
            return Missed(lag)
        if self.unread[who]:
            return self.unread[who].pop(0)
        return CLOSED if self.closed else PENDING

    def buffered(self) -> int:
        return max(map(len, self.unread.values()), default=0)


def same(one: object, other: object) -> bool:
    if isinstance(one, Missed) and isinstance(other, Missed):
        return one.count == other.count
    return one is other or one == other


# What to do, and to which of the subscriptions that there are.
steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "take", "take", "take", "subscribe", "leave", "forget", "close"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@pytest.mark.parametrize("policy", ["wait", "lag", "latest"])
@settings(max_examples=150)
@given(capacity=st.integers(1, 4), steps=steps)
def test_it_does_what_its_twin_does(policy: Policy, capacity: int, steps: list[tuple[str, int]]) -> None:
    """Every answer is the same, and the invariants hold after every step."""
    state, twin = BroadcastState(capacity, policy, None), Twin(capacity, policy)
    subscriptions: list[SubscriptionState] = []
    value = 0
    for step, choice in steps:
        who = choice % len(subscriptions) if subscriptions else 0
        if step == "put":
            value += 1
            assert same(state.put(value), twin.put(value))
        elif step == "subscribe":
            twin.unread[len(subscriptions)], twin.lag[len(subscriptions)] = [], 0
            subscriptions.append(state.subscribe())
        elif step == "close":
            if choice == 0:  # not too often
                state.close(None)
                twin.closed = True
        elif subscriptions and step == "take":
            assert subscriptions[who].can_take() == (twin.take(who) is not PENDING) if who not in twin.unread else True
            one, other = subscriptions[who].take(), twin.take(who)
            assert same(one, other), (one, other)
        elif subscriptions:
            if step == "leave":
                subscriptions[who].close()
            else:
                subscriptions[who].forget()
            twin.unread.pop(who, None)
        if not state.forgotten:
            assert state.buffered == twin.buffered()
        for number, subscription in enumerate(subscriptions):
            assert len(subscription) == len(twin.unread.get(number, []))
            assert subscription.missing == (twin.lag[number] if number in twin.unread else 0)
            assert subscription.can_take() == (
                number not in twin.unread or twin.closed or bool(twin.unread[number] or twin.lag[number])
            )
            assert subscription.ended() == (
                number not in twin.unread or (twin.closed and not twin.unread[number] and not twin.lag[number])
            )
        state._check()
        assert state.can_put() == (twin.closed or policy != "wait" or twin.buffered() < capacity)


def test_a_long_chain_goes_without_recursion() -> None:
    """Two hundred thousand unread values are let go at once, deeper than any stack."""
    state = BroadcastState(float("inf"), "wait", None)
    subscription = state.subscribe()
    for value in range(200_000):
        state.put(value)
    subscription.close()
    assert state.buffered == 0
    state._check()


class Noted(SelectEntry):
    """A waiter that notes when it was woken."""

    def __init__(self, name: str, woken: list[str]) -> None:
        self.name = name
        self.woken = woken

    def commit(self, value: object) -> None:
        self.woken.append(self.name)


def test_subscriptions_are_woken_in_the_order_in_which_they_began_to_wait() -> None:
    """One whose waiter left, and that waits again, has lost its place."""
    state, woken = BroadcastState(1, "wait", None), list[str]()
    first, second = state.subscribe(), state.subscribe()
    given_up = Noted("given up", woken)
    first.receiving(NOWHERE).append(given_up)
    second.receiving(NOWHERE).append(Noted("second", woken))
    first.receivers.remove(given_up)
    first.receiving(NOWHERE).append(Noted("first", woken))
    state.put(1)
    assert woken == ["second", "first"]
    state._check()


class Rude:
    """A value whose finalizer publishes."""

    def __init__(self, state: BroadcastState) -> None:
        self.state = state

    def __del__(self) -> None:
        self.state._check()
        if self.state.end.number < 100:
            self.state.put("from a finalizer")


@pytest.mark.parametrize("policy", ["wait", "lag", "latest"])
def test_finalizers_of_values_find_all_in_order(policy: Policy) -> None:
    """Overtaken, read by the last, without a reader, or left unread: what dies may publish at that moment."""
    state = BroadcastState(2, policy, None)
    state.put(Rude(state))
    subscription, other = state.subscribe(), state.subscribe()
    for _ in range(5):
        state.put(Rude(state))
        state._check()
    for _ in range(3):
        subscription.take()
        other.take()
        state._check()
    state.put(Rude(state))
    subscription.close()
    other.close()
    state._check()
    assert state.end.number > 6


@pytest.mark.parametrize("invariant", ["B1", "B2", "B3", "B5"])
def test_the_check_sees_what_is_broken(invariant: str) -> None:
    """Each invariant is asserted under its own number."""
    state = BroadcastState(1, "wait", None)
    subscription = state.subscribe()
    state.put(1)
    match invariant:
        case "B1":
            state.oldest.readers -= 1
            state.subscriptions -= 1
        case "B2":
            state.capacity = 0.5
        case "B3":
            state.publishing(NOWHERE).append(SelectEntry())
            state.capacity = 2
        case _:
            state.subscriptions += 1
    with pytest.raises(AssertionError, match=invariant):
        state._check()
    assert len(subscription) == 1
