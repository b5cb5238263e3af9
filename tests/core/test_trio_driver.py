"""How tasks of trio are suspended and resumed, and what a KeyboardInterrupt may not break."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from tests.conformance.helpers import receivers_parked
from tests.threads import Call

from gochan import Channel, Event, Group, receive, select
from gochan._channel_state import ChannelState
from gochan._core import driver
from gochan._core.trio_driver import TrioDriver, running_driver


def test_one_driver_for_each_run() -> None:
    """A second run in the same thread has its own; the first is over."""

    async def ask() -> TrioDriver | None:
        assert running_driver() is running_driver()
        return running_driver()

    first, second = trio.run(ask), trio.run(ask)
    assert first is not None
    assert second is not None
    assert first is not second
    assert not first.alive()
    assert not first.running()
    assert running_driver() is None


@pytest.mark.trio_only
async def test_nobody_runs_in_a_thread_of_trio() -> None:
    """A worker thread is not a task; in the loop's thread the driver says that it runs."""
    assert await trio.to_thread.run_sync(running_driver) is None
    here = running_driver()
    assert here is not None
    assert here.running()


def test_an_ended_run_takes_no_posts() -> None:
    """The error is a RuntimeError, as on asyncio."""

    async def ask() -> TrioDriver | None:
        return running_driver()

    ended = trio.run(ask)
    assert ended is not None
    with pytest.raises(RuntimeError, match="ended"):
        ended.call_soon_threadsafe(int)


@pytest.mark.trio_only
async def test_one_exception_does_not_take_the_others_values() -> None:
    """A task that ends with SystemExit cancels its siblings; those already served have got their values."""
    channel, got = Channel[int](), list[int]()

    async def receiver() -> None:
        value = await channel.receive()
        got.append(value)
        if value == 2:
            raise SystemExit(value)

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(receiver)
            await receivers_parked(channel, 6)
            for number in range(6):
                channel.send_nowait(number)
    assert [type(error) for error in caught.value.exceptions] == [SystemExit]
    assert sorted(got) == [0, 1, 2, 3, 4, 5]


def protected(function: Callable[..., Any]) -> bool:
    """Whether trio keeps a KeyboardInterrupt out of it."""
    return function in driver._uninterruptible


def test_what_changes_a_state_is_protected() -> None:
    """Every step of a commit is marked; trio protects by the code of the function."""
    for function in (ChannelState.put, ChannelState.take, ChannelState.close, ChannelState.take_more, Channel.send):
        assert protected(function)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="not applicable: no pthread_kill on this system")
def test_an_interrupt_strikes_between_operations() -> None:
    """However it comes, no value is lost between two channels: each is in one of them or was handed over."""
    assert threading.current_thread() is threading.main_thread()
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    for attempt in range(5):
        first, second = Channel[int](4), Channel[int](4)
        taken = list[int]()

        async def main(first: Channel[int] = first, second: Channel[int] = second) -> None:
            async def forward() -> None:
                async for number in first:
                    await second.send(number)

            async def consume() -> None:
                async for number in second:
                    taken.append(number)

            async with Group() as group:
                group.go(forward)
                group.go(consume)
                number = 0
                while True:
                    await first.send(number)
                    number += 1

        stop = threading.Timer(0.01 + attempt * 0.003, signal.pthread_kill, (main_thread, signal.SIGINT))
        stop.start()
        with pytest.raises(BaseException) as caught:  # bare, or in a group
            trio.run(main)
        stop.join()
        interrupts = caught.value
        if isinstance(interrupts, BaseExceptionGroup):
            assert interrupts.subgroup(KeyboardInterrupt) is not None
        else:
            assert isinstance(interrupts, KeyboardInterrupt)
        for channel in (first, second):
            channel._state._check()
            assert channel.statistics().senders_waiting == channel.statistics().receivers_waiting == 0
        assert taken == list(range(len(taken)))
        assert second.statistics().received in (len(taken), len(taken) + 1)


def test_guest_mode_beside_asyncio() -> None:
    """Inside a trio task trio counts, though asyncio runs in the same thread; they are two loops."""
    import asyncio

    channel, event = Channel[int](1), Event()

    async def guest() -> int:
        inner = Channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner.send, 3)
            number = await inner.receive()
            assert await select(receive(inner), event, priority=True) == (1, None)
        return number

    async def host() -> int:
        event.set()
        await channel.send(1)
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=finished.set_result,
        )
        number: int = (await finished).unwrap()
        return number

    assert Call(asyncio.run, host()).join(10) == 3


@pytest.mark.trio_only
async def test_a_context_of_another_loop_s_task() -> None:
    """What runs in a copy of this task's context in another thread is not this run."""
    channel = Channel[int]()
    async with Group() as group:
        waiting = group.go(channel.receive)
        await receivers_parked(channel)
        with pytest.raises(RuntimeError, match="another thread"):
            await trio.to_thread.run_sync(channel.send_nowait, 1)
        await channel.send(2)
        assert await waiting.result() == 2
