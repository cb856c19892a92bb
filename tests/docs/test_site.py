"""The documentation as a site: it builds without a warning, and its notebooks run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "docs", str(tmp_path / "site")]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "trees")], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "site" / "api.html").read_text("utf-8")
    assert 'id="marl_pricing.api.train"' in reference and 'id="marl_pricing.market.step"' in reference
    assert (tmp_path / "site" / "_notebooks" / "a_market.html").exists()


def test_every_page_is_in_the_contents() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8").splitlines()
    pages = [path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")]
    written = {page.as_posix() for page in pages if not page.parts[0].startswith("_")} - {"index"}
    assert written <= set(index), written - set(index)
    assert {f"_notebooks/{path.stem}" for path in NOTEBOOKS} <= set(index)


def test_no_page_names_a_folder_that_its_reader_lacks() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "marl_pricing").rglob("*.py")]
    assert [path.name for path in pages if "spec/" in path.read_text("utf-8")] == []
