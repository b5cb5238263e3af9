"""The alarms of a loop: T1 to T3, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gochan._core.alarms import EARLY, SWEEP, TICK, Alarm, Alarms


def quiet() -> None:
    """What an alarm calls that nobody listens to."""


class Loop:
    """A clock that the test moves, and one timer: what alarms need of a loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timer = inf
        self.times_armed = 0
        self.alarms = Alarms(lambda: self.now, self.arm)

    def arm(self, when: float) -> None:
        self.timer = when
        self.times_armed += 1

    def move(self, to: float) -> None:
        """Let time pass as a loop does: its timer fires when it is due."""
        while self.timer <= to:
            self.now, self.timer = max(self.now, self.timer), inf
            self.alarms.fire()
            self.check()
        self.now = max(self.now, to)

    def ring(self, now: float) -> None:
        """The timer fires, at whatever time."""
        self.now, self.timer = now, inf
        self.alarms.fire()
        self.alarms._check()

    def check(self) -> None:
        self.alarms._check()
        assert self.timer == self.alarms.armed


def test_alarms_fire_in_the_order_of_their_times() -> None:
    """T2, whatever the order in which they were set; those of one time in that order."""
    loop, fired = Loop(), list[str]()

    def note(name: str) -> None:
        fired.append(f"{name} at {loop.now}")

    for name, when in [("c", 3), ("a", 1), ("b1", 2), ("d", 3.5), ("b2", 2)]:
        loop.alarms.add(when, partial(note, name))
        loop.check()
    assert len(loop.alarms) == 5
    loop.move(10)
    assert fired == ["a at 1", "b1 at 2", "b2 at 2", "c at 3", "d at 3.5"]
    assert len(loop.alarms) == 0
    assert loop.timer == inf


def test_a_cancelled_alarm_never_fires() -> None:
    """T3; cancelling is idempotent, and does nothing to one that has fired."""
    loop, fired = Loop(), list[int]()
    alarms = [loop.alarms.add(n, partial(fired.append, n)) for n in range(1, 6)]
    for place in (2, 0, 4, 0, 2):
        alarms[place].cancel()
        loop.check()
    assert loop.timer == 2
    assert len(loop.alarms) == 2
    loop.move(2)
    for alarm in alarms:
        alarm.cancel()
        loop.check()
    loop.move(10)
    assert fired == [2]


def test_the_timer_is_the_loops_only_one() -> None:
    """T1: it is set for the earliest, moved when an earlier one comes, and taken away with the last."""
    loop = Loop()
    late = loop.alarms.add(9, quiet)
    assert loop.timer == 9
    early = loop.alarms.add(4, quiet)
    loop.alarms.add(6, quiet).cancel()
    assert (loop.timer, loop.times_armed) == (4, 2)
    early.cancel()
    assert loop.timer == 9
    late.cancel()
    assert loop.timer == inf
    assert loop.alarms.heap == []


def test_never_is_never() -> None:
    """An alarm for infinity sets no timer."""
    loop, fired = Loop(), list[None]()
    alarm = loop.alarms.add(inf, lambda: fired.append(None))
    assert loop.timer == inf
    loop.alarms.add(1, quiet)
    loop.move(1e300)
    assert fired == []
    alarm.cancel()
    loop.check()


def test_what_is_past_already_fires_at_once() -> None:
    """The timer is set for the past, which every loop takes for its next turn."""
    loop, fired = Loop(), list[None]()
    loop.now = 5
    loop.alarms.add(-3, lambda: fired.append(None))
    assert loop.timer == -3
    loop.move(5)
    assert fired == [None]


def test_alarms_that_alarms_set_and_cancel() -> None:
    """Those due at the same time that are cancelled by one before them do not fire; those set then, afterwards."""
    loop, fired = Loop(), list[str]()
    others: list[Alarm] = []

    def first() -> None:
        fired.append("first")
        others[0].cancel()
        loop.alarms.add(1, lambda: fired.append("set for now"))
        loop.alarms.add(0, lambda: fired.append("set for the past"))
        loop.alarms.add(2, lambda: fired.append("set for later"))
        own.cancel()

    own = loop.alarms.add(1, first)
    others += [loop.alarms.add(1, lambda: fired.append("cancelled")), loop.alarms.add(1, lambda: fired.append("last"))]
    loop.move(1)
    assert fired == ["first", "last", "set for the past", "set for now"]
    loop.move(2)
    assert fired[4:] == ["set for later"]


