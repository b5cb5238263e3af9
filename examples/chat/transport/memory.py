"""Connections in memory: what the tests put where a socket would be, in virtual time and under explored schedules.

Shape
    pipe.client ── _Flow ──> pipe.server        A flow is one direction: bytes that were written and not yet read, at
    pipe.client <── _Flow ── pipe.server        most ``capacity`` of them, as a kernel's buffers have it.

Invariants
    M1  Bytes come out in the order in which they went in, each once, in pieces of at most ``chunk``.
    M2  A flow holds at most ``capacity`` bytes: whoever writes more waits, until the reader has made room.
    M3  An end closes as TCP does: what was written is still read, then the stream ends. But where the end was aborted,
        or closed with something in it that it had not read, the other one sees a reset and loses what it had not read.
    M4  A reader sleeps only on an empty flow, a writer only on a full one: whoever changes that leaves a token in a
        channel of capacity 1. A token too many costs one turn of a loop; too few would be a deadlock.

What is left out: nothing gets lost or takes a different route, and a half that is shut stays so.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
from anyio.abc import ByteStream

from gochan import Channel, sleep

_CAPACITY: Final = 65536


class MemoryPipe:
    """Two connected streams, ``client`` and ``server``.

    Args:
        capacity: the bytes that each direction holds.
        chunk: the most that one ``receive`` returns.
        latency: seconds before written bytes can be read.
    """

    def __init__(self, capacity: int = _CAPACITY, *, chunk: int = _CAPACITY, latency: float = 0.0) -> None:
        up, down = _Flow(capacity, chunk, latency), _Flow(capacity, chunk, latency)
        self.client = MemoryStream(down, up)
        self.server = MemoryStream(up, down)


class MemoryStream(ByteStream):
    """One end. One task may receive while another sends."""

    def __init__(self, incoming: _Flow, outgoing: _Flow) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = False
        self._aborted = False

    @property
    def unread(self) -> int:
        """The bytes that have come to this end, or are on their way, and were not read."""
        return self._incoming.size

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What has arrived, at least one byte."""
        # Before, not after: data that was received must not be lost to a cancellation.
        await anyio.lowlevel.checkpoint()
        return await self._incoming.read(max_bytes)

    async def send(self, item: bytes) -> None:
        """Write everything; a cancelled send may have written a part."""
        # Not in a ``finally``: after a part of a message nothing may be written past the rest of it.
        self._sending = True
        await anyio.lowlevel.checkpoint()
        await self._outgoing.write(item)
        self._sending = False

    def try_write(self, data: bytes) -> int:
        """Write what there is room for, without waiting."""
        if self._sending or self._outgoing.shut or self._outgoing.reset:
            return 0
        return self._outgoing.put(data)

    async def send_eof(self) -> None:
        """Say that nothing more comes; the other side may go on."""
        self._outgoing.end()

    def abort(self) -> None:
        """Have closing forget what was not read by the other side, which then sees a reset."""
        self._aborted = True

    def close(self) -> None:
        """Close at once; nobody may be receiving or sending."""
        if self._aborted or self._incoming.size:
            self._outgoing.break_off()
        else:
            self._outgoing.end()
        self._incoming.break_off()

    async def aclose(self) -> None:
        """``close()``, for anyio."""
        self.close()

    @property
    def local_host(self) -> str:
        """The address on this side."""
        return "127.0.0.1"

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """None; anyio asks."""
        return {}


class _Flow:
    """Bytes in one direction."""

    def __init__(self, capacity: int, chunk: int, latency: float) -> None:
        self.size = 0
        self.shut = False
        self.reset = False
        self._capacity = capacity
        self._chunk = chunk
        self._latency = latency
        self._pieces: deque[tuple[float, bytes]] = deque()  # with the time at which each arrives
        self._readable = Channel[None](1, overflow="drop_newest", name="readable")
        self._writable = Channel[None](1, overflow="drop_newest", name="writable")

    def put(self, data: bytes) -> int:
        taken = min(len(data), self._capacity - self.size)
        if taken:
            arrives = anyio.current_time() + self._latency if self._latency else -math.inf
            self._pieces.append((arrives, data[:taken]))
            self.size += taken
            self._readable.send_nowait(None)
        return taken

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            if self.shut or self.reset:
                raise anyio.BrokenResourceError
            rest = rest[self.put(bytes(rest)) :]
            if not rest:
                return
            await self._writable.receive()

    async def read(self, max_bytes: int) -> bytes:
        while (late := self._late()) > 0:
            if self._pieces:
                await sleep(late)  # and look again: a reset takes back what is on its way
            elif self.reset:
                raise anyio.BrokenResourceError
            elif self.shut:
                raise anyio.EndOfStream
            else:
                await self._readable.receive()
        return self.take(max_bytes)

    def take(self, max_bytes: int = _CAPACITY) -> bytes:
        arrives, data = self._pieces.popleft()
        size = min(max_bytes, self._chunk)
        if len(data) > size:
            self._pieces.appendleft((arrives, data[size:]))
        data = data[:size]
        self.size -= len(data)
        self._writable.send_nowait(None)
        return data

    def _late(self) -> float:
        """The seconds until something can be read; infinite when nothing is on its way."""
        if not self._pieces:
            return math.inf
        return self._pieces[0][0] - anyio.current_time() if self._latency else 0.0

    def end(self) -> None:
        self.shut = True
        self._wake()

    def break_off(self) -> None:
        self.reset = True
        self._pieces.clear()
        self.size = 0
        self._wake()

    def _wake(self) -> None:
        self._readable.send_nowait(None)
        self._writable.send_nowait(None)

    def _check(self) -> None:
        assert self.size == sum(len(data) for _, data in self._pieces), "the size is that of the pieces"
        assert self.size <= self._capacity, "M2: more than the capacity is held"
        assert all(data for _, data in self._pieces), "a piece has at least one byte"
