"""The broker in Valkey: what it says to bad input, how it batches, what it does when scripts and data are gone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from tests.chat.broker import engine
from tests.chat.broker.clusters import offsets, pending
from tests.chat.broker.engine import Engine

from examples.chat.broker import Event, Pos, Published, Resync, Unavailable, Window
from examples.chat.broker.feed import Feed
from examples.chat.broker.redis import EngineError, RedisBroker, open_broker
from examples.chat.broker.redis_address import Address
from examples.chat.broker.redis_scripts import ALL, Keys
from examples.chat.broker.redis_subscriber import Subscriber
from gochan import Group

pytestmark = pytest.mark.gochan(virtual_time=False)

_number = iter(range(10**9))


@pytest.fixture(scope="module")
def valkey() -> Iterator[Engine]:
    """An engine that keeps nothing, for what may forget."""
    with engine.running(password="pa/ss:wörd") as running:
        yield running


def opened(url: str, node: str = "one", **options: Any) -> contextlib.AbstractAsyncContextManager[RedisBroker]:
    options = {"prefix": f"test-{next(_number)}", "name_seconds": 0, "start_seconds": 5, **options}
    return open_broker(url, node, Window(messages=100), **options)


async def refused(url: str, **options: Any) -> str:
    """What is said to somebody who starts with this URL."""
    with anyio.fail_after(engine.BOUND), pytest.raises(EngineError) as caught:
        async with opened(url, **options):
            pass
    return str(caught.value)


# ---- bad input ----


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "redis://"),
        ("localhost:6379", "redis://"),
        ("http://localhost", "not at http://"),
        ("redis://", "names no host"),
        ("redis:///3", "names no host"),
        ("redis://host:port", "redis://"),
        ("redis://host:99999", "redis://"),
        ("redis://host/lobby", "number of a database"),
        ("redis://host/-1", "number of a database"),
        ("redis://host?timeout=3", "no option 'timeout'"),
        ("redis://[::1", "redis://"),
        ("redis://user:secret@host/lobby", "number of a database"),
        ("redis://user:secret/word@host", "percent-encoded"),
    ],
)
def test_wrong_url(url: str, text: str) -> None:
    """A URL that is none says what one looks like, and never shows the password."""
    with pytest.raises(EngineError, match=text.replace("?", r"\?")) as caught:
        Address.parse(url)
    assert "secret" not in str(caught.value)


def test_url() -> None:
    """Everything that belongs to an address is in the URL; what is shown of it is without the password."""
    address = Address.parse("rediss://ann:p%40ss%2Fw@example.org:7000/3?ca=/etc/ca.pem")
    assert (address.host, address.port, address.database) == ("example.org", 7000, 3)
    assert (address.user, address.password, address.tls) == ("ann", "p@ss/w", True)
    assert str(address) == "rediss://example.org:7000/3"
    assert "p@ss" not in repr(address)
    assert str(Address.parse("redis://[::1]")) == "redis://[::1]:6379/0"
    with pytest.raises(EngineError, match=r"ca\.pem"):
        address.context()


@pytest.mark.parametrize("password", ["wrong", None])
async def test_wrong_password(valkey: Engine, password: str | None) -> None:
    """A wrong password, or none, is told at once, and what to do; the password is not."""
    user = f":{password}@" if password else ""
    said = await refused(f"redis://{user}127.0.0.1:{valkey.port}")
    assert "refuses the user or the password" in said
    assert "redis://user:password@host" in said
    assert "wrong" not in said.replace("WRONGPASS", "")


async def test_no_such_database(valkey: Engine) -> None:
    """A database that the engine has not got is told at once."""
    assert "DB index" in await refused(valkey.url[:-1] + "99999")


async def test_nobody_there() -> None:
    """An engine that is not there is waited for, then it is told where it was looked for, and why in vain."""
    said = await refused("redis://127.0.0.1:1", start_seconds=0.3)
    assert "no engine within 0.3 s: redis://127.0.0.1:1/0 cannot be reached" in said
    assert "refused" in said.lower()


async def test_engine_that_comes_late(valkey: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A node may start before its engine: it waits, and says so once."""
    valkey.kill()
    with caplog.at_level(logging.ERROR, "examples.chat.broker"), anyio.fail_after(engine.BOUND):
        async with Group() as group:

            async def come() -> None:
                await anyio.sleep(0.2)
                valkey.launch()

            group.go(come)
            async with opened(valkey.through(valkey.port), start_seconds=15) as broker:
                assert (await broker.publish("lobby", b"")).pos.off == 1
    assert sum("cannot be reached" in record.getMessage() for record in caplog.records) == 1


