"""Logs that leave on their own: a slow disk or terminal delays no message, and what is dropped is counted.

    pipe = LogPipe(Stream(sys.stderr.buffer));  logging.basicConfig(handlers=[pipe.handler], level=logging.INFO)
    group.go(pipe.run)       in the outermost group, so that it is the last to end

Shape
    log.info(...) --> one line --> channel (1024) --> goroutine --> a thread --> sink
    While ``run`` runs, records of its thread go this way. All others (before the loop, after it, other threads) are
    written at once by whoever makes them: they hold up nobody's message.

Invariants
    L1  Logging in the loop's thread never waits: not for the sink, not for a lock that a writing thread holds.
    L2  A line is made where the record is made: only there are the context variables and the arguments what they are.
    L3  When the channel is full a record is dropped and counted; below WARNING already when it is seven eighths full,
        so that chatter does not drown the error that explains it.
    L4  The number dropped is written as a record of its own as soon as something can be written again.
    L5  When ``run`` ends, however, what is in the channel is written first, within ``flush`` seconds.
    L6  A sink that fails loses lines, which are counted, and nothing else.

Why not the standard library's QueueHandler: its queue has a lock that the listener thread holds too, and an unbounded
queue is not a bound. Why is ``Handler.lock`` not used: a thread that writes directly would hold it while it waits for
the disk, and the loop would wait for the thread (L1).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from threading import Lock, get_ident
from typing import Any, Final

import anyio

from gochan import Channel, ChannelClosed

from .base import Metrics, NullMetrics
from .log_lines import json_line, text_line
from .log_sinks import RotatingFile, Sink, Stream

__all__ = ["LogPipe", "RotatingFile", "Sink", "Stream", "json_line", "text_line"]

_BATCH: Final = 256


async def _in_a_thread(write: Callable[[], int]) -> int:
    # Abandoned when cancelled: a sink that hangs must not keep the server from ending.
    return await anyio.to_thread.run_sync(write, abandon_on_cancel=True)


class _Handler(logging.Handler):
    """What the logging module is given."""

    def __init__(self, pipe: LogPipe) -> None:
        super().__init__()
        self._pipe = pipe

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class, without its lock (L1)."""
        passed: Any = self.filter(record)
        if isinstance(passed, logging.LogRecord):  # from 3.12 a filter may replace the record
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.take(record)

    def flush(self) -> None:
        self._pipe.flush()

    def close(self) -> None:
        """Called by ``logging.shutdown`` at the program's exit."""
        self._pipe.close()
        super().close()


