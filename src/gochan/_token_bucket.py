"""A token bucket, with Go's arithmetic to the last bit.

Shape
    ``tokens`` at the moment ``last``; they grow by ``rate`` a second, up to ``burst``. A grant takes its tokens at
    once, below zero if need be, and may be used at the moment at which the bucket has made up for them. So a bucket is
    a queue without a list: the debt is the line in front of whoever comes next.
    Moments and durations are whole nanoseconds, tokens are floats, and every rounding is where Go has it.

Invariants
    TB1  There are never more tokens than ``burst`` (after the bucket was filled up to now).
    TB2  A request that is refused changes nothing.
    TB3  A clock that goes back gives no tokens and takes none.
    TB4  A grant is given back at most once. (In Go a second Cancel adds its tokens again.)

Why not
    Tokens as whole numbers or fractions: exact, but the grants would then differ from Go's in the last nanosecond.

Prior art
    golang.org/x/time/rate.
"""

from __future__ import annotations

import math
from typing import Final

from ._clocked import FOREVER
from ._core.driver import uninterruptible

SECOND: Final = 1_000_000_000
_LEAST: Final = -FOREVER - 1  # the shortest duration
_LONG_AGO: Final = -(2**80)  # Go's zero time: before every moment


class Grant:
    """Tokens that were taken, and when they may be used."""

    __slots__ = ("at", "n", "rate", "returned")

    def __init__(self, n: int, at: int, rate: float) -> None:
        self.n = n
        self.at = at
        self.rate = rate  # when it was granted; it may have changed since
        self.returned = False


class TokenBucket:
    """How many tokens there are, and when there will be more."""

    __slots__ = ("burst", "last", "last_event", "rate", "tokens")

    def __init__(self, rate: float, burst: int, tokens: float) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = tokens
        self.last: int | None = None  # the clock has not been started
        self.last_event = _LONG_AGO  # the moment of the latest grant, past or future

    def filled(self, now: int) -> float:
        """The tokens there are now."""
        last = self.last
        if last is None:
            self.last = last = now
        tokens = self.tokens
        if now > last:  # TB3
            tokens += tokens_in(min(now - last, FOREVER), self.rate)
        return tokens if tokens < self.burst else float(self.burst)

    @uninterruptible
    def take(self, now: int, n: int, patience: int) -> int | None:
        """Take ``n`` tokens if they can be used within ``patience``: from when on."""
        rate = self.rate
        if rate == math.inf:
            return now
        tokens = self.filled(now)
        if n > self.burst:
            return None
        tokens -= n
        delay = time_for(-tokens, rate) if tokens < 0 else 0
        if delay > patience:
            return None
        self.last = now
        self.tokens = tokens
        self.last_event = at = now + delay
        return at

    def grant(self, now: int, n: int, patience: int) -> Grant | None:
        """``take``, for those who may give it back."""
        at = self.take(now, n, patience)
        return None if at is None else Grant(n, at, self.rate if self.rate != math.inf else 0.0)

    @uninterruptible
    def give_back(self, grant: Grant, now: int) -> None:
        """Undo a grant that was not used, but for what was granted after it and counts on it."""
        if grant.returned or self.rate == math.inf or grant.n == 0 or grant.at < now:
            return
        later = max(_LEAST, min(self.last_event - grant.at, FOREVER))
        restored = grant.n - tokens_in(later, grant.rate)
        if restored <= 0:
            return
        self.tokens = min(self.filled(now) + restored, float(self.burst))
        self.last = now
        grant.returned = True  # TB4
        if grant.at == self.last_event:
            before = grant.at + time_for(float(-grant.n), grant.rate)
            if before >= now:
                self.last_event = before

    def set_rate(self, now: int, rate: float) -> None:
        """From now on; grants keep their moments."""
        self._settle(now)
        self.rate = rate

    def set_burst(self, now: int, burst: int) -> None:
        """From now on; grants keep their moments."""
        self._settle(now)
        self.burst = burst

    @uninterruptible
    def _settle(self, now: int) -> None:
        self.tokens = self.filled(now)
        self.last = now

    def _check(self) -> None:
        assert not math.isnan(self.tokens), "TB1: no number"
        assert self.last is None or self.filled(self.last) <= self.burst, "TB1: more tokens than the bucket holds"


def tokens_in(duration: int, rate: float) -> float:
    """How many tokens come in so many nanoseconds."""
    if rate <= 0 or duration == 0:  # (nothing times infinity would be no number)
        return 0.0
    # Whole seconds and the rest, each rounded by itself, as Duration.Seconds() has it; towards zero.
    if 0 <= duration < SECOND:
        return duration / 1e9 * rate
    seconds, rest = divmod(abs(duration), SECOND)
    total = seconds + rest / 1e9
    return (total if duration >= 0 else -total) * rate


def time_for(tokens: float, rate: float) -> int:
    """In how many nanoseconds so many tokens come."""
    if rate <= 0:
        return FOREVER
    duration = tokens / rate * 1e9
    if duration >= FOREVER:
        return FOREVER
    return int(duration) if duration > _LEAST else _LEAST


def rate_of(duration: int) -> float:
    """Tokens a second, at one in so many nanoseconds."""
    seconds, rest = divmod(duration, SECOND)
    return 1 / (seconds + rest / 1e9)
