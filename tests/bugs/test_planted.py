"""Bugs planted in the channel are found by histories under explored schedules; the sound channel passes.

So are those in select's choice and in timers, by counting and by the clock.
"""

from __future__ import annotations

import pytest

from .measure import BACKENDS, TWIN_SCHEDULES, Backend, explored
from .planted import PLANTED, SOUND, Planted
from .planted_beside import PLANTED_BESIDE, SOUND_BESIDE, Beside

backends = pytest.mark.parametrize("backend", BACKENDS)
schedules = pytest.mark.parametrize("runs", [30, pytest.param(TWIN_SCHEDULES, marks=pytest.mark.slow)])


@backends
@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_planted_bugs_are_found(planted: Planted, backend: Backend) -> None:
    """Each within a thousand schedules, and again from its token."""
    failure = explored(planted.program, backend)
    assert failure is not None
    assert explored(planted.program, backend, failure.token) is not None


@backends
@schedules
@pytest.mark.parametrize("sound", SOUND, ids=lambda sound: sound.name)
def test_the_sound_channel_passes(sound: Planted, runs: int, backend: Backend) -> None:
    """The program that finds the others finds nothing in it."""
    assert explored(sound.program, backend, runs=runs) is None


@backends
@pytest.mark.parametrize("planted", PLANTED_BESIDE, ids=lambda planted: planted.name)
def test_planted_bugs_of_select_and_timers_are_found(planted: Beside, backend: Backend) -> None:
    """By how often each case wins, and by when the clock stands still."""
    assert planted.seen(backend) is not None


@backends
@pytest.mark.parametrize("seeds", [1, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sound", SOUND_BESIDE, ids=lambda sound: sound.name)
def test_sound_selects_and_timers_pass(sound: Beside, seeds: int, backend: Backend) -> None:
    """The counts are those of a fair choice, and nothing is left behind."""
    assert [sound.seen(backend, seed) for seed in range(seeds)] == [None] * seeds
