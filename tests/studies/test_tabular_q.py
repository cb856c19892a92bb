"""`python -m marl_pricing.studies.tabular_q` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from marl_pricing.studies.tabular_q import main

QUICK = [
    "sessions=6", "periods=4", "market.prices.num_price_levels=4", "learner.exploration_decay=4e-3",
    "learner.patience=500", "learner.max_periods=5000",
]  # fmt: skip


def test_help_names_every_setting(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for name in ("out=FOLDER", "sessions=48", "learner.discount=0.95", "market.…", "learner.max_periods=10000000"):
        assert name in told
    assert main([]) == 0


def test_a_study_leaves_tables_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([f"out={tmp_path}", *QUICK]) == 0
    told = capsys.readouterr().out
    sessions, path = pd.read_csv(tmp_path / "sessions.csv"), pd.read_csv(tmp_path / "deviation.csv")
    assert len(sessions) == 6 and sessions["converged"].all() and sessions["periods"].between(501, 5000).all()
    gains = sessions["profit_gain"]
    assert f"Profit gain {gains.mean():.4f}, standard error {gains.sem():.4f}" in told
    # Both seats deviate alike often, so that before the cut the two means are one.
    assert path["period"].tolist() == [0, 1, 2, 3, 4]
    assert path["deviator_price"][0] == pytest.approx(path["rival_price"][0])
    assert path["rival_price"][0] == pytest.approx(sessions[["price_0", "price_1"]].mean(axis=None))
    assert json.loads((tmp_path / "summary.json").read_text())["settings"]["learner"]["patience"] == 500
    for name in ("deviation", "profit_gain"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5_000
        assert (tmp_path / "figures" / f"{name}.svg").read_text().lstrip().startswith("<?xml")


def test_a_market_of_a_file_replaces_the_default(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    market = {
        "num_sellers": 2,
        "demand": {"model": "linear", "intercept": 0.5, "slope": 0.2},
        "prices": {"map": "levels", "low": 1.0, "high": 2.0, "num_price_levels": 4},
        "inventory": {"rule": "unlimited"},
        "reward": {"unit_cost": 0.5},
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({"market": market, "sessions": 2, "out": str(tmp_path / "out")}))
    # Without a rival's price in demand there is nothing to gain over Nash, and that is said.
    assert main([f"settings={file}", *QUICK, "sessions=6"]) == 0
    assert "No profit gain: joint-profit profit" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "out" / "sessions.csv")["profit_gain"].isna().all()
    assert not (tmp_path / "out" / "figures" / "profit_gain.png").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "out: has to be given"),
        (["out={out}", "sessions=1"], "sessions=1: accepted is a number of at least 2"),
        (["out={out}", "learner.discount=1"], "learner.discount=1: accepted is a number below 1"),
        (["out={out}", "colour=red"], "colour='red': there is no such setting"),
        (["out={out}", "traffic.random_orders=true"], "tabular_q: traffic.random_orders=True: accepted is false"),
        (["out={out}", "market.prices.num_price_levels=1"], "market.prices.num_price_levels=1"),
        (["out={out}", "market.num_sellers=two"], "market.num_sellers='two'"),
        (["out={out}", "settings=none.yaml"], "settings='none.yaml': there is no such file"),
        (["out={file}"], "accepted is a folder"),
        (["out"], "accepted are settings as field=value"),
        (["out={out}", *QUICK, "learner.max_periods=100"], "learner.max_periods=100: 0 of 6 sessions converged"),
    ],
)
def test_wrong_input_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], told: str
) -> None:
    (tmp_path / "file").write_text("")
    places = {"out": tmp_path / "out", "file": tmp_path / "file"}
    with pytest.raises(SystemExit) as caught:
        main([argument.format(**places) for argument in arguments] or ["seed=1"])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert any(told in line for line in lines), captured.err
    assert all(line.startswith("error: ") for line in lines)
    assert not (tmp_path / "out").exists()
