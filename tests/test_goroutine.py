"""The handle of a goroutine: who it is, how it ends, what it leaves."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import settle, until
from tests.turns import given_up, parked

from gochan import Cancelled, Channel, Event, Goroutine, Group, Signal, go, run, select, try_select


async def forever() -> None:
    await Event().wait()


async def value(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return number


async def fail(error: BaseException) -> None:
    raise error


def ended(handle: Goroutine[Any]) -> bool:
    return handle.done.is_set()


# ---- who it is ----


async def test_numbers_grow_and_names_are_those_of_the_functions() -> None:
    """Every goroutine has its own number; main is 1; a name can be given."""
    async with Group() as group:
        handles = [group.go(value, 1), group.go(value, 2, name="worker"), go(value, 3), go(value, 4, name="other")]
    numbers = [handle.id for handle in handles]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 1
    assert [handle.name for handle in handles] == ["value", "worker", "value", "other"]


async def test_repr_says_what_became_of_it() -> None:
    """Number, name and state, in every state."""
    with anyio.fail_after(20), pytest.raises(ExceptionGroup):
        async with Group(limit=1) as group:
            running = group.go(value, 1, name="first")
            waiting = group.go(forever, name="second")
            assert repr(running) == f"<Goroutine {running.id} 'first' running>"
            assert repr(waiting) == f"<Goroutine {waiting.id} 'second' waiting>"
            await running.result()
            failing = group.go(fail, ValueError(), name="third")
            await until(lambda: waiting._state == "running")
            waiting.cancel()
    assert [repr(handle).split()[-1] for handle in (running, waiting, failing)] == ["done>", "cancelled>", "failed>"]


# ---- done ----


@pytest.mark.parametrize("asked", ["before", "after"])
@pytest.mark.parametrize("ending", ["returns", "fails", "cancelled"])
async def test_done_is_set_however_it_ends(asked: str, ending: str) -> None:
    """Whether somebody asked for it before or after the end; it is a signal, always the same."""
    with anyio.fail_after(20):
        try:
            async with Group() as group:
                match ending:
                    case "returns":
                        handle: Goroutine[Any] = group.go(value, 1)
                    case "fails":
                        handle = group.go(fail, ValueError())
                    case _:
                        handle = group.go(forever)
                if asked == "before":
                    assert not handle.done.is_set()
                if ending == "cancelled":
                    handle.cancel()
        except ExceptionGroup:
            assert ending == "fails"
        await handle.done.wait()
        assert handle.done.is_set()
        assert handle.done is handle.done
        assert isinstance(handle.done, Signal)
        assert not isinstance(handle.done, Event)
        assert await select(handle.done) == (0, None)


# ---- result ----


async def test_everybody_who_waits_gets_the_result() -> None:
    """And whoever asks later; a wait that is cancelled leaves the goroutine as it is."""
    gate, results = Channel[int](), list[int]()
    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(gate.receive)

            async def ask() -> None:
                results.append(await handle.result())

            for _ in range(3):
                group.go(ask)
            with given_up():
                await handle.result()
            assert handle._state == "running"
            await gate.send(7)
        assert results == [7, 7, 7]
        assert await handle.result() == 7
        assert try_select(handle) == (0, 7)


async def test_a_failure_is_told_to_everybody_with_its_own_traceback() -> None:
    """The same error each time; asking does not make its traceback longer."""
    error = ValueError("broken")
    with pytest.raises(ExceptionGroup):
        async with Group() as group:
            handle = group.go(fail, error)
    lengths = list[int]()
    for _ in range(4):
        with pytest.raises(ValueError, match="broken") as caught:
            await handle.result()
        assert caught.value is error
        lengths.append(len(traceback.extract_tb(error.__traceback__)))
        assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"
    assert len(set(lengths)) == 1
    with pytest.raises(ValueError, match="broken"):
        await select(handle)
    with pytest.raises(ValueError, match="broken"):
        try_select(handle)


async def test_a_select_waits_for_the_first_to_end() -> None:
    """Handles of several goroutines; the result comes with the number of the case."""
    gates = [Channel[int]() for _ in range(3)]
    with anyio.fail_after(20):
        async with Group() as group:
            handles = [group.go(gate.receive) for gate in gates]
            first = group.go(select, *handles)
            await settle()
            await gates[1].send(5)
            assert await first.result() == (1, 5)
            group.cancel()


# ---- cancel ----


async def test_cancelling_twice_keeps_the_first_cause() -> None:
    """And cancelling what has ended changes nothing."""
    cause = ValueError("why")
    with anyio.fail_after(20):
        async with Group() as group:
            handle, finished = group.go(forever), group.go(value, 3)
            await finished.result()
            finished.cancel(cause)
            handle.cancel(cause)
            handle.cancel(KeyError("later"))
        assert await finished.result() == 3
        errors = list[BaseException]()
        for _ in range(2):
            with pytest.raises(Cancelled, match="was cancelled") as caught:
                await handle.result()
            errors.append(caught.value)
            assert caught.value.__cause__ is cause
    assert errors[0] is not errors[1]
    handle.cancel()


async def test_a_goroutine_may_cancel_itself() -> None:
    """It ends at its next suspension; before that it may still return."""
    handles, log = list[Goroutine[Any]](), list[str]()

    async def gives_itself_up() -> None:
        handles[0].cancel()
        log.append("still here")
        await forever()
        log.append("never")

    async def quick() -> int:
        handles[1].cancel()
        return 3

    with anyio.fail_after(20):
        async with Group() as group:
            handles.append(group.go(gives_itself_up))
            handles.append(group.go(quick))
        assert log == ["still here"]
        with pytest.raises(Cancelled):
            await handles[0].result()
        assert handles[1]._state in {"done", "cancelled"}


async def test_cancelled_before_it_began_it_runs_up_to_its_first_wait() -> None:
    """As a task in a cancelled scope does, on both backends."""
    log = list[str]()

    async def begin() -> None:
        log.append("began")
        await forever()
        log.append("never")

    with anyio.fail_after(20):
        async with Group() as group:
            group.go(begin).cancel()
    assert log == ["began"]


@pytest.mark.parametrize("who", [0, 1, 2], ids=["first", "middle", "last"])
async def test_cancelling_one_that_waits_for_a_place_frees_none(who: int) -> None:
    """It had no place: nobody else starts for it, and those behind it keep their order."""
    running, most, order = 0, 0, list[int]()
    gate = Channel[None]()

    async def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(number)
        await gate.receive()
        running -= 1

    with anyio.fail_after(20):
        async with Group(limit=1) as group:
            group.go(work, 9)
            waiting = [group.go(work, number) for number in range(3)]
            await settle()
            waiting[who].cancel(ValueError("why"))
            with pytest.raises(Cancelled) as caught:
                await waiting[who].result()
            assert isinstance(caught.value.__cause__, ValueError)
            await settle()
            assert order == [9]
            for _ in range(3):
                await gate.send(None)
    assert most == 1
    assert order == [9, *(number for number in range(3) if number != who)]


async def test_cancelling_all_that_wait_and_then_the_one_that_runs() -> None:
    """The group still ends, whatever is cancelled in which order."""
    with anyio.fail_after(20):
        for backwards in (False, True):
            async with Group(limit=2) as group:
                handles = [group.go(forever) for _ in range(6)]
                await settle()
                for handle in reversed(handles) if backwards else handles:
                    handle.cancel()
            assert all(ended(handle) for handle in handles)


@pytest.mark.parametrize("nested", ["anyio", "strict"])
async def test_cancelled_inside_a_task_group_of_its_own(nested: str, backend_name: str) -> None:
    """It counts as cancelled, not as failed, though several cancellations came together there."""

    async def inner() -> None:
        if nested == "strict" and backend_name == "trio":
            import trio

            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                group.start_soon(anyio.sleep_forever)

    def by_handle(handle: Goroutine[None], _group: Group) -> None:
        handle.cancel()

    def by_group(_handle: Goroutine[None], group: Group) -> None:
        group.cancel()

    ways: list[Callable[[Goroutine[None], Group], None]] = [by_handle, by_group]
    with anyio.fail_after(20):
        for way in ways:
            async with Group() as group:
                handle = group.go(inner)
                await parked()
                way(handle, group)
            with pytest.raises(Cancelled):
                await handle.result()


async def test_a_cancellation_raised_by_hand_is_one() -> None:
    """A goroutine that ends with the backend's own cancellation was cancelled, whoever raised it."""

    async def gives_up() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(5)
        await value(1)

    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(gives_up)
        assert await handle.result() is None


