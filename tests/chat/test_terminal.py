"""The terminal client: as a program with a pipe, as one on a terminal, and the editor of its line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.abc import Process
from tests.chat.talkers import BOUND, running

from examples.chat.client import Client
from examples.chat.client.line_editor import ERASE, LineEditor, LineSplitter
from examples.chat.client.looks import Plain, choose
from examples.chat.client.screen import Screen, safe
from examples.chat.server import Server

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", os.environ.get("PYTHONPATH", "")])}


def command(port: int, backend: str, *options: str) -> list[str]:
    where = ["--port", str(port), "--user", "ada", "--backend", backend]
    return [sys.executable, "-m", "examples.chat.client", *where, *options]


async def visit(server: Server, backend: str, typed: str, *options: str) -> tuple[int, str, str]:
    """A whole visit with a pipe as input: exit code, what it printed without the times, what it complained about."""
    with anyio.fail_after(BOUND):
        done = await anyio.run_process(
            command(server.port, backend, *options), input=typed.encode(), cwd=ROOT, env=ENVIRONMENT, check=False
        )
    return done.returncode, re.sub(r"(?m)^\d\d:\d\d ", "", done.stdout.decode()), done.stderr.decode()


# ---- with a pipe ----


@pytest.mark.parametrize("options", [[], ["--tcp"]], ids=["websocket", "tcp"])
async def test_a_pipe_is_said(backend_name: str, options: list[str]) -> None:
    """Each line is said and shown as the room hears it; the end of the input leaves, with exit code 0."""
    async with running() as server:
        code, output, complaints = await visit(server, backend_name, "hello\n\n/who\n/nope\n//who\nlast", *options)
        address = f"127.0.0.1:{server.port}"
    assert (code, complaints) == (0, "")
    assert output.splitlines() == [
        f"* you are in #lobby of {address} with nobody else; /help lists commands",
        "ada: hello",
        "* here: ada",
        "* there is no /nope; /help lists what there is",
        "ada: /who",
        "ada: last",
    ]


async def test_quit_comes_before_the_rest(backend_name: str) -> None:
    """What stands after /quit is not said."""
    async with running() as server:
        code, output, _ = await visit(server, backend_name, "one\n/quit\ntwo\n")
    assert code == 0
    assert "ada: one" in output
    assert "two" not in output


async def test_a_message_that_is_too_long(backend_name: str) -> None:
    """It is not sent, which is said; the visit goes on."""
    async with running() as server:
        code, output, _ = await visit(server, backend_name, "x" * 100_000 + "\nshort\n")
    assert code == 0
    assert output.splitlines()[1:] == ["* not sent: longer than 8000 characters", "ada: short"]


async def test_rooms_and_people(backend_name: str) -> None:
    """Several rooms, direct messages and the history, each where it belongs; wrong use is told."""
    typed = "one\n/join kitchen\ntwo\n/rooms\n/who lobby\n/msg ada psst\n/msg\n/leave\nback\n/history 1\n/leave\nlost\n"
    async with running() as server:
        async with Client.connect("127.0.0.1", server.port, user="bob") as bob:
            await bob.join("lobby")
            for word in ("unseen", "once", "twice"):
                await bob.say("lobby", word)
        code, output, complaints = await visit(server, backend_name, typed, "--history", "2")
    assert (code, complaints) == (0, "")
    shown = [line.removeprefix("#lobby ") for line in output.splitlines()]  # by then it may not be the only room
    lines = [line for line in shown if not line.startswith("* you are in #lobby")]
    assert sorted(lines) == sorted([
        "bob: once",
        "bob: twice",
        "ada: one",
        "* you are in #kitchen with nobody else",
        "#kitchen ada: two",
        "* rooms: #lobby, #kitchen",
        "* here: ada",
        "ada (to you): psst",
        "you (to ada): psst",
        "* it is used so: /msg NAME TEXT",
        "* you left #kitchen",
        "ada: back",
        "* the last 1 messages in #lobby:",
        "ada: back",
        "* you left #lobby",
        "* you are in no room; /join one",
    ])  # fmt: skip


async def test_the_server_comes_back(backend_name: str) -> None:
    """A lost connection is told and mended; what is said meanwhile waits, and /quit does not."""
    async with running() as server:
        port = server.port
        async with visitor(server, backend_name) as process:
            await read_until(process, "you are in")
            server.stop.set()
            await read_until(process, "trying again")
            assert process.stdin is not None
            await process.stdin.send(b"meanwhile\n")
            async with running(port=port) as again:
                await read_until(process, "ada: meanwhile")
                again.stop.set()
                await read_until(process, "trying again")
                await process.stdin.send(b"never\n/quit\n")
                with anyio.fail_after(BOUND):
                    assert await process.wait() == 0


async def test_nobody_listens(backend_name: str) -> None:
    """One line on stderr, exit code 1."""
    async with running() as server:
        pass
    code, output, complaints = await visit(server, backend_name, "")
    assert (code, output) == (1, "")
    assert complaints == f"cannot connect to 127.0.0.1:{server.port}: Connection refused\n"


async def test_a_refused_name(backend_name: str) -> None:
    """The server's reason on stderr, exit code 1."""
    async with running() as server:
        code, _, complaints = await visit(server, backend_name, "", "--user", "x" * 33)
    assert code == 1
    assert complaints.startswith("the server refuses: a user name is")
    assert complaints.count("\n") == 1


