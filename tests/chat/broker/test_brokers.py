"""What every broker promises: numbers, events, history, keys, presence, control, the end; in virtual time or real."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from tests.chat.broker.clusters import KINDS, REAL, WINDOW, Cluster, offsets, publish

from examples.chat.broker import KEY_SECONDS, Broker, Control, Event, Pos, Presence, Published, Resync, Unavailable
from gochan import ChannelClosed, Group

pytestmark = pytest.mark.gochan


@pytest.fixture(
    params=[pytest.param(kind, marks=[pytest.mark.gochan(virtual_time=False)] * (kind in REAL)) for kind in KINDS]
)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    """Not entered: that is done inside the loop."""
    return KINDS[request.param](tmp_path)


# ---- numbers and events ----


async def test_numbers(cluster: Cluster) -> None:
    """B1: what is published in a room is numbered 1, 2, 3 … in one epoch, whichever node publishes it."""
    async with cluster:
        one, two = await cluster.node("one"), await cluster.node("two")
        published = [*await publish(one, 3), *await publish(two, 2)]
        assert [(each.pos.off, each.duplicate) for each in published] == [(off, False) for off in range(1, 6)]
        assert len({each.pos.ep for each in published}) == 1
        assert (await publish(two, 1, room="other"))[0].pos.off == 1


async def test_events_come_out_at_every_node(cluster: Cluster) -> None:
    """B4: each node that subscribed, the publisher's too, gets each event once, in the order of the offsets."""
    async with cluster:
        one, two = await cluster.node("one"), await cluster.node("two")
        await one.subscribe("lobby")
        await two.subscribe("lobby")
        await two.subscribe("lobby")
        published = await publish(one, 4)
        expected = [Event("lobby", each.pos, b"%d" % each.pos.off) for each in published]
        assert await cluster.heard(one) == await cluster.heard(two) == expected


async def test_only_what_was_subscribed_to(cluster: Cluster) -> None:
    """Events come out from the subscription on, until it ends."""
    async with cluster:
        one = await cluster.node("one")
        await publish(one, 1)
        await one.subscribe("lobby")
        await publish(one, 1, room="other")
        await publish(one, 2)
        assert offsets(await cluster.heard(one)) == [2, 3]
        await one.unsubscribe("lobby")
        await one.unsubscribe("lobby")
        await publish(one, 1)
        assert await cluster.heard(one) == []


@pytest.mark.parametrize("payload", [b"", b"\0\xff\n", "héllo 🎈".encode(), b"x" * 65536])
async def test_payloads_are_bytes(cluster: Cluster, payload: bytes) -> None:
    """A payload, a room and a key may be anything that can be encoded; they come back as they were."""
    room = "zimmer 🎈'; --"
    async with cluster:
        one = await cluster.node("one")
        await one.subscribe(room)
        await one.publish(room, payload, key="'\0🎈")
        (event,) = await cluster.heard(one)
        assert isinstance(event, Event)
        assert (event.room, event.payload) == (room, payload)
        assert (await one.history(room, None, 1)).events == [event]


async def test_what_cannot_be_encoded(cluster: Cluster) -> None:
    """Half a surrogate pair is refused at once, and harms nobody who publishes at the same time."""
    async with cluster:
        one = await cluster.node("one")
        async with Group() as group:
            good = group.go(publish, one, 3)
            for room, key in (("\ud800", None), ("lobby", "\ud800")):
                with pytest.raises(ValueError, match="surrogates"):
                    await one.publish(room, b"", key=key)
        assert [each.pos.off for each in await good.result()] == [1, 2, 3]
        with pytest.raises(ValueError, match="surrogates"):
            await one.history("\ud800", None, 1)
        with pytest.raises(ValueError, match="surrogates"):
            await one.subscribe("\ud800")


# ---- history ----


async def read(
    broker: Broker, since: int | None, limit: int, reverse: bool = False, room: str = "lobby"
) -> tuple[list[int], int, bool]:
    top = (await broker.history(room, None, 0)).top
    page = await broker.history(room, None if since is None else Pos(since, top.ep), limit, reverse)
    assert all(event.pos.ep == page.top.ep for event in page.events)
    return offsets(page.events), page.top.off, page.complete


