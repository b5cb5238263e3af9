"""What belongs to which loop (D1, D2), and the budget of ready operations (D3)."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio
from tests.conformance.helpers import receivers_parked, until
from tests.threads import Call
from tests.turns import given_up

from gochan import Channel, Event, Group, receive_ok, select, send, try_select
from gochan._core.driver import NOWHERE, QUANTUM, STREAK, current_driver

Backend = Literal["asyncio", "trio"]
BACKENDS: list[Backend] = ["asyncio", "trio"]
on_both = pytest.mark.parametrize("backend", BACKENDS)

REMEDY = r"Channel\.blocking\(\)"


def in_context(fn: Callable[[], Any]) -> Callable[[], Any]:
    """In a copy of the context of the task that calls, as ``asyncio.to_thread`` has it."""
    return lambda context=contextvars.copy_context(): context.run(fn)


# ---- use from another thread ----


def foreign_uses(channel: Channel[int]) -> dict[str, Callable[[], Any]]:
    """Everything that another thread may not do with a channel."""

    def loop(operation: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        async def main() -> None:
            await operation(*args)

        # Not anyio.run, which refuses a context that was copied from a task.
        return lambda: asyncio.run(main())

    return {
        "send": loop(channel.send, 1),
        "send on trio": lambda: trio.run(channel.send, 1),
        "receive": loop(channel.receive),
        "receive_ok": loop(channel.receive_ok),
        "receive_many": loop(channel.receive_many),
        "iteration": loop(channel.__anext__),
        "select": loop(select, channel, send(channel, 1)),
        "select second": loop(select, Event(), channel),
        "send_nowait": lambda: channel.send_nowait(1),
        "receive_nowait": channel.receive_nowait,
        "try_select": lambda: try_select(send(channel, 1)),
        "try_select second": lambda: try_select(Event(), receive_ok(channel)),
        "close": channel.close,
        "aclose": loop(channel.aclose),
        "close cause": lambda: channel.close(ValueError()),
        "with": lambda: channel.__exit__(None, None, None),
    }


@pytest.mark.parametrize("capacity", [0, 3])
@pytest.mark.parametrize("copied", [False, True], ids=["fresh", "copied context"])
async def test_another_thread_is_refused(copied: bool, capacity: int) -> None:
    """Every operation says who owns the channel and names the remedy; nothing has changed."""
    channel = Channel[int](capacity, name="mine")
    with anyio.fail_after(20):
        async with Group() as group:
            group.go(channel.receive)
            await receivers_parked(channel)
            channel.send_nowait(0)
            waiting = group.go(channel.receive)
            await receivers_parked(channel)
            before = channel.statistics()
            for name, use in foreign_uses(channel).items():
                call = Call(in_context(use) if copied else use)
                with pytest.raises(RuntimeError, match=REMEDY) as caught:
                    await call.result()
                assert "another thread" in str(caught.value), name
                assert "'mine'" in str(caught.value)
                assert channel.statistics() == before
            channel._state._check()
            await channel.send(7)
            assert await waiting.result() == 7


@pytest.mark.asyncio_only
async def test_a_copied_context_does_not_help() -> None:
    """``asyncio.to_thread`` copies the context, and ``asyncio.run`` there is another loop all the same."""
    channel = Channel[int]()
    async with Group() as group:
        waiting = group.go(channel.receive)
        await receivers_parked(channel)
        with pytest.raises(RuntimeError, match=REMEDY):
            await asyncio.to_thread(asyncio.run, channel.send(1))
        with pytest.raises(RuntimeError, match=REMEDY):
            await asyncio.to_thread(channel.send_nowait, 1)
        await channel.send(2)
        assert await waiting.result() == 2


async def test_looking_is_allowed_from_anywhere() -> None:
    """``len``, ``statistics``, ``repr``, ``closed`` and ``is_set`` work in any thread."""
    channel, event = Channel[int](1), Event()
    with given_up():
        await channel.receive()
    with given_up():
        await event.wait()
    channel.send_nowait(1)

    def look() -> tuple[Any, ...]:
        return len(channel), channel.statistics().buffered, channel.closed, event.is_set(), repr(event), repr(channel)

    assert (await Call(look).result())[:4] == (1, 1, False, False)


async def test_an_event_of_another_loop() -> None:
    """The same for events; the remedy there is ``from_thread.run_sync``, which works."""
    event = Event()
    with anyio.fail_after(10):
        async with Group() as group:
            group.go(event.wait)
            await until(lambda: "waiters=1" in repr(event))
            for use in (event.set, lambda: anyio.run(event.wait), lambda: anyio.run(select, event)):
                with pytest.raises(RuntimeError, match="from_thread"):
                    await Call(use).result()
            assert not event.is_set()
            await anyio.to_thread.run_sync(anyio.from_thread.run_sync, event.set)


async def test_a_second_loop_in_one_select() -> None:
    """A channel of another loop among good ones: refused before anything is done."""
    mine, theirs = Channel[int](1), Channel[int]()
    mine.send_nowait(1)
    release = threading.Event()

    async def hold() -> None:
        async with Group() as group:
            group.go(theirs.receive)
            while not release.is_set():
                await anyio.sleep(0.001)
            group.cancel()

    other = Call(lambda: anyio.run(hold))
    try:
        while not theirs.statistics().receivers_waiting:
            await anyio.sleep(0.001)
        for cases in ((mine, theirs), (theirs, mine), (mine, send(theirs, 1))):
            with pytest.raises(RuntimeError, match=REMEDY):
                await select(*cases)
            with pytest.raises(RuntimeError, match=REMEDY):
                try_select(*cases)
        assert len(mine) == 1
        assert theirs.statistics().receivers_waiting == 1
    finally:
        release.set()
        await other.result()


async def test_two_loops_at_once_in_one_thread() -> None:
    """The other loop is stopped, not closed: it still owns the channel."""
    channel = Channel[int](1)
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        with given_up():
            await channel.receive()
        await channel.send(5)

    def prepare() -> None:
        loop.run_until_complete(wait())

    await Call(prepare).result()
    try:
        with pytest.raises(RuntimeError, match=REMEDY):
            await channel.receive()
        with pytest.raises(RuntimeError, match=REMEDY):
            channel.receive_nowait()
    finally:
        loop.close()
    assert await channel.receive() == 5


# ---- before any loop, and from one loop to the next ----


@on_both
def test_made_and_filled_before_any_loop(backend: Backend) -> None:
    """Operations that need not wait work without a loop; the first loop finds what is there."""
    channel, event = Channel[int](3), Event()
    channel.send_nowait(1)
    assert try_select(send(channel, 2)) == (0, None)
    with pytest.raises(anyio.WouldBlock):
        Channel[int]().receive_nowait()
    event.set()

    async def main() -> list[int]:
        await event.wait()
        await channel.send(3)
        return await channel.receive_many()

    assert anyio.run(main, backend=backend) == [1, 2, 3]


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_the_next_loop_takes_over(first: Backend, second: Backend) -> None:
    """Contents, counts and all; what was still parked under the closed loop is dropped."""
    channel, event = Channel[int](2), Event()

    async def one() -> None:
        async with Group() as group:
            group.go(channel.receive)
            await receivers_parked(channel)
            group.go(event.wait)
            await channel.send(1)
            group.cancel()
        await channel.send(2)
        await channel.send(3)

    async def two() -> list[int]:
        async with Group() as group:
            group.go(channel.send, 4)
            await until(lambda: channel.statistics().senders_waiting == 1)
            got = await channel.receive_many()
            waiting = group.go(event.wait)
            await until(lambda: "waiters=1" in repr(event))
            event.set()
            await waiting.result()
        return got

    anyio.run(one, backend=first)
    assert anyio.run(two, backend=second) == [2, 3, 4]
    assert channel.statistics().sent == 4


@pytest.mark.parametrize("then", ["receive", "nowait", "close", "select"])
def test_a_loop_closed_with_parked_tasks(then: str) -> None:
    """They are dropped at the take-over: a value does not go to a receiver that can never run."""
    channel = Channel[int](1)
    loop = asyncio.new_event_loop()

    async def park() -> asyncio.Task[int]:
        task = asyncio.create_task(channel.receive())
        await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(park())
    loop.close()
    assert channel.statistics().receivers_waiting == 1
    match then:
        case "receive":
            channel.send_nowait(1)
            assert asyncio.run(channel.receive()) == 1
        case "nowait":
            channel.send_nowait(1)
            assert channel.receive_nowait() == 1
        case "close":
            channel.close()
        case _:
            assert asyncio.run(select(send(channel, 1))) == (0, None)
            assert len(channel) == 1
    assert channel.statistics().receivers_waiting == 0
    discard(task)


def discard(task: asyncio.Task[Any]) -> None:
    """A task of a closed loop: let it go without asyncio's complaint."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()  # type: ignore[union-attr]


