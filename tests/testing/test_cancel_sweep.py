"""``cancel_sweep``: how many points it finds, what it demands at each, and what it says of a failure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

import gochan
from gochan import Channel, select, send
from gochan.testing import CancelOutcome, CancelPoint, CancelSweepFailure, SweepReport, cancel_sweep

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@dataclass
class Bank:
    """A channel, what went in at one side, and what came out at the other."""

    channel: Channel[int]
    sent: list[int] = field(default_factory=list[int])
    received: list[int] = field(default_factory=list[int])

    async def send_all(self, pause: float | None = None) -> None:
        for value in range(3):
            if pause:
                await anyio.sleep(pause)
            await self.channel.send(value)
            self.sent.append(value)

    async def receive_all(self, pause: float | None = None) -> None:
        for _ in range(3):
            if pause:
                await anyio.sleep(pause)
            self.received.append(await self.channel.receive())


def balanced(bank: Bank, outcome: CancelOutcome) -> None:
    """Nothing is lost or doubled, and nobody is left in a queue who is gone."""
    held = list[int]()
    while True:
        try:
            held.append(bank.channel.receive_nowait())
        except anyio.WouldBlock:
            break
    assert bank.received + held == bank.sent
    assert outcome.returned or outcome.kind is not None


# ---- channels ----


@backends
@pytest.mark.parametrize("capacity", [0, 1, 2])
def test_a_receive_that_is_cancelled_has_not_received(capacity: int, backend: Backend) -> None:
    """At every suspension of a loop of receives, before and after the value was handed over."""

    async def setup() -> Bank:
        bank = Bank(Channel(capacity))
        gochan.go(bank.send_all, 1.0)
        return bank

    report = cancel_sweep(setup, Bank.receive_all, balanced, backend=backend)
    kinds = 2 if backend == "asyncio" else 1
    assert report.suspensions == 9  # three waits, and three more with a yield before each
    assert report.points == 2 * kinds * report.suspensions
    assert report.returned > 0


@backends
@pytest.mark.parametrize("capacity", [0, 1, 2])
def test_a_send_that_is_cancelled_has_not_sent(capacity: int, backend: Backend) -> None:
    """At every suspension of a loop of sends."""

    async def setup() -> Bank:
        bank = Bank(Channel(capacity))
        for value in range(-capacity, 0):
            bank.channel.send_nowait(value)
            bank.sent.append(value)
        gochan.go(bank.receive_all, 1.0)
        return bank

    assert cancel_sweep(setup, Bank.send_all, balanced, backend=backend).suspensions == 9


@backends
def test_a_select_that_is_cancelled_has_done_none_of_its_cases(backend: Backend) -> None:
    """It sends or receives, or neither."""

    @dataclass
    class Two:
        ins: Channel[int]
        outs: Channel[int]
        given: int = 0

    async def setup() -> Two:
        two = Two(Channel(1), Channel(0))

        async def partner() -> None:
            await two.ins.send(1)

        gochan.go(partner)
        return two

    async def operation(two: Two) -> None:
        for _ in range(2):
            match await select(two.ins, send(two.outs, 2)):
                case (0, value):
                    two.given += value
                    gochan.go(two.outs.receive)
                case _:
                    two.given += 10

    def check(two: Two, outcome: CancelOutcome) -> None:
        received, sent = two.ins.statistics().received, two.outs.statistics().sent
        assert two.given == received + 10 * sent
        assert not outcome.returned or two.given == 11
        assert two.ins.statistics().receivers_waiting == two.outs.statistics().senders_waiting == 0

    assert cancel_sweep(setup, operation, check, backend=backend).returned > 0


# ---- what is counted ----


async def nothing() -> None:
    """A world in which nothing is needed."""


@backends
def test_an_operation_that_never_suspends_has_no_points(backend: Backend) -> None:
    """It is run, and checked, without a cancellation."""
    outcomes: list[CancelOutcome] = []

    async def operation(_: None) -> int:
        return 7

    report = cancel_sweep(nothing, operation, lambda _, outcome: outcomes.append(outcome), backend=backend)
    assert report == SweepReport(suspensions=0, points=0, returned=0)
    assert [(outcome.kind, outcome.returned, outcome.result) for outcome in outcomes] == [(None, True, 7)] * 2


@backends
def test_each_suspension_is_cancelled_before_and_after_it_was_woken(backend: Backend) -> None:
    """Two suspensions, two moments, in both sweeps; the check sees each once."""
    seen: list[tuple[Any, ...]] = []

    async def operation(_: None) -> None:
        await anyio.sleep(1)
        await anyio.sleep(1)

    cancel_sweep(nothing, operation, lambda _, outcome: seen.append(outcome.points), kinds=("scope",), backend=backend)
    expected: list[tuple[CancelPoint, ...]] = []
    for yields in (False, True):
        expected.append(())
        expected += [(CancelPoint(n, moment, yields),) for n in (1, 2) for moment in ("waiting", "woken")]  # type: ignore[arg-type]
    assert seen == expected


def test_depth_two_cancels_the_clean_up_as_well() -> None:
    """Each later suspension of a run that was cancelled, natively."""
    seen: list[tuple[int, ...]] = []

    async def operation(_: None) -> None:
        try:
            await anyio.sleep(1)
        finally:
            await anyio.sleep(1)

    def check(_: None, outcome: CancelOutcome) -> None:
        seen.append(tuple(point.suspension for point in outcome.points))

    cancel_sweep(nothing, operation, check, kinds=("native",), depth=2)
    assert set(seen) == {(), (1,), (1, 2), (2,)}


def test_an_async_check_is_awaited() -> None:
    """In the loop of the run, when its partners have come to rest."""
    checked = 0

    async def check(channel: Channel[int], _: CancelOutcome) -> None:
        nonlocal checked
        gochan.go(channel.send, 2)
        assert await channel.receive() == 2
        checked += 1

    async def setup() -> Channel[int]:
        return Channel()

    async def operation(_: Channel[int]) -> None:
        await anyio.sleep(0)

    report = cancel_sweep(setup, operation, check)
    assert checked == report.points + 2


# ---- what is found ----


class Leaky:
    """Receives, and looks around once more before it returns: a cancellation there loses the value."""

    def __init__(self) -> None:
        self.channel: Channel[int] = Channel()
        self.kept: list[int] = []

    async def receive(self) -> None:
        value = await self.channel.receive()
        await anyio.lowlevel.checkpoint()
        self.kept.append(value)


@backends
@pytest.mark.parametrize("kind", ["scope", "native"])
def test_a_lost_value_is_found_and_its_point_named(kind: Any, backend: Backend) -> None:
    """By its number, the way and the line."""
    if kind == "native" and backend == "trio":
        return

    async def setup() -> Leaky:
        leaky = Leaky()
        gochan.go(leaky.channel.send, 1)
        return leaky

    def check(leaky: Leaky, _: CancelOutcome) -> None:
        assert len(leaky.kept) == leaky.channel.statistics().received, "a value was lost"

    with pytest.raises(CancelSweepFailure, match="a value was lost") as caught:
        cancel_sweep(setup, Leaky.receive, check, kinds=(kind,), backend=backend)
    failure = caught.value
    assert failure.kind == kind
    assert failure.points == (CancelPoint(1, "waiting", yields=False),)
    text = str(failure)
    assert ("task.cancel()" if kind == "native" else "a scope") in text
    assert "test_cancel_sweep.py" in text
    assert " in receive" in text
    assert isinstance(failure.__cause__, AssertionError)


def test_a_native_cancellation_that_is_swallowed_is_found() -> None:
    """It must come out of the operation, or at the next suspension."""

    async def operation(_: None) -> None:
        try:
            await anyio.sleep(1)
        except asyncio.CancelledError:
            pass

    with pytest.raises(CancelSweepFailure, match="the cancellation was lost"):
        cancel_sweep(nothing, operation, lambda *_: None, kinds=("native",))
    # That of a scope comes back.
    assert cancel_sweep(nothing, operation, lambda *_: None, kinds=("scope",)).returned > 0


def test_a_cancellation_that_stays_behind_is_found() -> None:
    """One that comes a second time, long after."""

    async def operation(_: None) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await anyio.sleep(1)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(0, task.cancel)
            raise

    with pytest.raises(CancelSweepFailure, match="a cancellation nobody asked for came later"):
        cancel_sweep(nothing, operation, lambda *_: None, kinds=("native",))


@backends
def test_an_error_of_the_operation_is_a_failure(backend: Backend) -> None:
    """Of its clean-up, say; it is the failure's cause."""

    async def operation(_: None) -> None:
        try:
            await anyio.sleep(1)
        except anyio.get_cancelled_exc_class():
            raise ValueError("broken") from None

    with pytest.raises(CancelSweepFailure, match="ValueError: broken") as caught:
        cancel_sweep(nothing, operation, lambda *_: None, backend=backend)
    assert isinstance(caught.value.__cause__, ValueError)


@backends
def test_what_fails_without_a_cancellation_comes_out_as_it_is(backend: Backend) -> None:
    """There is nothing to sweep."""

    async def operation(_: None) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cancel_sweep(nothing, operation, lambda *_: None, backend=backend)


def test_an_operation_that_differs_from_run_to_run_is_refused() -> None:
    """Its points cannot be counted."""
    runs = 0

    async def operation(_: None) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            await anyio.sleep(1)

    with pytest.raises(CancelSweepFailure, match="does not do the same in each run"):
        cancel_sweep(nothing, operation, lambda *_: None)


def test_bad_arguments_are_refused() -> None:
    """Before anything runs."""

    async def operation(_: None) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="kinds"):
        cancel_sweep(nothing, operation, lambda *_: None, kinds=("gently",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="depth"):
        cancel_sweep(nothing, operation, lambda *_: None, depth=3)  # type: ignore[arg-type]
