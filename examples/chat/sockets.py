"""Sockets for both backends: a stream, and the loop that accepts.

anyio has both, and they are the first choice. Here three things matter that they leave open:

* A stream of anyio's asyncio backend reads ahead from the moment it is accepted until a ``receive()`` first has to
  wait, so a client that never pauses fills the server's memory. This one reads when it is asked to.
* Nothing is buffered on the way out, so a full kernel buffer makes ``send()`` wait: slowness shows at once.
* An accept loop must survive what only concerns the one connection, or passes: an aborted client, no free descriptors.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
from anyio import TypedAttributeProvider
from anyio.abc import ByteStream, SocketAttribute

from gochan import sleep

log = logging.getLogger(__name__)

# Out of descriptors or memory: others have to go first.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# accept(2): an error of the new connection, reported here.
_ABORTED: Final = frozenset({
    errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT,
})  # fmt: skip
_PAUSE: Final = 0.1


class SocketStream(ByteStream):
    """A connected TCP socket. One task may receive while another sends."""

    def __init__(self, sock: socket.socket, send_buffer: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self._socket = sock
        self._sending = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What has arrived, at least one byte."""
        # Before, not after: data that was received must not be lost to a cancellation. And always: a client that never
        # pauses must not keep the loop for itself.
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                await anyio.wait_readable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        """Hand everything to the kernel; a cancelled send may have sent a part."""
        # Not in a ``finally``: after a part of a message nothing may be written past the rest of it.
        self._sending = True
        rest = memoryview(item)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except (BlockingIOError, InterruptedError):
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error
        self._sending = False

    def try_write(self, data: bytes) -> int:
        """Write what the kernel takes without waiting: how many bytes, 0 while a ``send`` is under way or has failed.

        What is wrong with the socket, if something is, the next ``send`` finds out.
        """
        if self._sending:
            return 0
        try:
            return self._socket.send(data)
        except OSError:  # BlockingIOError is one
            return 0

    async def send_eof(self) -> None:
        """Say that nothing more comes; the other side may go on."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def abort(self) -> None:
        """Have closing forget what was not read by the other side, which then sees a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Close at once; nobody may be receiving or sending."""
        self._socket.close()

    async def aclose(self) -> None:
        """``close()``, for anyio."""
        self.close()

    @property
    def local_host(self) -> str:
        """The address on this side."""
        return str(self._socket.getsockname()[0])

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """None; anyio asks."""
        return {}


async def accept_forever(listener: TypedAttributeProvider, handle: Callable[[socket.socket], object]) -> None:
    """Hand every connection to ``handle``, which must not wait."""
    listening = listener.extra(SocketAttribute.raw_socket)  # noqa: S610  # not Django's extra()
    exhausted = False
    while True:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError):
            await anyio.wait_readable(listening)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                if not exhausted:
                    log.warning("no connection can be accepted for now: %s", error)
                exhausted = True
                # The connection stays in the backlog, so the socket stays readable: without a pause this would spin.
                await sleep(_PAUSE)
            elif error.errno not in _ABORTED:
                raise
        else:
            exhausted = False
            handle(connection)
            await anyio.lowlevel.checkpoint()
