"""Go's own benchmarks, by Go's names, under pytest-benchmark on asyncio, uvloop and trio; the buffered ones beside.

`extra_info["ns_per_op"]` is what `go test -bench` prints as ns/op.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .go_names import NAMES
from .harness import BACKENDS, Backend, Workload
from .peers import GOCHAN
from .race import calibrate
from .suites.channels import CAPACITIES, SHAPES
from .workloads import flow

ROUNDS = 15


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    with Backend(request.param) as backend:
        yield backend


def _collect() -> None:
    gc.collect()


def measure(
    benchmark: BenchmarkFixture, backend: Backend, workload: Workload, operations: int, rounds: int = ROUNDS
) -> None:
    """So many rounds of one turn each, after a warm-up."""
    times: list[float] = []
    backend.turn(workload, max(1, operations // 10))
    benchmark.group = backend.name
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: times.append(backend.turn(workload, operations)), setup=_collect, rounds=rounds
    )
    benchmark.extra_info["ns_per_op"] = min(times) / operations * 1e9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_buffered_and_unbuffered(benchmark: BenchmarkFixture, backend: Backend, capacity: int, shape: str) -> None:
    """So many producers and consumers over a channel of a capacity; an operation is one value."""
    workload = flow(GOCHAN, capacity, *SHAPES[shape], on_trio=backend.name == "trio")
    measure(benchmark, backend, workload, 5_000)


@pytest.mark.parametrize("name", NAMES)
def test_go_names(benchmark: BenchmarkFixture, backend: Backend, name: str) -> None:
    """Go's Benchmark of that name."""
    workload = NAMES[name]
    measure(benchmark, backend, workload, calibrate(backend, workload, step=1_000))
