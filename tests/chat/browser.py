"""A headless Chromium, driven through the DevTools protocol: real keys, real pages, no extra package."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

BOUND = 20.0
"""Seconds that anything may take, on the slowest machine."""

FLAGS = (
    "--headless",
    "--no-sandbox",  # it cannot be had in a container; the only pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)


def find() -> str | None:
    """A Chromium on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextlib.contextmanager
def running(program: str, directory: Path) -> Iterator[Browser]:
    """A browser with a new, empty profile."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={directory}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            port, path = _address(process, directory)
            with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None, proxy=None) as connection:
                browser = Browser(connection)
                yield browser
                browser.call("Browser.close")
            process.wait(BOUND)
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], directory: Path) -> list[str]:
    """Where its DevTools listen, which it writes into its profile once they do."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            lines = (directory / "DevToolsActivePort").read_text().splitlines()
            if len(lines) == 2:
                return lines
        time.sleep(0.02)
    raise RuntimeError(f"the browser does not start: {(directory / 'log').read_text(errors='replace')[-2000:]}")


class Browser:
    """The connection to the browser; all pages speak over it, each in its own session."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self.pages: dict[str, Page] = {}

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Ask for something, and wait for the answer; events that come before it go to their page."""
        number = next(self._ids)
        request = {"id": number, "method": method, "params": params}
        self._connection.send(json.dumps(request if session is None else {**request, "sessionId": session}))
        while True:
            message = json.loads(self._connection.recv(BOUND))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            page = self.pages.get(message.get("sessionId"))
            if page is not None:
                page.note(message)

    def open(self, url: str) -> Page:
        """A page for somebody new: it shares no storage with the others."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Runtime", "Log", "Page", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        page.go(url)
        return page


class Page:
    """One tab of one person."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.errors: list[str] = []
        self.requested: list[str] = []

    def call(self, method: str, **params: Any) -> Any:
        return self._browser.call(method, self._session, **params)

    def note(self, event: Any) -> None:
        params = event["params"]
        match event["method"]:
            case "Runtime.exceptionThrown":
                self.errors.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def get(self, expression: str) -> Any:
        """The value of an expression in the page; of what it promises, if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str) -> Any:
        """Wait for a condition in the page; its value."""
        deadline = time.monotonic() + BOUND
        while time.monotonic() < deadline:
            try:
                value = self.get(
                    f"new Promise((done) => {{ let turns = 0; const look = () => {{ const value = ({condition});"
                    " value || ++turns > 100 ? done(value) : setTimeout(look, 5); }; look(); })"
                )
            except AssertionError as error:  # the page was left meanwhile
                if "context was destroyed" not in str(error) and "navigated" not in str(error):
                    raise
                continue
            if value:
                return value
        raise AssertionError(f"never came true: {condition}\n{self.get('document.body.innerText')}\n{self.errors}")

    def type(self, text: str) -> None:
        """Type into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, *, text: str = "", shift: bool = False) -> None:
        keys = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **keys)
        self.call("Input.dispatchKeyEvent", type="keyUp", **keys)

    def enter(self, *, shift: bool = False) -> None:
        self.press("Enter", 13, text="\r", shift=shift)

    def click(self, selector: str) -> None:
        x, y = self.get(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)
