"""``merge_contexts``: done when the first of several is."""

from __future__ import annotations

from ._context import CancelContext, Context, check_context, derive


def merge_contexts(*contexts: Context) -> CancelContext:
    """A context that is done when the first of several is, with its ``err`` and ``cause``.

    Its deadline is their earliest; values are looked up in them in their order.

    Args:
        contexts: at least one.

    Raises:
        RuntimeError: they belong to several event loops or threads.
        TypeError: there is none, or one is no context.

    Go: what ``context.AfterFunc`` is used for to merge two.

    Example:
        >>> import gochan
        >>> request, server = gochan.background().with_cancel(), gochan.background().with_cancel()
        >>> both = gochan.merge_contexts(request, server)
        >>> server.cancel(KeyError("shut down"))
        >>> both.cause
        KeyError('shut down')
    """
    if not contexts:
        raise TypeError("merge_contexts() takes at least one context")
    for context in contexts:
        check_context(context, "merge_contexts()")
    return derive(contexts, "merge_contexts()")
