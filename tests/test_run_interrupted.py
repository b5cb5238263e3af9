"""Ctrl-C while groups wait for their end."""

from __future__ import annotations

import signal

import pytest

from gochan import Event, Group, run


@pytest.mark.parametrize("depth", [1, 2])
def test_ctrl_c_while_groups_wait_for_their_end(depth: int) -> None:
    """On trio it is raised where main waits: the goroutines are cancelled and clean up, and it comes out bare."""
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            if number:
                await Event().wait()
            # Only noted here, and raised at the next checkpoint of trio's main task.
            signal.raise_signal(signal.SIGINT)
            await Event().wait()
        finally:
            ended.append(number)

    async def main(left: int = depth) -> None:
        async with Group() as group:
            if left:
                await main(left - 1)
            else:
                for number in (2, 1, 0):
                    group.go(work, number)

    with pytest.raises(KeyboardInterrupt):
        run(main, backend="trio", backend_options={"restrict_keyboard_interrupt_to_checkpoints": True})
    assert sorted(ended) == [0, 1, 2]
