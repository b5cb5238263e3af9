"""The page's connection, beside a WebSocket that the test plays: in a real browser, without its timers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.chat.browser import Browser, Page
from tests.chat.pages import clean

pytestmark = pytest.mark.once

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
  join(answer = {}) {
    this.onopen();
    this.hear({ t: "welcome" });
    const { id } = this.sent.find(({ t }) => t === "join");
    this.hear({ t: "joined", id, room: "lobby", off: 0, ep: "e", msgs: [], members: [], ...answer });
  }
};
// No timer runs: a retry that an earlier test left would take a socket of a later one.
window.setTimeout = () => 0;
window.setInterval = (act) => ticks.push(act);
const { Connection } = await import("/connection.js");
const page = new Proxy({}, { get: (_, name) => (...details) => void told.push([name, ...details]) });
const connection = new Connection("Ada", page, ["lobby"]);
const message = (off, ep = "e") =>
  ({ t: "msg", room: "lobby", off, ep, from: "Bob", body: String(off), ts: 0, id: off });
const heard = () => told.flatMap(([name, , what]) => (name === "message" ? [what.off] : name === "gap" ? [what] : []));
const said = (socket) => socket.sent.filter(({ t }) => t === "say").map(({ id, body }) => [id, body]);
connection.open();
"""


def play(page: Page, script: str) -> Any:
    """What a script returns that runs beside a new connection."""
    return page.get(f"(async () => {{ {PRELUDE} {script} }})()")


@pytest.fixture(scope="module")
def stage(browser: Browser, server: str) -> Iterator[Page]:
    page = browser.open(server)
    yield page
    clean(page)


