"""A Cond and those who wait on it."""

from __future__ import annotations

from tests.conformance.helpers import until

from gochan import Cond, Goroutine, Group, Mutex


class Stage:
    """A Cond and what those who waited on it say."""

    def __init__(self) -> None:
        self.mutex = Mutex()
        self.cond = Cond(self.mutex)
        self.woken = list[int]()
        self.cancelled = list[int]()

    @property
    def waiting(self) -> int:
        return len(self.cond._state.waiters)

    async def wait(self, number: int = 0) -> None:
        """Wait once; the mutex is held when the wait is over, however it ends."""
        async with self.mutex:
            try:
                await self.cond.wait()
            except BaseException:
                self.cancelled.append(number)
                raise
            else:
                self.woken.append(number)
            finally:
                assert self.mutex.locked()
                self.cond._state._check()

    async def start(self, group: Group, *numbers: int) -> list[Goroutine[None]]:
        """Goroutines that wait, in this order."""
        started = list[Goroutine[None]]()
        for number in numbers:
            started.append(group.go(self.wait, number))
            await until(lambda: self.waiting == len(started))
        self.cond._state._check()
        return started
