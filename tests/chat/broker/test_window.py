"""Which part of a room a page shows: all small cases, against a list that is sliced."""

from __future__ import annotations

import itertools

import pytest

from examples.chat.broker import Pos, Window
from examples.chat.broker.window import part


def expected(top: int, first: int, since: int | None, limit: int, reverse: bool) -> tuple[list[int], bool]:
    ever = list(range(1, top + 1))
    if since is not None and not 0 <= since <= top:
        return [], False
    if reverse:
        asked = [off for off in reversed(ever) if since is None or off < since]
        kept = [off for off in asked if off >= first]
    else:
        asked = [off for off in ever if since is None or off > since]
        kept = [off for off in asked if off >= first]
        if since is not None and kept != asked:
            return [], False
    return kept[:limit], kept[:limit] == asked


def test_every_small_case() -> None:
    """B5, for each top, window, position and limit up to 5."""
    for top, since, limit, reverse in itertools.product(range(6), [None, *range(-1, 8)], range(7), (False, True)):
        for first in range(1, top + 2):
            offsets, complete = part(Pos(top, "a"), first, None if since is None else Pos(since, "a"), limit, reverse)
            case = f"{top=} {first=} {since=} {limit=} {reverse=}"
            assert (list(offsets), complete) == expected(top, first, since, limit, reverse), case


def test_windows_that_make_no_sense() -> None:
    """A room must live as long as its messages and its keys."""
    for messages, seconds, room_seconds in ((-1, 600, 1200), (10, 0, 1200), (10, 1201, 1200), (10, 60, 299)):
        with pytest.raises(ValueError, match=r"kept|window"):
            Window(messages, seconds, room_seconds)
