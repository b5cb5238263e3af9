"""From a coroutine to what it awaits, to what that awaits, to the end.

Suspended coroutines, generators and async generators name what they wait for; the helper objects between them
(``coroutine.__await__()``, ``anext(generator)``) do not, but the garbage collector sees what they hold. What has
neither, a compiled awaitable for one, is the end of what can be seen. Nothing here raises, whatever an object's
attributes do: a dump is asked for when things have gone wrong.

Prior art: trio's ``Task.iter_await_frames``.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

_AWAITS: Final = ("cr_await", "gi_yieldfrom", "ag_await")
_FRAMES: Final = ("cr_frame", "gi_frame", "ag_frame")
_RUNNING: Final = ("cr_running", "gi_running")  # ag_running is true while it is suspended in an await, too
_SUSPENDED: Final = ("cr_suspended", "gi_suspended")
_LONGEST: Final = 100_000  # somebody's own cr_await may have no end
_HELPERS: Final = frozenset({
    "anext_awaitable",
    "async_generator_asend",
    "async_generator_athrow",
    "coroutine_wrapper",
})  # fmt: skip


def attribute(thing: object, *names: str) -> Any:
    """The first of these attributes that it has, ``None`` without any."""
    for name in names:
        try:
            return getattr(thing, name)
        except Exception:  # noqa: S112  # nothing to tell: the next name may be there
            continue
    return None


def chain(awaitable: object) -> Iterator[Any]:
    """The awaitable itself, what it awaits, and so on, outermost first."""
    seen = set[int]()
    while awaitable is not None and id(awaitable) not in seen and len(seen) < _LONGEST:
        seen.add(id(awaitable))
        if type(awaitable).__name__ in _HELPERS:
            held = gc.get_referents(awaitable)
            awaitable = next((one for one in held if _can_await(one)), None)
        else:
            yield awaitable
            awaitable = attribute(awaitable, *_AWAITS)


def frame_of(awaitable: object) -> FrameType | None:
    """Where it stands; ``None`` when it has ended, or is no coroutine of Python."""
    frame = attribute(awaitable, *_FRAMES)
    return frame if isinstance(frame, FrameType) else None


def package_in(awaitable: object) -> str:
    """The package whose code it runs: "gochan", "trio", "" when that cannot be seen."""
    frame = frame_of(awaitable)
    return "" if frame is None else package_of(frame)


def package_of(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""


def is_running(awaitable: object) -> bool:
    """Whether it is on a thread's stack now."""
    return attribute(awaitable, *_RUNNING) is True


def has_begun(awaitable: object) -> bool:
    """Whether its first step has been made, as far as that can be seen."""
    return attribute(awaitable, *_SUSPENDED) is not False or is_running(awaitable) or frame_of(awaitable) is None


def _can_await(thing: object) -> bool:
    kind = type(thing)
    return kind.__name__ in _HELPERS or any(hasattr(kind, name) for name in _AWAITS)
