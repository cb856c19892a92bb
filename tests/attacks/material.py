"""What is attacked: a trained run, one that met it as an opponent, and policy files, made by the doors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.attacks.outcome import ROOT

_SMALL = (
    "traffic.model=analytic", "market.num_sellers=2", "market.num_products=1", "market.episode_length=6",
    "market.reward.omega=0", "learner.num_seeds=2", "learner.num_envs=4", "learner.num_steps=6",
    "learner.num_updates=4", "learner.num_minibatches=2", "learner.num_epochs=1", "learner.hidden_size=8",
    "learner.devices=1", "run.checkpoint_every=2", "run.report_every=2", "run.evaluate_every=2",
    "run.tensorboard=false",
)  # fmt: skip


def _python(*arguments: str) -> None:
    own = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=own)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:3])}: {done.stderr[-2000:]}")


def trained(folder: Path) -> Path:
    """A folder with runs `alone` and `met` (which keeps an opponent); made where it is not there yet."""
    place = folder / "runs"
    if not (place / "met" / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        alone, met = place / "alone", place / "met"
        _python("train.py", *_SMALL, "name=alone", f"run.folder={alone}")
        _python("train.py", *_SMALL, "name=met", f"run.folder={met}", f"+opponents.seats={{1: {alone}}}")
        (met / "made").touch()
    return place


def exported(folder: Path) -> Path:
    """A folder with policy.pt2, policy.onnx and policy.npz of a trained run."""
    place, alone = folder / "policies", trained(folder) / "alone"
    kinds = {"torch": "pt2", "onnx": "onnx", "flax": "npz"}
    if not all((place / f"policy.{suffix}").exists() for suffix in kinds.values()):
        calls = [[f"run={alone}", f"format={kind}", f"out={place}/policy.{own}"] for kind, own in kinds.items()]
        _python("-c", f"from marl_pricing.export.__main__ import main\nfor own in {calls!r}: main(own)")
    return place
