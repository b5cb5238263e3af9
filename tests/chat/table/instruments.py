"""What rows measure with: metrics of a server in this process, errors that it logs, percentiles, memory over time."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Generator, Sequence
from pathlib import Path

from examples.chat.config import Settings
from examples.chat.node import assemble
from examples.chat.server import Server
from examples.chat.telemetry import Telemetry
from examples.chat.telemetry.text_metrics import TextMetrics


class Meter:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.metrics = TextMetrics()

    def server(self, settings: Settings) -> Server:
        """A server that is measured, for ``running``."""
        return Server(settings, assemble(settings, telemetry=Telemetry(metrics=self.metrics)))

    def read(self, name: str) -> float:
        """A counter or gauge, labels included if it has some; 0 if it was never touched."""
        return sample(self.metrics.expose().body.decode(), name)


def sample(exposition: str, name: str) -> float:
    """The number behind a name in Prometheus' text format; 0 if it is not there."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", exposition, re.MULTILINE)
    return float(found[1]) if found else 0.0


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(
            f"{record.getMessage()}: {record.exc_info[1]!r}" if record.exc_info else record.getMessage()
        )


@contextlib.contextmanager
def errors() -> Generator[list[str]]:
    """What the chat logs as an error, or worse, in the block."""
    handler, logger = _Errors(), logging.getLogger("examples.chat")
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of the values that so many percent of them do not exceed; infinite where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.inf


def own_rss() -> int:
    """Bytes of memory that this process holds (Linux)."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much y grows for one more x: least squares; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