@pytest.mark.parametrize("who", ["handle", "group"])
async def test_cancelling_from_another_thread_is_refused(who: str) -> None:
    """With the remedy, and nothing is half done: the goroutine runs on."""
    with anyio.fail_after(20):
        async with Group() as group:
            handle = group.go(forever)
            await settle()
            wrong = handle.cancel if who == "handle" else group.cancel
            with pytest.raises(RuntimeError, match="from_thread"):
                await anyio.to_thread.run_sync(wrong)
            await settle()
            assert handle._state == "running"
            await anyio.to_thread.run_sync(anyio.from_thread.run_sync, wrong)
        assert ended(handle)


async def test_go_when_free_after_the_group_has_ended() -> None:
    """A task that yields there while the group ends starts nothing in it."""
    log, ready = list[str](), Event()
    ready.set()

    async def work() -> None:
        log.append("ran")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as outside:
            group, leave = Group(), anyio.Event()

            async def late() -> None:
                driver = group._driver
                assert driver is not None
                while driver.budget or driver.streak < 3:
                    await ready.wait()
                leave.set()
                try:
                    await group.go_when_free(work)
                except RuntimeError as error:
                    assert "ended" in str(error)
                    log.append("refused")

            async with group:
                outside.start_soon(late)
                await leave.wait()
            ended_with = list(log)
    # trio draws whether the group or the task is first; what was started was waited for.
    assert log == ["refused"] or ended_with == log == ["ran"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_handle_outlives_its_run(backend: Any) -> None:
    """What it returned can still be asked for in the next loop."""

    async def main() -> tuple[Goroutine[int], Goroutine[None]]:
        handle, endless = go(value, 4), go(forever)
        await handle.result()
        return handle, endless

    handle, endless = run(main, backend=backend, leaks="ignore")
    assert anyio.run(handle.result, backend=backend) == 4
    with pytest.raises(Cancelled):
        anyio.run(endless.result, backend=backend)
