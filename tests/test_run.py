"""``run``: the program's entry."""

from __future__ import annotations

import signal
import threading
import weakref
from typing import Any, Literal

import anyio
import pytest
from tests.turns import parked

from gochan import Channel, Event, go, run
from gochan.diagnostics import LeakError, LeakWarning

Backend = Literal["asyncio", "trio"]
BACKENDS: list[Backend] = ["asyncio", "trio"]
pytestmark = pytest.mark.parametrize("backend", BACKENDS)


async def forever() -> None:
    await Event().wait()


def test_main_s_result_is_returned_and_goroutines_are_ended(backend: Backend) -> None:
    """What still runs is cancelled, and its clean-up is waited for."""
    cleaned = []

    async def careful() -> None:
        try:
            await forever()
        finally:
            cleaned.append(True)

    async def main(number: int) -> int:
        go(careful)
        await anyio.wait_all_tasks_blocked()
        return number

    assert run(main, 3, backend=backend, leaks="ignore") == 3
    assert cleaned == [True]


def test_what_main_raises_comes_out_bare(backend: Backend) -> None:
    """Not in a group, and the goroutines are ended."""
    error = ValueError("main")

    async def main() -> None:
        go(forever)
        raise error

    with pytest.raises(ValueError, match="main") as caught:
        run(main, backend=backend)
    assert caught.value is error


def test_a_failed_goroutine_comes_out_in_a_group(backend: Backend) -> None:
    """It ends main too."""

    async def fail() -> None:
        raise KeyError("goroutine")

    async def main() -> None:
        go(fail)
        await forever()

    with pytest.raises(ExceptionGroup) as caught:
        run(main, backend=backend)
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


@pytest.mark.parametrize("where", ["main", "goroutine", "nested"])
@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_system_exit_and_interrupt_come_out_bare(backend: Backend, where: str, ending: BaseException) -> None:
    """Wherever they arise."""

    async def end() -> None:
        await anyio.sleep(0)
        raise ending

    async def main() -> None:
        match where:
            case "main":
                await end()
            case "goroutine":
                go(end)
                await forever()
            case _:
                async with anyio.create_task_group() as group:
                    group.start_soon(end)
                    await forever()

    with pytest.raises(type(ending)):
        run(main, backend=backend)


@pytest.mark.parametrize("wrong", [print, None], ids=["plain", "none"])
def test_main_is_an_async_function(backend: Backend, wrong: Any) -> None:
    """The message names what to do with a plain one."""
    with pytest.raises(TypeError, match="async function"):
        run(wrong, backend=backend)


def test_options_are_checked(backend: Backend) -> None:
    """An unknown backend or leak policy is a ValueError that lists the known ones."""
    with pytest.raises(ValueError, match="trio"):
        run(forever, backend="curio")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="warn"):
        run(forever, backend=backend, leaks="maybe")  # type: ignore[arg-type]


# What is said about leaks.


async def leaves_a_leak() -> int:
    """A goroutine on a channel that nobody holds."""
    go(Channel[int](name="lost").receive, name="worker")
    await parked()
    return 3


def test_a_leak_is_a_warning(backend: Backend) -> None:
    """It names the goroutine, what it waits for and where it was made; main's result is returned."""
    with pytest.warns(LeakWarning, match=r"worker.* \[chan receive\] on lost.*, created by") as caught:
        assert run(leaves_a_leak, backend=backend) == 3
    assert [warning.filename for warning in caught] == [__file__]


def test_a_leak_is_an_error_if_wanted(backend: Backend) -> None:
    """Its goroutines are on it."""
    with pytest.raises(LeakError, match="worker") as caught:
        run(leaves_a_leak, backend=backend, leaks="error")
    assert [info.name for info in caught.value.goroutines] == ["worker"]


def test_a_leak_is_nothing_if_wanted(backend: Backend) -> None:
    """Then nobody looks."""
    assert run(leaves_a_leak, backend=backend, leaks="ignore") == 3


def test_a_leak_of_a_program_that_failed_is_not_reported(backend: Backend) -> None:
    """The failure is what counts."""

    async def main() -> None:
        await leaves_a_leak()
        raise ValueError("main")

    with pytest.raises(ValueError, match="main"):
        run(main, backend=backend, leaks="error")


def test_what_only_main_holds_is_no_leak(backend: Backend) -> None:
    """A worker on it is ended quietly when main returns; main's frame counts as alive."""

    async def main() -> int:
        jobs = Channel[int]()
        go(jobs.receive, name="worker")
        await parked()
        return len(jobs)

    assert run(main, backend=backend, leaks="error") == 0


def test_what_main_held_is_let_go(backend: Backend) -> None:
    """Looking for leaks keeps nothing alive."""
    held: list[weakref.ref[Any]] = []

    class Something:
        pass

    async def main() -> None:
        something = Something()
        held.append(weakref.ref(something))
        go(Channel[int]().receive)
        await parked()

    with pytest.warns(LeakWarning):
        run(main, backend=backend)
    assert held[0]() is None


def test_goroutines_that_can_still_wake_are_no_leaks(backend: Backend) -> None:
    """One that sleeps, one on a channel that it holds."""

    async def main() -> None:
        ticks = Channel[int]()

        async def ticker() -> None:
            await anyio.sleep(3600)
            await ticks.send(1)

        go(ticker)
        go(ticks.receive)
        await parked()

    run(main, backend=backend, leaks="error")


# SIGQUIT.

needs_sigquit = pytest.mark.skipif(not hasattr(signal, "SIGQUIT"), reason="not applicable: no SIGQUIT on this system")


@needs_sigquit
def test_sigquit_dumps_all_goroutines_and_goes_on(backend: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    """To stderr, as Go does; the former handler is back afterwards."""

    async def main() -> int:
        jobs = Channel[int](name="jobs")
        go(jobs.receive_ok, name="worker")
        await parked()
        signal.raise_signal(signal.SIGQUIT)
        jobs.close()
        return 3

    former = signal.getsignal(signal.SIGQUIT)
    assert run(main, backend=backend) == 3
    assert signal.getsignal(signal.SIGQUIT) is former
    text = capsys.readouterr().err
    assert "goroutine 1 [running]:" in text
    assert "goroutine 2 [chan receive] {chan: jobs, name: worker}:" in text


@needs_sigquit
def test_sigquit_belongs_to_the_user_who_took_it(backend: Backend) -> None:
    """A handler that main installs stays; one that stood before comes back."""

    def theirs(*_: object) -> None: ...

    async def main() -> None:
        signal.signal(signal.SIGQUIT, theirs)

    try:
        run(main, backend=backend)
        assert signal.getsignal(signal.SIGQUIT) is theirs
        run(leaves_a_leak, backend=backend, leaks="ignore")
        assert signal.getsignal(signal.SIGQUIT) is theirs
    finally:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def test_a_program_in_another_thread_runs_as_well(backend: Backend) -> None:
    """Without a handler of its own for SIGQUIT, which only the main thread may have."""
    results: list[int] = []

    async def main() -> int:
        await anyio.sleep(0)
        return 3

    thread = threading.Thread(target=lambda: results.append(run(main, backend=backend)))
    thread.start()
    thread.join()
    assert results == [3]
