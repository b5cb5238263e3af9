"""What the cluster and its programs say, each line with the name of who says it."""

from __future__ import annotations

import os
import sys
from typing import Final, TextIO

_COLOURS: Final = (36, 33, 35, 32, 34, 31)
OURSELVES: Final = "cluster"


class Console:
    """Lines on stderr, in colours if that is a terminal that wants them."""

    def __init__(self, file: TextIO | None = None, *, width: int = len(OURSELVES)) -> None:
        self._file = sys.stderr if file is None else file
        self._coloured = self._file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._colours: dict[str, int] = {}
        self._width = width

    def line(self, name: str, text: str) -> None:
        """A line of this program."""
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            print(prefix, text, file=self._file, flush=True)
        except OSError:
            pass  # nobody listens any more: no reason to let the chat go down

    def say(self, text: str) -> None:
        """A line of our own."""
        self.line(OURSELVES, text)
