"""Row 11: a server is killed, again and again, one of two: its clients are at the other one soon, and miss nothing.

Each time its people have come back at the other server, it is started anew, and half of everybody moves there. Some who
were at the last one to be killed never come back: the others must see them gone, once their presence has expired.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import anyio
from tests.chat.broker import engine
from tests.chat.table.cluster import Person, bounded, crowd, nodes, nothing_lost, observing, settled
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import Ended, tcp, until

from gochan import Event

TTL = 60.0
GHOSTS = 5


async def run(size: Size) -> Sequence[Check]:
    people, rooms, period, kills = size.pick((8, 2, 0.1, 1), (200, 10, 1.0, 10))
    took, moves = list[float](), list[float]()
    with engine.running() as valkey:
        async with (
            bounded(valkey, 170),
            observing(valkey.url) as observer,
            nodes(size, valkey.url, "one", "two") as places,
            crowd(places, people, rooms) as (persons, group),
        ):
            over, gone, killed = Event(), math.inf, 0.0
            watcher = persons[0]
            talking = [
                group.go(person.speak, period, over, period * number / people) for number, person in enumerate(persons)
            ]
            await anyio.sleep(size.pick(0.1, 2.0))
            began = anyio.current_time()
            for kill in range(kills):
                victim = kill % 2
                for number in range(GHOSTS if kill + 1 == kills else 0):
                    group.go(_haunt, places[victim], f"ghost {number}", ready := Event())
                    await ready.wait()
                struck = [person for person in persons if person.at == victim]
                await places[victim].kill()
                killed = anyio.current_time()
                watcher = next(person for person in persons if person.room == "room-0" and person.at != victim)
                await _returned(struck, killed)
                took += [person.returned - killed for person in struck]
                if kill + 1 < kills:
                    await places[victim].aclose()
                    await places[victim].start()
                    # Half of each room, and another half each time.
                    moving = [person for n, person in enumerate(persons) if (n // rooms + kill // 2) % 2]
                    since = anyio.current_time()
                    moved = [person for person in moving if person.at != victim]
                    for person in moved:
                        await person.move(victim)
                    await _returned(moved, since)
                    moves += [person.returned - since for person in moved]
                    await anyio.sleep(0.5)
            talked = anyio.current_time() - began
            over.set()
            for each in talking:
                await each.result()
            if size.full:
                with anyio.move_on_after(2 * TTL):
                    gone = await _vanished(watcher) - killed
            kept = await settled(persons, observer)
            ended = sum(person.chat.end is not None for person in persons)
    return [
        at_least("clients that were struck", len(took), people // 2 * kills),
        at_most("slowest of them to be in its room elsewhere", max(took), size.pick(6.0, 3.0), "s"),
        exactly("clients that came to an end", ended, 0),
        *nothing_lost(persons, kept),
        *([at_most("stale presence is gone after", gone, TTL, "s")] if size.full else []),
        told("slowest move to one that has just started", f"{max(moves, default=0.0):.2f} s"),
        told("messages said a second", f"{sum(len(person.acknowledged) for person in persons) / talked:.0f}"),
        told("the slowest acknowledgement", f"{max(person.slowest for person in persons):.2f} s"),
        told("acknowledged", f"{sum(len(person.acknowledged) for person in persons):,}"),
    ]


async def _returned(persons: Sequence[Person], since: float) -> None:
    await until(lambda: all(person.returned > since for person in persons))


async def _haunt(node: Any, name: str, ready: Event) -> None:
    """Be in a room until the node is gone, and no longer."""
    async with tcp(node) as talker:
        await talker.hello(name)
        await talker.send({"t": "join", "id": 1, "room": "room-0"})
        await talker.find("joined", id=1)
        ready.set()
        with contextlib.suppress(Ended):
            while True:
                await talker.receive()


async def _vanished(watcher: Person) -> float:
    """When the last of the ghosts is gone."""
    while any(name.startswith("ghost") for name in await watcher.chat.who(watcher.room)):
        await anyio.sleep(0.2)
    return anyio.current_time()


ROW = Row("11", "node killed", run, slow=True)
