"""How tasks of asyncio are suspended and resumed: the run queue (A3, A4), and the shape of a future."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.helpers import receivers_parked, until

from gochan import Channel, Event, Group, select
from gochan._core import asyncio_driver
from gochan._core.asyncio_driver import SWITCHES, TURN, AsyncioDriver, driver_of

pytestmark = pytest.mark.asyncio_only

EAGER = [False, True] if sys.version_info >= (3, 12) else [False]


def driver() -> AsyncioDriver:
    return driver_of(asyncio.get_running_loop())


def no_longer_referenced(loop: asyncio.AbstractEventLoop, tasks: list[asyncio.Task[Any]]) -> None:
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()


# ---- A3: nobody's wake-up is lost ----


@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
@pytest.mark.parametrize("who", [0, 2, 5])
@pytest.mark.parametrize("how", ["receive", "select", "event"])
@pytest.mark.parametrize("eager", EAGER)
def test_an_interrupted_drain_goes_on(ending: BaseException, who: int, how: str, eager: bool) -> None:
    """A3: it comes out of one task's step and of the loop; run again, everybody gets there, with the right value."""
    loop = asyncio.new_event_loop()
    if eager:
        loop.set_task_factory(asyncio.eager_task_factory)
    channel, event, got = Channel[int](), Event(), list[tuple[int, Any]]()

    async def waiter(number: int) -> None:
        match how:
            case "receive":
                value: Any = await channel.receive()
            case "select":
                value = (await select(channel, None))[1]
            case _:
                value = await event.wait()
        got.append((number, value))
        if number == who:
            raise ending

    async def main() -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(waiter(number)) for number in range(6)]
        await asyncio.sleep(0)
        if how == "event":
            event.set()
        else:
            for number in range(6):
                channel.send_nowait(number)
        for _ in range(5):
            await asyncio.sleep(0)
        return tasks

    running = loop.create_task(main())
    with pytest.raises(type(ending)):
        loop.run_until_complete(running)
    assert len(got) == who + 1
    tasks = loop.run_until_complete(running)
    assert got == [(number, None if how == "event" else number) for number in range(6)]
    assert sum(task.exception() is not None for task in tasks) == 1
    loop.close()


async def test_a_loop_that_stops_in_between() -> None:
    """What was committed before ``loop.stop`` is resumed when the loop runs again."""

    def other_loop() -> list[int]:
        loop = asyncio.new_event_loop()
        channel, got = Channel[int](), list[int]()

        async def receive() -> None:
            got.append(await channel.receive())

        async def main() -> None:
            tasks.extend(asyncio.create_task(receive()) for _ in range(300))
            await asyncio.sleep(0)
            for number in range(300):
                channel.send_nowait(number)
            loop.stop()

        tasks = list[asyncio.Task[None]]()
        tasks.append(loop.create_task(main()))
        loop.run_forever()
        assert len(got) < 300
        no_longer_referenced(loop, tasks)
        return got

    assert await asyncio.to_thread(other_loop) == list(range(300))


# ---- A4: one drain is bounded ----


async def parked_receivers(group: Group, channel: Channel[int], count: int, work: Any = int) -> list[int]:
    order = list[int]()

    async def receive() -> None:
        order.append(await channel.receive())
        work()

    for _ in range(count):
        group.go(receive)
    await receivers_parked(channel, count)
    return order


async def test_a_drain_ends_after_so_many_switches() -> None:
    """A4: what is left over is for the next turn; nobody is forgotten, the order is kept."""
    channel, seen = Channel[int](), list[int]()
    loop = asyncio.get_running_loop()
    count = 3 * SWITCHES + 1
    async with Group() as group:
        order = await parked_receivers(group, channel, count)

        def turn() -> None:
            seen.append(len(order))
            if len(order) < count:
                loop.call_soon(turn)

        for number in range(count):
            channel.send_nowait(number)
        loop.call_soon(turn)
    assert order == list(range(count))
    steps = [later - earlier for earlier, later in zip([0, *seen], seen, strict=False)]
    assert max(steps) <= SWITCHES


