"""``notify_context``: signals as a cancellation, and the handlers that were there before."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Generator
from time import sleep
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from tests.context.tree import check, remembered

import gochan
from gochan import Cancelled, Deadlock, Group, background, find_leaks, notify_context
from gochan.testing import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: Windows has other signals")

ONE, TWO = signal.SIGUSR1, signal.SIGUSR2
BACKENDS = ["asyncio", "trio"]


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Generator[None, None, None]:
    before = {number: signal.getsignal(number) for number in (ONE, TWO, signal.SIGINT, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


async def heard(ctx: gochan.Context) -> str:
    with anyio.fail_after(5):
        await ctx.done.wait()
    assert isinstance(ctx.err, Cancelled)
    assert isinstance(ctx.cause, Cancelled)
    return str(ctx.cause)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGINT, "interrupt signal received"),
        (signal.SIGTERM, "terminated signal received"),
        (signal.SIGHUP, "hangup signal received"),
    ],
    ids=str,
)
async def test_a_signal_cancels_with_a_cause_that_names_it(number: int, text: str) -> None:
    """The error is a plain ``Cancelled``."""
    async with notify_context(number) as ctx:
        assert ctx.err is None
        below = ctx.with_cancel()
        signal.raise_signal(number)
        assert await heard(ctx) == text
        assert below.cause is ctx.cause
        assert str(ctx.err) == "context cancelled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_without_signals_it_is_those_that_end_programs(number: int) -> None:
    """Ctrl-C, and what service managers send."""
    async with notify_context() as ctx:
        signal.raise_signal(number)
        await heard(ctx)


async def test_a_loop_that_is_blocked_hears_it() -> None:
    """The signal comes from outside, while the loop waits in its poll; uvloop's, too."""
    async with notify_context(ONE) as ctx:

        def later() -> None:
            sleep(0.05)
            os.kill(os.getpid(), ONE)

        thread = threading.Thread(target=later)
        thread.start()
        await heard(ctx)
        thread.join()


async def test_a_scope_of_it_is_cancelled() -> None:
    """The usual shape of a program that shuts down."""
    async with notify_context(ONE) as ctx:
        with anyio.fail_after(5), pytest.raises(Cancelled) as caught:
            async with ctx.scope():
                signal.raise_signal(ONE)
                await anyio.sleep(60)
        assert str(caught.value.__cause__) == "user defined signal 1 signal received"


async def test_the_end_of_the_block_cancels_and_puts_back() -> None:
    """Without a signal; and also when an exception leaves it."""
    seen = list[int]()

    def handler(number: int, _: Any) -> None:
        seen.append(number)

    before = signal.signal(ONE, handler)
    try:
        parent = background().with_cancel()
        async with notify_context(ONE, parent=parent) as ctx:
            assert remembered(parent) == 1
            assert signal.getsignal(ONE) is not handler
        assert ctx.cause is ctx.err is not None
        assert remembered(parent) == 0
        assert signal.getsignal(ONE) is handler
        with pytest.raises(KeyError):
            async with notify_context(ONE):
                raise KeyError
        signal.raise_signal(ONE)
        assert seen == [ONE]
    finally:
        signal.signal(ONE, before)


async def test_a_second_signal_does_nothing_more() -> None:
    """Until the block ends it is ours; the first one counts."""
    async with notify_context(ONE, TWO) as ctx:
        signal.raise_signal(ONE)
        signal.raise_signal(TWO)
        assert "1" in await heard(ctx)
        signal.raise_signal(ONE)
        await anyio.lowlevel.checkpoint()
        assert "1" in str(ctx.cause)


@pytest.mark.parametrize("outer_leaves_first", [True, False])
async def test_all_who_listen_to_a_signal_hear_it(outer_leaves_first: bool) -> None:
    """Nested, or in several tasks that leave in any order; the handler from before comes back with the last."""
    before = signal.getsignal(ONE)
    first, second = notify_context(ONE), notify_context(ONE, TWO)
    one = await first.__aenter__()
    two = await second.__aenter__()
    signal.raise_signal(ONE)
    assert await heard(one) == await heard(two)
    third = notify_context(ONE)
    managers = [first, second] if outer_leaves_first else [second, first]
    await managers[0].__aexit__(None, None, None)
    three = await third.__aenter__()
    assert signal.getsignal(ONE) is not before
    assert (signal.getsignal(TWO) is signal.SIG_DFL) == (managers[0] is second)
    await managers[1].__aexit__(None, None, None)
    signal.raise_signal(ONE)
    await heard(three)
    await third.__aexit__(None, None, None)
    assert signal.getsignal(ONE) is before


