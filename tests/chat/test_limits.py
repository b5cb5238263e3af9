"""Limits, in virtual time: what comes through, what waits, what is refused, and what is remembered of whom."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from examples.chat.limits import Gate, Limits, Rate
from examples.chat.telemetry.text_metrics import TextMetrics
from examples.chat.wire import Goodbye, WireError
from gochan import Group, sleep
from gochan.testing import explore

virtual = pytest.mark.gochan(virtual_time=True)


async def flood(gate: Gate, seconds: float, pause: float = 0.0) -> tuple[int, list[WireError], Goodbye | None]:
    """Send as fast as the server reads, or once a ``pause``: what came through, what was refused, how it ended."""
    accepted, refused = 0, list[WireError]()
    end = anyio.current_time() + seconds
    while anyio.current_time() < end:
        try:
            await gate.admit(id=accepted)
            accepted += 1
        except WireError as error:
            refused.append(error)
            if not pause:
                await sleep(0.001)
        except Goodbye as goodbye:
            return accepted, refused, goodbye
        if pause:
            await sleep(pause)
    return accepted, refused, None


@virtual
async def test_within_the_limit() -> None:
    """Who keeps to the limit is never held up, not even for a whole burst."""
    gate = Limits().gate()
    gate.identify("ann")
    began = anyio.current_time()
    for _ in range(40):
        await gate.admit()
    assert anyio.current_time() == began
    for _ in range(200):
        await sleep(0.051)
        before = anyio.current_time()
        await gate.admit()
        assert anyio.current_time() == before


@virtual
async def test_flood() -> None:
    """A flood is first not read from for a second, then refused with 429, then sent away with 4013 (row 14)."""
    limits = Limits()
    gate = limits.gate()
    began = anyio.current_time()
    accepted, refused, goodbye = await flood(gate, 10)
    seconds = anyio.current_time() - began
    assert goodbye is not None
    assert goodbye.code == 4013
    assert 60 <= accepted <= 20 * seconds + 40
    assert 1.0 <= seconds < 1.2
    assert len(refused) == 19
    assert {int(error.code) for error in refused} == {429}
    assert all(error.retry_ms is not None and 1 <= error.retry_ms <= 50 for error in refused)
    assert refused[0].id in (59, 60)


@virtual
async def test_long_flood_gets_no_more_than_its_rate() -> None:
    """L1, where nobody is sent away: in 5 s at most 20 a second and the burst."""
    limits = Limits(strikes=10**9)
    accepted, refused, _ = await flood(limits.gate(), 5)
    assert 20 * 5 <= accepted <= 20 * 5 + 40 + 1
    assert len(refused) > 1000


async def test_refused_takes_nothing_on_a_real_clock() -> None:
    """L2: where the user's bucket is empty, refusals leave the connection's as it was, though time goes on."""
    limits = Limits(connection=Rate(0.001, 40), user=Rate(0.001, 1), patience=0)
    gate = limits.gate()
    gate.identify("ann")
    await gate.admit()
    for _ in range(15):
        with pytest.raises(WireError):
            await gate.admit()
    assert gate._bucket.tokens == pytest.approx(39, abs=0.1)


@virtual
async def test_retry_ms_is_true() -> None:
    """Who was refused and comes back when it was told to comes through, for ever."""
    gate = Limits(strikes=3, patience=0).gate()
    refused = 0
    for _ in range(300):
        try:
            await gate.admit()
        except WireError as error:
            refused += 1
            assert error.retry_ms is not None
            await sleep(error.retry_ms / 1000)
            await gate.admit()
    assert refused > 100


@virtual
async def test_patience_comes_back() -> None:
    """L3: a sender that paused until its bucket was half full is again waited for, not refused."""
    metrics = TextMetrics()
    gate = Limits(metrics=metrics).gate()
    for _ in range(3):
        for _ in range(40 if gate.waited == 0 else 20):
            await gate.admit()
        for _ in range(19):
            await gate.admit()
        assert 0 < gate.waited <= 1
        await sleep(1.1)
    assert gate.strikes == 0
    assert b'gochat_limited_total{what="refused"}' not in metrics.expose().body


@virtual
async def test_connections_of_one_user_share_a_bucket() -> None:
    """Two connections of one user get what one user may have; another user does not notice."""
    limits = Limits(connection=Rate(20, 40), user=Rate(20, 40), strikes=10**9)
    gates = [limits.gate() for _ in range(3)]
    for gate, name in zip(gates, ("ann", "ann", "bob"), strict=True):
        gate.identify(name)
    results: dict[int, int] = {}

    async def one(number: int, pause: float) -> None:
        results[number], _, _ = await flood(gates[number], 4, pause)

    async with Group() as group:
        group.go(one, 0, 0.0)
        group.go(one, 1, 0.0)
        group.go(one, 2, 0.1)
    assert 80 <= results[0] + results[1] <= 20 * 4 + 40 + 2
    assert results[2] == pytest.approx(40, abs=1)


@virtual
async def test_reconnecting_is_no_new_bucket() -> None:
    """L5: a user who leaves with an empty bucket finds it as empty when it comes back, and full after a while."""
    limits = Limits(connection=Rate(1000, 1000), user=Rate(10, 20), patience=0)

    async def burst() -> int:
        gate = limits.gate()
        gate.identify("ann")
        accepted = 0
        try:
            for _ in range(30):
                await gate.admit()
                accepted += 1
        except WireError:
            pass
        finally:
            gate.leave()
            gate.leave()
        return accepted

    assert [await burst(), await burst()] == [20, 0]
    limits._check()
    await sleep(60)
    assert await burst() == 20


@virtual
async def test_table_is_bounded() -> None:
    """L5: whoever makes up names fills no memory, and those whose buckets are full are forgotten first."""
    limits = Limits(user=Rate(0.1, 20), remembered=100)
    for number in range(1000):
        gate = limits.gate()
        gate.identify(f"user {number}")
        if number % 2:
            await gate.admit()
        gate.leave()
        limits._check()
    assert len(limits._gone) == 100
    await sleep(1000)
    gate = limits.gate()
    gate.identify("last")
    gate.leave()
    assert not limits._gone
    assert not limits._here


@virtual
async def test_cancelled_while_it_waits() -> None:
    """L2: a session that ends while its command waits gives the tokens back to the user's other sessions."""
    limits = Limits(connection=Rate(1, 1), user=Rate(1, 1), patience=5)
    one, two = limits.gate(), limits.gate()
    one.identify("ann")
    two.identify("ann")
    await one.admit()
    with anyio.move_on_after(0.3):
        await one.admit()
    began = anyio.current_time()
    await two.admit()
    assert anyio.current_time() - began == pytest.approx(0.7)


