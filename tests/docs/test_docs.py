"""The documentation's programs run on both backends and print what it says; its pages name everything public."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest
from tests.docs.blocks import ROOT, Program, difference, pages, programs, run, same

Backend = Literal["asyncio", "trio"]
DOCS = ROOT / "docs"
PROGRAMS = [program for path in pages() for program in programs(path)]
MODULES = ("gochan", "gochan.testing", "gochan.diagnostics")
REFERENCE = "\n".join(path.read_text("utf-8") for path in sorted((DOCS / "reference").glob("*.md")))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_programs_print_what_the_page_says(program: Program, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, on either backend."""
    for package in re.findall(r"^(?:from|import) (starlette)\b", program.text, re.MULTILINE):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {package}")
    printed = run(program, backend, monkeypatch)
    if program.output is not None:
        assert same(program.output, printed), difference(program, printed)
    elif program.path.parent != ROOT:  # a program whose output nobody is shown has none
        assert printed == "", difference(program, printed)


def test_there_are_programs() -> None:
    """On most pages, and most of them show what they print: a renamed fence must not make the tests above empty."""
    assert len(PROGRAMS) >= 50
    assert sum(program.output is not None for program in PROGRAMS) >= 0.7 * len(PROGRAMS)


def test_the_tutorial_has_seven_steps() -> None:
    """Each of which runs, and shows what it prints."""
    steps = sorted((DOCS / "tutorial").glob("[0-9]*.md"))
    assert len(steps) == 7
    for step in steps:
        assert any(program.output for program in programs(step)), step


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(module: str) -> None:
    """In a directive that reads its docstring."""
    directives = set(re.findall(r"^\.\. auto(?:class|exception|function):: ([\w.]+)", REFERENCE, re.MULTILINE))
    names = {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    if module == "gochan.diagnostics":  # what gochan re-exports stands there
        names = {name for name in names if name.replace(".diagnostics", "") not in directives}
    assert names - directives == set()


def test_the_reference_names_nothing_else() -> None:
    """And each name as what it is."""
    for kind, path in re.findall(r"^\.\. auto(class|exception|function):: ([\w.]+)", REFERENCE, re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert name in importlib.import_module(module).__all__, path
        value = getattr(importlib.import_module(module), name)
        error = inspect.isclass(value) and issubclass(value, BaseException)
        assert kind == ("exception" if error else "class" if inspect.isclass(value) else "function"), path


def links() -> Iterator[tuple[Path, str]]:
    for path in pages():
        text = re.sub(r"^(`{3,}).*?^\1", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        text = re.sub(r"`[^`\n]*`", "", text)
        for target in re.findall(r"\]\(([^)\s#]+)", text):
            if "://" not in target:
                yield path, target


def test_links_lead_to_files() -> None:
    """Inside the repository."""
    assert [(str(path), target) for path, target in links() if not (path.parent / target).exists()] == []


def test_every_page_is_in_the_tree() -> None:
    """Nobody finds a page that no table of contents has."""
    named = set[Path]()
    for path in pages():
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            for line in tree.splitlines():
                if line and not line.startswith(":"):
                    entry = re.sub(r".*<(.*)>", r"\1", line).strip()
                    named |= set(path.parent.glob(f"{entry}.md"))
    assert {path for path in pages() if path.name != "README.md"} - named == {DOCS / "index.md"}