async def test_history(cluster: Cluster) -> None:
    """B5: a page has what is asked for, or as much as the limit allows, or nothing; and says which."""
    async with cluster:
        one = await cluster.node("one")
        await publish(one, 8)  # 4 to 8 are kept
        assert await read(one, None, 10) == ([4, 5, 6, 7, 8], 8, False)
        assert await read(one, None, 2) == ([4, 5], 8, False)
        assert await read(one, 3, 10) == ([4, 5, 6, 7, 8], 8, True)
        assert await read(one, 3, 2) == ([4, 5], 8, False)
        assert await read(one, 6, 2) == ([7, 8], 8, True)
        assert await read(one, 8, 2) == ([], 8, True)
        assert await read(one, 2, 10) == ([], 8, False), "3 is gone"
        assert await read(one, 9, 10) == ([], 8, False), "a position that does not exist"
        assert await read(one, 6, 0) == ([], 8, False)
        assert await read(one, None, 3, reverse=True) == ([8, 7, 6], 8, False)
        assert await read(one, 6, 10, reverse=True) == ([5, 4], 8, False)
        assert await read(one, 4, 10, reverse=True) == ([], 8, False)
        assert await read(one, 1, 10, reverse=True) == ([], 8, True), "there never was anything before"
        with pytest.raises(ValueError, match="limit"):
            await one.history("lobby", None, -1)


async def test_history_of_another_epoch(cluster: Cluster) -> None:
    """B5: for a position of another epoch there is nothing, and it is not complete."""
    async with cluster:
        one = await cluster.node("one")
        await publish(one, 2)
        for reverse in (False, True):
            page = await one.history("lobby", Pos(2, "another"), 10, reverse)
            assert (list(page.events), page.top.off, page.complete) == ([], 2, False)
            assert not page.follows(Pos(2, "another"))


async def test_pages_follow_each_other(cluster: Cluster) -> None:
    """``follows`` says whether a page goes on where the reader stands, however the limit cuts it."""
    async with cluster:
        one = await cluster.node("one")
        await publish(one, 8)
        top = (await one.history("lobby", None, 0)).top
        for since in range(10):
            for limit in (1, 2, 10):
                page = await one.history("lobby", Pos(since, top.ep), limit)
                assert page.follows(Pos(since, top.ep)) == (3 <= since <= 8), since


async def test_nothing_was_ever_said(cluster: Cluster) -> None:
    """A room that nobody spoke in has a position, too, and what is said first follows it."""
    async with cluster:
        one = await cluster.node("one")
        page = await one.history("lobby", None, 10)
        assert (list(page.events), page.top.off, page.complete) == ([], 0, True)
        assert (await one.history("lobby", page.top, 10)).complete
        await publish(one, 2)
        later = await one.history("lobby", page.top, 10)
        assert (offsets(later.events), later.complete) == ([1, 2], True)


async def test_what_is_old_is_gone(cluster: Cluster) -> None:
    """Messages leave the history by age, the numbers stay."""
    async with cluster:
        one = await cluster.node("one")
        await publish(one, 2)
        await cluster.pass_time(WINDOW.seconds / 2)
        await publish(one, 1)
        await cluster.pass_time(WINDOW.seconds / 2 + 1)
        assert await read(one, None, 10) == ([3], 3, False)
        assert await read(one, 1, 10) == ([], 3, False)
        await cluster.pass_time(WINDOW.seconds)
        assert await read(one, 3, 10) == ([], 3, True)
        assert await read(one, 2, 10) == ([], 3, False)
        assert (await publish(one, 1))[0].pos.off == 4


async def test_rooms_are_forgotten_by_their_epoch(cluster: Cluster) -> None:
    """B1: a room that was idle for long may begin anew, then in another epoch; one with listeners goes on."""
    async with cluster:
        one = await cluster.node("one")
        await one.subscribe("watched")
        before = {room: (await publish(one, 3, room))[-1].pos for room in ("watched", "lonely")}
        await one.history("never", None, 0)
        for _ in range(3):
            await cluster.pass_time(WINDOW.room_seconds + 61)
            await publish(one, 3, "other")
        (watched,) = await publish(one, 1, "watched")
        assert watched.pos == Pos(4, before["watched"].ep)
        (lonely,) = await publish(one, 1, "lonely")
        assert lonely.pos.off == 1
        assert lonely.pos.ep != before["lonely"].ep
        assert not (await one.history("lonely", before["lonely"], 10)).complete


