"""Tables as text and as Markdown: a row for each combination of labels, or a column for each value of the pivot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.spread import Spread

from .model import Report, Row, Table, Unit

Grid = list[list[str]]
SCALES: dict[Unit, list[tuple[float, str]]] = {
    "ns": [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")],
    "ms": [(1e3, "s"), (1, "ms"), (1e-3, "µs")],
    "B": [(1e6, "MB"), (1e4, "KB"), (1, "B")],
    "per ms": [(1, "/ms")],
    "per s": [(1, "/s")],
    "text": [(1, "")],
}


def digits(value: float) -> str:
    """Three digits that say something, and no exponent."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def amount(spread: Spread, unit: Unit) -> str:
    """The median with its unit, and the quartiles in the same unit."""
    scale, name = next((one for one in SCALES[unit] if spread.median >= one[0]), SCALES[unit][-1])
    scale = 1e3 if name == "KB" else scale
    median, low, high = (digits(value / scale) for value in (spread.median, spread.low, spread.high))
    return f"{median} {name}" if low == high else f"{median} {name} ({low}–{high})"


def times(ratio: Spread) -> str:
    return f"{digits(ratio.median)}×" if ratio.median >= 0.0995 else f"{ratio.median:.2g}×"


def grids(table: Table) -> list[tuple[str, Grid]]:
    """What to print for a table: a caption and lines of cells, the first line the header."""
    if table.pivot is None:
        return [("", _long(table))]
    found = [("", _pivoted(table, lambda row: row.note if row.spread is None else amount(row.spread, table.unit)))]
    if any(row.ratio for row in table.rows):
        base = ", ".join((table.baseline or {}).values())
        whole = _pivoted(table, lambda row: times(row.ratio) if row.ratio else "")
        found.append((f"In times of {base}:", [line for line in whole if any(line[_labels(table) :])]))
    return found


def _labels(table: Table) -> int:
    """How many columns are labels."""
    return len(dict.fromkeys(name for row in table.rows for name in row.labels if name != table.pivot))


def _long(table: Table) -> Grid:
    names = list(dict.fromkeys(name for row in table.rows for name in row.labels))
    rated = any(row.ratio for row in table.rows)
    base = ", ".join((table.baseline or {}).values())
    lines = [[*names, "median (quartiles)", *([f"in times of {base}"] if rated else [])]]
    for row in table.rows:
        cell = row.note if row.spread is None else amount(row.spread, table.unit)
        ratio = [times(row.ratio) if row.ratio else ""] if rated else []
        lines.append([*(row.labels.get(name, "") for name in names), cell, *ratio])
    return lines


def _pivoted(table: Table, cell: Callable[[Row], str]) -> Grid:
    pivot = table.pivot
    assert pivot is not None
    names = list(dict.fromkeys(name for row in table.rows for name in row.labels if name != pivot))
    columns = [
        name for name in table.values(pivot) if any(cell(row) for row in table.rows if row.labels[pivot] == name)
    ]
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in table.rows:
        line = lines.setdefault(tuple(row.labels.get(name, "") for name in names), {})
        line[row.labels[pivot]] = cell(row)
    first = list(dict.fromkeys(labels[0] for labels in lines))
    if len(names) > 1:  # what belongs together stands together, in the order in which it was first seen
        lines = dict(sorted(lines.items(), key=lambda item: first.index(item[0][0])))
    body = [[*labels, *(line.get(column, "") for column in columns)] for labels, line in lines.items()]
    head = [*names, *(f"{pivot} {column}" if column.isdigit() else column for column in columns)]
    return [head, *body]


def aligned(grid: Grid, labels: int) -> list[str]:
    """Lines of text; what is not a label stands right."""
    widths = [max(len(line[i]) for line in grid) for i in range(len(grid[0]))]
    shown = [
        "  ".join(
            cell.ljust(width) if i < labels else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in grid
    ]
    return [shown[0], "  ".join("-" * width for width in widths), *shown[1:]]


def text(report: Report) -> str:
    lines = [*_heading(report)]
    for suite in report.suites:
        lines += ["", f"{suite.title} ({suite.name}, {suite.seconds:.0f} s)", "=" * len(suite.title)]
        for table in suite.tables:
            lines += ["", table.title]
            lines += [f"  assumed: {line}" for line in table.assumptions]
            for caption, grid in grids(table):
                lines += ["", *([caption] if caption else []), *aligned(grid, _labels(table))]
            lines += [f"  {line}" for line in table.remarks]
    if report.said:
        lines += ["", *report.said]
    return "\n".join(lines)


def markdown(report: Report, charts: Sequence[str] = ()) -> str:
    lines = ["# Benchmarks: the last run", ""]
    lines += [f"Printed by `{report.command}`; `results.json` beside it has the numbers.", ""]
    lines += [f"- {line}" for line in _heading(report)]
    for suite in report.suites:
        lines += ["", f"## {suite.title}", "", f"`python -m benchmarks {suite.name}`"]
        for table in suite.tables:
            lines += ["", f"### {table.title}", ""]
            if table.assumptions:
                lines += [*(f"- Assumed: {line}" for line in table.assumptions), ""]
            if table.name in charts:
                lines += [f"![{table.title}]({table.name}.svg)", ""]
            for caption, (head, *body) in grids(table):
                labels = _labels(table)
                rule = ["---" if i < labels else "---:" for i in range(len(head))]
                lines += [*([caption, ""] if caption else []), *map(_bar, (head, rule, *body)), ""]
            lines += [f"- {line}" for line in table.remarks]
    if report.said:
        lines += ["", "## What was left out", "", *(f"- {line}" for line in report.said)]
    squeezed = [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]
    return "\n".join(squeezed).rstrip() + "\n"


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _heading(report: Report) -> list[str]:
    quick = " This was a quick run: few rounds, small crowds; not for quoting." if report.quick else ""
    return [
        f"{report.started}, {report.seconds:.0f} s in all.{quick}",
        *(f"{name}: {value}" for name, value in report.machine.items()),
    ]


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("[", "\\[")
