"""The program, as a user starts it: what it prints, how it is stopped, and its exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from examples.chat.__main__ import main

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
BOUND = 30.0
POSIX = pytest.mark.skipif(os.name != "posix", reason="not applicable: signals of POSIX")

BACKENDS = {"asyncio": [], "trio": ["--backend", "trio"], "uvloop": ["--uvloop"]}
HERE = [name for name in BACKENDS if find_spec(name)]


def command(*args: str) -> tuple[list[str], dict[str, str]]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GOCHAT_")}
    environ["PYTHONPATH"] = str(ROOT / "src")
    return [sys.executable, "-W", "error", "-m", "examples.chat", *args], environ


class Process:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.greeting = process.stdout.readline()
        self.url = self.greeting.split()[-1]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    @contextlib.contextmanager
    def talk(self) -> Iterator[tuple[socket.socket, Any]]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=BOUND) as sock, sock.makefile("rwb") as file:
            yield sock, file

    def end(self) -> tuple[int, str]:
        """The exit code, and what was logged."""
        _, errors = self.process.communicate(timeout=BOUND)
        return self.process.returncode, errors


@contextlib.contextmanager
def server(*args: str) -> Iterator[Process]:
    line, environ = command("--port", "0", *args)
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, env=environ, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def put(file: Any, *messages: dict[str, Any]) -> None:
    for message in messages:
        file.write(json.dumps(message).encode() + b"\n")
    file.flush()


def get(file: Any) -> Any:
    return json.loads(file.readline())


@POSIX
@pytest.mark.parametrize("backend", HERE)
def test_a_day_of_a_server(backend: str) -> None:
    """It says where it is, serves the page and the chat, and leaves on SIGTERM with 0, after a goodbye to everybody."""
    with server(*BACKENDS[backend]) as chat:
        assert re.fullmatch(r"gochan chat: open http://127\.0\.0\.1:\d+/\n", chat.greeting)
        with urlopen(chat.url, timeout=BOUND) as page:
            assert page.status == 200
        with chat.talk() as (_, ann):
            put(ann, {"t": "hello", "v": 1, "user": "ann"}, {"t": "join", "id": 1, "room": "lobby"})
            put(ann, {"t": "say", "id": 2, "room": "lobby", "body": "hi"})
            assert [get(ann)["t"] for _ in range(4)] == ["welcome", "joined", "ack", "msg"]
            chat.process.send_signal(signal.SIGTERM)
            last = get(ann)
            assert (last["t"], last["code"]) == ("goaway", 4001)
            assert ann.readline() == b""
        code, log = chat.end()
        assert code == 0
        assert "SIGTERM: stopping" in log
        assert "ann joins" in log
        assert "Traceback" not in log
        assert "Warning" not in log


@POSIX
@pytest.mark.parametrize("backend", HERE)
def test_history_outlives_a_restart(backend: str, tmp_path: Path) -> None:
    """With --data what was acknowledged before the end is there after it: who comes back misses nothing."""
    hello = {"t": "hello", "v": 1, "user": "ann"}
    data = ["--data", str(tmp_path / "chat.db"), *BACKENDS[backend]]
    with server(*data) as chat, chat.talk() as (_, ann):
        put(ann, hello, {"t": "join", "id": 1, "room": "lobby"}, {"t": "say", "id": 2, "room": "lobby", "body": "one"})
        joined = next(message for message in iter(lambda: get(ann), None) if message["t"] == "joined")
        assert next(message for message in iter(lambda: get(ann), None) if message["t"] == "ack")["off"] == 1
        chat.process.send_signal(signal.SIGTERM)
        goaway = next(message for message in iter(lambda: get(ann), None) if message["t"] == "goaway")
        assert goaway["resume"]
        assert chat.end()[0] == 0
    since = {"off": joined["off"], "ep": joined["ep"]}
    with server(*data) as chat, chat.talk() as (_, ann):
        put(ann, hello, {"t": "join", "id": 1, "room": "lobby", "since": since})
        put(ann, {"t": "say", "id": 2, "room": "lobby", "body": "one"})
        joined = next(message for message in iter(lambda: get(ann), None) if message["t"] == "joined")
        assert (joined["rec"], [message["body"] for message in joined["msgs"]]) == (True, ["one"])
        ack = get(ann)
        assert (ack["t"], ack["off"], ack["dup"]) == ("ack", 1, True)


@pytest.mark.parametrize("argv", [["--data", "/no/such/place/chat.db"], ["--log-file", "/no/such/place/log"]])
def test_file_that_cannot_be_used(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one line that names the file."""
    assert main(["--port", "0", *argv]) == 1
    assert "/no/such/place" in capsys.readouterr().err