async def test_an_empty_room_with_listeners_keeps_its_epoch(cluster: Cluster) -> None:
    """What a member was told when it joined an empty room still holds when others were forgotten meanwhile."""
    async with cluster:
        one = await cluster.node("one")
        await publish(one, 1, "lonely")
        await one.subscribe("watched")
        start = (await one.history("watched", None, 0)).top
        for _ in range(3):
            await cluster.pass_time(WINDOW.room_seconds + 61)
            await publish(one, 3, "other")
        (first,) = await publish(one, 1, "watched")
        assert first.pos == Pos(1, start.ep)


# ---- keys ----


async def test_once_a_key(cluster: Cluster) -> None:
    """B3: the same key again gives the first one's position, and no event, from whichever node, whatever is in it."""
    async with cluster:
        one, two = await cluster.node("one"), await cluster.node("two")
        await two.subscribe("lobby")
        first = await one.publish("lobby", b"hi", key="ann:1")
        assert await two.publish("lobby", b"hi", key="ann:1") == Published(first.pos, duplicate=True)
        assert await one.publish("lobby", b"else", key="ann:1") == Published(first.pos, duplicate=True)
        assert (await one.publish("lobby", b"hi", key="ann:2")).pos.off == 2
        assert (await one.publish("lobby", b"hi")).pos.off == 3
        other = await one.publish("other", b"hi", key="ann:1")
        assert (other.pos.off, other.duplicate) == (1, False)
        assert offsets(await cluster.heard(two)) == [1, 2, 3]


async def test_keys_are_forgotten(cluster: Cluster) -> None:
    """B3: a key holds for five minutes, longer than its message, and not for ever."""
    async with cluster:
        one = await cluster.node("one")
        first = await one.publish("lobby", b"hi", key="k")
        await publish(one, WINDOW.messages + 1)
        await cluster.pass_time(KEY_SECONDS - 1)
        assert await one.publish("lobby", b"hi", key="k") == Published(first.pos, duplicate=True)
        await cluster.pass_time(1.5)
        again = await one.publish("lobby", b"hi", key="k")
        assert not again.duplicate
        assert await one.publish("lobby", b"hi", key="k") == Published(again.pos, duplicate=True)


# ---- a node that is too slow ----


async def test_slow_node(cluster: Cluster) -> None:
    """B4: a node that does not read loses events and is told so, once a room; others get everything, without delay."""
    async with cluster:
        slow, quick = await cluster.node("slow", capacity=4), await cluster.node("quick")
        for room in ("lobby", "other"):
            await slow.subscribe(room)
            await quick.subscribe(room)
        await publish(quick, 3, "lobby")
        await publish(quick, 3, "other")
        await publish(quick, 3, "lobby")
        assert len(await cluster.heard(quick)) == 9
        got = await cluster.heard(slow)
        assert offsets(got[:4]) == [1, 2, 3, 1]
        assert got[4:] == [Resync("other"), Resync("lobby")]
        # What was lost is in the history by the time the Resync is read; what comes now comes out again.
        assert await read(slow, 3, 10) == ([4, 5, 6], 6, True)
        await publish(quick, 1, "lobby")
        assert offsets(await cluster.heard(slow)) == [7]


async def test_slow_node_that_reads_a_little(cluster: Cluster) -> None:
    """Between two Resyncs of a room there is no hole, however the node reads, and after the last one all is there."""
    async with cluster:
        slow = await cluster.node("slow", capacity=3)
        await slow.subscribe("lobby")
        seen: list[Event | Resync] = []
        for turn in range(40):
            await publish(slow, 1 + turn % 3)
            seen += await cluster.heard(slow, turn % 4)
        seen += await cluster.heard(slow)
        (top,) = await publish(slow, 1)
        seen += await cluster.heard(slow)
        last = 0
        for event in seen:
            if isinstance(event, Resync):
                assert event.room == "lobby"
                last = -1
            else:
                assert event.pos.off == last + 1 or last == -1
                last = event.pos.off
        assert last == top.pos.off
        assert Resync("lobby") in seen


# ---- presence and control ----


