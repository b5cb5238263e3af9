"""Waits of other libraries that can be told apart: time, input and output, and a mere turn of the loop.

Their functions are known by their code objects, found by name once their module is loaded; a name that another
version of the library does not have is left out, and its waits are "await" then.
"""

from __future__ import annotations

import math
import sys
from types import CodeType, FrameType
from typing import Any, Final

from ._coroutines import attribute, frame_of

_SOCKET: Final = (
    "sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into",
    "sock_sendall", "sock_sendto",
)  # fmt: skip

_NAMES: Final[dict[str, dict[str, str]]] = {
    "asyncio.tasks": {"sleep": "sleep", "__sleep0": "runnable"},
    "asyncio.streams": {"StreamReader._wait_for_data": "IO wait", "FlowControlMixin._drain_helper": "IO wait"},
    "asyncio.selector_events": {f"BaseSelectorEventLoop.{name}": "IO wait" for name in _SOCKET},
    "asyncio.proactor_events": {f"BaseProactorEventLoop.{name}": "IO wait" for name in _SOCKET},
    "anyio._backends._asyncio": {
        f"{kind}.{name}": "IO wait"
        for kind, names in {
            "AsyncIOBackend": ("wait_readable", "wait_writable"),
            "StreamReaderWrapper": ("receive",),
            "StreamWriterWrapper": ("send",),
            "SocketStream": ("receive", "send"),
            "UNIXSocketStream": ("receive", "send", "receive_fds", "send_fds"),
            "TCPSocketListener": ("accept",),
            "UNIXSocketListener": ("accept",),
            "UDPSocket": ("receive", "send"),
            "ConnectedUDPSocket": ("receive", "send"),
            "UNIXDatagramSocket": ("receive", "send"),
            "ConnectedUNIXDatagramSocket": ("receive", "send"),
        }.items()
        for name in names
    },
    "trio": {
        "sleep": "sleep",
        "sleep_until": "sleep",
        "sleep_forever": "sleep",
        "lowlevel.wait_readable": "IO wait",
        "lowlevel.wait_writable": "IO wait",
        "lowlevel.wait_overlapped": "IO wait",
        "lowlevel.readinto_overlapped": "IO wait",
        "lowlevel.write_overlapped": "IO wait",
        "lowlevel.monitor_kevent": "IO wait",
        "lowlevel.checkpoint": "runnable",
        "lowlevel.cancel_shielded_checkpoint": "runnable",
    },
}

_words: Final = dict[CodeType, str]()
_looked_at: Final = set[str]()


def foreign_word(links: list[Any]) -> tuple[str, FrameType | None]:
    """The state word of a chain of awaits that gochan did not suspend, and the frame that gave it."""
    for module in _NAMES.keys() - _looked_at:
        if module in sys.modules:
            _looked_at.add(module)
            _look_at(module)
    for link in reversed(links):
        frame = frame_of(link)
        if frame is not None and frame.f_code in _words:
            return _words[frame.f_code], frame
        if attribute(link, "__name__") in _SOCKET and _is_of_uvloop(link):
            return "IO wait", None
    return "await", None


def _is_of_uvloop(link: object) -> bool:
    file = attribute(attribute(link, "cr_code"), "co_filename")
    return isinstance(file, str) and file.startswith("uvloop/")


def _look_at(module: str) -> None:
    for name, word in _NAMES[module].items():
        found: Any = sys.modules[module]
        for part in name.split("."):
            found = getattr(found, part, None)
        code = getattr(getattr(found, "__func__", found), "__code__", None)
        if isinstance(code, CodeType):
            _words[code] = word


def asleep_since(links: list[Any]) -> float | None:
    """The time of the loop at which a sleep began, from what the sleeping function knows."""
    deadline: float | None = None
    for link in reversed(links):
        frame = frame_of(link)
        if frame is None or _words.get(frame.f_code) != "sleep":
            continue
        names = frame.f_locals
        timer = names.get("h")
        if timer is not None and "delay" in names:  # asyncio.sleep
            return _finite(timer.when() - names["delay"])
        if "deadline" in names:  # trio.sleep_until, inside trio.sleep
            deadline = names["deadline"]
        elif "seconds" in names and deadline is not None:
            return _finite(deadline - names["seconds"])
    return None


def _finite(time: float) -> float | None:
    return time if math.isfinite(time) else None  # sleep(inf) began at any time
