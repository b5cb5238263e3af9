"""Settings: every number the server may be told, from command-line flags or ``GOCHAT_*`` variables.

The dataclass is the single list: each field that has a ``flag(...)`` becomes a flag and a variable of the same name
(``--write-timeout``, ``GOCHAT_WRITE_TIMEOUT``), and its default is the documentation. Flags win over variables.
"""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import math
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PREFIX = "GOCHAT_"


def flag(default: Any, meaning: str, parse: Callable[[str], Any], *, metavar: str | None = None) -> Any:
    """A field of the settings that the command line shows."""
    return dataclasses.field(default=default, metadata={"help": meaning, "parse": parse, "metavar": metavar})


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError("a port is a number from 0 to 65535")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError("a number of seconds above 0")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 1_000_000:
        raise ValueError("a whole number from 1 to 1000000")
    return count


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= 1_000_000:
        raise ValueError("a number above 0, at most 1000000")
    return rate


def _slow(text: str) -> str:
    policy = text.replace("-", "_")
    if policy not in ("catchup", "disconnect", "drop_oldest", "drop_newest"):
        raise ValueError("catchup, disconnect, drop_oldest or drop_newest")
    return policy


def _outbox(text: str) -> int:
    size = int(text)
    if not 8 <= size <= 1_000_000:
        raise ValueError("a number of frames from 8 to 1000000")
    return size


def _bytes(text: str) -> int:
    size = int(text)
    if not 4096 <= size <= 1 << 30:
        raise ValueError("a number of bytes from 4096 to 1073741824")
    return size


def _memory(text: str) -> int:
    size = int(text)
    if not 1 << 20 <= size <= 1 << 40:
        raise ValueError("a number of bytes from 1048576 to 1099511627776")
    return size


def _fanout(text: str) -> str:
    if text not in ("direct", "queue"):
        raise ValueError("direct or queue")
    return text


def _node(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text):
        raise ValueError("1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-'")
    return text


def _format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("text or json")
    return text


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("debug, info, warning or error")
    return text.lower()


def _backend(text: str) -> str:
    if text not in ("asyncio", "trio"):
        raise ValueError("asyncio or trio")
    return text


