"""gochan's own ways of cancelling a goroutine, and the list of all the ways there are."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from gochan import Event, Goroutine, Group

from .sources import NATIVE_SOURCES, SCOPE_SOURCES, TRIO_SOURCES, Abort, Body, Scope, Source, WaitFor


class Handle(Scope):
    """`goroutine.cancel()`"""

    def __init__(self) -> None:
        super().__init__()
        self.fired = False
        self.group = Group()

    async def guard(self, body: Body) -> bool:
        ended = False

        async def victim() -> None:
            nonlocal ended
            try:
                await body()
                ended = True
            finally:
                self.over()

        with anyio.CancelScope(shield=self.shield):
            try:
                async with self.group:
                    self.victim: Goroutine[None] = self.group.go(victim)
                    self.begun()
            except* Abort:
                pass
        return ended

    def begun(self) -> None:
        """The victim was started."""

    def over(self) -> None:
        """The victim has ended."""

    def fire(self) -> None:
        self.fired = True
        self.victim.cancel()

    def pending(self) -> bool:
        return self.fired


class GroupCancel(Handle):
    """`group.cancel()`"""

    def fire(self) -> None:
        self.fired = True
        self.group.cancel()


class GroupFailure(Handle):
    """A goroutine whose sibling fails."""

    exact = False

    def begun(self) -> None:
        self.bomb = Event()
        self.group.go(self.boom)

    async def boom(self) -> None:
        await self.bomb.wait()
        if self.fired:
            raise Abort

    def over(self) -> None:
        self.bomb.set()

    def fire(self) -> None:
        if not self.bomb.is_set():
            self.fired = True
            self.bomb.set()

    def pending(self) -> bool:
        return self.group._stopped


GROUP_SOURCES: dict[str, Callable[[], Source]] = {"goroutine": Handle, "Group": GroupCancel, "failure": GroupFailure}


class LongWaitFor(WaitFor):
    seconds = 0.01


SOURCES = {
    **{
        f"asyncio-{name}": pytest.param(make, marks=pytest.mark.asyncio_only)
        for name, make in (NATIVE_SOURCES | {"wait_for": LongWaitFor}).items()
    },
    **{f"anyio-{name}": pytest.param(make) for name, make in SCOPE_SOURCES.items()},
    **{f"trio-{name}": pytest.param(make, marks=pytest.mark.trio_only) for name, make in TRIO_SOURCES.items()},
    **{f"gochan-{name}": pytest.param(make) for name, make in GROUP_SOURCES.items()},
}
every_source = pytest.mark.parametrize("make_source", SOURCES.values(), ids=SOURCES)
