"""The broker in memory has a bound: of bytes for all messages, of rooms in which nobody ever spoke."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chat.talkers import running, tcp

from examples.chat.broker import KEY_SECONDS, MemoryEngine, Pos, Window
from examples.chat.broker.memory import _MESSAGE_BYTES, _ROOM_BYTES
from examples.chat.config import Settings, from_command_line
from examples.chat.node import assemble

PAYLOAD = b"x" * 1000
EACH = len(PAYLOAD) + _MESSAGE_BYTES


async def kept(engine: MemoryEngine, room: str) -> list[int]:
    return [event.pos.off for event in (await engine.history(room, None, 1000)).events]


async def test_the_oldest_of_all_rooms_go_first() -> None:
    """M4: what is beyond the bound is gone, in the order of the publications; the numbers go on."""
    engine = MemoryEngine(size=4 * EACH + 3 * _ROOM_BYTES)
    for room in ("a", "b", "a", "c", "b", "a"):
        await engine.publish(room, PAYLOAD)
        engine._check()
    assert [await kept(engine, room) for room in "abc"] == [[2, 3], [2], [1]]
    assert (await engine.publish("a", PAYLOAD)).pos.off == 4


async def test_what_went_is_no_longer_recovered() -> None:
    """M4: a page since a position that is gone says that it is not complete, as for any message that was trimmed."""
    engine = MemoryEngine(size=2 * EACH + 2 * _ROOM_BYTES)
    first = (await engine.publish("a", PAYLOAD)).pos
    for _ in range(2):
        await engine.publish("a", PAYLOAD)
    await engine.publish("b", PAYLOAD)
    page = await engine.history("a", first, 10)
    assert (page.events, page.complete, page.follows(first)) == ([], False, False)
    second = await engine.history("a", Pos(2, first.ep), 10)
    assert (second.complete, second.follows(Pos(2, first.ep))) == (True, True)


async def test_one_message_is_always_kept() -> None:
    """M4: a message above the bound is kept alone, so that whoever is told of it finds it (B2)."""
    engine = MemoryEngine(size=EACH)
    for _ in range(2):
        await engine.publish("a", PAYLOAD * 10)
        engine._check()
    assert await kept(engine, "a") == [2]


async def test_a_flood_of_rooms_is_bounded() -> None:
    """M4, M5: messages in ever new rooms take what they may take, and the rooms they leave behind are forgotten."""
    engine = MemoryEngine(size=20 * (EACH + _ROOM_BYTES), rooms=10)
    for number in range(500):
        await engine.publish(f"room-{number}", PAYLOAD)
    engine._check()
    assert len(engine._rooms) <= 20 + 10 + 1
    assert await kept(engine, "room-499") == [1]


async def test_empty_rooms_are_bounded() -> None:
    """M5: coming and going through new rooms costs a bounded number of them; a room that has a listener stays."""
    engine = MemoryEngine(rooms=10)
    broker = engine.broker("one")
    await broker.subscribe("mine")
    epoch = (await engine.history("mine", None, 0)).top.ep
    for number in range(200):
        await broker.subscribe(f"room-{number}")
        await broker.unsubscribe(f"room-{number}")
        engine._check()
    assert len(engine._rooms) <= 10 + 2
    assert (await engine.history("mine", None, 0)).top.ep == epoch
    assert (await engine.history("new", None, 0)).top.ep != epoch, "M3: rooms were forgotten"


@pytest.mark.gochan(virtual_time=True)
async def test_a_key_outlives_its_message() -> None:
    """M5, B3: a room whose key is remembered is not forgotten, though the message had to go."""
    engine = MemoryEngine(size=EACH + _ROOM_BYTES, rooms=1)
    first = await engine.publish("a", PAYLOAD, key="k")
    for number in range(50):
        await engine.publish(f"room-{number}", PAYLOAD)
    again = await engine.publish("a", PAYLOAD, key="k")
    assert (again.pos, again.duplicate) == (first.pos, True)
    await anyio.sleep(KEY_SECONDS)
    for number in range(50):
        await engine.publish(f"room-{number}", PAYLOAD)
    assert "a" not in engine._rooms


@given(
    st.lists(st.tuples(st.sampled_from(["say", "say", "say", "watch", "lose", "read"]), st.sampled_from("abcd"),
                       st.integers(0, 3000)), max_size=60),
    st.integers(1, 8000),
    st.integers(0, 4),
)  # fmt: skip
async def test_any_use(steps: list[tuple[str, str, int]], size: int, messages: int) -> None:
    """M1 to M5 hold whatever is done, and places of what is gone are swept out."""
    engine = MemoryEngine(Window(messages), size=size, rooms=1)
    engine._check()
    for step, room, number in steps:
        match step:
            case "say":
                await engine.publish(room, b"x" * number, key=str(number) if number % 2 else None)
            case "watch":
                await engine.watch(room)
            case "lose":
                engine.lose(room)
            case _:
                await engine.history(room, None, number)
        engine._check()


async def test_places_are_swept_out() -> None:
    """M4: a message that stays does not make the queue of all messages grow with what comes and goes after it."""
    engine = MemoryEngine(Window(1))
    await engine.publish("quiet", b"")
    for _ in range(3000):
        await engine.publish("busy", b"")
    engine._check()
    assert len(engine._order) < 1100


async def test_the_setting() -> None:
    """--history-bytes is the bound of the server's engine; 256 MiB without it."""
    settings = from_command_line(["--history-bytes", "1048576"], {})
    engine = assemble(settings).broker.engine  # type: ignore[attr-defined]  # of a LocalBroker
    assert (engine.size, Settings().history_bytes) == (1 << 20, 256 << 20)


async def test_a_recovery_says_what_went() -> None:
    """Who comes back to a room whose messages had to go for those of others is told so (``rec``), and stays in it."""
    async with running(history_bytes=4 * EACH) as server, tcp(server) as ann:
        joined = await ann.join()
        since = {"off": joined["off"], "ep": joined["ep"]}
        await ann.send({"t": "say", "id": 2, "room": "lobby", "body": "x"}, {"t": "join", "id": 3, "room": "other"})
        for number in range(10, 15):
            await ann.send({"t": "say", "id": number, "room": "other", "body": "x" * 1000})
        await ann.send(
            {"t": "leave", "id": 4, "room": "lobby"}, {"t": "join", "id": 5, "room": "lobby", "since": since}
        )
        back = await ann.find("joined", id=5)
        assert (back["rec"], back["off"], back["msgs"]) == (False, 1, [])
