"""What fails inside the server: a hub starts anew, a request is answered, a session is its own matter."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.chat.talkers import BOUND, JOIN, running, tcp, ws

from examples.chat import wire
from examples.chat.config import Settings
from examples.chat.hub import Hub
from examples.chat.registry import Registry
from examples.chat.server import Server
from gochan import Group


async def test_hub_is_restarted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A hub that fails at a message is started again: nobody is sent away, and everybody gets the message after all."""
    give = Hub._give
    failures = [1, 1]

    def fail(client: Any, member: Any, batch: Any) -> None:
        if client.user == "bob" and failures and any(b"poison" in frame.payload for frame in batch.frames):
            failures.pop()
            raise ZeroDivisionError
        give(client, member, batch)

    monkeypatch.setattr(Hub, "_give", staticmethod(fail))
    async with running() as server, tcp(server) as ann, tcp(server) as bob:
        await ann.join("ann")
        await bob.join("bob")
        for number, body in enumerate(["one", "poison", "two", "three", "poison"]):
            await ann.send({"t": "say", "id": number, "room": "lobby", "body": body})
        for talker in (ann, bob):
            for number in range(5):
                await talker.find("msg", id=number, off=number + 1)
        assert server.hub.restarts >= 1
        await ann.send({"t": "who", "id": "?", "room": "lobby"})
        await ann.find("members", members=["ann", "bob"])
    assert any(record.exc_info for record in caplog.records)


async def test_request_at_which_the_hub_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked is told, with a code that says it may be tried again; and the room does not keep half of a join."""
    joined = Hub._joined
    failures = [1]

    def fail(*args: Any) -> None:
        if failures:
            failures.pop()
            raise ZeroDivisionError
        joined(*args)

    monkeypatch.setattr(Hub, "_joined", fail)
    async with running() as server, tcp(server) as ann:
        await ann.hello()
        await ann.send(JOIN)
        assert (await ann.get("err", id=1, code=500))["temp"]
        await ann.send(JOIN)
        await ann.get("joined", id=1, members=["ann"])


async def test_hub_failure_is_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub fails at is refused with 500, and with nothing else."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with running() as server, tcp(server) as ann:
        await ann.join("ann")
        with monkeypatch.context() as broken:
            broken.setattr(Registry, "tell", fail)
            await ann.send({"t": "dm", "id": 1, "to": "bob", "body": "hi"})
            assert (await ann.get("err", id=1))["code"] == 500
        await ann.send({"t": "who", "id": 2, "room": "lobby"})
        await ann.get("members", id=2, members=["ann"])


async def test_hub_failure_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that fails again and again takes the server down with its error: clients shall not wait for ever."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Registry, "tell", fail)
    server = Server(Settings(port=0))
    await server.listen()
    with anyio.fail_after(BOUND), pytest.raises(ExceptionGroup) as failed:
        async with Group() as group:
            group.go(server.run)
            async with tcp(server) as ann, ws(server) as bob:
                await ann.hello("ann")
                await bob.join("bob")
                await ann.send(*[{"t": "dm", "id": 1, "to": "bob", "body": "hi"}] * 10)
                await ann.end()
                await bob.end()
    assert failed.group_contains(ZeroDivisionError, depth=2)


async def test_session_failure_is_its_own(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A bug that one client's message hits ends that session with 4014 and is logged; nobody else notices."""
    decode = wire.JsonCodec.decode

    def fail(self: wire.JsonCodec, payload: bytes) -> wire.Command:
        if b"poison" in payload:
            raise ZeroDivisionError
        return decode(self, payload)

    monkeypatch.setattr(wire.JsonCodec, "decode", fail)
    async with running() as server, tcp(server) as ann, tcp(server) as bob:
        await ann.join("ann")
        await bob.join("bob")
        await ann.send(b"poison")
        assert await ann.end() == 4014
        await bob.find("pres", leave=["ann"])
    assert any(record.exc_info for record in caplog.records)


# ---- disconnecting at the worst moment ----
