"""The file: what is durable, batches, files that cannot be used, disks that fail, and the end."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest
from tests.chat.broker.clusters import in_a_step, offsets, pending, publish

from examples.chat.broker import Unavailable, Window
from examples.chat.broker.sqlite import DataFileError, SqliteEngine
from gochan import Event, Group
from gochan.testing import wait_idle

T = TypeVar("T")

ROOT = Path(__file__).parents[3]


class Disk:
    """An ``offload`` that waits, fails and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.go_on = Event()
        self.go_on.set()

    async def __call__(self, work: Callable[[], T], /) -> T:
        self.calls += 1
        await self.go_on.wait()
        return await in_a_step(work)


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as db:
        found = db.execute(statement).fetchall()
    db.close()
    return found


# ---- batches ----


@pytest.mark.gochan
async def test_one_flush_for_many() -> None:
    """What gathers while the disk is busy is one transaction, in the order in which it came."""
    disk = Disk()
    async with SqliteEngine(":memory:", offload=disk) as engine:
        broker = engine.broker("node")
        await broker.subscribe("lobby")
        disk.calls, disk.go_on = 0, Event()
        async with Group() as group:
            group.go(publish, broker, 1)
            await wait_idle()
            for _ in range(100):
                group.go(publish, broker, 1)
            await wait_idle()
            assert disk.calls == 1
            assert pending(broker) == []
            disk.go_on.set()
        assert disk.calls == 2
        assert offsets(pending(broker)) == list(range(1, 102))


@pytest.mark.gochan
async def test_bounded() -> None:
    """S4: who publishes faster than the disk can write waits; the queue does not grow, and all are served."""
    disk = Disk()
    async with SqliteEngine(":memory:", offload=disk, batch=4) as engine:
        broker = engine.broker("node")
        disk.go_on = Event()
        async with Group() as group:
            for _ in range(20):
                group.go(publish, broker, 1)
            await wait_idle()
            assert engine._requests.statistics().buffered == 4
            assert engine._requests.statistics().senders_waiting == 12
            disk.go_on.set()
        assert (await broker.history("lobby", None, 0)).top.off == 20


@pytest.mark.gochan
async def test_end_writes_what_was_taken() -> None:
    """S3: leaving the engine waits for the disk; who was taken gets an answer, and what comes later is refused."""
    disk = Disk()
    async with Group() as group:
        async with SqliteEngine(":memory:", offload=disk) as engine:
            broker = engine.broker("node")
            disk.go_on = Event()
            publishers = [group.go(publish, broker, 1) for _ in range(3)]
            await wait_idle()
            group.go(_soon, disk.go_on.set)
        assert sorted([(await publisher.result())[0].pos.off for publisher in publishers]) == [1, 2, 3]
        with pytest.raises(Unavailable, match="closed"):
            await broker.publish("lobby", b"")


async def _soon(fn: Callable[[], None]) -> None:
    await anyio.sleep(1)
    fn()


@pytest.mark.gochan
async def test_end_by_cancellation() -> None:
    """S3: when the engine is cancelled nobody waits in vain: it may have happened, or not."""
    disk = Disk()
    async with Group() as group:
        with anyio.CancelScope() as scope:
            async with SqliteEngine(":memory:", offload=disk) as engine:
                broker = engine.broker("node")
                disk.go_on = Event()

                async def refused() -> None:
                    with pytest.raises(Unavailable, match=r"before it answered|is closed"):
                        await broker.publish("lobby", b"")

                for _ in range(3):
                    group.go(refused)
                await wait_idle()
                scope.cancel()
                disk.go_on.set()
        assert scope.cancelled_caught


# ---- what is on the disk ----


@pytest.mark.gochan(virtual_time=False)
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
async def test_killed(gochan_backend: str, tmp_path: Path, times: int) -> None:
    """J1: whatever was acknowledged before a kill -9 is there after it, once, in its place; the rest once or never."""
    path = tmp_path / "chat.db"
    acknowledged: dict[int, tuple[int, str]] = {}
    for turn in range(times):
        heard = await anyio.to_thread.run_sync(_publish_and_kill, path, gochan_backend, 200 + 37 * turn)
        for line in heard:
            words = line.split()
            stands = int(words[1]), words[2]
            assert acknowledged.setdefault(int(words[0]), stands) == stands
        assert len(acknowledged) >= 200
        with anyio.fail_after(30):
            async with SqliteEngine(path, Window(messages=10_000_000)) as engine:
                broker = engine.broker("node")
                page = await broker.history("lobby", None, 10_000_000)
                assert page.complete
                assert offsets(page.events) == list(range(1, page.top.off + 1))
                payloads = [int(event.payload) for event in page.events]
                assert len(set(payloads)) == len(payloads), "something was published twice"
                for number, (off, ep) in acknowledged.items():
                    assert (payloads[off - 1], page.top.ep) == (number, ep)
                for number in (*list(acknowledged)[-20:], payloads[-1]):
                    again = await broker.publish("lobby", b"again", key=str(number))
                    assert (again.duplicate, again.pos.off) == (True, payloads.index(number) + 1)


