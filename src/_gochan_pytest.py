"""The pytest plugin: ``@pytest.mark.gochan`` on an async test runs it as a program of its own.

It costs a suite that does not use it one comparison a test: gochan is imported when a test asks for it.

Shape
    A marked async function is replaced by a plain one, as soon as it is collected, that runs it with
    ``gochan.testing.run`` (or ``gochan.run``). So the plugins of anyio and pytest-asyncio have nothing to do with it,
    whatever their mode. The fixture ``gochan_backend``, which it uses, makes it one test for each backend. Under
    Hypothesis the same is done to the function inside.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Generator, Iterable
from importlib.util import find_spec
from typing import Any, Final

import pytest

_OPTIONS: Final = ("virtual_time", "leaks", "seed", "backends")
_BACKENDS: Final = ("asyncio", "trio")
_LEAKS: Final = ("warn", "error", "ignore")
_FIXTURE: Final = "gochan_backend"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "gochan(virtual_time=True, leaks='error', seed=None, backends=('asyncio', 'trio')): run an async test as a "
        "program of gochan, on each backend: in virtual time, in an order drawn from the seed",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> Any:
    """Put a plain function in the place of a marked async one."""
    own = any(mark.name == "gochan" for mark in getattr(obj, "__dict__", {}).get("pytestmark", ()))
    if not own and collector.get_closest_marker("gochan") is None:
        return None
    if hasattr(obj, "__gochan__") or inspect.isclass(obj) or not collector.istestfunction(obj, name):
        return None
    if inspect.iscoroutinefunction(getattr(getattr(obj, "hypothesis", None), "inner_test", None)):
        obj.hypothesis.inner_test = _plain(obj.hypothesis.inner_test)
        plain = obj
    elif inspect.iscoroutinefunction(obj):
        plain = _plain(obj)
    elif own:
        raise pytest.Collector.CollectError(f"{name} is marked with gochan, which runs async tests, and is a plain one")
    else:
        return None
    plain.__gochan__ = True
    # anyio's plugin may have been here before, and have asked for its own backends.
    plain.pytestmark = [
        mark for mark in getattr(plain, "pytestmark", ()) if mark != pytest.mark.usefixtures("anyio_backend").mark
    ]
    pytest.mark.usefixtures(_FIXTURE)(plain)
    setattr(collector.obj, name, plain)  # pytest takes a test's function from where it is defined
    return collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=plain)


@pytest.fixture(name=_FIXTURE)
def gochan_backend(request: pytest.FixtureRequest) -> str:
    """The backend that a test marked with gochan runs on."""
    backend: str = getattr(request, "param", "asyncio")
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install pygochan[{backend}]")
    return backend


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each backend."""
    definition: Any = metafunc.definition
    if hasattr(definition.function, "__gochan__"):
        backends = _options(definition.iter_markers("gochan"))["backends"]
        metafunc.parametrize(_FIXTURE, backends, indirect=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Tell the plain function which test it is."""
    item: Any = pyfuncitem
    if not hasattr(item.function, "__gochan__"):
        return (yield)
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


_running: Final[list[Any]] = []


def _plain(fn: Callable[..., Any]) -> Any:
    """A plain function that runs an async one as the test that is running says."""

    @functools.wraps(fn)
    def run(*args: Any, **fixtures: Any) -> None:
        __tracebackhide__ = True
        item = _running[-1]
        _run(functools.partial(fn, *args, **fixtures), item.funcargs[_FIXTURE], _options(item.iter_markers("gochan")))

    return run


def _options(marks: Iterable[pytest.Mark]) -> dict[str, Any]:
    """What the markers say, the closest first; UsageError if they make no sense."""
    options: dict[str, Any] = {}
    for mark in marks:
        unknown = [name for name in mark.kwargs if name not in _OPTIONS]
        if mark.args or unknown:
            raise pytest.UsageError(f"the gochan marker takes {', '.join(_OPTIONS)} by name, not {mark!r}")
        options = {**mark.kwargs, **options}
    options = {"virtual_time": True, "leaks": "error", "seed": None, "backends": _installed(), **options}
    backends = options["backends"]
    if isinstance(backends, str) or not backends or any(backend not in _BACKENDS for backend in backends):
        raise pytest.UsageError(f"gochan: backends is some of {_BACKENDS}, not {backends!r}")
    if options["leaks"] not in _LEAKS:
        raise pytest.UsageError(f"gochan: leaks is one of {_LEAKS}, not {options['leaks']!r}")
    if options["seed"] is not None and not options["virtual_time"]:
        raise pytest.UsageError("gochan: a seed decides the order in virtual time only")
    return options


def _installed() -> tuple[str, ...]:
    return tuple(backend for backend in _BACKENDS if find_spec(backend) is not None)


def _run(fn: Callable[[], Any], backend: Any, options: dict[str, Any]) -> None:
    __tracebackhide__ = True
    import gochan
    from gochan import testing

    leaks = options["leaks"]
    if not options["virtual_time"]:
        gochan.run(fn, backend=backend, leaks=leaks)
    elif leaks == "error":
        # Whatever is left blocked when the test has returned is a Deadlock then.
        testing.run(fn, backend=backend, seed=options["seed"])
    else:
        testing.run(_forgiving, fn, leaks == "warn", backend=backend, seed=options["seed"])


async def _forgiving(fn: Callable[[], Any], warn: bool) -> None:
    """Run the test, and end what it left."""
    import gochan
    from gochan.diagnostics import LeakWarning, find_leaks
    from gochan.diagnostics._errors import leak_text

    async with gochan.Group() as group:
        await fn()
        leaked = find_leaks() if warn else []
        if leaked:
            warnings.warn(leak_text("can never wake", leaked), LeakWarning, stacklevel=2)
        group.cancel()
