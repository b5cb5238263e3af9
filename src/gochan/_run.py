"""``run``: the program's entry."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar, cast

import anyio
from typing_extensions import TypeVarTuple, Unpack

from ._callables import coroutine_of
from ._group import Group

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run(
    main: Callable[[Unpack[Args]], Coroutine[Any, Any, T]],
    *args: *Args,
    backend: Literal["asyncio", "trio"] = "asyncio",
    backend_options: dict[str, Any] | None = None,
    leaks: Literal["warn", "error", "ignore"] = "warn",
) -> T:
    """Run ``main(*args)`` as a program, and end its goroutines when it returns.

    Args:
        backend: the event loop's library; ``"trio"`` must be installed.
        backend_options: as ``anyio.run`` takes them, ``{"use_uvloop": True}`` for one.
        leaks: what to do about goroutines that can never wake; reserved, nothing is reported yet.

    Returns:
        What main returned.

    Raises:
        BaseException: what main raised, bare.
        ExceptionGroup: a goroutine failed.
        SystemExit, KeyboardInterrupt: bare, wherever they arise.
        ValueError: the backend or the choice for leaks is unknown.

    Go: ``func main``. A goroutine that fails ends the program with its error; what still runs when main returns is
    cancelled, and its clean-up is waited for.
    """
    if leaks not in ("warn", "error", "ignore"):
        raise ValueError(f"leaks is 'warn', 'error' or 'ignore', not {leaks!r}")
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend is 'asyncio' or 'trio', not {backend!r}")
    outcome = anyio.run(_program, main, args, backend=backend, backend_options=backend_options)
    if isinstance(outcome, _Ending):
        raise outcome.error
    return outcome


class _Ending:
    """A SystemExit or KeyboardInterrupt on its way out.

    As an exception of the main task it would be reported by asyncio as an unhandled one of its shutdown.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _program(main: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...]) -> T | _Ending:
    failure: Exception | None = None
    result: Any = None
    coroutine = coroutine_of(main, args, "run()")
    try:
        async with Group() as group:
            try:
                result = await coroutine
            except Exception as error:
                failure = error
            group.cancel()
    except BaseExceptionGroup as others:
        ending = _ending(others)
        if ending is not None:
            return _Ending(ending)
        if failure is None:
            raise
        raise BaseExceptionGroup(others.message, [failure, *others.exceptions]) from None
    if failure is not None:
        raise failure
    value: T = result
    return value


def _ending(error: BaseException) -> BaseException | None:
    """The SystemExit or KeyboardInterrupt inside a group."""
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, SystemExit | KeyboardInterrupt) else None
    inner = cast("Any", error.exceptions)  # pyright: ignore[reportUnknownMemberType]  # groups of anything
    return next((ending for one in inner if (ending := _ending(one)) is not None), None)
