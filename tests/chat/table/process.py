"""A server in a process of its own, whose CPU and memory can be read: for rows in which those count.

    async with serving(*size.flags, "--slow", "disconnect", core=0) as server:
        before = server.cpu_seconds()
        ...
        assert await server.stop() == 0

Linux only: the numbers come from ``/proc``. Without ``stop`` the process is killed at the end.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from pathlib import Path

import anyio

ROOT = Path(__file__).parents[3]
LINUX = sys.platform == "linux"
"""Whether the rows that start processes can be run here."""
BOUND = 60.0
"""Seconds that a process may take to start or to end, on the slowest machine."""
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_STEP = 0.005


class Process:
    """A program that runs beside the test."""

    def __init__(self, popen: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self.pid = popen.pid
        self.port = 0
        self._popen = popen
        self._output = output
        self._errors = errors

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text(errors="replace")

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._errors.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def cpu_seconds(self) -> float:
        """CPU time of all its threads until now, of its own and of the kernel for it, in steps of 10 ms."""
        # The name of the program, in parentheses, may hold spaces.
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss(self) -> int:
        """Bytes of memory that it holds."""
        return self._status("VmRSS") * 1024

    def peak_rss(self) -> int:
        """The most that it ever held."""
        return self._status("VmHWM") * 1024

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text()

    def _status(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+)", self._proc("status"), re.MULTILINE)
        assert found is not None, f"no {name} of process {self.pid}: it has ended"
        return int(found[1])

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; its exit code.

        Raises:
            TimeoutError: it has not ended in time.
        """
        self.send(number)
        return await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it has ended.

        Raises:
            TimeoutError: it has not ended in time.
        """
        await self._until(lambda: not self.running)
        code = self._popen.returncode
        assert isinstance(code, int)
        return code

    async def printed(self, pattern: str) -> re.Match[str]:
        """What it has printed that matches, once it has.

        Raises:
            RuntimeError: it has ended.
            TimeoutError: it has not printed that in time.
        """
        await self._until(lambda: re.search(pattern, self.output) or not self.running)
        found = re.search(pattern, self.output)
        if found is None:
            raise RuntimeError(f"process {self.pid} has ended ({self._popen.returncode}): {self.log}")
        return found

    async def _until(self, condition: Callable[[], object]) -> None:
        # Another process: nothing in this one can be waited for, so it is asked again and again.
        with anyio.fail_after(BOUND):
            while not condition():
                await anyio.sleep(_STEP)


@contextlib.asynccontextmanager
async def process(
    command: Sequence[str], *, port: str = "", core: int | None = None, environ: dict[str, str] | None = None
) -> AsyncGenerator[Process, None]:
    """Any program.

    Args:
        port: a pattern with one group, which finds the port in what the program prints once it listens.
        core: the one on which it runs; ``None`` is any.
    """
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        with output.open("wb") as to_output, errors.open("wb") as to_errors:
            with pinned(core):
                popen = subprocess.Popen(
                    command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=to_output, stderr=to_errors
                )
        try:
            started = Process(popen, output, errors)
            if port:
                started.port = int((await started.printed(port))[1])
            yield started
        finally:
            popen.kill()
            popen.wait()


@contextlib.asynccontextmanager
async def serving(*flags: str, core: int | None = None) -> AsyncGenerator[Process, None]:
    """A chat server with these flags, on a free port."""
    command = [sys.executable, "-W", "error", "-m", "examples.chat", "--port", "0", *flags]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GOCHAT_")}
    environ["PYTHONPATH"] = str(ROOT / "src")
    async with process(command, port=r"open http://\S+:(\d+)/\s", core=core, environ=environ) as server:
        yield server


@contextlib.contextmanager
def pinned(core: int | None) -> Generator[None, None, None]:
    """What is started in between runs on this core from its first moment on: Go's runtime counts its cores then."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cores() -> tuple[int | None, int | None]:
    """One core for the server and another for its clients, where there are two."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else (None, None)
