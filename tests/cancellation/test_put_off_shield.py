"""A cancellation that came with a committed operation, and a shield that follows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle

from gochan import Channel, Event, Group, select

OPERATIONS: dict[str, Callable[[Channel[int], Event], Awaitable[object]]] = {
    "receive": lambda channel, event: channel.receive(),
    "select": lambda channel, event: select(channel, event),
}


@pytest.mark.parametrize("kind", OPERATIONS)
@pytest.mark.parametrize("foreign", [False, True])
@bounded
async def test_a_shield_holds(kind: str, foreign: bool) -> None:
    """The operation returns, the clean-up behind a shield is left alone, and the cancellation comes after it."""
    first, second, done, ended = Channel[int](), Channel[int](), Event(), list[str]()
    scopes = list[anyio.CancelScope]()

    async def victim() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await OPERATIONS[kind](first, done)
            ended.append("committed")
            with anyio.CancelScope(shield=True):
                if foreign:
                    await settle()
                else:
                    await second.receive()
                ended.append("behind the shield")
            await anyio.lowlevel.checkpoint()
            ended.append("not cancelled")
        assert scope.cancelled_caught

    async with Group() as group:
        group.go(victim)
        await settle()
        first.send_nowait(1)
        scopes[0].cancel()  # in the turn in which the receive was committed
        await settle()
        if not foreign:
            second.send_nowait(2)
    assert ended == ["committed", "behind the shield"]


@bounded
async def test_without_a_shield_it_comes_at_the_next_wait() -> None:
    """Though a partner is so fast that anyio's own repetition would come too late."""
    channel, seen = Channel[int](), list[int]()
    scopes = list[anyio.CancelScope]()

    async def victim() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            while True:
                seen.append(await channel.receive())

    async def partner() -> None:
        for number in range(100):
            try:
                await channel.send(number)
            finally:
                if number == 5:
                    scopes[0].cancel()
            if len(scopes[0:1]) and scopes[0].cancelled_caught:
                return

    with anyio.move_on_after(5):
        async with Group() as group:
            group.go(victim)
            await settle()
            group.go(partner)
            await settle(40)
            group.cancel()
    assert len(seen) <= 8
