"""The page: what is served, and what people see in a real browser."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chat import browser as chromium
from tests.chat.browser import BOUND, Browser, Page
from tests.chat.talkers import fetch, running

ROOT = Path(__file__).parents[2]
WEB = ROOT / "examples" / "chat" / "web"
SCRIPTS = sorted(path.name for path in WEB.glob("*.js"))


# ---- what is served ----


async def test_everything_that_the_page_needs_is_served() -> None:
    """Each file that the page or a script names is there, with its type, and the page has a policy."""
    async with running() as server:

        async def get(path: str) -> tuple[dict[str, str], str]:
            request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
            status, headers, body = await fetch(server, request.encode())
            assert status == 200, path
            return headers, body.decode()

        headers, page = await get("/")
        assert headers["content-type"] == "text/html; charset=utf-8"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        needed = set(re.findall(r'(?:src|href)="(/[^"]+)"', page))
        assert "/chat.js" in needed
        while needed:
            path = needed.pop()
            headers, text = await get(path)
            kind = {"js": "text/javascript", "css": "text/css"}[path.rpartition(".")[2]]
            assert headers["content-type"] == f"{kind}; charset=utf-8"
            needed |= {f"/{name}" for name in re.findall(r'from "\./([^"]+)"', text)}


def test_the_page_stands_alone() -> None:
    """No script, style or picture from elsewhere, and none that the policy would refuse."""
    page = (WEB / "index.html").read_text()
    assert not re.search(r'(?:src|href)="(?!/|data:)', page)
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=", page)
    assert "url(" not in (WEB / "chat.css").read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_stays_text(name: str) -> None:
    """No script makes markup or code from text."""
    script = (WEB / name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\(", script)


# ---- in a browser ----


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = chromium.find()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with chromium.running(program, tmp_path_factory.mktemp("chromium")) as found:
        yield found


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[str]:
    """The server as people start it; its address."""
    command = [sys.executable, "-m", "examples.chat", "--port", str(port), "--drain-timeout", "5"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            line = server.stdout.readline().decode()
            assert "http://" in line, server.stderr.read().decode()
            yield line[line.index("http://") :].strip()
            server.send_signal(signal.SIGTERM)
            assert server.wait(BOUND) == 0
        finally:
            server.kill()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as url:
        yield url


def enter(page: Page, name: str) -> None:
    page.until("document.activeElement.id === 'name'")
    page.type(name)
    page.enter()
    connected(page)


def connected(page: Page) -> None:
    page.until("document.querySelector('#state').dataset.state === 'open'")


def say(page: Page, text: str) -> None:
    page.until("document.activeElement.id === 'text'")
    page.type(text)
    page.enter()


def bodies(page: Page) -> list[str]:
    found: list[str] = page.get("[...document.querySelectorAll('.body')].map((body) => body.textContent)")
    return found


def heard(page: Page, *texts: str) -> None:
    """The page shows these messages, and nothing is still on its way."""
    page.until(f"document.querySelectorAll('.body').length >= {len(texts)} && !document.querySelector('.pending')")
    assert bodies(page) == list(texts)


def clean(*pages: Page) -> None:
    """Nothing went wrong in these pages; they are closed."""
    for page in pages:
        page.get("1")  # whatever was logged before has arrived with this answer
        assert page.errors == []
        page.close()


def test_two_people_talk(browser: Browser, address: str) -> None:
    """Both see the same messages in one order, their own set apart; who comes, is there, and leaves."""
    ada, bob = browser.open(address), browser.open(address)
    enter(ada, "Ada")
    enter(bob, "Bob")
    ada.until("document.querySelector('#log').textContent.includes('Bob joined')")
    assert ada.get("[...document.querySelectorAll('#people .name')].map((name) => name.textContent)") == ["Ada", "Bob"]
    say(ada, "hello")
    heard(bob, "hello")
    bob.type("two")
    bob.enter(shift=True)
    say(bob, "lines")
    heard(ada, "hello", "two\nlines")
    heard(bob, "hello", "two\nlines")
    assert ada.get("[...document.querySelectorAll('.message.own .body')].map((body) => body.textContent)") == ["hello"]
    assert ada.get("document.querySelector('.message:not(.own) .sender').textContent") == "Bob"
    bob.click("#leave")
    bob.until("!document.querySelector('#door').hidden")
    ada.until("document.querySelector('#log').textContent.includes('Bob left')")
    assert ada.get("document.querySelector('#total').textContent") == "1"
    assert all(url.startswith((address, "data:")) for page in (ada, bob) for url in page.requested)
    clean(ada, bob)


def test_a_name_is_remembered(browser: Browser, address: str) -> None:
    """A reload comes back into the room; after leaving, the name is there to be used again."""
    page = browser.open(address)
    enter(page, "Ada")
    page.get("window.old = true")
    page.call("Page.reload")
    page.until("!window.old && document.querySelector('#state')?.dataset.state === 'open'")
    assert page.get("document.querySelector('#people .name').textContent") == "Ada"
    page.click("#leave")
    page.until("document.activeElement.id === 'name'")
    assert page.get("document.querySelector('#name').value") == "Ada"
    clean(page)


def test_markup_is_shown_not_run(browser: Browser, address: str) -> None:
    """What looks like markup, in a name or a message, is text."""
    name, text = "<b>x</b>", '<img src=x onerror="window.broken = 1"><script>window.broken = 1</script>'
    eve, ada = browser.open(address), browser.open(address)
    enter(ada, "Ada")
    enter(eve, name)
    say(eve, text)
    heard(ada, text)
    assert ada.get("document.querySelector('.sender').textContent") == name
    assert ada.get("window.broken === undefined && !document.querySelector('#room img, #room b, #room script')")
    clean(ada, eve)


def test_a_name_that_the_server_refuses(browser: Browser, address: str) -> None:
    """The reason stands at the door, where another name can be given."""
    page = browser.open(address)
    page.until("document.activeElement.id === 'name'")
    page.type("a\u202eb")
    page.enter()
    assert "visible characters" in page.until("document.querySelector('#refusal').textContent")
    page.get("document.querySelector('#name').select()")
    enter(page, "Ada")
    clean(page)


def test_the_log_does_not_jump(browser: Browser, address: str) -> None:
    """Who reads what was said before is not carried to the end, but told how much is new."""
    ada, bob = browser.open(address), browser.open(address)
    enter(ada, "Ada")
    enter(bob, "Bob")
    tall = "\n".join(map(str, range(60)))
    say(bob, tall)
    heard(ada, tall)
    at_end = (
        "(({scrollTop, scrollHeight, clientHeight}) => scrollHeight - scrollTop - clientHeight < 2)"
        "(document.querySelector('#scroll'))"
    )
    ada.until(at_end)
    ada.get("document.querySelector('#scroll').scrollTop = 50")
    ada.get("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it is seen to scroll
    say(bob, "new")
    ada.until("!document.querySelector('#newer').hidden")
    assert ada.get("document.querySelector('#scroll').scrollTop") == 50
    assert ada.get("document.querySelector('#newer').textContent") == "1 new message ↓"
    ada.click("#newer")
    ada.until(at_end)
    ada.until("document.querySelector('#newer').hidden")
    clean(ada, bob)


def test_the_connection_mends_itself(browser: Browser) -> None:
    """What is said while the server is away is pending, and said once when it is back."""
    with serving() as url:
        ada = browser.open(url)
        enter(ada, "Ada")
        say(ada, "before")
        heard(ada, "before")
    ada.until("document.querySelector('#state').dataset.state === 'waiting'")
    say(ada, "meanwhile")
    ada.until("document.querySelector('.pending .body').textContent === 'meanwhile'")
    with serving(port=int(url.rpartition(":")[2].strip("/"))) as again:
        assert again == url
        # The browser's own event: so that the test does not wait for the page's next attempt.
        ada.get("window.dispatchEvent(new Event('online'))")
        connected(ada)
        heard(ada, "before", "meanwhile")
        ada.close()


def test_on_a_phone(browser: Browser, address: str) -> None:
    """Nothing is wider than the screen; the list of people opens and closes; the dark theme is dark."""
    page = browser.open(address)
    page.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    fits = "document.documentElement.scrollWidth <= 390"
    assert page.get(fits)
    enter(page, "W" * 32)
    say(page, "x" * 500)
    heard(page, "x" * 500)
    assert page.get(fits)
    shown = "getComputedStyle(document.querySelector('aside')).display !== 'none'"
    assert not page.get(shown)
    page.click("#show-people")
    assert page.get(shown)
    assert page.get("document.querySelector('#show-people').getAttribute('aria-expanded')") == "true"
    page.press("Escape", 27)
    assert not page.get(shown)
    lightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert page.get(lightness) < 60
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    assert page.get(lightness) > 200
    clean(page)


# ---- the connection, with a WebSocket that the test plays ----

PRELUDE = """
const sockets = [], told = [], ticks = [];
window.WebSocket = class {
  static OPEN = 1;
  readyState = 1;
  sent = [];
  constructor(url, protocol) { Object.assign(this, { url, protocol }); sockets.push(this); }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.readyState = 3; }
  hear(message) { this.onmessage({ data: JSON.stringify(message) }); }
  join() {
    this.onopen();
    this.hear({ t: "welcome" });
    this.hear({ t: "joined", id: this.sent.at(-1).id, room: "lobby", members: [] });
  }
};
// No timer runs: a retry that an earlier test left would take a socket of a later one.
window.setTimeout = () => 0;
window.setInterval = (act) => ticks.push(act);
const { Connection } = await import("/connection.js");
const room = new Proxy({}, { get: (_, name) => (...details) => void told.push([name, ...details]) });
const connection = new Connection("Ada", room);
const said = (socket) => socket.sent.filter(({ t }) => t === "say").map(({ id, body }) => [id, body]);
connection.open();
"""


def play(page: Page, script: str) -> object:
    """What a script returns that runs beside a new connection."""
    return page.get(f"(async () => {{ {PRELUDE} {script} }})()")


@pytest.fixture(scope="module")
def stage(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.open(address)
    yield page
    clean(page)


def test_the_first_words(stage: Page) -> None:
    """hello, then join; the subprotocol and the path are what the server expects."""
    sent, url, protocol = play(  # type: ignore[misc]
        stage, "sockets[0].join(); return [sockets[0].sent, sockets[0].url, sockets[0].protocol];"
    )
    assert sent[0] == {"t": "hello", "v": 1, "user": "Ada"}
    assert (sent[1]["t"], sent[1]["room"]) == ("join", "lobby")
    assert url.endswith("/ws")
    assert protocol == "gochat.json"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(1001, "waiting"), (1006, "waiting"), (4001, "waiting"), (4008, "waiting"), (4499, "waiting")]
    + [(1000, "ended"), (1002, "ended"), (1009, "ended"), (4500, "ended"), (4502, "ended")],
)
def test_the_code_decides(stage: Page, code: int, outcome: str) -> None:
    """40xx and a lost line: come back later. 45xx, and what would happen again: do not."""
    told = play(
        stage, f"sockets[0].join(); sockets[0].onclose({{ code: {code}, reason: 'r' }}); return told.at(-1)[0];"
    )
    assert told == outcome


def test_the_wait_grows(stage: Page) -> None:
    """Each failure doubles the longest wait, from 0.2 to 20 s; where in it the next try falls is random."""
    script = """
    const waits = [];
    const random = Math.random;
    Math.random = () => 1;
    for (let n = 0; n < 9; n++) {
      sockets.at(-1).onclose({ code: 1006, reason: "" });
      waits.push(told.at(-1)[1]);
      connection.open();
    }
    Math.random = random;
    return waits;
    """
    assert play(stage, script) == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20, 20]


def test_unacked_messages_are_said_again(stage: Page) -> None:
    """After a new connection: those without an ack, in order, with the same ids; never before the room is joined."""
    script = """
    connection.say("a", "1");
    const early = said(sockets[0]);
    sockets[0].join();
    connection.say("b", "2");
    connection.say("c", "3");
    sockets[0].hear({ t: "ack", id: "b" });
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.say("d", "4");
    connection.open();
    sockets[1].join();
    return [early, said(sockets[0]), said(sockets[1])];
    """
    assert play(stage, script) == [
        [],
        [["a", "1"], ["b", "2"], ["c", "3"]],
        [["a", "1"], ["c", "3"], ["d", "4"]],
    ]


def test_a_refused_message_is_not_said_again(stage: Page) -> None:
    """Its error is told once, with what to try again."""
    script = """
    sockets[0].join();
    connection.say("a", "1");
    sockets[0].hear({ t: "err", id: "a", code: 500, msg: "no", temp: true });
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.open();
    sockets[1].join();
    return [told.filter(([name]) => name === "failed"), said(sockets[1])];
    """
    assert play(stage, script) == [[["failed", "a", "1", "no"]], []]


def test_goaway(stage: Page) -> None:
    """Nothing more is said, the next try waits as long as the server asks, and its code counts if the line breaks."""
    script = """
    sockets[0].join();
    sockets[0].hear({ t: "goaway", code: CODE, reason: "bye now", after_ms: 7000, resume: false });
    connection.say("a", "1");
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.close();
    return [said(sockets[0]).length, ...told.at(-1)];
    """
    said, name, seconds, reason = play(stage, script.replace("CODE", "4001"))  # type: ignore[misc]
    assert (said, name, reason) == (0, "waiting", "bye now")
    assert 7 <= seconds <= 7.2
    assert play(stage, script.replace("CODE", "4503")) == [0, "ended", "bye now", 4503]


def test_a_dead_line_is_noticed(stage: Page) -> None:
    """A ping without its pong for long enough is the end of this connection; one with it is not."""
    script = """
    const now = Date.now;
    sockets[0].join();
    ticks[0]();
    sockets[0].hear({ t: "pong", n: 1 });
    Date.now = () => now() + 25_000;
    ticks[0]();
    const alive = told.at(-1)[0];
    Date.now = () => now() + 50_000;
    ticks[0]();
    Date.now = now;
    connection.close();
    return [alive, told.at(-1)[0], sockets[0].readyState];
    """
    assert play(stage, script) == ["joined", "waiting", 3]
