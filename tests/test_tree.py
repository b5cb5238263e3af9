"""What the source tree promises: who may import whom, how long a file may be, what the package exports."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "gochan"
FILES = sorted(SRC.rglob("*.py"))
ALL_FILES = sorted(path for top in ("src", "tests", "examples", "benchmarks") for path in (ROOT / top).rglob("*.py"))
LONGEST_FILE = 450

# The ground floor: everything in the package but the two that look at it from above.
UPSTAIRS = ("gochan.diagnostics", "gochan.testing")


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """The absolute names that an import may bring in (``from a import b`` may mean the module ``a.b``)."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            base = f"{package}.{base}" if base else package
        for alias in node.names:
            name = f"{base}.{alias.name}"
            is_module = (SRC / name.replace(".", "/")).is_dir() or (SRC / (name.replace(".", "/") + ".py")).is_file()
            yield name if is_module else base


def all_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for name in imported(node, path):
            yield getattr(node, "lineno", 0), name


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports_at_import_time(path: Path) -> Iterator[tuple[int, str]]:
    """The imports that run with the module: neither in a function nor for type checkers only."""
    todo: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and is_type_checking(node.test):
            todo.extend(node.orelse)
            continue
        for name in imported(node, path):
            yield getattr(node, "lineno", 0), name
        todo.extend(ast.iter_child_nodes(node))


def where(path: Path, line: int, name: str) -> str:
    return f"{path.relative_to(SRC)}:{line} imports {name}"


def test_there_is_a_tree() -> None:
    assert PACKAGE / "__init__.py" in FILES
    assert (PACKAGE / "py.typed").is_file()


def test_core_imports_nothing_above_it() -> None:
    wrong = [
        where(path, line, name)
        for path in FILES
        if within(module_name(path), "gochan._core")
        for line, name in all_imports(path)
        if within(name, "gochan") and not within(name, "gochan._core")
    ]
    assert wrong == []


def test_ground_floor_does_not_know_who_watches_it() -> None:
    wrong = [
        where(path, line, name)
        for path in FILES
        if within(module_name(path), "gochan")
        and module_name(path) != "gochan"  # the front door exports diagnostics' names, too
        and not any(within(module_name(path), upstairs) for upstairs in UPSTAIRS)
        for line, name in imports_at_import_time(path)
        if any(within(name, upstairs) for upstairs in UPSTAIRS)
    ]
    assert wrong == []


def test_trio_is_optional() -> None:
    drivers = {"trio", "gochan._core.trio_driver", "gochan.testing._trio_world"}
    wrong = [
        where(path, line, name)
        for path in FILES
        if module_name(path) not in drivers
        for line, name in imports_at_import_time(path)
        if any(within(name, driver) for driver in drivers)
    ]
    assert wrong == []


def test_files_are_short_enough_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in ALL_FILES}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_public_names() -> None:
    gochan = importlib.import_module("gochan")
    names = list(gochan.__all__)
    assert len(names) == len(set(names))
    assert names == sorted(names)
    assert [name for name in names if not hasattr(gochan, name)] == []


def test_package_says_that_it_is_typed() -> None:
    """The package carries `py.typed`, so that checkers read its annotations where it is installed."""
    assert (files("gochan") / "py.typed").is_file()
