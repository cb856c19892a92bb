"""Several runs by one command, as Hydra's sweepers start them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.doors.test_train import TINY, call, refused


@pytest.mark.slow
def test_jobs_have_the_devices_that_each_asks_for_and_return_their_scores(tmp_path: Path) -> None:
    """The first job wants fewer devices than the second: they are started once, for both."""
    done = call(
        "train.py", "-m", *TINY, "learner.num_updates=4", "learner.num_seeds=2", "run.tensorboard=false",
        "learner.devices=1,2", f"run.folder={tmp_path}/${{learner.devices}}",
        "+hydra.callbacks.keep._target_=tests.doors.keep_scores.KeepScores",
        f"+hydra.callbacks.keep.path={tmp_path}/scores",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if "device(s)" in line]
    assert [line.partition(" device(s)")[0].rpartition(" ")[2] for line in told] == ["1", "2"]
    scores = [json.loads(line) for line in (tmp_path / "scores").read_text().splitlines()]
    assert [devices for devices, _ in scores] == [1, 2]
    for devices, score in scores:
        table = pd.read_csv(tmp_path / str(devices) / "evaluation.csv")
        rows = table[table["update"].eq(4) & table["policy"].eq("greedy")]
        assert len(rows) == 2 * 3  # seeds and sellers
        assert score == pytest.approx(rows["shaped"].mean(), rel=1e-12)


@pytest.mark.slow
def test_a_job_that_asks_for_more_than_there_can_be_is_refused(tmp_path: Path) -> None:
    done = call("train.py", "-m", *TINY, "learner.devices=0,1", f"run.folder={tmp_path}/${{learner.devices}}")
    assert "learner.devices=0: accepted is" in refused(done.returncode, done.stderr)
    assert not list(tmp_path.iterdir())
