"""Logs: what a line holds, which way it goes, and that nobody waits for a sink that is slow, stuck or broken."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import gochan
from examples.chat.telemetry import bound
from examples.chat.telemetry.log_lines import LONGEST, json_line, text_line
from examples.chat.telemetry.logs import LogPipe, RotatingFile, Stream
from examples.chat.telemetry.text_metrics import TextMetrics
from gochan import Group, sleep
from gochan.testing import explore

virtual = pytest.mark.gochan(virtual_time=True)
BOUND = 20.0


class Sink:
    """Keeps what is written; writes wait for ``open`` and fail with ``error``."""

    def __init__(self) -> None:
        self.data = b""
        self.writes = 0
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.error: Exception | None = None
        self.closed = False

    def write(self, data: bytes) -> None:
        self.entered.set()
        assert self.open.wait(BOUND)
        if self.error is not None:
            raise self.error
        self.data += data
        self.writes += 1

    def close(self) -> None:
        self.closed = True

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.data.splitlines()]

    @property
    def messages(self) -> list[str]:
        return [record["message"] for record in self.records]


@contextlib.contextmanager
def logging_to(pipe: LogPipe) -> Iterator[logging.Logger]:
    log = logging.Logger("test")  # noqa: LOG001  # one of its own: no other handler, no level
    log.addHandler(pipe.handler)
    yield log
    pipe.handler.close()


async def started(group: Group, pipe: LogPipe) -> None:
    """Records of this thread go through the goroutine from now on."""
    group.go(pipe.run)
    while pipe._thread is None:
        await sleep(0)


def record(message: str, *args: object, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "test", "levelname": "INFO", "msg": message, "args": args, "created": 0, **extra}
    )


# ---- lines ----


def test_fields() -> None:
    """A line has the time, level, logger and message, what is bound to its context, and what came as ``extra``."""
    with bound(session="s1", user="ann"), bound(trace="t1", span="p1"):
        line = json_line(record("%s joins", "ann", room="lobby", members={"bob"}))
    assert json.loads(line) == {
        "@timestamp": "1970-01-01T00:00:00.000Z", "log.level": "info", "log.logger": "test", "message": "ann joins",
        "session.id": "s1", "user.name": "ann", "trace.id": "t1", "span.id": "p1",
        "labels": {"room": "lobby", "members": "{'bob'}"},
    }  # fmt: skip
    assert "session.id" not in json.loads(json_line(record("later")))


@pytest.mark.parametrize("line", [json_line, text_line])
def test_one_line_whatever_was_typed(line: Any) -> None:
    """J1: nothing that a user types ends a line, commands a terminal, breaks UTF-8, or is longer than the limit."""
    nasty = "a\nb\r\x1b[31m\x00\u2028\ud800" + "x" * (LONGEST * 2)
    data: bytes = line(record("%s", nasty, label="c\nd"))
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")
    assert b"\x1b" not in data
    assert len(data) < LONGEST + 1000
    data.decode()
    if line is json_line:
        assert json.loads(data)["message"].startswith("a\nb\r\x1b[31m")


def test_errors() -> None:
    """An error is told with its type, message and traceback; text indents it."""
    try:
        raise ValueError("bad\nthing")
    except ValueError as error:
        failed = record("failed", exc_info=(type(error), error, error.__traceback__))
    fields = json.loads(json_line(failed))
    assert (fields["error.type"], fields["error.message"]) == ("ValueError", "bad\nthing")
    assert "Traceback" in fields["error.stack_trace"]
    assert all(line.startswith(b"    ") for line in text_line(failed).splitlines()[1:])


def test_a_line_is_always_made() -> None:
    """J2: arguments that do not fit, and objects that cannot be shown, are no reason to lose a record, or to raise."""

    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    for rude in (record("%d", "x"), record("%s", Rude()), record("x", field=Rude()), record("%s %s", Rude())):
        assert json.loads(json_line(rude))["log.logger"] == "test"
        assert text_line(rude)


# ---- the pipe ----


@virtual
async def test_carried_by_the_goroutine() -> None:
    """Records of the loop's thread are written in order, in batches, and not by whoever logs."""
    sink = Sink()
    pipe = LogPipe(sink)
    with logging_to(pipe) as log:
        async with Group() as group:
            group.go(pipe.run)
            await sleep(1)
            for number in range(100):
                log.info("%d", number)
            assert sink.writes == 0
            await sleep(1)
            assert sink.messages == [str(number) for number in range(100)]
            assert sink.writes == 1
            group.cancel()
    assert pipe.dropped == 0
    assert sink.closed


