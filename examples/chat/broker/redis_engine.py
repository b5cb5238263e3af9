"""The engine, as one node sees it: its scripts are run over one connection, or refused at once.

Shape
    call, batch ──▸ breaker ──▸ deadline ──▸ wire ──▸ engine

    All calls share one connection, which coredis pipelines: what several goroutines ask at the same time goes out in
    one write. Who is cancelled leaves its answer behind, and harms nobody.

Invariants
    G1  Every call ends within ``TIMEOUT`` seconds, or twice that if the engine had forgotten the scripts; then as
        ``Unavailable``.
    G2  A call that has no answer in time cuts the wire, so the order of answers never shifts; while the engine is away
        calls are refused at once, by the breaker or because there is no wire.
    G3  What a call says about the run of the engine (R2 of ``redis_scripts``) was read over the same wire (L1).
    G4  There is no local mode: without the engine nothing is published and nothing is read.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from coredis.exceptions import ConnectionError as EngineConnectionError
from coredis.exceptions import NoScriptError, ReadOnlyError, RedisError

from gochan import CircuitBreaker, CircuitBreakerError, Event, after, select

from ..telemetry import BREAKER_MEANING, BREAKER_STATES, Metrics
from .base import Unavailable
from .redis_address import Address, EngineError
from .redis_link import TIMEOUT, Wire, explained, keep
from .redis_scripts import ALL, Script

log = logging.getLogger(__name__)

T = TypeVar("T")
Argument = bytes | str | int

OLDEST: Final = (6, 2)
_TRIPS: Final = 3
_OPEN_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Call:
    """A script to run; looks to coredis like one of its own commands."""

    script: Script
    keys: Sequence[bytes]
    arguments: Sequence[Argument]
    name: bytes = b"EVALSHA"
    decode: bool = False

    @property
    def serialized_arguments(self) -> tuple[Argument, ...]:
        return (self.script.sha, len(self.keys), *self.keys, *self.arguments)


@dataclass(frozen=True, slots=True)
class Run:
    """One life of an engine's process."""

    id: str
    durable: bool
    """Whether what it acknowledged outlives it: written to disk before the answer, and nowhere else to fail over to."""

    def arguments(self) -> tuple[Argument, ...]:
        """What every script about a room is told first."""
        return (self.id, int(self.durable), secrets.token_hex(4))


class Engine:
    """Calls to the engine. ``run`` keeps the connection."""

    def __init__(self, address: Address, metrics: Metrics) -> None:
        self.address = address
        self._state = metrics.gauge("gochat_breaker_state", BREAKER_MEANING, ("name",))
        self.up = Event()
        """Set once it was reached for the first time."""
        self.broken = Event()
        """Set when it turned out before that that it cannot be used."""
        self.error: Exception | None = None
        """Why it cannot be reached, while it cannot be."""
        self.breaker = CircuitBreaker(
            f"engine {address}",
            timeout=_OPEN_SECONDS,
            ready_to_trip=lambda counts: counts.consecutive_failures >= _TRIPS,
            on_state_change=self._changed,
        )
        self._changed("", "", self.breaker.state)
        self.connections = 0
        self._wire: Wire | None = None
        self._run: Run | None = None

    async def run(self) -> None:
        """Keep the connection, until cancelled."""
        await keep(self.address, self._serve, self._note)

    async def reached(self, timeout: float) -> None:
        """Wait for the first connection.

        Raises:
            EngineError: the engine cannot be used, or was not reached in time.
        """
        which, _ = await select(self.up, self.broken, after(timeout))
        if which == 0:
            return
        if isinstance(self.error, EngineError):
            raise self.error
        raise EngineError(f"no engine within {timeout:g} s: {self.error or explained(self.address, TimeoutError())}")

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._wire is not None

    async def call(self, script: Script, keys: Sequence[bytes], *arguments: Argument, room: bool = False) -> Any:
        """Run a script.

        Args:
            room: it is told the run of the engine before its other arguments.

        Raises:
            Unavailable: it was run, or not.

        Cancellation: it is run, or not.
        """

        async def ask(wire: Wire, run: Run) -> Any:
            call = Call(script, keys, (*run.arguments(), *arguments) if room else arguments)
            try:
                return await wire.ask(call.name, *call.serialized_arguments)
            except NoScriptError:
                await _load(wire)
                return await wire.ask(call.name, *call.serialized_arguments)

        return await self._through(ask)

    async def command(self, *words: Argument) -> Any:
        """Have the engine do a command. Raises and is cancelled like ``call``."""

        async def ask(wire: Wire, run: Run) -> Any:
            return await wire.ask(*words)

        return await self._through(ask)

    async def batch(self, calls: Sequence[tuple[Script, Sequence[bytes], Sequence[Argument]]]) -> list[Any]:
        """Run scripts about rooms, in one write and one wait.

        Returns:
            Each one's result, or the ``RedisError`` that it failed with.

        Raises:
            Unavailable: some of them were run, or none, or all.

        Cancellation: cuts the wire: the answers that are missing could not be told from those to come.
        """

        async def ask(wire: Wire, run: Run) -> list[Any]:
            first = run.arguments()
            commands = [Call(script, keys, (*first, *rest)) for script, keys, rest in calls]
            results = await _pipelined(wire, commands)
            again = [n for n, result in enumerate(results) if isinstance(result, NoScriptError)]
            if again:
                await _load(wire)
                for n, result in zip(again, await _pipelined(wire, [commands[n] for n in again]), strict=True):
                    results[n] = result
            return results

        return await self._through(ask)

    async def _through(self, ask: Callable[[Wire, Run], Coroutine[Any, Any, T]]) -> T:
        async def call() -> T:
            wire, run = self._wire, self._run
            if wire is None or run is None:
                raise self._unavailable()
            try:
                return await ask(wire, run)
            except (RedisError, OSError) as error:
                if isinstance(error, ReadOnlyError):
                    wire.cut()  # it has become a replica: the address may lead to another one now
                raise Unavailable(str(explained(self.address, error))) from error

        try:
            return await self.breaker.call(call)
        except CircuitBreakerError as error:
            raise self._unavailable() from error

    def _unavailable(self) -> Unavailable:
        return Unavailable(f"no connection to the engine: {self.error or f'{self.address} did not answer'}")

    async def _serve(self, wire: Wire) -> None:
        run = await _examine(wire, self.address)
        await _load(wire)
        self._run, self._wire = run, wire
        if self.error is not None:
            log.warning("%s is there again", self.address)
        self.error = None
        self.connections += 1
        self.up.set()
        try:
            await wire.lost.wait()
        finally:
            self._wire = None
        raise EngineConnectionError("the connection was lost")

    def _note(self, error: Exception) -> None:
        """Log the first failure, not each try."""
        if self.error is None or type(self.error) is not type(error):
            log.error("%s; trying again until it works", error)
        self.error = error
        if isinstance(error, EngineError):
            self.broken.set()

    def _changed(self, _name: str, old: str, new: str) -> None:
        self._state.set(BREAKER_STATES[new], "engine")
        if old:
            log.info("the breaker of %s is %s", self.address, new)

    def __repr__(self) -> str:
        return f"<Engine {self.address} {'connected' if self.connected else 'not connected'}>"


