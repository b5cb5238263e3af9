"""Shrinking: from a schedule that fails to a smaller one that fails in the same way.

Shape
    A schedule is a list of answers in which 0 is what a calm world would do. Passes that leave out chunks (delete),
    set chunks to 0 (zero), and make single answers smaller (lower) are repeated until none of them helps, or the
    tries are used up. What counts is, in this order: few answers other than 0, which is few surprises for the reader;
    small ones; a short list.

    Before that, half of the tries go to schedules that are simple from the beginning: most bugs need one turn taken
    at the right moment, and from a noisy schedule the way down to it often ends on a ledge.

    A candidate is a wish: the run may ask other questions. So what is kept is what the run really answered, and only
    if that is smaller; every step forward makes the measure smaller, so this ends.

    The bound is a number of tries, not a time: the result must be the same on every machine.

Prior art: delta debugging (Zeller and Hildebrandt), Hypothesis' shrinker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ._token import trimmed

TRIES: Final = 400

Values = list[int]


def shrink(
    values: Values,
    attempt: Callable[[Values], Values | None],
    tries: int = TRIES,
    simple: Iterable[Values] = (),
) -> Values:
    """The smallest schedule found that fails in the same way.

    Args:
        attempt: runs a schedule; what it really answered, or None if it did not fail in the same way.
        simple: schedules to try first, the simplest first.
    """
    shrinking = _Shrinking(values, attempt, tries)
    shrinking.leap(simple, tries // 2)
    before = None
    while before != shrinking.best:
        before = shrinking.best
        shrinking.zero()
        shrinking.delete()
        shrinking.lower()
    return shrinking.best


class _Shrinking:
    def __init__(self, values: Values, attempt: Callable[[Values], Values | None], tries: int) -> None:
        self.best = trimmed(values)
        self.attempt = attempt
        self.tries = tries
        self.seen = {tuple(self.best)}

    def leap(self, simple: Iterable[Values], spare: int) -> None:
        for candidate in simple:
            if self.tries <= spare or _size(candidate) >= _size(self.best) or self._try(candidate):
                break

    def zero(self) -> None:
        # Zeros are no news: chunks of the answers that are something.
        loud = self._loud()
        size = len(loud)
        while size:
            end = len(loud)  # the end first, which disturbs the rest least
            while end > 0:
                candidate = self.best.copy()
                for at in loud[max(end - size, 0) : end]:
                    candidate[at] = 0
                self._try(candidate)
                loud = self._loud()
                end = min(end - size, len(loud))
            size //= 2

    def delete(self) -> None:
        size = len(self.best)
        while size:
            end = len(self.best)
            while end > 0:
                self._try(self.best[: max(end - size, 0)] + self.best[end:])
                end = min(end - size, len(self.best))
            size //= 2

    def lower(self) -> None:
        for at in self._loud():
            if at < len(self.best):
                value = self.best[at]
                for lower in dict.fromkeys((1, value // 2, value - 1)):
                    if 0 < lower < value and self._try([*self.best[:at], lower, *self.best[at + 1 :]]):
                        break

    def _loud(self) -> list[int]:
        return [at for at, value in enumerate(self.best) if value]

    def _try(self, candidate: Values) -> bool:
        candidate = trimmed(candidate)
        if tuple(candidate) in self.seen or not self.tries:
            return False
        self.tries -= 1
        self.seen.add(tuple(candidate))
        answered = self.attempt(candidate)
        if answered is None:
            return False
        answered = trimmed(answered)
        if _size(answered) >= _size(self.best):
            return False
        self.best = answered
        self.seen.add(tuple(answered))
        return True


def _size(values: Values) -> tuple[int, int, int, Values]:
    return sum(map(bool, values)), sum(values), len(values), values