@virtual
async def test_a_goroutine_logs_with_its_session() -> None:
    """Fields that are bound when a goroutine starts are in its records, and in nobody else's."""
    sink = Sink()
    pipe = LogPipe(sink)
    with logging_to(pipe) as log:
        async with Group() as group:
            running = group.go(pipe.run)

            async def session(sid: str) -> None:
                with bound(session=sid):
                    async with Group() as inner:
                        inner.go(writer)
                        await sleep(0.1)
                        log.info("reader")

            async def writer() -> None:
                await sleep(0.05)
                log.info("writer")

            async with Group() as sessions:
                for sid in "abc":
                    sessions.go(session, sid)
            log.info("nobody")
            running.cancel()
    seen = sorted((one["message"], one.get("session.id")) for one in sink.records)
    assert seen == [("nobody", None), *(("reader", sid) for sid in "abc"), *(("writer", sid) for sid in "abc")]


async def test_a_stuck_sink_delays_nobody() -> None:
    """L1, L3, L4: while the sink hangs logging takes no time, what does not fit is counted, chatter first, and the
    number is written when the sink is there again."""
    sink, metrics = Sink(), TextMetrics()
    sink.open.clear()
    pipe = LogPipe(sink, capacity=80, metrics=metrics)
    with logging_to(pipe) as log, anyio.fail_after(BOUND):
        async with Group() as group:
            await started(group, pipe)
            log.info("first")
            while not sink.entered.is_set():
                await sleep(0.001)
            for number in range(1000):
                log.debug("chatter %d", number)
            for number in range(100):
                log.error("error %d", number)
            assert pipe.dropped == 1000 - 70 + 90
            assert b"gochat_log_records_dropped_total 1020\n" in metrics.expose().body
            sink.open.set()
            while len(sink.records) < 82:
                await sleep(0.001)
            group.cancel()
    assert sink.messages[0] == "first"
    assert sink.messages[1] == "1020 log records were dropped"
    assert sink.messages[2:] == [f"chatter {number}" for number in range(70)] + [f"error {n}" for n in range(10)]


async def test_another_thread_waits_for_itself() -> None:
    """A thread that logs while the sink hangs waits, and the loop's thread does not wait for it (L1)."""
    sink = Sink()
    pipe = LogPipe(sink)
    with logging_to(pipe) as log, anyio.fail_after(BOUND):
        async with Group() as group:
            await started(group, pipe)
            sink.open.clear()
            thread = threading.Thread(target=log.info, args=("thread",))
            thread.start()
            while not sink.entered.is_set():
                await sleep(0.001)
            log.info("loop")
            assert thread.is_alive()
            sink.open.set()
            while len(sink.records) < 2:
                await sleep(0.001)
            thread.join()
            group.cancel()
    assert sink.messages == ["thread", "loop"]


def test_before_and_after_the_loop() -> None:
    """Without a loop, and when it is gone, records are written at once; what was queued is written before the end."""
    sink = Sink()
    pipe = LogPipe(sink)
    with logging_to(pipe) as log:
        log.info("before")
        assert sink.messages == ["before"]

        async def main() -> None:
            async with Group() as group:
                group.go(pipe.run)
                await sleep(0.01)
                log.info("during")
                group.cancel()
                log.info("at the end")
            log.info("after its goroutine")

        for backend in ("asyncio", "trio"):
            gochan.run(main, backend=backend)
        log.info("after")
    assert sink.messages == ["before", *["during", "at the end", "after its goroutine"] * 2, "after"]
    log.info("closed")
    assert len(sink.messages) == 8
    assert pipe.dropped == 1


async def test_a_sink_that_hangs_for_ever_does_not_keep_the_server() -> None:
    """L5: the end takes ``flush`` seconds at most, and what was not written is counted."""
    sink = Sink()
    sink.open.clear()
    pipe = LogPipe(sink, flush=0.05)
    with logging_to(pipe) as log, anyio.fail_after(BOUND):
        async with Group() as group:
            await started(group, pipe)
            log.info("on its way")
            while not sink.entered.is_set():
                await sleep(0.001)
            log.info("waits")
            group.cancel()
        sink.open.set()


async def test_a_broken_sink() -> None:
    """L6: a full disk loses lines and counts them; when there is room again the number is written, and all goes on."""
    sink = Sink()
    pipe = LogPipe(sink)
    with logging_to(pipe) as log, anyio.fail_after(BOUND):
        async with Group() as group:
            await started(group, pipe)
            sink.error = OSError("no space left on device")
            log.error("lost")
            while pipe.dropped < 1:
                await sleep(0.001)
            sink.error = None
            for number in range(2):
                log.error("written %d", number)
                while len(sink.records) < 2 + number:
                    await sleep(0.001)
            group.cancel()
    assert sink.messages == ["1 log records were dropped", "written 0", "written 1"], "L4: once"