class LogPipe:
    """Takes log records from the loop's thread to a sink.

    Args:
        sink: where lines go; may block, and may fail.
        capacity: lines that may wait.
        line: makes a line of a record; JSON if not given.
        flush: seconds for writing what is left when ``run`` ends.
        metrics: where what is dropped is counted.
        offload: runs a function that may block beside the loop; in a worker thread if not given.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        capacity: int = 1024,
        line: Callable[[logging.LogRecord], bytes] = json_line,
        flush: float = 2.0,
        metrics: Metrics | None = None,
        offload: Callable[[Callable[[], int]], Awaitable[int]] | None = None,
    ) -> None:
        if capacity < 8:
            raise ValueError(f"capacity={capacity!r}: at least 8 lines")
        self.handler: logging.Handler = _Handler(self)
        """For ``logging``."""
        self._sink = sink
        self._line = line
        self._flush = flush
        self._offload = offload or _in_a_thread
        self._queue = Channel[bytes](capacity, name="log lines")
        self._chatter = capacity * 7 // 8
        self._thread: int | None = None
        self._writing = Lock()
        self._closed = False
        # Of the loop's thread, of whoever holds the lock, and how much of both was written: no count has two writers.
        self._overflowed = self._lost = self._reported = 0
        self._counter = (metrics or NullMetrics()).counter(
            "gochat_log_records_dropped_total", "Log records that were not written"
        )

    @property
    def dropped(self) -> int:
        """How many records were not written."""
        return self._overflowed + self._lost

    def take(self, record: logging.LogRecord) -> None:
        """What the handler does with a record."""
        line = self._line(record)
        if get_ident() != self._thread:
            self._write(lambda: [line], self._flush)
        elif record.levelno < logging.WARNING and len(self._queue) >= self._chatter:
            self._overflow()
        else:
            try:
                self._queue.send_nowait(line)
            except anyio.WouldBlock:
                self._overflow()

    async def run(self) -> None:
        """Carry lines to the sink, until cancelled.

        Raises:
            RuntimeError: it runs already.

        Cancellation: what is in the channel is written first, for at most ``flush`` seconds; the rest is counted.
        """
        if self._thread is not None:
            raise RuntimeError(f"{self!r} runs already")
        self._thread = get_ident()
        unwritten: list[list[bytes]] = []
        try:
            while True:
                unwritten.append(await self._queue.receive_many(_BATCH))
                await self._carry(unwritten)
        finally:
            try:
                with anyio.move_on_after(self._flush, shield=True):
                    while unwritten or len(self._queue):
                        if not unwritten:
                            unwritten.append(self._rest(_BATCH))
                        await self._carry(unwritten)
            finally:
                self._thread = None
                for _ in self._take(unwritten) + self._rest(None):
                    self._overflow()

    async def _carry(self, unwritten: list[list[bytes]]) -> None:
        # The lines stay with us until the thread takes them, which it may never do: a cancellation may come first.
        lost = await self._offload(lambda: self._write(lambda: self._take(unwritten)))
        if lost:
            self._counter.inc(lost)

    @staticmethod
    def _take(unwritten: list[list[bytes]]) -> list[bytes]:
        try:
            return unwritten.pop()  # atomic: the thread has them, or we
        except IndexError:
            return []

    def flush(self) -> None:
        """Write what a loop that was not left in order has left in the channel."""
        if self._thread is not None:
            return
        try:
            lines = self._rest(None)
        except RuntimeError:  # the channel belongs to a loop that is still there
            return
        if lines:
            self._write(lambda: lines, self._flush)

    def close(self) -> None:
        """Write what is left, and close the sink; later records are dropped."""
        if not self._closed:
            self.flush()
            self._closed = True
            if self._writing.acquire(timeout=self._flush):
                try:
                    self._sink.close()
                finally:
                    self._writing.release()

    # ---- any thread ----

    def _write(self, lines: Callable[[], list[bytes]], patience: float = -1) -> int:
        """Write lines, and how many were dropped before them; how many are lost now."""
        if not self._writing.acquire(timeout=patience):
            return len(lines())
        try:
            batch = lines()
            if not batch:
                return 0
            dropped = self.dropped
            report = self._report(dropped - self._reported) if dropped > self._reported else b""
            try:
                if self._closed:
                    raise OSError("closed")
                self._sink.write(report + b"".join(batch))
            except Exception:
                self._lost += len(batch)  # L6
                return len(batch)
            self._reported = dropped
            return 0
        finally:
            self._writing.release()

    def _report(self, n: int) -> bytes:
        return self._line(logging.makeLogRecord({
            "name": __name__, "levelno": logging.WARNING, "levelname": "WARNING",
            "msg": "%d log records were dropped", "args": (n,), "dropped": n,
        }))  # fmt: skip

    # ---- the loop's thread ----

    def _overflow(self) -> None:
        self._overflowed += 1
        self._counter.inc()

    def _rest(self, limit: int | None) -> list[bytes]:
        lines: list[bytes] = []
        try:
            while limit is None or len(lines) < limit:
                lines.append(self._queue.receive_nowait())
        except (anyio.WouldBlock, ChannelClosed):
            pass
        return lines

    def __repr__(self) -> str:
        return f"<LogPipe {len(self._queue)}/{self._queue.capacity}, dropped={self.dropped}>"
