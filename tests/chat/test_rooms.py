"""A room's latest messages have a bound of bytes besides that of their number, and what went is in the history."""

from __future__ import annotations

from examples.chat import wire
from examples.chat.broker import Event, Pos
from examples.chat.rooms import Room


def event(off: int, size: int) -> Event:
    return Event("a", Pos(off, "e"), wire.dumps({"from": "ann", "body": "x" * size, "ts": 1, "id": off}))


def room_with(*sizes: int) -> Room:
    room = Room("a")
    room.start(Pos(0, "e"))
    for off, size in enumerate(sizes, 1):
        room.said(room.batch([event(off, size)]))
        room._check()
    return room


def test_few_large_messages() -> None:
    """R2: at most 256 KiB of payloads are kept, the latest; a member that needs more goes to the history."""
    room = room_with(*[30_000] * 100)
    assert len(room.recent) == 8
    batch = room.since(92)
    assert batch is not None
    assert [frame.message["off"] for frame in batch.frames] == list(range(93, 101))
    assert room.since(91) is None


def test_many_small_messages() -> None:
    """R2: at most 128 messages; bytes are counted anew where the room begins anew."""
    room = room_with(*[10] * 300)
    assert len(room.recent) == 128
    room.start(Pos(0, "f"))
    room._check()


def test_one_that_is_too_large() -> None:
    """R2: a message above the bound is not kept at all, and nothing before it: there would be a hole."""
    room = room_with(10, 300_000)
    assert (len(room.recent), room.pos, room.since(1)) == (0, Pos(2, "e"), None)
    room.said(room.batch([event(3, 10)]))
    room._check()
    assert len(room.recent) == 1
