"""Groups in groups, and in and around the task groups of anyio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from gochan import Channel, Group

from .helpers import Oops, bounded, settle, wait_parked


@bounded
async def test_nested_groups_failure() -> None:
    """The failure of an inner group fails the outer one, and reaches its other goroutines as a cancellation."""
    cancelled: list[str] = []

    async def bystander() -> None:
        try:
            await Channel[int]().receive()
        except anyio.get_cancelled_exc_class():
            cancelled.append("bystander")
            raise

    async def fail() -> None:
        await settle()
        raise Oops

    async def inner() -> None:
        async with Group() as group:
            group.go(fail)
            group.go(bystander)

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(inner)
            group.go(bystander)
            await bystander()
    assert cancelled == ["bystander"] * 3
    (nested,) = caught.value.exceptions
    assert isinstance(nested, ExceptionGroup)
    assert [type(error) for error in nested.exceptions] == [Oops]


@bounded
async def test_nested_groups_cancel() -> None:
    """cancel() of an inner group leaves the outer one alone; cancel() of the outer one ends the inner."""
    ch = Channel[int]()
    async with Group() as outer:
        survivor = outer.go(ch.receive)
        async with Group() as inner:
            inner.go(Channel[int]().receive)
            await settle()
            inner.cancel()
        await ch.send(1)
        assert await survivor.result() == 1

    ended: list[str] = []

    async def nested() -> None:
        try:
            async with Group() as group:
                group.go(Channel[int]().receive)
        finally:
            ended.append("inner")

    async with Group() as outer:
        outer.go(nested)
        await settle()
        outer.cancel()
    assert ended == ["inner"]


@bounded
async def test_group_in_an_anyio_task_group() -> None:
    """A group in a child of an anyio task group: cancelling that ends the goroutines, failing goes up as usual."""
    ended: list[str] = []

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            ended.append("worker")

    async def fail() -> None:
        raise Oops

    async def child(*work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with Group() as group:
            for fn in work:
                group.go(fn)

    async with anyio.create_task_group() as tg:
        tg.start_soon(child, worker)
        await settle()
        tg.cancel_scope.cancel()
    assert ended == ["worker"]

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as tg:
            tg.start_soon(worker)
            tg.start_soon(child, worker, fail)
    assert caught.group_contains(Oops, depth=2)
    assert ended == ["worker"] * 3


@bounded
async def test_group_around_an_anyio_task_group() -> None:
    """An anyio task group in a goroutine, and in a group's body: cancelled with the group, failing into it."""
    ended: list[str] = []

    async def worker() -> None:
        try:
            await Channel[int]().receive()
        finally:
            ended.append("worker")

    async def fail() -> None:
        await settle()
        raise Oops

    async def children(*work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with anyio.create_task_group() as tg:
            for fn in work:
                tg.start_soon(fn)

    async with Group() as group:
        group.go(children, worker)
        await settle()
        group.cancel()
    assert ended == ["worker"]

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(worker)
            await children(worker, fail)
    assert caught.group_contains(Oops, depth=2)
    assert ended == ["worker"] * 3


@bounded
async def test_task_group_scope_around_a_group() -> None:
    """An anyio task group in the body around a group: its cancel ends the goroutines and nothing is left over."""
    ch = Channel[int]()
    async with anyio.create_task_group() as tg:
        tg.start_soon(ch.receive)
        async with Group() as group:
            group.go(ch.receive)
            await wait_parked(ch, receivers=2)
            tg.cancel_scope.cancel()
    assert ch.statistics().receivers_waiting == 0
    await anyio.sleep(0)