@virtual
async def test_accept() -> None:
    """The port takes its burst and its rate; the others are told when there will be room."""
    limits = Limits(accept=Rate(10, 5))
    assert [limits.accept() for _ in range(5)] == [0.0] * 5
    busy = limits.accept()
    assert busy == pytest.approx(0.1)
    assert limits.accept() == busy, "asking takes nothing"
    await sleep(busy)
    assert limits.accept() == 0.0


def test_identify_twice() -> None:
    """A connection is one user's, and nobody's after it left."""
    limits = Limits()
    gate = limits.gate()
    gate.identify("ann")
    with pytest.raises(RuntimeError, match="once"):
        gate.identify("bob")
    gate.leave()
    with pytest.raises(RuntimeError, match="leave"):
        gate.identify("bob")
    limits._check()


@pytest.mark.parametrize(
    "options",
    [{"patience": -1}, {"patience": float("inf")}, {"strikes": 0}, {"user": Rate(0, 1)}, {"user": Rate(1, 0)}],
)
def test_limits_that_make_no_sense(options: dict[str, Any]) -> None:
    """Numbers under which nothing would work are refused at once."""
    with pytest.raises(ValueError):
        Limits(**options)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_any_schedule(backend: Any) -> None:
    """L1, L2, L5 in every order of three sessions of one user, one of which is cut off while it waits."""

    async def program() -> None:
        limits = Limits(connection=Rate(10, 2), user=Rate(10, 3), patience=10, strikes=100)
        passed: list[float] = []

        async def session(commands: int, seconds: float) -> None:
            gate = limits.gate()
            gate.identify("ann")
            try:
                with anyio.move_on_after(seconds):
                    for _ in range(commands):
                        await gate.admit()
                        passed.append(anyio.current_time())
            finally:
                gate.leave()
                limits._check()

        async with Group() as group:
            for commands, seconds in ((5, 9.0), (5, 9.0), (5, 0.25)):
                group.go(session, commands, seconds)
        assert 10 <= len(passed) <= 15
        for first in range(len(passed)):
            for last in range(first, len(passed)):
                assert last - first + 1 <= 3 + 10 * (passed[last] - passed[first]) + 1e-6

    explore(program, backend=backend, runs=60)