@virtual
async def test_run_twice() -> None:
    """There is one goroutine to a pipe."""
    pipe = LogPipe(Sink())
    async with Group() as group:
        await started(group, pipe)
        with pytest.raises(RuntimeError, match="runs already"):
            await pipe.run()
        group.cancel()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_any_schedule(backend: Any) -> None:
    """L3, L5 in every order of those who log, the goroutine and its end: every record is written once, or counted."""

    async def program() -> None:
        sink = Sink()

        async def offload(write: Callable[[], int]) -> int:
            await sleep(0)
            lost = write()
            await sleep(0)
            return lost

        pipe = LogPipe(sink, capacity=8, offload=offload)
        log = logging.Logger("test")  # noqa: LOG001  # one of its own: no other handler, no level
        log.addHandler(pipe.handler)

        async def talk(name: str) -> None:
            for number in range(12):
                log.warning("%s %d", name, number)
                await sleep(0)

        async with Group() as group:
            running = group.go(pipe.run)
            async with Group() as talkers:
                talkers.go(talk, "a")
                talkers.go(talk, "b")
            running.cancel()
        log.warning("end")
        written = [message for message in sink.messages if "dropped" not in message]
        assert len(written) == len(set(written)) == 25 - pipe.dropped
        for name in "ab":
            numbers = [int(message[2:]) for message in written if message.startswith(name)]
            assert numbers == sorted(numbers)

    explore(program, backend=backend, runs=30)


# ---- sinks ----


def test_stream() -> None:
    """A stream in memory and a pipe get the same bytes, however many."""
    data = b"".join(b"%d\n" % number for number in range(20_000))
    memory = io.BytesIO()
    Stream(memory).write(data)
    assert memory.getvalue() == data
    reading, writing = os.pipe()
    received = bytearray()

    def read() -> None:
        while piece := os.read(reading, 65536):
            received.extend(piece)

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writing, "wb") as stream:
        Stream(stream).write(data)
    thread.join(BOUND)
    os.close(reading)
    assert received == data


def test_a_pipe_that_nobody_reads() -> None:
    """It is given up, so that no thread hangs in it for ever."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream:
        with pytest.raises(TimeoutError, match="nobody read"):
            Stream(stream, patience=0.01).write(b"x" * 10_000_000)
    os.close(reading)


def test_rotation(tmp_path: Path) -> None:
    """Files hold at most ``max_bytes``, whole lines, newest first; with the last backup the oldest lines go."""
    sink = RotatingFile(tmp_path / "chat.log", max_bytes=100, backups=2)
    lines = [b"line %d\n" % number for number in range(10, 70)]
    for start in range(0, 60, 7):
        sink.write(b"".join(lines[start : start + 7]))
    sink.close()
    names = ["chat.log.2", "chat.log.1", "chat.log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    contents = [(tmp_path / name).read_bytes() for name in names]
    assert all(len(content) <= 100 for content in contents)
    kept = b"".join(contents).splitlines(keepends=True)
    assert kept == lines[-len(kept) :]
    assert len(kept) > 24


def test_rotation_edges(tmp_path: Path) -> None:
    """A file that is there is continued; a line longer than the file has one of its own; no backups deletes."""
    path = tmp_path / "chat.log"
    path.write_bytes(b"old\n")
    sink = RotatingFile(path, max_bytes=10, backups=0)
    sink.write(b"new\n")
    assert path.read_bytes() == b"old\nnew\n"
    sink.write(b"x" * 50 + b"\n" + b"y\n")
    assert path.read_bytes() == b"y\n"
    sink.close()
    sink.write(b"z\n")
    assert path.read_bytes() == b"y\nz\n"
    sink.close()


def test_rotation_that_fails(tmp_path: Path) -> None:
    """If a file cannot be renamed it grows, rather than that lines are lost."""
    (tmp_path / "chat.log.1").mkdir()
    (tmp_path / "chat.log.1" / "x").touch()
    sink = RotatingFile(tmp_path / "chat.log", max_bytes=10, backups=1)
    for number in range(10):
        sink.write(b"line %d\n" % number)
    sink.close()
    assert (tmp_path / "chat.log").read_bytes().count(b"\n") == 10
    with pytest.raises(OSError):
        RotatingFile(tmp_path / "no" / "chat.log")
    with pytest.raises(ValueError):
        RotatingFile(tmp_path / "chat.log", max_bytes=0)
