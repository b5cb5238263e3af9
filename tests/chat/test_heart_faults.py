"""The heart is cut off: its clients, its writers, its hub, all of it. Nobody waits in vain, nothing is left."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.chat import faults
from tests.chat.heart import beating, guests

from examples.chat.drain import shutdown
from gochan import Group
from gochan.testing import explore, sleep

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])
virtual = pytest.mark.gochan(virtual_time=True)


@BACKENDS
def test_a_server_that_is_cancelled_ends(backend: Any) -> None:
    """Whoever cancels the hub together with its sessions does not wait: they leave though nobody hears them (H6)."""

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            async with beating() as heart:
                ann, _ = await guests(heart, "ann", "bob")
                await ann.say("a", "hi")
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    explore(cancelled, backend=backend, runs=5)


@virtual
async def test_drain_while_a_command_is_refused() -> None:
    """Who is told to go while the broker does not answer gets the refusal, then the goodbye, and does not stay."""
    async with beating(broker_timeout=3) as heart:
        (ann,) = await guests(heart, "ann")
        broker: Any = heart.node.broker
        broker.engine.pause()
        async with Group() as group:
            saying = group.go(ann.say, "a", "hi")
            await sleep(1)
            ann.session.drain(shutdown())
            answer = await saying.result()
        await sleep(1)
        assert (answer["t"], answer["code"]) == ("err", 504)
        assert (ann.heard[-1]["t"], ann.heard[-1]["code"]) == ("goaway", 4001)
        assert ann.ended
        broker.engine.resume()


@BACKENDS
def test_a_crowd(backend: Any) -> None:
    """Under whatever schedule slow readers miss nothing, who hangs up harms nobody, one order holds in each room."""
    explore(faults.crowd, 20, 2, backend=backend, runs=3)


@pytest.mark.slow
@BACKENDS
def test_a_hundred_under_many_schedules(backend: Any) -> None:
    """The same with 100 people."""
    explore(faults.crowd, 100, 3, backend=backend, runs=12)


@virtual
async def test_hang_up_anywhere() -> None:
    """A client that hangs up whenever the server reads from it or writes to it is forgotten, and only that."""
    assert await faults.every_hang_up() > 30


@virtual
async def test_the_hub_fails_somewhere() -> None:
    """H5: at some of the steps of the hub, on the way in and on the way out."""
    assert await faults.every_crash(7) > 5


@pytest.mark.slow
@virtual
async def test_the_hub_fails_anywhere() -> None:
    """H5: at all of them."""
    assert await faults.every_crash() > 50


@pytest.mark.slow
@BACKENDS
def test_writer_is_cancelled_anywhere(backend: Any) -> None:
    """A session whose writer is cut off wherever it waits is forgotten, and the others go on."""
    assert faults.sweep_writer(backend).points > 20


@pytest.mark.slow
@BACKENDS
def test_hub_is_cancelled_anywhere(backend: Any) -> None:
    """Sessions end, and nobody waits for an answer, wherever the hub is cut off."""
    assert faults.sweep_hub(backend).points > 50
