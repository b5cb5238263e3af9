"""A channel is an object stream of anyio's, in everything that anyio asks of one."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import ObjectReceiveStream, ObjectSendStream, ObjectStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.stapled import StapledObjectStream
from anyio.streams.text import TextReceiveStream

from gochan import Channel, ChannelClosed

from .helpers import Oops, bounded, wait_parked


def test_is_an_object_stream() -> None:
    """A Channel is an ObjectStream, and each half of one, to isinstance too."""
    ch = Channel[int]()
    assert isinstance(ch, ObjectStream)
    assert isinstance(ch, ObjectSendStream)
    assert isinstance(ch, ObjectReceiveStream)


@bounded
async def test_stream_code_works_on_a_channel() -> None:
    """Code written for anyio's object streams runs on a channel: send, receive, async for, aclose."""

    async def produce(stream: ObjectSendStream[int]) -> None:
        async with stream:
            for i in range(5):
                await stream.send(i)

    async def consume(stream: ObjectReceiveStream[int]) -> list[int]:
        first = await stream.receive()
        return [first, *[item async for item in stream]]

    ch = Channel[int]()
    async with anyio.create_task_group() as tg:
        tg.start_soon(produce, ch)
        assert await consume(ch) == [0, 1, 2, 3, 4]


@bounded
async def test_aclose_ends_both_ends() -> None:
    """After aclose() a receiver gets anyio.EndOfStream, a sender anyio.ClosedResourceError, waiting ones included."""
    ch = Channel[int]()

    async def receiver() -> None:
        with pytest.raises(anyio.EndOfStream):
            await ch.receive()

    async with anyio.create_task_group() as tg:
        tg.start_soon(receiver)
        await wait_parked(ch, receivers=1)
        await ch.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await ch.send(1)
    with pytest.raises(anyio.EndOfStream):
        await ch.receive()
    await ch.aclose()


@bounded
async def test_send_eof() -> None:
    """send_eof() is close(): what is buffered is still received, then the stream ends."""
    ch = Channel[int](2)
    await ch.send(1)
    await ch.send_eof()
    assert ch.closed
    assert [item async for item in ch] == [1]
    with pytest.raises(anyio.ClosedResourceError):
        await ch.send(2)


def test_no_extra_attributes() -> None:
    """There are no extra attributes; asking for one gives anyio's own answer."""

    class Attributes(anyio.TypedAttributeSet):
        colour: str = anyio.typed_attribute()

    ch = Channel[int]()
    assert dict(ch.extra_attributes) == {}
    assert ch.extra(Attributes.colour, "none") == "none"
    with pytest.raises(anyio.TypedAttributeLookupError):
        ch.extra(Attributes.colour)


@bounded
async def test_stapled() -> None:
    """Two channels make a StapledObjectStream; closing it closes both."""
    there, back = Channel[int](1), Channel[int](1)
    stapled = StapledObjectStream(there, back)
    await stapled.send(1)
    await back.send(2)
    assert await stapled.receive() == 2
    assert await there.receive() == 1
    await stapled.aclose()
    assert there.closed
    assert back.closed


@bounded
async def test_bytes_and_text_over_a_channel() -> None:
    """anyio's buffered and text streams read from a channel of bytes, and see its close as the end."""
    ch = Channel[bytes](5)
    for chunk in (b"ab", b"c\nde", "é".encode()[:1], "é".encode()[1:]):
        await ch.send(chunk)
    ch.close()
    buffered = BufferedByteReceiveStream(ch)
    assert await buffered.receive_until(b"\n", 10) == b"abc"
    assert await buffered.receive_exactly(2) == b"de"
    text = TextReceiveStream(ch)
    assert await text.receive() == "é"
    with pytest.raises(anyio.IncompleteRead):
        await buffered.receive_exactly(1)


@bounded
async def test_closed_error_is_both_of_anyios() -> None:
    """ChannelClosed is anyio's EndOfStream and its ClosedResourceError, and names the channel."""
    ch = Channel[int]()
    ch.close(Oops("why"))
    with pytest.raises(ChannelClosed) as caught:
        await ch.receive()
    assert isinstance(caught.value, anyio.EndOfStream)
    assert isinstance(caught.value, anyio.ClosedResourceError)
    assert caught.value.channel is ch
    assert isinstance(caught.value.__cause__, Oops)