async def test_somebody_elses_handler_is_left_alone() -> None:
    """Who replaced ours meanwhile keeps theirs; should they put ours back after its time, the signal is as without."""

    def theirs(*_: object) -> None: ...

    async with notify_context(signal.SIGINT):
        ours = signal.signal(signal.SIGINT, theirs)
    assert signal.getsignal(signal.SIGINT) is theirs
    signal.signal(signal.SIGINT, ours)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        sleep(1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # What the runner of this test had installed is for the fixture to compare.
    signal.signal(signal.SIGINT, _of_the_test.pop())


_of_the_test = list[Any]()


@pytest.fixture(autouse=True)
def _remember_sigint() -> None:
    _of_the_test[:] = [signal.getsignal(signal.SIGINT)]


async def test_a_parent_that_is_done_makes_it_done() -> None:
    """At once, and the signals are handled all the same until the block ends."""
    parent = background().with_cancel()
    parent.cancel(KeyError())
    async with notify_context(ONE, parent=parent) as ctx:
        assert ctx.cause is parent.cause
        signal.raise_signal(ONE)
        await anyio.lowlevel.checkpoint()
        assert ctx.cause is parent.cause


async def test_its_repr_names_the_signals() -> None:
    """As the other contexts' do."""
    async with notify_context(ONE, signal.SIGTERM, parent=background().with_value("k", "v")) as ctx:
        assert repr(ctx) == "background().with_value('k', 'v').notify_context(SIGUSR1, SIGTERM)"
        check(ctx)


# ---- misuse ----


async def test_outside_the_main_thread_it_is_refused() -> None:
    """With the reason; nothing is installed."""

    async def enter() -> None:
        with pytest.raises(RuntimeError, match="main thread"):
            async with notify_context(ONE):
                pass

    await anyio.to_thread.run_sync(lambda: anyio.run(enter))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("SIGTERM", TypeError),
        (True, TypeError),
        (2.0, TypeError),
        (None, TypeError),
        (0, ValueError),
        (999, ValueError),
    ],
    ids=str,
)
async def test_what_is_no_signal_is_refused(wrong: Any, error: type[Exception]) -> None:
    """At the call."""
    with pytest.raises(error, match="signal"):
        notify_context(ONE, wrong)


async def test_a_signal_that_cannot_be_handled_is_refused() -> None:
    """And those that were named before it are put back."""
    parent = background().with_cancel()
    with pytest.raises(ValueError, match="SIGKILL cannot be handled"):
        async with notify_context(ONE, signal.SIGKILL, parent=parent):
            pass
    assert signal.getsignal(ONE) is signal.SIG_DFL
    assert remembered(parent) == 0


async def test_it_is_entered_once() -> None:
    """And its parent is a context."""
    manager = notify_context(ONE)
    with pytest.raises(RuntimeError, match="never entered"):
        await manager.__aexit__(None, None, None)
    async with manager:
        with pytest.raises(RuntimeError, match="entered before"):
            await manager.__aenter__()
    wrong: Any = "context"
    with pytest.raises(TypeError, match="takes a context"):
        notify_context(ONE, parent=wrong)


# ---- programs ----


@pytest.mark.parametrize("options", [{}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def test_ctrl_c_is_asyncios_again_afterwards(options: dict[str, Any]) -> None:
    """``asyncio.run`` cancels main at Ctrl-C; the block only borrows that."""
    seen = list[str]()

    async def main() -> None:
        async with notify_context(signal.SIGINT) as ctx:
            signal.raise_signal(signal.SIGINT)
            seen.append(await heard(ctx))
        signal.raise_signal(signal.SIGINT)
        try:
            await anyio.sleep(5)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        gochan.run(main, backend_options=options)
    assert seen == ["interrupt signal received", "cancelled"]


def test_ctrl_c_is_trios_again_afterwards() -> None:
    """It raises KeyboardInterrupt in main, as before."""
    pytest.importorskip("trio")

    async def main() -> None:
        async with notify_context(signal.SIGINT) as ctx:
            signal.raise_signal(signal.SIGINT)
            await heard(ctx)
        signal.raise_signal(signal.SIGINT)
        await anyio.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        gochan.run(main, backend="trio")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_that_waits_for_a_signal_is_no_deadlock(backend: Any) -> None:
    """Nor do its goroutines leak: the signal may still come. Without the block it is one."""

    async def main() -> str:
        async with notify_context(ONE) as ctx:
            async with Group() as group:
                waiter = group.go(ctx.done.wait)
                thread = threading.Timer(0.05, os.kill, (os.getpid(), ONE))
                await anyio.sleep(0.01)
                assert find_leaks() == []
                thread.daemon = True
                thread.start()
                await waiter.result()
        return str(ctx.cause)

    assert "signal received" in gochan.run(main, backend=backend)

    async def asleep() -> None:
        async with notify_context(ONE):
            pass
        await background().done.wait()

    with pytest.raises(Deadlock):
        gochan.run(asleep, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_that_only_waits_goes_on_waiting(backend: Any) -> None:
    """No timer, no thread: the handler alone keeps it from being asleep for ever."""
    code = f"""
import signal, gochan
async def main():
    async with gochan.notify_context(signal.SIGTERM) as ctx:
        print("ready", flush=True)
        await ctx.done.wait()
        print(ctx.cause, flush=True)
gochan.run(main, backend={backend!r})
"""
    import subprocess

    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "terminated signal received\n"
            assert process.wait(10) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_virtual_time_it_works_as_well(backend: Any) -> None:
    """A signal that the program sends itself."""

    async def main() -> str:
        async with notify_context(ONE) as ctx:
            await anyio.sleep(100)
            signal.raise_signal(ONE)
            await ctx.done.wait()
            return str(ctx.cause)

    assert "signal received" in run(main, backend=backend)
