"""The file with the messages: SQLite, used by one thread at a time. Nothing here knows of an event loop.

Shape
    Requests come in batches. All that writes in a batch is one transaction, so it costs one flush of the disk; what
    only reads comes after it, and so never sees what could still be undone.

Invariants
    J1  What a publish returned is on the disk: WAL with ``synchronous=FULL`` flushes at each commit.
    J2  A room has the offsets ``gone + 1`` to ``top``, without a hole; ``at`` does not fall with the offset.
    J3  A batch that fails leaves nothing behind, and the file usable: the next batch may succeed.
    J4  When rooms are forgotten, rooms that are new begin in a new epoch, in the same transaction.
    J5  No other process uses the file: two would each tell only their own nodes of what they publish.

Errors
    A file that cannot be used is a ``DataFileError`` when it is opened, with what to do about it. What goes wrong later
    (no space, a disk that fails) fails the batch with ``Unavailable``: after a failed flush nobody can know what is
    on the disk, and the key of a publication settles it when it is tried again.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final, Generic, TypeVar

from gochan import Event as Happening

from ..wire.commands import Pos
from .base import KEY_SECONDS, BrokerError, Event, HistoryPage, Published, Unavailable
from .window import Window, part

T = TypeVar("T")

APPLICATION: Final = 0x676F6368  # "goch", which `file` and others show
VERSION: Final = 1
_SWEEP_ROOMS: Final = 500  # more than a batch can add, so that a sweep with each batch catches up
_LOCK_SECONDS: Final = 0.3  # for a process that is just ending; another one is not going to

_SCHEMA: Final = f"""
CREATE TABLE next_epoch (epoch TEXT NOT NULL);
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
    top INTEGER NOT NULL, gone INTEGER NOT NULL, active REAL NOT NULL
);
CREATE INDEX rooms_active ON rooms (active);
CREATE TABLE messages (
    room INTEGER NOT NULL, off INTEGER NOT NULL, at REAL NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (room, off)
) WITHOUT ROWID;
CREATE TABLE keys (
    room INTEGER NOT NULL, key TEXT NOT NULL, off INTEGER NOT NULL, until REAL NOT NULL, PRIMARY KEY (room, key)
) WITHOUT ROWID;
CREATE INDEX keys_until ON keys (until);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


class DataFileError(BrokerError):
    """The file cannot be used; the text says why, and what to do."""


class Request(Generic[T]):
    """Something to do with the file, and how it ended."""

    __slots__ = ("_failure", "_result", "done", "work", "writes")

    def __init__(self, work: Callable[[Journal], T], *, writes: bool) -> None:
        self.work = work
        self.writes = writes
        self.done = Happening()
        self._result: tuple[T] | None = None
        self._failure: tuple[str, BaseException | None] = ("it was never done", None)

    def run(self, journal: Journal) -> None:
        """Do it."""
        self._result = (self.work(journal),)

    @property
    def succeeded(self) -> bool:
        """Whether it was done, for certain."""
        return self._result is not None

    def fail(self, reason: str, cause: BaseException | None = None) -> None:
        """It was not done, or nobody knows."""
        self._result = None
        self._failure = reason, cause

    def result(self) -> T:
        """The result, or ``Unavailable``: a fresh one, since a traceback belongs to one that raises."""
        if self._result is not None:
            return self._result[0]
        reason, cause = self._failure
        raise Unavailable(reason) from cause


