"""The package as somebody installs it who has no checkout: a wheel, no development extras, also on a newer Python."""

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
@pytest.mark.parametrize("which", ["this", "newest"])
def test_a_wheel_in_an_empty_environment_is_whole(which: str, tmp_path: Path) -> None:
    """Built here, installed with its dependencies in another folder, with nothing of the source beside it."""
    python = Path(sys.executable) if which == "this" else newest_python()
    if python is None:
        pytest.skip(f"there is no Python newer than {sys.version_info.major}.{sys.version_info.minor} here")
    source, home, wheels = (tmp_path / name for name in ("source", "home", "wheels"))
    for name in ("marl_pricing", "conf", "examples"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, source / name)
    home.mkdir()
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode")}  # it goes with the environment
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True, env=environment)
    own = tmp_path / "venv" / "bin" / "python"
    pip = [own, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # The tested versions here; on another Python whatever there is for it.
    tested = ["-c", str(source / "constraints.txt")] if which == "this" else []
    for arguments in (["wheel", "--no-deps", "-w", wheels, source], ["install", "--no-compile", *tested]):
        built = [next(wheels.glob("*.whl"))] if wheels.exists() else []
        done = subprocess.run([*pip, *arguments, *built], capture_output=True, text=True, check=False, env=environment)
        lost = r"name resolution|connection|timed out|unreachable"
        if done.returncode and re.search(lost, done.stderr, re.IGNORECASE):
            pytest.skip(f"the package registry cannot be reached: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    # The flags of these tests are those of the compiler that they run with: another one may not know them.
    unset = {"PYTHONPATH"} if which == "this" else {"PYTHONPATH", "XLA_FLAGS"}
    environment = {name: value for name, value in environment.items() if name not in unset}
    said = ""
    for command in (
        ["train", *TINY, "run.folder=run"],
        ["evaluate", "run=run", *SHORT],
        *([["train", "experiment=grocery", *TINY, "run.folder=grocery"]] if which == "this" else []),
        ["export", "run=run", "format=flax"],
    ):
        done = subprocess.run(
            [own.parent / "marl-pricing", *command], cwd=home, capture_output=True, text=True, check=False,
            env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert "marl-pricing evaluate run=run" in said
    evaluation = home / "run" / "evaluation"
    assert (evaluation / "report.html").exists() and not (evaluation / "best_responses.csv").exists()
    with (home / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["update"] for row in rows] == ["1", "2"]
    told = json.loads((home / "run" / "provenance.json").read_text())
    assert told["versions"]["torch"] == "not installed" and told["command"].startswith("marl-pricing train ")
