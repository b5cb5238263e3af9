"""Many clients in one process that costs little: plain sockets, one epoll, no event loop of anybody.

    python -m tests.chat.table.load        commands on stdin, answers on stdout, one JSON object a line

What is measured is a server, so its clients must not be what is slow: a message that arrives is not decoded, it is
counted, by two characters that every body begins with and nothing else has (``MARK``). The n-th mark on a connection is
the n-th message, so the time at which that was sent is known, too. Those who have stopped reading look closer when they
go on: they read every frame, and keep the offsets.

Between commands the clients live on: they read, and answer pings. ``crowd`` starts this and speaks with it.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Final

# Two: one alone may be the length in the header of a frame.
MARK: Final = b"||"
_HALF: Final = MARK[0]
_READ: Final = 262_144
_READING = select.EPOLLIN if hasattr(select, "epoll") else 0
_WRITING = select.EPOLLOUT if hasattr(select, "epoll") else 0


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame. The mask is zero, which is a mask like any other."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + length + b"\0\0\0\0" + payload


class Client:
    """One connection."""

    __slots__ = ("begun", "buffer", "code", "got", "half", "lost", "name", "offsets", "others", "sock", "step")

    def __init__(self, sock: socket.socket, name: str, step: Callable[[Client, bytes], None]) -> None:
        self.sock = sock
        self.name = name
        self.step = step
        self.begun = time.perf_counter()
        self.got = 0
        """Messages that it was given since the last measurement began."""
        self.half = False
        """Whether what it was given ended within a mark, or right after one."""
        self.buffer = b""
        # What one was told that looks closer.
        self.offsets: list[int] = []
        self.lost = 0
        self.others: set[str] = set()
        self.code: int | None = None
        """With which it was told goodbye."""


class Load:
    """All the clients, and what is asked of them."""

    def __init__(self) -> None:
        self.poll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.port = 0
        self.chat = True
        self.room = ""
        self.joined = self.refused = self.broken = self.delivered = self.gone = 0
        self.handshakes = array("d")
        self.churn = self.run = 0
        # A measurement: when each message was sent, to how many clients it has still to come, and how long it took.
        self.sent: list[float] = []
        self.left: list[int] = []
        self.completed = 0
        self.latencies = array("d")
        self.now = 0.0

    # ---- the loop ----

    def turn(self, timeout: float) -> bool:
        """Do what there is to do, or wait for it; whether there is a command."""
        asked = False
        for fd, mask in self.poll.poll(max(0.0, timeout)):
            client = self.clients.get(fd)
            if client is None:
                asked = asked or fd == 0
            elif mask & _WRITING:
                self._greet(client)
            else:
                self._read(client)
        return asked

    def _read(self, client: Client) -> None:
        try:
            data = client.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            client.step(client, data)
        else:
            self._lost(client)

    def _lost(self, client: Client) -> None:
        if client.step == self._shaking_hands:
            self.broken += 1
        else:
            self.gone += 1
        self.drop(client)

    def drop(self, client: Client) -> None:
        self.clients.pop(client.sock.fileno(), None)
        client.sock.close()

    # ---- connecting ----

    def dial(self, name: str, receive_buffer: int = 0) -> Client:
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client = Client(sock, name, self._shaking_hands)
        if (failed := sock.connect_ex(("127.0.0.1", self.port))) not in (0, errno.EINPROGRESS):
            raise OSError(failed, os.strerror(failed))
        self.clients[sock.fileno()] = client
        self.poll.register(sock, _WRITING)
        return client

    def _greet(self, client: Client) -> None:
        self.poll.modify(client.sock, _READING)
        try:
            client.sock.send(
                b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
                % (self.port, b"Sec-WebSocket-Protocol: gochat.json\r\n" if self.chat else b"")
            )
        except OSError:
            self._lost(client)

    def _shaking_hands(self, client: Client, data: bytes) -> None:
        client.buffer += data
        head, end, rest = client.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        client.buffer = b""
        self.handshakes.append(time.perf_counter() - client.begun)
        if not head.startswith(b"HTTP/1.1 101"):
            self.refused += head.startswith(b"HTTP/1.1 503")
            self.broken += not head.startswith(b"HTTP/1.1 503")
            self.drop(client)
        elif not self.chat:
            self._in(client, rest)
        else:
            client.step = self._joining
            hello = {"t": "hello", "v": 1, "user": client.name}
            self.send(client, hello, *([{"t": "join", "id": 1, "room": self.room}] if self.room else []))
            if rest:
                client.step(client, rest)

    def _joining(self, client: Client, data: bytes) -> None:
        client.buffer += data
        if self.churn:
            if b'"welcome"' in client.buffer:
                self._hang_up(client)
        elif (b'"t":"joined"' if self.room else b'"t":"welcome"') in client.buffer:
            client.buffer = b""
            self._in(client, b"")

    def _in(self, client: Client, rest: bytes) -> None:
        self.joined += 1
        client.step = self._count
        if rest:
            self._count(client, rest)

    def _hang_up(self, client: Client) -> None:
        """Every other one says goodbye and waits for the end, the others reset the connection."""
        client.step = self._leaving
        self.churn += 1
        if self.churn % 2:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._lost(client)
        else:
            client.sock.send(frame(b"\x03\xe8", opcode=8))

    def _leaving(self, client: Client, data: bytes) -> None:
        pass

    # ---- being there ----

    def send(self, client: Client, *messages: dict[str, Any]) -> None:
        data = b"".join([frame(json.dumps(message).encode()) for message in messages])
        assert client.sock.send(data) == len(data), "what a client says fits the buffer of its socket"

    def _count(self, client: Client, data: bytes) -> None:
        n = data.count(MARK)
        if client.half and data[0] == _HALF:
            n += 1
        client.half = data[-1] == _HALF
        if n:
            got = client.got
            client.got = got + n
            self.delivered += n
            now = time.perf_counter()
            left, sent = self.left, self.sent
            for k in range(got, min(got + n, len(left))):
                left[k] -= 1
                self.latencies.append(now - sent[k])
                if not left[k]:
                    self.completed += 1
        if b'"t":"ping"' in data:
            self._pong(client, data)

    def _pong(self, client: Client, data: bytes) -> None:
        nonce = data.partition(b'"t":"ping"')[2].partition(b'"n":')[2].partition(b"}")[0]
        if nonce.isdigit():  # else it came in two pieces, and there will be another
            client.sock.send(frame(b'{"t":"pong","n":%b}' % nonce))

    def _look(self, client: Client, data: bytes) -> None:
        """As ``_count``, but read."""
        client.buffer += data
        while len(client.buffer) >= 2:
            first, size, start = client.buffer[0], client.buffer[1], 2
            if size > 125:
                start = 4 if size == 126 else 10
                size = int.from_bytes(client.buffer[2:start], "big")
            if len(client.buffer) < start + size:
                return
            payload, client.buffer = client.buffer[start : start + size], client.buffer[start + size :]
            if first == 0x88:
                client.code = int.from_bytes(payload[:2], "big")
                continue
            message = json.loads(payload)
            if message["t"] == "ping":
                self.send(client, {"t": "pong", "n": message["n"]})
            elif message["t"] == "msg":
                client.offsets.append(message["off"])
            elif message["t"] == "lag":
                client.lost += message["n"]
            elif message["t"] not in ("ack", "pres"):
                client.others.add(message["t"])

    # ---- commands ----

    def serve(self) -> None:
        self.poll.register(0, _READING)
        while True:
            if not self.turn(3600.0):
                continue
            line = sys.stdin.readline()
            if not line:
                return
            asked = json.loads(line)
            began = time.perf_counter(), time.process_time()
            answer = getattr(self, "do_" + asked.pop("do"))(**asked)
            answer.setdefault("seconds", time.perf_counter() - began[0])
            answer["cpu"] = time.process_time() - began[1]
            print(json.dumps(answer), flush=True)

    def do_connect(
        self,
        port: int,
        count: int,
        at_once: int = 64,
        chat: bool = True,
        user: str = "user",
        room: str = "hall",
        receive_buffer: int = 0,
        within: float = 60.0,
    ) -> dict[str, Any]:
        """So many clients more, and into the room, if there is one; so many of them at once."""
        self.port, self.chat, self.room = port, chat, room
        self.joined = self.refused = self.broken = 0
        self.handshakes = array("d")
        dialled = 0
        until = time.perf_counter() + within
        while (done := self.joined + self.refused + self.broken) < count and time.perf_counter() < until:
            while dialled < count and dialled - done < at_once:
                self.dial(f"{user}{dialled}", receive_buffer)
                dialled += 1
            self.turn(0.1)
        return {
            "joined": self.joined,
            "refused": self.refused,
            "broken": self.broken,
            "waiting": dialled - done,
            **_spread("handshake", self.handshakes),
        }

    def do_churn(self, port: int, cycles: int, at_once: int = 64, within: float = 60.0) -> dict[str, Any]:
        """So many times: connect, say hello, be welcome, leave."""
        self.port, self.chat, self.room = port, True, ""
        self.churn, self.gone, self.refused, self.broken = 1, 0, 0, 0
        self.handshakes = array("d")
        dialled = 0
        until = time.perf_counter() + within
        while (done := self.gone + self.refused + self.broken) < cycles and time.perf_counter() < until:
            while dialled < cycles and dialled - done < at_once:
                self.dial(f"guest{dialled % 1000}")
                dialled += 1
            self.turn(0.1)
        self.churn = 0
        return {
            "cycles": self.gone,
            "refused": self.refused,
            "broken": self.broken,
            "waiting": dialled - done,
            **_spread("handshake", self.handshakes),
        }

    def _begin(self, to: int | None) -> int:
        """A measurement: to how many clients each message has to come."""
        self.run = time.time_ns()  # a message of an id that was there before would be a duplicate
        self.sent, self.left = [], []
        self.latencies = array("d")
        self.completed = self.delivered = 0
        for client in self.clients.values():
            client.got = 0
        return len(self.clients) if to is None else to

    def _say(self, client: Client, body: str, to: int, times: int = 1) -> None:
        for _ in range(times):
            self.sent.append(time.perf_counter())
            self.left.append(to)
        if self.chat:
            ids = range(len(self.sent) - times, len(self.sent))
            self.send(client, *[{"t": "say", "id": f"{self.run}-{n}", "room": self.room, "body": body} for n in ids])
        else:
            client.sock.send(frame(body.encode()) * times)

    def do_closed_loop(self, seconds: float, window: int, size: int = 100) -> dict[str, Any]:
        """One client says things for so long, ``window`` of them at a time: the next when one has come to everybody."""
        body = MARK.decode() + "x" * (size - len(MARK))
        speaker = next(iter(self.clients.values()))
        to = self._begin(None)
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds or self.completed < len(self.sent):
            if passed < seconds and (room := window - len(self.sent) + self.completed):
                self._say(speaker, body, to, room)
            self.turn(0.05)
            if passed > seconds + 10:
                break
        return self._account(began, to)

    def do_open_loop(self, seconds: float, rate: float, size: int = 100, to: int | None = None) -> dict[str, Any]:
        """One client says things for so long, so many a second, whatever has come of those before.

        Args:
            to: how many clients read, where not all of them do.
        """
        body = MARK.decode() + "x" * (size - len(MARK))
        speaker = next(iter(self.clients.values()))
        to = self._begin(to)
        began = time.perf_counter()
        messages = int(seconds * rate)
        while (n := len(self.sent)) < messages or self.completed < n:
            due = began + n / rate - time.perf_counter()
            if n < messages and due <= 0:
                self._say(speaker, body, to)
            else:
                self.turn(min(due, 0.05) if n < messages else 0.05)
            if time.perf_counter() - began > seconds + 10:
                break
        return self._account(began, to)

    def _account(self, began: float, to: int) -> dict[str, Any]:
        return {
            "seconds": time.perf_counter() - began,
            "messages": len(self.sent),
            "expected": len(self.sent) * to,
            "delivered": self.delivered,
            **_spread("latency", self.latencies),
        }

    def do_idle(self, seconds: float) -> dict[str, Any]:
        """Just be there."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self.turn(min(left, 0.2))
        return {"here": len(self.clients)}

    def do_stop_reading(self, user: str) -> dict[str, Any]:
        """Those whose names begin so, from now on careful ones."""
        chosen = [client for client in self.clients.values() if client.name.startswith(user)]
        for client in chosen:
            client.step = self._look
            self.poll.modify(client.sock, 0)
        return {"stopped": len(chosen)}

    def do_resume(self, user: str, seconds: float, messages: int) -> dict[str, Any]:
        """They read again, until each has heard of so many messages, or lost ones, or was told goodbye.

        What they were told is answered as the offsets of messages, in order, how many they were told to have missed,
        what else there was, and the codes.
        """
        chosen = [client for client in self.clients.values() if client.name.startswith(user)]
        for client in chosen:
            self.poll.modify(client.sock, _READING)
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            if all(client.code is not None or len(client.offsets) + client.lost >= messages for client in chosen):
                break
            self.turn(min(left, 0.05))
        return {
            "offsets": [client.offsets for client in chosen],
            "lost": [client.lost for client in chosen],
            "others": sorted({kind for client in chosen for kind in client.others}),
            "codes": [client.code for client in chosen],
        }

    def do_close(self) -> dict[str, Any]:
        """All of them hang up."""
        closed = deque(self.clients.values())
        for client in closed:
            self.drop(client)
        return {"closed": len(closed)}


def _spread(what: str, seconds: array[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {f"{what}_p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 99, 100)}


if __name__ == "__main__":
    Load().serve()
