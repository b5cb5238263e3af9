"""What every test shares: the backends it runs on, two markers, and the account of skipped tests.

* An ``async def test_x()`` needs no marker (anyio's plugin, ``anyio_mode = "auto"``) and runs once on each
  backend below. A backend whose package is missing is left out; the header says which ones there are.
* ``@pytest.mark.asyncio_only`` and ``@pytest.mark.trio_only`` deselect, rather than skip, the other backend.
* A skip says what the machine lacks and how to get it. With ``CI=true`` such a skip fails the run; only a
  reason that starts with "not applicable" (another Python version, another system) does not.

* ``@pytest.mark.gochan`` (the plugin of the package itself) gives a test virtual time, on asyncio's own loop and trio.

This file imports nothing of gochan: a broken package must show as failing tests, not as a broken conftest.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import settings

Backend = tuple[str, dict[str, Any]]

# A loaded machine is not a failing test; and a failure in CI must be the same when it is run again.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


# ---- backends ----


def eager_loop() -> asyncio.AbstractEventLoop:
    """A loop whose tasks run their first step inside create_task."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    return loop


def backends() -> Iterator[tuple[str, Backend]]:
    yield "asyncio", ("asyncio", {"debug": False})
    if sys.version_info >= (3, 12):
        yield "asyncio-eager", ("asyncio", {"debug": False, "loop_factory": eager_loop})
    if find_spec("uvloop"):
        yield "asyncio-uvloop", ("asyncio", {"debug": False, "use_uvloop": True})
    if find_spec("trio"):
        yield "trio", ("trio", {})


BACKENDS = dict(backends())


# Module scope, as anyio's own fixture has it: hypothesis refuses function-scoped ones under @given.
@pytest.fixture(scope="module", params=[pytest.param(backend, id=id) for id, backend in BACKENDS.items()])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    backend: Backend = request.param
    return backend


@pytest.fixture(scope="module")
def backend_name(anyio_backend: str | Backend) -> str:
    """The backend under the test, "asyncio" or "trio" (whatever the loop)."""
    return name_of(anyio_backend)


def name_of(backend: str | Backend) -> str:
    return backend if isinstance(backend, str) else backend[0]


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("ci" if in_ci() else "local")
    plugin = import_module("_gochan_pytest")  # it imports gochan only when a test asks for it
    if not config.pluginmanager.is_registered(plugin):  # the sources alone, without the installed package's entry point
        config.pluginmanager.register(plugin, "gochan")


def pytest_report_header() -> str:
    return f"backends: {', '.join(BACKENDS)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def applies(item: pytest.Item) -> bool:
        callspec = getattr(item, "callspec", None)
        backend = callspec.params.get("anyio_backend") if callspec is not None else None
        if backend is None:
            return True
        other = "trio_only" if name_of(backend) == "asyncio" else "asyncio_only"
        return item.get_closest_marker(other) is None

    deselected = [item for item in items if not applies(item)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if applies(item)]


def pytest_collection_finish() -> None:
    leave_to_the_past()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        leave_to_the_past()


def leave_to_the_past() -> None:
    # The collector need not look at thousands of test functions and reports, and all of the libraries, each time a test
    # runs it, as ``find_leaks`` does: up to half a second each time. What a test makes itself is made after this.
    gc.collect()
    gc.freeze()


# ---- skips ----


def skip_reasons(config: pytest.Config) -> list[str]:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reports: Iterable[Any] = reporter.stats.get("skipped", ()) if reporter is not None else ()
    # A skip's longrepr is (file, line, "Skipped: reason").
    return [
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).removeprefix("Skipped: ")
        for report in reports
    ]


def counts_as_failure(reason: str) -> bool:
    return in_ci() and not reason.startswith("not applicable")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and any(map(counts_as_failure, skip_reasons(session.config))):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# The outermost wrapper prints last: after the short summary, before the closing line of totals.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Iterator[None]:
    yield
    reasons = Counter(skip_reasons(config))
    failing = sum(n for reason, n in reasons.items() if counts_as_failure(reason))
    why = "; ".join(f"{n} x {reason}" for reason, n in reasons.most_common())
    verdict = f", {failing} of them count as failures because CI=true" if failing else ""
    terminalreporter.write_line(
        f"{reasons.total()} skipped{verdict}{': ' + why if why else ''}",
        red=bool(failing),
        yellow=bool(reasons),
    )
