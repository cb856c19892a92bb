"""How the documentation is built: `make docs`, or sphinx-build docs docs/_build."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jupytext

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

project = "marl_pricing"
author = "the authors of marl_pricing"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
exclude_patterns = ["_build", "_gallery"]
html_theme = "furo"
html_title = "marl_pricing"
# A page reads files of the checkout that are no pages (examples, tests) as what they are.
suppress_warnings = ["myst.xref_missing", "myst.header"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "undoc-members": True}
napoleon_use_ivar = True


def _notebooks() -> None:
    """Every notebook as a page: its texts, its code as it runs in the tests."""
    folder = HERE / "_notebooks"
    folder.mkdir(exist_ok=True)
    for path in sorted((HERE / "notebooks").glob("*.py")):
        text = jupytext.writes(jupytext.read(path), "md")
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # jupytext's own header
        place = f"[`docs/notebooks/{path.name}`](../notebooks/{path.name})"
        said = f"*A notebook: {place}, which Jupyter opens with jupytext.*\n"
        head, _, rest = text.lstrip().partition("\n")
        (folder / f"{path.stem}.md").write_text(f"{head}\n\n{said}{rest}", encoding="utf-8")


def _gallery() -> None:
    """The figures that `python docs/gallery.py` made, or how to make them."""
    folder = HERE / "_gallery"
    folder.mkdir(exist_ok=True)
    page = folder / "figures.md"
    if not page.exists() or not any(folder.glob("*.png")):
        page.write_text("No figures were made here yet: `python docs/gallery.py` makes them.\n", encoding="utf-8")


def _plain(app: object, kind: str, name: str, what: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text: |x| is a size and * a product, and neither is markup."""
    lines[:] = [re.sub(r"(?<![`\\])([|*])(?!`)", r"\\\1", line) for line in lines]


def setup(app) -> None:  # type: ignore[no-untyped-def]
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon


_notebooks()
_gallery()