def test_the_first_words(stage: Page) -> None:
    """hello, then join; the subprotocol and the path are what the server expects."""
    sent, url, protocol = play(
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
    connection.say("lobby", "a", "1");
    const early = said(sockets[0]);
    sockets[0].join();
    connection.say("lobby", "b", "2");
    connection.say("lobby", "c", "3");
    sockets[0].hear({ t: "ack", id: "b" });
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.say("lobby", "d", "4");
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
    connection.say("lobby", "a", "1");
    sockets[0].hear({ t: "err", id: "a", code: 500, msg: "no", temp: true });
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.open();
    sockets[1].join();
    return [told.filter(([name]) => name === "failed"), said(sockets[1])];
    """
    assert play(stage, script) == [[["failed", "a", "no"]], []]


def test_goaway(stage: Page) -> None:
    """Nothing more is said, the next try waits as long as the server asks, and its code counts if the line breaks."""
    script = """
    sockets[0].join();
    sockets[0].hear({ t: "goaway", code: CODE, reason: "bye now", after_ms: 7000, resume: false });
    connection.say("lobby", "a", "1");
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.close();
    return [said(sockets[0]).length, ...told.at(-1)];
    """
    said, name, seconds, reason = play(stage, script.replace("CODE", "4001"))
    assert (said, name, reason) == (0, "waiting", "bye now")
    assert 7 <= seconds <= 7.2
    assert play(stage, script.replace("CODE", "4503")) == [0, "ended", "bye now", 4503]


def test_a_dead_line_is_noticed(stage: Page) -> None:
    """A ping without its pong for long enough is the end of this connection; one with it is not."""
    script = """
    const now = Date.now;
    sockets[0].join();
    sockets[0].hear({ t: "pong", n: 1 });
    Date.now = () => now() + 15_000;
    ticks[0]();
    sockets[0].hear({ t: "pong", n: 2 });
    Date.now = () => now() + 30_000;
    ticks[0]();
    const alive = told.at(-1)[0];
    Date.now = () => now() + 50_000;
    ticks[0]();
    Date.now = now;
    connection.close();
    return [alive, told.at(-1)[0], sockets[0].readyState];
    """
    assert play(stage, script) == ["latency", "waiting", 3]


def test_what_was_missed_is_asked_for(stage: Page) -> None:
    """A new connection joins from where the last one was; what comes twice is shown once, in order."""
    script = """
    sockets[0].join({ off: 4, msgs: [message(3), message(4)] });
    sockets[0].hear(message(5));
    sockets[0].hear(message(5));
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.open();
    sockets[1].join({ off: 7, rec: true, msgs: [message(6), message(7)] });
    sockets[1].hear(message(7));
    sockets[1].hear(message(8));
    const joins = sockets.map((socket) => socket.sent.find(({ t }) => t === "join"));
    return [joins.map(({ since, limit }) => [since ?? null, limit ?? null]), heard()];
    """
    assert play(stage, script) == [[[None, 50], [{"off": 5, "ep": "e"}, None]], [3, 4, 5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("sockets[0].hear(message(7));", [{"after": {"off": 5, "ep": "e"}, "missed": 1}, 7]),
        ("sockets[0].hear(message(1, 'f'));", [{"after": {"off": 5, "ep": "e"}, "missed": None}, 1]),
        (
            "sockets[0].hear({ t: 'lag', room: 'lobby', n: 2 }); sockets[0].hear(message(8));",
            [{"after": {"off": 5, "ep": "e"}, "missed": 2}, 8],
        ),
        (
            "sockets[0].hear({ t: 'resync', room: 'lobby' }); sockets[0].hear(message(8));",
            [{"after": {"off": 5, "ep": "e"}, "missed": None}, 8],
        ),
        ("again({ off: 9, rec: false });", [{"after": {"off": 5, "ep": "e"}, "missed": 4}]),
        ("again({ off: 5, rec: false });", []),
        ("again({ off: 2, ep: 'f', rec: false });", [{"after": {"off": 5, "ep": "e"}, "missed": None}]),
    ],
    ids=["a jump", "another epoch", "lag", "resync", "trimmed", "nothing said", "a new history"],
)
def test_a_gap_is_never_silent(stage: Page, what: str, told: list[object]) -> None:
    """Where messages are missing, or may be, the page says so; nowhere else."""
    script = """
    const again = (answer) => {
      sockets[0].onclose({ code: 1006, reason: "" });
      connection.open();
      sockets[1].join(answer);
    };
    sockets[0].join({ off: 5 });
    """
    assert play(stage, f"{script} {what} return heard();") == told


def test_a_direct_message_is_sent_once(stage: Page) -> None:
    """Its ack tells whether it arrived; a connection that is lost before it leaves that open, which is told."""
    script = """
    sockets[0].join();
    connection.tell("a", "Bob", "1");
    connection.tell("b", "Bob", "2");
    connection.tell("c", "Bob", "3");
    sockets[0].hear({ t: "ack", id: "a", delivered: 1 });
    sockets[0].hear({ t: "err", id: "b", code: 404, msg: "not here", temp: false });
    sockets[0].onclose({ code: 1006, reason: "" });
    connection.open();
    sockets[1].join();
    return [told.filter(([name]) => name === "sent" || name === "failed"), sockets[1].sent.map(({ t }) => t)];
    """
    told, sent = play(stage, script)
    assert told[:2] == [["sent", "a"], ["failed", "b", "not here"]]
    assert told[2][:2] == ["failed", "c"]
    assert sent == ["hello", "join", "ping"]


def test_a_room_that_is_closed_to_us(stage: Page) -> None:
    """A refused join is told; one refused for now is tried again over another connection."""
    script = """
    sockets[0].onopen();
    sockets[0].hear({ t: "welcome" });
    const { id } = sockets[0].sent.find(({ t }) => t === "join");
    sockets[0].hear({ t: "err", id, code: 503, msg: "away", temp: true, retry_ms: 3000 });
    const waiting = told.at(-1);
    connection.open();
    sockets[1].onopen();
    sockets[1].hear({ t: "welcome" });
    const again = sockets[1].sent.find(({ t }) => t === "join");
    sockets[1].hear({ t: "err", id: again.id, code: 403, msg: "no", temp: false });
    return [waiting, told.at(-1)];
    """
    (name, seconds, reason), denied = play(stage, script)
    assert (name, reason) == ("waiting", "lobby: away")
    assert 3 <= seconds <= 3.2
    assert denied == ["denied", "lobby", "no"]


def test_a_gap_can_be_filled(browser: Browser, server: str) -> None:
    """What the history still has is put where it was missing, part by part; nothing twice, and the rest is told."""
    page = browser.open(f"{server}#gaps")
    page.until("document.activeElement.id === 'name'")
    page.get("""(() => {
      window.sockets = [];
      window.WebSocket = class {
        static OPEN = 1;
        readyState = 1;
        sent = [];
        constructor() { sockets.push(this); }
        send(text) { this.sent.push(JSON.parse(text)); }
        close() {}
        hear(message) { this.onmessage({ data: JSON.stringify(message) }); }
        asked(kind) { return this.sent.findLast(({ t }) => t === kind); }
      };
      const room = { room: "gaps", ep: "e" };
      window.said = (off) => ({ ...room, t: "msg", off, from: "Bob", body: String(off), ts: off, id: off });
      window.answer = (asked, answer, ...offs) => sockets[0].hear(
        { ...room, id: sockets[0].asked(asked).id, off: 2, msgs: offs.map(said), ...answer });
    })()""")
    page.type("Ada")
    page.enter()
    page.get("""(() => {
      const [socket] = sockets;
      socket.onopen();
      socket.hear({ t: "welcome", sid: "s" });
      answer("join", { t: "joined", members: [] }, 2);
      socket.hear(said(8));
    })()""")
    bodies = "[...document.querySelectorAll('.body')].map((body) => body.textContent)"
    note = "document.querySelector('.note.error')?.textContent"
    fill = "document.querySelector('.note.error button').click()"
    assert page.get(bodies) == ["2", "8"]
    assert page.get(note) == "5 messages are missing here. Show what there is"
    page.get(fill)
    asked = page.get("sockets[0].asked('history')")
    assert (asked["since"], asked["rev"]) == ({"off": 2, "ep": "e"}, False)
    page.get("answer('history', { t: 'history', complete: false }, 3, 4, 5)")
    assert page.get(bodies) == ["2", "3", "4", "5", "8"]
    assert page.get(note) == "2 messages are missing here. Show what there is"
    page.get(fill)
    assert page.get("sockets[0].asked('history').since") == {"off": 5, "ep": "e"}
    page.get("answer('history', { t: 'history', complete: true }, 6, 7, 8, 9)")
    assert page.get(bodies) == ["2", "3", "4", "5", "6", "7", "8"]
    assert page.get(f"{note} ?? null") is None
    page.get("sockets[0].hear(said(11))")
    page.get(fill)
    page.get("answer('history', { t: 'history', complete: false })")
    assert page.get(note) == "2 messages are missing here. The server does not have them any more. "
    clean(page)


PACED = """
const timers = [];
window.setTimeout = (act, wait) => timers.push([act, wait]);
const many = new Connection("Ada", page, Array.from({ length: 20 }, (_, n) => `room${n}`));
many.open();
const socket = sockets.at(-1);
const joins = () => socket.sent.filter(({ t }) => t === "join");
const let_in = ({ id, room }) => socket.hear({ t: "joined", id, room, off: 0, ep: "e", msgs: [], members: [] });
socket.onopen();
socket.hear({ t: "welcome" });
"""


def test_rooms_are_entered_a_few_at_a_time(stage: Page) -> None:
    """Eight joins are under way, then one more for each answer, of whatever kind, until all rooms are entered."""
    script = """
    const counts = [joins().length];
    let_in(joins()[0]);
    counts.push(joins().length);
    socket.hear({ t: "err", id: joins()[1].id, code: 403, msg: "no", temp: false });
    counts.push(joins().length);
    many.leave("room19");
    for (let n = 2; n < joins().length; n++) let_in(joins()[n]);
    return [...counts, new Set(joins().map(({ room }) => room)).size, joins().length];
    """
    assert play(stage, PACED + script) == [8, 9, 10, 19, 19]


def test_a_server_that_is_asked_too_fast(stage: Page) -> None:
    """After a 429 the rooms are entered one by one, over the same connection, once the server's pause is over."""
    script = """
    const asked = joins();
    for (const { id } of asked.slice(1)) socket.hear(
      { t: "err", id, code: 429, msg: "slow", temp: true, retry_ms: 700 });
    let_in(asked[0]);
    const paused = joins().length;
    const waits = timers.map(([, wait]) => wait).filter((wait) => wait !== 10_000);
    timers.at(-1)[0]();
    const one = joins().length;
    for (let n = 8; n < joins().length; n++) let_in(joins()[n]);
    return [paused, waits, one, new Set(joins().map(({ room }) => room)).size, joins().length, socket.readyState];
    """
    assert play(stage, PACED + script) == [8, [700], 9, 20, 27, 1]


def test_what_is_said_waits_for_its_room(stage: Page) -> None:
    """Over a new connection nothing is said in a room that it has not entered: it would be refused."""
    script = """
    joins().forEach(let_in);
    socket.onclose({ code: 1006, reason: "" });
    many.open();
    const next = sockets.at(-1);
    next.onopen();
    next.hear({ t: "welcome" });
    many.say("room0", "a", "1");
    const early = said(next).length;
    const { id } = next.sent.find(({ t }) => t === "join");
    next.hear({ t: "joined", id, room: "room0", off: 0, ep: "e", msgs: [], members: [] });
    many.say("room0", "b", "2");
    return [early, said(next)];
    """
    assert play(stage, PACED + script) == [0, [["a", "1"], ["b", "2"]]]


def test_strangers_are_bounded(browser: Browser, server: str) -> None:
    """Whoever writes under ever new names opens 50 conversations at most; one that was answered stays."""
    page = browser.open(f"{server}#strangers")
    page.until("document.activeElement.id === 'name'")
    page.get("""(() => {
      window.WebSocket = class {
        static OPEN = 1;
        readyState = 1;
        constructor() { window.socket = this; }
        send(text) { const { t, id, room } = JSON.parse(text);
          if (t === "join") this.hear({ t: "joined", id, room, off: 0, ep: "e", msgs: [], members: [] }); }
        close() {}
        hear(message) { this.onmessage({ data: JSON.stringify(message) }); }
      };
      window.dm = (from) => socket.hear({ t: "dm", from, body: "hi", ts: 0 });
    })()""")
    page.type("Ada")
    page.enter()
    page.get("""(() => {
      socket.onopen();
      socket.hear({ t: "welcome" });
      dm("friend");
      document.querySelector("#directs .place").click();
    })()""")
    page.until("document.activeElement.id === 'text'")
    page.type("hello")
    page.enter()
    page.get("(() => { document.querySelector('#rooms .place').click(); for (let n = 0; n < 80; n++) dm(`s${n}`); })()")
    places = page.get("[...document.querySelectorAll('#directs .place .name')].map((place) => place.textContent)")
    assert places == ["friend", *(f"s{number}" for number in range(30, 80))]
    notes = page.get("[...document.querySelectorAll('.note.error')].map((note) => note.textContent)")
    assert [note.split(":")[0] for note in notes] == ["More than 50 people wrote to you"]
    clean(page)
