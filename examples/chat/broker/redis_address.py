"""Where the engine is: ``redis://user:password@host:port/database``, or ``rediss://`` for TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from .base import BrokerError

_FORM = "redis://[user:password@]host[:port][/database], or rediss:// for TLS"


class EngineError(BrokerError):
    """The engine cannot be used, and to try again will not help; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """One engine. It shows itself without the password."""

    host: str
    port: int = 6379
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    authorities: str | None = None
    """A file with the certificates that the engine's has to be signed by; the system's if not given."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            EngineError: it is none of an engine.
        """
        # Neither the URL is shown nor what the parser says of it: there may be a password in it, where a port belongs.
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
            options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise EngineError(
                f"this is no URL of a broker; it looks like {_FORM}. In a user or a password, what is neither letter "
                "nor digit has to be percent-encoded"
            ) from None
        if parts.scheme not in ("redis", "rediss"):
            raise EngineError(f"a broker is at {_FORM}; not at {parts.scheme + '://…' if parts.scheme else 'that'}")
        if not parts.hostname:
            raise EngineError(f"the URL of the broker names no host; it looks like {_FORM}")
        database = parts.path.strip("/") or "0"
        if not (database.isascii() and database.isdigit()):
            raise EngineError(f"after the host comes the number of a database; {_FORM}")
        if unknown := sorted(options.keys() - {"ca"}):
            raise EngineError(f"the URL of a broker has no option {unknown[0]!r}; there is ca=FILE, for rediss://")
        return cls(
            parts.hostname,
            port,
            int(database),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            parts.scheme == "rediss",
            options["ca"][0] if "ca" in options else None,
        )

    def context(self) -> ssl.SSLContext | None:
        """What TLS needs.

        Raises:
            EngineError: the file of certificates cannot be read.
        """
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except OSError as error:
            raise EngineError(f"the certificates in {self.authorities!r} cannot be read: {error}") from error

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"
