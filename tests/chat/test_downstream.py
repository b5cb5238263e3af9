"""The downstream service, sick in every way: what is said never waits for it, and all of it is accounted for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from examples.chat.downstream import Downstream, Notice, Outcome
from examples.chat.telemetry import Telemetry
from examples.chat.telemetry.text_metrics import TextMetrics
from gochan import CircuitBreaker, Group, sleep
from gochan.testing import explore

virtual = pytest.mark.gochan(virtual_time=True)


def notice(number: int = 0) -> Notice:
    return Notice("lobby", "ann", f"message {number}", number, 1_700_000_000_000 + number)


class Service:
    """A service that takes ``delay`` seconds, and fails with ``error`` if there is one."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.error: Exception | None = None
        self.calls: list[float] = []
        self.taken: list[Notice] = []
        self.at_once = self.most = 0

    async def __call__(self, notice: Notice) -> None:
        self.calls.append(anyio.current_time())
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await sleep(self.delay)
            if self.error is not None:
                raise self.error
            self.taken.append(notice)
        finally:
            self.at_once -= 1


@contextlib.asynccontextmanager
async def telling(send: Callable[[Notice], Awaitable[None]] | None, **options: Any) -> AsyncIterator[Downstream]:
    downstream = Downstream(send, **options)
    async with Group() as group:
        group.go(downstream.run)
        yield downstream
        downstream.close()


@virtual
async def test_delivers_in_order() -> None:
    """A healthy service is told of everything; with one worker in order."""
    service = Service(0.01)
    async with telling(service, workers=1) as downstream:
        assert [downstream.offer(notice(number)) for number in range(100)] == [True] * 100
    assert [one.id for one in service.taken] == list(range(100))
    assert downstream.counts[Outcome.DELIVERED] == 100
    assert downstream.offer(notice()) is False
    assert downstream.counts[Outcome.LEFT] == 1


@virtual
async def test_a_hanging_service_delays_nobody() -> None:
    """D1, D2, D4: while calls hang, offers take no time at all, the queue is bounded, and each call ends in time."""
    service = Service(1e9)
    never = CircuitBreaker("never", ready_to_trip=lambda _: False)
    async with telling(service, capacity=10, workers=2, deadline=2.0, breaker=never) as downstream:
        await sleep(1)  # the workers wait: what they take at once does not wait in the queue
        began = anyio.current_time()
        offered = [downstream.offer(notice(number)) for number in range(1000)]
        assert anyio.current_time() == began
        assert offered == [True] * 12 + [False] * 988
        await sleep(1)
        assert (service.at_once, downstream.waiting) == (2, 10)
    assert service.most == 2
    assert anyio.current_time() - began == pytest.approx(12.0), "six rounds of two, each of one deadline"
    assert downstream.counts[Outcome.LATE] == 12
    assert downstream.counts[Outcome.FULL] == 988


@virtual
async def test_the_breaker_opens_and_closes() -> None:
    """Closed, open, half-open, closed; while it is open the service is left alone, and what is offered is counted."""
    service = Service()
    service.error = OSError("connection refused")
    metrics = TextMetrics()
    states = list[str]()
    async with telling(service, workers=1, telemetry=Telemetry(metrics=metrics)) as downstream:
        for second in range(40):
            if second == 20:
                service.error = None
            downstream.offer(notice(second))
            await sleep(1)
            states.append(downstream.state)
            if second == 10:
                assert b'gochat_breaker_state{name="downstream"} 2\n' in metrics.expose().body
    changes = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    assert changes == ["closed", "open", "half-open", "open", "half-open", "closed"]
    assert len(service.calls) == 20, "five that fail, one that tries and fails, one that tries, and those after it"
    assert downstream.counts[Outcome.FAILED] == 6
    assert downstream.counts[Outcome.REFUSED] == 20
    assert downstream.counts[Outcome.DELIVERED] == 14
    assert sum(downstream.counts.values()) == 40
    assert b'gochat_breaker_state{name="downstream"} 0\n' in metrics.expose().body


@virtual
async def test_late_is_a_failure_to_the_breaker() -> None:
    """D4: a service that only ever hangs opens the breaker, so that nobody waits for it any longer."""
    service = Service(1e9)
    async with telling(service, workers=1, deadline=1.0) as downstream:
        for number in range(50):
            downstream.offer(notice(number))
        began = anyio.current_time()
    assert anyio.current_time() - began == pytest.approx(5.0)
    assert downstream.counts[Outcome.LATE] == 5
    assert downstream.counts[Outcome.REFUSED] == 45


@virtual
async def test_a_bug_is_reported_and_ends_no_worker() -> None:
    """What ``send`` raises besides OSError is told to the error reporter, with where; the next notice goes out."""
    reported: list[tuple[BaseException, dict[str, str]]] = []

    class Errors:
        def report(self, error: BaseException, /, **tags: str) -> None:
            reported.append((error, tags))

    service = Service()
    service.error = error = KeyError("bug")
    async with telling(service, workers=1, telemetry=Telemetry(errors=Errors())) as downstream:
        downstream.offer(notice(1))
        await sleep(1)
        service.error = None
        downstream.offer(notice(2))
    assert reported == [(error, {"where": "downstream"})]
    assert [one.id for one in service.taken] == [2]


@virtual
async def test_cancelled() -> None:
    """D3: when the server has no more time, what is on its way and what waits is counted as left."""
    service = Service(5.0)
    downstream = Downstream(service, workers=2, deadline=60)
    async with Group() as group:
        group.go(downstream.run)
        for number in range(10):
            downstream.offer(notice(number))
        await sleep(7)
        group.cancel()
    assert downstream.counts[Outcome.DELIVERED] == 2
    assert downstream.counts[Outcome.LEFT] == 8
    assert downstream.offer(notice()) is False


@virtual
async def test_no_service() -> None:
    """Without a service everything is forgotten, and nothing counted."""
    async with telling(None) as downstream:
        assert downstream.offer(notice()) is False
    assert not any(downstream.counts.values())


@pytest.mark.parametrize("options", [{"capacity": 0}, {"workers": 0}, {"deadline": 0}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    """A queue without places, or nobody to empty it, is refused."""
    with pytest.raises(ValueError, match="above 0"):
        Downstream(Service(), **options)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_any_schedule(backend: Any) -> None:
    """D3, D5 in every order of offers, failures, deadlines and the end."""

    async def program() -> None:
        answers = iter([0.1, 3.0, 0.5, 2.0, 0.2, 3.0, 0.1, 0.1])

        async def send(_: Notice) -> None:
            seconds = next(answers, 0.3)
            await sleep(seconds)
            if seconds == 0.5:
                raise OSError

        downstream = Downstream(send, capacity=3, workers=2, deadline=1.0)
        offered = 0

        async def talk(pause: float) -> None:
            nonlocal offered
            for number in range(5):
                downstream.offer(notice(number))
                offered += 1
                await sleep(pause)

        async with Group() as group:
            running = group.go(downstream.run)
            async with Group() as talkers:
                talkers.go(talk, 0.2)
                talkers.go(talk, 0.3)
            downstream.close()
            with anyio.move_on_after(0.7):
                await running.result()
            running.cancel()
        assert sum(downstream.counts.values()) == offered == 10

    explore(program, backend=backend, runs=60)
