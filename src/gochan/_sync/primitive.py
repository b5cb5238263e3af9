"""What the primitives of this package have in common: a state that stays where it is, and says how it is."""

from __future__ import annotations

from typing import Any

from gochan._core.driver import LoopBound
from gochan._no_copies import no_copies


class Primitive:
    """The public face of a state that goroutines wait on."""

    __slots__ = ("__weakref__", "_state")

    _state: Any  # a LoopBound, each its own

    def __repr__(self) -> str:
        return repr(self._state)

    __reduce__ = no_copies


def misused(what: str, why: str, state: LoopBound) -> RuntimeError:
    """The error of giving back what is not held."""
    return RuntimeError(f"{what}: {why}: {state!r}; every release needs an acquire before it")
