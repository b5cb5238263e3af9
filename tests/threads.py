"""Threads for tests: what a call in another thread came to, with bounded waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import anyio.to_thread

T = TypeVar("T")


class Call(Generic[T]):
    """A call that runs in a thread of its own. The thread is a daemon: one that hangs must not hang the test run."""

    def __init__(self, fn: Callable[..., T], *args: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(fn, args), daemon=True)
        self._thread.start()

    def _run(self, fn: Callable[..., T], args: tuple[Any, ...]) -> None:
        try:
            self.value = fn(*args)
        except BaseException as error:
            self.error = error

    def join(self, seconds: float = 20) -> T:
        """What it returned or raised; AssertionError when it takes too long."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the call in the other thread hangs"
        if self.error is not None:
            raise self.error
        value: T = self.value
        return value

    async def result(self, seconds: float = 20) -> T:
        """The same, while the loop runs on."""
        return await anyio.to_thread.run_sync(self.join, seconds)

    def failure(self, seconds: float = 20) -> BaseException | None:
        """What it raised."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the call in the other thread hangs"
        return self.error
