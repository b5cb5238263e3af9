"""The canary for the names of anyio that goroutines are made members of scopes with."""

from __future__ import annotations

from importlib.metadata import version

from gochan._core import scopes


def test_the_names_of_anyio_are_there() -> None:
    """This anyio has what ``scopes`` uses; without it a shield inside a goroutine would not hold."""
    assert scopes.AVAILABLE, f"anyio {version('anyio')} moved the scope table: see gochan/_core/scopes.py"
