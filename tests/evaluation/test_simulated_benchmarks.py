"""Indices of a market whose shelves are empty at times go by the best constant prices that were found by playing it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.evaluation.benchmarks import static_benchmarks
from marl_pricing.evaluation.evaluate import evaluate
from marl_pricing.evaluation.report import paths
from marl_pricing.evaluation.report.first_screen import _scarcity, reference
from marl_pricing.evaluation.runs import RunToEvaluate
from marl_pricing.policies import Tried, constant, simulated_joint, simulated_nash, tried
from tests.markets import THRESHOLD, UNLIMITED, make

PLAYED_HERE = "best constant prices found by playing this market, with its stock and its chance"
# Twelve units at first, ten more two epochs after they ran low; three to five are wanted an epoch.
SCARCE = {"prices": {"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 6}, "episode_length": 10}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one market at two omegas, their sellers at constant prices."""
    out = tmp_path_factory.mktemp("evaluated")
    runs = []
    for name, omega, price in (("competitive", 1.0, 1.8), ("cooperative", 0.0, 2.0)):
        made = make(**SCARCE, reward={"unit_cost": 1.0, "stockout_penalty": 0.5, "omega": omega})
        policies = {"greedy": [constant(*made, [price] * 2)] * 2}
        runs.append(RunToEvaluate(name, *made, policies, config_text="", versions={}, command=""))
    evaluate(
        runs, out, episodes=8, seed=0, rules=("simulated_nash", "simulated_joint"), guests=False, behaviour=False,
        progress=False,
    )  # fmt: skip
    return out


@pytest.mark.slow
def test_indices_go_by_them_and_say_so(evaluated: Path) -> None:
    summary = pd.read_csv(evaluated / "summary.csv").set_index(["run", "policy", "measure", "seller"])
    table = pd.read_csv(evaluated / "benchmarks.csv").set_index(["run", "benchmark", "seller"])
    made = make(**SCARCE)
    for run in ("competitive", "cooperative"):
        nash, joint = (table.loc[(run, f"{name}, by simulation", "all")] for name in ("Nash", "joint profit"))
        for rule, row in ((simulated_nash, nash), (simulated_joint, joint)):
            found = tried(*made, rule(*made))
            assert row["profit"] == pytest.approx(found.profits.sum(), rel=1e-5)
            assert row["price"] == pytest.approx(found.prices.mean(), rel=1e-5)
            assert row["note"] == f"{PLAYED_HERE}; ± {1.96 * found.total_error:.2g} of chance (95 %)"
        for measure, index, column in (
            ("profit", "profit_gain", "profit"),
            ("price_mean", "relative_price_deviation", "price"),
        ):
            value = summary.loc[(run, "learned (greedy)", measure, "all"), "value"]
            own = summary.loc[(run, "learned (greedy)", index, "all")]
            assert own["value"] == pytest.approx((value - nash[column]) / (joint[column] - nash[column]), rel=1e-4)
            assert own["note"] == PLAYED_HERE
    page = (evaluated / "report.html").read_text()
    assert page.count("simulated_nash: prices seller 0 ") == 2
    assert f"Thick lines: {PLAYED_HERE}." in page
    gains = [summary.loc[(run, "learned (greedy)", "profit_gain", "all")] for run in ("competitive", "cooperative")]
    first, second = (f"{own['value']:.3f} (95\u00a0% interval {own['low']:.3f} to {own['high']:.3f})" for own in gains)
    assert (
        f"From Nash (0) to joint profit (1) learned (greedy) of competitive lies at {first}, learned (greedy) of "
        f"cooperative lies at {second} ({PLAYED_HERE})."
    ) in page


def test_lines_are_theirs_beside_the_static_ones() -> None:
    made = make(**SCARCE)
    bare = static_benchmarks(*made)
    both = tried(*made, simulated_nash(*made)), tried(*made, simulated_joint(*made))
    own = replace(bare, simulated=both)
    prices, profits = paths.benchmark_prices(own, 2), paths.benchmark_profits(own)
    names = ["Nash price", "joint-profit price", "Nash price given the stock", "joint-profit price given the stock"]
    assert list(prices) == names
    assert prices[names[2]] == pytest.approx(both[0].prices)
    assert profits["joint profit given the stock"] == pytest.approx(both[1].profits.sum())
    assert profits["joint profit given the stock"] < profits["joint profit"]


def test_of_any_price_the_one_shot_equilibrium_itself_is_the_measure() -> None:
    """A grid has equilibria of its own, stock is not known to a one-shot game, and an end may cut the price off."""
    prices = {"map": "range", "low": 1.1, "high": 2.5}
    for kept, changes in (
        (False, {"prices": prices}),
        (True, {}),
        (True, {"prices": prices | {"high": 1.8}}),
        (True, {"prices": prices, "inventory": THRESHOLD}),
    ):
        made = make(**{"inventory": UNLIMITED} | changes)
        bare = static_benchmarks(*made)
        zeros = np.zeros(2)
        found = (Tried(bare.nash.prices, bare.nash.profits, zeros, 0.0, zeros, zeros),) * 2
        own = bare.with_simulated(*made, found)
        assert own.simulated == (found if kept else None), changes
        told = _scarcity(reference(own), own, 1.5)
        assert ("ignore ." not in told) and ("were any price allowed: Nash 1.4" in told) == (kept and not own.ignores)
        names = list(paths.benchmark_prices(own, 2))
        beside = " given the stock" if "inventory" in changes else " by simulation"
        assert names[2:] == [name + beside for name in names[:2]] * kept
        assert ("stock" in own.simulated_label) == ("inventory" in changes)
        assert "carc" not in told or own.knows_stock


def test_a_gap_that_chance_could_make_is_no_scale() -> None:
    made = make(num_sellers=1, **SCARCE)
    own = replace(static_benchmarks(*made), simulated=(tried(*made, simulated_nash(*made)),) * 2)
    assert own.withheld.startswith("joint profit by simulation (") and "than chance is (" in own.withheld
    assert own.missing == own.withheld
