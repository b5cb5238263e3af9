"""Letting in those who wait, where one who leaves may let others go, and those may be elsewhere again.

A grant to a select takes the select's other entries out of their queues, which may let in those who stood behind them,
which may be selects again. Done where it is noticed, a long chain of these would go as deep as it is long, and who is
let in by a grant would be woken before whom the grant was for. So what has to be looked at is noted, and looked at one
after the other.

Why not
    A flag in each primitive, which ends the chain within one, but not across a thousand of them.
"""

from __future__ import annotations

from collections import deque
from threading import local
from typing import Final, Protocol

from gochan._core.driver import uninterruptible


class Settles(Protocol):
    """A primitive's state that lets in whoever can be let in."""

    def let_in(self) -> None:
        """Grant what can be granted, first come, first served."""
        ...


class _Unsettled(local):
    """What this thread still has to look at; ``None`` while it is not at it."""

    states: deque[Settles] | None = None


_unsettled: Final = _Unsettled()


@uninterruptible
def settle(state: Settles) -> None:
    """Have ``state`` let in whoever can be let in: now, or after the grant that is being made."""
    states = _unsettled.states
    if states is not None:
        states.append(state)
        return
    _unsettled.states = states = deque((state,))
    try:
        while states:
            states.popleft().let_in()
    finally:
        _unsettled.states = None
