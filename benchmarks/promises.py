"""What the peers keep: probes that count items. Who loses any under a workload is not timed under it.

Each probe is bounded by `LIMIT` seconds: a peer may also hang.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import Any

import anyio

import gochan

from .harness import Backend, BackendName
from .peers import GOCHAN, Line, Peer

LIMIT = 5.0
Probe = Callable[[Peer], Awaitable[str]]


def _bounded(peer: Peer, probe: Probe, backend: BackendName = "asyncio") -> str:
    """What the probe found, or how it failed."""

    async def main() -> str:
        if backend != "trio":  # a peer's callback that fails is a finding, not a traceback in the middle of the run
            asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        with anyio.fail_after(LIMIT):
            return await probe(peer)

    with Backend(backend) as runner:
        try:
            return runner.run(main)
        except TimeoutError:
            return f"hangs (given up after {LIMIT:g} s)"
        except BaseExceptionGroup as group:
            return f"fails: {type(group.exceptions[0]).__name__}"
        except Exception as error:
            return f"fails: {type(error).__name__}"


async def _every_item(peer: Peer) -> str:
    """Ten producers, ten consumers, each value exactly once."""
    got: list[int] = []
    line = peer.open(5)

    async def produce(first: int) -> None:
        for i in range(first, first + 100):
            await line.send(i)

    async def consume() -> None:
        got.extend([await line.receive() for _ in range(100)])

    async with anyio.create_task_group() as group:
        for i in range(10):
            group.start_soon(produce, 100 * i)
            group.start_soon(consume)
    await line.close()
    lost, twice = len(set(range(1000)) - set(got)), len(got) - len(set(got))
    return "yes" if not lost and not twice else f"NO: {lost} of 1,000 lost, {twice} twice"


@cache
def lost_in_flow(peer: Peer, backend: BackendName) -> str | None:
    """Why the peer cannot be timed: under the workload itself, not all items came through once."""
    found = _bounded(peer, _every_item, backend)
    return None if found == "yes" else f"not every item arrived once: {found}"


def _left(line: Line) -> int:
    count = 0
    try:
        while line.drain() is not None:
            count += 1
    except Exception:
        pass
    return count


async def _cancelled_receivers(peer: Peer) -> str:
    """A hundred times: a value goes in, and the task that waits for it is cancelled in the same turn of the loop."""
    line, got, sent = peer.open(1), 0, 0

    async def take() -> int:
        return int(await line.receive())

    for _ in range(100):
        task = asyncio.create_task(take())
        for _ in range(3):
            await asyncio.sleep(0)
        line.send_nowait(1)
        sent += 1
        task.cancel()
        try:
            got += await task
        except asyncio.CancelledError:
            got += _left(line)
    got += _left(line)
    await line.close()
    return "yes" if got == sent else f"NO: {sent - got} of {sent} lost"


async def _timed_out_receivers(peer: Peer) -> str:
    """A hundred times: a value goes in, and the `asyncio.timeout` of who waits for it is due in the same turn."""
    line, got, loop = peer.open(1), 0, asyncio.get_running_loop()

    async def consume() -> int:
        try:
            async with asyncio.timeout(0.0002):
                return int(await line.receive())
        except TimeoutError:
            return 0

    for _ in range(100):
        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        loop.call_later(0.0001, line.send_nowait, 1)
        time.sleep(0.0003)  # so that both are due when the loop looks next, the value first
        got += await task
        await asyncio.sleep(0.0003)
        got += _left(line)
    await line.close()
    return "yes" if got == 100 else f"NO: {100 - got} of 100 lost"


async def _rendezvous(peer: Peer) -> str:
    """At capacity 0, a send must not return before a receiver has the value."""
    line = peer.open(0)
    sending = asyncio.ensure_future(line.send(1))
    for _ in range(10):
        await asyncio.sleep(0)
    early = sending.done()
    await line.receive()
    await sending
    await line.close()
    return "no" if early else "yes"


async def select_loses(peer: Peer) -> str:
    """Two channels have a value each: a select must take one and leave one."""
    select = SELECTS.get(peer.name)
    if select is None:
        return "no select"
    a, b = peer.make(1), peer.make(1)
    lines = [peer.ends(a), peer.ends(b)]
    for line in lines:
        await line.send(1)
    await select(a, b)
    left = sum(_left(line) for line in lines)
    return "yes" if left == 1 else f"NO: takes {2 - left}"


async def _gochan_select(a: Any, b: Any) -> Any:
    return await gochan.select(a, b)


async def _aiochan_select(a: Any, b: Any) -> Any:
    return await import_module("aiochan").select(a, b)


async def _asyncio_wait(a: Any, b: Any) -> Any:
    """The idiom that is commonly used for want of a select."""
    tasks = [asyncio.ensure_future(a.get()), asyncio.ensure_future(b.get())]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    return done.pop().result()


SELECTS: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
    GOCHAN.name: _gochan_select,
    "aiochan": _aiochan_select,
    "asyncio.Queue": _asyncio_wait,
}

PROBES: dict[str, Probe] = {
    "every item once": _every_item,
    "unbuffered": _rendezvous,
    "keeps items of cancelled receivers": _cancelled_receivers,
    "… of timed-out ones": _timed_out_receivers,
    "a select takes one": select_loses,
}


@cache
def finding(peer: Peer, promise: str) -> str:
    if "asyncio" not in peer.loops:
        return "not on asyncio"
    if promise == "unbuffered" and peer.no_rendezvous:
        return "no"
    return _bounded(peer, PROBES[promise])