@POSIX
@pytest.mark.parametrize("backend", HERE)
def test_second_signal(backend: str) -> None:
    """A second Ctrl-C does not wait for a client that never reads."""
    with server(*BACKENDS[backend], "--write-timeout", "60", "--drain-timeout", "60", "--outbox", "100000") as chat:
        with chat.talk() as (sock, ann), chat.talk() as (_, bob):
            put(ann, {"t": "hello", "v": 1, "user": "ann"}, {"t": "join", "id": 1, "room": "lobby"})
            sock.settimeout(0.2)
            say = json.dumps({"t": "say", "id": 2, "room": "lobby", "body": "x" * 8000}).encode() + b"\n"
            with contextlib.suppress(TimeoutError):
                for _ in range(1000):
                    sock.sendall(say)
            chat.process.send_signal(signal.SIGINT)
            chat.process.send_signal(signal.SIGINT)  # at once: that is the same one, twice
            assert bob.readline() == b""  # it has arrived: who has not spoken is let go
            time.sleep(0.3)  # in real time, as the other process tells a second signal from the first one by it
            assert chat.process.poll() is None
            chat.process.send_signal(signal.SIGINT)
            code, log = chat.end()
        assert code == 128 + signal.SIGINT
        assert "SIGINT again" in log


@pytest.mark.parametrize("backend", HERE)
def test_port_taken(backend: str) -> None:
    """A port that is taken: exit code 1 and one line that says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line, environ = command("--port", port, *BACKENDS[backend])
        ended = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=BOUND, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(rf"gochan chat: cannot listen on 127\.0\.0\.1, port {port}: .*\n", ended.stderr)


def test_help() -> None:
    """--help ends with 0, and needs none of the chat's libraries."""
    line, environ = command("--help")
    line[1:1] = ["-X", "importtime"]
    ended = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=BOUND, check=False)
    assert ended.returncode == 0
    assert "--backend" in ended.stdout
    assert "websockets" not in ended.stderr


def test_failure_is_an_exit_code(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A server that fails is logged with its traceback, and ends the program with 1."""

    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("examples.chat.server.serve", fail)
    assert main(["--port", "0"]) == 1
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


@pytest.mark.parametrize(
    ("name", "argv"), [("websockets", []), ("trio", ["--backend", "trio"]), ("uvloop", ["--uvloop"])]
)
def test_missing_library(
    name: str, argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library that is not installed is named, with the command that installs it."""
    monkeypatch.setitem(sys.modules, name, None)
    assert main(argv) == 1
    assert capsys.readouterr().err == f"gochan chat: {name} is missing: pip install {name}\n"


@POSIX
def test_open_to_the_network() -> None:
    """Whoever opens the chat to the network is told that it has no passwords, and still gets an address that opens."""
    with server("--host", "0.0.0.0") as chat:
        assert chat.url.startswith("http://127.0.0.1:")
        with urlopen(chat.url + "healthz", timeout=BOUND) as answer:
            assert answer.read() == b"ok\n"
        chat.process.send_signal(signal.SIGTERM)
        code, log = chat.end()
        assert code == 0
        assert "WARNING everybody who can reach 0.0.0.0 can read and write here" in log


def test_ctrl_c_outside_of_serving(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C before the server listens for signals, or once more at the very end, leaves no traceback."""

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gochan.run", interrupted)
    assert main([]) == 130
    assert capfd.readouterr() == ("", "")
