"""A Cond whose mutex is never free again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

import gochan
from gochan import Channel, Cond, Deadlock, Mutex, go, sleep, testing


@pytest.mark.parametrize("how", [gochan.run, testing.run], ids=["run", "testing"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadlock_ends_though_a_wait_wants_its_mutex_back(
    how: Callable[..., Any], backend: Literal["asyncio", "trio"]
) -> None:
    """A cancelled wait holds the mutex when it raises, unless the clean-up is a deadlock, too: then it is given up."""
    given_up: list[bool] = []

    async def main() -> None:
        mutex = Mutex()
        cond = Cond(mutex)

        async def waits() -> None:
            async with mutex:
                try:
                    await cond.wait()
                finally:
                    given_up.append(mutex.locked())

        async def keeps() -> None:
            await sleep(0.001)
            await mutex.acquire()  # for ever, also when it is cancelled
            await Channel[int]().receive()

        go(waits)
        go(keeps)
        await Channel[int]().receive()

    with pytest.raises(Deadlock) as caught:
        how(main, backend=backend)
    assert "sync.Cond.Wait" in str(caught.value)
    assert given_up == [True]
    assert len(caught.value.__notes__) == 1  # that of the clean-up
