"""Random sequences at a limiter, compared step by step with a model that keeps its whole history and no state.

The model has exact fractions instead of floats, folds everything that ever happened anew for each question, and rounds
nothing but the delays, down to whole nanoseconds. Where a decision hangs by a billionth of a token it follows ours.
"""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

from gochan import Limiter, Reservation

HAIR = Fraction(1, 10**9)
RATES = [0.5, 1, 2, 7.3, 10, 33.3, 1000, 0, math.inf]


class Model:
    """What happened: (time, change of tokens, rate from then on, burst from then on)."""

    def __init__(self, rate: float, burst: int, tokens: float) -> None:
        self.events: list[tuple[int, Fraction, float, int]] = []
        self.start = (Fraction(tokens), rate, burst)
        self.latest = -math.inf  # when the latest grant is due

    def tokens(self, now: int) -> Fraction:
        level, rate, burst = self.start
        before: int | None = None
        for time, change, new_rate, new_burst in [*self.events, (now, Fraction(0), self.rate, self.burst)]:
            if before is not None and time > before:
                level = Fraction(burst) if rate == math.inf else level + Fraction(time - before, 10**9) * Fraction(rate)
            level = min(level, Fraction(burst)) + change
            rate, burst, before = new_rate, new_burst, time
        return min(level, Fraction(self.burst))

    @property
    def rate(self) -> float:
        return self.events[-1][2] if self.events else self.start[1]

    @property
    def burst(self) -> int:
        return self.events[-1][3] if self.events else self.start[2]

    def change(self, now: int, tokens: Fraction, rate: float | None = None, burst: int | None = None) -> None:
        self.events.append((now, tokens, self.rate if rate is None else rate, self.burst if burst is None else burst))

    def delay(self, now: int, n: int) -> int:
        debt = n - self.tokens(now)
        if debt <= 0 or self.rate == math.inf:
            return 0
        return 2**63 - 1 if self.rate == 0 else min(math.floor(debt / Fraction(self.rate) * 10**9), 2**63 - 1)

    def took(self, now: int, n: int, due: int) -> None:
        if self.rate != math.inf:
            self.change(now, Fraction(-n))
            self.latest = due

    def gave_back(self, now: int, n: int, due: int, rate: float) -> bool:
        if self.rate == math.inf or n == 0 or due < now:
            return False
        after = Fraction(0) if math.isinf(self.latest) else Fraction(self.latest) - due
        restored = n - after / 10**9 * Fraction(rate)
        if restored <= 0:
            return False
        self.change(now, restored)
        if due == self.latest:  # at a rate of 0 it moves on, as in Go
            moved = due + (2**63 - 1 if rate == 0 else -math.floor(Fraction(n) / Fraction(rate) * 10**9))
            self.latest = moved if moved >= now else self.latest
        return True


class Play:
    """Both of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0
        rate, burst = self.random.choice(RATES), self.random.randrange(1, 6)
        tokens = self.random.choice([0, burst, burst / 2])
        self.limiter = Limiter(rate, burst, tokens=tokens, clock=lambda: self.now / 1e9)
        self.model = Model(rate, burst, tokens)
        self.model.change(0, Fraction(0))
        self.granted: list[tuple[Reservation, int, int, float]] = []
        assert self.limiter.tokens == tokens

    def step(self) -> None:
        draw, model = self.random, self.model
        self.now += draw.choice([0, 0, 10**8, 5 * 10**8, draw.randrange(10**9), draw.randrange(10**7)])
        if draw.random() < 0.03:
            self.now = max(0, self.now - draw.randrange(10**9))
            if model.events and self.now < model.events[-1][0]:
                self.settle()
        n = draw.randrange(5)
        match draw.choice(["allow", "allow", "reserve", "reserve", "reserve", "cancel", "rate", "burst"]):
            case "allow":
                expected = model.rate == math.inf or (n <= model.burst and n <= model.tokens(self.now))
                close = abs(model.tokens(self.now) - n) < HAIR
                allowed = self.limiter.allow(n)
                assert allowed == expected or close
                if allowed:
                    model.took(self.now, n, self.now)
            case "reserve":
                reservation = self.limiter.reserve(n)
                assert reservation.ok == (model.rate == math.inf or n <= model.burst)
                if reservation.ok:
                    delay = round(reservation.delay * 1e9)
                    assert delay == pytest.approx(model.delay(self.now, n), abs=2 + 10 / (model.rate or math.inf))
                    rate = 0 if model.rate == math.inf else model.rate
                    assert reservation._grant is not None
                    self.granted.append((reservation, n, reservation._grant.at, rate))
                    model.took(self.now, n, reservation._grant.at)
            case "cancel" if self.granted:
                which = draw.randrange(len(self.granted))
                reservation, *grant = self.granted.pop(which)
                reservation.cancel()
                model.gave_back(self.now, *grant)
            case "rate":
                rate = draw.choice(RATES)
                self.limiter.set_rate(rate)
                model.change(self.now, Fraction(0), rate=rate)
            case "burst":
                burst = draw.randrange(6)
                self.limiter.set_burst(burst)
                model.change(self.now, Fraction(0), burst=burst)
            case _:
                pass
        assert self.limiter.tokens == pytest.approx(float(model.tokens(self.now)), abs=1e-6)
        self.limiter._state._check()

    def settle(self) -> None:
        """A clock that went back: time begins anew, with what there was."""
        model, last = self.model, self.model.events[-1][0]
        level, rate, burst = model.tokens(last), model.rate, model.burst
        model.events = [(self.now, Fraction(0), rate, burst)]
        model.start = (level, rate, burst)
        self.limiter.set_burst(burst)  # this notes the time


@pytest.mark.parametrize("seed", range(8))
def test_sequences(seed: int) -> None:
    """Three hundred steps: grants, delays, tokens."""
    play = Play(seed)
    for _ in range(300):
        play.step()
