"""The type checkers accept the users' code in this directory, and nothing else.

The `typed_*.py` files next to this one are programs that are checked and never run. Where a checker must complain, the
line carries the code it must complain with; a complaint that does not come is an error itself (`warn_unused_ignores`,
`reportUnnecessaryTypeIgnoreComment`).
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent / "src"
PROGRAMS = sorted(HERE.glob("typed_*.py"))

pytestmark = pytest.mark.timeout(300)


def _check(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is missing: pip install mypy")
def test_mypy(tmp_path: Path) -> None:
    """`mypy --strict` accepts users' code, and rejects what it must reject."""
    config = tmp_path / "mypy.ini"
    config.write_text(
        f"[mypy]\nstrict = True\npython_version = 3.11\nmypy_path = {SOURCE}\n"
        f"cache_dir = {tmp_path / 'cache'}\nenable_error_code = ignore-without-code\n"
    )
    _check(sys.executable, "-m", "mypy", f"--config-file={config}", *map(str, PROGRAMS), cwd=tmp_path)


def _pyright() -> list[str] | None:
    """How to call a pyright that works here: the PyPI package may fetch the program itself, which needs a network."""
    for command in ([sys.executable, "-m", "pyright"], [shutil.which("pyright") or ""]):
        if command[0] and (command[-1] != "pyright" or importlib.util.find_spec("pyright") is not None):
            done = subprocess.run([*command, "--version"], capture_output=True, timeout=120, check=False)
            if done.returncode == 0:
                return command
    return None


def test_pyright(tmp_path: Path) -> None:
    """pyright in strict mode accepts users' code, and rejects what it must reject."""
    command = _pyright()
    if command is None:
        pytest.skip("pyright is missing: pip install pyright")
    for program in PROGRAMS:
        shutil.copy(program, tmp_path)  # pyright knows no programs outside of the directory of its configuration
    settings = {
        "include": [program.name for program in PROGRAMS],
        "extraPaths": [str(SOURCE)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    report = _check(*command, "--pythonpath", sys.executable, "--stats", cwd=tmp_path)
    assert f"Found {len(PROGRAMS)} source files" in report


def test_package_says_that_it_is_typed() -> None:
    """The package carries `py.typed`, so that checkers read its annotations when it is installed."""
    assert (files("gochan") / "py.typed").is_file()
