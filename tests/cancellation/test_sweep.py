"""The sweep: every awaiting operation, cancelled in every way, at every moment, by every kind of code around it.

The default suite plays every script once, with a continuation that changes from script to script and from operation to
operation, so that all of them meet; the slow one plays all combinations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .operations import CHANNEL_OPERATIONS, OPERATIONS, Operation
from .sweep import NATIVE_SOURCES, SCOPE_SOURCES, TRIO_SOURCES, After, Script, Source, play, scripts

AFTER: tuple[After, ...] = ("ends", "suspends", "ready", "parks")


def some_scenes(operation: str) -> Iterator[tuple[Script, After]]:
    shift = list(OPERATIONS).index(operation)
    for number, script in enumerate(scripts()):
        yield script, AFTER[(number + shift) % len(AFTER)]


def all_scenes() -> Iterator[tuple[Script, After]]:
    for script in scripts():
        for after in AFTER:
            yield script, after


async def sweep(operation: str, make_source: Callable[[], Source], *, full: bool) -> None:
    """Plays the scenes, in ordinary code and in clean-up code, and checks that the interesting moments were among them."""
    make: Callable[[], Operation] = OPERATIONS[operation]
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
        assert seen == {"returned", "cancelled", "put off"}, "the sweep missed a moment that it is there for"


depths = pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "full"])


@pytest.mark.asyncio_only
@depths
@pytest.mark.parametrize("source", NATIVE_SOURCES)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_asyncio_s_own_cancellation(operation: str, source: str, full: bool) -> None:
    """Under task.cancel, timeout, wait_for and TaskGroup: done or not done, nothing lost, doubled, or left behind."""
    await sweep(operation, NATIVE_SOURCES[source], full=full)


@depths
@pytest.mark.parametrize("source", SCOPE_SOURCES)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_anyio_s_scopes(operation: str, source: str, full: bool) -> None:
    """Under anyio's scopes, deadlines and task groups: done or not done, nothing lost, doubled, or left behind."""
    await sweep(operation, SCOPE_SOURCES[source], full=full)


@pytest.mark.trio_only
@depths
@pytest.mark.parametrize("source", TRIO_SOURCES)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_trio_s_scopes(operation: str, source: str, full: bool) -> None:
    """Under trio's scopes, deadlines and nurseries: done or not done, nothing lost, doubled, or left behind."""
    await sweep(operation, TRIO_SOURCES[source], full=full)
