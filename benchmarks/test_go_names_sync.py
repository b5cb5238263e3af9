"""Go's own benchmarks of `sync`, `context` and `time`, by Go's names, under pytest-benchmark. As in `test_go_names`."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .go_names_sync import SYNC_NAMES
from .harness import Backend
from .race import calibrate
from .test_go_names import backend, measure

__all__ = ["backend"]


@pytest.mark.parametrize("name", SYNC_NAMES)
def test_go_names(benchmark: BenchmarkFixture, backend: Backend, name: str) -> None:
    """Go's Benchmark of that name."""
    workload = SYNC_NAMES[name]
    measure(benchmark, backend, workload, calibrate(backend, workload, step=1_000))
