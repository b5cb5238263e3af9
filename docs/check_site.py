"""Look at the built site: it stands alone, and it has every public name.

    python docs/check_site.py build/site

Nothing is loaded from another host: no script, style, font, picture or frame (links that a reader follows may lead
anywhere). Every link inside the site leads somewhere. Every public name of gochan, gochan.testing and
gochan.diagnostics has its place in the reference.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

MODULES = ("gochan", "gochan.testing", "gochan.diagnostics")
FOREIGN = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
IN_SCRIPT = re.compile(r"(?:import\(|from\s*|fetch\(|importScripts\(|\.src\s*=\s*)['\"]((?:https?:)?//[^'\"]+)")


class Page(HTMLParser):
    """What one page loads, where its links lead, and which anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to."""
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a":
            self.links.append(values.get("href", ""))
        elif tag == "link":
            # An address of the page itself, or of another one, is not loaded.
            if not {"canonical", "search", "index", "next", "prev"} & set(values.get("rel", "").split()):
                self.loads.append(values.get("href", ""))
        else:
            self.loads += [values[name] for name in ("src", "data", "poster") if name in values]
            self.loads += [part.split()[0] for part in values.get("srcset", "").split(",") if part.strip()]
        self.loads += IN_STYLE.findall(values.get("style", ""))


def foreign(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """What would be loaded from another host."""
    for path, page in pages.items():
        yield from (f"{path}: loads {url}" for url in page.loads if FOREIGN.match(url))
        yield from (f"{path}: style loads {url}" for url in IN_STYLE.findall(path.read_text("utf-8")))
    for pattern, expression in (("*.css", IN_STYLE), ("*.svg", IN_STYLE), ("*.js", IN_SCRIPT)):
        for path in site.rglob(pattern):
            yield from (f"{path}: loads {url}" for url in expression.findall(path.read_text("utf-8")))


def dead(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Links and files inside the site that are not there."""
    for path, page in pages.items():
        for link in {*page.links, *page.loads}:
            if FOREIGN.match(link) or re.match(r"(?:data|mailto|javascript):", link) or not link:
                continue
            address, anchor = urldefrag(unquote(link))
            target = (path.parent / address.partition("?")[0]).resolve() if address else path
            if not target.is_relative_to(site) or not target.exists():
                yield f"{path}: {link} is not there"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{path}: {link} has no such anchor"


def unnamed(pages: dict[Path, Page]) -> Iterator[str]:
    """Public names that the reference lacks."""
    anchors = set[str]().union(*(page.anchors for page in pages.values()))
    for module in MODULES:
        for name in importlib.import_module(module).__all__:
            # What gochan re-exports stands there.
            if not {f"{module}.{name}", f"gochan.{name}"} & anchors:
                yield f"{module}.{name} is not in the reference"


def main(directory: str) -> int:
    """Print what is wrong, and how much was looked at."""
    site = Path(directory).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        print(f"no page in {site}: build it first, with `make docs`", file=sys.stderr)
        return 1
    problems = [*foreign(site, pages), *dead(site, pages), *unnamed(pages)]
    for problem in problems:
        print(problem.replace(f"{site}/", ""), file=sys.stderr)
    links = sum(len(page.links) for page in pages.values())
    print(f"{len(pages)} pages, {links} links, {len(problems)} problems: {directory}/index.html")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else f"usage: {sys.argv[0]} DIRECTORY")
