"""``goroutines()``: numbers, names, states, places."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from tests.diagnostics.looking import info, seen, standing, turns

import gochan
from gochan.diagnostics import CreatedBy, Frame, GoroutineInfo, goroutines
from gochan.diagnostics import _goroutines as module
from gochan.diagnostics._stack import function_of
from gochan.diagnostics._tasks import running_world

HERE = __name__
FILE = __file__


def line_of(mark: str) -> int:
    """The line of this file that ends with this mark."""
    lines = Path(__file__).read_text("utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


async def worker(jobs: gochan.Channel[int]) -> None:
    await jobs.receive()  # worker waits


async def boss(jobs: gochan.Channel[int]) -> None:
    async with gochan.Group() as group:
        group.go(worker, jobs, name="deep")  # boss starts
        await turns()
        await anyio.sleep_forever()


# ---- numbers and names ----


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_main_is_one_and_first(backend: Any) -> None:
    """In a program main is goroutine 1, the first and nameless otherwise; the others count from 2."""

    async def main() -> list[GoroutineInfo]:
        jobs = gochan.Channel[int](name="jobs")
        for name in ("a", "b", None):
            gochan.go(worker, jobs, name=name)
        await turns()
        return goroutines()

    if backend == "trio":
        pytest.importorskip("trio", reason="trio is missing: pip install trio")
    infos = gochan.run(main, backend=backend, leaks="ignore")
    assert [one.id for one in infos] == [1, 2, 3, 4]
    assert [one.name for one in infos] == ["main", "a", "b", "worker"]
    assert [one.state for one in infos] == ["running"] + 3 * ["chan receive"]
    assert infos[0].created_by is None
    assert infos[0].waiting_on == ()
    assert [one.waiting_on for one in infos[1:]] == 3 * [("jobs",)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_main_that_waits_is_shown_like_any_other(backend: Any) -> None:
    """A goroutine sees main wait, for a channel or at the end of its program."""
    if backend == "trio":
        pytest.importorskip("trio", reason="trio is missing: pip install trio")
    jobs = gochan.Channel[int](name="jobs")

    async def look(waiting: anyio.CancelScope) -> GoroutineInfo:
        await turns()
        try:
            return goroutines()[0]
        finally:
            waiting.cancel()

    async def main() -> GoroutineInfo:
        with anyio.CancelScope() as waiting:
            looking = gochan.go(look, waiting)
            await jobs.receive()
        return await looking.result()

    first = gochan.run(main, backend=backend, leaks="ignore")
    assert (first.id, first.name, first.state, first.waiting_on) == (1, "main", "chan receive", ("jobs",))
    assert first.stack[0].function.endswith(".main")


async def test_ids_are_those_of_the_handles() -> None:
    """``Goroutine.id`` and ``.name`` are what is shown."""
    async with standing(anyio.sleep_forever, anyio.sleep_forever, name="sleeper") as both:
        shown = {one.id: one.name for one in goroutines()}
        for goroutine in both:
            assert shown[goroutine.id] == "sleeper"


async def test_foreign_tasks_keep_their_number(backend_name: str) -> None:
    """A task that ``go`` did not start is shown, under a number of its own that stays."""
    async with anyio.create_task_group() as tasks, standing(anyio.sleep_forever) as (goroutine,):
        tasks.start_soon(anyio.sleep_forever, name="one")
        tasks.start_soon(anyio.sleep_forever, name="two")
        await turns()
        first = {one.name: one for one in goroutines()}
        numbers = [first[name].id for name in ("one", "two")]
        assert len({*numbers, goroutine.id, 1}) == 4
        async with standing(anyio.sleep_forever) as (later,):
            assert later.id not in numbers
            assert [one.id for one in goroutines() if one.name in {"one", "two"}] == sorted(numbers)
        assert first["one"].created_by is None
        assert first["one"].state == "sleep"
        tasks.cancel_scope.cancel()


async def test_those_above_a_limit_are_shown() -> None:
    """They wait for a place, wherever their group is: in "semacquire", with where they will begin."""
    jobs = gochan.Channel[int]()

    async def host() -> None:
        async with gochan.Group(limit=1) as group:
            for name in ("first", "second", "third"):
                group.go(worker, jobs, name=name)

    async with standing(host):
        infos = goroutines()
        assert [one.id for one in infos[1:]] == sorted(one.id for one in infos[1:])
        shown = {one.name: one for one in infos}
        assert shown["first"].state == "chan receive"
        for name in ("second", "third"):
            one = shown[name]
            assert one.state == "semacquire"
            assert [frame.function for frame in one.stack] == [f"{HERE}.worker"]
            assert one.created_by is not None
            assert one.since == 0
            assert f"goroutine {one.id} [semacquire] {{name: {name}}}:" in gochan.dump()
        assert shown["second"].waiting_on == ("<Group open goroutines=1/1 waiting=2>",)


async def test_order_is_main_then_numbers() -> None:
    """main comes first, then the numbers ascend."""
    async with standing(*5 * [anyio.sleep_forever]):
        numbers = [one.id for one in goroutines()]
        assert numbers[0] == 1
        assert numbers == sorted(set(numbers))


async def test_ended_ones_are_not_shown() -> None:
    """A goroutine that has ended is gone."""

    async def nothing() -> None: ...

    async with gochan.Group() as group:
        running = group.go(anyio.sleep_forever)
        async with gochan.Group() as inner:
            ended = inner.go(nothing)
        shown = {one.id for one in goroutines()}
        assert running.id in shown
        assert ended.id not in shown
        group.cancel()


@pytest.mark.trio_only
async def test_runtimes_own_tasks_are_left_out() -> None:
    """trio's and gochan's system tasks are not shown, those of users are."""
    import trio

    jobs = gochan.Channel[int](name="jobs")

    async def of_user() -> None:
        await jobs.receive()

    task = trio.lowlevel.spawn_system_task(of_user, name="mine")
    await turns()
    names = [one.name for one in goroutines()]
    jobs.send_nowait(1)
    assert task.name in names
    assert not [name for name in names if "gochan" in name or "run_sync_soon" in name or "init" in name]


# ---- where ----


async def test_stack_is_of_the_users_code_innermost_first() -> None:
    """The frames of gochan, anyio and the loop are left out; the first is the line that waits."""
    jobs = gochan.Channel[int]()

    async def outer() -> None:
        await worker(jobs)  # outer calls

    said = await seen(outer)
    assert said.stack == (
        Frame(f"{HERE}.worker", FILE, line_of("worker waits")),
        Frame(f"{HERE}.{outer.__qualname__}", FILE, line_of("outer calls")),
    )


async def test_stack_without_users_code_keeps_one_frame() -> None:
    """A goroutine that is a channel's method itself still says where it stands."""
    jobs = gochan.Channel[int]()
    said = await seen(jobs.receive)
    assert [frame.function for frame in said.stack] == ["gochan._channel.Channel.receive"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_main_at_its_end_stands_in_its_group(backend: Any) -> None:
    """When main's function has returned, main waits for its goroutines; what started the program is not shown."""
    infos = list[GoroutineInfo]()

    async def last() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await turns()
                infos.extend(goroutines())

    async def main() -> None:
        gochan.go(last)
        await turns()

    if backend == "trio":
        pytest.importorskip("trio", reason="trio is missing: pip install trio")
    gochan.run(main, backend=backend, leaks="ignore")
    assert (infos[0].id, infos[0].state) == (1, "goroutine wait")
    assert [frame.function for frame in infos[0].stack] == ["gochan._group.Group.__aexit__"]


async def test_stack_of_the_one_that_asks() -> None:
    """The running goroutine's stack is what is on the thread's, to its beginning and not further."""

    def ask() -> list[GoroutineInfo]:
        return goroutines()

    async def asking() -> GoroutineInfo:
        return next(one for one in ask() if one.name == "asker")

    async with gochan.Group() as group:
        asker = group.go(asking, name="asker")
    said = await asker.result()
    assert [frame.function.rpartition(".")[2] for frame in said.stack] == ["ask", "asking"]


@pytest.mark.asyncio_only
async def test_eager_task_stands_on_its_creator() -> None:
    """Inside the first step of an eager task that one runs, its creator is runnable; each has its own frames."""
    factory: Any = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("not applicable: this Python has no eager tasks")
    infos = list[GoroutineInfo]()

    async def eager() -> None:
        infos.extend(goroutines())

    async def creator() -> None:
        task = factory(asyncio.get_running_loop(), eager(), name="eager")
        await task

    async with standing(creator, name="creator"):
        pass
    shown = {one.name: one for one in infos}
    assert (shown["eager"].state, shown["creator"].state) == ("running", "runnable")
    assert [frame.function.rpartition(".")[2] for frame in shown["eager"].stack] == ["eager"]
    assert [frame.function.rpartition(".")[2] for frame in shown["creator"].stack] == ["creator"]


async def test_created_by_names_place_and_goroutine() -> None:
    """Where ``go`` was called, in which function, line and goroutine."""
    jobs = gochan.Channel[int]()
    async with standing(partial(boss, jobs)) as (chief,):
        (deep,) = [one for one in goroutines() if one.name == "deep"]
        assert deep.created_by == CreatedBy(f"{HERE}.boss", FILE, line_of("boss starts"), chief.id)
        chiefs = info(chief).created_by
        assert chiefs is not None
        assert chiefs.function.startswith("tests.diagnostics.looking.standing")
        assert chiefs.goroutine == next(one.id for one in goroutines() if one.state == "running")


async def test_created_by_for_go() -> None:
    """The module's ``go`` notes its caller, not itself."""
    async with gochan.Group() as group:
        goroutine = gochan.go(anyio.sleep_forever)  # here
        made = info(goroutine).created_by
        assert made is not None
        assert (made.function, made.file, made.line) == (
            f"{HERE}.test_created_by_for_go",
            FILE,
            line_of("here"),
        )
        group.cancel()


def test_function_of_code_from_nowhere() -> None:
    """Code that no module's file holds is named without one."""
    code = compile("def f(): pass", "<nowhere>", "exec")
    assert function_of(code) == "<module>"


# ---- for how long ----


async def test_since_is_the_loops_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """``since`` is how long it has waited, by the clock of its loop."""

    def ahead(clock: Any) -> Any:
        return lambda: clock() + 300

    def later() -> Any:
        world = running_world()
        world.clock = ahead(world.clock)
        return world

    async def spin() -> None:
        while True:
            await gochan.sleep(0)

    fns = [gochan.Channel[int]().receive, gochan.Event().wait, partial(gochan.sleep, 600), partial(gochan.select, None)]
    async with standing(*fns, spin, anyio.Event().wait, anyio.sleep_forever) as started:
        assert all(info(one).since < 60 for one in started)
        monkeypatch.setattr(module, "running_world", later)
        driver: Any = running_world().driver
        monkeypatch.setattr(driver, "clock", ahead(driver.clock))
        waited = [info(one).since for one in started]
        assert all(300 <= seconds < 360 for seconds in waited[:4])
        assert waited[4:] == [0.0, 0.0, 0.0]
        assert [one.since for one in goroutines() if one.state == "running"] == [0.0]


# ---- from where ----


async def test_from_a_callback_nobody_runs() -> None:
    """A callback of the loop may ask; then no goroutine is running."""
    asked = anyio.Event()
    infos = list[GoroutineInfo]()

    def callback() -> None:
        infos.extend(goroutines())
        asked.set()

    async with standing(gochan.Channel[int]().receive) as (goroutine,):
        await anyio.to_thread.run_sync(anyio.from_thread.run_sync, callback)
        await asked.wait()
        states = {one.id: one.state for one in infos}
        assert states[goroutine.id] == "chan receive"
    if asyncio_here():
        loop = asyncio.get_running_loop()
        infos.clear()
        loop.call_soon(callback)
        await anyio.sleep(0)
        await anyio.sleep(0)
        assert infos
        assert "running" not in {one.state for one in infos}


def asyncio_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def test_another_thread_is_told_the_remedy() -> None:
    """A thread without a loop gets a RuntimeError that says how to ask."""

    def ask() -> str:
        with pytest.raises(RuntimeError, match=r"from_thread\.run_sync") as caught:
            goroutines()
        return str(caught.value)

    assert "event loop" in await anyio.to_thread.run_sync(ask)


def test_outside_of_any_loop() -> None:
    """So does a program without a loop."""
    with pytest.raises(RuntimeError, match="event loop"):
        goroutines()


def test_loops_of_two_threads_are_apart() -> None:
    """Each loop shows its own goroutines."""
    names = list[list[str]]()

    async def main(name: str) -> None:
        gochan.go(anyio.sleep_forever, name=name)
        await turns()
        names.append([one.name for one in goroutines()])

    threads = [threading.Thread(target=partial(gochan.run, main, name, leaks="ignore")) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(names) == [["main", "a"], ["main", "b"]]


def test_main_of_uvloop() -> None:
    """On uvloop, too, main is what the runner waits for, whatever its name."""
    pytest.importorskip("uvloop", reason="uvloop is missing: pip install uvloop")

    async def main() -> list[GoroutineInfo]:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("zzz")
        other = asyncio.create_task(asyncio.sleep(60), name="Task-0")
        await turns()
        infos = goroutines()
        other.cancel()
        return infos

    infos = gochan.run(main, backend_options={"use_uvloop": True}, leaks="ignore")
    assert [(one.id, one.state) for one in infos] == [(1, "running"), (2, "sleep")]


def test_asyncio_without_gochan() -> None:
    """In a plain program of asyncio its tasks are shown, main as 1."""

    async def main() -> list[GoroutineInfo]:
        tasks = [asyncio.create_task(asyncio.sleep(60), name=f"t{n}") for n in range(3)]
        task = asyncio.current_task()
        assert task is not None
        task.set_name("zzz")
        await turns()
        infos = goroutines()
        for one in tasks:
            one.cancel()
        return infos

    infos = asyncio.run(main())
    assert [(one.name, one.state) for one in infos] == [
        ("main", "running"),
        ("t0", "sleep"),
        ("t1", "sleep"),
        ("t2", "sleep"),
    ]
    assert infos[0].id == 1


async def test_many_goroutines() -> None:
    """A thousand goroutines are seen at once."""
    jobs = gochan.Channel[int](name="jobs")
    async with standing(*1000 * [jobs.receive]):
        assert sum(one.waiting_on == ("jobs",) for one in goroutines()) == 1000
