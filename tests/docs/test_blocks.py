"""What README and docs show is what runs: Python blocks as they stand in a process of their own; command lines as they
stand where they need nothing of the reader's and take a moment, else as far as their settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from marl_pricing import commands
from marl_pricing.config import read_settings
from marl_pricing.config.composing import compose_settings
from marl_pricing.config.launcher import read_launcher
from tests.docs.blocks import BLOCKS, PAGES
from tests.docs.commands import COMMANDS, MODELS, OF_MARKETS, OTHERS, Command, unknown_settings
from tests.processes import ROOT

PYTHON = [
    pytest.param(block.text, id=f"{block.page}-{number}")
    for number, block in enumerate(block for block in BLOCKS if block.language == "python")
]
LANGUAGES = {"", "python", "sh", "bash", "shell", "yaml", "text", "{eval-rst}", "{toctree}", "{include}"}
# Lines that need nothing of the reader's and are done in a moment, in the order of the pages: later ones take what
# earlier ones leave.
QUICK = re.compile(
    r"describe .*|evaluate --help|marl_pricing.calibration data=examples/.* --check|"
    r"marl_pricing.virtual_market (simulate|log|graph) .*|marl_pricing.procurement play out=runs/bargain buyer=micro .*"
)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Python with arguments, in a reader's checkout."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what lies at the top of a checkout; what is written into it goes with the tests."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for name in ("train.py", "evaluate.py", "conf"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON)
def test_a_block_runs_as_it_stands(block: str, tmp_path: Path) -> None:
    os.symlink(ROOT / "examples", tmp_path / "examples")  # a reader is in a checkout
    done = run(["-c", block], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_quick_commands_run_as_they_stand(checkout: Path) -> None:
    ran = 0
    for own in dict.fromkeys(command._replace(page="") for command in COMMANDS):
        if not QUICK.fullmatch(f"{own.called} {' '.join(own.arguments)}"):
            continue
        how = ["evaluate.py"] if own.called == "evaluate" else ["-m", own.called]
        if own.called in commands.VERBS and own.called != "evaluate":
            how = ["-m", "marl_pricing", own.called]
        done = run([*how, *own.arguments], checkout)
        assert done.returncode == 0, f"{own}: {done.stderr}"
        ran += 1
    assert ran >= 10


def _without_launcher(own: Command) -> list[str]:
    """Arguments but those of the launcher, which are read here."""
    given = dict(word.split("=", 1) for word in own.arguments if word.startswith("launcher"))
    kind = given.pop("launcher", "local")
    told = yaml.safe_load((ROOT / "conf" / "launcher" / f"{kind}.yaml").read_text("utf-8"))
    read_launcher(told | {name.removeprefix("launcher."): yaml.safe_load(value) for name, value in given.items()})
    return [word for word in own.arguments if not word.startswith("launcher")]


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    assert {block.language for block in BLOCKS} <= LANGUAGES
    assert len(PAGES) >= 25 and len(PYTHON) >= 24


def test_blocks_of_yaml_are_yaml() -> None:
    for block in BLOCKS:
        if block.language == "yaml":
            assert yaml.safe_load(block.text), block.page


def test_settings_of_every_training_that_is_shown_are_accepted() -> None:
    shown = 0
    for own in COMMANDS:
        if own.called not in OF_MARKETS:
            continue
        if any(word.startswith(("resume=", "-m", "--", "init_from=", "env=")) for word in own.arguments):
            continue
        # Files of the reader's own are not here.
        typed = [
            word for word in _without_launcher(own)
            if "…" not in word and not word.startswith(("market.path=", "traffic.log", "opponents.", "json="))
        ]  # fmt: skip
        if "market=calibrated" in typed:
            continue
        try:
            data = compose_settings(typed)
            for name in ("resume", "study"):
                data.pop(name)
            read_settings(data)
        except ValueError as error:
            raise AssertionError(f"{own}: {error}") from None
        shown += 1
    assert shown >= 20


@pytest.mark.parametrize("called", sorted({own.called for own in COMMANDS}))
def test_every_command_that_is_shown_is_there_and_has_the_settings(called: str) -> None:
    assert called in MODELS or called in OTHERS or called in OF_MARKETS, called
    for own in COMMANDS:
        if own.called != called:
            continue
        if called.startswith("marl_pricing"):
            place = ROOT.joinpath(*called.split("."))
            assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), own
        if called == "make":
            assert re.search(rf"^{own.arguments[0]}\b.*:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), own
        if called in MODELS:
            assert unknown_settings(own) == [], own


def test_a_setting_that_there_is_not_is_found() -> None:
    assert unknown_settings(Command("", "marl_pricing.export", ("run=x", "fromat=onnx"))) == ["fromat"]
    assert unknown_settings(Command("", "marl_pricing.virtual_market", ("fit", "log=x", "hold=1"))) == ["hold"]