def test_a_parked_task_of_a_closed_loop_leaves_quietly() -> None:
    """Its coroutine is closed after the channel has gone to the next loop, and disturbs nobody there."""
    channel = Channel[int]()
    loop = asyncio.new_event_loop()

    async def park() -> list[asyncio.Task[Any]]:
        tasks = [asyncio.create_task(channel.receive()), asyncio.create_task(select(channel, Event()))]
        await asyncio.sleep(0)
        return tasks

    tasks = loop.run_until_complete(park())
    loop.close()

    async def go_on() -> int:
        async with Group() as group:
            waiting = group.go(channel.receive)
            await receivers_parked(channel)
            for task in tasks:
                discard(task)
            channel._state._check()
            await channel.send(1)
            return await waiting.result()

    assert asyncio.run(go_on()) == 1


def test_one_context_under_two_loops() -> None:
    """A context that was used under the first loop does not tie the channel to it."""
    channel, context = Channel[int](), contextvars.copy_context()

    async def main(number: int) -> int:
        sender = asyncio.create_task(channel.send(number))
        received = await channel.receive()
        await sender
        return received

    for number in range(2):
        with asyncio.Runner() as runner:
            assert runner.run(main(number), context=context) == number


def test_used_but_not_waited_on_belongs_to_nobody() -> None:
    """Ready operations bind nothing: loops may take turns without either being closed."""
    channel = Channel[int](1)
    loops = [asyncio.new_event_loop() for _ in range(2)]

    async def use(number: int) -> int:
        await channel.send(number)
        return await channel.receive()

    try:
        assert [loops[n % 2].run_until_complete(use(n)) for n in range(6)] == list(range(6))
    finally:
        for loop in loops:
            loop.close()


