"""The docstrings: there is one for every public name, it has the house's sections, and its examples run."""

from __future__ import annotations

import doctest
import functools
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import gochan

SECTIONS = ("Args", "Returns", "Raises", "Cancellation", "Fairness", "Go", "Example")  # in this order

# Protocols describe what others do; what is promised stands at those who do it.
PROTOCOLS = {"SendChannel", "ReceiveChannel", "Selectable"}
# Async only because anyio says so: they do not wait, so there is nothing to be fair about.
NEVER_WAITS = {"Broadcast.aclose", "Channel.aclose", "Channel.send_eof"}
# Waiting for a time is not a queue.
NO_QUEUE = {"sleep"}


def documented() -> Iterator[tuple[str, Any]]:
    """Every public name of the package, and the public members of its classes."""
    for name in gochan.__all__:
        value = getattr(gochan, name)
        yield name, value
        if inspect.isclass(value):
            for member in vars(value):
                found = inspect.getattr_static(value, member)
                if not member.startswith("_") and (inspect.isroutine(found) or isinstance(found, property)):
                    yield f"{name}.{member}", found


NAMES = dict(documented())
OPERATIONS = {
    name: value
    for name, value in NAMES.items()
    if inspect.iscoroutinefunction(value) and name.split(".")[0] not in PROTOCOLS
}
EXAMPLES = [name for name, value in NAMES.items() if ">>>" in (inspect.getdoc(value) or "")]


def sections(text: str) -> list[str]:
    """The headings of a docstring, in their order."""
    found = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
    return [heading for heading in found if heading in SECTIONS]


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring(name: str) -> None:
    """Of its own, whose first line is a sentence that fits in one line."""
    text = NAMES[name].__doc__
    assert text, f"{name} has no docstring"
    first = text.strip().splitlines()[0]
    assert first[0].isupper() or first.startswith("``"), first
    assert first.endswith((".", ":")), first


@pytest.mark.parametrize("name", NAMES)
def test_sections_stand_in_their_order(name: str) -> None:
    """Once each, so that a reader finds them."""
    found = sections(inspect.getdoc(NAMES[name]) or "")
    assert found == sorted(found, key=SECTIONS.index)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_say_what_a_cancellation_does(name: str) -> None:
    """Also who is served first, and what it is in Go."""
    found = sections(inspect.getdoc(OPERATIONS[name]) or "")
    if name in NEVER_WAITS:
        return
    assert "Cancellation" in found
    assert "Go" in found
    assert "Fairness" in found or name in NO_QUEUE


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_show_an_example(name: str) -> None:
    """One that can be run."""
    assert name in EXAMPLES or name in NEVER_WAITS or name == "Group.go_when_free"  # the class shows go


@pytest.mark.parametrize("name", NAMES)
def test_what_raises_says_so(name: str) -> None:
    """A ``raise`` in the function itself has its error under ``Raises``."""
    value = NAMES[name]
    if not inspect.isfunction(value) or name.split(".", maxsplit=1)[0] in PROTOCOLS:
        return
    raised = set(re.findall(r"^\s+raise (?:anyio\.)?([A-Z]\w+)", inspect.getsource(value), flags=re.MULTILINE))
    text = inspect.getdoc(value) or ""
    listed = text.partition("Raises:")[2]
    # A TypeError for what the type checker finds needs no line of its own.
    assert [error for error in sorted(raised - {"TypeError"}) if error not in listed] == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_run(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, with the output they show; and on the other backend as well."""
    monkeypatch.setattr(gochan, "run", functools.partial(gochan.run, backend=backend))
    text = inspect.getdoc(NAMES[name]) or ""
    # An example is text for doctest: what follows an indented block may be the next heading.
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert test.examples
    output = list[str]()
    result = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert result.failed == 0, "".join(output)


def test_there_are_examples() -> None:
    """A renamed convention must not make the tests above empty."""
    assert len(EXAMPLES) >= 10
    assert len(OPERATIONS) >= 10
