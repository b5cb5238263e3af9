"""The chat in a terminal: what others say above, what is being typed below. Works with a pipe as its input, too.

Shape
    A thread reads the keyboard, because a file descriptor of a terminal or a pipe cannot be waited for everywhere; it
    hands what it reads to the loop through ``Channel.blocking()``. Two goroutines: one prints what happens, one does
    what is typed, so that waiting for an ack keeps nothing from being shown. Ctrl-C, Ctrl-D and ``/quit`` all end the
    same way: goodbye to the server, exit code 0.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import shutil
import signal
import sys
import threading
import time
import zlib
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Literal, TextIO, cast

import anyio

import gochan
from gochan import BlockingChannel, Channel, ChannelClosed, Group

from . import wire
from .client import GOODBYE, Client, GoAway, Message, Presence, Problem, Refused
from .client_framing import Disconnected
from .line_editor import LineEditor, LineSplitter

ROOM = "lobby"
HELP = "/who lists who is here, /quit (or Ctrl-D) leaves, //text says /text; everything else is said"
DIM, BOLD, RED, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[0m"
NAME_COLOURS = ("\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m", "\x1b[36m", "\x1b[92m", "\x1b[94m", "\x1b[95m")

# Control characters could move the cursor, set the title or worse; those that turn the direction of writing, and the
# separators that some terminals break a line at, could make one person's words look like another's.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """Somebody's text, fit to be printed: what is dangerous is shown as a replacement character."""
    return _UNSAFE.sub("\ufffd", text.replace("\r\n", "\n").replace("\t", " "))


class Screen:
    """What is printed, and the line that is being typed below it."""

    def __init__(self, output: TextIO, user: str, *, edit: bool) -> None:
        self._output = output
        self._user = user
        self.edit = edit
        self._colours = output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.input = LineEditor(self._write, lambda: shutil.get_terminal_size().columns) if edit else LineSplitter()

    def message(self, sender: str, body: str, seconds: float) -> None:
        name = safe(sender).replace("\n", " ")
        # Whoever writes several lines must not be able to invent somebody else's.
        text = safe(body).replace("\n", "\n      | ")
        colour = BOLD if sender == self._user else NAME_COLOURS[zlib.crc32(sender.encode()) % len(NAME_COLOURS)]
        self._print(f"{self._styled(DIM, _clock(seconds))} {self._styled(colour, name)}: {text}")

    def note(self, text: str, style: str = DIM) -> None:
        self._print(self._styled(style, f"{_clock(time.time())} * {safe(text)}"))

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{PLAIN}" if self._colours else text

    def _print(self, line: str) -> None:
        self.input.hide()
        self._write(line + "\n")
        self.input.show()

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(seconds))


# ---- the goroutines ----


async def _show(client: Client, screen: Screen) -> None:
    async for event in client.events:
        match event:
            case Message():
                screen.message(event.sender, event.body, event.sent_at)
            case Presence():
                for name in event.joined:
                    screen.note(f"{name} joined")
                for name in event.left:
                    screen.note(f"{name} left")
            case GoAway():
                if event.code != wire.Close.NORMAL:
                    screen.note(f"the server says goodbye: {event.reason}")
            case Problem():
                screen.note(event.text, RED)


async def _obey(client: Client, screen: Screen) -> None:
    """Do what is typed, one line after the other, until the end of the input or ``/quit``."""
    with Channel[bytes]() as typed:
        threading.Thread(target=_read_input, args=(typed.blocking(),), name="keyboard", daemon=True).start()
        while not screen.input.ended:
            value, ok = await typed.receive_ok()
            for line in screen.input.feed(value if ok and value is not None else b""):
                if line.strip() == "/quit":
                    return
                try:
                    await _do(client, screen, line)
                except Refused as error:
                    screen.note(f"refused: {error.text}", RED)
                except Disconnected:
                    return


async def _do(client: Client, screen: Screen, line: str) -> None:
    match line.strip():
        case "":
            return
        case "/help":
            screen.note(HELP)
        case "/who":
            screen.note("here: " + ", ".join(await client.who(ROOM)))
        case command if command.startswith("/") and not command.startswith("//"):
            screen.note(f"there is no {command.split()[0]}; /help lists what there is", RED)
        case text:
            body = text.removeprefix("/")
            if len(body) > wire.MAX_BODY:
                screen.note(f"not sent: longer than {wire.MAX_BODY} characters", RED)
            else:
                await client.say(ROOM, body)