@contextlib.asynccontextmanager
async def pretender(*answers: bytes) -> AsyncIterator[str]:
    """Something that gives these answers to what it is asked, one after the other, and then is silent."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, OSError, anyio.BrokenResourceError):
                for each in answers:
                    await stream.receive()
                    await stream.send(each)
                while True:
                    await stream.receive()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, Group() as group:
        (inner,) = listener.listeners
        group.go(listener.serve, answer)
        yield f"redis://127.0.0.1:{inner.extra(anyio.abc.SocketAttribute.local_port)}"
        group.cancel()


HELLO = b"%3\r\n+version\r\n+6.0.9\r\n+proto\r\n:3\r\n+id\r\n:7\r\n"


def info(**fields: str) -> bytes:
    text = "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()
    return b"$%d\r\n%b\r\n" % (len(text), text)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ((b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n",), r"too old.*Redis 6\.2"),
        ((HELLO, info(redis_version="6.0.9")), r"is Redis 6\.0\.9.*needs 6\.2"),
        ((HELLO, info(redis_version="7.2.4", cluster_enabled="1")), "node of a cluster"),
        ((HELLO, info(redis_version="7.2.4", role="slave")), "replica.*primary"),
        ((HELLO, info(redis_version="7.2.4", loading="1")), "still reading its data"),
        ((HELLO, b"-NOPERM this user has no permissions to run the 'info' command\r\n"), "ACL SETUSER"),
        ((), "does not answer in time"),
    ],
)
async def test_engines_that_will_not_do(answers: tuple[bytes, ...], text: str) -> None:
    """An engine that is too old, of the wrong kind or silent is named, with what is needed instead."""
    async with pretender(*answers) as url:
        with pytest.raises(EngineError, match=text), anyio.fail_after(engine.BOUND):
            async with opened(url, start_seconds=0.3):
                pass


async def test_something_else_listens() -> None:
    """What speaks another protocol is not waited for beyond the time to start."""
    async with pretender(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        assert "no engine within" in await refused(url, start_seconds=0.3)


async def test_tls_where_there_is_none(valkey: Engine) -> None:
    """``rediss://`` to a port without TLS says that it is TLS that fails."""
    said = await refused(valkey.url.replace("redis://", "rediss://"), start_seconds=0.3)
    assert "TLS" in said


def test_names_of_keys() -> None:
    """All keys of a room have one hash tag, whatever its name; no two rooms share a key."""
    keys = Keys("p")
    names = ["", "%", "lobby", "a}b", "a{b", "{a}", "}", "%7D", "nodes", "%nodes"]
    made = [keys.room(name, b"m") for name in names]
    assert len(set(made)) == len(names)
    assert not any(key.startswith(b"p:{%nodes}") for key in made), "the nodes have a tag of their own"
    for name in names:
        tag = keys.room(name, b"m").split(b"{", 1)[1].split(b"}", 1)[0]
        assert tag
        assert keys.room(name, b"s").split(b"{", 1)[1].startswith(tag + b"}")
    with pytest.raises(ValueError, match="braces"):
        Keys("{p}")


# ---- what the engine forgets ----


async def test_scripts_are_gone(valkey: Engine) -> None:
    """An engine that has forgotten the scripts is given them again: nobody notices, no number is left out."""
    async with opened(valkey.url) as one:
        await one.publish("lobby", b"1", key="k")
        for _ in range(3):
            valkey.ask("SCRIPT", "FLUSH")
            async with Group() as group:
                publications = [group.go(one.publish, "lobby", b"") for _ in range(20)]
            got = sorted([(await each.result()).pos.off for each in publications])
            assert got == list(range(got[0], got[0] + 20))
            valkey.ask("SCRIPT", "FLUSH")
            assert (await one.history("lobby", None, 0)).top.off == got[-1]
        assert await one.publish("lobby", b"1", key="k") == Published(
            Pos(1, (await one.publish("lobby", b"")).pos.ep), True
        )


async def test_data_is_gone(valkey: Engine) -> None:
    """After FLUSHALL rooms begin in another epoch; whoever stands in the old one is told that it is not complete."""
    async with opened(valkey.url) as one:
        await one.subscribe("lobby")
        before = (await one.publish("lobby", b"1", key="k")).pos
        valkey.ask("FLUSHALL")
        page = await one.history("lobby", before, 10)
        assert (list(page.events), page.complete) == ([], False)
        after = await one.publish("lobby", b"1", key="k")
        assert not after.duplicate
        assert after.pos.off == 1
        assert after.pos.ep != before.ep


