"""What README and docs show is what runs: Python blocks as they stand, command lines as far as their settings."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from marl_pricing import commands
from marl_pricing.config import read_settings
from marl_pricing.config.composing import compose_settings
from tests.processes import ROOT

# What begins with _ was made by a build.
WRITTEN = [
    page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.relative_to(ROOT).parts[1].startswith("_")
]
PAGES = [ROOT / "README.md", *WRITTEN, *sorted((ROOT / "examples").rglob("*.md"))]
PYTHON = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
]
# A line of a shell block, without what is said behind it.
LINES = [
    (page.name, line.partition("  #")[0].strip())
    for page in PAGES
    for block in re.findall(r"```(?:sh|bash|shell)?\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON)
def test_a_block_runs_as_it_stands(block: str, tmp_path: Path) -> None:
    os.symlink(ROOT / "examples", tmp_path / "examples")  # a reader is in a checkout
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def test_settings_of_every_training_that_is_shown_are_accepted() -> None:
    shown = 0
    for page, line in LINES:
        for door in ("python train.py", "marl-pricing train", "docker compose run --rm train"):
            if not line.startswith(door):
                continue
            given = _words(line.removeprefix(door))
            if any(own.startswith(("resume=", "-m", "--", "init_from=")) for own in given):
                continue
            # Files of the reader's own are not here.
            typed = [own for own in given if "…" not in own and not own.startswith(("market.path=", "traffic.log"))]
            if any(own == "market=calibrated" for own in typed):
                continue
            try:
                data = compose_settings(typed)
                for name in ("resume", "study"):
                    data.pop(name)
                read_settings(data)
            except ValueError as error:
                raise AssertionError(f"{page}: {line}: {error}") from None
            shown += 1
    assert shown >= 15


def test_every_module_and_verb_that_is_shown_is_there() -> None:
    shown = 0
    for page, line in LINES:
        module = re.match(r"python -m (marl_pricing[\w.]*)", line)
        if module:
            place = ROOT.joinpath(*module.group(1).split("."))
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), f"{page}: {line}"
            shown += 1
        verb = re.match(r"marl-pricing ([\w-]+)", line)
        if verb and not verb.group(1).startswith("-"):
            assert verb.group(1) in commands.VERBS, f"{page}: {line}"
    assert shown >= 8
