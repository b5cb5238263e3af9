"""Subscriptions while the broker takes only some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from examples.chat.broker import MemoryEngine, Unavailable
from examples.chat.broker.base import Broker
from examples.chat.subscriptions import Subscriptions
from gochan import Group, sleep

virtual = pytest.mark.gochan(virtual_time=True)


async def nothing(room: str) -> None:
    """Nobody is elsewhere."""


def refusing(broker: Broker, refused: Callable[[str], bool]) -> Broker:
    """A broker that has no place for some rooms."""
    subscribe = broker.subscribe

    async def some(room: str) -> None:
        if refused(room):
            raise Unavailable("no space left")
        await subscribe(room)

    changed: Any = broker
    changed.subscribe = some
    return broker


@virtual
async def test_rooms_that_cannot_be_had_do_not_delay_others() -> None:
    """However many rooms the broker refuses, one that it takes is ready within a moment."""
    rooms = {f"bad{n}" for n in range(200)} | {"good"}
    broker = refusing(MemoryEngine().broker("here"), lambda room: room != "good")
    subscriptions = Subscriptions(broker, rooms.__contains__, nothing)
    async with Group() as group:
        group.go(subscriptions.run)
        for room in sorted(rooms):
            subscriptions.touch(room)
        with anyio.fail_after(1):
            await subscriptions.ready("good")
        group.cancel()


@virtual
async def test_rooms_that_were_never_had_are_forgotten() -> None:
    """Who gave up waiting for a room leaves nothing behind, whatever the broker does."""
    rooms: set[str] = set()
    broker = refusing(MemoryEngine().broker("here"), lambda room: True)
    subscriptions = Subscriptions(broker, rooms.__contains__, nothing)
    async with Group() as group:
        group.go(subscriptions.run)
        for number in range(20):
            rooms.add(f"room{number}")
            subscriptions.touch(f"room{number}")
            with anyio.move_on_after(0.5):
                await subscriptions.ready(f"room{number}")
            rooms.clear()
            subscriptions.touch(f"room{number}")
        await sleep(1)
        assert not subscriptions._waiting
        assert not subscriptions._touched
        group.cancel()
