"""The arithmetic of ``python -m benchmarks.scaling``: it adds up, grows the right way, and reads what was measured."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scaling import Chat, Costs, busiest_room, engine_of, main, size

CHAT = Chat(connections=1_000_000)


def test_by_hand() -> None:
    """A chat small enough to be counted: 600 connections, 10 messages a second, on one node."""
    costs = Costs(node_publish=100, node_hear=10, deliver=1, engine_publish=50, engine_announce=5,
                  node_renew=100, node_entry=1, engine_renew=20, engine_entry=2)  # fmt: skip
    found = size(Chat(connections=600, rooms_each=2, members=30, per_minute=1, presence_seconds=30), costs)
    assert (found.nodes, found.engines, found.hearing, found.delivered) == (1, 1, 1.0, 300.0)
    assert found.node_cpu["messages"] == pytest.approx(10 * 110e-6)
    assert found.node_cpu["deliveries"] == pytest.approx(300e-6)
    assert found.engine_cpu["messages"] == pytest.approx(10 * 55e-6)
    # 600 sessions in two rooms and the list of their user, every ten seconds; a node by itself need not look.
    assert found.engine_cpu["presence"] == pytest.approx(180 * 20e-6)
    assert found.node_cpu["presence"] == pytest.approx(180 * 100e-6)


@pytest.mark.parametrize(
    "more", [{"connections": 2_000_000}, {"rooms_each": 4.0}, {"per_minute": 10.0}, {"load": 0.25}]
)
def test_more_needs_more(more: dict[str, float]) -> None:
    """And never less."""
    before, after = size(CHAT), size(replace(CHAT, **more))  # type: ignore[arg-type]
    assert after.nodes >= before.nodes
    assert after.engines > before.engines


@pytest.mark.parametrize("less", [{"presence_seconds": math.inf}, {"look_seconds": 60.0}, {"gathered": 2.0}])
def test_what_saves(less: dict[str, float]) -> None:
    """Without presence, or with the members of a room gathered, fewer are needed."""
    before, after = size(CHAT), size(replace(CHAT, **less))
    assert after.nodes < before.nodes
    assert after.engines < before.engines


def test_load_is_kept() -> None:
    """No node has more to do than was wanted, and no more connections."""
    for connections in (1, 10_000, 3_000_000, 10_000_000):
        chat = replace(CHAT, connections=connections)
        found = size(chat)
        assert sum(found.node_cpu.values()) / found.nodes <= chat.load
        assert sum(found.engine_cpu.values()) / found.engines <= chat.load
        assert connections / found.nodes <= chat.node_connections
        assert found.hearing <= min(found.nodes, chat.members)
        assert busiest_room(chat, Costs(), found.nodes) > 0


def test_a_new_engine_takes_only_what_it_gets() -> None:
    """Rooms are spread evenly, and those that move all move to the new one."""
    engines = [f"engine {n}" for n in range(4)]
    rooms = [f"room {n}" for n in range(2000)]
    before = {room: engine_of(room, engines) for room in rooms}
    assert min(Counter(before.values()).values()) > 400
    moved = {room for room in rooms if engine_of(room, [*engines, "new"]) != before[room]}
    assert {engine_of(room, [*engines, "new"]) for room in moved} == {"new"}
    assert 300 < len(moved) < 500


def test_costs_are_read_from_a_run(tmp_path: Path) -> None:
    """A line through one, two and four nodes: what a message costs, and what each node adds."""

    def row(median: float, **labels: str) -> dict[str, object]:
        return {"labels": labels, "spread": {"median": median * 1e3, "low": 0, "high": 0, "rounds": 1}}

    cpu = [
        row(start + each * nodes, nodes=f"{nodes} nodes", rooms="100", of=of)
        for of, start, each in (("the engine", 20, 5), ("nodes, Valkey", 30, 40), ("nodes, in-process", 1, 1))
        for nodes in (1, 2, 4)
    ]
    presence = [
        row(n, what=what, of=of)
        for n, (what, of) in enumerate(
            (what, of) for what in ("a renewal", "an entry of a list") for of in ("the node", "the engine")
        )
    ]
    tables = [{"name": "cluster-cpu", "rows": cpu}, {"name": "cluster-presence", "rows": presence}]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"suites": [{"tables": tables}]}))
    costs = Costs.read(path)
    assert (costs.engine_publish, costs.engine_announce) == (pytest.approx(20), pytest.approx(5))
    assert (costs.node_publish, costs.node_hear) == (pytest.approx(30), pytest.approx(40))
    assert (costs.node_renew, costs.engine_renew, costs.node_entry, costs.engine_entry) == (0, 1, 2, 3)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"is not what benchmarks\.cluster has written"):
        Costs.read(path)


def test_the_run_in_the_documentation_can_be_read() -> None:
    """The page's table and the model come from the same kind of file."""
    costs = Costs.read(Path(__file__).parents[2] / "docs" / "benchmarks" / "cluster" / "results.json")
    assert costs.engine_publish > 0
    assert costs.engine_renew > 0


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a line for each number of connections, and refuses what makes no sense."""
    assert main(["--connections", "10", "1000000", "--presence-seconds", "inf"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["connections", "10", "1,000,000"]
    for argv in (["--load", "0"], ["--costs", "/no/such/file"], ["--connections", "-1"]):
        with pytest.raises(SystemExit) as refused:
            main(argv)
        assert refused.value.code == 2
