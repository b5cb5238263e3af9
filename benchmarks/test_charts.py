"""Charts of made-up tables: that a file is drawn for each, whatever is missing in it, and the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from .report import charts
from .report.model import Chart, Report, Row, Suite, Table, Unit
from .spread import Spread


def report(*tables: Table) -> Report:
    return Report(
        {"CPU": "a CPU", "Python": "CPython"}, "python -m benchmarks", "today", True, [Suite("s", "S", [*tables])]
    )


def table(chart: Chart, unit: Unit = "ns", *, factor: float = 1) -> Table:
    rows = [
        Row(
            {"who": who, "number": number, "what": what}, Spread.of([factor * 10 * i, factor * 11 * i, factor * 13 * i])
        )
        for what in ("this", "that")
        for i, who in enumerate(("gochan", "a peer", "Go"), 1)
        for number in ("1", "10", "100000")
    ]
    return Table(
        "made-up",
        "Made up",
        unit,
        [*rows, Row({"who": "another", "number": "1", "what": "this"}, note="-")],
        chart=chart,
    )


@pytest.mark.parametrize("unit", [unit for unit in get_args(Unit) if unit != "text"])
@pytest.mark.parametrize(
    "chart",
    [
        Chart("lines", "number", "who", "what", numeric=True),
        Chart("lines", "number", "who"),
        Chart("dots", "number", "who"),
        Chart("bars", "number", "who", "what"),
        Chart("bars", "who", "what", "what"),
    ],
    ids=str,
)
def test_chart(chart: Chart, unit: Unit, tmp_path: Path) -> None:
    """Every kind of chart in every unit is drawn to a file that is the same for the same report."""
    found = report(table(chart, unit))
    assert charts.draw(found, tmp_path) == ["made-up"]
    first = (tmp_path / "made-up.svg").read_bytes()
    charts.draw(found, tmp_path)
    assert (tmp_path / "made-up.svg").read_bytes() == first
    assert b"<svg" in first


def test_table_without_numbers_or_chart(tmp_path: Path) -> None:
    """A table of words, or one that asks for no chart, has none."""
    words = Table("words", "Words", "text", [Row({"who": "a"}, note="yes")], chart=Chart("bars", "who", "who"))
    plain = Table("plain", "Plain", "ns", [Row({"who": "a"}, Spread.of([1.0]))])
    assert charts.draw(report(words, plain), tmp_path) == []
