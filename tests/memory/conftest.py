"""What the tests of memory share: a scale, and a collector that is switched off."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import pytest


class Scale:
    """Bytes allocated since it was made that are still alive."""

    def __init__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self._empty = tracemalloc.get_traced_memory()[0]

    def read(self) -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - self._empty


@pytest.fixture
def scale() -> Iterator[Callable[[], Scale]]:
    yield Scale
    tracemalloc.stop()


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()
