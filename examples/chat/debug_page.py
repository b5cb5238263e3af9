"""The page /debug: what every goroutine does, how full every channel is, and what is stuck. No script, one style.

Shape
    Goroutines that stand at the same place in the same state are one row, as in Go's pprof: ten thousand idle sessions
    are three rows. Channels are found through the garbage collector; that takes a moment, on a page that is asked for
    by hand.

Invariants
    P1  Everything that is shown is escaped: names of channels and goroutines may hold what a user typed.
    P2  The page is bounded, however much there is: so many rows, so many places of a stack, so many letters.
    P3  Leaks are looked for only among ``FEW`` goroutines, or when that is asked for: the loop stands still meanwhile,
        for a good half of a millisecond each.

Why not a live page: it would need a script, and a policy that allows it. Reload is a key.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from gochan import Channel, GoroutineInfo, find_leaks, goroutines

FEW: Final = 500
_ROWS: Final = 200
_STACK: Final = 6
_LETTERS: Final = 160

_STYLE: Final = """
:root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif; }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 12px/1.4 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
meter { width: 8rem; }
.leaks { color: #b00020; }
@media (prefers-color-scheme: dark) { .leaks { color: #ff8a80; } }
"""


def debug_page(*, thorough: bool = False) -> bytes:
    """The page, as HTML, about the running loop.

    Args:
        thorough: whether to look for leaks however long that takes.
    """
    everything = goroutines()
    looked = thorough or len(everything) <= FEW
    leaks = find_leaks() if looked else []
    channels = live_channels()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>gochan chat: debug</title>",
        f"<style>{_STYLE}</style><h1>debug</h1>",
        f"<p>Process {os.getpid()}, {len(everything)} goroutines, {len(channels)} channels, ",
        f"{len(leaks)} leaks.</p>" if looked else '<a href="?leaks">look for leaks</a> (the chat stands still).</p>',
    ]
    if leaks:
        parts.append('<h2 class="leaks">Leaks: goroutines that can never wake</h2>')
        parts.append(_goroutine_table(leaks))
    parts += ["<h2>Goroutines</h2>", _goroutine_table(everything)]
    parts += ["<h2>Channels</h2>", _channel_table(channels), "</html>\n"]
    return "".join(parts).encode(errors="replace")


def live_channels() -> list[Channel[Any]]:
    """Every channel of this process, the fullest first."""
    found: list[Channel[Any]] = [thing for thing in gc.get_objects() if type(thing) is Channel]
    return sorted(found, key=lambda channel: (-_fill(channel), -len(channel), channel.name or ""))


def _fill(channel: Channel[Any]) -> float:
    return len(channel) / channel.capacity if channel.capacity else 0.0


def _goroutine_table(infos: Sequence[GoroutineInfo]) -> str:
    """One row for each name, state and place."""
    together: dict[object, list[GoroutineInfo]] = {}
    for info in infos:
        place = info.stack[0] if info.stack else None
        together.setdefault((info.name.split(" ")[0], info.state, place), []).append(info)
    rows = [_goroutine_row(same) for same in sorted(together.values(), key=len, reverse=True)]
    head = "<th class=number>How many<th>Name<th>State<th>Waits for<th class=number>Seconds<th>Stands at<th>Made by"
    return _table(head, rows)


def _goroutine_row(same: Sequence[GoroutineInfo]) -> str:
    first = same[0]
    names = _several(info.name for info in same)
    waits = _several(name for info in same for name in info.waiting_on)
    stack = "\n".join(f"{frame.function} {_short(frame.file)}:{frame.line}" for frame in first.stack[:_STACK])
    if len(first.stack) > _STACK:
        stack += f"\n… {len(first.stack) - _STACK} more"
    made = first.created_by
    origin = "" if made is None else f"{made.function} {_short(made.file)}:{made.line}"
    longest = max(info.since for info in same)
    return (
        f"<td class=number>{len(same)}<td>{_text(names)}<td>{_text(first.state)}<td>{_text(waits)}"
        f"<td class=number>{longest:.1f}<td><code>{_text(stack, 4000)}</code><td><code>{_text(origin)}</code>"
    )


def _channel_table(channels: Sequence[Channel[Any]]) -> str:
    head = "<th>Name<th>Fill<th class=number>Waiting<br>senders<th class=number>receivers" + "".join(
        f"<th class=number>{word}" for word in ("Sent", "Received", "Dropped", "")
    )
    return _table(head, [_channel_row(channel) for channel in channels])


def _channel_row(channel: Channel[Any]) -> str:
    now = channel.statistics()
    fill = f"{now.buffered}/{now.capacity}"
    if 0 < now.capacity < float("inf"):
        # Full is bad, half full is not: browsers paint a meter by these.
        fill = f"<meter max={now.capacity} high={now.capacity * 0.8:g} value={now.buffered}></meter> {fill}"
    numbers = (now.senders_waiting, now.receivers_waiting, now.sent, now.received, now.dropped)
    cells = "".join(f"<td class=number>{number}" for number in numbers)
    return f"<td>{_text(channel.name or '')}<td>{fill}{cells}<td>{'closed' if now.closed else ''}"


def _table(head: str, rows: Sequence[str]) -> str:
    shown = "".join(f"<tr>{row}" for row in rows[:_ROWS])
    more = f"<p>… and {len(rows) - _ROWS} more rows.</p>" if len(rows) > _ROWS else ""
    return f"<table><tr>{head}{shown}</table>{more}"


def _several(names: Iterable[str]) -> str:
    counted = Counter(names)
    shown = ", ".join(name for name, _ in counted.most_common(3))
    return shown if len(counted) <= 3 else f"{shown}, … {len(counted) - 3} more"


def _short(file: str) -> str:
    return "/".join(file.replace("\\", "/").rsplit("/", 2)[-2:])


def _text(text: str, longest: int = _LETTERS) -> str:
    return escape(text if len(text) <= longest else f"{text[:longest]}…")  # P1, P2
