"""Who publishes for a whole node: what waits when a batch is done goes out as the next one, in one write.

Shape
    publish ── requests (8192) ──▸ two publishers: receive_many, one turn for those who are about to, ──▸ engine.batch
       ▴ deadlines, ten times a second

    While two batches are under way, one being made or answered here and one being done there, the next one gathers: the
    busier the node, the larger the batches, at most ``batch``.

Invariants
    P1  ``publish`` ends within a second, the time in the queue included; when 8192 wait, at once.
    P2  Whoever was cancelled, or gave up, before the batch went out publishes nothing. Afterwards it may have happened:
        the key makes it safe to do it again (B3).
    P3  Every request that was taken is answered, also when this ends.

Why one goroutine for all deadlines: a timer for each publication was a third of what a publication costs.
Why not a timer (100 microseconds, as others do) for a batch to fill: on these loops a timer costs more than what it
would gather. One turn of the loop is enough for those whom the last answers woke. Why not one write a message: the
engine, the kernel and coredis pay for each write many times what they pay for a message.

Prior art: Centrifugo's pipelining, rueidis; "smart batching" (Martin Thompson).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import anyio
from coredis.exceptions import RedisError

from gochan import Channel, ChannelClosed, Event, Group, sleep

from ..wire.commands import Pos
from .base import KEY_SECONDS, Published, Unavailable
from .redis_engine import Argument, Engine
from .redis_scripts import PUBLISH, Keys
from .window import Window

BATCH: Final = 128
DEADLINE: Final = 0.9
_TICK: Final = 0.1
_UNDER_WAY: Final = 2
_WAITING: Final = 8192


@dataclass(slots=True, eq=False)
class _Request:
    keys: tuple[bytes, ...]
    arguments: tuple[Argument, ...]
    until: float
    done: Event = field(default_factory=Event)
    result: Published | str | None = None
    """A text: why it failed."""
    given_up: bool = False


class Publisher:
    """The way of all publications of a node to the engine."""

    def __init__(self, engine: Engine, keys: Keys, window: Window, *, batch: int = BATCH) -> None:
        self.batches = 0
        self._engine = engine
        self._keys = keys
        self._batch = batch
        self._under_way = _UNDER_WAY if batch > 1 else 1
        self._limits = (
            window.messages,
            int(window.seconds * 1000),
            int(window.room_seconds * 1000),
            int(KEY_SECONDS * 1000) + 1,
        )
        self._requests = Channel[_Request](_WAITING, name="publications")
        self._unanswered = deque[_Request]()  # in the order of their deadlines
        self._where = lru_cache(4096)(self._names)

    async def publish(self, room: str, payload: bytes, key: str | None) -> Published:
        """``Broker.publish``."""
        where, channel = self._where(room)
        request = _Request(
            where if key is None else (*where, self._keys.key(room, key)),
            (payload, channel, *self._limits),
            anyio.current_time() + DEADLINE,
        )
        try:
            self._requests.send_nowait(request)
        except anyio.WouldBlock:
            raise Unavailable(f"{self._engine.address} is overloaded: {_WAITING} publications wait") from None
        except ChannelClosed:
            raise Unavailable("the broker is closed") from None
        self._unanswered.append(request)
        try:
            await request.done.wait()
        finally:
            request.given_up = True
        if isinstance(request.result, Published):
            return request.result
        raise Unavailable(request.result or f"{self._engine.address} did not answer within {DEADLINE + _TICK:g} s")

    async def run(self) -> None:
        """Publish, until cancelled."""
        async with Group(errors="first") as group:
            group.go(self._watch, name="deadlines")
            for _ in range(self._under_way):
                group.go(self._serve, name="publisher")

    async def _watch(self) -> None:
        waiting = self._unanswered
        while True:
            await sleep(_TICK)
            now = anyio.current_time()
            while waiting and (waiting[0].given_up or waiting[0].until <= now):
                request = waiting.popleft()
                request.given_up = True
                request.done.set()

    async def _serve(self) -> None:
        batch: list[_Request] = []
        try:
            while True:
                batch = await self._requests.receive_many(self._batch)
                if len(batch) < self._batch:
                    await sleep(0)
                    self._add(batch)
                batch = [request for request in batch if not request.given_up]
                if batch:
                    await self._publish(batch)
        finally:
            self._requests.close()
            batch.extend(self._rest())
            for request in batch:
                request.result = request.result or "the broker is closed"
                request.done.set()

    def _names(self, room: str) -> tuple[tuple[bytes, bytes], bytes]:
        room_ = self._keys.room
        return (room_(room, b"m"), room_(room, b"s")), room_(room, b"e")

    def _add(self, batch: list[_Request]) -> None:
        try:
            while len(batch) < self._batch:
                batch.append(self._requests.receive_nowait())
        except anyio.WouldBlock:
            pass

    def _rest(self) -> list[_Request]:
        rest: list[_Request] = []
        try:
            while True:
                rest.append(self._requests.receive_nowait())
        except ChannelClosed:
            return rest

    async def _publish(self, batch: list[_Request]) -> None:
        self.batches += 1
        try:
            results = await self._engine.batch([(PUBLISH, request.keys, request.arguments) for request in batch])
        except Unavailable as error:
            results = [error] * len(batch)
        for request, result in zip(batch, results, strict=True):
            request.result = _outcome(result)
            request.done.set()
        batch.clear()


def _outcome(result: Any) -> Published | str:
    if isinstance(result, Unavailable):
        return str(result)
    if isinstance(result, RedisError):
        return f"the engine refuses it: {result}"
    offset, epoch, duplicate = result
    return Published(Pos(offset, epoch.decode()), duplicate=bool(duplicate))
