"""The web side of the port: what may be asked for, by whom, and with which headers it is answered."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from tests.chat.talkers import connected, fetch, running, ws

from examples.chat.config import Settings
from examples.chat.pages import Page, host_allowed, policy, read_pages, same_origin


def get(path: str, host: str = "localhost") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_page_and_its_files() -> None:
    """The page and everything it loads are served, with headers that allow it nothing else."""
    async with running() as server:
        status, headers, body = await fetch(server, get("/?name=ann", f"127.0.0.1:{server.port}"))
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["cache-control"] == "no-cache"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert f"ws://127.0.0.1:{server.port} " in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        loaded = re.findall(rb'(?:src|href)="(/?[a-z_]+\.(?:js|css))"', body)
        assert loaded
        for name in {"/" + name.decode().lstrip("/") for name in loaded} | {"/chat.js"}:
            status, headers, body = await fetch(server, get(name))
            assert (name, status, int(headers["content-length"])) == (name, 200, len(body))
            expected = "text/javascript" if name.endswith(".js") else "text/css"
            assert headers["content-type"] == f"{expected}; charset=utf-8"


async def test_healthz() -> None:
    """A monitor gets ok."""
    async with running() as server:
        assert (await fetch(server, get("/healthz")))[::2] == (200, b"ok\n")


async def test_request_in_pieces() -> None:
    """A request may come in as many pieces as it likes."""
    async with running() as server, connected(server) as stream:
        for byte in get("/healthz"):
            await stream.send(bytes((byte,)))
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_websocket_handshake() -> None:
    """The subprotocol is named when it was offered; no extension is agreed on; the own origin is welcome."""
    async with running() as server:
        async with ws(server) as ann:
            await ann.hello()
        upgrade = (
            f"GET /ws HTTP/1.1\r\nHost: LocalHost:{server.port}\r\n"
            "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
            f"Origin: http://localhost:{server.port}\r\n"
        )
        close = b"\x88\x80\0\0\0\0"
        for offer, chosen in (("", None), ("Sec-WebSocket-Protocol: other, gochat.json\r\n", "gochat.json")):
            status, headers, body = await fetch(server, f"{upgrade}{offer}\r\n".encode() + close)
            assert status == 101
            assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            assert headers.get("sec-websocket-protocol") == chosen
            assert "sec-websocket-extensions" not in headers
            assert body == b"\x88\0"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True), ("localhost:8765", True), ("127.0.0.1:8765", True), ("127.9.9.9", True), ("[::1]:1", True),
        ("10.0.0.5:8765", True), ("chat.example", True), ("chat.example:443", True), ("myhost:8765", True),
        ("10.0.0.6", False), ("evil.example", False), ("evil.example:8765", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False), ("xlocalhost", False), ("evil@localhost", False), ("localhost@evil", False),
        ("", False), (":8765", False), ("[", False), ("[::1", False), ("0x7f.1", False),
        ("localhost:80; script-src *", False), ("localhost;", False), ("localhost:", False), ("localhost:80x", False),
        ("localhost\t", False), ("localhost/x", False), ("localhost?x", False), ("localhost:\u0661", False),
    ],
)  # fmt: skip
def test_hosts(host: str, allowed: bool) -> None:
    """A host is this machine under a name it goes by, the address the request came in on, or one that was allowed."""
    settings = Settings(host="MyHost", allow_hosts=("chat.example",))
    assert host_allowed(host, "10.0.0.5", settings) is allowed


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        ("http://localhost:1", True), ("https://localhost:1", True), ("HTTP://LOCALHOST:1", True),
        ("http://localhost", False), ("http://localhost:12", False), ("http://evil/localhost:1", False),
        ("localhost:1", False), ("file://", False), ("null", False), ("", False), ("ws://localhost:1", False),
    ],
)  # fmt: skip
def test_origins(origin: str, same: bool) -> None:
    """An origin is the own one only in full: name and port."""
    assert same_origin(origin, "localhost:1") is same


def test_policy_allows_the_style_that_is_there() -> None:
    """A style written in the page is allowed by its hash, and no other."""
    digest = base64.b64encode(hashlib.sha256(b"p{}").digest()).decode()
    assert f"style-src 'self' 'sha256-{digest}';" in policy(Page("text/html", b"<style>p{}</style>"), "localhost")
    assert "style-src 'self';" in policy(Page("text/html", b"<p>"), "localhost")


def test_pages_are_the_directory() -> None:
    """Only the files of the directory are pages, the index as /."""
    pages = read_pages()
    assert "/" in pages
    assert "/index.html" not in pages
    assert all(path.count("/") == 1 for path in pages)
