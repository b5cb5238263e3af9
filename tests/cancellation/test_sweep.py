"""The sweep: every awaiting operation, cancelled in every way, at every moment, by every kind of code around it.

The default suite plays the scripts around the decisive moment once, with a continuation that changes from script to
script and from operation to operation, so that all of them meet; the slow one plays all combinations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from .every_source import GROUP_SOURCES
from .operations import CHANNEL_OPERATIONS, OPERATIONS
from .scene import After, Script, play, scripts
from .sources import NATIVE_SOURCES, SCOPE_SOURCES, TRIO_SOURCES, Source
from .worlds import Operation

AFTER: tuple[After, ...] = ("ends", "suspends", "ready", "parks")


def some_scenes(operation: str) -> Iterator[tuple[Script, After]]:
    shift = list(OPERATIONS).index(operation)
    # A partner that is a goroutine needs some turns to come to its end.
    for number, script in enumerate(scripts(1 if operation in CHANNEL_OPERATIONS else 3)):
        yield script, AFTER[(number + shift) % len(AFTER)]


def all_scenes() -> Iterator[tuple[Script, After]]:
    for script in scripts():
        for after in AFTER:
            yield script, after


async def sweep(operation: str, make_source: Callable[[], Source], backend_name: str, *, full: bool) -> None:
    """Plays the scenes, in ordinary and in clean-up code, and checks that the interesting moments were among them."""
    make: Callable[[], Operation] = OPERATIONS[operation]
    source = make_source()
    for cleaning_up in (False, True):
        seen: set[str] = set()
        for script, after in all_scenes() if full else some_scenes(operation):
            source = make_source()
            try:
                outcome = await play(make(), source, script, after, cleaning_up=cleaning_up)
                same_step = script.complete == script.fire and not script.as_callback
                if source.exact and same_step and operation in CHANNEL_OPERATIONS:
                    assert outcome.returned is outcome.deferred is (script.first == "complete")
            except BaseException as error:
                where = " in a clean-up" if cleaning_up else ""
                error.add_note(f"{operation} against {type(source).__name__}{where}: {script}, the body then {after}")
                raise
            seen.add("returned" if outcome.returned else "cancelled")
            if outcome.deferred:
                seen.add("put off")
        # Trio draws the order of its tasks, and a timer depends on the machine: there, chance decides.
        if (source.exact and operation in CHANNEL_OPERATIONS) or (source.by_turns and backend_name == "asyncio"):
            assert seen == {"returned", "cancelled", "put off"}, "the sweep missed a moment that it is there for"


async def sweep_all(make_source: Callable[[], Source], backend_name: str, *, full: bool) -> None:
    """Sweeps every operation, and reports all that fail."""
    errors: list[Exception] = []
    for operation in OPERATIONS:
        try:
            await sweep(operation, make_source, backend_name, full=full)
        except (Exception, asyncio.CancelledError) as error:
            errors.append(error if isinstance(error, Exception) else RuntimeError(f"{operation}: {error!r} got out"))
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(OPERATIONS)} operations failed", errors)


depths = pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "full"])


@pytest.mark.asyncio_only
@depths
@pytest.mark.parametrize("source", NATIVE_SOURCES)
async def test_asyncio_s_own_cancellation(source: str, backend_name: str, full: bool) -> None:
    """Under task.cancel, timeout, wait_for and TaskGroup: done or not done, nothing lost, doubled, or left behind."""
    await sweep_all(NATIVE_SOURCES[source], backend_name, full=full)


@depths
@pytest.mark.parametrize("source", SCOPE_SOURCES)
async def test_anyio_s_scopes(source: str, backend_name: str, full: bool) -> None:
    """Under anyio's scopes, deadlines and task groups: done or not done, nothing lost, doubled, or left behind."""
    await sweep_all(SCOPE_SOURCES[source], backend_name, full=full)


@pytest.mark.trio_only
@depths
@pytest.mark.parametrize("source", TRIO_SOURCES)
async def test_trio_s_scopes(source: str, backend_name: str, full: bool) -> None:
    """Under trio's scopes, deadlines and nurseries: done or not done, nothing lost, doubled, or left behind."""
    await sweep_all(TRIO_SOURCES[source], backend_name, full=full)


@depths
@pytest.mark.parametrize("source", GROUP_SOURCES)
async def test_groups(source: str, backend_name: str, full: bool) -> None:
    """Under a handle's cancel, a group's, and a sibling's failure: done or not done, nothing lost, doubled, or left."""
    await sweep_all(GROUP_SOURCES[source], backend_name, full=full)
