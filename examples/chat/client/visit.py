"""One visit: what happens is shown, what is typed is done.

Shape
    events ──> show ──> screen          keys ──> obey ──[Channel of lines]──> work ──> client

    ``obey`` never waits for the server, so that /quit works while a message waits for the next connection; ``work``
    does one line after the other, so that they arrive in the order in which they were typed.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from dataclasses import dataclass, field

import anyio

from gochan import BlockingChannel, Channel, ChannelClosed, Group, after, select

from .. import wire
from .client import GOODBYE, Client
from .events import (
    DirectMessage,
    Disconnected,
    Expelled,
    Gap,
    GoAway,
    Joined,
    Message,
    Presence,
    Problem,
    Reconnected,
    Reconnecting,
    Refused,
)
from .screen import Screen

_DIRECT = re.compile(r'(?:"([^"]+)"|(\S+))\s+(.+)', re.DOTALL)
HELP = (
    ("/join ROOM", "enter a room, or make it the one you speak in"),
    ("/leave [ROOM]", "leave a room"),
    ("/rooms", "the rooms you are in"),
    ("/who [ROOM]", "who is there"),
    ("/msg NAME TEXT", 'say something to one person alone; "a name" with spaces in quotes'),
    ("/history [NUMBER]", "what was said last (default: 20)"),
    ("/state", "how the connection is"),
    ("//TEXT", "say /TEXT"),
    ("/quit, Ctrl-D", "leave"),
)
_WORTH_TELLING = 2.0  # seconds: shorter waits come and go
_LINES = 4096  # that may be typed, or come from a pipe, before they are said


@dataclass(slots=True)
class Visit:
    """A client at a screen."""

    client: Client
    screen: Screen
    history: int = 20
    rooms: list[str] = field(default_factory=list[str])
    room: str = ""

    async def run(self) -> str | None:
        """Until somebody leaves or the connection is lost for good; what went wrong, if something did."""
        client = self.client
        failure: str | None = None
        async with Group(errors="first") as group:
            showing = group.go(self._show)
            obeying = group.go(self._obey)
            await select(showing, obeying)
            if client.end is None:
                await client.bye()
                with anyio.move_on_after(GOODBYE):
                    await showing.result()
            else:
                failure = str(client.end)
            group.cancel()
        return failure

    async def enter(self, room: str) -> Joined:
        """Join a room, and speak there from now on."""
        joined = await self.client.join(room, limit=self.history)
        if room not in self.rooms:
            self.rooms.append(room)
        self._speak_in(room)
        return joined

    # ---- what happens ----

    async def _show(self) -> None:
        async for event in self.client.events:
            match event:
                case Message():
                    self.screen.message(self._place(event.room), event.sender, event.body, event.sent_at)
                case DirectMessage():
                    self.screen.message("", f"{event.sender} (to you)", event.body, event.sent_at)
                case Presence():
                    where = f" #{event.room}" if self._place(event.room) else ""
                    for name in event.joined:
                        self.screen.note(f"{name} joined{where}")
                    for name in event.left:
                        self.screen.note(f"{name} left{where}")
                case Gap():
                    count = "some messages may be" if event.missed is None else f"messages ({event.missed}) are"
                    self.screen.note(f"#{event.room}: {count} missing here; see /history", bad=True)
                case Joined():
                    self.screen.note(f"back in #{event.room} with {others(event.members, self.client.user)}")
                case Expelled():
                    self.screen.note(f"not back in #{event.room}: {event.reason}", bad=True)
                    self._gone(event.room)
                case Reconnecting():
                    if event.attempt == 1 or event.after >= _WORTH_TELLING:
                        what = "connection lost" if event.attempt == 1 else "not yet"
                        self.screen.note(f"{what}: {event.reason}; trying again in {event.after:.1f} s", bad=True)
                    self._speak_in(self.room)
                case Reconnected():
                    self.screen.note("connected again")
                    self._speak_in(self.room)
                case GoAway():
                    if event.code != wire.Close.NORMAL:
                        self.screen.note(f"the server says goodbye: {event.reason}")
                case Problem():
                    self.screen.note(event.text, bad=True)

    def _place(self, room: str) -> str:
        """The name of a room, where it must be said."""
        return "" if self.rooms == [room] else room

    def _speak_in(self, room: str) -> None:
        self.room = room
        self.screen.prompt(room, "" if self.client.connected else "offline")

    def _gone(self, room: str) -> None:
        if room in self.rooms:
            self.rooms.remove(room)
        if room == self.room:
            self._speak_in(self.rooms[-1] if self.rooms else "")

    # ---- what is typed ----

    async def _obey(self) -> None:
        """Take what is typed, until the end of the input or ``/quit``."""
        lines = Channel[str](_LINES, name="lines")
        async with Group(errors="first") as group:
            working = group.go(self._work, lines)
            patience = await self._take(lines)
            lines.close()
            # What was typed before is still said; but who quits does not wait for a server that is away.
            await select(working, after(patience))
            group.cancel()

    async def _take(self, lines: Channel[str]) -> float:
        """Hand on what is typed; how many seconds what is left of it may take."""
        keyboard = self.screen.input
        with Channel[bytes]() as typed:
            threading.Thread(target=_read_input, args=(typed.blocking(),), name="keyboard", daemon=True).start()
            while not keyboard.ended:
                value, ok = await typed.receive_ok()
                for line in keyboard.feed(value if ok and value is not None else b""):
                    if line.strip() == "/quit":
                        return GOODBYE
                    await lines.send(line)
        return GOODBYE if self.screen.edit else math.inf

    async def _work(self, lines: Channel[str]) -> None:
        async for line in lines:
            try:
                await self._do(line.strip())
            except Refused as error:
                self.screen.note(f"refused: {error.text}", bad=True)
            except Disconnected as error:
                if self.client.end is not None:
                    return
                self.screen.note(f"not known to have arrived: {error.reason}", bad=True)

    async def _do(self, line: str) -> None:
        if not line:
            return
        if line.startswith("/") and not line.startswith("//"):
            command, _, rest = line.partition(" ")
            await self._command(command, rest.strip())
        elif not self.room:
            self.screen.note("you are in no room; /join one", bad=True)
        elif (body := line.removeprefix("/")) and len(body) > wire.MAX_BODY:
            self.screen.note(f"not sent: longer than {wire.MAX_BODY} characters", bad=True)
        else:
            await self.client.say(self.room, body)

    async def _command(self, command: str, rest: str) -> None:
        room = rest.removeprefix("#") or self.room
        match command:
            case "/help":
                self.screen.table("What can be typed", HELP)
            case "/join" if rest:
                await self._join(room)
            case "/leave" if room:
                await self.client.leave(room)
                self._gone(room)
                self.screen.note(f"you left #{room}")
            case "/rooms":
                self.screen.note("rooms: " + (", ".join(f"#{room}" for room in self.rooms) or "none"))
            case "/who" if room:
                self.screen.note("here: " + ", ".join(await self.client.who(room)))
            case "/msg" if direct := _DIRECT.fullmatch(rest):
                name, body = direct[1] or direct[2], direct[3]
                count = await self.client.tell(name, body)
                self.screen.message("", f"you (to {name})", body, time.time())
                if count == 0:
                    self.screen.note(f"{name} is not here", bad=True)
            case "/history" if self.room and (rest.isdecimal() or not rest):
                await self._history(int(rest or 20))
            case "/state":
                self._state()
            case "/join" | "/msg" | "/leave" | "/who" | "/history":
                usage = next(usage for usage, _ in HELP if usage.startswith(command))
                self.screen.note(f"it is used so: {usage}", bad=True)
            case _:
                self.screen.note(f"there is no {command}; /help lists what there is", bad=True)

    async def _join(self, room: str) -> None:
        if room in self.rooms:
            self._speak_in(room)
            return
        joined = await self.enter(room)
        self.screen.note(f"you are in #{room} with {others(joined.members, self.client.user)}")

    async def _history(self, count: int) -> None:
        page = await self.client.history(self.room, limit=count, newest=True)
        self.screen.note(f"the last {len(page.messages)} messages in #{self.room}:")
        for message in sorted(page.messages, key=lambda message: message.position.off if message.position else 0):
            self.screen.message(self._place(message.room), message.sender, message.body, message.sent_at)

    def _state(self) -> None:
        client = self.client
        latency = "not measured yet" if client.latency is None else f"{client.latency * 1000:.0f} ms there and back"
        self.screen.note(f"{'connected' if client.connected else 'offline'}, {latency}")


def others(members: tuple[str, ...], user: str) -> str:
    """Who else is there."""
    names = [name for name in members if name != user]
    return ", ".join(names) if names else "nobody else"


def _read_input(typed: BlockingChannel[bytes]) -> None:
    # os.read, not sys.stdin: a thread that still holds the lock of a buffered reader makes the interpreter's end fail.
    try:
        try:
            while data := os.read(0, 65536):
                typed.send(data)
        except OSError:
            pass  # the terminal is gone
        typed.close()
    except (ChannelClosed, RuntimeError):
        pass  # the program has ended meanwhile
