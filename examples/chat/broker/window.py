"""How much of a room is kept, and which part of it a page of history shows. Arithmetic of offsets, no storage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..wire.commands import Pos
from .base import KEY_SECONDS


@dataclass(frozen=True, slots=True)
class Window:
    """How much of each room is kept."""

    messages: int = 1000
    """The latest so many …"""
    seconds: float = 3600.0
    """… that are not older than this."""
    room_seconds: float = 86400.0
    """How long a room that nobody speaks in or listens to keeps its numbers."""

    def __post_init__(self) -> None:
        if self.messages < 0:
            raise ValueError(f"a window is a number of messages, not {self.messages}")
        if not 0 < self.seconds <= self.room_seconds < math.inf or self.room_seconds < KEY_SECONDS:
            raise ValueError(
                f"messages are kept for 0 to room_seconds, rooms for at least {KEY_SECONDS:g} seconds; "
                f"not {self.seconds:g} and {self.room_seconds:g}"
            )


def part(top: Pos, first: int, since: Pos | None, limit: int, reverse: bool) -> tuple[range, bool]:
    """The offsets that ``Broker.history`` gives, in its order, and whether the page is complete.

    Args:
        first: the oldest offset that is kept; one above ``top`` when none is.
    """
    if limit < 0:
        raise ValueError(f"a limit is a number of messages, not {limit}")
    if since is not None and (since.ep != top.ep or not 0 <= since.off <= top.off):
        return range(0), False
    if reverse:
        start = top.off if since is None else since.off - 1
        end = max(start - limit, first - 1)
        return range(start, end, -1), start < 1 or end < 1
    before = first - 1 if since is None else since.off
    if before < first - 1:
        return range(0), False
    end = min(before + limit, top.off)
    return range(before + 1, end + 1), end == top.off and (since is not None or before == 0)
