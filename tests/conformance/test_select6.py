"""The queue behind a select that lost, after Go's test/chan/select6.go (its issue 2075)."""

from __future__ import annotations

import pytest

from gochan import Channel, Group, select, send

from .helpers import bounded, receivers_parked, senders_parked, settle


@bounded
async def test_waiters_behind_a_losing_select_still_wake() -> None:
    """A select that loses while last in a queue leaves the queue whole: later waiters there are served."""
    first: Channel[bool] = Channel()
    second: Channel[bool] = Channel()
    third: Channel[bool] = Channel()

    async def plain() -> None:
        await first.receive()

    async def selector() -> None:
        assert await select(first, second) == (1, True)
        await third.send(True)
        await first.receive()

    async with Group() as group:
        group.go(plain)
        await receivers_parked(first)
        group.go(selector)
        await receivers_parked(first, 2)
        group.go(second.send, True)
        assert await third.receive()
        await first.send(True)
        await first.send(True)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("sending", [False, True], ids=["receivers", "senders"])
@bounded
async def test_a_losing_select_leaves_from_any_place(place: int, sending: bool) -> None:
    """Wherever in the queue a losing select stood, those before and behind it keep their order."""
    contended: Channel[int] = Channel()
    other: Channel[int] = Channel()
    served: list[tuple[int, object]] = []

    async def plain(me: int) -> None:
        served.append((me, await (contended.send(me) if sending else contended.receive())))

    async def selector() -> None:
        assert await select(send(contended, -1) if sending else contended, other) == (1, 5)

    async with Group() as group:
        waiting = senders_parked if sending else receivers_parked
        for me in range(3):
            group.go(*((selector,) if me == place else (plain, me)))
            await waiting(contended, me + 1)
        await other.send(5)
        await settle()
        for me in range(3):
            if me == place:
                continue
            if sending:
                assert await contended.receive() == me
            else:
                await contended.send(me)
            await settle()
    expected = [me for me in range(3) if me != place]
    assert served == [(me, None if sending else me) for me in expected]
    assert contended.statistics().receivers_waiting == contended.statistics().senders_waiting == 0
