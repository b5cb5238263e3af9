"""Limits: how fast one connection, one user and the whole port may go.

    limits = Limits(connection=Rate(20, 40), user=Rate(40, 80), accept=Rate(500, 1000), patience=1.0, strikes=20)
    seconds = limits.accept()       a new connection: 0 when it is welcome, else "503, come back in so many seconds"
    gate = limits.gate();  gate.identify(user);  await gate.admit(id=...);  gate.leave()

Shape
    Token buckets (``gochan.Limiter``): one for the port, one a connection, one a user name, whom many connections may
    share. A command takes a token of its connection and one of its user. What happens when there is none:

        within the limit   --too fast-->   not read from   --for more than 1 s-->   429   --20 strikes-->   4013

    Not reading costs nothing, and TCP tells the sender to slow down without a word. Who still has too much to say is
    refused, with the time at which it may come back; who does not care is sent away.

Invariants
    L1  In t seconds a connection gets at most burst + rate * t commands through, a user as well, whatever is sent.
    L2  A command that is refused takes no token of either bucket; one whose session ends while it waits gives back what
        it took for later, so that the user's other sessions do not pay for it.
    L3  A sender waits at most ``patience`` seconds until its bucket has been half full again.
    L4  A refused command is a strike; a command that need not wait takes one back.
    L5  The table of users holds those who are connected, and at most ``remembered`` others, whose buckets were not full
        when they left: a new connection is no new bucket. A full bucket remembers nothing and is thrown away.

Why the limit is at the reader: in the hub, whoever waits for a token would hold up everybody.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NoReturn

from gochan import Limiter, sleep

from .telemetry import Metrics, NullMetrics
from .wire import Close, Code, Goodbye, WireError

# Clocks and floats: a bucket that is this close to full is.
_NEARLY: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second on average, and so many at once."""

    rate: float
    burst: int

    def bucket(self) -> Limiter:
        """A full one."""
        return Limiter(self.rate, self.burst)


class _User:
    """One user name: its bucket, and how many connections use it."""

    __slots__ = ("bucket", "connections")

    def __init__(self, bucket: Limiter) -> None:
        self.bucket = bucket
        self.connections = 0


class Limits:
    """The limits of one port.

    Args:
        connection: commands of one connection.
        user: commands of one user, over all of its connections.
        accept: new connections.
        patience: seconds for which a sender that is too fast is not read from, before it is refused.
        strikes: refused commands after which the connection ends.
        remembered: users who are not connected, but whose bucket is not full, of whom the table knows at most.
        metrics: where it is counted what was held up and what was refused.

    Raises:
        ValueError: a number makes no sense.
    """

    def __init__(
        self,
        *,
        connection: Rate = Rate(20, 40),
        user: Rate = Rate(40, 80),
        accept: Rate = Rate(500, 1000),
        patience: float = 1.0,
        strikes: int = 20,
        remembered: int = 10_000,
        metrics: Metrics | None = None,
    ) -> None:
        if not (0 <= patience < math.inf and strikes >= 1 and remembered >= 0):
            raise ValueError(
                f"patience={patience!r}, strikes={strikes!r}, remembered={remembered!r}: not all make sense"
            )
        for rate in (connection, user, accept):
            if not (rate.rate > 0 and rate.burst >= 1):
                raise ValueError(f"{rate!r}: nothing would ever come through")
        self.connection, self.user = connection, user
        self.patience, self.strikes = patience, strikes
        self._accept = accept.bucket()
        self._remembered = remembered
        self._here: dict[str, _User] = {}
        self._gone: OrderedDict[str, _User] = OrderedDict()  # the one who left last is last
        metrics = metrics or NullMetrics()
        self.count = metrics.counter("gochat_limited_total", "What was too fast, by what was done about it", ("what",))
        """By what happened: ``waited``, ``refused``, ``ended``, ``accept``."""

    def accept(self) -> float:
        """Whether one more connection is welcome: 0, or in how many seconds it would be."""
        if self._accept.allow():
            return 0.0
        self.count.inc(1, "accept")
        return _wait_for(self._accept)

    def gate(self) -> Gate:
        """What one connection passes through."""
        return Gate(self)

    def enter(self, name: str) -> _User:
        """One more connection of this user."""
        user = self._here.get(name)
        if user is None:
            user = self._here[name] = self._back(name)
        user.connections += 1
        return user

    def _back(self, name: str) -> _User:
        try:
            return self._gone.pop(name)
        except KeyError:
            return _User(self.user.bucket())

    def leave(self, name: str) -> None:
        """One less."""
        user = self._here[name]
        user.connections -= 1
        if user.connections:
            return
        del self._here[name]
        if not _full(user.bucket):
            self._gone[name] = user
            # First those who have recovered meanwhile: whoever floods with names must not push out the ones that count.
            while len(self._gone) > self._remembered:
                self._gone.popitem(last=False)
        while self._gone and _full(next(iter(self._gone.values())).bucket):
            self._gone.popitem(last=False)

    def _check(self) -> None:
        assert len(self._gone) <= self._remembered, "L5"
        assert not self._here.keys() & self._gone.keys(), "L5: here and gone"
        assert all(user.connections > 0 for user in self._here.values()), "L5"
        assert not any(user.connections for user in self._gone.values()), "L5"


