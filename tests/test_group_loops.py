"""Groups whose contexts were used in another event loop."""

from __future__ import annotations

import threading
from typing import Literal

import anyio
import pytest

from gochan import Context, Event, Group, background


async def forever() -> None:
    await Event().wait()


@pytest.mark.parametrize("which", ["above", "below"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_context_that_another_loop_waits_on(backend: Literal["asyncio", "trio"], which: str) -> None:
    """Refused before anything has begun: the scopes of the task are as they were."""
    ctx, group, waiting, over = background().with_cancel(), Group(), threading.Event(), threading.Event()
    done = ctx.done if which == "above" else group.ctx.done

    async def elsewhere() -> None:
        async with Group() as waiters:
            waiters.go(done.wait)
            await anyio.sleep(0)
            waiting.set()
            await anyio.to_thread.run_sync(over.wait)
            waiters.cancel()

    async def main() -> None:
        with anyio.fail_after(5), anyio.CancelScope():
            with pytest.raises(RuntimeError, match="another thread"):
                async with Group(ctx=ctx) if which == "above" else group:
                    pass
            async with Group() as another:
                another.go(anyio.sleep, 0)

    thread = threading.Thread(target=anyio.run, args=(elsewhere,))
    thread.start()
    try:
        assert waiting.wait(5)
        anyio.run(main, backend=backend)
    finally:
        over.set()
        thread.join(5)


async def test_the_one_below_is_the_loops_of_its_group() -> None:
    """Who waits on it in another loop is refused, and the group ends as it should."""

    def elsewhere(ctx: Context) -> None:
        with pytest.raises(RuntimeError, match="another thread"):
            anyio.run(ctx.done.wait)

    with anyio.fail_after(5):
        async with Group() as group:
            await anyio.to_thread.run_sync(elsewhere, group.ctx)
            group.go(forever)
            group.cancel()
