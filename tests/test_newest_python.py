"""The package as somebody installs it who has a newer Python: no development extras, no tested versions."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

TINY = (
    "learner.num_updates=2", "learner.num_envs=4", "learner.num_steps=8", "learner.hidden_size=8", "learner.devices=1",
    "run.tensorboard=false",
)  # fmt: skip
SHORT = ("episodes=2", "rules=[]", "guests=false", "behaviour=false", "best_response=0")
_VERSION = "import sys; print(*sys.version_info[:2])"


def version_of(python: Path) -> tuple[int, ...]:
    """(3, minor) of an interpreter; () where it does not start."""
    done = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def newest_python() -> Path | None:
    """The newest interpreter on the PATH or among pyenv's, if it is newer than this one."""
    found = [Path(own) for minor in range(12, 20) if (own := shutil.which(f"python3.{minor}"))]
    found += (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3")
    versions = {python: version_of(python) for python in found}
    newest = max(versions, key=lambda python: versions[python], default=None)
    return newest if newest and versions[newest] > sys.version_info[:2] else None


@pytest.mark.slow
def test_it_installs_and_trains_on_the_newest_python_there_is(tmp_path: Path) -> None:
    python = newest_python()
    if python is None:
        pytest.skip(f"there is no Python newer than {sys.version_info.major}.{sys.version_info.minor} here")
    source, home = tmp_path / "source", tmp_path / "home"
    for name in ("marl_pricing", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "train.py", "evaluate.py"):
        shutil.copy(ROOT / name, source / name)
    home.mkdir()
    for name in ("conf", "train.py", "evaluate.py"):  # the doors without the package beside them
        shutil.move(source / name, home / name)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    own = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run(
        [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and re.search(r"name resolution|connection|timed out|unreachable", done.stderr, re.IGNORECASE):
        pytest.skip(f"the package registry cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    # The flags of these tests are those of the compiler that they run with.
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    for command in (["train.py", *TINY, "run.folder=run"], ["evaluate.py", "run=run", *SHORT]):
        done = subprocess.run([own, *command], cwd=home, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    assert (home / "run" / "evaluation" / "report.html").exists()
    with (home / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["update"] for row in rows] == ["1", "2"]
    assert json.loads((home / "run" / "provenance.json").read_text())["versions"]["torch"] == "not installed"
