"""What the explorer refuses or lets through: wrong arguments, programs that it cannot control, and no verdicts."""

from __future__ import annotations

import random
import socket
import unittest
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import anyio
import anyio.to_thread
import pytest

import gochan
from gochan.testing import NondeterminismError, ScheduleFailure, explore, replay

Backend = Literal["asyncio", "trio"]

both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def fine() -> None: ...


async def wrong() -> None:
    raise LookupError("always")


# ---- arguments ----


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"strategy": "dfs"}, ValueError, "'random', 'pct' or 'exhaustive', not 'dfs'"),
        ({"backend": "curio"}, ValueError, "'asyncio' or 'trio', not 'curio'"),
        ({"runs": 0}, ValueError, "runs is 1 or more, not 0"),
        ({"runs": 1.5}, TypeError, "runs is a number, not 1.5"),
        ({"runs": True}, TypeError, "runs is a number"),
        ({"steps": 0}, ValueError, "steps is 1 or more"),
        ({"steps": None}, TypeError, "steps is a number"),
        ({"preemptions": -1}, ValueError, "preemptions is 0 or more, not -1"),
        ({"seed": 1.5}, TypeError, "seed is a number, a token or None"),
        ({"seed": "hello"}, ValueError, "not a schedule token"),
        ({"seed": "gc9:asyncio:AAAA"}, ValueError, "another version of gochan"),
        ({"seed": "gc1:asyncio:AAAA"}, ValueError, "broken"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], says: str) -> None:
    """An error that names what is right, before anything is run."""
    with pytest.raises(error, match=says):
        explore(fine, **options)


@pytest.mark.parametrize("plain", [lambda: None, print, 3])
def test_a_plain_function(plain: Any) -> None:
    """Explored and replayed are async functions."""
    with pytest.raises(TypeError, match=r"explore\(\) takes an async function"):
        explore(plain)
    with pytest.raises(TypeError, match=r"replay\(\) takes an async function"):
        replay(plain, token="gc1:asyncio:AAAA")


def test_a_coroutine() -> None:
    """The remedy is to leave out the call."""
    with pytest.raises(TypeError, match="leave out the call"):
        explore(fine())  # type: ignore[arg-type]


@both_backends
def test_a_token_of_the_other_backend(backend: Backend) -> None:
    """Refused with the remedy; ``replay`` knows by itself where it belongs."""
    with pytest.raises(ScheduleFailure) as caught:
        explore(wrong, backend=backend)
    token = caught.value.seed
    other: Backend = "trio" if backend == "asyncio" else "asyncio"
    with pytest.raises(ValueError, match=f"pass backend='{backend}'"):
        explore(wrong, backend=other, seed=token)
    with pytest.raises(LookupError, match="always"):
        replay(wrong, token=token)


async def test_inside_a_running_loop() -> None:
    """There is one already."""
    with pytest.raises(RuntimeError, match="such as `def test_"):
        explore(fine)


# ---- what no schedule controls ----


@both_backends
def test_arguments_reach_the_program(backend: Backend) -> None:
    """In every run."""
    got: list[tuple[int, str]] = []

    async def program(number: int, word: str) -> None:
        got.append((number, word))

    explore(program, 1, "x", backend=backend, runs=3)
    assert set(got) == {(1, "x")}


def noisy(choose: Callable[[], bool]) -> Callable[[], Coroutine[Any, Any, None]]:
    """A program that starts two goroutines more if it likes."""

    async def program() -> None:
        async def worker() -> None:
            await gochan.sleep(0)

        async with gochan.Group() as group:
            for _ in range(2 + 2 * choose()):
                group.go(worker)

    return program


@both_backends
def test_chance_is_noticed(backend: Backend) -> None:
    """A program that throws dice of its own, with the choice at which it was seen."""
    dice = random.Random(1)
    with pytest.raises(NondeterminismError, match=r"at choice \d+ it was asked which task of 2 .*, and the next time"):
        explore(noisy(lambda: dice.random() < 0.5), backend=backend)


@both_backends
def test_what_an_earlier_run_left_behind_is_noticed(backend: Backend) -> None:
    """State outside the program makes its second run another."""
    runs: list[None] = []

    def later() -> bool:
        runs.append(None)
        return len(runs) > 1

    with pytest.raises(NondeterminismError, match=r"\(run 1\).*what an earlier run left behind"):
        explore(noisy(later), backend=backend)