async def test_nobody_reads_the_output(backend_name: str) -> None:
    """As in `client | head`: the visit ends without a word, with an exit code that tells."""
    ours, theirs = os.pipe()
    async with (
        running() as server,
        await anyio.open_process(
            command(server.port, backend_name), stdout=theirs, cwd=ROOT, env=ENVIRONMENT
        ) as process,
    ):
        os.close(theirs)
        with anyio.fail_after(BOUND):
            assert b"you are in" in await anyio.to_thread.run_sync(os.read, ours, 65536)
            os.close(ours)
            assert process.stdin is not None
            await process.stdin.send(b"hello\n")
            assert await process.wait() == 1
        assert process.stderr is not None
        with pytest.raises(anyio.EndOfStream):
            print(await process.stderr.receive())


@contextlib.asynccontextmanager
async def visitor(server: Server, backend: str, *options: str) -> AsyncGenerator[Process, None]:
    """A visit that goes on: the input stays open."""
    async with await anyio.open_process(command(server.port, backend, *options), cwd=ROOT, env=ENVIRONMENT) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def read_until(process: Process, text: str) -> str:
    assert process.stdout is not None
    seen = b""
    with anyio.fail_after(BOUND):
        while text.encode() not in seen:
            seen += await process.stdout.receive()
    return seen.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_leaves(backend_name: str, number: signal.Signals) -> None:
    """Ctrl-C ends a visit with exit code 0 and without a word, however long it waits for input; the others see it."""
    async with running() as server, visitor(server, backend_name) as process:
        await read_until(process, "you are in")
        process.send_signal(number)
        with anyio.fail_after(BOUND):
            assert await process.wait() == 0
            while server.sessions:
                await anyio.sleep(0.001)
        assert process.stderr is not None
        with pytest.raises(anyio.EndOfStream):
            print(await process.stderr.receive())


async def test_others_are_shown_while_nobody_types(backend_name: str) -> None:
    """Waiting for input keeps nothing from being shown; when the server stops, so does the client, and says why."""
    async with running() as server, visitor(server, backend_name, "--once") as process:
        await read_until(process, "you are in")
        async with Client.connect("127.0.0.1", server.port, user="bob") as bob:
            await bob.join("lobby")
            await bob.say("lobby", "anybody?\nada: yes\x1b[2J")
            assert "bob: anybody?\n      | ada: yes�[2J\n" in await read_until(process, "[2J\n")
        await read_until(process, "bob left")
        server.stop.set()
        with anyio.fail_after(BOUND):
            assert await process.wait() == 1
        assert process.stderr is not None
        assert await process.stderr.receive() == b"the server stops (4001)\n"


# ---- on a terminal ----