async def test_presence(cluster: Cluster) -> None:
    """All nodes see who is in a room, until it is removed, its time is up, or its node goes."""
    async with cluster:
        one, two = await cluster.node("one"), await cluster.node("two")
        await one.presence_add("lobby", "s1", "ann")
        await two.presence_add("lobby", "s2", "bob", ttl=100)
        await two.presence_add("lobby", "s3", "ann")
        await two.presence_add("other", "s3", "ann")
        everybody = [Presence("s1", "ann"), Presence("s2", "bob"), Presence("s3", "ann")]
        assert sorted(await two.presence_list("lobby"), key=str) == everybody
        await cluster.pass_time(45)
        await one.presence_add("lobby", "s1", "ann")
        await two.presence_remove("lobby", "s3")
        await two.presence_remove("lobby", "s9")
        await cluster.pass_time(45)
        assert sorted(await one.presence_list("lobby"), key=str) == everybody[:2]
        await cluster.pass_time(11)
        assert list(await one.presence_list("lobby")) == everybody[:1]
        assert list(await one.presence_list("other")) == []
        await one.aclose()
        assert list(await two.presence_list("lobby")) == []


async def test_control(cluster: Cluster) -> None:
    """A node speaks to one node or to all of them, and learns how many took it."""
    async with cluster:
        one, two = await cluster.node("one"), await cluster.node("two")
        assert sorted(await one.nodes()) == ["one", "two"]
        assert await one.control_send("two", {"kick": "ann"}) == 1
        assert await two.control_send(None, {"drain": True}) == 2
        assert await one.control_send("three", {"kick": "ann"}) == 0
        assert [await two.control.receive() for _ in range(2)] == [
            Control("one", {"kick": "ann"}),
            Control("two", {"drain": True}),
        ]
        assert await one.control.receive() == Control("two", {"drain": True})


async def test_control_to_a_node_that_does_not_read(cluster: Cluster) -> None:
    """Control is bounded: what a node cannot take is not counted, and the sender does not wait."""
    async with cluster:
        one, two = await cluster.node("one"), await cluster.node("two")
        taken = 0
        while await one.control_send("two", {}):
            taken += 1
            assert taken < 10_000
        assert await two.control_send("one", {}) == 1


# ---- the end ----


async def test_close(cluster: Cluster) -> None:
    """A closed broker ends its channels and refuses; the name is free again, others go on."""
    async with cluster:
        one, two = await cluster.node("one"), await cluster.node("two")
        await one.subscribe("lobby")
        await two.subscribe("lobby")
        await one.aclose()
        await one.aclose()
        with pytest.raises(ChannelClosed):
            await one.events.receive()
        with pytest.raises(ChannelClosed):
            await one.control.receive()
        for call in (
            one.publish("lobby", b""), one.subscribe("lobby"), one.unsubscribe("lobby"), one.history("lobby", None, 1),
            one.presence_add("lobby", "s", "ann"), one.presence_remove("lobby", "s"), one.presence_list("lobby"),
            one.control_send(None, {}), one.nodes(),
        ):  # fmt: skip
            with pytest.raises(Unavailable, match="one"):
                await call
        assert await two.nodes() == ["two"]
        await publish(await cluster.node("one"), 1)
        assert offsets(await cluster.heard(two)) == [1]


async def test_waiting_for_events_when_closed(cluster: Cluster) -> None:
    """Whoever waits for events learns of the end."""
    async with cluster:
        one = await cluster.node("one")
        async with Group() as group:
            waiting = group.go(one.events.receive_ok)
            await anyio.sleep(0.1)
            await one.aclose()
        assert await waiting.result() == (None, False)


async def test_two_nodes_of_one_name(cluster: Cluster) -> None:
    """A name stands for one node."""
    async with cluster:
        await cluster.node("one")
        with pytest.raises(ValueError, match="'one'"):
            await cluster.node("one")


async def test_restart(cluster: Cluster) -> None:
    """What outlives a restart goes on in its epoch, keys too; what does not begins in another one."""
    async with cluster:
        one = await cluster.node("one")
        first = await one.publish("lobby", b"1", key="k")
        await publish(one, 7)
        await cluster.restart()
        one = await cluster.node("one")
        since = Pos(5, first.pos.ep)
        page = await one.history("lobby", since, 10)
        again = await one.publish("lobby", b"1", key="k")
        if cluster.durable:
            assert (offsets(page.events), page.complete) == ([6, 7, 8], True)
            assert again == Published(first.pos, duplicate=True)
            assert (await publish(one, 1))[0].pos == Pos(9, first.pos.ep)
        else:
            assert (list(page.events), page.complete) == ([], False)
            assert not page.follows(since)
            assert again.pos.ep != first.pos.ep
