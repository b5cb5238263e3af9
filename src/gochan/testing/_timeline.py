"""A history as text: one line per operation, with a bar from its call to its return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._history import Operation

WIDEST = 60  # columns for the bars; a longer history is squeezed


def timeline(operations: Sequence[Operation], marks: Mapping[Operation, str]) -> str:
    """The operations in the order of their calls, each with its mark in front."""
    if not operations:
        return "(nothing happened)"
    last = max(operation.returned or operation.call for operation in operations) + 1
    scale = min(1.0, WIDEST / last)
    rows = [
        (marks.get(operation, ""), operation.task, str(operation), _bar(operation, last, scale))
        for operation in operations
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{mark:>{widths[0]}}  {task:<{widths[1]}}  {text:<{widths[2]}}  {bar}".rstrip()
        for mark, task, text, bar in rows
    )


def _bar(operation: Operation, last: int, scale: float) -> str:
    start = int((operation.call - 1) * scale)
    if operation.returned is None:
        return " " * start + "├" + "─" * (int(last * scale) - start - 1) + "…"
    length = max(int((operation.returned - 1) * scale) - start, 1)
    return " " * start + "├" + "─" * (length - 1) + "┤"
