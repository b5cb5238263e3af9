"""The views: what a channel looks like from either side, and what other streams need to be one."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, get_type_hints

import anyio
import pytest
from anyio.abc import ObjectReceiveStream, ObjectSendStream, ObjectStream

from gochan import Channel, ChannelStatistics, Group, ReceiveChannel, SendChannel


def members(protocol: Any) -> set[str]:
    """What a protocol asks for."""
    return {name for name in vars(protocol) if callable(getattr(protocol, name)) and name not in vars(object)} - {
        "__init__",
        "__subclasshook__",
        "__class_getitem__",
    }


def test_what_the_views_ask_for() -> None:
    """The contract's members, no more: no close on the receiving side, as in Go."""
    own = {name for name in members(SendChannel) if not name.startswith("_")}
    assert own == {"send", "send_nowait", "close", "aclose"}
    receiving = {name for name in members(ReceiveChannel) if not name.startswith("_abc") and name != "_is_protocol"}
    assert {name for name in receiving if not name.startswith("_proto")} == {
        *("receive", "receive_ok", "receive_many", "receive_nowait"),
        *("__aiter__", "__anext__", "__case__"),
    }


@pytest.mark.parametrize("view", [SendChannel, ReceiveChannel])
def test_a_channel_has_all_that_the_views_ask_for(view: Any) -> None:
    """With parameters that fit, so that a function written for a view works with a channel."""
    for name in members(view):
        if name.startswith(("_abc", "_proto", "_is")):
            continue
        asked = inspect.signature(getattr(view, name)).parameters
        given = inspect.signature(getattr(Channel, name)).parameters
        assert len(given) == len(asked), name
        for one, other in zip(asked.values(), given.values(), strict=True):
            assert one.default == other.default, name


def test_a_channel_is_an_object_stream() -> None:
    """All three of anyio's kinds, and there is nothing more to know about it."""
    channel = Channel[int]()
    for kind in (ObjectStream, ObjectSendStream, ObjectReceiveStream):
        assert isinstance(channel, kind)
    assert channel.extra_attributes == {}
    assert channel.extra(object(), "default") == "default"


async def test_send_eof_and_aclose_are_close() -> None:
    """As anyio spells it; both may be called twice, and values in the buffer stay."""
    for end in (Channel.send_eof, Channel.aclose):
        channel = Channel[int](1)
        channel.send_nowait(1)
        for _ in range(2):
            await end(channel)
        assert channel.closed
        assert [number async for number in channel] == [1]


async def test_closing_does_not_wait() -> None:
    """``aclose`` and ``send_eof`` have closed even in a cancelled scope."""
    for end in (Channel.send_eof, Channel.aclose):
        channel = Channel[int]()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await end(channel)
        assert channel.closed


async def test_functions_written_for_a_view() -> None:
    """One end each; the channel is passed as it is."""

    async def produce(out: SendChannel[int]) -> None:
        await out.send(1)
        out.send_nowait(2)
        await out.aclose()

    async def consume(source: ReceiveChannel[int]) -> list[int]:
        return [number async for number in source]

    channel = Channel[int](2)
    async with Group() as group:
        group.go(produce, channel)
        assert await consume(channel) == [1, 2]


def test_statistics_are_a_frozen_record() -> None:
    """The fields of the contract, comparable, and without room for others."""
    assert [field.name for field in dataclasses.fields(ChannelStatistics)] == [
        *("capacity", "buffered", "senders_waiting", "receivers_waiting", "sent", "received", "dropped", "closed")
    ]
    assert Channel[int](2).statistics() == Channel[str](2).statistics()
    with pytest.raises((AttributeError, TypeError)):
        Channel[int]().statistics().other = 1  # type: ignore[attr-defined]


def test_annotations_resolve_at_run_time() -> None:
    """Tools that read them find the types."""
    for member in (Channel.send, Channel.receive, Channel.receive_ok, Channel.statistics, Channel.blocking):
        assert get_type_hints(member)