def _read_input(typed: BlockingChannel[bytes]) -> None:
    # os.read, not sys.stdin: a thread that still holds the lock of a buffered reader makes the interpreter's end fail.
    try:
        try:
            while data := os.read(0, 65536):
                typed.send(data)
        except OSError:
            pass  # the terminal is gone
        typed.close()
    except (ChannelClosed, RuntimeError):
        pass  # the program has ended meanwhile


async def _talk(options: argparse.Namespace, screen: Screen) -> str | None:
    """The whole visit; what went wrong, if something did."""
    where = f"{options.host}:{options.port}"
    transport: Literal["tcp", "websocket"] = "tcp" if options.tcp else "websocket"
    failure: str | None = None
    async with AsyncExitStack() as stack:
        try:
            connecting = Client.connect(options.host, options.port, user=options.user, transport=transport)
            client = await stack.enter_async_context(connecting)
            members = await client.join(ROOM)
        except TimeoutError:
            failure = f"no answer from {where}"
        except Refused as error:
            failure = f"the server refuses: {error}"
        except Disconnected as error:
            failure = str(error)
        except OSError as error:
            failure = f"cannot connect to {where}: {_why(error)}"
        else:
            screen.note(f"you are in the {ROOM} of {where} with {_others(members, options.user)}; /help lists commands")
            failure = await _converse(client, screen)
    return failure


async def _converse(client: Client, screen: Screen) -> str | None:
    failure: str | None = None
    async with Group(errors="first") as group:
        showing = group.go(_show, client, screen)
        obeying = group.go(_obey, client, screen)
        await gochan.select(showing, obeying)
        if client.end is None:
            await client.bye()
            with anyio.move_on_after(GOODBYE):
                await showing.result()
        else:
            failure = str(client.end)
        group.cancel()
    return failure


def _others(members: list[str], user: str) -> str:
    others = [name for name in members if name != user]
    return ", ".join(others) if others else "nobody else"


def _why(error: OSError) -> str:
    cause: Any = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    while isinstance(cause, BaseExceptionGroup):  # one error for each address of the host
        cause = cast("Any", cause).exceptions[0]
    number = getattr(cause, "errno", None)  # the rest of the text is the event loop's own
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(cause)


async def _visit(options: argparse.Namespace, screen: Screen) -> str | None:
    failure: str | None = None
    async with Group(errors="first") as group:
        group.go(_until_signal, group, screen)
        failure = await _talk(options, screen)
        group.cancel()
    return failure


async def _until_signal(group: Group, screen: Screen) -> None:
    numbers = [signal.SIGINT, signal.SIGTERM]
    if screen.edit:
        numbers.append(signal.SIGCONT)
    try:
        with anyio.open_signal_receiver(*numbers) as signals:
            async for number in signals:
                if number in (signal.SIGINT, signal.SIGTERM):
                    group.cancel()
                else:  # back from Ctrl-Z: the shell has changed the terminal meanwhile
                    _take_keys()
                    screen.input.show()
    except NotImplementedError:
        pass  # asyncio on Windows: Ctrl-C is a KeyboardInterrupt there


def _take_keys() -> None:
    """The terminal gives every key at once, and does not show it by itself."""
    import termios
    import tty

    tty.setcbreak(0, termios.TCSADRAIN)


# ---- the program ----


@contextmanager
def _keys_taken(edit: bool) -> Generator[None, None, None]:
    if not edit:
        yield
        return
    import termios

    before = termios.tcgetattr(0)
    _take_keys()
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _can_edit() -> bool:
    return os.name == "posix" and os.isatty(0) and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.chat.client",
        description="Talk in the chat from a terminal.",
        epilog="Exit codes: 0 left, 1 no connection or lost it, 2 wrong usage. NO_COLOR turns colours off.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where the server is (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="its port (default: %(default)s)")
    parser.add_argument("--user", metavar="NAME", help="your name (default: the name of your account)")
    parser.add_argument("--tcp", action="store_true", help="JSON lines over TCP instead of WebSocket")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="(default: %(default)s)")
    options = parser.parse_args(argv)
    if options.user is None:
        try:
            options.user = getpass.getuser()
        except (KeyError, OSError):  # an account without a name
            options.user = "guest"
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    options = _options(argv)
    edit = _can_edit()
    output: Any = sys.stdout
    if hasattr(output, "reconfigure"):
        output.reconfigure(errors="replace")  # a terminal that knows fewer characters than people use
    screen = Screen(output, options.user, edit=edit)
    try:
        with _keys_taken(edit):
            try:
                failure = gochan.run(_visit, options, screen, backend=options.backend)
            except KeyboardInterrupt:
                failure = None
            finally:
                screen.input.hide()
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        return 1
    if failure is not None:
        print(safe(failure), file=sys.stderr)
    return 0 if failure is None else 1
