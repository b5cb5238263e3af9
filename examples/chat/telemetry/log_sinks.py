"""Where log lines end up: a stream such as stderr, or a file that is rotated. Writing may block; ``logs`` keeps that
away from the loop."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import BinaryIO, Final, Protocol

_PIECE: Final = 4096  # POSIX: a pipe that polls as writable takes so much without blocking, on Linux


class Sink(Protocol):
    """Takes lines."""

    def write(self, data: bytes) -> None:
        """Write whole lines; may block. Called by one thread at a time.

        Raises:
            OSError: they are lost.
        """
        ...

    def close(self) -> None:
        """No more will come."""
        ...


class Stream:
    """A binary stream, such as ``sys.stderr.buffer``.

    Args:
        patience: seconds after which a reader that does not read is given up. Otherwise a pipe that nobody empties
            would keep a thread for ever, and with it the program from ending.
    """

    def __init__(self, stream: BinaryIO, *, patience: float = 5.0) -> None:
        self._stream = stream
        self._patience = patience
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, ValueError, AttributeError):  # one in memory
            self._descriptor = None

    def write(self, data: bytes) -> None:
        if self._descriptor is None or sys.platform == "win32":
            self._stream.write(data)
            self._stream.flush()
            return
        self._stream.flush()
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            if not poll.poll(self._patience * 1000):
                raise TimeoutError(f"nobody read {len(rest)} bytes of log lines for {self._patience:g} s")
            rest = rest[os.write(self._descriptor, rest[:_PIECE]) :]

    def close(self) -> None:
        """Nothing: it belongs to somebody else."""


class RotatingFile:
    """A file that is renamed to ``name.1`` when it is full, ``name.1`` to ``name.2``, and so on; the last is deleted.

    It is renamed, never truncated, so that a shipper that has it open reads it to the end. Lines are never split, so a
    file is at most ``max_bytes``, or one line. If renaming fails, the file grows: a full directory is better than an
    incident without logs.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 10_000_000, backups: int = 5) -> None:
        if max_bytes < 1 or backups < 0:
            raise ValueError(f"max_bytes={max_bytes!r}, backups={backups!r}: at least 1 and 0")
        self._path = Path(path)
        self._max_bytes, self._backups = max_bytes, backups
        self._limit = max_bytes
        self._descriptor: int | None = None
        self._size = 0
        self._open()  # now: a path that cannot be written is an error of the start

    def write(self, data: bytes) -> None:
        if self._descriptor is None:
            self._open()
        start = 0
        while start < len(data):
            if len(data) - start <= self._limit - self._size:
                end = len(data)
            else:
                end = data.rfind(b"\n", start, max(start, start + self._limit - self._size)) + 1
            if end <= start:  # not even one more line
                if self._size:
                    self._rotate()
                    continue
                end = data.find(b"\n", start) + 1 or len(data)
            self._write(data[start:end])
            start = end

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        self._descriptor = os.open(
            self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o640
        )
        self._size = os.fstat(self._descriptor).st_size

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self._size += written
            rest = rest[written:]

    def _rotate(self) -> None:
        self.close()
        try:
            if self._backups:
                for number in range(self._backups - 1, 0, -1):
                    if self._numbered(number).exists():
                        self._numbered(number).replace(self._numbered(number + 1))
                self._path.replace(self._numbered(1))
            else:
                self._path.unlink()
            self._limit = self._max_bytes
        except OSError:
            self._limit = self._size + self._max_bytes  # tried again when it has grown by as much once more
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
