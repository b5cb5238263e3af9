"""``find_leaks`` says nothing of a goroutine that something in an odd place could still wake."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import itertools
import queue
import sys
import threading
import types
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from tests.diagnostics.leaking import channel_that_leaks_unless_held, leaks_of

from gochan import Channel, Group, after, receive, select


class Something:
    """What can be weakly referred to, and has a dictionary."""

    channel: Channel[int]


def by_the_callback_of_a_weak_reference(group: Group) -> object:
    something, channel = Something(), Channel[int]()
    seen = weakref.ref(something)

    async def worker() -> None:
        watched = weakref.ref(seen(), lambda _: channel.statistics())
        await channel.receive_ok()
        del watched

    group.go(worker, name="held")
    return something


def by_the_callback_of_a_weak_proxy(group: Group) -> object:
    something, channel = Something(), Channel[int]()
    seen = weakref.ref(something)

    async def worker() -> None:
        watched = weakref.proxy(seen(), lambda _: channel.statistics())
        await channel.receive_ok()
        del watched

    group.go(worker, name="held")
    return something


def by_a_weak_callback_on_what_a_goroutine_holds_that_can_wake(group: Group) -> object:
    gate, channel, something = Channel[int](), Channel[int](), Something()
    seen = weakref.ref(something)

    async def holds(something: Something) -> None:
        await gate.receive()
        del something

    async def worker() -> None:
        watched = weakref.ref(seen(), lambda _: channel.statistics())
        await channel.receive_ok()
        del watched

    group.go(holds, something, name="holds")
    group.go(worker, name="held")
    return gate


def by_the_dictionary_of_an_object(group: Group) -> object:
    """From 3.13 on, such a dictionary does not name its values to the garbage collector."""
    something, channel = Something(), Channel[int]()
    something.channel = channel

    async def worker(something: Something) -> None:
        await channel.receive_ok()
        del something

    group.go(worker, something, name="held")
    return something.__dict__


def by_an_object_that_the_goroutine_holds_too(group: Group) -> object:
    something, channel = Something(), Channel[int]()
    something.channel = channel

    async def worker(something: Something) -> None:
        await channel.receive_ok()
        del something

    group.go(worker, something, name="held")
    return something


def by_a_cache(group: Group) -> object:
    @functools.lru_cache(maxsize=2)
    def cached(channel: Channel[int]) -> Channel[int]:
        return channel

    async def worker(channel: Channel[int]) -> None:
        held = cached
        await channel.receive_ok()
        del held

    group.go(worker, cached(Channel[int]()), name="held")
    return cached


local = threading.local()


def by_a_thread_s_own_variable(group: Group) -> object:
    local.channel = channel_that_leaks_unless_held(group)
    return None


def by_a_context_that_nobody_runs(group: Group) -> object:
    variable = contextvars.ContextVar[Any]("variable")
    context = contextvars.Context()
    context.run(variable.set, channel_that_leaks_unless_held(group))
    return context


def by_a_future_of_threads(group: Group) -> object:
    future, channel = concurrent.futures.Future[None](), channel_that_leaks_unless_held(group)
    future.add_done_callback(lambda _: channel.close())
    return future


def by_a_queue_of_threads(group: Group) -> object:
    values = queue.SimpleQueue[Any]()
    values.put(channel_that_leaks_unless_held(group))
    return values


def by_iterators_of_c(group: Group) -> object:
    return itertools.tee(zip(map(type, [1]), iter([channel_that_leaks_unless_held(group)]), strict=True))[1]


def by_an_exception_s_traceback(group: Group) -> object:
    def fails() -> None:
        channel = channel_that_leaks_unless_held(group)
        raise ValueError(f"{channel!r} is only in the frame")

    try:
        fails()
    except ValueError as error:
        return error.__traceback__
    return None


def by_a_view_of_a_dictionary(group: Group) -> object:
    return types.MappingProxyType({"channel": channel_that_leaks_unless_held(group)})


async def values(channel: Channel[int]) -> AsyncGenerator[int]:
    try:
        yield 1
    finally:
        channel.close()


def by_an_async_generator(group: Group) -> object:
    channel = channel_that_leaks_unless_held(group)

    async def stands_in_it() -> None:
        async with aclosing(values(channel)) as each:
            async for _ in each:
                await anyio.sleep(3600)

    return group.go(stands_in_it)


def by_a_function_that_changes_a_value(group: Group) -> object:
    first, second = Channel[int](), channel_that_leaks_unless_held(group)

    async def worker() -> None:
        await select(receive(first).map(lambda _: second.close()))

    group.go(worker, name="first")
    return first


def by_a_timer(group: Group) -> object:
    channel = channel_that_leaks_unless_held(group)

    async def worker() -> None:
        await select(after(3600))
        channel.close()

    async def other() -> None:
        await select(Channel[int](), after(3600))

    return group.go(worker), group.go(other)


def by_who_waits_for_a_place_in_a_group(group: Group) -> object:
    gate, channel = Channel[int](), Channel[int]()

    async def host() -> None:
        async with Group(limit=1) as inner:
            inner.go(gate.receive, name="first")
            await inner.go_when_free(channel.send, 1)

    group.go(host)
    group.go(channel.receive, name="held")
    return gate


@pytest.mark.parametrize(
    "start",
    [
        by_the_callback_of_a_weak_reference,
        by_the_callback_of_a_weak_proxy,
        by_a_weak_callback_on_what_a_goroutine_holds_that_can_wake,
        by_the_dictionary_of_an_object,
        by_an_object_that_the_goroutine_holds_too,
        by_a_cache,
        by_a_thread_s_own_variable,
        by_a_context_that_nobody_runs,
        by_a_future_of_threads,
        by_a_queue_of_threads,
        by_iterators_of_c,
        by_an_exception_s_traceback,
        by_a_view_of_a_dictionary,
        by_an_async_generator,
        by_a_function_that_changes_a_value,
        by_a_timer,
        by_who_waits_for_a_place_in_a_group,
    ],
)
async def test_what_something_odd_can_still_reach_is_silent(start: Callable[[Group], object]) -> None:
    """No false alarm, wherever it is held."""
    try:
        assert await leaks_of(start) == []
    finally:
        local.__dict__.clear()


async def test_a_weak_callback_on_what_is_gone_keeps_nobody() -> None:
    """It has been called, or never will be: nor will that on what only the stuck ones hold."""

    def start(group: Group) -> None:
        channel = Channel[int]()

        async def worker() -> None:
            something, gone = Something(), Something()
            watched = [weakref.ref(one, lambda _: channel.statistics()) for one in (something, gone)]
            del gone
            await channel.receive()
            del something, watched

        group.go(worker, name="leaked")

    assert await leaks_of(start) == ["leaked"]


async def test_an_exception_hook_is_silent() -> None:
    """It may be called at any time, whatever module it belongs to."""
    former = sys.excepthook

    def start(group: Group) -> None:
        channel = channel_that_leaks_unless_held(group)
        sys.excepthook = lambda *_: channel.close()

    try:
        assert await leaks_of(start) == []
    finally:
        sys.excepthook = former


async def test_work_that_no_thread_has_begun_is_silent() -> None:
    """It stands in the queue of a pool, behind what runs."""
    busy = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(1)

    def start(group: Group) -> None:
        pool.submit(busy.wait, 60)
        pool.submit(channel_that_leaks_unless_held(group).statistics)

    try:
        assert await leaks_of(start) == []
    finally:
        busy.set()
        pool.shutdown()


async def test_a_thread_that_calls_back_is_silent() -> None:
    """Through anyio, from a worker thread that has the channel."""
    busy = threading.Event()

    def work(channel: Channel[int]) -> None:
        busy.wait(60)
        anyio.from_thread.run_sync(channel.close)

    def start(group: Group) -> None:
        group.go(anyio.to_thread.run_sync, work, channel_that_leaks_unless_held(group))

    async with Group() as group:
        try:
            assert await leaks_of(start_and_release(start, busy)) == []
        finally:
            busy.set()
        group.cancel()


def start_and_release(start: Callable[[Group], object], busy: threading.Event) -> Callable[[Group], object]:
    """A thread at work holds the end of its group up."""

    def both(group: Group) -> object:
        threading.Timer(0.2, busy.set).start()
        return start(group)

    return both


@pytest.mark.asyncio_only
@pytest.mark.parametrize("how", ["timeout", "gather", "executor", "exception handler", "shield", "task group"])
async def test_what_asyncio_itself_may_do_is_silent(how: str) -> None:
    """A time-out of the goroutine's own, threads, callbacks of the loop, tasks beside it that may end it."""
    loop = asyncio.get_running_loop()
    busy = threading.Event()

    def start(group: Group) -> object:
        match how:
            case "timeout":

                async def worker() -> None:
                    async with asyncio.timeout(3600):
                        await Channel[int]().receive()
            case "gather":

                async def worker() -> None:
                    await asyncio.gather(Channel[int]().receive(), asyncio.sleep(3600))
            case "task group":

                async def worker() -> None:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(asyncio.sleep(3600))
                        await Channel[int]().receive()
            case "shield":
                channel = channel_that_leaks_unless_held(group)

                async def later() -> None:
                    await asyncio.sleep(3600)
                    channel.close()

                async def worker() -> None:
                    await asyncio.shield(later())
            case "executor":
                channel = channel_that_leaks_unless_held(group)

                async def worker() -> None:
                    await loop.run_in_executor(None, busy.wait, 60)
                    channel.close()
            case _:
                channel = channel_that_leaks_unless_held(group)
                loop.set_exception_handler(lambda *_: channel.close())

                async def worker() -> None:
                    pass

        return group.go(worker)

    threading.Timer(0.2, busy.set).start()
    try:
        # asyncio's children are plain tasks, and never named "goroutine": what counts is who "worker" is.
        assert [name for name in await leaks_of(start) if not name.startswith("Task-")] == []
    finally:
        busy.set()
        loop.set_exception_handler(None)
        for task in asyncio.all_tasks(loop):
            if "later" in repr(task):
                task.cancel()
