"""What people do with the page, for its tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from tests.chat.browser import BOUND, Page

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(port: int = 0) -> Generator[str, None, None]:
    """The server as people start it; its address."""
    command = [
        sys.executable,
        "-m",
        "examples.chat",
        "--port",
        str(port),
        "--drain-timeout",
        "5",
        "--rate",
        "1000",
        "--burst",
        "1000",
    ]
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


def enter(page: Page, name: str) -> None:
    page.until("document.activeElement.id === 'name'")
    page.type(name)
    page.enter()
    connected(page)


def connected(page: Page) -> None:
    page.until("document.querySelector('#state').dataset.state === 'open' && !!document.querySelector('#people .you')")


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