@both_backends
@pytest.mark.parametrize("strategy", ["random", "pct", "exhaustive"])
def test_a_failure_that_does_not_come_again_is_told(
    strategy: Literal["random", "pct", "exhaustive"], backend: Backend
) -> None:
    """Not as a failing schedule, which nobody could replay; the error that was seen is its cause."""
    runs: list[None] = []

    async def program() -> None:
        runs.append(None)
        if len(runs) == 1:
            raise LookupError("once")

    with pytest.raises(NondeterminismError, match="failed with LookupError, and the next time it succeeded") as caught:
        explore(program, backend=backend, strategy=strategy)
    assert isinstance(caught.value.__cause__, LookupError)


@both_backends
def test_a_thread_cannot_be_explored(backend: Backend) -> None:
    """A clear error, not a schedule that nobody can replay."""

    async def program() -> None:
        await anyio.to_thread.run_sync(random.random)

    with pytest.raises(NondeterminismError, match=r"waited for a thread: .* put something in memory in its place"):
        explore(program, backend=backend)


@both_backends
def test_a_socket_cannot_be_explored(backend: Backend) -> None:
    """Nor can what comes from the network."""

    async def program() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)

            async def answer() -> None:
                await gochan.sleep(0.01)
                theirs.send(b"x")

            gochan.go(answer)
            await anyio.wait_readable(ours)

    with pytest.raises(NondeterminismError, match="waited for a socket"):
        explore(program, backend=backend)


# ---- no verdicts ----


@both_backends
@pytest.mark.parametrize(
    "ending", [KeyboardInterrupt(), SystemExit(3), unittest.SkipTest("not here"), pytest.skip.Exception("not here")]
)
def test_what_is_no_verdict_comes_out_bare(ending: BaseException, backend: Backend) -> None:
    """The user's Ctrl-C, an exit, a skipped test."""

    async def program() -> None:
        raise ending

    with pytest.raises(type(ending)) as caught:
        explore(program, backend=backend)
    assert caught.value is ending


@both_backends
def test_a_goroutine_may_skip_the_test(backend: Backend) -> None:
    """Its group does not hide it."""

    async def program() -> None:
        async def goroutine() -> None:
            pytest.skip("not here")

        async with gochan.Group() as group:
            group.go(goroutine)

    with pytest.raises(pytest.skip.Exception, match="not here"):
        explore(program, backend=backend)


@both_backends
def test_a_failed_test_is_a_verdict(backend: Backend) -> None:
    """``pytest.fail`` is no Exception, and a failure all the same."""

    async def program() -> None:
        pytest.fail("wrong")

    with pytest.raises(ScheduleFailure) as caught:
        explore(program, backend=backend)
    assert isinstance(caught.value.__cause__, pytest.fail.Exception)


@both_backends
def test_a_failure_in_the_first_step_has_an_empty_schedule(backend: Backend) -> None:
    """It fails always; the calm schedule shows it."""
    with pytest.raises(ScheduleFailure, match=r"LookupError: always \(schedule 1 of ") as caught:
        explore(wrong, backend=backend)
    assert "unforced" not in str(caught.value)
    assert caught.value.runs == 1


@both_backends
def test_other_errors_do_not_mislead_the_shrinking(backend: Backend) -> None:
    """A smaller schedule that fails in another way, or elsewhere, is another bug."""

    async def program() -> None:
        order: list[int] = []

        async def worker(number: int) -> None:
            for _ in range(3):
                order.append(number)
                await gochan.sleep(0)

        async with gochan.Group() as group:
            group.go(worker, 1)
            group.go(worker, 2)
        if order == [2, 1, 2, 1, 2, 1]:
            raise LookupError("the rare one")
        if order[0] == 2:
            assert len(order) == 6

    with pytest.raises(ScheduleFailure, match="the rare one"):
        explore(program, backend=backend)


def test_an_object_with_an_async_call_is_a_program() -> None:
    """As ``go`` takes it."""
    made: list[None] = []

    class Maker:
        async def __call__(self) -> None:
            made.append(None)

    explore(Maker(), runs=2)
    assert len(made) >= 2
