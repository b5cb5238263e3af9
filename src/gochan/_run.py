"""``run``: the program's entry."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import anyio
from typing_extensions import TypeVarTuple, Unpack

from ._callables import coroutine_of
from ._group import Group
from ._group_errors import ending

if TYPE_CHECKING:
    from .diagnostics._asleep import Watch
    from .diagnostics._goroutines import GoroutineInfo

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
        leaks: what to do when main has returned and left goroutines that can never wake, on channels that only main
            holds apart: emit a ``LeakWarning``, raise a ``LeakError``, or nothing.

    Returns:
        What main returned.

    Raises:
        BaseException: what main raised, bare.
        ExceptionGroup: a goroutine failed.
        Deadlock: all goroutines are asleep for ever: every task waits for another one in gochan's operations, and
            there is no timer, socket, signal handler or thread that could act. Everything is cancelled first, so
            that clean-up runs; what falls asleep for ever in its clean-up is given up. Not with uvloop or a loop of
            your own, which cannot tell.
        LeakError: with ``leaks="error"``.
        SystemExit, KeyboardInterrupt: bare, wherever they arise.
        ValueError: the backend or the choice for leaks is unknown.

    Go: ``func main``. A goroutine that fails ends the program with its error; what still runs when main returns is
    cancelled, and its clean-up is waited for. On SIGQUIT (Ctrl-\\) all goroutines are dumped to stderr, but the program
    goes on.
    """
    if leaks not in ("warn", "error", "ignore"):
        raise ValueError(f"leaks is 'warn', 'error' or 'ignore', not {leaks!r}")
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend is 'asyncio' or 'trio', not {backend!r}")
    from .diagnostics import _asleep, _errors, _no_leaks, _on_quit  # they stand above this file

    watch = _asleep.watch_for(backend)
    options = watch.options(backend_options or {})
    with _on_quit.dumps_on_quit():
        outcome = anyio.run(_program, main, args, watch, leaks != "ignore", backend=backend, backend_options=options)
    if isinstance(outcome, _Ending):
        raise outcome.error
    if watch.leaked:
        text = _errors.leak_text("can never wake", watch.leaked)
        collected = _no_leaks.found_by_run.get()
        if leaks == "error":
            raise _errors.LeakError(text, watch.leaked)
        if collected is None:
            warnings.warn(text, _errors.LeakWarning, stacklevel=2)
        else:
            collected += watch.leaked
    return outcome


class _Ending:
    """A SystemExit, KeyboardInterrupt or Deadlock on its way out.

    As an exception of the main task it would be reported by asyncio as an unhandled one of its shutdown.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _program(
    main: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], watch: Watch, look_for_leaks: bool
) -> T | _Ending:
    failure: Exception | None = None
    result: Any = None
    coroutine: Any = coroutine_of(main, args, "run()")
    # What main holds keeps its goroutines from being leaks, so its frame must outlive its return.
    frame = getattr(coroutine, "cr_frame", None) if look_for_leaks else None
    try:
        async with Group() as group:
            watch.group = group
            try:
                result = await coroutine
                if look_for_leaks and group._active and watch.deadlock is None:
                    watch.leaked = _leaked()
            except Exception as error:
                failure = error
            del frame
            group.cancel()
    except BaseExceptionGroup as others:
        end = ending(others) or watch.deadlock
        if end is not None:
            return _Ending(end)
        if failure is None:
            raise
        beside = (error for error in others.exceptions if error is not failure)  # main waited for its result
        raise BaseExceptionGroup(others.message, [failure, *beside]) from None
    finally:
        watch.group = None
    if watch.deadlock is not None:
        return _Ending(watch.deadlock)
    if failure is not None:
        raise failure
    value: T = result
    return value


def _leaked() -> list[GoroutineInfo]:
    from .diagnostics._leaks import stuck_now

    return stuck_now()
