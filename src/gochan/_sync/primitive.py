"""What the primitives of this package have in common: a state that stays where it is, and says how it is."""

from __future__ import annotations

from typing import Any, NoReturn

from gochan._core.driver import LoopBound


class Primitive:
    """The public face of a state that goroutines wait on."""

    __slots__ = ("__weakref__", "_state")

    _state: Any  # a LoopBound, each its own

    def __repr__(self) -> str:
        return repr(self._state)

    def __reduce__(self) -> NoReturn:
        # A copy would share the state, or have waiters that nobody can wake. Go's vet says the same ("copies lock").
        raise TypeError(f"{self!r} cannot be copied or pickled: goroutines wait on this very object; pass it itself")


def misused(what: str, why: str, state: LoopBound) -> RuntimeError:
    """The error of giving back what is not held."""
    return RuntimeError(f"{what}: {why}: {state!r}; every release needs an acquire before it")
