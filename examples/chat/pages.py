"""The web side of the port: a few plain answers, and the handshake of WebSocket.

    GET /          the page                 GET /healthz   ok, while the loop turns
    GET /*.js …    what the page loads      GET /readyz    ready, or 503 and why it wants no new clients
    GET /ws        WebSocket                GET /metrics   if they are collected     GET /debug   if it is turned on

WebSocket speaks the subprotocols ``gochat.json`` and, where Protobuf is installed, ``gochat.pb``; no extensions.

Only GET, only these, one request per connection. The files are read once, at the start: a request names a key of a
dictionary, so no path can lead out of the directory.

Who may ask. A browser sends any page's requests anywhere, with two headers that tell:

* ``Host`` must be a name of this machine (or one of ``--allow-hosts``). A page of evil.example whose name is made to
  point to 127.0.0.1 (DNS rebinding) still says evil.example. An address is fine where the request really came in on it.
* ``Origin``, which programs leave out and browsers send with every WebSocket, must be the same host and port: a page
  from elsewhere may not talk in its visitor's name.

``/debug`` shows what users typed nowhere, but names of rooms and addresses, and the chat stands still while it looks.
It answers to this machine alone: not through a proxy, and not to what another site's page has a browser ask for.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from .config import Settings
from .debug_page import debug_page
from .telemetry import Exposition
from .transport.websocket import select_subprotocol

_WEB: Final = Path(__file__).parent / "web"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PLAIN: Final = "text/plain; charset=utf-8"
# Before it goes anywhere: it becomes a part of the page's policy.
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
REQUEST_LINE: Final = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
_CLOSED: Final = ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
_STYLE: Final = re.compile(rb"<style>(.*?)</style>", re.DOTALL)

# The library logs every handshake; this server has its own words.
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the page."""

    type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What the server tells about itself."""

    ready: Callable[[], str | None] = lambda: None
    """Why no new clients are wanted; None if they are."""
    expose: Callable[[], Exposition] | None = None
    """The metrics; without it there are none."""
    debug: bool = False
    """Whether goroutines and channels are shown."""


_QUIET: Final = Operations()


def read_pages(directory: Path = _WEB) -> dict[str, Page]:
    """What can be asked for, by path."""
    pages = {"/" + file.name: Page(_TYPES[file.suffix], file.read_bytes())
             for file in sorted(directory.iterdir()) if file.suffix in _TYPES}  # fmt: skip
    pages["/"] = pages.pop("/index.html")
    return pages


def new_protocol(max_size: int) -> ServerProtocol:
    """The server's side of one HTTP request that may become a WebSocket."""
    return ServerProtocol(select_subprotocol=select_subprotocol, max_size=max_size, logger=_quiet)


def answer(
    protocol: ServerProtocol,
    head: bytes,
    local: str,
    pages: Mapping[str, Page],
    settings: Settings,
    operations: Operations = _QUIET,
) -> bytes:
    """The answer to a request, whose head is complete; 101 if the protocol is open afterwards.

    Args:
        local: the address on which the request came in.
        operations: what ``/readyz``, ``/metrics`` and ``/debug`` tell.
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
    response = _route(protocol, request, local, pages, settings, operations)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return response.serialize()
    protocol.send_response(response)
    return b"".join(protocol.data_to_send())


def _route(
    protocol: ServerProtocol,
    request: Request,
    local: str,
    pages: Mapping[str, Page],
    settings: Settings,
    operations: Operations,
) -> Response:
    hosts = request.headers.get_all("Host")
    if len(hosts) != 1:
        return plain(HTTPStatus.BAD_REQUEST, "one Host header")
    host = hosts[0].lower()
    if not host_allowed(host, local, settings):
        return plain(HTTPStatus.FORBIDDEN, "not under this name; the server's --allow-hosts adds names")
    path, _, query = request.path.partition("?")
    if path == "/ws":
        origins = request.headers.get_all("Origin")
        if any(not same_origin(origin, host) for origin in origins):
            return plain(HTTPStatus.FORBIDDEN, "not from this page")
        response = protocol.accept(request)
        del response.headers["Date"]
        return response
    told = _told(path, query, request.headers, local, operations)
    if told is not None:
        return told
    page = pages.get(path)
    if page is None:
        return plain(HTTPStatus.NOT_FOUND)
    return _response(HTTPStatus.OK, page.type, page.body, {"Content-Security-Policy": policy(page, host)})


def _told(path: str, query: str, headers: Headers, local: str, operations: Operations) -> Response | None:
    """What the server tells about itself, if the path asks for that."""
    match path:
        case "/healthz":
            return plain(HTTPStatus.OK, "ok")
        case "/readyz":
            reason = operations.ready()
            return plain(HTTPStatus.OK, "ready") if reason is None else plain(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        case "/metrics" if operations.expose is not None:
            exposition = operations.expose()
            return _response(HTTPStatus.OK, exposition.content_type, exposition.body, {"Cache-Control": "no-store"})
        case "/debug" if operations.debug:
            if not _is_loopback(local):
                return plain(HTTPStatus.FORBIDDEN, "only from the machine of the server")
            if any(name in headers for name in _FORWARDED):
                return plain(HTTPStatus.FORBIDDEN, "not through a proxy")
            # Another port of this machine is the same site, and another page. Programs do not say where from.
            if any(site not in ("none", "same-origin") for site in headers.get_all("Sec-Fetch-Site")):
                return plain(HTTPStatus.FORBIDDEN, "not from another page")
            page = Page(_TYPES[".html"], debug_page(thorough=query == "leaks"))
            rules = "; ".join(("default-src 'none'", _style_rule(page, ""), *_CLOSED))
            return _response(HTTPStatus.OK, page.type, page.body, {
                "Cache-Control": "no-store", "Content-Security-Policy": rules, "X-Frame-Options": "DENY",
            })  # fmt: skip
        case _:
            return None


def busy(retry_after: float) -> bytes:
    """The answer to a connection too many: 503, and in how many seconds to come back."""
    response = plain(HTTPStatus.SERVICE_UNAVAILABLE, "too many new connections")
    response.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return response.serialize()


def host_allowed(host: str, local: str, settings: Settings) -> bool:
    """Whether a browser may reach this server under the name in the Host header."""
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return False
    name = match[1].strip("[]")
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
    return "; ".join((
        "default-src 'none'",
        "script-src 'self'",
        _style_rule(page, " 'self'"),
        "img-src 'self' data:",
        # Older browsers do not take 'self' for a WebSocket.
        f"connect-src 'self' ws://{host} wss://{host}",
        *_CLOSED,
    ))  # fmt: skip


def _style_rule(page: Page, more: str) -> str:
    return f"style-src{more}" + "".join(f" 'sha256-{_digest(style)}'" for style in _STYLE.findall(page.body))


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


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
