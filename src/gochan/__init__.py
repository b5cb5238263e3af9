"""Go's way to write concurrent code, for asyncio and trio: channels, select, goroutines."""

# General layout: `_core` is how one task waits and another wakes it; the state machines stand on it
# (`_channel_state`, `_event`), the public faces on them (`_channel`, `_select`, `_group`, `_run`). Arrows point
# downwards only. Names are re-exported as themselves so that type checkers take them as public.

from __future__ import annotations

from ._blocking import BlockingChannel as BlockingChannel
from ._breaker import CircuitBreaker as CircuitBreaker
from ._breaker import CircuitBreakerError as CircuitBreakerError
from ._breaker import CircuitOpen as CircuitOpen
from ._breaker import TooManyRequests as TooManyRequests
from ._broadcast import Broadcast as Broadcast
from ._broadcast import BroadcastStatistics as BroadcastStatistics
from ._case import Case as Case
from ._case import Selectable as Selectable
from ._channel import Channel as Channel
from ._channel_views import ChannelStatistics as ChannelStatistics
from ._channel_views import ReceiveChannel as ReceiveChannel
from ._channel_views import SendChannel as SendChannel
from ._context import CancelContext as CancelContext
from ._context import Context as Context
from ._context import background as background
from ._context import todo as todo
from ._errors import Cancelled as Cancelled
from ._errors import ChannelClosed as ChannelClosed
from ._errors import ContextError as ContextError
from ._errors import DeadlineExceeded as DeadlineExceeded
from ._errors import Lagged as Lagged
from ._event import Event as Event
from ._event import Signal as Signal
from ._go import go as go
from ._go import sleep as sleep
from ._goroutine import Goroutine as Goroutine
from ._group import Group as Group
from ._limiter import Limiter as Limiter
from ._limiter import Reservation as Reservation
from ._limiter import every as every
from ._merge import merge as merge
from ._merge_contexts import merge_contexts as merge_contexts
from ._notify_context import notify_context as notify_context
from ._pipeline import worker_pool as worker_pool
from ._rolling_counts import Counts as Counts
from ._run import run as run
from ._select import receive as receive
from ._select import receive_ok as receive_ok
from ._select import select as select
from ._select import send as send
from ._select import try_select as try_select
from ._singleflight import Flight as Flight
from ._singleflight import SingleFlight as SingleFlight
from ._subscription import Subscription as Subscription
from ._sync.cond import Cond as Cond
from ._sync.mutex import Mutex as Mutex
from ._sync.once import Once as Once
from ._sync.once import once_value as once_value
from ._sync.rwmutex import RWMutex as RWMutex
from ._sync.semaphore import Semaphore as Semaphore
from ._sync.wait_group import WaitGroup as WaitGroup
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
    "Broadcast",
    "BroadcastStatistics",
    "CancelContext",
    "Cancelled",
    "Case",
    "Channel",
    "ChannelClosed",
    "ChannelStatistics",
    "CircuitBreaker",
    "CircuitBreakerError",
    "CircuitOpen",
    "Cond",
    "Context",
    "ContextError",
    "Counts",
    "DeadlineExceeded",
    "Deadlock",
    "Event",
    "Flight",
    "Goroutine",
    "GoroutineInfo",
    "Group",
    "Lagged",
    "LeakError",
    "LeakWarning",
    "Limiter",
    "Mutex",
    "Once",
    "RWMutex",
    "ReceiveChannel",
    "Reservation",
    "Selectable",
    "Semaphore",
    "SendChannel",
    "Signal",
    "SingleFlight",
    "Subscription",
    "Ticker",
    "Timer",
    "TooManyRequests",
    "WaitGroup",
    "after",
    "background",
    "dump",
    "every",
    "find_leaks",
    "go",
    "goroutines",
    "merge",
    "merge_contexts",
    "no_leaks",
    "notify_context",
    "once_value",
    "receive",
    "receive_ok",
    "run",
    "select",
    "send",
    "sleep",
    "todo",
    "try_select",
    "worker_pool",
]
