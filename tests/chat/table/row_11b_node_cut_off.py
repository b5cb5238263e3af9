"""Row 11b: one of two servers cannot reach the engine, while its clients can reach it: it says so, and catches up.

First nothing gets through any more (a cable), then every connection is refused (a firewall), and that for longer than a
node is listed that was not heard of. What the other server's clients do goes on as if nothing had happened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
from tests.chat.broker import engine
from tests.chat.table.cluster import Failure, Person, bounded, crowd, nodes, nothing_lost, observing, settled
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import until

from examples.chaos_proxy import proxy
from examples.chat.client import Refused
from gochan import Event

FAST, BACK, SEEN = 2.0, 5.0, 15.0


async def run(size: Size) -> Sequence[Check]:
    people, rooms, period = size.pick((8, 2, 0.1), (40, 4, 0.4))
    stalled, refused, calm = size.pick((1.5, 1.0, 0.3), (5.0, 12.0, 3.0))
    back: list[float] = []
    with engine.running() as valkey:
        async with (
            bounded(valkey, 110),
            observing(valkey.url) as observer,
            proxy("127.0.0.1", valkey.port) as chaos,
            nodes(size, valkey.url, "near") as near,
            nodes(size, valkey.through(chaos.port), "far") as far,
            crowd([*near, *far], people, rooms) as (persons, group),
        ):
            over = Event()
            here = [person for person in persons if person.at == 0]
            there = [person for person in persons if person.at == 1]
            talking = [
                group.go(person.speak, period, over, period * number / people) for number, person in enumerate(persons)
            ]
            await anyio.sleep(calm)

            chaos.stall()
            await anyio.sleep(stalled)
            chaos.resume()
            back.append(await _back(there))
            await anyio.sleep(calm)

            chaos.change(refuse=True)
            chaos.reset()
            await anyio.sleep(refused)
            chaos.change(refuse=False)
            back.append(await _back(there))
            healed = anyio.current_time()
            await until(lambda: all(person.heard for person in persons))
            reached = await _reached(here, there) and await _reached(there, here)
            direct = anyio.current_time() - healed
            await _seen(persons)
            seen = anyio.current_time() - healed
            over.set()
            for each in talking:
                await each.result()
            kept = await settled(persons, observer)
            alive = sum(place.process.running for place in (*near, *far))
    failures = [failure for person in there for failure in person.failures]
    return [
        exactly("servers that are still there", alive, 2),
        exactly("refused at the one that is not cut off", sum(len(person.failures) for person in here), 0),
        at_most("slowest acknowledgement there", max(person.slowest for person in here), FAST, "s"),
        at_least("refused at the one that is", len(failures), len(there)),
        exactly("of them not with 503 and temporary", sum(not _typed(failure) for failure in failures), 0),
        at_most("slowest refusal", max((failure.took for failure in failures), default=math.inf), FAST, "s"),
        at_most("all acknowledged again after the cable", back[0], BACK, "s"),
        at_most("all acknowledged again after the firewall", back[1], BACK, "s"),
        *nothing_lost(persons, kept),
        exactly("connections of clients that were lost", sum(person.returned > 0 for person in persons), 0),
        exactly("direct messages find their way again", reached, True),
        at_most("they do after", direct, BACK, "s"),
        at_most("everybody sees everybody after", seen, SEEN, "s"),
        told("acknowledged", f"{sum(len(person.acknowledged) for person in persons):,}"),
    ]


def _typed(failure: Failure) -> bool:
    return failure.temporary and failure.code == 503


async def _back(persons: Sequence[Person]) -> float:
    began = anyio.current_time()
    last = {person.name: len(person.acknowledged) for person in persons}
    await until(lambda: all(len(person.acknowledged) > last[person.name] for person in persons))
    return anyio.current_time() - began


async def _reached(senders: Sequence[Person], others: Sequence[Person]) -> bool:
    """Whether everybody can be reached, in the end."""
    for sender, other in zip(senders, others, strict=True):
        with anyio.move_on_after(SEEN) as late:
            while True:
                try:
                    if await sender.chat.tell(other.name, "are you there?") == 1:
                        break
                except Refused:
                    await anyio.sleep(0.05)
        if late.cancelled_caught:
            return False
    return True


async def _seen(persons: Sequence[Person]) -> None:
    """Wait until everybody is told that everybody is in the room."""
    with anyio.move_on_after(2 * SEEN):
        for person in persons:
            everybody = sorted(each.name for each in persons if each.room == person.room)
            while await person.chat.who(person.room) != everybody:
                await anyio.sleep(0.1)


ROW = Row("11b", "node cut off", run, small=False)
