"""The programs in Markdown files, and how they are run.

A block that is marked ``python`` is a program. A block marked ``text`` right after it is what it prints (``...`` stands
for anything). Before it, in an HTML comment, may stand

* ``virtual time``: ``gochan.run`` is ``gochan.testing.run`` there, so nothing is waited for;
* ``continues``: it uses the names of the block before it on that page.

A block that awaits outside a function, or imports nothing, is the body of a main function that has all names of gochan;
it runs in virtual time. Test functions in a block are run, too, each in virtual time. A block may end with an error, if
the output says which, as ``Name: text`` in its last lines, or else a comment in the block, ``# Name: …``.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import functools
import inspect
import io
import itertools
import linecache
import re
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

import gochan
import gochan.testing

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<ticks>`{3,})(?P<language>[\w-]+)[^\n]*\n(?P<text>.*?)^(?P=ticks)[ ]*$", re.DOTALL | re.MULTILINE
)
MARK = re.compile(r"<!--\s*(virtual time|continues)\s*-->\s*\Z")


@dataclass(frozen=True)
class Program:
    """One block, and what it should print."""

    path: Path
    line: int
    text: str
    output: str | None
    mark: str | None
    before: Program | None = None

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def programs(path: Path) -> Iterator[Program]:
    """All of a page."""
    page = path.read_text("utf-8")
    fences = list(FENCE.finditer(page))
    before: Program | None = None
    for fence, following in itertools.zip_longest(fences, fences[1:]):
        if fence["language"] != "python":
            continue
        output = None
        if following and following["language"] == "text" and not page[fence.end() : following.start()].strip():
            output = following["text"]
        mark = MARK.search(page, 0, fence.start())
        line = page.count("\n", 0, fence.start()) + 1
        kind = mark[1] if mark else None
        before = Program(path, line, fence["text"], output, kind, before if kind == "continues" else None)
        yield before


def pages() -> Iterator[Path]:
    """Every page of the site, and the README."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def run(program: Program, backend: Literal["asyncio", "trio"], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run it there; what it printed, and how it ended if that was an error."""
    chain = [program]
    while chain[0].before is not None:
        chain.insert(0, chain[0].before)
    virtual = functools.partial(gochan.testing.run, backend=backend)
    real = virtual if any(part.mark == "virtual time" for part in chain) else gochan.run
    for name in ("run", "explore"):
        tool = functools.partial(getattr(gochan.testing, name), backend=backend)
        monkeypatch.setattr(gochan.testing, name, tool)
    monkeypatch.setattr(gochan, "run", without(real, backend))
    module = types.ModuleType("example")
    module.__file__ = "example.py"
    monkeypatch.setitem(sys.modules, "example", module)
    text = ""
    for part in chain:  # the last one's output counts
        printed = io.StringIO()
        error = None
        with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", gochan.LeakWarning)
            try:
                execute(part, module, virtual)
            except (Exception, gochan.Deadlock) as raised:
                error = raised
        text = printed.getvalue() + "".join(f"LeakWarning: {warning.message}\n" for warning in caught)
        if error is not None:
            name = type(error).__name__
            if name not in last_error(part):
                raise error
            text += f"{name}: {error}\n"
    return text


def without(real: Any, backend: str) -> Any:
    """``gochan.run`` on this backend, also where the block names one."""

    def run(*args: Any, **options: Any) -> Any:
        if real is not gochan_run:
            options.pop("leaks", None)
        return real(*args, **{**options, "backend": backend})

    return run


gochan_run = gochan.run


def execute(program: Program, module: types.ModuleType, virtual: Any) -> None:
    """Run one block in the namespace of a module."""
    name = "example.py"
    linecache.cache[name] = (len(program.text), None, program.text.splitlines(keepends=True), name)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(program.text, name, "exec", flags=flags, dont_inherit=True)
    space = vars(module)
    if code.co_flags & inspect.CO_COROUTINE or not re.search(r"^(?:from|import) ", program.text, re.MULTILINE):
        space.update({key: getattr(gochan, key) for key in gochan.__all__ if key not in space})

        async def main() -> None:
            running = eval(code, space)
            if running is not None:
                await running

        virtual(main)
    else:
        exec(code, space)
    for key, value in list(space.items()):
        if key.startswith("test_") and key in code.co_names:
            if inspect.iscoroutinefunction(value):
                virtual(value)
            else:
                value()


def last_error(program: Program) -> str:
    """Where a block says that it ends with an error."""
    announced = "\n".join(re.findall(r"^(\w+):", program.output or "", re.MULTILINE))
    return announced + "\n".join(re.findall(r"# (\w+): ", program.text))


def same(expected: str, printed: str) -> bool:
    """Whether that was printed; ``...`` stands for anything."""
    return doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)


def difference(program: Program, printed: str) -> str:
    """For people."""
    return f"{program} should print\n{program.output}\nand printed\n{printed}"
