"""Cancel scopes around a group, in it, and in its goroutines: levels, shields, deadlines."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
import pytest
from tests.turns import expire, given_up, parked

import gochan
from gochan import Channel, Event, Group, select

from .helpers import Oops, bounded, settle, wait_parked

Wait = Callable[[Channel[int]], Awaitable[object]]
WAITS: dict[str, Wait] = {
    "receive": lambda ch: ch.receive(),
    "send": lambda ch: ch.send(1),
    "select": lambda ch: select(ch, Event()),
    "event": lambda _: Event().wait(),
    "sleep": lambda _: gochan.sleep(60),
    "anyio.sleep": lambda _: anyio.sleep(60),
    "anyio.Event": lambda _: anyio.Event().wait(),
}


every_wait = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())


@every_wait
@bounded
async def test_shielded_clean_up(wait: Wait) -> None:
    """Shielded clean-up in a goroutine survives the cancellation of its group, whatever it waits for there."""
    log: list[str] = []
    logs = Channel[str]()

    async def worker() -> None:
        try:
            await wait(Channel[int]())
        finally:
            with anyio.CancelScope(shield=True):
                await parked()
                await logs.send("cleaned")

    async def logger() -> None:
        with anyio.CancelScope(shield=True):
            log.append(await logs.receive())

    async with Group() as group:
        group.go(worker)
        group.go(logger)
        await settle()
        group.cancel()
    assert log == ["cleaned"]


@every_wait
@bounded
async def test_level_cancellation(wait: Wait) -> None:
    """A goroutine that swallows a cancellation is cancelled again at its next await, until it ends."""
    swallowed: list[int] = []

    async def stubborn() -> None:
        for i in range(3):
            try:
                await wait(Channel[int]())
            except anyio.get_cancelled_exc_class():
                swallowed.append(i)

    async with Group() as group:
        group.go(stubborn)
        await settle()
        group.cancel()
    assert swallowed == [0, 1, 2]


@every_wait
@bounded
async def test_level_cancellation_by_an_outer_scope(wait: Wait) -> None:
    """A goroutine that swallows the cancellation of a scope around its group is cancelled again, too."""
    swallowed: list[int] = []

    async def stubborn() -> None:
        for i in range(3):
            try:
                await wait(Channel[int]())
            except anyio.get_cancelled_exc_class():
                swallowed.append(i)

    with anyio.CancelScope() as scope:
        async with Group() as group:
            group.go(stubborn)
            await settle()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert swallowed == [0, 1, 2]


@bounded
async def test_level_cancellation_by_a_failure() -> None:
    """A goroutine, and the body, that swallow the cancellation after a failure are cancelled again."""
    swallowed: list[str] = []

    async def stubborn(name: str) -> None:
        for _ in range(2):
            try:
                await Channel[int]().receive()
            except anyio.get_cancelled_exc_class():
                swallowed.append(name)

    async def fail() -> None:
        await settle()
        raise Oops

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(stubborn, "goroutine")
            group.go(fail)
            await stubborn("body")
    assert caught.group_contains(Oops)
    assert sorted(swallowed) == ["body", "body", "goroutine", "goroutine"]


@bounded
async def test_go_in_a_cancelled_group() -> None:
    """A goroutine of a group that is being cancelled is cancelled at its first await."""
    started: list[str] = []

    async def late() -> None:
        started.append("late")
        await Channel[int]().receive()
        started.append("never")

    with anyio.CancelScope() as scope:
        async with Group() as group:
            scope.cancel()
            group.go(late)
    assert "never" not in started


@bounded
async def test_outer_scope_reaches_goroutines_past_a_shielded_body() -> None:
    """The cancellation of an outer scope reaches the goroutines at once, though the group's body is shielded."""
    reached = anyio.Event()

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            reached.set()

    with anyio.CancelScope() as outer:
        async with Group() as group:
            group.go(worker)
            await settle()
            with anyio.fail_after(5, shield=True):
                outer.cancel()
                await reached.wait()
    assert reached.is_set()


@bounded
async def test_group_cancel_reaches_goroutines_past_a_shielded_body() -> None:
    """The cancellation of the group reaches the goroutines at once, though its body is shielded."""
    reached = anyio.Event()

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            reached.set()

    async with Group() as group:
        group.go(worker)
        await settle()
        with anyio.fail_after(5, shield=True):
            group.cancel()
            await reached.wait()


@bounded
async def test_failure_waits_for_a_shielded_body() -> None:
    """A failing goroutine does not cut through a shield in the body; the failure comes out when the body is left."""
    done: list[str] = []

    async def fail() -> None:
        raise Oops

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(fail)
            with anyio.CancelScope(shield=True):
                await parked(10)
                done.append("shielded")
            await anyio.sleep_forever()
            done.append("never")
    assert caught.group_contains(Oops)
    assert done == ["shielded"]


@bounded
async def test_shield_around_a_group() -> None:
    """A shield around a group keeps an outer cancellation from its goroutines."""
    ch, got = Channel[int](), list[int]()

    async def worker() -> None:
        got.append(await ch.receive())

    with anyio.CancelScope() as outer, anyio.CancelScope(shield=True):
        async with Group() as group:
            group.go(worker)
            await wait_parked(ch, receivers=1)
            outer.cancel()
            await settle()
            await ch.send(1)
    assert got == [1]


@bounded
async def test_shield_in_a_waiting_group() -> None:
    """An outer cancellation that arrives while the group waits for a shielded goroutine waits for it as well."""
    log: list[str] = []

    async def worker() -> None:
        with anyio.CancelScope(shield=True):
            await parked(20)
            log.append("worker")

    with given_up() as scope:
        async with Group() as group:
            group.go(worker)
        log.append("never")
    assert scope.cancelled_caught
    assert log == ["worker"]


@pytest.mark.parametrize("where", ["body", "end"])
@bounded
async def test_move_on_after_around_a_group(where: str) -> None:
    """move_on_after() around a group ends its goroutines quietly, whether its body runs still or not."""
    ch = Channel[int]()
    with anyio.move_on_after(math.inf) as scope:
        expire(scope)
        async with Group() as group:
            goroutine = group.go(ch.receive)
            if where == "body":
                await ch.receive()
    assert scope.cancelled_caught
    assert ch.statistics().receivers_waiting == 0
    assert goroutine.done.is_set()
    await anyio.sleep(0)


@bounded
async def test_fail_after_around_a_group() -> None:
    """fail_after() around a group raises a bare TimeoutError."""
    with pytest.raises(TimeoutError):
        with anyio.fail_after(math.inf) as scope:
            expire(scope)
            async with Group() as group:
                group.go(Channel[int]().receive)


@pytest.mark.trio_only
@bounded
async def test_trio_scopes_around_a_group() -> None:
    """trio's own scopes around a group end it as anyio's do."""
    import trio

    ch = Channel[int]()
    with trio.move_on_after(math.inf) as scope:
        expire(scope)
        async with Group() as group:
            group.go(ch.receive)
    assert scope.cancelled_caught
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(math.inf) as scope:
            expire(scope)
            async with Group() as group:
                group.go(ch.receive)
                await ch.receive()
    assert ch.statistics().receivers_waiting == 0
