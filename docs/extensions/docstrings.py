"""Turns the house's docstrings into the field lists that Sphinx lays out.

A docstring has sections in a fixed order (tests/test_docstrings.py): Args, Returns, Raises, Cancellation, Fairness, Go,
Example. napoleon knows the first three and the last, but not headings whose text begins on the same line, so this does
all of them. Classes that only the library makes are shown without the arguments of their constructors.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

SECTION = re.compile(r"(Args|Returns|Raises|Cancellation|Fairness|Go|Example):(?: (.*))?$")
ITEM = re.compile(r"(\*?\w[\w., ]*?): (.*)$")


MADE_BY_THE_LIBRARY = {
    *("BlockingChannel", "Case", "Context", "CancelContext", "Goroutine", "GoroutineInfo", "Reservation", "Signal"),
    *("Subscription", "ChannelStatistics", "BroadcastStatistics", "Counts", "Frame", "CreatedBy", "Flight"),
    *("CancelOutcome", "CancelPoint", "SweepReport", "Report", "Linearizable", "Counterexample", "Unknown"),
    *("SendChannel", "ReceiveChannel", "Selectable"),
}


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}


def signature(
    _app: object, what: str, name: str, _obj: object, _options: object, text: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Leave a constructor's arguments out where nobody calls it."""
    hidden = what == "exception" or (what == "class" and name.rpartition(".")[2] in MADE_BY_THE_LIBRARY)
    return ("" if hidden and text is not None else text, returns)


def process(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Change a docstring's lines in place."""
    lines[:] = list(converted(lines))


def converted(lines: list[str]) -> Iterator[str]:
    """The lines as Sphinx wants them: text, then one field for each thing that is said."""
    number = 0
    while number < len(lines):
        heading = SECTION.match(lines[number])
        if heading is None:
            yield lines[number]
            number += 1
            continue
        title, first = heading[1], heading[2] or ""
        body, number = block(lines, number + 1, indented=not first)
        match title:
            case "Args":
                yield from items("param", body)
            case "Raises":
                yield from items("raises", body)
            case "Returns":
                yield from field("returns", [first, *body])
            case "Example":
                yield from ["", ".. rubric:: Example", "", *body, ""]
            case _:
                yield from field(title, [first, *body])


def block(lines: list[str], number: int, *, indented: bool) -> tuple[list[str], int]:
    """What belongs to a heading: up to the next one, or to the end of its indented block or paragraph."""
    found: list[str] = []
    while number < len(lines):
        line = lines[number]
        if SECTION.match(line) or (not line.strip() and not indented):
            break
        if indented and line.strip() and not line.startswith(" "):
            break
        found.append(line)
        number += 1
    while found and not found[-1].strip():
        found.pop()
    return textwrap.dedent("\n".join(found)).splitlines(), number


def items(role: str, body: list[str]) -> Iterator[str]:
    """``name: text`` with continuation lines, each as a field of its own."""
    names, text = "", list[str]()
    for line in [*body, "end: "]:
        item = None if line.startswith(" ") else ITEM.match(line)
        if item is None:
            text.append(line.strip())
            continue
        for name in filter(None, names.split(", ")):
            yield from field(f"{role} {name.replace('*', chr(92) + '*')}", text)
        names, text = item[1], [item[2]]


def field(name: str, text: list[str]) -> Iterator[str]:
    """One field, apart from the paragraph before it."""
    first, *rest = [line.strip() for line in text if line.strip()] or [""]
    yield from ["", f":{name}: {first}", *(f"    {line}" for line in rest), ""]
