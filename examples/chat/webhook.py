"""A webhook: every message as one HTTP POST, for ``Downstream``. Off unless an address is given.

    send = Webhook("https://example.com/hook", headers={"Authorization": "Bearer ..."});  Downstream(send)

Shape
    One connection a call, closed by the answer. The body is the message as JSON; the header ``traceparent`` carries its
    trace on, and ``Idempotency-Key`` its id. Any 2xx is a success, anything else a ``WebhookError``; redirects are not
    followed, since a redirected POST is no longer one.

Bounds
    Time is the caller's (``Downstream`` gives each call a deadline); of the answer only the first line is read, and at
    most 16 KiB.

Why not a library: this is all of HTTP that is needed, and it runs wherever anyio does. For many messages a second a
client that keeps connections open is the better ``send``; anything async that takes a ``Notice`` is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteReceiveStream, ByteStream

from .downstream import Notice

_MAX_HEAD: Final = 16 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]+: [\x20-\x7e]*")


class WebhookError(OSError):
    """The service did not take the message."""


class Webhook:
    """Sends notices to one address.

    Args:
        url: where to, http or https.
        headers: more headers, for an authorization.

    Raises:
        ValueError: no such address, or no such header.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or re.search(r"\s", url):
            raise ValueError(f"the address of a webhook is http://host/path or https://host/path, not {url!r}")
        if parts.username is not None:
            raise ValueError("a webhook takes no name and password in its address: give an Authorization header")
        self._host, self._tls = parts.hostname, parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        lines = [
            f"POST {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
            f"Host: {parts.netloc}",
            "User-Agent: gochan-chat",
            "Content-Type: application/json",
            "Connection: close",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        for line in lines[1:]:
            if not _HEADER.fullmatch(line):
                raise ValueError(f"no header that HTTP knows: {line!r}")
        self._head = "\r\n".join(lines)

    async def __call__(self, notice: Notice) -> None:
        """Send one notice.

        Raises:
            OSError: the service cannot be reached, or (``WebhookError``) did not answer with 2xx.
        """
        try:
            async with await self._connect() as stream:
                await stream.send(self._request(notice))
                status = await _status(stream)
        except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise WebhookError(f"{self._host}:{self._port} ended the connection without an answer") from error
        if not 200 <= status < 300:
            raise WebhookError(f"{self._host}:{self._port} answered {status}")

    async def _connect(self) -> ByteStream:
        if not self._tls:
            return await anyio.connect_tcp(self._host, self._port)
        # The answer says how long it is; servers that end TLS without a word are many.
        return await anyio.connect_tcp(self._host, self._port, tls=True, tls_standard_compatible=False)

    def _request(self, notice: Notice) -> bytes:
        fields = {"room": notice.room, "from": notice.sender, "body": notice.body, "id": notice.id, "ts": notice.ts}
        body = json.dumps(fields).encode()
        head = [self._head, f"Content-Length: {len(body)}"]
        # Both come from clients: into a header goes what cannot end it, everything else stays away.
        for name, value in (("traceparent", notice.traceparent), ("Idempotency-Key", notice.id)):
            if value is not None and _HEADER.fullmatch(line := f"{name}: {value}"):
                head.append(line)
        return "\r\n".join((*head, "", "")).encode("ascii") + body

    def __repr__(self) -> str:
        return f"<Webhook to {self._host}:{self._port}>"


async def _status(stream: ByteReceiveStream) -> int:
    head = b""
    while b"\n" not in head:
        if len(head) > _MAX_HEAD:
            raise WebhookError("the answer is no HTTP")
        head += await stream.receive()
    match = _STATUS.match(head)
    if match is None:
        raise WebhookError("the answer is no HTTP")
    return int(match[1])
