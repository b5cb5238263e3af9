"""A report: suites of tables of rows, each a spread with its labels. It goes to JSON and comes back whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from benchmarks.spread import Spread

T = TypeVar("T")
Unit = Literal["ns", "B", "ms", "per ms", "per s", "text"]


@dataclass(frozen=True)
class Row:
    labels: Mapping[str, str]
    spread: Spread | None = None
    ratio: Spread | None = None  # the contender's time (size, rate) by that of the table's baseline
    note: str = ""  # in place of a spread: why there is none, or a finding in words


@dataclass(frozen=True)
class Chart:
    """How a table is drawn: one panel for each value of `panels`, one colour for each of `series`."""

    kind: Literal["lines", "dots", "bars"]
    x: str
    series: str
    panels: str | None = None
    numeric: bool = False  # the labels on the x axis are numbers, on a logarithmic scale


@dataclass
class Table:
    name: str
    title: str
    unit: Unit
    rows: list[Row] = field(default_factory=list[Row])
    pivot: str | None = None  # the label whose values are columns
    baseline: Mapping[str, str] | None = None  # the labels that mark the rows that others are compared with
    assumptions: list[str] = field(default_factory=list[str])
    remarks: list[str] = field(default_factory=list[str])
    chart: Chart | None = None

    def values(self, label: str) -> list[str]:
        """Those that the label takes, in the order of the rows."""
        return list(dict.fromkeys(row.labels[label] for row in self.rows if label in row.labels))

    def compare(self) -> None:
        """Gives rows without a ratio theirs to the baseline of the same other labels, where there is one."""
        if self.baseline is None:
            return
        marks = set(self.baseline)

        def others(row: Row) -> frozenset[tuple[str, str]]:
            return frozenset((name, value) for name, value in row.labels.items() if name not in marks)

        bases = {
            others(row): row.spread
            for row in self.rows
            if row.spread and all(row.labels.get(name) == value for name, value in self.baseline.items())
        }
        for index, row in enumerate(self.rows):
            base = bases.get(others(row))
            if row.spread and base and base is not row.spread and row.ratio is None:
                self.rows[index] = Row(row.labels, row.spread, row.spread.by(base), row.note)


@dataclass
class Suite:
    name: str
    title: str
    tables: list[Table]
    seconds: float = 0


@dataclass
class Report:
    machine: dict[str, str]
    command: str
    started: str
    quick: bool
    suites: list[Suite] = field(default_factory=list[Suite])
    said: list[str] = field(default_factory=list[str])  # what was missing or unknown, or went wrong
    seconds: float = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Report:
        return _made(cls, found, suites=[_suite(suite) for suite in found["suites"]])


def _suite(found: dict[str, Any]) -> Suite:
    return _made(Suite, found, tables=[_table(table) for table in found["tables"]])


def _table(found: dict[str, Any]) -> Table:
    chart = found["chart"] and _made(Chart, found["chart"])
    return _made(Table, found, chart=chart, rows=[_row(row) for row in found["rows"]])


def _row(found: dict[str, Any]) -> Row:
    return _made(Row, found, **{name: found[name] and _made(Spread, found[name]) for name in ("spread", "ratio")})


def _made(kind: Callable[..., T], found: dict[str, Any], **parts: Any) -> T:
    return kind(**{**found, **parts})
