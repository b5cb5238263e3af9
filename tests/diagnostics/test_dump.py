"""``dump()``: Go's format."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest
from tests.diagnostics.looking import info, standing, turns

import gochan
import gochan.testing
from gochan.diagnostics import CreatedBy, Frame, GoroutineInfo, dump, goroutines
from gochan.diagnostics import _leaks as leaks_module
from gochan.diagnostics._dump import text_of

# Go's header (goroutineheader of runtime/traceback.go), without what only Go has: durable, locked to thread …
LABEL = r'(?:[A-Za-z0-9./_]+|"(?:[ !#-\[\]-~]|\\[nrt"\\]|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*")'
HEADER = re.compile(
    r"goroutine (?P<id>\d+) \[(?P<state>[A-Za-z][A-Za-z .]*?(?: \(no cases\))?)(?P<leaked> \(leaked\))?"
    rf"(?:, (?P<minutes>[1-9]\d*) minutes)?\](?: \{{(?P<labels>{LABEL}: {LABEL}(?:, {LABEL}: {LABEL})*)\}})?:"
)
FUNCTION = re.compile(r"(?P<function>\S.*)\(\.\.\.\)")
PLACE = re.compile(r"\t(?P<file>.+):(?P<line>\d+)")
ELIDED = re.compile(r"\.\.\.(?P<count>\d+) frames elided\.\.\.")
CREATED = re.compile(r"created by (?P<function>.+?)(?: in goroutine (?P<goroutine>\d+))?")


@dataclass
class Parsed:
    """One goroutine of a dump."""

    header: re.Match[str]
    frames: list[tuple[str, str, int]]
    elided: int = 0
    created: tuple[str, str | None] | None = None

    @property
    def labels(self) -> dict[str, str]:
        return dict(re.findall(rf"({LABEL}): ({LABEL})", self.header["labels"] or ""))


def parse(text: str) -> list[Parsed]:
    """A dump, by its grammar; nothing may be left over."""
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    return [parse_one(iter(block.split("\n"))) for block in text.removesuffix("\n").split("\n\n")]


def parse_one(lines: Iterator[str]) -> Parsed:
    header = HEADER.fullmatch(next(lines))
    assert header
    parsed = Parsed(header, [])
    for line in lines:
        assert parsed.created is None, "something after 'created by'"
        if elided := ELIDED.fullmatch(line):
            parsed.elided = int(elided["count"])
            continue
        place = PLACE.fullmatch(next(lines))
        assert place, line
        if created := CREATED.fullmatch(line):
            parsed.created = created["function"], created["goroutine"]
        else:
            function = FUNCTION.fullmatch(line)
            assert function, line
            parsed.frames.append((function["function"], place["file"], int(place["line"])))
    return parsed


def one(**changes: Any) -> GoroutineInfo:
    base = GoroutineInfo(
        id=7,
        name="worker",
        state="chan receive",
        waiting_on=("jobs",),
        since=0.0,
        stack=(Frame("server.worker", "/srv/server.py", 31), Frame("server.serve", "/srv/server.py", 40)),
        created_by=CreatedBy("server.main", "/srv/server.py", 12, 1),
        labels=(("chan", "jobs"), ("name", "worker")),
    )
    return replace(base, **changes)


# ---- the layout ----


def test_layout() -> None:
    """A header, two lines a frame, two for where it was made, and an empty line between goroutines."""
    main = one(id=1, name="main", state="running", labels=(), created_by=None, stack=one().stack[1:])
    assert text_of([main, one(since=301.0)], {7}) == (
        "goroutine 1 [running]:\n"
        "server.serve(...)\n"
        "\t/srv/server.py:40\n"
        "\n"
        "goroutine 7 [chan receive (leaked), 5 minutes] {chan: jobs, name: worker}:\n"
        "server.worker(...)\n"
        "\t/srv/server.py:31\n"
        "server.serve(...)\n"
        "\t/srv/server.py:40\n"
        "created by server.main in goroutine 1\n"
        "\t/srv/server.py:12\n"
    )


def test_nothing_to_dump() -> None:
    """No goroutines are an empty text."""
    assert text_of([]) == ""


@pytest.mark.parametrize(
    ("since", "shown"),
    [(0.0, ""), (59.999, ""), (60.0, ", 1 minutes"), (119.9, ", 1 minutes"), (3600.0, ", 60 minutes")],
)
def test_minutes_are_whole_and_at_least_one(since: float, shown: str) -> None:
    """Under a minute nothing is shown; then whole minutes, "1 minutes" too, as in Go."""
    assert text_of([one(since=since, labels=())]).startswith(f"goroutine 7 [chan receive{shown}]:\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("worker", "worker"),
        ("a/b.c_9", "a/b.c_9"),
        ("two words", '"two words"'),
        ("", '""'),
        ("main.<locals>.f", '"main.<locals>.f"'),
        ("a-b", '"a-b"'),
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("tab\tnew\nline\r", '"tab\\tnew\\nline\\r"'),
        ("\x00\x1b\x7f", '"\\x00\\x1b\\u007f"'),
        ("naïve", '"na\\u00efve"'),
        ("\N{GRINNING FACE}", '"\\U0001f600"'),
        ("}], {x: y}:", '"}], {x: y}:"'),
    ],
)
def test_labels_are_quoted_by_gos_rule(value: str, shown: str) -> None:
    """A label is bare if all of it is letters, digits, ".", "/" and "_"; otherwise it is quoted, in ASCII."""
    text = text_of([one(labels=(("name", value),))])
    assert text.startswith(f"goroutine 7 [chan receive] {{name: {shown}}}:\n")
    assert parse(text)[0].labels == {"name": shown}


def test_names_cannot_break_a_line() -> None:
    """A function or file whose name has a line break in it still takes one line."""
    (parsed,) = parse(text_of([one(stack=(Frame("m.f\nx", "/a\r\nb.py", 1),))]))
    assert parsed.frames == [("m.f\\nx", "/a\\r\\nb.py", 1)]


@pytest.mark.parametrize(("depth", "elided"), [(1, 0), (100, 0), (101, 1), (5000, 4900)])
def test_deep_stacks_are_elided_in_the_middle(depth: int, elided: int) -> None:
    """Of more than 100 frames the innermost and outermost 50 are shown, and how many are not."""
    frames = tuple(Frame(f"m.f{number}", "/m.py", number) for number in range(depth))
    (parsed,) = parse(text_of([one(stack=frames)]))
    assert parsed.elided == elided
    assert len(parsed.frames) == min(depth, 100)
    assert parsed.frames[0][0] == "m.f0"
    assert parsed.frames[-1][0] == f"m.f{depth - 1}"


def test_maker_that_is_not_known() -> None:
    """Without a number of who made it, that part is left out."""
    (parsed,) = parse(text_of([one(created_by=CreatedBy("m.f", "/m.py", 3, 0))]))
    assert parsed.created == ("m.f", None)


# ---- of a program ----


async def test_dump_of_a_program_follows_the_grammar() -> None:
    """Whatever a program does, its dump can be parsed, and says what ``goroutines`` says."""
    jobs, results = gochan.Channel[int](name="jobs"), gochan.Channel[str](name="all results")
    stop = gochan.Event()

    async def selecting() -> None:
        await gochan.select(jobs, gochan.send(results, "x"), stop)

    async def nested() -> None:
        async with gochan.Group() as group:
            group.go(stop.wait, name="child of\nnested")

    async def nothing() -> None:
        await gochan.select()

    async def deep(depth: int = 150) -> None:
        await (deep(depth - 1) if depth else stop.wait())

    async with standing(jobs.receive, selecting, nested, nothing, deep, anyio.sleep_forever) as started:
        text = dump()
        parsed = {int(found.header["id"]): found for found in parse(text)}
        infos = goroutines()
        assert list(parsed) == [one.id for one in infos]
        assert [found.header["state"] for found in parsed.values()] == [one.state for one in infos]
        assert not any(found.header["leaked"] for found in parsed.values())
        receiving, choosing, _, _, recursing, _ = (parsed[goroutine.id] for goroutine in started)
        assert receiving.labels == {"chan": "jobs", "name": "it"}
        assert choosing.labels == {"chan": '"jobs, all results"', "name": "it"}
        assert recursing.elided == 151 - 100
        assert any(found.labels.get("name") == '"child of\\nnested"' for found in parsed.values())
        for goroutine in started:
            made = info(goroutine).created_by
            assert made is not None
            assert parsed[goroutine.id].created == (made.function, str(made.goroutine))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_dump_of_main(backend: Any) -> None:
    """main is goroutine 1, comes first, and has neither labels nor a maker."""
    if backend == "trio":
        pytest.importorskip("trio", reason="trio is missing: pip install trio")

    async def main() -> str:
        gochan.go(anyio.sleep_forever, name="sleeper")
        await turns()
        return dump()

    first, second = parse(gochan.run(main, backend=backend, leaks="ignore"))
    assert first.header.string == "goroutine 1 [running]:"
    assert first.created is None
    assert first.frames[0][0].endswith("main")
    assert second.header.string == "goroutine 2 [sleep] {name: sleeper}:"
    assert second.created is not None
    assert second.created[1] == "1"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_minutes_are_those_of_the_loop(backend: Any) -> None:
    """Under virtual time five minutes pass at once, and show."""
    if backend == "trio":
        pytest.importorskip("trio", reason="trio is missing: pip install trio")

    async def main() -> str:
        jobs = gochan.Channel[int](name="jobs")
        gochan.go(jobs.receive, name="worker")
        sleeper = gochan.go(gochan.sleep, 1000, name="sleeper")
        await gochan.sleep(301)
        text = dump()
        jobs.send_nowait(1)
        sleeper.cancel()
        return text

    headers = [found.header.string for found in parse(gochan.testing.run(main, backend=backend))]
    assert headers == [
        "goroutine 1 [running]:",
        "goroutine 2 [chan receive, 5 minutes] {chan: jobs, name: worker}:",
        "goroutine 3 [sleep, 5 minutes] {name: sleeper}:",
    ]


async def test_waiting_for_a_goroutine_names_its_number() -> None:
    """The label "goroutine" is the number of the one that is waited for."""
    async with standing(anyio.sleep_forever) as (other,), standing(other.result) as (waiter,):
        (found,) = [parsed for parsed in parse(dump()) if parsed.header["id"] == str(waiter.id)]
        assert found.header["state"] == "goroutine wait"
        assert found.labels["goroutine"] == str(other.id)


async def test_file_gets_the_same_text() -> None:
    """``dump(file)`` also writes it there."""
    file = io.StringIO()
    assert dump(file) == file.getvalue() != ""


async def test_leaked_ones_are_marked_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "(leaked)" is what ``find_leaks`` found, and only with ``leaks=True``."""
    async with standing(gochan.Channel[int]().receive, anyio.sleep_forever) as (stuck, sleeper):
        monkeypatch.setattr(leaks_module, "find_leaks", lambda: [info(stuck)])
        assert "(leaked)" not in dump()
        marked = {int(found.header["id"]): bool(found.header["leaked"]) for found in parse(dump(leaks=True))}
        assert marked[stuck.id]
        assert not marked[sleeper.id]


async def test_leaks_are_those_that_find_leaks_finds() -> None:
    """Of two goroutines on channels, the one whose channel nobody else has is leaked."""
    held = gochan.Channel[int]()

    async def forgotten() -> None:
        await gochan.Channel[int]().receive()

    async with standing(forgotten, held.receive) as (lost, live):
        marked = {int(found.header["id"]): bool(found.header["leaked"]) for found in parse(dump(leaks=True))}
        assert marked[lost.id]
        assert not marked[live.id]


def test_outside_of_any_loop() -> None:
    """Without a loop there is nothing to dump, and the error says how to ask."""
    with pytest.raises(RuntimeError, match=r"from_thread\.run_sync"):
        dump()


def test_deadlock_shows_the_dump() -> None:
    """``Deadlock`` carries the goroutines; its text is Go's line, then the dump; it is no Exception."""
    error = gochan.diagnostics.Deadlock([one()], text_of([one()]))
    assert error.goroutines == [one()]
    assert str(error) == "all goroutines are asleep - deadlock!\n\n" + text_of([one()])
    assert not isinstance(error, Exception)
