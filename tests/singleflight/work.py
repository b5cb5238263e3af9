"""Something slow to ask for."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from gochan import Event, Flight, SingleFlight


async def for_ever() -> int:
    await Event().wait()
    return 0


class Work:
    """Something slow to ask for: how often it began and ended, and a gate to hold it."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.cancelled = 0
        self.gate = Event()
        self.flights = SingleFlight[str, int]()

    async def run(self, value: int = 1) -> int:
        self.begun += 1
        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        self.ended += 1
        return value

    async def ask(self, value: int = 1, key: str = "key") -> Flight[int]:
        return await self.flights.do(key, self.run, value)

    @property
    def waiting(self) -> int:
        """How many wait for the flight."""
        return sum(len(flight.waiters) for flight in self.flights._state.flights.values())
