"""What is public: the names of the package, and that each of them says what it is."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import typing
from pathlib import Path
from typing import Any

import pytest

import gochan

# The contract's part that is there: more will come, none of these may go.
CONTRACT = {
    *("BlockingChannel", "Cancelled", "Case", "Channel", "ChannelClosed", "ChannelStatistics", "ContextError"),
    *("DeadlineExceeded", "Event", "Goroutine", "Group", "ReceiveChannel", "Selectable", "SendChannel", "Signal"),
    *("go", "receive", "receive_ok", "run", "select", "send", "sleep", "try_select"),
}


def test_the_list_is_what_can_be_imported() -> None:
    """Nothing in the package's namespace is public and unlisted; modules are private."""
    own = {name for name, value in vars(gochan).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert own - {"annotations"} == set(gochan.__all__)


def test_the_contract_s_names_are_there() -> None:
    """And ``from gochan import *`` brings them."""
    assert set(gochan.__all__) >= CONTRACT
    namespace: dict[str, Any] = {}
    exec("from gochan import *", namespace)
    assert set(gochan.__all__) <= set(namespace)


def test_select_is_the_function() -> None:
    """No module shadows a name: that is why the modules have private names."""
    for module in pkgutil.iter_modules(gochan.__path__):
        assert module.name not in gochan.__all__
    assert callable(gochan.select)
    importlib.import_module("gochan._select")
    assert callable(gochan.select)


def test_the_front_door_holds_nothing_else() -> None:
    """Imports under their own names and the list."""
    tree = ast.parse(Path(str(gochan.__file__)).read_text("utf-8"))
    for node in tree.body:
        match node:
            case ast.ImportFrom(names=names):
                assert all(name.asname in {None, name.name} for name in names)
            case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.Expr(value=ast.Constant()):
                pass
            case _:
                pytest.fail(f"line {node.lineno} of __init__.py is neither an import nor the list")


@pytest.mark.parametrize("name", gochan.__all__)
def test_annotations_resolve(name: str) -> None:
    """``typing.get_type_hints`` works on everything public: nothing hides behind TYPE_CHECKING."""
    value = getattr(gochan, name)
    members = [value] if inspect.isfunction(value) else [m for m in vars(value).values() if inspect.isfunction(m)]
    for member in members:
        if getattr(member, "__module__", "").startswith("gochan"):
            typing.get_type_hints(member)


def test_what_is_final() -> None:
    """Channels and groups are not made to be derived from; a user's own primitive delegates."""
    for value in (gochan.Channel, gochan.Group, gochan.BlockingChannel):
        assert getattr(value, "__final__", False), value
