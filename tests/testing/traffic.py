"""Programs that record histories: senders and receivers of all kinds on one channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

import gochan
from gochan import Channel, ChannelClosed
from gochan.testing import History


def named(start: Callable[[], Any]) -> Callable[[], Any]:
    async def goroutine() -> None:
        try:
            await start()
        except ChannelClosed:
            pass

    return goroutine


async def mixture(history: History, channel: Any, stop_after: int) -> None:
    """Senders and receivers of all kinds on one channel, one of them cancelled, and a close at the end."""
    other = Channel[int](1)

    async def sender(first: int) -> None:
        for value in (first, first + 1):
            await history.send(channel, value)

    async def chooser() -> None:
        for value in (30, 31):
            await history.select(gochan.send(channel, value), other, gochan.send(other, value))

    async def receiver() -> None:
        while (await history.receive_ok(channel))[1]:
            pass

    async def at_once() -> None:
        for _ in range(3):
            for attempt in (lambda: history.send_nowait(channel, 40), lambda: history.receive_nowait(channel)):
                try:
                    attempt()
                except (anyio.WouldBlock, ChannelClosed):
                    pass
                await anyio.sleep(0)

    async def canceller(scope: anyio.CancelScope) -> None:
        for _ in range(stop_after):
            await anyio.sleep(0)
        scope.cancel()

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            group.go(canceller, scope)
            await sender(50)
            await history.receive(channel)

    async with gochan.Group() as group:
        for start in (lambda: sender(10), lambda: sender(20), chooser, receiver, receiver, at_once, cancelled):
            group.go(named(start))
        await anyio.sleep(1)
        history.close(channel)


async def traffic(history: History, channel: Any, stop_after: int) -> None:
    """Two senders and two receivers, one of each cancelled; then a last value, a close, and what is left."""

    async def sender(first: int) -> None:
        for value in range(first, first + 3):
            await history.send(channel, value)

    async def at_once() -> None:
        for value in (70, 71):
            try:
                history.send_nowait(channel, value)
            except anyio.WouldBlock:
                pass
            await anyio.sleep(0)

    async def receiver() -> None:
        while True:
            await history.receive(channel)

    async def canceller(scope: anyio.CancelScope) -> None:
        for _ in range(stop_after):
            await anyio.sleep(0)
        scope.cancel()

    async def cancelled(start: Callable[[], Any]) -> None:
        with anyio.CancelScope() as scope:
            group.go(canceller, scope)
            await start()

    async with gochan.Group() as group:
        for start in (
            lambda: sender(10),
            lambda: cancelled(lambda: sender(20)),
            receiver,
            lambda: cancelled(receiver),
            at_once,
        ):
            group.go(named(start))
        await anyio.sleep(1)
        try:
            history.send_nowait(channel, 90)
        except anyio.WouldBlock:
            pass
        history.close(channel)
        group.go(named(receiver))