# ---- outside a loop ----


def test_an_operation_that_waits_needs_a_loop() -> None:
    """Awaited by hand, outside any loop: an error that says so."""
    for coroutine in (Channel[int]().receive(), Event().wait(), select(Channel[int]()), select()):
        with pytest.raises(RuntimeError, match="event loop"):
            coroutine.send(None)


def test_nobody_runs_here() -> None:
    """Outside a loop there is no driver."""
    assert current_driver() is None
    assert not NOWHERE.alive()


async def test_one_driver_for_each_loop() -> None:
    """The same for every task, and it is alive while the loop is."""
    driver = current_driver()
    assert driver is not None
    assert driver.alive()

    async def ask() -> Any:
        return current_driver()

    async with Group() as group:
        assert await group.go(ask).result() is driver


# ---- the budget ----


async def test_a_task_that_parks_begins_anew() -> None:
    """D3: the count is of operations without a wait; whoever waited is not made to yield soon after."""
    channel, rendezvous = Channel[int](1), Channel[int]()
    driver = current_driver()
    assert driver is not None
    yields = 0
    original = type(driver).yield_once

    async def counting(self: Any) -> None:
        nonlocal yields
        yields += 1
        await original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(driver), "yield_once", counting)
        async with Group() as group:

            async def partner() -> None:
                async for _ in rendezvous:
                    pass

            group.go(partner)
            for _ in range(20):
                for _ in range(QUANTUM):
                    await channel.send(1)
                    await channel.receive()
                await receivers_parked(rendezvous)
                await rendezvous.send(1)
            assert yields <= 20
            for _ in range(10 * QUANTUM * STREAK):
                await channel.send(1)
                await channel.receive()
            assert 15 <= yields <= 45
            rendezvous.close()


def test_a_context_that_clean_up_used_at_the_very_end() -> None:
    """As above; and something of gochan was used while the first loop shut its async generators down."""
    channel, context, kept = Channel[int](), contextvars.copy_context(), list[Any]()

    async def hand_over(number: int) -> int:
        sender = asyncio.create_task(channel.send(number))
        received = await channel.receive()
        await sender
        return received

    async def generator() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            kept.append(await hand_over(9))

    async def main(number: int) -> int:
        kept.append(generator())
        await anext(kept[-1])
        return await hand_over(number)

    for number in range(2):
        with asyncio.Runner() as runner:
            assert runner.run(main(number), context=context) == number
    assert [number for number in kept if number == 9] == [9, 9]
