"""The web side of the port: three plain answers, and the handshake of WebSocket.

    GET /          the page                 GET /healthz   ok
    GET /*.js …    what the page loads      GET /ws        WebSocket, subprotocol gochat.json, no extensions

Only GET, only these, one request per connection. The files are read once, at the start: a request names a key of a
dictionary, so no path can lead out of the directory.

Who may ask. A browser sends any page's requests anywhere, with two headers that tell:

* ``Host`` must be a name of this machine (or one of ``--allow-hosts``). A page of evil.example whose name is made to
  point to 127.0.0.1 (DNS rebinding) still says evil.example. An address is fine where the request really came in on it.
* ``Origin``, which programs leave out and browsers send with every WebSocket, must be the same host and port: a page
  from elsewhere may not talk in its visitor's name.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from .config import Settings
from .wire import SUBPROTOCOL

_WEB: Final = Path(__file__).parent / "web"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PLAIN: Final = "text/plain; charset=utf-8"
REQUEST_LINE: Final = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
_STYLE: Final = re.compile(rb"<style>(.*?)</style>", re.DOTALL)

# The library logs every handshake; this server has its own words.
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the page."""

    type: str
    body: bytes


def read_pages(directory: Path = _WEB) -> dict[str, Page]:
    """What can be asked for, by path."""
    pages = {"/" + file.name: Page(_TYPES[file.suffix], file.read_bytes())
             for file in sorted(directory.iterdir()) if file.suffix in _TYPES}  # fmt: skip
    pages["/"] = pages.pop("/index.html")
    return pages


def new_protocol(max_size: int) -> ServerProtocol:
    """The server's side of one HTTP request that may become a WebSocket."""
    return ServerProtocol(select_subprotocol=_subprotocol, max_size=max_size, logger=_quiet)


def _subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    if not offered:  # a client that does not care gets what there is
        return None
    if SUBPROTOCOL in offered:
        return Subprotocol(SUBPROTOCOL)
    raise NegotiationError(f"the subprotocol is {SUBPROTOCOL}")


def answer(protocol: ServerProtocol, head: bytes, local: str, pages: Mapping[str, Page], settings: Settings) -> bytes:
    """The answer to a request, whose head is complete; 101 if the protocol is open afterwards.

    Args:
        local: the address on which the request came in.
    """
    # Not left to the protocol: what it answers to these differs between versions of the library.
    if not head.startswith(b"GET "):
        return plain(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET").serialize()
    if head.partition(b"\r\n")[0].endswith(b"HTTP/1.0"):
        return plain(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED).serialize()
    protocol.receive_data(head)
    events = protocol.events_received()
    if not events or not isinstance(request := events[0], Request):
        return plain(HTTPStatus.BAD_REQUEST).serialize()
    response = _route(protocol, request, local, pages, settings)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return response.serialize()
    protocol.send_response(response)
    return b"".join(protocol.data_to_send())


def _route(
    protocol: ServerProtocol, request: Request, local: str, pages: Mapping[str, Page], settings: Settings
) -> Response:
    hosts = request.headers.get_all("Host")
    if len(hosts) != 1:
        return plain(HTTPStatus.BAD_REQUEST, "one Host header")
    host = hosts[0].lower()
    if not host_allowed(host, local, settings):
        return plain(HTTPStatus.FORBIDDEN, "not under this name; the server's --allow-hosts adds names")
    path = request.path.partition("?")[0]
    if path == "/ws":
        origins = request.headers.get_all("Origin")
        if any(not same_origin(origin, host) for origin in origins):
            return plain(HTTPStatus.FORBIDDEN, "not from this page")
        response = protocol.accept(request)
        del response.headers["Date"]
        return response
    if path == "/healthz":
        return plain(HTTPStatus.OK, "ok")
    page = pages.get(path)
    if page is None:
        return plain(HTTPStatus.NOT_FOUND)
    return _response(HTTPStatus.OK, page.type, page.body, {"Content-Security-Policy": policy(page, host)})


def host_allowed(host: str, local: str, settings: Settings) -> bool:
    """Whether a browser may reach this server under the name in the Host header."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name:
        return False
    if name in ("localhost", settings.host.lower()) or name in settings.allow_hosts:
        return True
    try:
        address = ipaddress.ip_address(name)
        return address.is_loopback or address == ipaddress.ip_address(local.partition("%")[0])
    except ValueError:
        return False


def same_origin(origin: str, host: str) -> bool:
    """Whether a page of this origin came from this host and port."""
    scheme, _, netloc = origin.lower().partition("://")
    return scheme in ("http", "https") and netloc == host


def policy(page: Page, host: str) -> str:
    """What the page may load and talk to: its own files, its own WebSocket, the style that is written in it."""
    styles = "".join(f" 'sha256-{_digest(style)}'" for style in _STYLE.findall(page.body))
    return "; ".join((
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self'{styles}",
        "img-src 'self' data:",
        # Older browsers do not take 'self' for a WebSocket.
        f"connect-src 'self' ws://{host} wss://{host}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ))  # fmt: skip


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def plain(status: HTTPStatus, text: str | None = None, *, allow: str | None = None) -> Response:
    """A line of text."""
    extra = {} if allow is None else {"Allow": allow}
    return _response(status, _PLAIN, f"{text or status.phrase}\n".encode(), extra)


def _response(status: HTTPStatus, type_: str, body: bytes, extra: Mapping[str, str]) -> Response:
    headers = Headers({
        "Content-Type": type_,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Connection": "close",
        **extra,
    })  # fmt: skip
    return Response(status.value, status.phrase, headers, body)