@pytest.mark.skipif(os.name != "posix", reason="not applicable: no pseudo-terminals")
async def test_on_a_terminal(backend_name: str) -> None:
    """Keys are edited; a message that arrives goes above what is being typed; the terminal is left as it was."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    seen = ""

    async def see(text: str) -> None:
        nonlocal seen
        with anyio.fail_after(BOUND):
            while text not in seen:
                seen += (await anyio.to_thread.run_sync(os.read, ours, 65536)).decode()

    try:
        async with running() as server, Client.connect("127.0.0.1", server.port, user="bob") as bob:
            await bob.join("lobby")
            environment = {**ENVIRONMENT, "TERM": "xterm", "NO_COLOR": "1"}
            async with await anyio.open_process(
                command(server.port, backend_name, "--plain"),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=ROOT,
                env=environment,
            ) as process:
                await see("with bob")
                os.write(ours, b"helo\x1b[Dl")
                await see("hello\x1b[1D")
                seen = ""
                await bob.say("lobby", "psst")
                await see(f"bob: psst\r\n{ERASE}#lobby> hello\x1b[1D")
                os.write(ours, b"\r")
                await see("ada: hello\r\n")
                os.write(ours, b"\x04")
                with anyio.fail_after(BOUND):
                    assert await process.wait() == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


# ---- the parts ----


def test_what_is_dangerous_is_not_printed() -> None:
    """Control characters, and those that turn or break a line, are replaced; every script and emoji stays."""
    assert safe("a\x1b[2Jb\x07\x9bc\x7f\u202ed\u2028e\r") == "a�[2Jb��c��d�e�"
    assert safe("tab\there\r\nΩ 日本 مرحبا 👩‍👩‍👧\n") == "tab here\nΩ 日本 مرحبا 👩‍👩‍👧\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rich_and_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """With rich long messages are wrapped, and nothing that was typed is its markup; without it the lines are plain."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(output := Terminal(), "ada", edit=False, plain=True)
    screen.message("", "bob", "[bold]plain[/bold]", 0)
    screen.table("Title", [("a", "b")])
    assert output.getvalue().splitlines()[0].endswith(" bob: [bold]plain[/bold]")
    assert output.getvalue().splitlines()[1:] == ["Title", "  a  b"]
    pytest.importorskip("rich", reason="no rich: pip install rich")
    screen = Screen(output := Terminal(), "ada", edit=False)
    screen.message("kitchen", "bob", "[bold]word[/bold] :smile: " * 3, 0)
    screen.note("a [red]note")
    screen.table("Title", [("[a]", "b")])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue()).splitlines()
    assert "#kitchen bob [bold]word" in lines[0]
    assert ":smile:" in "".join(lines)
    assert all(len(line) <= 40 for line in lines)
    assert any("a [red]note" in line for line in lines)
    assert any("[a]" in line for line in lines)


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed nobody misses it, and nobody who pipes the output gets it."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(choose(Terminal(), plain=False), Plain)
    assert isinstance(choose(io.StringIO(), plain=False), Plain)


def test_lines_of_a_pipe() -> None:
    """However a pipe cuts them, lines come out whole; the last one needs no end."""
    splitter = LineSplitter()
    assert splitter.feed("Ω".encode()[:1]) == []
    assert splitter.feed("Ω".encode()[1:] + b"a\r\nb\nc") == ["Ωa", "b"]
    assert splitter.feed(b"") == ["c"]
    assert splitter.ended


def edited(keys: str, columns: int = 40) -> tuple[list[str], str]:
    """The lines that keys complete, and what is on the screen after the last one."""
    drawn: list[str] = []
    editor = LineEditor(drawn.append, lambda: columns)
    lines = [line for byte in keys.encode() for line in editor.feed(bytes([byte]))]
    return lines, drawn[-1].removeprefix(ERASE)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("hello", "hello"),
        ("héé\x7f 日本", "hé 日本"),
        ("helo\x1b[Dl", "hello"),
        ("b\x01a\x05c", "abc"),
        ("b\x1b[Ha\x1b[Fc", "abc"),
        ("one two  \x17three", "one three"),
        ("gone\x15here", "here"),
        ("abc\x01\x1b[3~\x04", "c"),
        ("keep this\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x0b", "keep"),
        ("a\tb\x00\x1b[15~\x1bOPc", "a bc"),
        ("first\r\x1b[A!", "first!"),
        ("first\rsecond\r\x1b[A\x1b[A\x1b[A\x1b[B", "second"),
        ("first\r\x1b[A\x1b[Bnew", "new"),
    ],
)
def test_keys(keys: str, line: str) -> None:
    """The usual keys do what they do in a shell."""
    assert edited(keys + "\r")[0][-1] == line


def test_the_line_stays_in_its_row() -> None:
    """Of a long line that part is shown where the cursor is; wide characters take two columns."""
    assert edited("x" * 30 + "end", columns=20)[1] == "> " + "x" * 14 + "end"
    assert edited("日" * 10, columns=20)[1] == "> " + "日" * 8
    assert edited("ab\x01", columns=20)[1] == "> ab\x1b[2D"


def test_the_end_of_the_input() -> None:
    """Ctrl-D ends on an empty line only; so does a terminal that is gone."""
    editor = LineEditor(lambda text: None, lambda: 80)
    assert editor.feed(b"a\x04") == []
    assert not editor.ended
    assert editor.feed(b"\x7f\x04ignored\r") == []
    assert editor.ended
