"""Bugs planted in the channel are found by histories under explored schedules; the sound channel passes."""

from __future__ import annotations

import pytest

from .measure import BACKENDS, TWIN_SCHEDULES, Backend, explored
from .planted import PLANTED, SOUND, Planted

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