def _publish_and_kill(path: Path, backend: str, lines: int) -> list[str]:
    command = [sys.executable, "-m", "tests.chat.broker.publisher", str(path), backend]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        heard = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        heard += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    # A line that was cut by the kill is no acknowledgement.
    return [line for line in heard if line.endswith("\n")]


@pytest.mark.gochan
async def test_the_file_does_not_grow(tmp_path: Path) -> None:
    """What leaves the window leaves the file: by number at once, by age, with rooms and keys, at a later write."""
    path = tmp_path / "chat.db"
    window = Window(messages=3, seconds=600, room_seconds=1200)
    async with SqliteEngine(path, window, clock=anyio.current_time) as engine:
        broker = engine.broker("node")
        for room in range(5):
            await publish(broker, 9, f"room {room}")
            await broker.publish(f"room {room}", b"", key="k")
        await broker.subscribe("room 4")
        await broker.history("nobody ever spoke here", None, 9)
        await anyio.sleep(700)
        await publish(broker, 1, "room 3")
    assert rows(path, "SELECT count(*) FROM rooms") == [(5,)]
    assert rows(path, "SELECT count(*) FROM keys") == [(0,)]
    assert rows(path, "SELECT count(*) FROM messages") == [(3,)]
    async with SqliteEngine(path, window, clock=lambda: 700 + 1201 + anyio.current_time()) as engine:
        broker = engine.broker("node")
        await broker.subscribe("room 4")
        await anyio.sleep(100)
        await publish(broker, 1, "room 5")
    assert rows(path, "SELECT name FROM rooms ORDER BY name") == [("room 4",), ("room 5",)]


@pytest.mark.gochan
async def test_smaller_window_after_a_restart(tmp_path: Path) -> None:
    """A window that was made smaller holds at once; one that was made larger brings nothing back."""
    path = tmp_path / "chat.db"
    for messages, expected in ((9, range(1, 10)), (3, range(7, 10)), (9, range(1, 10))):
        async with SqliteEngine(path, Window(messages=messages)) as engine:
            broker = engine.broker("node")
            if (await broker.history("lobby", None, 0)).top.off == 0:
                await publish(broker, 9)
            assert offsets((await broker.history("lobby", None, 99)).events) == list(expected)


@pytest.mark.gochan
async def test_clock_that_goes_back(tmp_path: Path) -> None:
    """J2: numbers and order do not depend on the clock; a message is not kept for shorter than was said."""
    now = 1e9
    async with SqliteEngine(tmp_path / "chat.db", clock=lambda: now) as engine:
        broker = engine.broker("node")
        await publish(broker, 1)
        now -= 5000
        await publish(broker, 1)
        now += 5001
        await publish(broker, 1, "other")  # takes out what is old on the way
        page = await broker.history("lobby", None, 9)
        assert (offsets(page.events), page.complete) == ([1, 2], True)


# ---- files that cannot be used ----


async def opening(path: Path) -> str:
    with pytest.raises(DataFileError) as error:
        async with SqliteEngine(path):
            raise AssertionError("it was opened")
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.gochan
async def test_no_directory(tmp_path: Path) -> None:
    """The error names the file and the reason."""
    assert "No such file or directory" in await opening(tmp_path / "nowhere" / "chat.db")
    assert "directory" in await opening(tmp_path)


