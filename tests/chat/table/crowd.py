"""A crowd: clients by the thousand, in a process of their own, so that their CPU is not the server's.

    async with crowd(core=1) as people:
        await people.do("connect", port=server.port, count=1000)
        account = await people.do("closed_loop", seconds=3, window=8)
        account["delivered"], account["seconds"], account["cpu"]        # cpu is the crowd's own

``load`` has the commands, ``do_connect`` and the like, with what they answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from .process import ROOT

_MOST = 1 << 30
BOUND = 180.0
"""Seconds that any command may take."""


class Crowd:
    """The clients."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._commands = process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    async def do(self, command: str, **options: Any) -> dict[str, Any]:
        """Have them do something; what came of it.

        Raises:
            TimeoutError: it took too long.
            IncompleteRead: the crowd has failed; why is on stderr.
        """
        with anyio.fail_after(BOUND):
            await self._commands.send(json.dumps({"do": command, **options}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await self._answers.receive_until(b"\n", _MOST))
        return answer


@contextlib.asynccontextmanager
async def crowd(*, core: int | None = None) -> AsyncGenerator[Crowd, None]:
    """Start one, on a core of its own if one is given. At the end it is killed: what its clients leave is a reset."""
    command = [sys.executable, "-m", "tests.chat.table.load"]
    process = await anyio.open_process(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=None)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield Crowd(process)
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):  # it has failed
                process.kill()
            await process.aclose()