class Gate:
    """One connection's way in; made by ``Limits.gate``."""

    __slots__ = ("_bucket", "_left", "_limits", "_name", "_user", "strikes", "waited")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bucket = limits.connection.bucket()
        self._name: str | None = None
        self._user: _User | None = None
        self._left = False
        self.waited = 0.0
        """Seconds for which it was not read from since its bucket was half full."""
        self.strikes = 0
        """Refused commands that were not made good."""

    def identify(self, name: str) -> None:
        """From now on this user's bucket counts, too.

        Raises:
            RuntimeError: it is known already, or has left.
        """
        if self._user is not None or self._left:
            raise RuntimeError(f"{self!r} cannot be {name!r}: identify() is called once, before leave()")
        self._name, self._user = name, self._limits.enter(name)

    def leave(self) -> None:
        """The connection ends; idempotent."""
        if not self._left:
            self._left = True
            if self._name is not None:
                self._limits.leave(self._name)

    async def admit(self, *, id: str | int | None = None) -> None:  # noqa: A002  # as the message calls it
        """Let one command through; waits while the sender is too fast, so that nothing is read from it.

        Args:
            id: of the command, for the refusal.

        Raises:
            WireError: refused, with 429 and ``retry_ms``.
            Goodbye: refused too often, with 4013.

        Cancellation: the command has not happened, and what it waited for is given back.
        Fairness: connections of one user are let through in the order in which they came.
        """
        limits = self._limits
        buckets = (self._bucket,) if self._user is None else (self._bucket, self._user.bucket)
        if 2 * self._bucket.tokens >= self._bucket.burst:
            self.waited = 0.0  # L3
        # Asked before anything is taken: a reservation that is due at once cannot be given back a moment later.
        delay = max(map(_wait_for, buckets))
        if delay > 0 and self.waited + delay > limits.patience:
            self._refuse(delay, id)
        grants = [bucket.reserve() for bucket in buckets]
        if delay <= 0:
            self.strikes = max(0, self.strikes - 1)
            return
        self.waited += delay
        limits.count.inc(1, "waited")
        try:
            await sleep(max(grant.delay for grant in grants))
        except BaseException:
            for grant in grants:
                grant.cancel()  # L2
            raise

    def _refuse(self, delay: float, id_: str | int | None) -> NoReturn:
        self.strikes += 1
        if self.strikes >= self._limits.strikes:
            self._limits.count.inc(1, "ended")
            raise Goodbye(Close.TOO_MANY_REQUESTS, "too many requests")
        self._limits.count.inc(1, "refused")
        raise WireError(Code.RATE_LIMITED, "too fast", id_, retry_ms=max(1, math.ceil(delay * 1000)))

    def __repr__(self) -> str:
        return f"<Gate of {self._name or 'nobody yet'}: strikes={self.strikes}, waited={self.waited:.3g} s>"


def _full(bucket: Limiter) -> bool:
    return bucket.tokens >= bucket.burst - _NEARLY


def _wait_for(bucket: Limiter) -> float:
    return max(0.0, (1 - bucket.tokens) / bucket.rate)
