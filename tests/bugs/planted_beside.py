"""Bugs planted beside the channel, in what ``explore`` cannot judge by one schedule: in select's choice, in timers.

A choice is judged by how often each ready case wins, over many trials in an order drawn from a seed; a timer by when
the clock of a program stands still that has nothing left to wait for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from gochan import Channel, Timer, go, select, send, sleep, try_select
from gochan._core.driver import current_driver
from gochan._core.waitqueue import EMPTY, WaitQueue, WatchedQueue
from gochan._timers import _TimerState
from gochan.diagnostics import Deadlock
from gochan.testing import run, wait_idle

from .measure import Backend

Choose = Callable[..., Awaitable[tuple[int, object]]]

TRIALS = 300
UNLIKELY = {1: 23.93, 2: 27.63}
"""What a fair choice's chi-square exceeds once in a million times, by degrees of freedom."""


# select.


async def first_ready_wins(*cases: Any) -> tuple[int, object]:
    """The choice is no choice."""
    return await select(*cases, priority=True)


async def first_is_favoured(*cases: Any) -> tuple[int, object]:
    """The random number is not uniform."""
    driver = current_driver()
    assert driver is not None
    fair = driver.random
    driver.random = lambda: fair() ** 2
    try:
        return await select(*cases)
    finally:
        driver.random = fair


async def last_never_wins(*cases: Any) -> tuple[int, object]:
    """An interval that is one too short."""
    driver = current_driver()
    assert driver is not None
    fair = driver.random
    driver.random = lambda: fair() * (1 - 1 / len(cases))
    try:
        return await select(*cases)
    finally:
        driver.random = fair


async def first_published_wins(*cases: Any) -> tuple[int, object]:
    """Fair among what is ready, but entries are always published in the order of the cases."""
    return try_select(*cases) or await select(*cases, priority=True)


async def all_ready(choose: Choose) -> int:
    """Three channels with a value each."""
    channels = [Channel[int](1) for _ in range(3)]
    for channel in channels:
        channel.send_nowait(0)
    return (await choose(*channels))[0]


async def both_directions(choose: Choose) -> int:
    """A place for one to send, a value for one to receive."""
    full, free = Channel[int](1), Channel[int](1)
    full.send_nowait(0)
    return (await choose(send(free, 1), full))[0]


async def both_partners_wait(choose: Choose) -> int:
    """Rendezvous, with somebody at the other end of each."""
    first, second = Channel[int](), Channel[int]()
    senders = go(first.send, 1), go(second.send, 2)
    await wait_idle()
    number, _ = await choose(first, second)
    for sender in senders:
        sender.cancel()
    return number


async def one_channel_twice(choose: Choose) -> int:
    """Nobody is there yet, so a sender will take whichever entry stands first."""
    channel = Channel[int]()

    async def sends() -> None:
        await sleep(1)
        await channel.send(1)

    go(sends)
    return (await choose(channel, channel))[0]


SCENES = {all_ready: 3, both_directions: 2, both_partners_wait: 2, one_channel_twice: 2}


def unfair(choose: Choose, backend: Backend, seed: int = 0) -> str | None:
    """Where the choice is not a fair one."""

    async def main() -> str | None:
        for scene, cases in SCENES.items():
            wins = Counter([await scene(choose) for _ in range(TRIALS)])
            fair = TRIALS / cases
            chi_square = sum((wins[case] - fair) ** 2 / fair for case in range(cases))
            if chi_square > UNLIKELY[cases - 1]:
                return f"{scene.__name__}: {dict(sorted(wins.items()))}"
        return None

    return run(main, backend=backend, seed=seed)


# Timers.


class LeftBehind(Timer):
    """The alarm of a timer that lost a select stays in the loop."""

    __slots__ = ()

    class State(_TimerState):
        __slots__ = ()

        def adjust(self) -> None:
            if self.waiters.head is not None:
                super().adjust()

        def fire(self) -> None:
            if self.waiters.head is not None:
                super().fire()

    def __init__(self, seconds: float) -> None:
        self._state = self.State(seconds)


class Dropped(Timer):
    """Whoever stops waiting takes the alarm of those along who still wait."""

    __slots__ = ()

    class State(_TimerState):
        __slots__ = ()

        def waiting(self) -> WaitQueue:
            if self.waiters is EMPTY:
                self.waiters = WatchedQueue(self.forget)
            return self.waiters

        def forget(self) -> None:
            if self.alarm is not None:
                self.alarm.cancel()

    def __init__(self, seconds: float) -> None:
        self._state = self.State(seconds)


def late(kind: type[Timer], backend: Backend, seed: int | None = None) -> str | None:
    """Whether a program that is stuck after one second, though a timer was waited for, stands at another time."""
    stood: list[float] = []

    async def main() -> None:
        try:
            timer, answer = kind(3600), Channel[int]()

            async def answers() -> None:
                await sleep(1)
                await answer.send(1)

            go(answers)
            number, _ = await select(timer, answer)
            assert number == 1
            await Channel[int]().receive()
        finally:
            stood.append(anyio.current_time())

    with pytest.raises(Deadlock):
        run(main, backend=backend, seed=seed)
    return None if stood == [1] else f"the clock stands at {stood}"


def lost(kind: type[Timer], backend: Backend, seed: int | None = None) -> str | None:
    """Whether somebody who waits for a timer does not get it, because somebody else has given up."""

    async def main() -> float:
        timer = kind(3600)

        async def gives_up() -> None:
            with anyio.move_on_after(1):
                await timer.wait()

        go(gives_up)
        return await timer.wait()

    try:
        due = run(main, backend=backend, seed=seed)
    except Deadlock:
        return "nobody gets it"
    return None if due == 3600 else f"it came at {due}"


@dataclass(frozen=True)
class Beside:
    """One of them, and what shows it."""

    name: str
    look: Callable[[Any, Backend, int], str | None]
    kind: Any

    def seen(self, backend: Backend, seed: int = 0) -> str | None:
        return self.look(self.kind, backend, seed)


PLANTED_BESIDE = [
    Beside("FirstReadyWins", unfair, first_ready_wins),
    Beside("FirstIsFavoured", unfair, first_is_favoured),
    Beside("LastNeverWins", unfair, last_never_wins),
    Beside("FirstPublishedWins", unfair, first_published_wins),
    Beside("TimerLeftBehind", late, LeftBehind),
    Beside("TimerDropped", lost, Dropped),
]

SOUND_BESIDE = [
    Beside("select", unfair, select),
    Beside("a late timer", late, Timer),
    Beside("a lost timer", lost, Timer),
]
"""What is there, looked at in the same ways."""
