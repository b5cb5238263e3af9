"""The journal, without an engine around it: what is swept out when, and what a batch that fails leaves behind."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from tests.chat.broker.clusters import in_a_step

from examples.chat.broker import Unavailable, Window
from examples.chat.broker.journal import Journal, Request
from examples.chat.broker.sqlite import BATCH, SqliteEngine

WINDOW = Window(messages=5, seconds=600, room_seconds=1200)


def names(journal: Journal) -> list[str]:
    return [name for (name,) in journal._db.execute("SELECT name FROM rooms ORDER BY id")]


def test_a_sweep_says_whether_there_may_be_more() -> None:
    """A part of what nobody can ask for goes at a time, and more than one batch can add."""
    journal = Journal(":memory:", WINDOW)
    for number in range(4 * BATCH):
        journal.publish(f"room-{number}", b"", None, 0)
    more = [journal.sweep((), 1200) for _ in range(4)]
    assert more == [True, True, False, False]
    assert names(journal) == []
    journal.close()


async def test_a_full_sweep_goes_on_with_the_next_batch() -> None:
    """A file does not grow faster than it is swept: what one sweep left, the next request takes along."""
    now = 0.0
    async with SqliteEngine(":memory:", WINDOW, clock=lambda: now, offload=in_a_step) as engine:
        journal = engine._journal
        assert journal is not None
        for number in range(4 * BATCH):
            journal.watch(f"room-{number}", now)
        now = 1200.0
        for _ in range(3):
            await engine.history("lobby", None, 0)
        assert names(journal) == []


def test_whoever_is_about_to_listen_keeps_the_room() -> None:
    """J4: a room that is looked at just before the sweep is not forgotten before the sweep knows of its listener."""
    journal = Journal(":memory:", WINDOW)
    journal.publish("lobby", b"", None, 0)
    journal.apply(
        [
            Request(lambda journal: journal.watch("lobby", 1200), writes=True),
            Request(lambda journal: journal.sweep((), 1200), writes=True),
        ]
    )
    assert names(journal) == ["lobby"]
    before = journal._db.total_changes
    journal.watch("lobby", 1201)
    assert journal._db.total_changes == before, "a look is not a flush each time"
    journal.close()


class _Failing:
    """A connection on which some statements fail."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.failing = {"COMMIT", "ROLLBACK"}

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement in self.failing:
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def test_a_batch_that_cannot_even_be_undone() -> None:
    """J3: it is refused as any that fails, leaves nothing behind, and once the disk works again so does the file."""
    journal = Journal(":memory:", WINDOW)
    failing = _Failing(journal._db)
    journal._db = failing  # type: ignore[assignment]  # what the journal needs of one

    def publish() -> Any:
        request = Request(lambda journal: journal.publish("lobby", b"", None, 0), writes=True)
        journal.apply([request])
        return request.result()[0].pos.off

    for _ in range(2):
        with pytest.raises(Unavailable, match="failed"):
            publish()
    failing.failing.clear()
    assert [publish(), publish()] == [1, 2]
    journal.close()
