"""``run``: the program's entry."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest

from gochan import Event, go, run

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
