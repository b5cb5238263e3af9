"""What is printed, and the line that is being typed below it."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from typing import TextIO

from .line_editor import LineEditor, LineSplitter
from .looks import Look, choose

# Control characters could move the cursor, set the title or worse; those that turn the direction of writing, and the
# separators that some terminals break a line at, could make one person's words look like another's.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """Somebody's text, fit to be printed: what is dangerous is shown as a replacement character."""
    return _UNSAFE.sub("\ufffd", text.replace("\r\n", "\n").replace("\t", " "))


def one_line(text: str) -> str:
    """The same where it must stay in its line."""
    return safe(text).replace("\n", " ")


class Screen:
    """The terminal, or the pipe."""

    def __init__(self, output: TextIO, user: str, *, edit: bool, plain: bool = False) -> None:
        self.edit = edit
        self._output = output
        self._user = user
        self._look: Look = choose(output, plain=plain)
        self.input = LineEditor(self._write, lambda: shutil.get_terminal_size().columns) if edit else LineSplitter()

    def prompt(self, room: str, state: str = "") -> None:
        """Say where what is typed goes to, and how the connection is."""
        if isinstance(self.input, LineEditor):
            place = f"#{room}" if room else "nowhere"
            self.input.prompt = f"{place} ({state})> " if state else f"{place}> "
            self.input.show()

    def message(self, room: str, sender: str, body: str, seconds: float) -> None:
        self.input.hide()
        self._look.message(_clock(seconds), room, one_line(sender), safe(body), own=sender == self._user)
        self.input.show()

    def note(self, text: str, *, bad: bool = False) -> None:
        self.input.hide()
        self._look.note(_clock(time.time()), safe(text), bad=bad)
        self.input.show()

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        self.input.hide()
        self._look.table(one_line(title), [(one_line(left), one_line(right)) for left, right in rows])
        self.input.show()

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(seconds))
