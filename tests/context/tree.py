"""What the tests of contexts share: a look inside."""

from __future__ import annotations

from typing import Any

from gochan import Context


def node_of(ctx: Context) -> Any:
    return ctx._node


def remembered(ctx: Context) -> int:
    """How much the context keeps for when it ends: those below it, and functions."""
    node = node_of(ctx)
    return len(node.children or ()) + len(node.hooks or ())


def check(*contexts: Context) -> None:
    """The invariants of these nodes."""
    for ctx in contexts:
        node_of(ctx)._check()
