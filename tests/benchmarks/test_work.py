"""The work itself, once and small: every suite's workloads run on every backend, and the probes find what they must."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks import progress
from benchmarks.fanout import fan_out
from benchmarks.go_names import NAMES
from benchmarks.go_names_sync import SYNC_NAMES
from benchmarks.growing import GROWING, carry_out
from benchmarks.harness import Backend, BackendName
from benchmarks.peers import ANYIO, GOCHAN, PEERS, QUEUE, TRIO, Line, Peer
from benchmarks.plan import Run
from benchmarks.plan import carry_out as carry_out_suite
from benchmarks.promises import PROBES, finding, lost_in_flow
from benchmarks.race import race
from benchmarks.suites import SUITES
from benchmarks.suites.channels import CAPACITIES, SHAPES
from benchmarks.workloads import flow

LOOPS: tuple[BackendName, ...] = ("asyncio", "trio")


@pytest.fixture(scope="module", params=LOOPS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with Backend(request.param) as backend:
        yield backend


@pytest.mark.parametrize("name", NAMES | SYNC_NAMES)
def test_go_names(backend: Backend, name: str) -> None:
    """Every benchmark of Go's names runs to its end and takes time."""
    assert backend.turn((NAMES | SYNC_NAMES)[name], 100) > 0


@pytest.mark.parametrize("peer", [GOCHAN, QUEUE, ANYIO, TRIO], ids=lambda peer: peer.name)
def test_flow(backend: Backend, peer: Peer) -> None:
    """Every shape at every capacity that a peer can do."""
    for capacity in CAPACITIES:
        if peer.refuses(backend.name, capacity) is None:
            for producers, consumers in SHAPES.values():
                work = flow(peer, capacity, producers, consumers, on_trio=backend.name == "trio")
                assert backend.turn(work, 100) > 0


@pytest.mark.parametrize("what", GROWING)
def test_growing(what: str) -> None:
    """What grows is measured so often as is asked, for every contender."""
    for (_, name), work in GROWING[what].items():
        times = carry_out(name, work, 10, 2)
        assert len(times) == 2
        assert all(time > 0 for time in times)


def test_fan_out(backend: Backend) -> None:
    """In both ways of a fan-out every message reaches everybody."""
    for synchronous in (0, None):
        found = backend.run(lambda synchronous=synchronous: fan_out(GOCHAN, synchronous, 1))  # type: ignore[misc]
        assert found.latency > 0
        assert found.rate > 0


class LeakyQueue(asyncio.Queue[int]):
    """Swallows every hundredth value."""

    count = 0

    async def put(self, item: int) -> None:
        self.count += 1
        if self.count % 100:
            await super().put(item)
        else:
            await super().put(-1)


def test_peer_that_loses_items_is_not_timed() -> None:
    """The count of items under the workload finds who loses some."""

    async def close() -> None:
        pass

    def ends(queue: LeakyQueue) -> Line:
        return Line(queue.put, queue.get, close, queue.put_nowait, queue.get_nowait)

    leaky = Peer("leaky", "asyncio", LeakyQueue, ends)
    assert lost_in_flow(QUEUE, "asyncio") is None
    assert lost_in_flow(leaky, "asyncio") == "not every item arrived once: NO: 10 of 1,000 lost, 9 twice"


class ForgetfulQueue(asyncio.Queue[int]):
    """Hands a value straight to who waits, who drops it when cancelled before it has run."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.waiting: asyncio.Future[int] | None = None

    async def get(self) -> int:
        if not self.empty():
            return self.get_nowait()
        self.waiting = asyncio.get_running_loop().create_future()
        return await self.waiting

    def put_nowait(self, item: int) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(item)
        else:
            super().put_nowait(item)


def test_promises_are_found_out() -> None:
    """The probes pass gochan, and find who loses items of cancelled receivers, or takes two in a select."""
    assert {finding(GOCHAN, promise) for promise in PROBES} == {"yes"}
    assert finding(QUEUE, "keeps items of cancelled receivers") == "yes"
    assert finding(QUEUE, "a select takes one") == "NO: takes 2"
    assert finding(QUEUE, "unbuffered") == "no"
    assert finding(TRIO, "every item once") == "not on asyncio"
    forgetful = replace(QUEUE, name="forgetful", make=ForgetfulQueue)
    assert finding(forgetful, "keeps items of cancelled receivers") == "NO: 100 of 100 lost"
    assert finding(forgetful, "… of timed-out ones").startswith("NO: ")
    assert finding(forgetful, "a select takes one") == "no select"


def test_race_rotates_and_counts() -> None:
    """Every contender has a time for each round, in an order that moves on."""
    order: list[str] = []

    def contender(name: str) -> object:
        async def work(n: int) -> float:
            order.append(name)
            return n * 1e-5

        return work

    with Backend("asyncio") as backend:
        found = race(backend, {"a": contender("a"), "b": contender("b")}, 4)  # type: ignore[dict-item]
    assert {name: len(times) for name, times in found.items()} == {"a": 4, "b": 4}
    assert found["a"] == pytest.approx([1e4] * 4)
    assert order[-8:] == ["a", "b", "b", "a", "a", "b", "b", "a"]


def test_every_suite_has_a_plan() -> None:
    """Suites can be planned without running, with all peers and with none; tables have names of their own."""
    installed = tuple(peer for peer in PEERS if peer.missing is None)
    for peers in (installed, ()):
        run = Run(True, peers, LOOPS, None)
        tables = [plan.table.name for design in SUITES.values() for plan in design.plan(run)]
        assert len(tables) == len(set(tables))


def test_a_suite_runs() -> None:
    """One suite for real, quickly: its rows are there, with ratios, and nothing failed."""
    said: list[str] = []
    run = Run(True, (QUEUE,), LOOPS, None, said)
    design = SUITES["peers"]
    found = carry_out_suite(design, design.plan(run), lambda title: None, said.append)
    assert said == []
    work = next(table for table in found.tables if table.name == "peers-work")
    assert any(row.ratio for row in work.rows)
    assert any(row.note == "not timed: takes 2" for row in work.rows)


def test_plain_progress() -> None:
    """Without a terminal there is a line when a suite begins, and at the end."""
    shown = io.StringIO()
    with progress.progress(3, shown) as bar:
        for title in ("one: a", "one: b", "two: c"):
            bar.step(title)
        bar.say("a remark")
    assert shown.getvalue().splitlines() == ["1/3 one: a", "3/3 two: c", "a remark"]


def test_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal rich draws a bar; remarks stay."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with progress.progress(2, Terminal()) as bar:
        assert not isinstance(bar, progress.PlainProgress)
        bar.step("one: a")
        bar.say("a remark")
        bar.step("one: b")
    shown = capsys.readouterr().err
    assert "a remark" in shown
    assert "2/2" in shown
