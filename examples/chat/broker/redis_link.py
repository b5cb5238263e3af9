"""A connection to the engine that is made again whenever it is lost.

Shape
    keep ──▸ dial ──▸ serve(wire) ──▸ lost ──▸ pause ──▸ dial …

    coredis' connection is used without its pool: who uses a connection here must know which one it is, since the run
    of the engine that it leads to decides about epochs (R2 of ``redis_scripts``), and when it is lost, since events may
    be. A pool hides both.

Invariants
    L1  A wire leads to one run of the engine, as a restart breaks it.
    L2  The pause before the n-th try in a row is up to ``0.05 * 2**n`` seconds, at most half a second, and random: an
        engine that is back is found within a second, and not by all nodes in the same moment.
    L3  ``EngineError`` is what a person has to mend; everything else is worth another try.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, Never, cast

import anyio
from anyio.abc import ByteStream
from coredis.connection import BaseConnection, TCPLocation
from coredis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
    UnknownCommandError,
)
from coredis.exceptions import (
    ConnectionError as EngineConnectionError,
)

from gochan import Event, Group, sleep

from .base import Unavailable
from .redis_address import Address, EngineError

log = logging.getLogger(__name__)

TIMEOUT: Final = 0.9
"""Seconds that the engine has for an answer, and for a new connection."""
_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5


class _Connection(BaseConnection):
    """coredis' protocol over a stream that is there already: a failure to connect is ours to tell."""

    def __init__(self, stream: ByteStream, address: Address) -> None:
        super().__init__(
            TCPLocation(address.host, address.port),
            username=address.user,
            password=address.password,
            db=address.database or None,
        )
        self._stream = stream

    async def _connect(self) -> ByteStream:
        return self._stream

    def describe(self) -> str:
        return f"Connection<{self.location!r}>"


class Wire:
    """A connection, from when it is usable until it is lost."""

    def __init__(self, connection: BaseConnection) -> None:
        self.connection = connection
        self.ready = Event()
        self.lost = Event()
        self.error: Exception | None = None

    async def ask(self, *command: bytes | str | int, timeout: float = TIMEOUT) -> Any:
        """Send a command, and wait for the answer.

        Raises:
            RedisError: the engine refuses it.
            TimeoutError: there was none in time; the wire is cut.

        Cancellation: the command is done, or not.
        """
        try:
            return await self.connection.create_request(_name(command[0]), *command[1:], timeout=timeout)
        except TimeoutError:
            self.cut()
            raise

    def cut(self) -> None:
        """Give it up: what is under way fails."""
        self.connection.invalidate()

    def started(self, value: object = None) -> None:
        """What coredis' connection calls when it is usable; it knows this as a ``TaskStatus``."""
        self.ready.set()

    async def hold(self) -> None:
        """Keep the connection running until it ends."""
        try:
            await self.connection.run(task_status=self)
        except RedisError as error:
            self.error = error
        finally:
            self.lost.set()
            self.ready.set()


def _name(word: bytes | str | int) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


async def keep(address: Address, serve: Callable[[Wire], Awaitable[None]], note: Callable[[Exception], None]) -> Never:
    """Connect, ``serve`` until that ends, and do it again, until cancelled.

    Args:
        note: is told of each failure; what it raises ends this.
    """
    context = address.context()
    tries = 0
    while True:
        began = anyio.current_time()
        try:
            async with Group(errors="first") as group:
                await serve(await _dial(address, context, group))
                group.cancel()
        except (RedisError, OSError, Unavailable, EngineError) as error:
            note(explained(address, error))
        tries = 0 if anyio.current_time() - began > 2 * TIMEOUT else min(tries + 1, 8)
        await sleep(random.uniform(0.2, 1.0) * min(_PAUSE * 2**tries, _LONGEST_PAUSE))


async def _dial(address: Address, context: ssl.SSLContext | None, group: Group) -> Wire:
    """A wire that is usable; it is held by the group."""
    with anyio.fail_after(TIMEOUT):
        if context is None:
            stream: ByteStream = await anyio.connect_tcp(address.host, address.port)
        else:
            stream = await anyio.connect_tcp(
                address.host, address.port, ssl_context=context, tls_standard_compatible=False
            )
        wire = Wire(_Connection(stream, address))
        group.go(wire.hold, name=f"connection to {address}")
        await wire.ready.wait()
    if wire.error is not None:
        raise wire.error
    if wire.lost.is_set():
        raise EngineConnectionError("the connection was lost at once")
    return wire


def explained(address: Address, error: Exception) -> Exception:
    """What went wrong, with what to do about it: an ``EngineError`` or an ``Unavailable`` (L3)."""
    if isinstance(error, EngineError | Unavailable):
        return error
    said = str(error) or type(error).__name__
    result: Exception
    match error:
        case ssl.SSLError():
            result = EngineError(
                f"{address}: TLS fails ({said}); is the engine listening with TLS there, and its certificate signed by "
                "an authority that this machine knows (rediss://…?ca=FILE)?"
            )
        case AuthenticationError():
            result = EngineError(
                f"{address} refuses the user or the password ({said}); they belong in the URL, percent-encoded: "
                "redis://user:password@host, or redis://:password@host for the default user"
            )
        case AuthorizationError():
            result = EngineError(
                f"{address}: the user may not do what a broker has to ({said}); ACL SETUSER must allow its keys and "
                "channels (~gochat:* &gochat:*) and +@read +@write +@pubsub +@scripting +@connection +info +config|get"
            )
        case UnknownCommandError():
            result = EngineError(f"{address} is too old, or no Redis ({said}); a broker needs Redis 6.2, or any Valkey")
        case ResponseError():
            result = EngineError(f"{address} refuses the connection: {said}")
        case TimeoutError():
            why = "it is stopped, or cut off" + (", or speaks no TLS there" if address.tls else "")
            result = Unavailable(f"{address} does not answer in time: {why}")
        case _:
            # "All connection attempts failed" says nothing; what it was made from does.
            cause = error.__cause__ if isinstance(error, OSError) else None
            if isinstance(cause, BaseExceptionGroup):
                cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
            if isinstance(cause, OSError) and (cause.errno or 0) > 0:
                said = os.strerror(cause.errno or 0)
            elif cause is not None:
                said = str(cause)
            result = Unavailable(f"{address} cannot be reached ({said}); is it running, and is that its address?")
    result.__cause__ = error
    return result
