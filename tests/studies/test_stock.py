"""The command that sets learned orders beside the exact optimum."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from marl_pricing import config
from marl_pricing.evaluation.stock_gap import COLUMNS
from marl_pricing.learning import runs
from marl_pricing.learning.parallel import Program
from marl_pricing.studies import stock
from tests.doors.compose import settings

TINY = ["learner.num_seeds=2", "learner.num_envs=4", "learner.hidden_size=8", "learner.devices=1"]


def test_a_run_folder_becomes_a_row(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two seeds that have not learned anything yet."""
    folder, out = tmp_path / "run", tmp_path / "table.csv"
    own = config.read_settings(settings("experiment=lost_sales", *TINY))
    experiment = config.build(own)
    program = Program(experiment.learner)
    runs.create(folder, config.to_yaml(own), {"command": "", "versions": {}, "revision": "test"})
    with runs.Checkpoints(folder) as checkpoints:
        checkpoints.save(1, program.init(program.stack(experiment.market.params)))
    assert stock.main([str(folder), "--episodes", "4", "--epochs", "50", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert table.columns.tolist() == list(COLUMNS) and capsys.readouterr().out.split()[:2] == ["run", "figure"]
    assert table[["run", "figure", "seeds"]].iloc[0].tolist() == ["lost_sales", "cost, p = 4, L = 1", 2]
    assert table["optimal"].item() == pytest.approx(4.0407, abs=1e-4) and table["ratio"].item() > 1.03


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere"),
        (["nowhere", "--episodes", "1"], "--episodes=1: accepted is a whole number of at least 2"),
        (["nowhere", "--stocks", "3", "-1"], "--stocks=[3, -1]: accepted is units of at least 0"),
    ],
)
def test_what_cannot_be_compared_is_a_line_and_status_two(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as caught:
        stock.main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and told in said and said.count("\n") == 1
