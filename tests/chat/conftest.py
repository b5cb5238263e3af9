"""What the tests of the page share: a browser and a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.chat import browser as chromium
from tests.chat.browser import Browser
from tests.chat.pages import serving


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = chromium.find()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with chromium.running(program, tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def address(server: str, request: pytest.FixtureRequest) -> str:
    """The page, in a room of the test's own: what others said in theirs is history."""
    return f"{server}#{request.node.originalname.replace('_', '-')[:60]}"
