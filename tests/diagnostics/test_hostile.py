"""Things that cannot be looked into, or that fail when they are: a dump is asked for when all is lost already."""

from __future__ import annotations

import functools
from collections.abc import Coroutine
from typing import Any

import anyio
from tests.diagnostics.looking import seen

import gochan
from gochan.diagnostics._goroutines import _label


class Compiled(Coroutine[Any, Any, None]):
    """A coroutine as a compiled one may be: without a frame, and without a word of what it awaits."""

    cr_running = False  # anyio asks for these two
    cr_suspended = True

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self.inner = inner

    def send(self, value: Any) -> Any:
        return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.inner.send(None)


async def test_coroutine_without_a_frame() -> None:
    """A task whose coroutine cannot be looked into is in "await"."""

    @functools.wraps(anyio.sleep)
    def compiled() -> Compiled:
        return Compiled(gochan.Channel[int]().receive())

    said = await seen(compiled)
    assert said.state == "await"
    assert said.waiting_on == ()


def test_label_of_what_cannot_be_shown() -> None:
    """A primitive whose repr fails is named by its type, one whose name fails by its repr."""

    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

        @property
        def name(self) -> str:
            raise ValueError

    class Nameless:
        name = 7

        def __repr__(self) -> str:
            return "<Nameless>"

    assert _label(Broken()) == "<Broken: its repr raised ZeroDivisionError>"
    assert _label(Nameless()) == "<Nameless>"