class Broken(Exception):
    """What a bad callback raises."""


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit])
def test_one_that_raises_keeps_none_from_firing(error: type[BaseException]) -> None:
    """T3: the error comes out of the loop's callback, and the rest is due still."""
    loop, fired = Loop(), list[int]()

    def fail() -> None:
        fired.append(-1)
        dead.cancel()
        raise error

    loop.alarms.add(1, lambda: fired.append(0))
    loop.alarms.add(1, fail)
    dead = loop.alarms.add(1, lambda: fired.append(99))
    loop.alarms.add(1, lambda: fired.append(1))
    loop.alarms.add(3, lambda: fired.append(2))
    loop.now, loop.timer = 1.0, inf
    with pytest.raises(error):
        loop.alarms.fire()
    loop.check()
    assert (fired, loop.timer) == ([0, -1], 1)
    loop.move(5)
    assert fired == [0, -1, 1, 2]


def test_a_loop_may_be_early_by_the_resolution_of_its_clock() -> None:
    """asyncio takes what is due within one tick of its clock as due; so do the alarms."""
    loop, fired = Loop(), list[float]()
    loop.alarms.add(1, lambda: fired.append(loop.now))
    loop.ring(1 - EARLY / 2)
    assert fired == [loop.now]


def test_a_loop_that_is_early_by_more_is_asked_again() -> None:
    """A clock of whole milliseconds rounds: nothing fires before its time, and nobody asks more than once a tick."""
    loop, fired = Loop(), list[float]()
    loop.alarms.add(1.0004, lambda: fired.append(loop.now))
    loop.ring(1.0)
    assert fired == []
    assert loop.timer == 1.0 + TICK
    loop.ring(1.001)
    assert fired == [1.001]


def test_a_timer_that_fires_for_one_that_is_gone_takes_no_other_with_it() -> None:
    """It may be on its way when its alarm is cancelled: the next one waits for its own time."""
    loop, fired = Loop(), list[int]()
    first = loop.alarms.add(1, lambda: fired.append(1))
    second = loop.alarms.add(1000, lambda: fired.append(1000))
    first.cancel()
    loop.ring(1.0)
    assert (fired, loop.timer) == ([], 1000)
    second.cancel()
    loop.ring(1.0)
    assert (fired, loop.timer) == ([], inf)


def test_a_clock_that_goes_back_puts_alarms_off() -> None:
    """They fire when it says their time again."""
    loop, fired = Loop(), list[float]()
    loop.now = 10
    loop.alarms.add(11, lambda: fired.append(loop.now))
    loop.ring(5)
    assert (fired, loop.timer) == ([], 11)
    loop.move(11)
    assert fired == [11]


def test_pick_decides_among_those_of_one_time() -> None:
    """T2: it is asked as long as there is a choice, and never across times."""
    loop, fired, asked = Loop(), list[str](), list[int]()

    def last(options: Sequence[str]) -> int:
        assert len(set(options)) == len(options)
        asked.append(len(options))
        return len(options) - 1

    loop.alarms.pick = last
    for name in ("a1", "b1", "b2", "b3", "c1", "c2"):
        loop.alarms.add({"a": 1, "b": 2, "c": 3}[name[0]], partial(fired.append, name))
    loop.ring(3)
    assert fired == ["a1", "b3", "b2", "b1", "c2", "c1"]
    assert asked == [3, 2, 2]