async def test_no_space(valkey: Engine) -> None:
    """An engine without memory refuses to publish, and says so; reading goes on, and all does when there is space."""
    async with opened(valkey.url) as one:
        await one.publish("lobby", b"1")
        valkey.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(Unavailable, match="maxmemory"):
                await one.publish("lobby", b"2")
        finally:
            valkey.ask("CONFIG", "SET", "maxmemory", "0")
        assert (await one.publish("lobby", b"2")).pos.off == 2
        assert one.engine.breaker.state == "closed"


# ---- batches ----


async def publish(broker: RedisBroker, n: int) -> Published:
    return await broker.publish("lobby", b"%d" % n, key=str(n % 250))


async def test_batches(valkey: Engine) -> None:
    """Publications that are made at the same time share a few writes; each gets its own answer, and numbers have no
    hole."""
    async with opened(valkey.url) as one:
        await one.subscribe("lobby")
        async with Group() as group:
            publications = [group.go(publish, one, n) for n in range(500)]
        results = [await each.result() for each in publications]
        assert sum(result.duplicate for result in results) == 250
        assert {result.pos.off for result in results} == set(range(1, 251))
        assert one.publisher.batches < 50
        for first, second in zip(results[:250], results[250:], strict=True):
            assert first.pos == second.pos


async def test_cancelled_publishers(valkey: Engine) -> None:
    """Who is cancelled may have published or not; again with the same key, it is there once. Nobody else is harmed."""
    async with opened(valkey.url) as one:
        async with Group() as group:
            others = [group.go(one.publish, "lobby", b"other") for _ in range(50)]
            for n in range(50):
                with anyio.move_on_after(0.0005 * (n % 7)):
                    await one.publish("lobby", b"mine", key=str(n))
        first = [await each.result() for each in others]
        again = [await one.publish("lobby", b"mine", key=str(n)) for n in range(50)]
        assert {each.pos.off for each in [*first, *again]} == set(range(1, 101))
        assert (await one.history("lobby", None, 0)).top.off == 100
        assert one.engine.connections == 1


async def test_cancelled_readers(valkey: Engine) -> None:
    """Who is cancelled while it waits for an answer does not take the answers of others."""
    async with opened(valkey.url) as one:
        await one.publish("lobby", b"1")
        await one.publish("other", b"1")
        await one.publish("other", b"2")
        for n in range(60):
            with anyio.move_on_after(0.0002 * (n % 5)):
                await one.history("other", None, 10)
            assert offsets((await one.history("lobby", None, 10)).events) == [1]
        assert one.engine.connections == 1


async def test_many_rooms_after_a_lost_connection(valkey: Engine) -> None:
    """A node in more rooms than one command takes is in all of them again, and is told to read the history (N2)."""
    async with opened(valkey.url, capacity=2000) as one:
        rooms = [f"room {n}" for n in range(1300)]
        async with Group(limit=100) as group:
            for room in rooms:
                await group.go_when_free(one.subscriber.subscribe, room)
        valkey.ask("CLIENT", "KILL", "TYPE", "pubsub")
        with anyio.fail_after(engine.BOUND):
            assert await one.events.receive() == Resync(None)
        async with Group(limit=100) as group:
            for room in rooms:
                await group.go_when_free(one.publish, room, b"")
        with anyio.fail_after(engine.BOUND):
            got = [await one.events.receive() for _ in rooms]
        assert {event.room for event in got if isinstance(event, Event)} == set(rooms)
        assert pending(one) == []


def test_scripts_are_all_loaded() -> None:
    """Every script of the module is in ``ALL``, and no two have the same name."""
    from examples.chat.broker import redis_scripts

    made = [each for each in vars(redis_scripts).values() if isinstance(each, redis_scripts.Script)]
    assert sorted(script.sha for script in made) == sorted(script.sha for script in ALL)
    assert len({script.sha for script in ALL}) == len(ALL)


async def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried in vain, the log says so once; and once more when it is gone again."""
    feed = Feed("here")
    subscriber = Subscriber(Address("nowhere"), Keys("p"), feed, b"own", lambda _: None)
    with caplog.at_level("INFO"):
        for expected in (1, 2):
            for _ in range(5):
                subscriber._note(ConnectionError("no route"))
            assert caplog.text.count("no events until it works again") == expected
            subscriber._complete()
