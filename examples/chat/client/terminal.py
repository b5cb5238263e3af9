"""The chat in a terminal: what others say above, what is being typed below. Works with a pipe as its input, too.

A thread reads the keyboard, because a file descriptor of a terminal or a pipe cannot be waited for everywhere; it hands
what it reads to the loop through ``Channel.blocking()``. Ctrl-C, Ctrl-D and ``/quit`` all end the same way: goodbye to
the server, exit code 0.
"""

from __future__ import annotations

import argparse
import getpass
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, cast

import anyio

import gochan
from gochan import Group

from .client import Client
from .events import Disconnected, Refused
from .screen import Screen, safe
from .visit import Visit, others


async def _talk(options: argparse.Namespace, screen: Screen) -> str | None:
    """The whole visit; what went wrong, if something did."""
    where = f"{options.host}:{options.port}"
    failure: str | None = None
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(
                Client.connect(
                    options.host,
                    options.port,
                    user=options.user,
                    transport="tcp" if options.tcp else "websocket",
                    format="protobuf" if options.protobuf else "json",
                    token=os.environ.get("CHAT_TOKEN"),
                    reconnect=not options.once,
                )
            )
            visit = Visit(client, screen, options.history)
            for room in options.room or ["lobby"]:
                joined = await visit.enter(room)
                company = others(joined.members, options.user)
                screen.note(f"you are in #{room} of {where} with {company}; /help lists commands")
        except TimeoutError:
            failure = f"no answer from {where}"
        except Refused as error:
            failure = f"the server refuses: {error}"
        except Disconnected as error:
            failure = str(error)
        except OSError as error:
            failure = f"cannot connect to {where}: {_why(error)}"
        except ImportError as error:
            failure = f"{error.name} is missing: pip install protobuf"
        else:
            failure = await visit.run()
    return failure


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


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.chat.client",
        description="Talk in the chat from a terminal.",
        epilog="Exit codes: 0 left, 1 no connection or lost it for good, 2 wrong usage. NO_COLOR turns colours off, "
        "CHAT_TOKEN is shown to servers that ask for one.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where the server is (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8765, help="its port (default: %(default)s)")
    parser.add_argument("--user", metavar="NAME", help="your name (default: the name of your account)")
    parser.add_argument("--room", action="append", help="a room to enter, may be repeated (default: lobby)")
    parser.add_argument("--history", type=_count, default=20, metavar="NUMBER",
                        help="how many earlier messages to show on entering (default: %(default)s)")  # fmt: skip
    parser.add_argument("--tcp", action="store_true", help="TCP instead of WebSocket")
    parser.add_argument("--protobuf", action="store_true", help="Protobuf instead of JSON; needs the package protobuf")
    parser.add_argument("--once", action="store_true", help="end when the connection is lost instead of mending it")
    parser.add_argument("--plain", action="store_true", help="plain lines, even where the package rich is installed")
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
    screen = Screen(output, options.user, edit=edit, plain=options.plain)
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
