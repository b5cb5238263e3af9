"""The drain: how a server that is told to stop lets everybody go.

The order
    1  not ready: /readyz says so, and nobody new is let in
    2  goodbye, in batches: each client is told when to come back, at random within ``spread``, so that the server
       that takes over is not met by all of them at once
    3  each session finishes the command it is at (an acknowledged message is kept, an unacknowledged one is sent again
       by the client, with the same id), writes what waits for its client, and closes with 4001
    4  what has not gone by the deadline is cut off

What may still be read from a client after the goodbye is not obeyed; it was never acknowledged.
Prior art: Phoenix's drainer (batches); a broadcast of "go away" all at once is how one restart becomes an outage.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Protocol

from gochan import sleep

from .config import Settings
from .wire import Close, Goodbye


class Leaving(Protocol):
    """A session, as the drain sees it."""

    def drain(self, goodbye: Goodbye) -> None:
        """Finish what is under way, say goodbye, and end. Does not wait."""
        ...


def shutdown(after_ms: int = 0) -> Goodbye:
    """What the clients of a server that stops are told."""
    return Goodbye(Close.SHUTDOWN, "the server stops", after_ms=after_ms, resume=True)


async def dismiss(sessions: Iterable[Leaving], settings: Settings) -> None:
    """Say goodbye to all of them, at the pace that the settings ask for.

    Cancellation: the rest is not told.
    """
    for n, session in enumerate(list(sessions), 1):
        session.drain(shutdown(round(random.uniform(0, settings.drain_spread) * 1000)))
        if n % settings.drain_batch == 0:
            await sleep(settings.drain_pause)
