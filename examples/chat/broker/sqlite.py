"""The broker with its messages in a file (``--data``): history, offsets, epochs and keys outlive a restart.

Shape
    publish, history, watch        the journal's goroutine                    a worker thread
       request -- requests ------> receive_many: all that is there ---------> one transaction, one flush
       wait for done <------------ tell the nodes, in order, set done <------ outcomes

    While one batch is flushed, the next one gathers: the slower the disk, the larger the batches. Nobody waits for a
    batch to fill.

Invariants
    S1  ``publish`` returns, and nodes are told, only when the message is on the disk.
    S2  Nodes are told by one goroutine, in the order of the batch: the order of the offsets (B4).
    S3  Every request that was taken gets an answer, also when the engine ends: ``Unavailable`` then.
    S4  ``requests`` is bounded: who publishes faster than the disk can write waits, and nobody else.

Why not one transaction for each publish: a flush costs milliseconds on many disks, whatever is in it. Why not answer
before the flush: an acknowledged message would be gone after a crash.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import anyio
import anyio.to_thread

from gochan import Channel, ChannelClosed, Group

from ..wire.commands import Pos
from .base import Event, HistoryPage, Published, Unavailable
from .journal import DataFileError, Journal, Request
from .local import LocalEngine
from .window import Window

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH: Final = 256
_SWEEP_SECONDS: Final = 60.0


class Offload(Protocol):
    """How to call what blocks."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class SqliteEngine(LocalEngine):
    """Messages in an SQLite file. Enter it, ``async with``, before it is used; leaving it writes what was taken.

    Args:
        path: the file; made if there is none. One process at a time uses it.
        window: how much of each room is kept, and for how long.
        clock: seconds since any moment that stays the same when the program starts again.
        batch: how many requests are one transaction at most.
        offload: how to call what blocks; a worker thread by default.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        window: Window | None = None,
        *,
        clock: Callable[[], float] = time.time,
        batch: int = BATCH,
        offload: Offload | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.window = window or Window()
        self._clock = clock
        self._batch = batch
        self._offload = offload or _in_a_thread()
        self._requests = Channel[Request[Any]](batch, name="requests to the journal")
        self._journal: Journal | None = None
        self._failing = False

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            DataFileError: it cannot be used; the text says why, and what to do.
        """
        self._swept = self._clock()
        self._journal = await self._offload(partial(Journal, self.path, self.window))
        self._group = Group(errors="first")
        await self._group.__aenter__()
        self._group.go(self._serve, self._journal, name="journal")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._requests.close()
        try:
            return await self._group.__aexit__(kind, error, traceback)
        finally:
            journal, self._journal = self._journal, None
            if journal is not None:
                with anyio.CancelScope(shield=True):
                    await self._offload(journal.close)

    async def publish(self, room: str, payload: bytes, *, key: str | None = None) -> Published:
        now = self._clock()
        published, _ = await self._ask(lambda journal: journal.publish(room, payload, key, now), writes=True)
        return published

    async def history(self, room: str, since: Pos | None, limit: int, reverse: bool = False) -> HistoryPage:
        if limit < 0:
            raise ValueError(f"a limit is a number of messages, not {limit}")
        now = self._clock()
        return await self._ask(lambda journal: journal.history(room, since, limit, reverse, now), writes=False)

    async def watch(self, room: str) -> None:
        now = self._clock()
        await self._ask(lambda journal: journal.watch(room, now), writes=True)

    async def _ask(self, work: Callable[[Journal], T], *, writes: bool) -> T:
        request = Request(work, writes=writes)
        try:
            await self._requests.send(request)
        except ChannelClosed as closed:
            raise Unavailable(f"{self!r} is closed") from closed
        await request.done.wait()
        return request.result()

    async def _serve(self, journal: Journal) -> None:
        batch: list[Request[Any]] = []
        try:
            while True:
                batch = await self._requests.receive_many(self._batch)
                sweep = self._sweep()
                await self._offload(partial(journal.apply, [*batch, *sweep]))
                self._answer(batch)
                if any(request.succeeded and request.result() for request in sweep):
                    self._swept = -math.inf  # it was full: go on with the next batch
        except ChannelClosed:
            pass
        finally:
            self._requests.close()
            self._give_up(batch)

    def _sweep(self) -> list[Request[bool]]:
        """Once in a while, along with what is to be done anyway: what nobody adds to does not grow."""
        now = self._clock()
        if 0 <= now - self._swept < _SWEEP_SECONDS:
            return []
        self._swept = now
        listened = list(self.listeners)
        return [Request(lambda journal: journal.sweep(listened, now), writes=True)]

    def _answer(self, batch: list[Request[Any]]) -> None:
        for request in batch:
            try:
                result = request.result()
            except Unavailable as error:
                self._note(error)
            else:
                self._note(None)
                match result:
                    case (Published(duplicate=False), Event() as event):
                        self.announce(event)
                    case _:
                        pass
            request.done.set()
        batch.clear()

    def _note(self, error: Unavailable | None) -> None:
        """Log the first failure, and the end of it; not each of thousands."""
        if self._failing == (error is not None):
            return
        self._failing = error is not None
        if error is not None:
            log.error("%s; publications are refused until it works again", error)
        else:
            log.warning("the data file %s works again", self.path)

    def _give_up(self, batch: list[Request[Any]]) -> None:
        """S3: what is in the batch may have been done or not, what is still queued was not."""
        try:
            while True:
                batch.append(self._requests.receive_nowait())
        except ChannelClosed:
            pass
        for request in batch:
            request.fail(f"{self!r} was closed before it answered")
            request.done.set()

    def __repr__(self) -> str:
        return f"<SqliteEngine {os.fspath(self.path)!r} nodes={list(self.brokers)}>"


def _in_a_thread() -> Offload:
    # A limiter of its own: threads that others keep busy must not delay it. Made late, as it belongs to a loop.
    limiter: anyio.CapacityLimiter | None = None

    async def call(work: Callable[[], T], /) -> T:
        nonlocal limiter
        if limiter is None:
            limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(work, limiter=limiter)

    return call


__all__ = ["BATCH", "DataFileError", "Offload", "SqliteEngine"]
