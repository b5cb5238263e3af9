"""``dump``: all goroutines in Go's format, which Go's users and their tools read.

    goroutine 7 [chan receive (leaked), 5 minutes] {chan: jobs, name: worker}:
    server.worker(...)
            /srv/server.py:31
    created by server.main in goroutine 1
            /srv/server.py:12

A line of a stack is "function(...)", as Go prints a frame whose arguments it does not show; the next has a tab, the
file and the line. Labels are sorted by key, and quoted unless Go would leave them bare. Of a deep stack the innermost
and outermost 50 frames are shown, as in Go.

Prior art: Go's runtime/traceback.go, ``goroutineheader``; ``printquoted`` of print.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from ._goroutines import GoroutineInfo, goroutines

_BARE: Final = re.compile(r"[A-Za-z0-9./_]+")
_INNERMOST: Final = 50
_OUTERMOST: Final = 50
_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}


class Writable(Protocol):
    """What a dump is written to."""

    def write(self, text: str, /) -> object:
        """Take the text."""
        ...


def dump(file: Writable | None = None, *, leaks: bool = False) -> str:
    """All goroutines of the running loop in Go's format, main first.

    Args:
        file: also write it there.
        leaks: mark those that can never wake, as ``find_leaks`` finds them, with "(leaked)".

    Raises:
        RuntimeError: no event loop runs in this thread.

    Go: what a program prints on SIGQUIT; ``leaks`` is ``debug=2`` of its goroutine leak profile.

    Example:
        >>> import gochan, gochan.diagnostics
        >>> async def main() -> None:
        ...     print(gochan.diagnostics.dump().splitlines()[0])
        >>> gochan.run(main)
        goroutine 1 [running]:
    """
    leaked = frozenset[int]()
    if leaks:
        from ._leaks import find_leaks

        leaked = frozenset(info.id for info in find_leaks())
    text = text_of(goroutines(), leaked)
    if file is not None:
        file.write(text)
    return text


def text_of(infos: list[GoroutineInfo], leaked: AbstractSet[int] = frozenset()) -> str:
    """These goroutines in Go's format; ``leaked`` are the numbers of those to be marked."""
    return "\n".join("".join(f"{line}\n" for line in _lines(info, info.id in leaked)) for info in infos)


def _lines(info: GoroutineInfo, leaked: bool) -> Iterator[str]:
    yield _header(info, leaked)
    elided = len(info.stack) - _INNERMOST - _OUTERMOST
    for number, frame in enumerate(info.stack):
        if elided > 0 and _INNERMOST <= number < _INNERMOST + elided:
            if number == _INNERMOST:
                yield f"...{elided} frames elided..."
            continue
        yield f"{_line(frame.function)}(...)"
        yield f"\t{_line(frame.file)}:{frame.line}"
    made = info.created_by
    if made is not None:
        yield f"created by {_line(made.function)}" + (f" in goroutine {made.goroutine}" if made.goroutine else "")
        yield f"\t{_line(made.file)}:{made.line}"


def _header(info: GoroutineInfo, leaked: bool) -> str:
    state = info.state + (" (leaked)" if leaked else "")
    minutes = int(info.since // 60) if info.since >= 60 else 0
    if minutes:
        state += f", {minutes} minutes"
    labels = ", ".join(f"{_word(key)}: {_word(value)}" for key, value in info.labels)
    return f"goroutine {info.id} [{state}]{f' {{{labels}}}' if labels else ''}:"


def _word(text: str) -> str:
    return text if _BARE.fullmatch(text) else '"' + "".join(map(_escaped, text)) + '"'


def _line(text: str) -> str:
    """A name or path as it is, unless it would break the line."""
    return "".join(map(_escaped, text)) if "\n" in text or "\r" in text else text


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if " " <= char <= "~":
        return char
    return f"\\x{code:02x}" if code < 127 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
