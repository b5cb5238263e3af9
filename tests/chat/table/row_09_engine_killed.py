"""Row 9: the engine is killed, and is there again three seconds later; the servers stay, and say what they cannot do.

Two variants: an engine that keeps everything (AOF, always), from which nothing acknowledged may be missing; and one
that forgets everything, so that rooms begin anew, and every client has to be told so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import anyio
from tests.chat.broker import engine
from tests.chat.table.cluster import (
    Node,
    Person,
    Witness,
    bounded,
    crowd,
    nodes,
    nothing_lost,
    observing,
    settled,
)
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import until

from examples.chat import wire
from gochan import Event, Group

# So many seconds by the promise; a busy machine may take longer at the small size.
FAST, BACK = 1.0, 3.0


async def run(size: Size) -> Sequence[Check]:
    if size.full:
        return [*await _variant(size, "always"), *await _variant(size, "none")]
    engine.program()  # where there is none, this skips the test, which no goroutine of it could
    async with Group() as group:  # side by side: what takes the time is waiting
        variants = [group.go(_variant, size, "always"), group.go(_variant, size, "none")]
        return [check for variant in variants for check in await variant.result()]


async def _variant(size: Size, persistence: engine.Persistence) -> Sequence[Check]:
    names = size.pick(("one",), ("one", "two"))
    people, rooms, period = size.pick((4, 2, 0.1), (40, 4, 0.4))
    before, away, after = size.pick((0.2, 0.5, 0.2), (2.0, 3.0, 4.0))
    with engine.running(persistence=persistence) as valkey:
        async with (
            bounded(valkey, 110),
            observing(valkey.url) as observer,
            nodes(size, valkey.url, *names) as places,
            crowd(places, people, rooms) as (persons, group),
        ):
            # Nobody speaks there, so no message shows that something before it was lost.
            quiet = "quiet"
            await observer.publish(quiet, wire.dumps({"from": "ann", "body": "shh", "ts": 0, "id": 0}))
            witnesses: list[Witness] = []
            for place in places:
                for room in (*sorted({person.room for person in persons}), quiet):
                    witnesses.append(witness := Witness(room))
                    group.go(witness.run, place, ready := Event())
                    await ready.wait()
            over = Event()
            async with Group() as talking:
                for number, person in enumerate(persons):
                    talking.go(person.speak, period, over, period * number / people)
                await anyio.sleep(before)
                valkey.kill()
                killed, killed_clock = anyio.current_time(), time.time()
                await anyio.sleep(away)
                valkey.launch()
                restarted, restarted_clock = anyio.current_time(), time.time()
                last = {person.name: len(person.acknowledged) for person in persons}
                await until(lambda: all(len(person.acknowledged) > last[person.name] for person in persons))
                back = anyio.current_time() - restarted
                await anyio.sleep(after)
                over.set()
            kept = await settled(persons, observer)
            with anyio.move_on_after(BACK):
                await until(lambda: all(w.resyncs or persistence == "always" for w in witnesses if w.room == quiet))
            checks = _told_of(persistence, persons, places, killed, killed_clock, restarted_clock, size)
            if persistence == "always":
                checks += nothing_lost(persons, kept)
                checks += [exactly("resyncs, that there was no need for", sum(w.resyncs for w in witnesses), 0)]
            else:
                checks += [
                    exactly("clients that were not told", sum(person.gaps != 1 for person in persons), 0),
                    exactly("witnesses that did not see one resync", sum(w.resyncs != 1 for w in witnesses), 0),
                    exactly("silent gaps of clients", sum(person.silent for person in persons), 0),
                ]
            checks += [
                exactly("silent gaps of witnesses", sum(witness.silent for witness in witnesses), 0),
                exactly(
                    "connections that ended", sum(w.ended for w in witnesses) + sum(p.returned > 0 for p in persons), 0
                ),
                exactly("rooms in which witnesses heard nothing", sum(not w.messages for w in witnesses), len(places)),
                told("everybody was acknowledged again after", f"{back:.2f} s"),
                told("acknowledged", f"{sum(len(person.acknowledged) for person in persons):,}"),
            ]
            for person in persons:
                await person.chat.bye()
            group.cancel()
            ends = [await place.process.stop() if place.process.running else "died" for place in places]
            checks.append(exactly("exit codes of the servers, in the end", ends, [0] * len(places)))
    return [Check(f"{persistence}: {check.what}", check.measured, check.bound, check.ok) for check in checks]


def _told_of(
    persistence: str,
    persons: Sequence[Person],
    places: Sequence[Node],
    killed: float,
    killed_clock: float,
    restarted_clock: float,
    size: Size,
) -> list[Check]:
    failures = [failure for person in persons for failure in person.failures]
    slack = size.pick(2.0, 1.0)
    opened = [min(place.breaker("open", killed_clock), default=math.inf) for place in places]
    closed = [max(place.breaker("closed", restarted_clock), default=math.inf) for place in places]
    return [
        exactly("servers that died", sum(not place.process.running for place in places), 0),
        at_least("commands that were refused", len(failures), len(places)),
        exactly("of them not with 503 and temporary", sum((f.code, f.temporary) != (503, True) for f in failures), 0),
        at_most("slowest refusal", max((f.took for f in failures), default=math.inf), FAST * slack, "s"),
        at_most("breakers open, after the kill", max(opened), FAST * slack, "s"),
        at_most("breakers closed, after the restart", max(closed), BACK * slack, "s"),
    ]


ROW = Row("9", "engine killed", run)
