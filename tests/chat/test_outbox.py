"""The outbox: bounds, lanes and policies, against a model and under explored schedules."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.chat.outbox import Outbox, Parcel, Policy, merge_presence
from examples.chat.wire import Close, Goodbye
from gochan import ChannelClosed, Group
from gochan.testing import explore, wait_idle

BYE = Goodbye(Close.NORMAL, "bye")


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def outbox(policy: Policy = "catchup", frames: int = 4, size: int = 1000) -> Outbox:
    return Outbox(encode, frames=frames, size=size, policy=policy)


def said(off: int, room: str = "a", size: int = 10) -> Parcel:
    return Parcel(b"%d" % off + b" " * (size - len(str(off))), 1, room, off)


async def everything(box: Outbox) -> list[str]:
    box.close(BYE)
    taken: list[str] = []
    try:
        while True:
            taken += [data.decode().strip() for data in await box.take(64, 1 << 16)]
    except Goodbye:
        return taken


async def test_bounds() -> None:
    """X1: neither more frames than allowed, nor more bytes; one parcel goes into an empty lane, whatever its size."""
    box = outbox("disconnect", frames=4, size=100)
    for off in range(1, 5):
        box.offer(said(off))
    with pytest.raises(anyio.WouldBlock):
        box.offer(said(5))
    box._check()
    assert await everything(box) == ["1", "2", "3", "4"]
    box = outbox("disconnect", frames=100, size=100)
    box.offer(said(1, size=5000))
    with pytest.raises(anyio.WouldBlock):
        box.offer(said(2))
    box._check()


LAG = '{"t": "lag", "room": "a", "n": 2}'


@pytest.mark.parametrize(
    ("policy", "told"), [("drop_newest", ["1", "2", "3", "4", LAG]), ("drop_oldest", [LAG, "3", "4", "5", "6"])]
)
async def test_dropping(policy: Policy, told: list[str]) -> None:
    """The client is told of how many it missed, once, and where they are missing."""
    box = outbox(policy)
    for off in range(1, 7):
        box.offer(said(off))
        box._check()
    assert await everything(box) == told


async def test_gaps_are_told_in_their_places() -> None:
    """What is left out after a later message is another gap; other rooms and presence have nothing to do with it."""
    box = outbox("drop_newest")
    taken: list[str] = []

    async def take(frames: int) -> None:
        taken.extend([data.decode().strip() for data in await box.take(frames, 1000)])

    for off in range(1, 7):
        box.offer(said(off))
    box.offer(said(1, "b"))
    await take(2)  # there is place for two
    for off in (7, 8, 9):
        box.offer(said(off))
        box._check()
    message = {"t": "pres", "room": "a", "join": ["ann"], "leave": []}
    box.offer(Parcel(encode(message), room="a", presence=message))
    box.offer(said(10))
    await take(100)
    box._check()
    kinds = [json.loads(data) for data in taken]
    told = [each if isinstance(each, int) else (each["t"], each["room"], each.get("n")) for each in kinds]
    assert told == [1, 2, 3, 4, ("lag", "a", 2), ("lag", "b", 1), 7, 8, ("lag", "a", 2), ("pres", "a", None)]
    for off in range(11, 17):
        box.offer(said(off))
    box._check()
    assert await everything(box) == ["11", "12", "13", "14", LAG]


async def test_catch_up_takes_out_every_room() -> None:
    """What waits of any room is handed back, the new parcel last; an answer stays."""
    box = outbox()
    box.offer(said(1))
    box.offer(said(7, "b"))
    box.offer(Parcel(b"answer"))
    box.offer(said(2))
    shed = box.offer(said(3))
    assert [(parcel.room, parcel.first) for parcel in shed] == [("a", 1), ("b", 7), ("a", 2), ("a", 3)]
    box._check()
    assert await everything(box) == ["answer"]


@pytest.mark.parametrize("policy", ["catchup", "drop_oldest", "drop_newest"])
async def test_an_answer_gets_a_place(policy: Policy) -> None:
    """Nobody is sent away for an answer that comes into a full lane: messages make place for it, by the policy."""
    box = outbox(policy)
    for off in range(1, 5):
        box.offer(said(off))
    shed = box.offer(Parcel(b"answer"))
    box._check()
    kept = await everything(box)
    assert kept[-1] == "answer"
    if policy == "catchup":
        assert [parcel.first for parcel in shed] == [1, 2, 3, 4]
        assert kept == ["answer"]
    else:
        assert json.loads(kept[0]) == {"t": "lag", "room": "a", "n": 1}
        assert kept[1:-1] == ["2", "3", "4"]
    box = outbox(policy)
    for _ in range(4):
        box.offer(Parcel(b"answer"))
    with pytest.raises(anyio.WouldBlock):
        box.offer(Parcel(b"one too many"))


async def test_presence_is_merged() -> None:
    """However much comes and goes, presence of a room is one message, and never too much."""
    box = outbox("disconnect", frames=1)
    box.offer(said(1))
    for message in (
        {"t": "pres", "room": "a", "join": ["ann", "bob"], "leave": []},
        {"t": "pres", "room": "a", "join": ["eve"], "leave": ["bob", "joe"]},
        {"t": "pres", "room": "a", "join": ["joe"], "leave": []},
    ):
        box.offer(Parcel(encode(message), room="a", presence=message))
        box._check()
    _, merged = await everything(box)
    assert json.loads(merged) == {"t": "pres", "room": "a", "join": ["ann", "eve", "joe"], "leave": ["bob"]}


names = st.lists(st.sampled_from("abc"), unique=True)


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_merging_is_what_happened(toggles: list[str]) -> None:
    """Merged one by one: the last word about each name. A client may know of any of them from ``joined``."""
    here: set[str] = set()
    merged: dict[str, Any] = {"t": "pres", "room": "a", "join": [], "leave": []}
    for name in toggles:
        here ^= {name}
        message = {"t": "pres", "room": "a", "join": [], "leave": []}
        message["join" if name in here else "leave"] = [name]
        merged = merge_presence(merged, message)
    assert (set(merged["join"]), set(merged["leave"])) == (here, set(toggles) - here)


@pytest.mark.gochan(virtual_time=True)
async def test_parked() -> None:
    """X3, X4: parked ends when something comes, not when the writer wakes; what was begun is written first."""
    box = outbox()
    async with Group() as group:
        taking = group.go(box.take, 64, 1000)
        await wait_idle()
        assert box.parked
        await box.send(b"control")
        assert not box.parked
        assert await taking.result() == [b"control"]
        taking = group.go(box.take, 64, 1000)
        await wait_idle()
        box.unsent(b"rest")
        assert not box.parked
        box.offer(said(1))
        await box.send(b"control")
        assert [data.strip() for data in await taking.result()] == [b"rest", b"control", b"1"]


@pytest.mark.gochan(virtual_time=True)
async def test_control_waits() -> None:
    """Answers to a client that does not read them wait, in whoever wants to give them; a full lane changes nothing."""
    box = outbox("disconnect")
    for off in range(1, 5):
        box.offer(said(off))
    sent = 0
    with anyio.move_on_after(1):
        while True:
            await box.send(b"control")
            sent += 1
    with pytest.raises(anyio.WouldBlock):
        box.send_nowait(b"control")
    assert 8 <= sent <= 64
    assert (await everything(box)).count("control") == sent


async def test_close() -> None:
    """X5: what is in is given, then the goodbye; nothing more gets in; discarding forgets all but what was begun."""
    box = outbox()
    box.offer(said(1))
    box.close(BYE)
    box.offer(said(2))
    with pytest.raises(ChannelClosed):
        await box.send(b"control")
    assert await box.take(64, 1000) == [said(1).data]
    with pytest.raises(Goodbye, match="bye"):
        await box.take(64, 1000)
    await box.drained()
    box = outbox()
    box.offer(said(1))
    await box.send(b"control")
    box.close(BYE, discard=True)
    box._check()
    with pytest.raises(Goodbye):
        await box.take(64, 1000)


@given(
    st.sampled_from(["disconnect", "drop_newest", "drop_oldest", "catchup"]),
    st.lists(
        st.tuples(st.sampled_from(["say", "answer", "presence", "take"]), st.sampled_from("ab"), st.integers(1, 60))
    ),
)
async def test_any_use(policy: Policy, steps: list[tuple[str, str, int]]) -> None:
    """Whatever is put in and taken out: the bounds hold, and every message is given, refused or counted, in order."""
    box = outbox(policy, frames=5, size=120)
    last = dict.fromkeys("ab", 0)
    given_: list[tuple[str, int]] = []
    missing = 0

    def take(batch: list[bytes]) -> None:
        nonlocal missing
        for data in batch:
            if data.startswith(b"m"):
                _, room, off = data.split()
                given_.append((room.decode(), int(off)))
            elif b"lag" in data:
                missing += json.loads(data)["n"]

    refused = 0
    for step, room, size in steps:
        try:
            if step == "say":
                last[room] += 1
                data = (f"m {room} {last[room]}").encode()
                refused += len(box.offer(Parcel(data + b" " * size, 1, room, last[room])))
            elif step == "answer":
                refused += len(box.offer(Parcel(b"x" * size)))
            elif step == "presence":
                message = {"t": "pres", "room": room, "join": [str(size)], "leave": []}
                box.offer(Parcel(encode(message), room=room, presence=message))
            elif box._lane:
                take(await box.take(3, 100))
        except anyio.WouldBlock:
            refused += step == "say"
        box._check()
    box.close(BYE)
    try:
        while True:
            take(await box.take(3, 100))
    except Goodbye:
        pass
    assert len(given_) + refused + missing == sum(last.values())
    for room in "ab":
        offsets = [off for where, off in given_ if where == room]
        assert offsets == sorted(set(offsets))


async def writer_and_others() -> None:
    """A writer, somebody who answers, and a hub that offers: each to its end."""
    box = outbox("drop_oldest", frames=3)
    taken: list[bytes] = []

    async def write() -> None:
        try:
            while True:
                taken.extend(await box.take(2, 30))
        except Goodbye:
            pass

    async def answer() -> None:
        for number in range(4):
            await box.send(b"c%d" % number)

    async def offer() -> None:
        for off in range(1, 8):
            box.offer(said(off))
            box._check()
            await anyio.lowlevel.checkpoint()
        await box.drained()

    async with Group() as group:
        group.go(write)
        async with Group() as others:
            others.go(answer)
            others.go(offer)
        await box.drained()
        assert box.parked
        box.close(BYE)
    control = [data for data in taken if data.startswith(b"c")]
    assert control == [b"c%d" % number for number in range(4)]
    offsets = [int(data) for data in taken if data.strip().isdigit()]
    assert offsets == sorted(offsets)
    assert offsets[-1] == 7


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_schedule(backend: Any) -> None:
    """No wake-up is lost and nothing is out of order, whoever runs when."""
    explore(writer_and_others, backend=backend, runs=150)
