"""The broker in Valkey for the suite of all brokers: a real server, whose data is made older to let time pass."""

from __future__ import annotations

import itertools
import os
from contextlib import AsyncExitStack
from typing import Final, Self

import anyio
from tests.chat.broker import engine
from tests.chat.broker.clusters import WINDOW, pending

import gochan
from examples.chat.broker import Broker, Event, Resync
from examples.chat.broker.redis import RedisBroker, open_broker

_numbers = itertools.count()
_STEP: Final = 300.0
"""Nodes beat and renew far more often than this, relative to what they renew."""
_AGE: Final = """
local ms = tonumber(ARGV[2])
local function number(n) return string.format('%.0f', n) end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local ttl = redis.call('PTTL', key)
  local kind = redis.call('TYPE', key).ok
  if ttl >= 0 and ttl <= ms then
    redis.call('DEL', key)
  elseif kind == 'stream' then
    local entries = redis.call('XRANGE', key, '-', '+')
    redis.call('DEL', key)
    for _, entry in ipairs(entries) do
      local off, at = string.match(entry[1], '^(%d+)-(%d+)$')
      redis.call('XADD', key, off .. '-' .. number(at - ms), unpack(entry[2]))
    end
  elseif kind == 'zset' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, number(-ms), member) end
  end
  if ttl > ms then redis.call('PEXPIRE', key, number(ttl - ms)) end
end
return 1
"""


class Redis:
    """Nodes at an engine that all tests share, below a prefix of the test's own."""

    window = WINDOW
    durable = True

    def __init__(self) -> None:
        self.engine = engine.shared()
        self.prefix = f"test{os.getpid()}-{next(_numbers)}:"
        self.stack = AsyncExitStack()
        self.brokers: list[RedisBroker] = []
        self._barriers: dict[bytes, gochan.Event] = {}

    async def node(self, name: str, *, capacity: int = 1000) -> Broker:
        broker = await self.stack.enter_async_context(
            open_broker(self.engine.url, name, self.window, capacity=capacity, prefix=self.prefix, name_seconds=0)
        )
        self.brokers.append(broker)
        heard = broker.subscriber._heard

        def hear(word: bytes) -> None:
            if word in self._barriers:
                self._barriers.pop(word).set()
            else:
                heard(word)

        broker.subscriber._heard = hear
        return broker

    async def restart(self) -> None:
        await self._close()
        self.engine.restart()

    async def pass_time(self, seconds: float) -> None:
        while seconds > 0:
            step = min(seconds, _STEP)
            seconds -= step
            self.engine.ask("EVAL", _AGE, 0, self.prefix, round(step * 1000))
            for broker in self._open():
                assert await broker.beat()
                await broker.renew()

    async def heard(self, broker: Broker, limit: int = 10_000) -> list[Event | Resync]:
        # Whatever the engine sent to this node before this word arrives before it.
        assert isinstance(broker, RedisBroker)
        word = b"barrier %d" % next(_numbers)
        arrived = self._barriers[word] = gochan.Event()
        await broker.engine.command(b"PUBLISH", broker.keys.wake(broker.node), word)
        with anyio.fail_after(engine.BOUND):
            await arrived.wait()
        return pending(broker, limit)

    def _open(self) -> list[RedisBroker]:
        return [broker for broker in self.brokers if not broker._closed]

    async def _close(self) -> None:
        for broker in self._open():
            await broker.aclose()
        self.brokers.clear()
        await self.stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        for broker in self.brokers:
            broker.feed._check()
        await self._close()