def _yes(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("yes or no")


def _hook(text: str) -> str:
    from .webhook import Webhook  # here, as it is nothing of the settings

    if text:
        Webhook(text)
    return text


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one server behaves."""

    host: str = flag("127.0.0.1", "address to listen on; 0.0.0.0 is every interface", str)
    port: int = flag(8765, "port to listen on; 0 picks a free one", _port)
    backend: Literal["asyncio", "trio"] = flag("asyncio", "event loop: asyncio or trio", _backend)
    uvloop: bool = flag(False, "run asyncio on uvloop", _yes)
    allow_hosts: tuple[str, ...] = flag(
        (),
        "names, comma separated, under which browsers may reach this server besides localhost",
        _hosts,
        metavar="NAMES",
    )
    broker: str = flag(
        "",
        "redis://HOST:PORT of a Valkey or Redis: all servers that share one are one chat. A password is better given "
        "in the variable than in the flag, which every user of the machine can see",
        str,
        metavar="URL",
    )
    node: str = flag(
        "", "this server's name, like no other's of the same chat (default: its machine's name and a number)", _node
    )
    broker_timeout: float = flag(
        5.0, "seconds that a client's command may wait for the broker", _seconds, metavar="SECONDS"
    )
    data: str = flag("", "file that keeps the messages; without one they end with the server", str, metavar="FILE")
    history: int = flag(1000, "messages kept of each room, for who comes back", _count, metavar="MESSAGES")
    history_age: float = flag(86_400.0, "seconds for which they are kept", _seconds, metavar="SECONDS")
    history_bytes: int = flag(
        256 << 20,
        "bytes of memory for the messages of all rooms, the oldest go first; with --data or --broker they are kept "
        "there, without this bound",
        _memory,
        metavar="BYTES",
    )
    rooms: int = flag(100, "rooms that one connection may be in", _count)
    per_user: int = flag(100, "connections that one user may have", _count, metavar="CONNECTIONS")
    rate: float = flag(20.0, "commands a second that one connection may send", _rate, metavar="PER_SECOND")
    burst: int = flag(40, "commands that it may send at once", _count, metavar="COMMANDS")
    accept_rate: float = flag(500.0, "new connections a second", _rate, metavar="PER_SECOND")
    outbox: int = flag(256, "frames that may wait for one client", _outbox, metavar="FRAMES")
    outbox_bytes: int = flag(1 << 20, "bytes that may wait for one client", _bytes, metavar="BYTES")
    fanout: Literal["direct", "queue"] = flag(
        "direct",
        "how a message gets to a client whose writer sleeps: written at once (direct) or by the writer (queue)",
        _fanout,
    )
    slow: Literal["catchup", "disconnect", "drop_oldest", "drop_newest"] = flag(
        "catchup",
        "what happens to a client for whom more would wait: it gets the rest from the history later (catchup), is "
        "sent away (disconnect), or misses messages (drop_oldest, drop_newest)",
        _slow,
        metavar="POLICY",
    )
    max_size: int = flag(64 * 1024, "bytes in one message of a client", _bytes, metavar="BYTES")
    ping_interval: float = flag(25.0, "seconds between two pings to a client", _seconds, metavar="SECONDS")
    pong_timeout: float = flag(
        2.0, "least seconds for the answer; more where the connection is slow", _seconds, metavar="SECONDS"
    )
    notify: str = flag("", "URL that is told of every message by HTTP POST", _hook, metavar="URL")
    metrics: bool = flag(False, "show metrics at /metrics", _yes)
    debug: bool = flag(False, "show goroutines and channels at /debug, to this machine only", _yes)
    log_format: Literal["text", "json"] = flag("text", "log records as text or json", _format, metavar="FORMAT")
    log_level: str = flag("info", "least severe records to log: debug, info, warning, error", _level, metavar="LEVEL")
    log_file: str = flag("", "file for them, rotated as it grows, instead of stderr", str, metavar="FILE")
    otel: bool = flag(False, "make spans with the OpenTelemetry of this Python", _yes)
    sentry: str = flag("", "DSN of a Sentry to which errors are reported", str, metavar="DSN")
    hello_timeout: float = flag(10.0, "seconds a new client has to say hello", _seconds, metavar="SECONDS")
    write_timeout: float = flag(5.0, "seconds one write to a client may take", _seconds, metavar="SECONDS")
    drain_timeout: float = flag(
        10.0, "seconds the clients have to leave when the server stops", _seconds, metavar="SECONDS"
    )
    drain_spread: float = flag(
        2.0, "seconds over which they are asked to come back to the next server", _seconds, metavar="SECONDS"
    )

    # Not flags: nobody has a reason to change them but a test.
    accept_burst: int = 1000
    """New connections at once."""
    drain_batch: int = 500
    """Clients that are told goodbye at once …"""
    drain_pause: float = 0.1
    """… and seconds until the next ones are."""
    max_head: int = 16 * 1024
    """Bytes in the head of an HTTP request."""
    max_errors: int = 20
    """Refused messages in a row, after which a client is sent away."""
    batch: int = 64 * 1024
    """Bytes after which the writer starts another write."""
    send_buffer: int = 64 * 1024
    """Bytes that the kernel may hold for one client: slowness shows in the outbox instead."""
    linger: float = 1.0
    """Seconds for the client to hang up once it has been told goodbye."""

    @property
    def name(self) -> str:
        """The server's name among the nodes of its chat."""
        if self.node or not self.broker:
            return self.node or "local"
        machine = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:48]
        return f"{machine}-{os.getpid()}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def from_command_line(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that flags and variables ask for.

    Raises:
        SystemExit: 0 after ``--help``, 2 after a value that makes no sense, with the reason on stderr.
    """
    environ = os.environ if environ is None else environ
    parser = argparse.ArgumentParser(
        prog="python -m examples.chat",
        description="A chat server on gochan. One port speaks HTTP, WebSocket, and JSON lines or Protobuf over TCP.",
        epilog=(
            f"Every flag is also a variable: --hello-timeout is {PREFIX}HELLO_TIMEOUT. A flag wins. "
            "Ctrl-C or SIGTERM stops the server gently, a second one at once. "
            "Exit codes: 0 stopped, 1 could not start, 2 wrong usage."
        ),
    )
    fields = [field for field in dataclasses.fields(Settings) if "parse" in field.metadata]
    for field in fields:
        _add(parser, field)
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}
    values: dict[str, Any] = {}
    for field in fields:
        if field.name in given:
            values[field.name] = given[field.name]
            continue
        text = environ.get(variable := PREFIX + field.name.upper())
        if text is not None:
            try:
                values[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                parser.error(f"variable {variable}: {text!r}: {error}")
    settings = Settings(**values)
    if settings.broker and settings.data:
        parser.error("--data is for a server by itself: with --broker the messages are kept there")
    if settings.uvloop and settings.backend != "asyncio":
        parser.error("--uvloop is for --backend asyncio: trio has a loop of its own")
    return settings


def _add(parser: argparse.ArgumentParser, field: dataclasses.Field[Any]) -> None:
    name = "--" + field.name.replace("_", "-")
    meaning = field.metadata["help"]
    if field.type == "bool":
        parser.add_argument(name, action="store_const", const=True, help=meaning)
        return
    shown = "" if field.default in ((), "") else f" (default: {field.default})"
    parse = field.metadata["parse"]

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

    parser.add_argument(
        name, type=convert, metavar=field.metadata["metavar"] or field.name.upper(), help=meaning + shown
    )
