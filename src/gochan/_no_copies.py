"""What goroutines wait on is one object, and stays one."""

from __future__ import annotations

from typing import NoReturn


def no_copies(self: object) -> NoReturn:
    """The ``__reduce__`` of everything that is waited on; copy and pickle go through it.

    A copy would share the state of the original, or have waiters that nobody can wake. Go's vet says the same.
    """
    raise TypeError(f"{self!r} cannot be copied or pickled: goroutines wait on this very object; pass it itself")
