"""The peers: how each is opened, and how a value goes in and comes out.

A workload asks a `Peer` for a `Line` and calls its two bound methods, so nothing of ours stands between the clock and
the peer. A peer that is not installed says so in `missing`; one that cannot do a piece of work, in `refuses`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any, NamedTuple

import anyio
import trio

from gochan import Channel

from .harness import BackendName


class Line(NamedTuple):
    send: Callable[[Any], Awaitable[object]]
    receive: Callable[[], Awaitable[Any]]
    close: Callable[[], Awaitable[object]]
    send_nowait: Callable[[Any], object]
    drain: Callable[[], Any]  # receives without waiting; raises when there is nothing


@dataclass(frozen=True)
class Peer:
    name: str
    module: str
    make: Callable[[int], Any]
    ends: Callable[[Any], Line]
    loops: frozenset[BackendName] = frozenset({"asyncio", "uvloop"})
    no_rendezvous: str | None = None  # what capacity 0 means there, if not that

    def open(self, capacity: int) -> Line:
        return self.ends(self.make(capacity))

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here at all."""
        try:
            import_module(self.module)
        except ModuleNotFoundError:
            return "is not installed: pip install --group bench"
        except Exception as error:
            return f"does not work on this Python: {error!r}"
        return None

    @property
    def version(self) -> str:
        if self.module == "asyncio":
            return "standard library"
        return metadata.version("pygochan" if self.module == "gochan" else self.module)

    def refuses(self, backend: BackendName, capacity: int) -> str | None:
        """Why it cannot do this work."""
        if backend not in self.loops:
            return f"does not run on {backend}"
        return self.no_rendezvous if capacity == 0 else None


async def _closed() -> None:
    pass


def _gochan(channel: Channel[Any]) -> Line:
    return Line(channel.send, channel.receive, channel.aclose, channel.send_nowait, channel.receive_nowait)


def _queue(queue: asyncio.Queue[Any]) -> Line:
    return Line(queue.put, queue.get, _closed, queue.put_nowait, queue.get_nowait)


def _two_ends(ends: tuple[Any, Any]) -> Line:
    sending, receiving = ends

    async def close() -> None:
        sending.close()
        receiving.close()

    return Line(sending.send, receiving.receive, close, sending.send_nowait, receiving.receive_nowait)


def _aiochan(channel: Any) -> Line:
    async def close() -> None:
        channel.close()

    return Line(channel.put, channel.get, close, channel.put_nowait, channel.get_nowait)


def _aiochannel(channel: Any) -> Line:
    async def close() -> None:
        channel.close()

    return Line(channel.put, channel.get, close, channel.put_nowait, channel.get_nowait)


def _janus(queue: Any) -> Line:
    end = queue.async_q
    return Line(end.put, end.get, queue.aclose, end.put_nowait, end.get_nowait)


def _culsans(queue: Any) -> Line:
    end = queue.async_q
    return Line(end.put, end.get, _closed, end.put_nowait, end.get_nowait)


def _make_aiochan(capacity: int) -> Any:
    aiochan = import_module("aiochan")
    return aiochan.Chan(capacity) if capacity else aiochan.Chan()


def _made(module: str, name: str) -> Callable[[int], Any]:
    def make(capacity: int) -> Any:
        return getattr(import_module(module), name)(capacity)

    return make


_EVERYWHERE: frozenset[BackendName] = frozenset({"asyncio", "uvloop", "trio"})
_UNBOUNDED = "no rendezvous: 0 means unbounded"

GOCHAN = Peer("gochan", "gochan", Channel[Any], _gochan, _EVERYWHERE)
QUEUE = Peer("asyncio.Queue", "asyncio", asyncio.Queue[Any], _queue, no_rendezvous=_UNBOUNDED)
ANYIO = Peer("anyio", "anyio", anyio.create_memory_object_stream[Any], _two_ends, _EVERYWHERE)
TRIO = Peer("trio", "trio", trio.open_memory_channel[Any], _two_ends, frozenset({"trio"}))
PEERS = (
    QUEUE,
    ANYIO,
    TRIO,
    Peer("aiochan", "aiochan", _make_aiochan, _aiochan),
    Peer("aiochannel", "aiochannel", _made("aiochannel", "Channel"), _aiochannel, no_rendezvous=_UNBOUNDED),
    Peer("janus", "janus", _made("janus", "Queue"), _janus, no_rendezvous=_UNBOUNDED),
    Peer("culsans", "culsans", _made("culsans", "Queue"), _culsans, _EVERYWHERE, no_rendezvous=_UNBOUNDED),
)
GO = "go"  # the language itself: not a module, see `golang`
PEER_NAMES = (*(peer.name for peer in PEERS), GO)
