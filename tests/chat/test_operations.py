"""What the server tells about itself: /readyz, /metrics, /debug, and the answer to a connection too many."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from examples.chat.config import Settings
from examples.chat.debug_page import debug_page, live_channels
from examples.chat.pages import Operations, answer, busy, new_protocol, read_pages
from examples.chat.telemetry.text_metrics import TextMetrics
from gochan import Channel, Group, sleep

PAGES = read_pages()


def get(
    path: str, operations: Operations | None = None, local: str = "127.0.0.1", more_head: str = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more_head}\r\n".encode()
    more = () if operations is None else (operations,)
    head, _, body = answer(new_protocol(1000), request, local, PAGES, Settings(), *more).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    assert len(body) == int(headers["content-length"])
    return int(lines[0].split()[1]), headers, body.decode()


def test_readyz() -> None:
    """Ready until there is a reason against new clients, which is told; alive all the while."""
    reason: str | None = None
    operations = Operations(ready=lambda: reason)
    assert get("/readyz", operations)[::2] == (200, "ready\n")
    reason = "draining"
    assert get("/readyz", operations)[::2] == (503, "draining\n")
    assert get("/healthz", operations)[::2] == (200, "ok\n")
    assert get("/readyz")[0] == 200


def test_metrics() -> None:
    """The exposition as it is, never cached; nothing where no metrics are collected."""
    metrics = TextMetrics()
    metrics.counter("a_total", "A").inc(3)
    status, headers, body = get("/metrics?x=y", Operations(expose=metrics.expose))
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert headers["cache-control"] == "no-store"
    assert body == "# HELP a_total A\n# TYPE a_total counter\na_total 3\n"
    assert get("/metrics")[0] == 404


async def test_debug_is_off() -> None:
    """Nobody sees goroutines unless that was turned on, and then only from the server's own machine."""
    assert get("/debug")[0] == 404
    on = Operations(debug=True)
    for local, status in (("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.5", 403), ("x", 403)):
        assert get("/debug", on, local)[0] == status


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Sec-Fetch-Site: none", 200), ("Sec-Fetch-Site: same-origin", 200), ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403), ("X-Forwarded-For: 10.0.0.1", 403), ("forwarded: for=10.0.0.1", 403),
        ("Via: 1.1 proxy", 403), ("X-Real-IP: 10.0.0.1", 403),
    ],
)  # fmt: skip
async def test_debug_is_for_nobody_else(header: str, status: int) -> None:
    """Whoever types the address sees it; a page of elsewhere cannot have a browser ask for it, nor a proxy."""
    assert get("/debug", Operations(debug=True), more_head=f"{header}\r\n")[0] == status


async def test_debug_policy() -> None:
    """The page may run no script, load nothing, and be in no frame; its one style is allowed by its hash."""
    _, headers, body = get("/debug", Operations(debug=True))
    policy = headers["content-security-policy"]
    style = re.findall(r"<style>(.*?)</style>", body, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'", "style-src": f"'sha256-{digest}'".lower(), "base-uri": "'none'", "form-action":
        "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert "<script" not in body
    assert headers["cache-control"] == "no-store"


async def test_debug_shows_and_escapes() -> None:
    """P1: goroutines by state, channels by fill, leaks first; what a user may have typed is text, not markup."""
    nasty = '<img src=x onerror="alert(1)">&'
    full = Channel[int](4, name=nasty)
    for number in range(4):
        full.send_nowait(number)
    idle = Channel[int](name="idle")
    async with Group() as group:
        for number in range(50):
            group.go(idle.receive, name=f"session {number}")
        group.go(full.send, 5, name="<b>sender</b>")
        stuck = group.go(Channel[int]().receive, name="stuck")
        await sleep(0.01)
        assert live_channels()[0] is full
        page = debug_page().decode()
        group.cancel()
    assert "<img" not in page
    assert "<b>" not in page
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;" in page
    assert "<meter max=4 high=3.2 value=4></meter> 4/4" in page
    assert "<td class=number>50<td>session 0, session 1, session 2, … 47 more<td>chan receive<td>idle" in page
    leaks = page[page.index("Leaks") : page.index("<h2>Goroutines")]
    assert stuck.name in leaks
    assert "session" not in leaks


async def test_debug_looks_for_leaks_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: with many goroutines the loop is not stopped to look for leaks, unless that is asked for."""
    monkeypatch.setattr("examples.chat.debug_page.FEW", 2)
    async with Group() as group:
        for _ in range(3):
            group.go(Channel[int]().receive)
        await sleep(0.01)
        quick, thorough = (get(path, Operations(debug=True))[2] for path in ("/debug", "/debug?leaks"))
        group.cancel()
    assert "Leaks" not in quick
    assert '<a href="?leaks">' in quick
    assert "3 leaks" in thorough


async def test_debug_is_bounded() -> None:
    """P2: hundreds of long names make no page of megabytes."""
    channels = [Channel[int](name=f"{number} " + "x" * 5000) for number in range(300)]
    async with Group() as group:
        for channel in channels:
            group.go(channel.receive, name=f"{channel.name}")
        await sleep(0.01)
        page = debug_page()
        group.cancel()
    assert len(page) < 1_000_000
    assert b"more rows" in page


@pytest.mark.parametrize(("seconds", "told"), [(0.01, "1"), (1.0, "1"), (2.2, "3")])
def test_busy(seconds: float, told: str) -> None:
    """A connection too many is answered, with the whole seconds after which there is room."""
    head = busy(seconds).decode()
    assert head.startswith("HTTP/1.1 503 Service Unavailable\r\n")
    assert f"\r\nRetry-After: {told}\r\n" in head
