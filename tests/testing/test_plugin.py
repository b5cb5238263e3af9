"""The pytest plugin: what the marker does, with what it lives, and that it costs nothing where it is not used.

A session inside this process takes a tenth of what one in a process of its own takes. It forgets the modules that it
was the first to import; those of gochan must stay, so they are imported here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import _gochan_pytest
import gochan.testing._asyncio_world
import gochan.testing._trio_world  # noqa: F401

pytest_plugins = ["pytester"]

SRC = Path(__file__).parent.parent.parent / "src"

# By its module, and not by its entry point as well, which is there only where the package is installed.
OPTIONS = ["-p", "no:gochan", "-p", "no:cacheprovider"]
PYTEST = [sys.executable, "-m", "pytest", *OPTIONS, "-p", "_gochan_pytest"]

HEAD = """
import warnings
import anyio, pytest, gochan
from gochan import testing
"""


class Session:
    """A run of pytest with the plugin: inside this one, or apart, in a process of its own."""

    def __init__(self, pytester: pytest.Pytester, code: str, *options: str, apart: bool = False) -> None:
        pytester.makepyfile(test_it=HEAD + code)
        if apart:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), *sys.path]), "COLUMNS": "200"}
            command = [*PYTEST, "-vv", *options]
            done = subprocess.run(
                command, cwd=pytester.path, capture_output=True, text=True, env=environment, timeout=50
            )
            lines, self.output, self.code = done.stdout.splitlines(), done.stdout + done.stderr, done.returncode
        else:
            inside = pytester.runpytest_inprocess(*OPTIONS, "-vv", *options, plugins=[_gochan_pytest])
            lines, self.output, self.code = inside.outlines, f"{inside.stdout}{inside.stderr}", int(inside.ret)
        words = [line.split()[:2] for line in lines if line.startswith("test_it.py::")]
        self.outcomes = {found[0].removeprefix("test_it.py::"): found[1] for found in words if len(found) == 2}


def test_what_the_marker_does(pytester: pytest.Pytester) -> None:
    """On each backend, in virtual time, with fixtures, parameters, classes; plain tests are left alone."""
    session = Session(
        pytester,
        """
@pytest.fixture
def hour():
    return 3600

@pytest.mark.gochan
async def test_virtual_time(hour):
    await testing.sleep(hour)
    assert anyio.current_time() == hour

@pytest.mark.gochan(backends=("trio",))
async def test_backend(gochan_backend):
    import trio
    assert gochan_backend == "trio"
    await trio.sleep(3600)

@pytest.mark.gochan(backends=["asyncio"], seed=3)
class TestClass:
    @pytest.mark.parametrize("n", [1, 2])
    async def test_method(self, n, hour):
        assert type(self) is TestClass
        await anyio.sleep(n * hour)

    def test_plain(self):
        pass

@pytest.mark.gochan
async def test_skips():
    pytest.skip("as any test may")

@pytest.mark.gochan(virtual_time=False)
async def test_real_time():
    await anyio.sleep(0.001)
    with pytest.raises(RuntimeError):
        await testing.wait_idle()

def test_unmarked():
    pass
""",
        "-W",
        "error",
        apart=True,  # so that what other tests left for the collector warns elsewhere
    )
    assert session.outcomes == {
        "test_virtual_time[asyncio]": "PASSED",
        "test_virtual_time[trio]": "PASSED",
        "test_backend[trio]": "PASSED",
        "TestClass::test_method[asyncio-1]": "PASSED",
        "TestClass::test_method[asyncio-2]": "PASSED",
        "TestClass::test_plain": "PASSED",
        "test_skips[asyncio]": "SKIPPED",
        "test_skips[trio]": "SKIPPED",
        "test_real_time[asyncio]": "PASSED",
        "test_real_time[trio]": "PASSED",
        "test_unmarked": "PASSED",
    }, session.output


def test_how_tests_fail(pytester: pytest.Pytester) -> None:
    """A deadlock, an assertion, a goroutine that fails: each with what pytest shows of it."""
    session = Session(
        pytester,
        """
pytestmark = pytest.mark.gochan(backends=("asyncio", "trio"))

async def test_deadlock():
    await gochan.Channel(name="lonely").receive()

async def test_assertion():
    values = [1]
    assert values == [2]

async def test_goroutine():
    async def fail():
        raise LookupError("in a goroutine")
    gochan.go(fail)
""",
    )
    assert Counter(session.outcomes.values()) == {"FAILED": 6}, session.output
    assert "goroutine 1 [chan receive] {chan: lonely" in session.output
    assert "assert [1] == [2]" in session.output
    assert "LookupError: in a goroutine" in session.output


def test_what_is_left_behind(pytester: pytest.Pytester) -> None:
    """An error, a warning or nothing, in virtual time and in real time."""
    session = Session(
        pytester,
        """
async def leave():
    gochan.go(gochan.Channel().receive, name="left")
    await anyio.wait_all_tasks_blocked()

@pytest.mark.gochan
async def test_default():
    await leave()

@pytest.mark.gochan(leaks="error")
async def test_error():
    await leave()