async def test_a_drain_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A4: tasks that take long between two switches do not keep the loop for themselves."""
    clock = 0.0

    def work() -> None:
        nonlocal clock
        clock += TURN / 8

    monkeypatch.setattr(asyncio_driver, "perf_counter", lambda: clock)
    channel, seen = Channel[int](), list[int]()
    loop = asyncio.get_running_loop()
    async with Group() as group:
        order = await parked_receivers(group, channel, 64, work)

        def turn() -> None:
            seen.append(len(order))
            if len(order) < 64:
                loop.call_soon(turn)

        for number in range(64):
            channel.send_nowait(number)
        loop.call_soon(turn)
    assert order == list(range(64))
    assert max(later - earlier for earlier, later in zip([0, *seen], seen, strict=False)) <= 16


async def test_many_switches_share_one_turn() -> None:
    """That is what the run queue is for: a hundred hand-overs take a handful of turns of the loop."""
    loop, turns, stop = asyncio.get_running_loop(), 0, False

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not stop:
            loop.call_soon(turn)

    there, back = Channel[int](), Channel[int]()

    async def echo() -> None:
        async for number in there:
            await back.send(number)

    async with Group() as group:
        group.go(echo)
        await receivers_parked(there)
        loop.call_soon(turn)
        for number in range(500):
            await there.send(number)
            assert await back.receive() == number
        stop = True
        there.close()
    assert turns < 300


# ---- the shape of a future ----


async def test_the_waiter_answers_like_a_future() -> None:
    """What tasks, debuggers and other libraries ask of one."""
    waiter = driver().park(None)
    assert waiter.get_loop() is asyncio.get_running_loop()
    assert asyncio.isfuture(waiter)
    assert not waiter.done()
    waiter.commit("value")
    assert waiter.done()
    assert not waiter.cancelled()
    assert waiter.result() == "value"
    assert waiter.exception() is None


async def test_a_cancelled_waiter_answers_like_a_cancelled_future() -> None:
    """With the message of the cancellation; and it cannot be cancelled again."""
    for message in (None, "why"):
        waiter = driver().park(None)
        assert waiter.cancel(message)
        assert waiter.cancelled()
        assert waiter.done()
        for ask in (waiter.result, waiter.exception):
            with pytest.raises(asyncio.CancelledError) as caught:
                ask()
            assert caught.value.args == (() if message is None else (message,))
        assert not waiter.cancel()


async def test_committed_before_the_task_is_suspended() -> None:
    """A finalizer may commit between publishing and parking; the task is resumed all the same."""

    async def operation() -> str:
        waiter = driver().park(None)
        waiter.commit("early")
        value: str = await waiter
        return value

    async with asyncio.timeout(5):
        assert await asyncio.create_task(operation()) == "early"


async def test_in_debug_mode() -> None:
    """asyncio checks more there: threads, slow callbacks, coroutines' origins."""

    async def main() -> list[int]:
        channel = Channel[int]()

        async def feed() -> None:
            for number in range(300):
                await channel.send(number)
            channel.close()

        async with Group() as group:
            group.go(feed)
            return [number async for number in channel]

    assert await asyncio.to_thread(lambda: asyncio.run(main(), debug=True)) == list(range(300))


async def test_asyncio_s_own_tools_see_a_parked_task() -> None:
    """``all_tasks``, the task's repr and its stack; ``wait`` and ``shield`` work on it."""
    channel = Channel[int]()
    task = asyncio.create_task(channel.receive())
    await receivers_parked(channel)
    assert task in asyncio.all_tasks()
    assert "receive" in repr(task)
    assert len(task.get_stack()) == 1
    done, pending = await asyncio.wait([task], timeout=0)
    assert (done, pending) == (set(), {task})
    shielded = asyncio.shield(task)
    await channel.send(1)
    assert await shielded == 1


def test_the_driver_lives_on_its_loop() -> None:
    """It is the same for the loop's life, and no table of ours keeps a closed loop."""
    loop = asyncio.new_event_loop()
    made = driver_of(loop)
    assert driver_of(loop) is made
    assert made.alive()
    loop.close()
    assert not made.alive()


async def test_nothing_is_left_behind() -> None:
    """No cancellation that was put off, nobody in the run queue."""
    channel = Channel[int]()
    async with Group() as group:
        tasks = [group.go(channel.receive) for _ in range(20)]
        await receivers_parked(channel, 20)
        for number, task in enumerate(tasks):
            channel.send_nowait(number)
            task.cancel()
    await until(lambda: not driver().ready and not driver().scheduled)
    assert not driver().deferred


def test_no_private_name_of_asyncio_or_anyio() -> None:
    """On the path of a wake-up; ``_asyncio_future_blocking`` is asyncio's documented protocol for futures."""
    source = Path(inspect.getfile(asyncio_driver)).read_text(encoding="utf-8")
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    private = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
    }
    assert private <= own | {"_asyncio_future_blocking"}
    assert "anyio" not in {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
