"""Tests that neither sleep nor flake: virtual time, schedules that are explored and replayed, histories, sweeps."""

from __future__ import annotations

from ._cancel_sweep import CancelOutcome as CancelOutcome
from ._cancel_sweep import CancelPoint as CancelPoint
from ._cancel_sweep import CancelSweepFailure as CancelSweepFailure
from ._cancel_sweep import SweepReport as SweepReport
from ._cancel_sweep import cancel_sweep as cancel_sweep
from ._explore import explore as explore
from ._explore import replay as replay
from ._history import History as History
from ._idle import sleep as sleep
from ._idle import wait_idle as wait_idle
from ._linearizability import ChannelModel as ChannelModel
from ._linearizability import Counterexample as Counterexample
from ._linearizability import Linearizable as Linearizable
from ._linearizability import Unknown as Unknown
from ._linearizability import check as check
from ._report import NondeterminismError as NondeterminismError
from ._report import Report as Report
from ._report import ScheduleFailure as ScheduleFailure
from ._run import run as run

__all__ = [
    "CancelOutcome",
    "CancelPoint",
    "CancelSweepFailure",
    "ChannelModel",
    "Counterexample",
    "History",
    "Linearizable",
    "NondeterminismError",
    "Report",
    "ScheduleFailure",
    "SweepReport",
    "Unknown",
    "cancel_sweep",
    "check",
    "explore",
    "replay",
    "run",
    "sleep",
    "wait_idle",
]
