"""The bridge between plain threads and a loop: posts in order and in batches (T2), everybody woken once (T1)."""

from __future__ import annotations

import threading
from typing import Any, Literal

import anyio
import anyio.to_thread
import pytest
from tests.threads import Call

from gochan import BlockingChannel, Channel
from gochan._core.driver import current_driver
from gochan._core.thread_driver import Bridge, ThreadWaiter, bridge_of
from gochan._core.waiter import CANCELLED, COMMITTED
from gochan._core.waitqueue import WaitQueue

Backend = Literal["asyncio", "trio"]
BACKENDS: list[Backend] = ["asyncio", "trio"]


def bridge() -> Bridge:
    driver = current_driver()
    assert driver is not None
    return bridge_of(driver)


async def test_one_bridge_for_all_views_of_a_loop() -> None:
    """However many channels and views there are."""
    views = [Channel[int]().blocking() for _ in range(3)]
    assert {id(view._bridge) for view in views} == {id(bridge())}


async def test_posts_run_in_order() -> None:
    """T2: so that a withdrawal never overtakes the operation it withdraws."""
    got, here = list[int](), bridge()

    def post_all() -> None:
        for number in range(100):
            here.post(got.append, number)

    await Call(post_all).result()
    while len(got) < 100:
        await anyio.sleep(0.0005)
    assert got == list(range(100))


async def test_posts_cross_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One wake-up of the loop carries everything that was posted before the loop gets to it."""
    here, wakes, got = bridge(), 0, list[int]()
    driver = current_driver()
    original = type(driver).call_soon_threadsafe

    def counting(self: Any, fn: Any, *args: Any) -> None:
        nonlocal wakes
        wakes += 1
        original(self, fn, *args)

    monkeypatch.setattr(type(driver), "call_soon_threadsafe", counting)
    started = threading.Event()

    def post_all() -> None:
        for number in range(50):
            here.post(got.append, number)
        started.set()

    call = Call(post_all)
    assert started.wait(20)  # the loop stands still meanwhile
    assert wakes == 1
    await call.result()
    while len(got) < 50:
        await anyio.sleep(0.0005)


async def test_an_operation_that_fails_in_the_loop_fails_in_the_thread() -> None:
    """It is the thread's error; the loop and the posts behind it go on."""
    here = bridge()

    def broken(_waiter: ThreadWaiter) -> None:
        raise ZeroDivisionError

    calls = [Call(here.wait, broken, None, timeout) for timeout in (None, 5)]
    ok = Call(here.wait, lambda waiter: waiter.commit("fine"), None, None)
    for call in calls:
        with pytest.raises(ZeroDivisionError):
            await call.result()
    assert await ok.result() == "fine"
    assert not here.waiting


def test_giving_up_after_a_commit_changes_nothing() -> None:
    """T2: the commit came first, so the thread gets its value."""
    waiter = ThreadWaiter("item")
    waiter.commit("value")
    waiter.give_up(TimeoutError())
    assert (waiter.state, waiter.item, waiter.error) == (COMMITTED, "value", None)
    assert waiter.woken.acquire(timeout=0)


def test_giving_up_leaves_the_queue() -> None:
    """Once; the second time there is nothing to give up."""
    queue, waiter, error = WaitQueue(), ThreadWaiter(), TimeoutError()
    queue.append(waiter)
    waiter.give_up(error)
    waiter.give_up(RuntimeError())
    assert (waiter.state, waiter.error) == (CANCELLED, error)
    assert not queue
    assert waiter.woken.acquire(timeout=0)


async def test_a_timeout_that_meets_a_commit() -> None:
    """The loop decides, and the thread believes it: the value is either here or still there, never neither.

    The thread's time-out is real: a thread has no other clock.
    """
    channel = Channel[int]()
    view = channel.blocking()
    received = 0
    for number in range(30):
        call = Call(outcome_of, view, 0.0005)
        while not channel.statistics().receivers_waiting and call._thread.is_alive():
            await anyio.sleep(0.0002)
        try:
            channel.send_nowait(number)
            sent = True
        except anyio.WouldBlock:
            sent = False
        assert await call.result() == (number if sent else None)
        received += sent
    assert channel.statistics().received == received


def outcome_of(view: BlockingChannel[int], timeout: float) -> int | None:
    try:
        return view.receive(timeout)
    except TimeoutError:
        return None


@pytest.mark.parametrize("backend", BACKENDS)
def test_everybody_is_woken_at_the_end(backend: Backend) -> None:
    """T1: threads in queues, and those that post while the run ends; nothing stays behind in the bridge."""
    bridges, calls = list[Bridge](), list[Call[Any]]()
    stop = threading.Event()

    def hammer(view: BlockingChannel[int]) -> int:
        count = 0
        while not stop.is_set():
            try:
                view.receive(timeout=0)
            except TimeoutError:
                count += 1
            except RuntimeError:
                break
        return count

    async def main() -> None:
        channel = Channel[int]()
        view = channel.blocking()
        bridges.append(bridge())
        calls.extend(Call(hammer, view) for _ in range(3))
        calls.extend(Call(view.receive) for _ in range(3))
        while channel.statistics().receivers_waiting < 3:
            await anyio.sleep(0.0005)

    anyio.run(main, backend=backend)
    try:
        failures = [call.failure() for call in calls]
    finally:
        stop.set()
    assert [type(failure) for failure in failures] == [type(None)] * 3 + [RuntimeError] * 3
    assert not bridges[0].waiting


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bridge_of_an_ended_loop_refuses(backend: Backend) -> None:
    """At once, without posting anything."""

    async def ask() -> Bridge:
        return bridge()

    ended = anyio.run(ask, backend=backend)
    with pytest.raises(RuntimeError, match="ended"):
        Call(ended.wait, lambda waiter: waiter.commit(None), None, None).join()
