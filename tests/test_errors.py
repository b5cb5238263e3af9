"""The errors: what they are, what they carry, what they say."""

from __future__ import annotations

import copy
import pickle

import anyio
import pytest

from gochan import Cancelled, Channel, ChannelClosed, ContextError, DeadlineExceeded


@pytest.mark.parametrize("kind", [anyio.EndOfStream, anyio.ClosedResourceError])
async def test_one_error_for_both_ends(kind: type[Exception]) -> None:
    """anyio's two names catch it on either side."""
    channel = Channel[int]()
    channel.close()
    with pytest.raises(kind):
        await channel.send(1)
    with pytest.raises(kind):
        await channel.receive()


def test_it_says_what_happened_to_which_channel() -> None:
    """The operation, the channel's name and its state."""
    channel = Channel[int](2, name="jobs")
    channel.close()
    with pytest.raises(ChannelClosed, match="send on a closed channel: <Channel 'jobs' 0/2 closed"):
        channel.send_nowait(1)
    with pytest.raises(ChannelClosed, match="receive from a closed channel: <Channel 'jobs'"):
        channel.receive_nowait()


def test_it_can_be_made_by_hand() -> None:
    """For streams of one's own that behave like channels."""
    assert ChannelClosed().channel is None
    assert "closed" in str(ChannelClosed())
    assert ChannelClosed("mine", 3).channel == 3


def test_a_copy_says_the_same() -> None:
    """Errors travel: they are copied, and pickled where they hold no channel."""
    error = ChannelClosed("over")
    assert str(copy.copy(error)) == "over"
    assert str(pickle.loads(pickle.dumps(error))) == "over"


def test_the_family_of_contexts() -> None:
    """``except ContextError`` catches both; a deadline is a TimeoutError too; ours are plain Exceptions."""
    assert issubclass(Cancelled, ContextError)
    assert issubclass(DeadlineExceeded, ContextError)
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert issubclass(ContextError, Exception)
    assert not issubclass(ChannelClosed, ContextError)
