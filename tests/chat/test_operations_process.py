"""The program with everything turned on that tells about it: probes, metrics, goroutines, logs."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tests.chat.test_process import BOUND, POSIX, Process, get, put, server

pytestmark = pytest.mark.once

TRACE = "0af7651916cd43dd8448eb211c80319c"


def fetch(process: Process, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"{process.url.rstrip('/')}{path}", timeout=BOUND) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def say_hi(process: Process) -> None:
    with process.talk() as (sock, file):

        def ask(kind: str, **message: Any) -> None:
            file.write(json.dumps(message).encode() + b"\n")
            file.flush()
            while json.loads(file.readline())["t"] != kind:
                pass

        ask("welcome", t="hello", v=1, user="ann")
        assert 'gochat_sessions{state="alive"} 1' in fetch(process, "/metrics")[1]
        assert "session" in fetch(process, "/debug")[1]
        ask("joined", t="join", id=1, room="lobby")
        ask("ack", t="say", id=2, room="lobby", body="hi", tp=f"00-{TRACE}-b7ad6b7169203331-01")
        file.write(b'{"t":"bye"}\n')
        file.flush()
        while file.readline():
            pass
        sock.close()


@POSIX
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_everything_on(backend: str, tmp_path: Path) -> None:
    """A client shows in the metrics and on /debug while it is there, and in the log with its session."""
    path = tmp_path / "chat.log"
    logs = ("--log-format", "json", "--log-file", str(path), "--log-level", "debug")
    with server("--backend", backend, "--metrics", "--debug", *logs) as process:
        assert fetch(process, "/healthz") == (200, "ok\n")
        assert fetch(process, "/readyz") == (200, "ready\n")
        say_hi(process)
        _, metrics = fetch(process, "/metrics")
        assert 'gochat_said_total{outcome="' in metrics
        assert "gochat_publish_seconds_count 1" in metrics
        process.process.send_signal(signal.SIGTERM)
        code, errors = process.end()
    assert (code, errors) == (0, "")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert any("stopping" in line["message"] for line in lines)
    (said,) = [line for line in lines if line.get("trace.id") == TRACE]
    assert "ann says" in said["message"]
    assert said["user.name"] == "ann"
    assert said["session.id"]


@POSIX
def test_everything_off() -> None:
    """Unless they are asked for there are no metrics, and nobody sees a goroutine."""
    with server() as process:
        assert [fetch(process, path)[0] for path in ("/healthz", "/readyz", "/metrics", "/debug")] == [
            200,
            200,
            404,
            404,
        ]
        process.process.send_signal(signal.SIGTERM)
        assert process.end()[0] == 0


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nobody_reads_the_log(backend: str) -> None:
    """A terminal that hangs delays neither a message nor, for long, the end; what was dropped shows in the metrics."""
    with server(
        "--backend", backend, "--metrics", "--log-level", "debug", "--rate", "100000", "--burst", "100000"
    ) as chat:
        with chat.talk() as (_, file):
            put(file, {"t": "hello", "v": 1, "user": "ann"}, {"t": "join", "id": 1, "room": "lobby"})
            for number in range(20):
                put(file, *({"t": "say", "id": f"{number}.{one}", "room": "lobby", "body": "hi"} for one in range(200)))
                acks = 0
                began = time.monotonic()
                while acks < 200:
                    acks += get(file)["t"] == "ack"
                assert time.monotonic() - began < BOUND / 3, "a pipe that is full for good would take for ever"
            _, metrics = fetch(chat, "/metrics")
            dropped = re.search(r"^gochat_log_records_dropped_total (\S+)$", metrics, re.MULTILINE)
            assert dropped is not None
            assert float(dropped[1]) > 0
        chat.process.send_signal(signal.SIGTERM)
        assert chat.process.wait(timeout=BOUND) == 0