class Journal:
    """An open file.

    Raises:
        DataFileError: it cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], window: Window) -> None:
        self.path = Path(path)
        self.window = window
        self._lock = Lock()  # a native cancellation can take its owner away while the thread goes on
        try:
            if str(path) != ":memory:":  # SQLite's name for no file at all
                # Messages are nobody else's business; SQLite gives its other files the same mode.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(self.path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        except OSError as error:
            raise DataFileError(f"cannot open the data file {self.path}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from error
        except BaseException:
            self._db.close()
            raise

    def apply(self, batch: Sequence[Request[Any]]) -> None:
        """Do everything in a batch; each request then has its outcome."""
        with self._lock:
            writing = [request for request in batch if request.writes]
            if writing:
                self._together(writing)
            for request in batch:
                if not request.writes:
                    try:
                        request.run(self)
                    except sqlite3.Error as error:
                        request.fail(self._failed(error), error)

    def close(self) -> None:
        """Close the file; waits for a batch that is being applied."""
        with self._lock:
            self._db.close()

    # ---- what requests do ----

    def publish(self, name: str, payload: bytes, key: str | None, now: float) -> tuple[Published, Event]:
        """Add a message."""
        id_, epoch, top, gone, active = self._room(name, now)
        if key is not None:
            known = self._one("SELECT off FROM keys WHERE room = ? AND key = ? AND until > ?", id_, key, now)
            if known is not None:
                pos = Pos(known[0], epoch)
                return Published(pos, duplicate=True), Event(name, pos, payload)
        top += 1
        now = max(now, active)  # J2, whatever the clock does
        self._do("INSERT INTO messages VALUES (?, ?, ?, ?)", id_, top, now, payload)
        if key is not None:
            self._do("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?)", id_, key, top, now + KEY_SECONDS)
        if top - gone > self.window.messages:
            gone = top - self.window.messages
            self._do("DELETE FROM messages WHERE room = ? AND off <= ?", id_, gone)
        self._do("UPDATE rooms SET top = ?, gone = ?, active = ? WHERE id = ?", top, gone, now, id_)
        pos = Pos(top, epoch)
        return Published(pos, duplicate=False), Event(name, pos, payload)

    def history(self, name: str, since: Pos | None, limit: int, reverse: bool, now: float) -> HistoryPage:
        """Read messages."""
        row = self._one("SELECT id, epoch, top FROM rooms WHERE name = ?", name)
        if row is None:
            top = Pos(0, self._next_epoch())
            return HistoryPage((), top, part(top, 1, since, limit, reverse)[1])
        id_, top = row[0], Pos(row[2], row[1])
        oldest = self._one(
            "SELECT off FROM messages WHERE room = ? AND off > ? AND at > ? ORDER BY off LIMIT 1",
            id_,
            top.off - self.window.messages,
            now - self.window.seconds,
        )
        offsets, complete = part(top, oldest[0] if oldest else top.off + 1, since, limit, reverse)
        rows: list[Any] = []
        if offsets:
            low, high = min(offsets[0], offsets[-1]), max(offsets[0], offsets[-1])
            order = "DESC" if reverse else "ASC"
            rows = self._db.execute(
                f"SELECT off, payload FROM messages WHERE room = ? AND off BETWEEN ? AND ? ORDER BY off {order}",  # noqa: S608 -- one of two words
                (id_, low, high),
            ).fetchall()
        if len(rows) != len(offsets):
            raise sqlite3.DatabaseError(f"messages of room {name!r} are missing")  # J2
        return HistoryPage([Event(name, Pos(off, top.ep), payload) for off, payload in rows], top, complete)

    def watch(self, name: str, now: float) -> None:
        """See to it that the room exists, and is not forgotten before it is known that somebody listens to it."""
        id_, *_, active = self._room(name, now)
        if active <= now - self.window.room_seconds / 2:  # not each time: that would be a flush for each look
            self._do("UPDATE rooms SET active = ? WHERE id = ?", now, id_)

    def sweep(self, listened: Sequence[str], now: float) -> bool:
        """Take out what nobody can ask for any more; whether there may be more of it."""
        self._do("DELETE FROM keys WHERE until <= ?", now)
        stale = self._db.execute(
            "SELECT id FROM rooms WHERE active <= ? AND gone < top LIMIT ?", (now - self.window.seconds, _SWEEP_ROOMS)
        ).fetchall()
        self._db.executemany("DELETE FROM messages WHERE room = ?", stale)
        self._db.executemany("UPDATE rooms SET gone = top WHERE id = ?", stale)
        # What somebody listens to is not forgotten; it is looked at again when as much time has passed once more.
        self._db.executemany(
            "UPDATE rooms SET active = ? WHERE name = ? AND active <= ?",
            [(now, name, now - self.window.room_seconds) for name in listened],
        )
        forgotten = self._db.execute(
            "SELECT id FROM rooms WHERE active <= ? LIMIT ?", (now - self.window.room_seconds, _SWEEP_ROOMS)
        ).fetchall()
        if forgotten:
            for table in ("messages", "keys"):
                self._db.executemany(f"DELETE FROM {table} WHERE room = ?", forgotten)  # noqa: S608 -- one of two words
            self._db.executemany("DELETE FROM rooms WHERE id = ?", forgotten)
            self._do("UPDATE next_epoch SET epoch = ?", secrets.token_hex(4))
        return _SWEEP_ROOMS in (len(stale), len(forgotten))

    # ---- inside ----

    def _prepare(self) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # J5; taken by the first statement, held to the end
        ours = self._pragma("application_id"), self._pragma("user_version")
        new = ours == (0, 0) and self._one("SELECT 1 FROM sqlite_master") is None
        if not new and ours[0] != APPLICATION:
            raise DataFileError(f"the data file {self.path} is a database of another program: give another file")
        if not new and ours[1] != VERSION:
            raise DataFileError(
                f"the data file {self.path} has format {ours[1]}, and this server reads format {VERSION}: "
                "use the version that wrote it, or give another file"
            )
        if not new and (found := self._pragma("quick_check(1)")) != "ok":
            raise sqlite3.DatabaseError(str(found))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # J1
        db.execute("BEGIN EXCLUSIVE")
        if new:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            self._do("INSERT INTO next_epoch VALUES (?)", secrets.token_hex(4))
        db.execute("COMMIT")

    def _together(self, writing: Sequence[Request[Any]]) -> None:
        try:
            self._undo()
            self._db.execute("BEGIN IMMEDIATE")
            for request in writing:
                request.run(self)
            self._db.execute("COMMIT")
        except BaseException as error:
            self._undo()
            if not isinstance(error, sqlite3.Error):
                raise
            for request in writing:
                request.fail(self._failed(error), error)

    def _undo(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the next batch tries this again, and cannot begin before (J3)

    def _room(self, name: str, now: float) -> tuple[int, str, int, int, float]:
        row: tuple[int, str, int, int, float] | None = self._one(
            "SELECT id, epoch, top, gone, active FROM rooms WHERE name = ?", name
        )
        if row is not None:
            return row
        epoch = self._next_epoch()
        added = self._db.execute(
            "INSERT INTO rooms (name, epoch, top, gone, active) VALUES (?, ?, 0, 0, ?)", (name, epoch, now)
        )
        assert added.lastrowid is not None
        return added.lastrowid, epoch, 0, 0, now

    def _next_epoch(self) -> str:
        row = self._one("SELECT epoch FROM next_epoch")
        if row is None:
            raise sqlite3.DatabaseError("the epoch is missing")
        return str(row[0])

    def _do(self, statement: str, *values: object) -> None:
        self._db.execute(statement, values)

    def _one(self, statement: str, *values: object) -> Any:
        return self._db.execute(statement, values).fetchone()

    def _pragma(self, name: str) -> Any:
        return self._one(f"PRAGMA {name}")[0]

    def _failed(self, error: sqlite3.Error) -> str:
        return f"the data file {self.path} failed: {error}"

    def _unusable(self, error: sqlite3.Error) -> DataFileError:
        """What to do about an error at the start."""
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the rest says more than is needed here
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                advice = "another process uses it: stop that one, or give another file"
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
                advice = "it, or the directory it is in, cannot be written"
            case sqlite3.SQLITE_FULL:
                advice = "there is no space left"
            case sqlite3.SQLITE_NOTADB:
                advice = "it is not a database: give another file"
            case _:
                advice = "it is damaged: move it away to begin without history, or bring back a copy"
        return DataFileError(f"cannot use the data file {self.path}: {advice} ({error})")

    def __repr__(self) -> str:
        return f"<Journal {str(self.path)!r}>"
