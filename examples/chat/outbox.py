"""The outbox: what waits to be written to one client, bounded in frames and in bytes.

Shape
    hub ──offer──▸ lane ─────┐
                             ├─ take ──▸ writer
    anybody ─────▸ control ──┘            (rest: what a direct write could not get rid of, before everything else)

    The lane holds what happens in rooms, in order; nobody waits to put something in, so a full one needs a *policy*.
    Control is a plain channel for the answers to one client (acks, errors, direct messages, pongs): they are not
    starved by a busy room, and who asks faster than it reads waits, in its own reader.

Policies for a lane that is full
    disconnect     the client is too slow: WouldBlock, and the session ends with 4008
    drop_newest    the new frames are left out, drop_oldest the oldest; the client is told how many (``lag``),
                   in the place where they are missing
    catchup        what waits is forgotten and handed back; the session reads it again from the history, once the
                   client has read what it has. Memory stays bounded, nobody is sent away, nothing is lost.
    (conflate)     not a choice: presence is always conflated, into one parcel per room, which therefore always fits

Invariants
    X1  The lane holds at most ``frames`` frames and ``size`` bytes, presence and one answer apart.
    X2  Offsets of one room only grow along the lane; catch-up takes a room out of it as a whole.
    X3  ``parked`` means: the writer waits in ``take`` and there is nothing to write. Only then may anybody else write
        to the connection. It ends in the moment in which something comes, not when the writer wakes up.
    X4  What was begun is finished first: ``rest`` goes before control, or a frame would be torn apart.
    X5  After ``close`` nothing gets in; ``take`` gives what is there, then raises the ``Goodbye``.

Rejected: one Channel for everything. It cannot count bytes, and dropping from its middle is no business of a channel.
Prior art: tokio's ``broadcast`` (lag), centrifuge's byte-bounded queue, Mattermost's dead queue (catch-up).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio

from gochan import Channel, ChannelClosed, Event, receive_ok, select

from .wire import Goodbye

if TYPE_CHECKING:
    from .rooms import Member

Policy: TypeAlias = Literal["disconnect", "drop_newest", "drop_oldest", "catchup"]

_CONTROL: Final = 32


@dataclass(slots=True, eq=False)
class Parcel:
    """Frames that are written together."""

    data: bytes
    frames: int = 1
    room: str = ""
    """The room whose messages these are; without one it is an answer, which no policy may leave out."""
    first: int = 0
    """The offset of the first of them."""
    ep: str = ""
    """The epoch in which that is."""
    member: Member | None = None
    """The membership that they are for: the same room may be left, and joined again, while they wait."""
    presence: dict[str, Any] | None = None
    """The message, where a later one of the same room can be merged into it."""
    lag: int = 0
    """Messages of the room that are missing here; then this is no message of it."""

    @property
    def droppable(self) -> bool:
        return self.room != "" and not self.free

    @property
    def free(self) -> bool:
        """Whether it fits always: it is one of each room, or of each message."""
        return self.presence is not None or self.lag > 0


class Outbox:
    """What waits for one client."""

    def __init__(
        self,
        encode: Callable[[dict[str, Any]], bytes],
        *,
        frames: int = 256,
        size: int = 1 << 20,
        policy: Policy = "catchup",
        name: str | None = None,
    ) -> None:
        self.control = Channel[bytes](_CONTROL, name=name)
        self.parked = False
        self.goodbye: Goodbye | None = None
        self.policy: Policy = policy
        self.frames = 0
        self.size = 0
        self.dropped = 0
        self._encode = encode
        self._max_frames = frames
        self._max_size = size
        self._lane: deque[Parcel] = deque()
        self._presence: dict[str, Parcel] = {}
        self._lag: Counter[str] = Counter()  # of what was before all that is in the lane
        self._gaps: dict[str, Parcel] = {}  # of what comes after it, and before whatever is said next
        self._rest = b""
        self._urgent: list[bytes] = []
        self._bell = Channel[None](1, overflow="drop_newest")
        self._drained: Event | None = None

    # ---- putting in ----

    def offer(self, parcel: Parcel) -> Sequence[Parcel]:
        """Put something into the lane; what had to leave it for a catch-up.

        Raises:
            WouldBlock: it does not fit, and the policy is to disconnect, or there are answers alone.
        """
        if self.goodbye is not None:
            return ()
        if parcel.presence is not None:
            self._merge(parcel)
        elif self._fits(parcel):
            self._append(parcel)
        elif self.policy == "disconnect":
            raise anyio.WouldBlock
        elif self.policy == "catchup":
            return self._shed(parcel)
        elif self.policy == "drop_newest" and parcel.droppable:
            self._leave_out(parcel)
        else:  # an answer, too, may have the place of a message
            self._make_place(parcel)
        return ()

    async def send(self, data: bytes) -> None:
        """Put something into control; waits while it is full.

        Raises:
            ChannelClosed: the outbox is closed.
        """
        self.parked = False  # not when the writer wakes: what comes next must not overtake this
        await self.control.send(data)

    def send_nowait(self, data: bytes) -> None:
        """The same without waiting.

        Raises:
            WouldBlock: control is full.
            ChannelClosed: the outbox is closed.
        """
        self.control.send_nowait(data)
        self.parked = False

    def unsent(self, data: bytes) -> None:
        """What a direct write has left over."""
        assert self.parked, "X3"
        self._rest = data
        self._wake()

    def close(self, goodbye: Goodbye, *, discard: bool = False) -> None:
        """Let nothing more in; ``discard`` also forgets what is in, but not what was begun. The first call counts."""
        if self.goodbye is None:
            self.goodbye = goodbye
            self.control.close(goodbye)
            if self._drained is not None:
                self._drained.set()
        if discard:
            self._lane.clear()
            self._presence.clear()
            self._lag.clear()
            self._gaps.clear()
            self.frames = self.size = 0
            try:
                while True:
                    self.control.receive_nowait()
            except ChannelClosed:
                pass
        self._wake()

    def _fits(self, parcel: Parcel) -> bool:
        # An empty lane takes anything once: a parcel that is larger than the bound could else never be sent.
        return not self._lane or (
            self.frames + parcel.frames <= self._max_frames and self.size + len(parcel.data) <= self._max_size
        )

    def _append(self, parcel: Parcel) -> None:
        self._lane.append(parcel)
        if not parcel.free:
            self.frames += parcel.frames
            self.size += len(parcel.data)
            self._gaps.pop(parcel.room, None)
        self._wake()

    def _remove(self, parcel: Parcel) -> None:
        if not parcel.free:
            self.frames -= parcel.frames
            self.size -= len(parcel.data)
        elif parcel.presence is not None:
            del self._presence[parcel.room]
        elif self._gaps.get(parcel.room) is parcel:
            del self._gaps[parcel.room]

    def _merge(self, parcel: Parcel) -> None:
        waiting = self._presence.get(parcel.room)
        if waiting is None:
            self._presence[parcel.room] = parcel
            self._append(parcel)
            return
        assert waiting.presence is not None
        assert parcel.presence is not None
        waiting.presence = merge_presence(waiting.presence, parcel.presence)
        waiting.data = self._encode(waiting.presence)

    def _drop(self, parcel: Parcel) -> None:
        self.dropped += parcel.frames
        self._lag[parcel.room] += parcel.frames

    def _leave_out(self, parcel: Parcel) -> None:
        self.dropped += parcel.frames
        gap = self._gaps.get(parcel.room)
        if gap is not None:
            gap.lag += parcel.frames
            return
        self._gaps[parcel.room] = gap = Parcel(b"", room=parcel.room, lag=parcel.frames)
        self._append(gap)

    def _make_place(self, parcel: Parcel) -> None:
        kept: deque[Parcel] = deque()
        while self._lane and not self._fits(parcel):
            oldest = self._lane.popleft()
            if oldest.droppable:
                self._remove(oldest)
                self._drop(oldest)
            else:
                kept.append(oldest)
        self._lane.extendleft(reversed(kept))
        if self._fits(parcel):
            self._append(parcel)
        elif parcel.droppable:  # there are answers alone
            self._leave_out(parcel)
        else:
            raise anyio.WouldBlock

    def _shed(self, parcel: Parcel) -> list[Parcel]:
        shed = [waiting for waiting in self._lane if waiting.droppable]
        if not parcel.droppable and len(shed) < len(self._lane):
            frames = self.frames - sum(waiting.frames for waiting in shed)
            size = self.size - sum(len(waiting.data) for waiting in shed)
            if frames + parcel.frames > self._max_frames or size + len(parcel.data) > self._max_size:
                raise anyio.WouldBlock
        self._lane = deque(waiting for waiting in self._lane if not waiting.droppable)
        for waiting in shed:
            self._remove(waiting)
        if parcel.droppable:
            return [*shed, parcel]
        self._append(parcel)
        return shed

    def _wake(self) -> None:
        self.parked = False
        self._bell.send_nowait(None)

    # ---- taking out ----

    async def take(self, max_frames: int, max_bytes: int) -> list[bytes]:
        """What to write next; waits until there is something.

        Raises:
            Goodbye: the outbox is closed and empty.
        """
        while True:
            if batch := self._collect(max_frames, max_bytes):
                return batch
            if self.goodbye is not None:
                raise self.goodbye
            if self._drained is not None:
                self._drained.set()
                self._drained = None
            self.parked = True
            try:
                match await select(receive_ok(self.control), self._bell, priority=True):
                    case (0, (bytes() as data, _)):
                        self._urgent.append(data)
                    case _:
                        pass
            finally:
                self.parked = False

    async def drained(self) -> None:
        """Wait until the writer has found nothing left to write; there may be something again by now."""
        if not self.parked and self.goodbye is None:
            if self._drained is None:
                self._drained = Event()
            await self._drained.wait()

    def _collect(self, max_frames: int, max_bytes: int) -> list[bytes]:
        batch: list[bytes] = []
        size = frames = 0
        if self._rest:  # X4
            batch.append(self._rest)
            size, self._rest = len(self._rest), b""
        while (self._urgent or len(self.control)) and size < max_bytes and frames < max_frames:
            data = self._urgent.pop(0) if self._urgent else self.control.receive_nowait()
            batch.append(data)
            size += len(data)
            frames += 1
        if self._lag:
            batch += [self._encode(_lag(room, n)) for room, n in self._lag.items()]
            self._lag.clear()
        while self._lane and frames < max_frames:
            parcel = self._lane[0]
            if parcel.lag:
                parcel.data = self._encode(_lag(parcel.room, parcel.lag))
            if batch and size + len(parcel.data) > max_bytes:
                break
            self._lane.popleft()
            self._remove(parcel)
            batch.append(parcel.data)
            size += len(parcel.data)
            frames += parcel.frames
        return batch

    def _check(self) -> None:
        counted = [parcel for parcel in self._lane if not parcel.free]
        assert self.frames == sum(parcel.frames for parcel in counted), "X1: frames are counted"
        assert self.size == sum(len(parcel.data) for parcel in counted), "X1: bytes are counted"
        assert len(counted) <= 1 or (self.frames <= self._max_frames and self.size <= self._max_size), "X1: the bounds"
        assert {parcel.room for parcel in self._lane if parcel.presence is not None} == set(self._presence)
        assert not (self.parked and (self._lane or self._rest or self._urgent)), "X3: parked with something to write"
        gaps: dict[str, Parcel] = {}
        for parcel in self._lane:
            if parcel.lag:
                assert parcel.room not in gaps, "one gap between two messages"
                gaps[parcel.room] = parcel
            elif parcel.droppable:
                gaps.pop(parcel.room, None)
        assert gaps == self._gaps, "a gap is told before what is said after it"
        offsets: dict[str, int] = {}
        for parcel in self._lane:
            if parcel.droppable:
                assert offsets.get(parcel.room, -1) < parcel.first, "X2: offsets grow"
                offsets[parcel.room] = parcel.first


def _lag(room: str, count: int) -> dict[str, Any]:
    return {"t": "lag", "room": room, "n": count}


def merge_presence(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """One message that says how it is after both. Who came and went is still named: ``joined`` may have listed them."""
    here = dict.fromkeys(earlier["join"], True) | dict.fromkeys(earlier["leave"], False)
    for names, now in ((later["join"], True), (later["leave"], False)):
        here |= dict.fromkeys(names, now)
    return {
        **later,
        "join": [name for name, now in here.items() if now],
        "leave": [name for name, now in here.items() if not now],
    }