@pytest.mark.gochan
async def test_no_database(tmp_path: Path) -> None:
    """A file that is something else is left as it is."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ann, " * 1000)
    assert "not a database" in await opening(path)
    assert path.read_text() == "Dear Ann, " * 1000


@pytest.mark.gochan
async def test_database_of_another_program(tmp_path: Path) -> None:
    """A database of somebody else is left as it is."""
    path = tmp_path / "other.db"
    rows(path, "CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    assert "another program" in await opening(path)
    assert path.read_bytes() == before


@pytest.mark.gochan
async def test_another_format(tmp_path: Path) -> None:
    """A file that a later version wrote is refused, with what to do."""
    path = tmp_path / "chat.db"
    async with SqliteEngine(path):
        pass
    rows(path, "PRAGMA user_version = 7")
    message = await opening(path)
    assert "format 7" in message
    assert "version that wrote it" in message


@pytest.mark.gochan
async def test_damaged_file(tmp_path: Path) -> None:
    """A damaged file is refused at the start, not when somebody reads what is broken."""
    path = tmp_path / "chat.db"
    async with SqliteEngine(path) as engine:
        for _ in range(50):
            await engine.publish("lobby", b"x" * 1000)
    content = path.read_bytes()
    for damaged in (
        content[: len(content) // 2],
        content[:8192] + b"\x55" * 4096 + content[12288:],
        content[:100] + b"\xff" * 200 + content[300:],
    ):
        path.write_bytes(damaged)
        assert "damaged" in await opening(path)


@pytest.mark.gochan(virtual_time=False)
async def test_file_in_use(tmp_path: Path) -> None:
    """J5: a second engine is told that the file is in use, and the first one goes on."""
    path = tmp_path / "chat.db"
    async with SqliteEngine(path) as engine:
        await engine.publish("lobby", b"1")
        assert "another process uses it" in await opening(path)
        assert (await engine.publish("lobby", b"2")).pos.off == 2
    async with SqliteEngine(path) as engine:
        assert (await engine.publish("lobby", b"3")).pos.off == 3


@pytest.mark.gochan
async def test_private(tmp_path: Path) -> None:
    """Nobody else may read what is said."""
    path = tmp_path / "chat.db"
    async with SqliteEngine(path) as engine:
        await engine.publish("lobby", b"1")
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


# ---- disks that fail ----


@pytest.mark.gochan
async def test_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """J3: without space publications are refused and history still read; with space again all is well, unasked."""
    caplog.set_level(logging.WARNING)
    path = tmp_path / "chat.db"
    async with SqliteEngine(path) as engine:
        broker = engine.broker("node")
        await broker.subscribe("lobby")
        await broker.publish("lobby", b"1", key="1")
        journal = engine._journal
        assert journal is not None
        pages = journal._pragma("page_count")
        journal._do(f"PRAGMA max_page_count = {pages}")
        for _ in range(3):
            with pytest.raises(Unavailable, match="full") as error:
                await broker.publish("lobby", b"x" * 100_000, key="2")
            assert isinstance(error.value.__cause__, sqlite3.OperationalError)
        assert offsets((await broker.history("lobby", None, 9)).events) == [1]
        journal._do("PRAGMA max_page_count = 1000000")
        published = await broker.publish("lobby", b"x" * 100_000, key="2")
        assert (published.pos.off, published.duplicate) == (2, False)
        assert offsets(pending(broker)) == [1, 2]
    levels = [record.levelname for record in caplog.records if record.name.endswith("broker.sqlite")]
    assert levels == ["ERROR", "WARNING"], "it was said more than once, or not"


@pytest.mark.gochan
async def test_rest_of_a_failed_batch(tmp_path: Path) -> None:
    """J3: all publications of a batch that fails are undone, and none is told of."""
    disk = Disk()
    async with SqliteEngine(tmp_path / "chat.db", offload=disk) as engine:
        broker = engine.broker("node")
        await broker.subscribe("lobby")
        journal = engine._journal
        assert journal is not None
        journal._do(f"PRAGMA max_page_count = {journal._pragma('page_count')}")
        disk.go_on = Event()

        async def refused(payload: bytes) -> None:
            with pytest.raises(Unavailable, match="full"):
                await broker.publish("lobby", payload)

        async with Group() as group:
            group.go(publish, broker, 1, "other")  # a batch of its own, that waits for the disk
            await wait_idle()
            for size in (1, 100_000, 1):
                group.go(refused, b"x" * size)
            await wait_idle()
            disk.go_on.set()
        journal._do("PRAGMA max_page_count = 1000000")
        assert pending(broker) == []
        assert (await broker.publish("lobby", b"")).pos.off == 1
        assert offsets(pending(broker)) == [1]


@pytest.mark.gochan
async def test_one_request_that_fails(tmp_path: Path) -> None:
    """J3, also for errors after which SQLite itself would keep what came before them."""
    disk = Disk()
    async with SqliteEngine(tmp_path / "chat.db", offload=disk) as engine:
        broker = engine.broker("node")
        await broker.subscribe("lobby")
        disk.go_on = Event()

        async def refused() -> None:
            with pytest.raises(Unavailable, match="constraint"):
                await broker.publish("lobby", b"")

        async def fail() -> None:
            with pytest.raises(Unavailable, match="constraint"):
                await engine._ask(lambda journal: journal._do("INSERT INTO next_epoch VALUES (NULL)"), writes=True)

        async with Group() as group:
            group.go(publish, broker, 1, "other")
            await wait_idle()
            group.go(refused)
            group.go(fail)
            await wait_idle()
            disk.go_on.set()
        assert (await broker.history("lobby", None, 9)).top.off == 0
        assert pending(broker) == []
