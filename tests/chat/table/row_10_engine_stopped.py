"""Row 10: the engine is stopped, and goes on five seconds later: commands end by their deadline, nothing is doubled.

What had been sent to the engine before or while it was stopped is done when it goes on: so those who say the same
again, since they were refused, say it for the second time; it must not be there twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
from tests.chat.broker import engine
from tests.chat.table.cluster import Failure, Person, bounded, crowd, nodes, nothing_lost, observing, settled
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import until

from examples.chat.client import Refused
from gochan import Event

DEADLINE = 2.0
"""Seconds that a command may wait for the broker, as the servers are told."""


async def run(size: Size) -> Sequence[Check]:
    names = size.pick(("one",), ("one", "two"))
    people, rooms, period = size.pick((6, 2, 0.05), (40, 4, 0.4))
    before, stopped, after = size.pick((0.1, 1.2, 0.1), (2.0, 5.0, 4.0))
    with engine.running() as valkey:
        async with (
            bounded(valkey, 110),
            observing(valkey.url) as observer,
            nodes(size, valkey.url, *names, flags=("--broker-timeout", str(DEADLINE))) as places,
            crowd(places, people, rooms) as (persons, group),
        ):
            over, asked = Event(), list[Failure]()
            talking = [
                group.go(person.speak, period, over, period * number / people) for number, person in enumerate(persons)
            ]
            await anyio.sleep(before)
            valkey.freeze()
            asking = [group.go(_ask, person, over, asked) for person in persons[: 2 * len(places)]]
            await anyio.sleep(stopped)
            ends = [failure for person in persons for failure in person.failures] + asked
            thawed = anyio.current_time()
            waiting = max(thawed - (person.asking or thawed) for person in persons)
            valkey.thaw()
            last = {person.name: len(person.acknowledged) for person in persons}
            await until(lambda: all(len(person.acknowledged) > last[person.name] for person in persons))
            back = anyio.current_time() - thawed
            await anyio.sleep(after)
            over.set()
            for each in [*talking, *asking]:
                await each.result()
            kept = await settled(persons, observer)
            alive = sum(place.process.running for place in places)
    return [
        exactly("servers that are still there", alive, len(places)),
        at_least("commands that were refused meanwhile", len(ends), people),
        exactly("of them not temporary, or not 503 or 504", sum(not _typed(failure) for failure in ends), 0),
        at_most("slowest refusal", max((failure.took for failure in ends), default=math.inf), DEADLINE, "s"),
        at_most("longest of those without an answer yet", waiting, DEADLINE, "s"),
        *nothing_lost(persons, kept),
        told("everybody was acknowledged again after", f"{back:.2f} s"),
        told("acknowledged", f"{sum(len(person.acknowledged) for person in persons):,}"),
    ]


def _typed(failure: Failure) -> bool:
    return failure.temporary and failure.code in (503, 504)


async def _ask(person: Person, over: Event, asked: list[Failure]) -> None:
    """The other things that need the engine."""
    while not over.is_set():
        for command in (
            person.chat.history(person.room, limit=1),
            person.chat.who("nobody-is-here"),
            person.chat.tell("nobody", "?"),
        ):
            began = anyio.current_time()
            try:
                await command
            except Refused as error:
                if error.code != 404:  # nobody is called nobody
                    now = anyio.current_time()
                    asked.append(Failure(now, now - began, error.code, error.temporary))
            await anyio.sleep(0.02)


ROW = Row("10", "engine stopped", run, slow=True)
