"""A one-line editor for a terminal, so that messages can be printed while somebody types.

The terminal's own line editing (cooked mode) does not tell what has been typed so far, so a message that arrives would
be printed into the middle of it. Python's readline does know, but waits in a call of its own that only a thread could
make, and only ``os._exit`` could end. So the keys are taken one by one (cbreak mode), and the line is drawn again below
each message. It stays in one row: what does not fit is scrolled sideways, because erasing wrapped rows goes wrong as
soon as the window changes its width.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable

ERASE = "\r\x1b[K"
_KEY = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|\x1b[^\[O]|[^\x1b]", re.DOTALL)
_ACTIONS = {
    key: action
    for action, keys in {
        "left": ("\x1b[D", "\x1bOD", "\x02"),
        "right": ("\x1b[C", "\x1bOC", "\x06"),
        "up": ("\x1b[A", "\x1bOA", "\x10"),
        "down": ("\x1b[B", "\x1bOB", "\x0e"),
        "home": ("\x1b[H", "\x1bOH", "\x1b[1~", "\x01"),
        "end": ("\x1b[F", "\x1bOF", "\x1b[4~", "\x05"),
        "backspace": ("\x7f", "\x08"),
        "delete": ("\x1b[3~", "\x04"),
        "clear": ("\x15",),
        "rest": ("\x0b",),
        "word": ("\x17", "\x1b\x7f"),
    }.items()
    for key in keys
}
_HISTORY = 100


class LineSplitter:
    """Lines of a pipe or a file; the same face as the editor's."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self.ended = False

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete with this data; no data is the end, and completes the last one."""
        *lines, self._rest = (self._rest + self._decoder.decode(data, final=not data)).split("\n")
        if not data:
            self.ended = True
            lines += [self._rest] if self._rest else []
        return [line.removesuffix("\r") for line in lines]

    def hide(self) -> None:
        pass

    def show(self) -> None:
        pass


class LineEditor:
    """The line that somebody is typing."""

    def __init__(self, write: Callable[[str], object], columns: Callable[[], int], prompt: str = "> ") -> None:
        self._write = write
        self._columns = columns
        self.prompt = prompt
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._text = ""
        self._cursor = 0
        self._history: list[str] = []
        self._recalled = 0
        self.ended = False

    def feed(self, data: bytes) -> list[str]:
        """Take keys; the lines that they complete. Ctrl-D on an empty line, or no data at all, is the end."""
        if not data:
            self.ended = True
            return []
        keys = self._pending + self._decoder.decode(data)
        lines: list[str] = []
        end = 0
        while not self.ended and (match := _KEY.match(keys, end)):
            end = match.end()
            self._press(match[0], lines)
        self._pending = keys[end:][:32]  # the beginning of an escape sequence; none is longer
        self.show()
        return lines

    def hide(self) -> None:
        """Make room for something to print."""
        self._write(ERASE)

    def show(self) -> None:
        """Draw the line, which is as much of it as fits, with the cursor in sight."""
        room = max(self._columns() - _width(self.prompt) - 1, 8)
        start, end = self._cursor, self._cursor
        used = 0
        while start > 0 and used + _width(self._text[start - 1]) <= room:
            start -= 1
            used += _width(self._text[start])
        before = used
        while end < len(self._text) and used + _width(self._text[end]) <= room:
            used += _width(self._text[end])
            end += 1
        back = used - before
        self._write(ERASE + self.prompt + self._text[start:end] + (f"\x1b[{back}D" if back else ""))

    def _press(self, key: str, lines: list[str]) -> None:
        if key in "\r\n":
            lines.append(self._text)
            if self._text.strip():
                self._history = [*self._history, self._text][-_HISTORY:]
            self._recalled = len(self._history)
            self._set("")
        elif key == "\x04" and not self._text:
            self.ended = True
        elif action := _ACTIONS.get(key):
            self._act(action)
        elif key == "\t" or _printable(key):
            self._set(self._text[: self._cursor] + key.replace("\t", " "), self._text[self._cursor :])

    def _act(self, action: str) -> None:
        before, after = self._text[: self._cursor], self._text[self._cursor :]
        match action:
            case "left":
                self._cursor = max(self._cursor - 1, 0)
            case "right":
                self._cursor = min(self._cursor + 1, len(self._text))
            case "home":
                self._cursor = 0
            case "end":
                self._cursor = len(self._text)
            case "backspace":
                self._set(before[:-1], after)
            case "delete":
                self._set(before, after[1:])
            case "clear":
                self._set("", after)
            case "rest":
                self._set(before)
            case "word":
                self._set(re.sub(r"\S*\s*$", "", before), after)
            case _:
                self._recall(-1 if action == "up" else 1)

    def _recall(self, step: int) -> None:
        self._recalled = min(max(self._recalled + step, 0), len(self._history))
        self._set(self._history[self._recalled] if self._recalled < len(self._history) else "")

    def _set(self, before: str, after: str = "") -> None:
        self._text, self._cursor = before + after, len(before)


def _printable(key: str) -> bool:
    return unicodedata.category(key[0]) not in ("Cc", "Cs")


def _width(text: str) -> int:
    """How many columns a terminal takes for it; a good guess, as every terminal has its own."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
