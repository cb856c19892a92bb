"""The omega sweep from end to end: sellers learn the equilibrium of the game that they play."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from marl_pricing.config.study import plan_study
from marl_pricing.studies import study
from tests.doors.compose import settings


@pytest.mark.usefixtures("optimised")
@pytest.mark.slow
def test_three_sellers_learn_an_equilibrium_of_the_grid_game_at_every_omega_in_every_seed(tmp_path: Path) -> None:
    """The experiment at three of its seven ω and the larger of its two numbers of sellers."""
    cut = ("study.sweep.values=[0.0,0.5,1.0]", "study.sweep.over.values=[3]", "learner.devices=1")
    plan = plan_study(settings("experiment=omega_sweep", *cut))
    assert study.start_study(plan, tmp_path / "study", {"command": "test", "versions": {}, "revision": "test"})
    own = pd.read_csv(tmp_path / "study" / "evaluation" / "summary.csv").set_index(["x", "measure"])
    step = 1.2 * (2.0 - 1.37016) / 14  # of the grid
    for omega, gain in ((0.0, 1.0), (0.5, 0.61809), (1.0, 0.0)):
        assert own.loc[(omega, "grid_equilibrium"), "mean"] == 1.0, omega
        assert own.loc[(omega, "grid_equilibrium"), "seeds"] == 8
        assert own.loc[(omega, "price_gap"), "mean"] < step
        assert own.loc[(omega, "profit_gain"), "mean"] == pytest.approx(gain, abs=0.1)
    page = (tmp_path / "study" / "evaluation" / "sweep.html").read_text()
    assert "is an equilibrium of the game on the grid at every one of 3 values of ω, 8 of 8 seeds" in page
