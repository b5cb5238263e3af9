"""The semaphore's state machine, without a loop: random programs against the rules, and long chains."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gochan import Semaphore
from gochan._core.driver import NOWHERE
from gochan._core.waiter import PARKED
from gochan._sync.semaphore import TOO_LARGE, _AcquireCase

from .places import Place


@pytest.mark.parametrize("count", [1, 2, 2000])
def test_a_long_chain_of_selects(count: int) -> None:
    """Each keeps the next one out, by a large request elsewhere; one who leaves sets all of them going, not deeply."""
    log, size = list[Any](), 20_000
    states = [Semaphore(size)._state for _ in range(count)]
    for state in states:
        state.held = 1
    first = Place("first", log).stand(states[0].waiting(NOWHERE), size)
    for number in range(10_000):
        here, there = states[number % count], states[(number + 1) % count]
        Place(number, log).select(_AcquireCase(here, 1), _AcquireCase(there, size))
    assert log == []
    first.give_up()
    for state in states:
        state._check()
    assert log == list(range(10_000))


@pytest.mark.parametrize("seed", range(20))
def test_the_state_machine_against_the_rules(seed: int) -> None:
    """S1 to S3 after every step of a random program, and everybody goes when and in the order the rules say."""
    rng = random.Random(seed)
    semaphore, log, expected = Semaphore(5), list[Any](), list[Any]()
    state = semaphore._state
    waiting = list[tuple[int, tuple[int, ...]]]()
    places = dict[int, Place]()
    held = 0

    def let_in(size: int | None = None) -> None:
        nonlocal held
        size = state.size if size is None else size
        while waiting:
            number, amounts = waiting[0]
            fitting = [n for n in amounts if held + n <= size]
            if not fitting:
                return
            held += fitting[0]
            expected.append(number)
            waiting.pop(0)

    for number in range(300):
        match rng.choice(["ask", "ask", "select", "release", "release", "leave", "resize"]):
            case "ask" if state.size:
                n = rng.randint(0, state.size)
                if state.fits(n):
                    assert not waiting
                    state.held += n
                    held += n
                else:
                    waiting.append((number, (n,)))
                    places[number] = Place(number, log).stand(state.waiting(NOWHERE), n)
            case "select" if state.size:
                amounts = tuple(rng.randint(1, state.size) for _ in range(2))
                if not any(map(state.fits, amounts)):
                    waiting.append((number, amounts))
                    places[number] = Place(number, log).select(*map(semaphore.acquiring, amounts))
            case "release" if held:
                n = rng.randint(1, held)
                held -= n
                let_in()
                state.release(n)
            case "leave":
                parked = [place for place in places.values() if place.state == PARKED]
                if parked:
                    leaver = rng.choice(parked)
                    waiting = [one for one in waiting if one[0] != leaver.name]
                    let_in()
                    leaver.give_up()
            case "resize":
                size = rng.randint(0, 7)
                refused = [one for one, amounts in waiting if max(amounts) > size]
                waiting = [one for one in waiting if one[0] not in refused]
                let_in(size)
                state.resize(size)
                for one in refused:
                    got = places[one].got[0]
                    assert got is TOO_LARGE or got[1] is TOO_LARGE
                    log.remove(one)
            case _:
                pass
        state._check()
        assert log == expected
        assert state.held == held
