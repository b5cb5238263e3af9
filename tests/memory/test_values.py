"""Values are let go: nobody but its owner keeps one that was received, dropped, cancelled or refused."""

from __future__ import annotations

import weakref

import anyio
import pytest
from tests.turns import given_up

from gochan import Channel, ChannelClosed, Group, select, send

from .helpers import Value, settle

by_count_alone = pytest.mark.usefixtures("no_collector")


@by_count_alone
@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("first", ["sender", "receiver"])
async def test_received_value_is_the_receivers_alone(capacity: int, first: str) -> None:
    """A value that was received is kept by nobody but the receiver, also while its sender lives on."""
    ch = Channel[Value](capacity)
    watched: list[weakref.ref[Value]] = []
    dead: list[bool] = []
    sent, looked = anyio.Event(), anyio.Event()

    async def sender() -> None:
        value = Value()
        watched.append(weakref.ref(value))
        sending = ch.send(value)
        del value
        await sending
        del sending
        sent.set()
        await looked.wait()

    async def receiver() -> None:
        value = await ch.receive()
        await sent.wait()
        assert watched[0]() is value
        del value
        dead.append(watched[0]() is None)
        looked.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            for run in (sender, receiver) if first == "sender" else (receiver, sender):
                tg.start_soon(run)
                await settle()
    assert dead == [True]


@by_count_alone
async def test_buffer_lets_go() -> None:
    """A buffer keeps no value that was taken from it, or dropped."""
    with anyio.fail_after(10):
        ch = Channel[Value](3, overflow="drop_oldest")
        watched: list[weakref.ref[Value]] = []

        async def send_new() -> None:
            value = Value()
            watched.append(weakref.ref(value))
            await ch.send(value)

        for _ in range(4):
            await send_new()
        assert [ref() is None for ref in watched] == [True, False, False, False]
        await ch.receive()
        assert [ref() is None for ref in watched] == [True, True, False, False]
        await ch.receive_many()
        assert [ref() is None for ref in watched] == [True, True, True, True]


@by_count_alone
async def test_cancelled_send_lets_go() -> None:
    """The value of a send, or of a send case, that was cancelled or lost is let go."""
    ch, other = Channel[Value](), Channel[int]()
    watched: list[weakref.ref[Value]] = []

    def made() -> Value:
        value = Value()
        watched.append(weakref.ref(value))
        return value

    with anyio.fail_after(10):
        with given_up():
            await ch.send(made())
        with given_up():
            await select(send(ch, made()), other)
        async with anyio.create_task_group() as tg:
            tg.start_soon(other.send, 1)
            assert (await select(send(ch, made()), other))[0] == 1
        await anyio.sleep(0)
        assert [ref() for ref in watched] == [None, None, None]


@by_count_alone
@pytest.mark.asyncio_only
async def test_closed_send_lets_go() -> None:
    """The value of a send that the close of its channel ended is let go with the error."""
    ch = Channel[Value]()
    watched: list[weakref.ref[Value]] = []

    async def sender() -> None:
        value = Value()
        watched.append(weakref.ref(value))
        with pytest.raises(ChannelClosed):
            await ch.send(value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tg:
            tg.start_soon(sender)
            await settle()
            ch.close()
        await anyio.sleep(0)
        assert watched[0]() is None


@by_count_alone
async def test_goroutine_lets_go() -> None:
    """A group keeps neither the result nor the arguments of a goroutine that has ended."""
    watched: list[weakref.ref[Value]] = []

    def made() -> Value:
        value = Value()
        watched.append(weakref.ref(value))
        return value

    async def worker(argument: Value) -> Value:
        del argument
        return made()

    with anyio.fail_after(10):
        async with Group() as group:
            await group.go(worker, made()).result()
            await settle()
            assert [ref() for ref in watched] == [None, None]
