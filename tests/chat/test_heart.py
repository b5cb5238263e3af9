"""The heart in virtual time: rooms, recovery, slow readers, sessions, the drain."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.chat.heart import Guest, beating, guests

from examples.chat.drain import dismiss
from gochan import Event, Group
from gochan.testing import sleep, wait_idle

virtual = pytest.mark.gochan(virtual_time=True)


# ---- rooms ----


@virtual
async def test_rooms_are_apart() -> None:
    """What is said in a room is heard by its members, in order, and by nobody else."""
    async with beating() as heart:
        ann, bob = await guests(heart, "ann", "bob", room="a")
        (eve,) = await guests(heart, "eve", room="b")
        for number in range(20):
            assert (await ann.say("a", f"a{number}"))["off"] == number + 1
            assert (await eve.say("b", f"b{number}"))["off"] == number + 1
        await wait_idle()
        assert ann.bodies == bob.bodies == {"a": [f"a{number}" for number in range(20)]}
        assert eve.bodies == {"b": [f"b{number}" for number in range(20)]}


@virtual
async def test_join_with_recovery() -> None:
    """Who comes back with a position gets everything after it, once; and only then is told that it is complete."""
    async with beating() as heart:
        ann, bob = await guests(heart, "ann", "bob")
        epoch = (await ann.say("a", "0"))["ep"]
        await wait_idle()
        bob.vanish()
        for number in range(1, 30):
            await ann.say("a", str(number))
        again = heart.connect("bob")
        await again.say_hello()
        again.last["a"] = 1
        joined = await again.join("a", since={"off": 1, "ep": epoch})
        assert (joined["rec"], joined["off"], len(joined["msgs"])) == (True, 30, 29)
        await ann.say("a", "30")
        await wait_idle()
        assert again.bodies["a"] == [str(number) for number in range(1, 31)]


@virtual
async def test_join_waits_for_the_subscription() -> None:
    """What is said while the broker is still asked to tell is in the history that is read, or told: never neither."""
    async with beating() as heart:
        broker: Any = heart.node.broker
        subscribe, told = broker.subscribe, Event()

        async def slowly(room: str) -> None:
            await told.wait()
            await subscribe(room)

        broker.subscribe = slowly
        epoch = (await broker.history("a", None, 0)).top.ep
        ann = heart.connect("ann")
        await ann.say_hello()
        await ann.send({"t": "join", "id": 1, "room": "a", "since": {"off": 0, "ep": epoch}})
        await wait_idle()
        await broker.engine.publish("a", b'{"from": "eve", "body": "meanwhile", "ts": 1, "id": 1}')
        told.set()
        await wait_idle()
        assert ann.bodies == {"a": ["meanwhile"]}


@virtual
@pytest.mark.parametrize("since", [{"off": 2, "ep": "?"}, {"off": 1, "ep": None}, {"off": 99, "ep": None}])
async def test_what_cannot_be_recovered(since: dict[str, object]) -> None:
    """Of another epoch, beyond the window, or ahead of the room: no part of it is given, and that is said."""
    async with beating(window=5) as heart:
        (ann,) = await guests(heart, "ann")
        for number in range(20):
            answer = await ann.say("a", str(number))
        bob = heart.connect("bob")
        await bob.say_hello()
        joined = await bob.join("a", since={"off": since["off"], "ep": since["ep"] or answer["ep"]})
        assert (joined["rec"], joined["msgs"], joined["off"]) == (False, [], 20)
        await ann.say("a", "live")
        await wait_idle()
        assert bob.bodies["a"] == ["live"]


@virtual
async def test_recovery_of_more_than_one_answer_holds() -> None:
    """A long absence is made good in parts; the last one meets what is said meanwhile without a seam."""
    async with beating(window=5000) as heart:
        (ann,) = await guests(heart, "ann")
        epoch = (await ann.say("a", "0"))["ep"]
        for number in range(1, 1000):
            await ann.say("a", str(number))
        bob = heart.connect("bob")
        await bob.say_hello()
        bob.last["a"] = 0
        await bob.send({"t": "join", "id": 1, "room": "a", "since": {"off": 0, "ep": epoch}})
        for number in range(1000, 1100):
            await ann.say("a", str(number))
        await wait_idle()
        assert bob.bodies["a"] == [str(number) for number in range(1100)]
        assert (await bob.find(t="joined"))["rec"]


@virtual
async def test_say_is_idempotent() -> None:
    """The same id again, from whichever connection of the user: the first place, and nobody hears it twice."""
    async with beating() as heart:
        ann, bob, again = await guests(heart, "ann", "bob", "ann")
        first = await ann.say("a", "hi", id_="x")
        second = await again.say("a", "hi", id_="x")
        assert (second["dup"], second["off"], second["ep"]) == (True, first["off"], first["ep"])
        assert "dup" not in await bob.say("a", "mine", id_="x")
        await wait_idle()
        assert bob.bodies["a"] == ["hi", "mine"]


@virtual
async def test_direct_messages() -> None:
    """To every session of the user, and nobody else; to nobody is an error."""
    async with beating() as heart:
        ann, one, two = await guests(heart, "ann", "bob", "bob")
        assert (await ann.ask({"t": "dm", "to": "bob", "body": "psst"}))["delivered"] == 2
        for bob in (one, two):
            assert (await bob.find(t="dm"))["body"] == "psst"
        assert (await ann.ask({"t": "dm", "to": "eve", "body": "psst"}))["code"] == 404
        assert not [message for message in ann.heard if message["t"] == "dm"]


@virtual
async def test_presence_is_conflated() -> None:
    """A storm of people is one message to those who are there, and who comes and goes within it is not mentioned."""
    async with beating() as heart:
        (ann,) = await guests(heart, "ann")
        names = [f"user{number}" for number in range(50)]
        async with Group() as group:
            for name in names:
                group.go(guests, heart, name)
        fleeting = (await guests(heart, "fleeting"))[0]
        fleeting.vanish()
        await sleep(1)
        presence = [message for message in ann.heard if message["t"] == "pres"]
        assert sorted(name for message in presence for name in message["join"]) == sorted(names)
        assert len(presence) <= 2
        assert (await ann.ask({"t": "who", "room": "a"}))["members"] == sorted(["ann", *names])


@virtual
async def test_history() -> None:
    """Forwards from a position, backwards from the end, and never more than was asked for."""
    async with beating() as heart:
        (ann,) = await guests(heart, "ann")
        for number in range(10):
            answer = await ann.say("a", str(number))
        page = await ann.ask({"t": "history", "room": "a", "since": {"off": 7, "ep": answer["ep"]}})
        assert ([message["body"] for message in page["msgs"]], page["complete"]) == (["7", "8", "9"], True)
        page = await ann.ask({"t": "history", "room": "a", "limit": 2, "rev": True})
        assert ([message["off"] for message in page["msgs"]], page["complete"]) == ([10, 9], False)


@virtual
async def test_what_a_failure_of_the_hub_swallowed() -> None:
    """H5: a message at which the hub fails, in the middle of its members, reaches all of them, though none follows."""
    async with beating() as heart:
        those = await guests(heart, "ann", "bob", "eve")
        give, failures = heart.hub._give, [1]

        def fail(client: Any, member: Any, batch: Any) -> None:
            if client.user == "bob" and failures:
                failures.pop()
                raise ZeroDivisionError
            give(client, member, batch)

        heart.hub._give = fail  # type: ignore[method-assign]
        await those[0].say("a", "poison")
        await wait_idle()
        assert [guest.bodies for guest in those] == [{"a": ["poison"]}] * 3
        assert heart.hub.restarts == 1


# ---- slow readers ----


@virtual
async def test_slow_reader_catches_up() -> None:
    """Who does not read for a while misses nothing, holds up nobody, and costs no more memory than its outbox."""
    async with beating(outbox=16, write_timeout=1000, window=5000) as heart:
        ann, bob = await guests(heart, "ann", "bob")
        slow = heart.connect("slow", capacity=2000, slow=True)
        await slow.say_hello()
        await slow.send({"t": "join", "id": 1, "room": "a"})
        await wait_idle()
        for number in range(1000):
            await ann.say("a", str(number))
            assert slow.session.outbox.frames <= 16
        await wait_idle()
        assert len(bob.bodies["a"]) == 1000
        heart.group.go(slow.read)
        await wait_idle()
        await ann.say("a", "live again")
        await wait_idle()
        assert slow.bodies["a"] == [*map(str, range(1000)), "live again"]
        assert slow.resyncs == 0
        assert slow.session.memberships.recovered > 900


@virtual
async def test_slow_reader_beyond_the_window() -> None:
    """What the history no longer has when the reader comes round is not passed over in silence: ``resync``."""
    async with beating(outbox=8, write_timeout=1000, window=20) as heart:
        (ann,) = await guests(heart, "ann")
        slow = heart.connect("slow", capacity=1000, slow=True)
        await slow.say_hello()
        await slow.send({"t": "join", "id": 1, "room": "a"})
        for number in range(200):
            await ann.say("a", str(number))
        heart.group.go(slow.read)
        await wait_idle()
        assert slow.resyncs == 1
        await ann.say("a", "live again")
        await wait_idle()
        assert slow.bodies["a"][-1] == "live again"


@virtual
@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_slow_reader_who_misses(policy: str) -> None:
    """With a policy that drops, what was dropped is counted to the client, and what it has plus that is all."""
    async with beating(outbox=16, write_timeout=1000, slow=policy) as heart:
        (ann,) = await guests(heart, "ann")
        slow = heart.connect("slow", capacity=1000, slow=True)
        await slow.say_hello()
        await slow.send({"t": "join", "id": 1, "room": "a"})
        await wait_idle()
        for number in range(300):
            await ann.say("a", str(number))
        heart.group.go(slow.read)
        await wait_idle()
        lag = sum(message["n"] for message in slow.heard if message["t"] == "lag")
        heard = slow.bodies["a"]
        assert lag == slow.session.outbox.dropped > 200
        assert len(heard) + lag == 300
        assert ("299" in heard) is (policy == "drop_oldest")


@virtual
async def test_slow_reader_is_sent_away() -> None:
    """With the policy that disconnects: 4008, what was not written is forgotten, and the room goes on."""
    async with beating(outbox=8, write_timeout=1000, slow="disconnect") as heart:
        (ann,) = await guests(heart, "ann")
        slow = heart.connect("slow", capacity=1000, slow=True)
        await slow.say_hello()
        await slow.send({"t": "join", "id": 1, "room": "a"})
        for number in range(100):
            await ann.say("a", str(number))
        assert slow.session.outbox.goodbye is not None
        assert slow.session.outbox.goodbye.code == 4008
        assert slow.session.ctx.cause is slow.session.outbox.goodbye
        heart.group.go(slow.read)
        await sleep(1)
        assert slow.heard[-1]["code"] == 4008
        assert [message["leave"] for message in ann.heard if message["t"] == "pres"][-1] == ["slow"]


# ---- sessions ----


@virtual
async def test_resume() -> None:
    """With its secret a client is the same session again; without it, or as somebody else, it is a new one."""
    async with beating() as heart:
        ann = heart.connect("ann")
        await ann.say_hello()
        welcome = await ann.find(t="welcome")
        ann.vanish()
        await wait_idle()
        wrong = heart.connect("ann")
        await wrong.say_hello(sid=welcome["sid"], secret="guessed")
        other = heart.connect("eve")
        await other.say_hello(sid=welcome["sid"], secret=welcome["secret"])
        right = heart.connect("ann")
        await right.say_hello(sid=welcome["sid"], secret=welcome["secret"])
        assert (await wrong.find(t="welcome"))["resumed"] is False
        assert (await other.find(t="welcome"))["resumed"] is False
        resumed = await right.find(t="welcome")
        assert (resumed["resumed"], resumed["sid"]) == (True, welcome["sid"])
        assert resumed["secret"] != welcome["secret"]
        # The connection may be dead without anybody having noticed.
        third = heart.connect("ann")
        await third.say_hello(sid=resumed["sid"], secret=resumed["secret"])
        assert (await third.find(t="welcome"))["resumed"] is True
        assert (await right.find(t="goaway"))["code"] == 4503


@virtual
@pytest.mark.parametrize("last", [{"t": "bye"}, {"t": "nonsense", "id": "x" * 1000}])
async def test_no_resume_after_the_end(last: dict[str, Any]) -> None:
    """G3: who has said bye, or was sent away for what it sent, is a new session when it comes back."""
    async with beating(max_errors=1) as heart:
        ann = heart.connect("ann")
        await ann.say_hello()
        welcome = await ann.find(t="welcome")
        await ann.send(last)
        await ann.find(t="goaway")
        await wait_idle()
        again = heart.connect("ann")
        await again.say_hello(sid=welcome["sid"], secret=welcome["secret"])
        assert (await again.find(t="welcome"))["resumed"] is False


@virtual
async def test_connections_of_one_user() -> None:
    """One more than a user may have is refused with 4504."""
    async with beating(per_user=2) as heart:
        await guests(heart, "ann", "ann", "bob")
        third = heart.connect("ann")
        await third.say_hello()
        assert (await third.find(t="goaway"))["code"] == 4504


@virtual
async def test_rooms_of_one_connection() -> None:
    """One room more than a connection may be in is refused with 422."""
    async with beating(rooms=2) as heart:
        (ann,) = await guests(heart, "ann")
        assert (await ann.join("b"))["t"] == "joined"
        assert (await ann.join("c"))["code"] == 422
        await ann.ask({"t": "leave", "room": "a"})
        assert (await ann.join("c"))["t"] == "joined"


@virtual
async def test_drain_loses_nothing_that_was_acknowledged() -> None:
    """Everybody is told when to come back; what was acknowledged before is in the history, and heard."""
    async with beating() as heart:
        those = await guests(heart, *[f"user{number}" for number in range(30)])

        async def chat(guest: Guest) -> None:
            number = 0
            while (await guest.say("a", f"{guest.user}: {number}"))["t"] == "ack":
                number += 1

        async with Group() as group:
            for guest in those:
                group.go(chat, guest)
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            await dismiss(list(heart.sessions), heart.node.settings)
        await wait_idle()
        page = await heart.node.broker.history("a", None, 10_000)
        kept = [event.payload for event in page.events]
        for guest in those:
            goaway = guest.heard[-1]
            assert (goaway["t"], goaway["code"], goaway["resume"]) == ("goaway", 4001, True)
            for _, body in guest.acked:
                assert sum(body.encode() in payload for payload in kept) >= 1
        assert len({guest.heard[-1]["after_ms"] for guest in those}) > 10
