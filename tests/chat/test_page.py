"""The page: what is served, and what people see in a real browser."""

from __future__ import annotations

import re

import pytest
from tests.chat.browser import Browser
from tests.chat.pages import ROOT, bodies, clean, connected, enter, heard, say, serving
from tests.chat.talkers import fetch, running

pytestmark = pytest.mark.once

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


def test_two_people_talk(browser: Browser, address: str, server: str) -> None:
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
    assert all(url.startswith((server, "data:")) for page in (ada, bob) for url in page.requested)
    clean(ada, bob)


def test_a_name_is_remembered(browser: Browser, address: str) -> None:
    """A reload comes back into the room; after leaving, the name is there to be used again."""
    page = browser.open(address)
    enter(page, "Ada")
    page.get("window.old = true")
    page.call("Page.reload")
    page.until("!window.old && !!document.querySelector('#people .you')")
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


def test_rooms_and_direct_messages(browser: Browser, address: str) -> None:
    """Rooms are a list, with what is unread; a name leads to the conversation with that person alone."""
    ada, bob = browser.open(address), browser.open(address)
    enter(ada, "Ada")
    enter(bob, "Bob")
    ada.get("document.querySelector('#new-room').focus()")
    ada.type("not a room!?")
    ada.enter()
    ada.until("document.querySelector('#join-error').textContent.includes('a-z')")
    ada.type("# Side Kitchen")
    ada.enter()
    ada.until("document.querySelector('#title').textContent === '# side-kitchen'")
    ada.until("document.querySelector('#log')?.textContent.includes('You joined # side-kitchen')")
    ada.get("document.querySelector('#rooms .place').focus()")
    say(bob, "are you there?")
    ada.until("document.querySelector('#rooms .badge')?.textContent === '1'")
    assert bodies(ada) == []
    assert ada.get("document.activeElement === document.querySelector('#rooms .place')")  # the list was made anew
    assert ada.get("document.title") == "(1) gochan chat"
    ada.call("Input.dispatchKeyEvent", type="rawKeyDown", key="ArrowUp", code="ArrowUp",
             windowsVirtualKeyCode=38, modifiers=1)  # fmt: skip
    heard(ada, "are you there?")
    assert not ada.get("!!document.querySelector('#rooms .badge')")
    ada.until("!!document.querySelector('#people button.person')")
    ada.click("#show-people")
    ada.click("#people button.person")
    ada.until("document.querySelector('#title').textContent === 'Bob'")
    say(ada, "psst")
    heard(ada, "psst")
    bob.until("document.querySelector('#directs .badge')?.textContent === '1'")
    assert bodies(bob) == ["are you there?"]
    bob.click("#directs .place")
    heard(bob, "psst")
    bob.click("#leave")
    say(ada, "gone?")
    ada.until("document.querySelector('.failed .fate')?.textContent.startsWith('Not sent')")
    ada.click("#directs .close")
    ada.until("document.querySelector('#title').textContent.startsWith('# test-rooms')")
    clean(ada, bob)


def test_what_was_said_before(browser: Browser, address: str) -> None:
    """Who comes later sees what was said, and may ask for what was said earlier; nothing twice, all in order."""
    ada = browser.open(address)
    enter(ada, "Ada")
    ada.until("document.activeElement.id === 'text'")
    ada.get("(async () => { for (let n = 0; n < 60; n++) {"
            " document.querySelector('#text').value = String(n);"
            " document.querySelector('#composer').requestSubmit(); } })()")  # fmt: skip
    heard(ada, *map(str, range(60)))
    bob = browser.open(address)
    enter(bob, "Bob")
    heard(bob, *map(str, range(10, 60)))
    bob.until("!document.querySelector('#earlier').hidden")
    bob.get("document.querySelector('#earlier').click()")
    heard(bob, *map(str, range(60)))
    assert bob.get("document.querySelector('#earlier').hidden")
    clean(ada, bob)


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