async def _pipelined(wire: Wire, commands: Sequence[Call]) -> list[Any]:
    request = wire.connection.create_request_batch(cast("Any", commands), timeout=TIMEOUT)
    results = cast("list[Any]", await request)
    for result in results:
        if isinstance(result, EngineConnectionError | TimeoutError):
            raise result
    return results


async def _load(wire: Wire) -> None:
    """All of them: an engine that has forgotten one has forgotten the others."""
    for script in ALL:
        await wire.ask(b"SCRIPT LOAD", script.text)


async def _examine(wire: Wire, address: Address) -> Run:
    """Which run of which engine this is.

    Raises:
        EngineError: one that a broker cannot use.
        Unavailable: one that it cannot use now.
    """
    text: bytes = await wire.ask(b"INFO")
    info = dict(line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line)
    version = info.get("redis_version", "0")
    if tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2]) < OLDEST:
        raise EngineError(f"{address} is Redis {version}: a broker needs {'.'.join(map(str, OLDEST))}, or any Valkey")
    if info.get("cluster_enabled") == "1":
        raise EngineError(f"{address} is a node of a cluster; a broker needs an engine by itself, without cluster mode")
    if info.get("role", "master") != "master":
        raise Unavailable(
            f"{address} is a replica, which cannot be written to; a broker needs the address of the primary"
        )
    if info.get("loading") == "1":
        raise Unavailable(f"{address} is still reading its data")
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy != "noeviction":
        log.warning("%s may throw away history and keys (maxmemory-policy %s): set it to noeviction", address, policy)
    alone = info.get("connected_slaves") == "0" and not info.get("master_replid2", "").strip("0")
    durable = info.get("aof_enabled") == "1" and alone and await _flushes_always(wire)
    if not durable:
        log.info(
            "%s may forget things when it restarts, so rooms begin anew then; with appendfsync always, and without any "
            "replicas, they go on",
            address,
        )
    return Run(info.get("run_id", secrets.token_hex(8)), durable)


async def _flushes_always(wire: Wire) -> bool:
    try:
        answer = await wire.ask(b"CONFIG GET", b"appendfsync")
    except RedisError:
        return False  # hidden by whoever runs it: nothing is known
    pairs = (
        cast("dict[bytes, bytes]", answer) if isinstance(answer, dict) else dict(zip(*[iter(answer)] * 2, strict=False))
    )
    return pairs.get(b"appendfsync") == b"always"
