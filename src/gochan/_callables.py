"""Which callables can be started as goroutines, and what is said about the others."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from functools import partial
from types import CoroutineType
from typing import Any, Final

_CO_COROUTINE: Final = inspect.CO_COROUTINE


def _call_of(fn: Any) -> Any:
    return getattr(fn.__class__, "__call__", None)  # noqa: B004  # the method itself is wanted


def _is_async(fn: Any) -> bool:
    if isinstance(fn, partial):
        return _is_async(fn.func)
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(_call_of(fn)):
        return True
    wrapped = getattr(fn, "__wrapped__", None)  # a decorator around an async function
    return wrapped is not None and _is_async(wrapped)


def refuse_plain(fn: Any, asker: str) -> None:
    """Raise a TypeError that says what to do, unless ``fn`` is an async function."""
    code = getattr(fn, "__code__", None)
    if code is None or not code.co_flags & _CO_COROUTINE:
        if inspect.iscoroutine(fn):
            fn.close()
            raise TypeError(f"{asker} takes an async function and its arguments, not a coroutine: leave out the call")
        if not callable(fn):
            raise TypeError(f"{asker} takes an async function, not {fn!r}")
        if not _is_async(fn):
            raise TypeError(
                f"{asker} takes an async function and {fn!r} is a plain one: make it async, or run it in a thread "
                "with anyio.to_thread.run_sync"
            )


def coroutine_of(fn: Any, args: tuple[Any, ...], asker: str) -> Coroutine[Any, Any, Any]:
    """Call an async function; a plain one is refused before it runs."""
    code = getattr(fn, "__code__", None)
    if code is None or not code.co_flags & _CO_COROUTINE:
        refuse_plain(fn, asker)
    coroutine: Any = fn(*args)
    if type(coroutine) is CoroutineType or isinstance(coroutine, Coroutine):
        return coroutine  # pyright: ignore[reportUnknownVariableType]  # what it yields is its own affair
    raise TypeError(f"{asker} takes an async function, but {fn!r} returned {coroutine!r}")


def refuse_uncallable(fn: Any, asker: str) -> None:
    """Raise a TypeError unless ``fn`` is a function; for those who take plain ones and async ones."""
    if inspect.iscoroutine(fn):
        fn.close()
        raise TypeError(f"{asker} takes a function and its arguments, not a coroutine: leave out the call")
    if not callable(fn):
        raise TypeError(f"{asker} takes a function, not {fn!r}")


def is_coroutine(value: object) -> bool:
    """Whether a call has to be awaited; any other awaitable is a value."""
    return type(value) is CoroutineType or isinstance(value, Coroutine)