@pytest.mark.parametrize("picked", [False, True])
def test_ten_thousand_of_one_time(picked: bool) -> None:
    """Drawing them one by one does not look at all of them each time."""
    loop, fired, looks = Loop(), list[int](), 0

    class Callback:
        def __init__(self, number: int) -> None:
            self.number = number

        def __getattr__(self, name: str) -> str:
            nonlocal looks
            looks += 1
            raise AttributeError(name)

        def __call__(self) -> None:
            fired.append(self.number)

    loop.alarms.pick = (lambda options: len(options) // 2) if picked else None
    for number in range(10_000):
        loop.alarms.add(1, Callback(number))
    loop.move(1)
    assert sorted(fired) == list(range(10_000))
    assert looks <= 10_000


class Number(float):
    """A time that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: object) -> bool:
        Number.compared += 1
        return float(self) < other  # type: ignore[operator]

    def __eq__(self, other: object) -> bool:
        Number.compared += 1
        return float(self) == other

    __hash__ = float.__hash__


@pytest.mark.parametrize("order", ["first", "last", "scattered"])
def test_setting_and_cancelling_costs_the_same_however_many_there_are(order: str) -> None:
    """The logarithm of their number at most, in comparisons, and the heap never holds more dead than living ones."""
    cost = dict[int, float]()
    for number in (1_000, 10_000):
        loop = Loop()
        Number.compared = 0
        alarms = [loop.alarms.add(Number(i * 7919 % number), quiet) for i in range(number)]
        match order:
            case "first":
                alarms.sort(key=lambda alarm: float(alarm.when))
            case "last":
                alarms.sort(key=lambda alarm: -float(alarm.when))
            case _:
                pass
        for alarm in alarms:
            alarm.cancel()
            assert len(loop.alarms.heap) <= 2 * len(loop.alarms) + SWEEP + 1
        assert loop.alarms.heap == []
        loop.check()
        cost[number] = Number.compared / number
    assert cost[10_000] < 3 * cost[1_000]


times = st.integers(0, 12).map(float) | st.sampled_from([inf, -1.0])
steps = st.lists(
    st.tuples(st.just("add"), times)
    | st.tuples(st.just("cancel"), st.integers(0, 40))
    | st.tuples(st.just("move"), st.integers(0, 3))
    | st.tuples(st.just("add that cancels"), times, st.integers(0, 40))
    | st.tuples(st.just("add that adds"), times, times)
    | st.tuples(st.just("fire for nothing")),
    max_size=60,
)


class Model:
    """Alarms as a list, from which the earliest is taken."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pending: list[tuple[float, int]] = []
        self.then: dict[int, tuple[Any, ...]] = {}
        self.fired: list[int] = []
        self.count = 0

    def add(self, when: float, *then: Any) -> None:
        self.pending.append((when, self.count))
        self.then[self.count] = then
        self.count += 1

    def cancel(self, number: int) -> None:
        self.pending = [entry for entry in self.pending if entry[1] != number]

    def move(self, to: float) -> None:
        while self.pending and min(self.pending)[0] <= to:
            self.now = max(self.now, min(self.pending)[0])
            for entry in sorted(entry for entry in self.pending if entry[0] <= self.now):
                if entry in self.pending:
                    self.pending.remove(entry)
                    self.fired.append(entry[1])
                    match self.then[entry[1]]:
                        case ("cancel", number):
                            self.cancel(number)
                        case ("add", when):
                            self.add(when)
                        case _:
                            pass
        self.now = to


@given(steps, st.booleans())
def test_alarms_agree_with_a_list(program: list[tuple[Any, ...]], swept: bool) -> None:
    """T1 after every step; what fires, and in which order, is what a sorted list says."""
    loop, model = Loop(), Model()
    if swept:  # most of the heap is dead, and about to be swept
        for alarm in [loop.alarms.add(500 + n, quiet) for n in range(SWEEP)][1:]:
            alarm.cancel()
    alarms, fired = list[Alarm](), list[int]()

    def add(when: float, *then: Any) -> None:
        number = len(alarms)

        def fn() -> None:
            fired.append(number)
            act(*then)

        alarms.append(loop.alarms.add(when, fn))

    def act(*step: Any) -> None:
        match step:
            case ("add", when):
                add(when)
            case ("cancel", number) if number < len(alarms):
                alarms[number].cancel()
            case _:
                pass

    for step in program:
        match step:
            case ("add", when):
                add(when)
                model.add(when)
            case ("cancel", number):
                act(*step)
                model.cancel(number)
            case ("move", seconds):
                model.move(loop.now + seconds)
                loop.move(loop.now + seconds)
            case ("add that cancels", when, number):
                add(when, "cancel", number)
                model.add(when, "cancel", number)
            case ("add that adds", when, later):
                add(when, "add", later)
                model.add(when, "add", later)
            case _ if loop.timer > loop.now + TICK:
                loop.alarms.fire()
            case _:
                pass
        loop.check()
        assert fired == model.fired


def test_check_finds_broken_alarms() -> None:
    """The executable invariants notice a wrong timer and a wrong count."""
    loop = Loop()
    loop.alarms.add(1, quiet)
    loop.alarms.armed = 2
    with pytest.raises(AssertionError, match="T1"):
        loop.alarms._check()
    loop.alarms.armed, loop.alarms.dead = 1, 1
    with pytest.raises(AssertionError, match="T1"):
        loop.alarms._check()


def test_repr_says_when() -> None:
    """And whether there is anything to come."""
    alarm = Loop().alarms.add(3, quiet)
    assert repr(alarm).startswith("<Alarm at 3 <function quiet")
    alarm.cancel()
    assert repr(alarm) == "<Alarm at 3 spent>"
