"""Charts of the tables as SVG, by matplotlib: medians, with bars from the first to the third quartile.

Where values differ more than a hundredfold the axis is logarithmic, with points: a bar's length would say nothing.
Text becomes paths, so a chart looks the same wherever it is shown. Files are the same for the same report.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.spread import Spread

from .grid import SCALES, digits
from .model import Chart, Report, Row, Table, Unit

# Okabe and Ito's colours, which people of any colour vision can tell apart; gochan's own is the strongest.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666", "#8B5A2B", "#000000")
OWN = {  # the same in every chart
    "gochan": COLOURS[0],
    "gochan on trio": COLOURS[5],
    "asyncio.Queue": COLOURS[2],
    "anyio": COLOURS[1],
    "trio": COLOURS[3],
    "aiochan": COLOURS[4],
    "Go": COLOURS[8],
}
MARKERS = "osD^vPX*h"
LEGEND_COLUMNS = 5
STYLE: Any = {
    "figure.facecolor": "white",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "font.size": 9,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "gochan",
}
NAMES = {
    "ns": "time of an operation",
    "B": "bytes each",
    "ms": "milliseconds",
    "per ms": "operations per ms",
    "per s": "per second",
}


def draw(report: Report, directory: Path) -> list[str]:
    """A file for each table that has a chart; gives the names of those tables."""
    drawn: list[str] = []
    with mpl.rc_context(STYLE):
        for suite in report.suites:
            for table in suite.tables:
                if table.chart and any(row.spread for row in table.rows):
                    _figure(table, table.chart, report).savefig(
                        directory / f"{table.name}.svg", metadata={"Date": None}
                    )
                    drawn.append(table.name)
    return drawn


def _figure(table: Table, chart: Chart, report: Report) -> Any:
    panels = table.values(chart.panels) if chart.panels else [""]
    panels = [panel for panel in panels if _rows(table, chart, panel)]
    series = list(dict.fromkeys(row.labels[chart.series] for row in table.rows if row.spread))
    left = [colour for colour in COLOURS if colour not in {OWN.get(name) for name in series}]
    colours = {name: OWN[name] if name in OWN else left.pop(0) if left else "#999999" for name in series}
    columns = 1 if chart.kind != "lines" or len(panels) == 1 else 2
    lines = math.ceil(len(panels) / columns)
    heights = [_height(table, chart, panel) for panel in panels[::columns]]
    alone = chart.series == chart.panels or len(series) == 1
    legend_lines = 0 if alone else math.ceil(len(series) / LEGEND_COLUMNS)
    head, foot = 0.45 + 0.22 * legend_lines, 0.4  # inches
    height = head + sum(heights) + foot
    figure: Any = Figure(figsize=(9, height))
    figure.set_layout_engine("constrained", rect=(0, foot / height, 1, 1 - (head + foot) / height))
    figure.text(0.01, 1 - 0.12 / height, table.title, fontweight="bold", fontsize=12, va="top")
    figure.text(0.01, 0.06 / height, _footnote(report), fontsize=7, color="#555555", va="bottom")
    grid = figure.subplots(lines, columns, squeeze=False, height_ratios=heights)
    for i, axes in enumerate(grid.flat):
        if i >= len(panels):
            axes.set_visible(False)
            continue
        rows = _rows(table, chart, panels[i])
        axes.set_title(panels[i])
        if chart.kind == "lines":
            _lines(axes, table, chart, rows, colours)
        else:
            _across(axes, table, chart, rows, colours)
    found: dict[str, Any] = {}
    for axes in grid.flat:
        handles, names = axes.get_legend_handles_labels()
        found |= dict(zip(names, handles, strict=True))
    if legend_lines:
        order = [name for name in series if name in found]
        figure.legend(
            [found[name] for name in order], order, loc="upper left", ncols=LEGEND_COLUMNS,
            bbox_to_anchor=(0.003, 1 - 0.36 / height), borderaxespad=0,
        )  # fmt: skip
    return figure


def _footnote(report: Report) -> str:
    first = ", ".join(report.machine.get(name, "") for name in ("CPU", "Python"))
    quick = " QUICK RUN." if report.quick else ""
    return f"Points: medians; bars: first to third quartile.{quick} {report.started}\n{first}"


def _rows(table: Table, chart: Chart, panel: str) -> list[Row]:
    return [row for row in table.rows if row.spread and (not chart.panels or row.labels[chart.panels] == panel)]


def _height(table: Table, chart: Chart, panel: str) -> float:
    if chart.kind == "lines":
        return 2.9
    rows = _rows(table, chart, panel)
    places = len({row.labels[chart.x] for row in rows})
    each = 0.26 if chart.kind == "dots" else 0.16 + 0.16 * _width(rows, chart)
    return 0.7 + each * places


def _width(rows: list[Row], chart: Chart) -> int:
    """The most series that one place has."""
    places = [row.labels[chart.x] for row in rows]
    return max(places.count(place) for place in places)


def _errors(spreads: list[Spread]) -> list[list[float]]:
    return [[one.median - one.low for one in spreads], [one.high - one.median for one in spreads]]


def _shown(unit: Unit) -> FuncFormatter:
    """Axis labels with their unit: 10 µs, 1 KB."""
    scales = SCALES[unit]

    def label(value: float, _: object) -> str:
        scale, name = next((one for one in scales if value >= one[0]), scales[-1])
        number = value / (1e3 if name == "KB" else scale)
        return f"{number:,.10g} {name}".strip()

    return FuncFormatter(label)


def _whole(value: float, _: object) -> str:
    return f"{value:,.10g}"


def _lines(axes: Any, table: Table, chart: Chart, rows: list[Row], colours: dict[str, str]) -> None:
    places = table.values(chart.x)
    for i, (name, colour) in enumerate(colours.items()):
        mine = [row for row in rows if row.labels[chart.series] == name]
        spreads = [row.spread for row in mine if row.spread]
        at = [float(row.labels[chart.x]) if chart.numeric else places.index(row.labels[chart.x]) for row in mine]
        ours = name.startswith("gochan")
        if spreads:
            axes.errorbar(
                at,
                [one.median for one in spreads],
                yerr=_errors(spreads),
                label=name,
                color=colour,
                marker=MARKERS[i % len(MARKERS)],
                markersize=5 if ours else 4,
                linewidth=2 if ours else 1.1,
                linestyle="--" if name.startswith("Go") else "-",
                capsize=2,
                zorder=3 if ours else 2,
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_shown(table.unit))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if chart.numeric:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_whole))
    else:
        axes.set_xticks(range(len(places)), places)
    axes.set_xlabel(chart.x)
    axes.grid(visible=False, axis="x")


def _across(axes: Any, table: Table, chart: Chart, rows: list[Row], colours: dict[str, str]) -> None:
    """Names on the left, one place for each; bars beside each other, or dots on one line."""
    places = list(dict.fromkeys(row.labels[chart.x] for row in rows))
    width = _width(rows, chart)
    taken = dict.fromkeys(places, 0)
    bars = chart.kind == "bars"
    logarithmic = not bars or _wide(rows)
    alone = chart.series == chart.panels  # then a colour says nothing: ours is marked instead
    for i, (name, colour) in enumerate(colours.items()):
        labelled = False
        for row in (row for row in rows if row.labels[chart.series] == name):
            assert row.spread
            place = row.labels[chart.x]
            share = 0.8 / width
            offset = (taken[place] - (width - 1) / 2) * share if bars else 0
            taken[place] += 1
            at, errors = places.index(place) + offset, _errors([row.spread])
            shade = (COLOURS[0] if place.startswith("gochan") else "#9aa7b1") if alone else colour
            label = None if labelled or alone else name
            labelled = True
            if bars and not logarithmic:
                axes.barh(at, row.spread.median, height=share * 0.9, color=shade, label=label)
                if row.spread.rounds > 1:
                    axes.errorbar(row.spread.median, at, xerr=errors, color="#222222", capsize=2, linewidth=1)
            else:
                axes.errorbar(
                    row.spread.median, at, xerr=errors, color=shade, marker=MARKERS[i % len(MARKERS)], markersize=5,
                    linestyle="none", capsize=2, label=label,
                )  # fmt: skip
            if bars:
                text = _shown_amount(row.spread, table)
                axes.annotate(text, (row.spread.high, at), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(places)), places)
    axes.set_ylim(len(places) - 0.4, -0.6)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(_shown(table.unit))
    axes.set_xlabel(NAMES[table.unit] + (" (logarithmic)" if logarithmic else ""))
    axes.grid(visible=not bars or logarithmic, axis="y")


def _wide(rows: list[Row]) -> bool:
    medians = [row.spread.median for row in rows if row.spread]
    return max(medians) > 100 * max(min(medians), 1e-9)


def _shown_amount(spread: Spread, table: Table) -> str:
    scale, name = next((one for one in SCALES[table.unit] if spread.median >= one[0]), SCALES[table.unit][-1])
    return f"{digits(spread.median / (1e3 if name == 'KB' else scale))} {name}".strip()
