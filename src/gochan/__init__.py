"""Go's way to write concurrent code, for asyncio and trio: channels, select, goroutines."""

# General layout: `_core` is how one task waits and another wakes it; the state machines stand on it
# (`_channel_state`, `_event`), the public faces on them (`_channel`, `_select`, `_group`, `_run`). Arrows point
# downwards only. Names are re-exported as themselves so that type checkers take them as public.

from __future__ import annotations

from ._blocking import BlockingChannel as BlockingChannel
from ._case import Case as Case
from ._case import Selectable as Selectable
from ._channel import Channel as Channel
from ._channel_views import ChannelStatistics as ChannelStatistics
from ._channel_views import ReceiveChannel as ReceiveChannel
from ._channel_views import SendChannel as SendChannel
from ._errors import Cancelled as Cancelled
from ._errors import ChannelClosed as ChannelClosed
from ._errors import ContextError as ContextError
from ._errors import DeadlineExceeded as DeadlineExceeded
from ._event import Event as Event
from ._event import Signal as Signal
from ._go import go as go
from ._go import sleep as sleep
from ._goroutine import Goroutine as Goroutine
from ._group import Group as Group
from ._run import run as run
from ._select import receive as receive
from ._select import receive_ok as receive_ok
from ._select import select as select
from ._select import send as send
from ._select import try_select as try_select
from ._ticker import Ticker as Ticker
from ._timers import Timer as Timer
from ._timers import after as after
from .diagnostics import Deadlock as Deadlock
from .diagnostics import GoroutineInfo as GoroutineInfo
from .diagnostics import LeakError as LeakError
from .diagnostics import LeakWarning as LeakWarning
from .diagnostics import dump as dump
from .diagnostics import find_leaks as find_leaks
from .diagnostics import goroutines as goroutines
from .diagnostics import no_leaks as no_leaks

__all__ = [
    "BlockingChannel",
    "Cancelled",
    "Case",
    "Channel",
    "ChannelClosed",
    "ChannelStatistics",
    "ContextError",
    "DeadlineExceeded",
    "Deadlock",
    "Event",
    "Goroutine",
    "GoroutineInfo",
    "Group",
    "LeakError",
    "LeakWarning",
    "ReceiveChannel",
    "Selectable",
    "SendChannel",
    "Signal",
    "Ticker",
    "Timer",
    "after",
    "dump",
    "find_leaks",
    "go",
    "goroutines",
    "no_leaks",
    "receive",
    "receive_ok",
    "run",
    "select",
    "send",
    "sleep",
    "try_select",
]
