"""A service: one program that is started, watched, started again when it dies, and stopped.

Shape
    run ── start ─┬─ ready   asks it until it answers
                  ├─ relay   its lines, with its name, to the console
                  └─ exited  waits for its end         select(exited, stop) ── again, after a pause, or the end

Invariants
    S1  At most one process at a time; none is left when ``run`` has ended, however that came.
    S2  What ends before it was ready for the first time is a wrong start, and ends the cluster. What ends later is
        started again, after a pause that doubles from ``FIRST`` to ``LONGEST`` seconds and is short again after
        ``STEADY`` seconds of work.
    S3  Ctrl-C in a terminal goes to us alone: each process has a session of its own, and is told to end in its turn.

If we are killed (-9) ourselves, nobody tells the processes: they run on.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Final, Literal

import anyio
from anyio.abc import ByteReceiveStream, Process

from gochan import Event, Group, after, select, sleep

from .console import Console

FIRST: Final = 0.5
LONGEST: Final = 10.0
STEADY: Final = 30.0
_LOOK: Final = 0.05
_LINE: Final = 64 * 1024


class StartError(Exception):
    """The cluster cannot start; the message says why."""


class Service:
    """One program.

    Args:
        command: the words of the command, by how often it was started before.
        asked: raises ``OSError`` while the program does not answer.
        patience: seconds that it may take to end when told to.
        talks: where it writes what is worth showing.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        asked: Callable[[], Awaitable[None]],
        console: Console,
        *,
        environ: Mapping[str, str],
        patience: float,
        talks: Literal["stdout", "stderr"] = "stderr",
    ) -> None:
        self.name = name
        self.up = Event()
        """Set when it was ready for the first time."""
        self.stop = Event()
        """Set to have it ended, gently …"""
        self.kill = Event()
        """… and to have that over with at once."""
        self.pid = 0
        self._command = command
        self._asked = asked
        self._console = console
        self._environ = environ
        self._patience = patience
        self._talks = talks

    async def run(self) -> None:
        """Keep it running until ``stop`` is set.

        Raises:
            StartError: it ended before it was ready, or there is no such program.
        """
        pause = FIRST
        for start in count():
            began = anyio.current_time()
            ended = await self._once(start)
            if self.stop.is_set():
                return
            if not self.up.is_set():
                raise StartError(f"{self.name} did not start: {ended}")
            if anyio.current_time() - began >= STEADY:
                pause = FIRST
            self._console.say(f"{self.name} {ended}; it is started again in {pause:g} s")
            which, _ = await select(self.stop, after(pause))
            if which == 0:
                return
            pause = min(2 * pause, LONGEST)

    async def _once(self, start: int) -> str:
        words = self._command(start)
        try:
            process = await anyio.open_process(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._talks == "stdout" else subprocess.DEVNULL,
                stderr=subprocess.PIPE if self._talks == "stderr" else subprocess.STDOUT,
                env=dict(self._environ),  # uvloop insists on a dict
                start_new_session=True,  # S3
            )
        except OSError as error:
            raise StartError(f"{self.name} cannot be started: {words[0]}: {error.strerror}") from error
        self.pid = process.pid
        async with process, Group(errors="first") as group:  # a process whose block is left early is killed (S1)
            lines = process.stdout or process.stderr
            assert lines is not None
            group.go(self._relay, lines, name=f"lines of {self.name}")
            ready = group.go(self._ready, start, name=f"{self.name} ready?")
            exited = group.go(process.wait, name=f"{self.name} ended?")
            which, _ = await select(exited, self.stop)
            ready.cancel()
            if which == 1:
                process.terminate()
                outcome, _ = await select(exited, self.kill, after(self._patience))
                if outcome != 0:
                    self._console.say(f"{self.name} has not ended: killed")
                    process.kill()
            await exited.result()
        return _how(process)

    async def _ready(self, start: int) -> None:
        while True:
            try:
                await self._asked()
                break
            except OSError:
                await sleep(_LOOK)
        self._console.say(f"{self.name} is {'back' if start else 'ready'}, process {self.pid}")
        self.up.set()

    async def _relay(self, stream: ByteReceiveStream) -> None:
        rest = b""
        async for received in stream:
            *lines, rest = (rest + received).split(b"\n")
            for line in lines:
                self._show(line)
            if len(rest) > _LINE:
                self._show(rest)
                rest = b""
        if rest:
            self._show(rest)

    def _show(self, line: bytes) -> None:
        self._console.line(self.name, line.decode(errors="replace").rstrip())

    def __repr__(self) -> str:
        return f"<Service {self.name!r} pid {self.pid}>"


def _how(process: Process) -> str:
    code = process.returncode
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
