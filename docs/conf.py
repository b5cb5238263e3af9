"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "gochan"
project_copyright = "the gochan authors"
author = "the gochan authors"
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings"]
exclude_patterns = ["**/README.md", "extensions"]  # what is read on a forge has an index.md here
source_suffix = {".md": "markdown"}

# ---- text ----

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
highlight_language = "python"
pygments_style = "friendly"
pygments_dark_style = "monokai"

# These pages are written by a command, or later: without them, the tables of contents leave them out.
OPTIONAL = ("benchmarks/tables", "chat-scaling")


def leave_out(_app: object, _name: str, text: list[str]) -> None:
    """Take the lines of optional pages that are not there from a page's tables of contents."""
    missing = {name for name in OPTIONAL if not (HERE / f"{name}.md").exists()}
    text[0] = "\n".join(line for line in text[0].split("\n") if line.strip() not in missing)


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", leave_out)


# ---- reference ----

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
toc_object_entries = False

# ---- pages ----

html_theme = "furo"
html_title = "gochan"
html_favicon = "static/favicon.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00687d", "color-brand-content": "#00687d"},
    "dark_css_variables": {"color-brand-primary": "#4fc3d9", "color-brand-content": "#4fc3d9"},
}
