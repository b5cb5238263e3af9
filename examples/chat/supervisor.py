"""The supervisor: runs the hub, and runs it again when it fails, with its rooms made anew from the sessions.

A failure of the hub is a bug: some message or some order of events that nobody thought of. The sessions have no part in
it, so they stay, and so do their connections; what the failure swallowed they read from the history (H5 of ``hub``).
A bug that comes again at once would make this a loop, so there is a budget: more failures than it allows within its
time, and the server ends with the last one. Whoever runs the server then sees it, and clients go elsewhere.

Prior art: Erlang's supervisors (restart intensity), Mattermost's hub, which is restarted after a panic.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

import anyio

from .hub import Hub
from .telemetry import NULL, Telemetry

log = logging.getLogger(__name__)

RESTARTS: Final = 5
WITHIN: Final = 60.0


async def supervise(hub: Hub, *, restarts: int = RESTARTS, within: float = WITHIN, telemetry: Telemetry = NULL) -> None:
    """Run the hub until it is stopped.

    Args:
        restarts: failures that are made good …
        within: … in so many seconds.

    Raises:
        Exception: what the hub failed with, once too often.
    """
    failures = deque[float]()
    restarted = telemetry.metrics.counter("gochat_hub_restarts_total", "Failures of the hub that were made good")
    try:
        while True:
            try:
                await hub.run()
                return
            except Exception as error:
                telemetry.errors.report(error, part="hub")
                now = anyio.current_time()
                failures.append(now)
                while failures[0] < now - within:
                    failures.popleft()
                if len(failures) > restarts:
                    log.critical("the hub failed %d times in %g s", len(failures), within)
                    hub.close(error)
                    raise
                log.exception("the hub failed; it is restarted")
                restarted.inc()
                hub.rebuild()
    finally:
        hub.close()