@pytest.mark.gochan(leaks="ignore")
async def test_ignore():
    await leave()

@pytest.mark.gochan(leaks="warn")
async def test_warn():
    await leave()

@pytest.mark.gochan(leaks="error", virtual_time=False)
async def test_real_error():
    await leave()

@pytest.mark.gochan(leaks="ignore", virtual_time=False)
async def test_real_ignore():
    await leave()
""",
        "-W",
        "error::gochan.diagnostics.LeakWarning",
    )
    outcomes = {(name.partition("[")[0], outcome) for name, outcome in session.outcomes.items()}
    assert outcomes == {
        ("test_default", "FAILED"),
        ("test_error", "FAILED"),
        ("test_ignore", "PASSED"),
        ("test_warn", "FAILED"),
        ("test_real_error", "FAILED"),
        ("test_real_ignore", "PASSED"),
    }, session.output
    assert "LeakWarning: 1 goroutine can never wake" in session.output
    assert "LeakError: 1 goroutine can never wake" in session.output


def test_the_seed_decides(pytester: pytest.Pytester) -> None:
    """The closest marker's options win; the same seed is the same run."""
    session = Session(
        pytester,
        """
orders = {}

async def order():
    came = []
    async def work(n):
        await anyio.sleep(0)
        came.append(n)
    async with gochan.Group() as group:
        for n in range(6):
            group.go(work, n)
    return came

pytestmark = pytest.mark.gochan(seed=1, backends=("asyncio",))

@pytest.mark.parametrize("again", [1, 2])
async def test_one(again):
    orders[again] = await order()

@pytest.mark.gochan(seed=2)
async def test_other():
    orders[3] = await order()

@pytest.mark.gochan(seed=None)
async def test_none():
    assert await order() == list(range(6))

def test_compare():
    assert orders[1] == orders[2] != orders[3]
""",
    )
    assert session.code == 0, session.output


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_beside_other_plugins(pytester: pytest.Pytester, mode: str) -> None:
    """anyio's in its automatic mode, pytest-asyncio's in both, where it is installed, and Hypothesis."""
    options = ["-o", "anyio_mode=auto"] if mode == "auto" else []
    theirs = "anyio"
    if find_spec("pytest_asyncio"):
        options += ["-o", f"asyncio_mode={mode}"]
        theirs = "asyncio"
    session = Session(
        pytester,
        f"""
from hypothesis import given, settings, strategies

@pytest.mark.gochan
async def test_ours():
    await testing.sleep(3600)

@pytest.mark.gochan
@settings(max_examples=5)
@given(hours=strategies.integers(1, 9))
async def test_given(hours):
    await testing.sleep(3600 * hours)

@pytest.mark.{theirs}
async def test_theirs():
    await anyio.sleep(0)
    with pytest.raises(RuntimeError):
        await testing.wait_idle()
""",
        *options,
    )
    assert session.code == 0, session.output
    ours = [name for name in session.outcomes if "theirs" not in name]
    assert sorted(ours) == sorted(f"test_{name}[{on}]" for name in ("ours", "given") for on in ("asyncio", "trio"))


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((), {"virtual": True}, "takes virtual_time, leaks, seed, backends by name"),
        (("trio",), {}, "takes virtual_time, leaks, seed, backends by name"),
        ((), {"backends": "trio"}, "backends is some of"),
        ((), {"backends": ()}, "backends is some of"),
        ((), {"backends": ("curio",)}, "backends is some of"),
        ((), {"leaks": "loud"}, "leaks is one of"),
        ((), {"seed": 1, "virtual_time": False}, "in virtual time only"),
    ],
)
def test_a_marker_that_makes_no_sense(args: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    """It says what would."""
    mark: Any = SimpleNamespace(args=args, kwargs=options)
    with pytest.raises(pytest.UsageError, match=message):
        _gochan_pytest._options([mark])


def test_nonsense_is_told_when_the_tests_are_collected(pytester: pytest.Pytester) -> None:
    """Before any of them runs."""
    session = Session(pytester, "@pytest.mark.gochan(backends='trio')\nasync def test_it():\n    pass\n")
    assert session.code not in {0, 1}, session.output
    assert "backends is some of" in session.output


def test_a_plain_test_with_the_marker(pytester: pytest.Pytester) -> None:
    """Would run in real time without a word: an error as well."""
    session = Session(pytester, "@pytest.mark.gochan\ndef test_it():\n    pass\n")
    assert session.code not in {0, 1}
    assert "which runs async tests, and is a plain one" in session.output


def test_no_cost_and_no_warning_where_it_is_not_used(tmp_path: Path) -> None:
    """In a process of its own: gochan is not even imported, and the marker is known."""
    code = """
import sys

def test_it():
    assert "gochan" not in sys.modules

def test_it_is_here(pytestconfig):
    marker = "gochan(virtual_time=True, leaks='error', seed=None"
    assert any(line.startswith(marker) for line in pytestconfig.getini("markers"))
"""
    (tmp_path / "test_it.py").write_text(code, "utf-8")
    command = [*PYTEST, "-W", "error", "--strict-markers"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), *sys.path])}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=50)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
