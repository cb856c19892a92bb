"""Robustness evaluation: worlds, play, measures, figures, page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from marl_pricing import market
from marl_pricing.config import ConfigError
from marl_pricing.config.errors import validate
from marl_pricing.config.trials import Trials, trial_worlds
from marl_pricing.equilibrium import static
from marl_pricing.evaluation.robustness import Tried, figures, play, report, summary
from tests.doors.compose import composed

SMALL = ["traffic.sessions_per_epoch=40", "++traffic.bank.size=256", "market.episode_length=12"]
FEW = Trials(agent_shares=[0.0, 0.6], processes=[], demand_scales=[0.5], mimicry=[1.0], perturbations=[], delays=[2])


def some_worlds(trials: Trials = FEW, *overrides: str):
    own = composed(*SMALL, *overrides)
    return own, trial_worlds(own.settings, own.market, trials)


def always(parameters, key, memory, observation, state, params):
    """Posts the levels that are its parameters."""
    return market.Action(parameters), memory


def a_run(name: str, worlds, price: float, seeds: int = 2, against: str | None = None) -> Tried:
    """A policy that always posts the grid's price nearest to one; every seed alike."""
    index = jnp.abs(worlds[0].params.prices.levels - price).argmin(-1)
    policy = market.Policy("always", index.reshape(worlds[0].shape.num_sellers, -1), lambda: (), always)
    return Tried(name, [policy] * seeds, worlds, against)


@pytest.mark.parametrize("traffic", ["purchases", "sessions", "analytic"])
def test_where_orders_are_held_worlds_of_agents_who_buy_less_tell_the_causes_apart(traffic: str) -> None:
    trials = Trials(agent_shares=[0.0, 0.7], unheld_shares=[0.0, 0.7], processes=[], demand_scales=[], mimicry=[],
                    perturbations=[], delays=[])  # fmt: skip
    how = ["traffic=bank", f"traffic.hold_orders={traffic}"]
    if traffic == "analytic":
        how = ["traffic=analytic", "traffic.hold_orders=purchases"]
    own, worlds = some_worlds(trials, *how, "traffic.hold_prices=1.5")
    at = np.full(own.market.shape.num_offers, 1.5)
    sold = {world.label: static.demand_at(world.shape, world.params, at).sum() for world in worlds}
    _, free = some_worlds(trials, *how, "traffic.hold_orders=none")
    expected = {world.label: static.demand_at(world.shape, world.params, at).sum() for world in free}
    assert sold["agents 70 %"] == pytest.approx(sold["agents 0 %"], rel=1e-5)
    for share in ("0 %", "70 %"):
        assert sold[f"agents {share}, who buy less"] == pytest.approx(expected[f"agents {share}"], rel=1e-5)
    assert not any("who buy less" in label for label in expected)


def test_worlds_are_the_markets_that_they_are_called() -> None:
    own, worlds = some_worlds(Trials())
    by_label = {world.label: world for world in worlds}
    assert len(worlds) == len(by_label) == 1 + 9 + 2 + 4 + 3 + 3 + 2
    assert worlds[0].factor == "trained" and worlds[0].shape == own.market.shape
    nominal = own.market.params
    assert float(by_label["agents 70 %"].params.traffic.agent_share) == pytest.approx(0.7)
    assert float(by_label["demand x1.3"].params.demand.scale) == pytest.approx(1.3)
    np.testing.assert_array_equal(by_label["orders +2"].params.inventory.lead_time, nominal.inventory.lead_time + 2)
    assert by_label["agents drift"].shape.traffic.process == "drift"
    assert by_label["agents in bursts"].shape.traffic.process == "burst"
    still = {world.shape for world in worlds if world.factor not in ("trained", "process")}
    assert len(still) == 1  # one program serves them all
    assert next(iter(still)).inventory.max_lead_time == own.market.shape.inventory.max_lead_time + 2
    people = np.asarray(nominal.traffic.sessions.kernels)[0, 0]
    agents = np.asarray(nominal.traffic.sessions.kernels)[1, 0]
    mixed = by_label["mimicry 0.25"].params.traffic.sessions
    np.testing.assert_allclose(mixed.kernels[1, 0], 0.75 * agents + 0.25 * people, atol=1e-6)
    np.testing.assert_array_equal(mixed.log_ratio, nominal.traffic.sessions.log_ratio)
    perturbed = np.asarray(by_label["perturbed 1"].params.traffic.sessions.kernels)
    np.testing.assert_allclose(perturbed.sum(-1), 1.0, atol=1e-5)
    assert np.abs(perturbed[0, 0] - people).max() > 0.05
    assert ((perturbed[0, 0] > 0) == (people > 0)).all()
    # Prices and what is observed are those of training.
    for world in worlds:
        np.testing.assert_array_equal(world.params.prices.levels, nominal.prices.levels)
        np.testing.assert_array_equal(world.params.inventory.initial_stock, nominal.inventory.initial_stock)


def test_a_market_is_tried_in_what_it_has() -> None:
    factors = {
        tuple(overrides): {world.factor for world in some_worlds(FEW, *overrides)[1]}
        for overrides in (
            ("traffic=analytic", "market/inventory=unlimited"),
            ("traffic=analytic", "market.agent=null", "traffic.agent_share=0"),
        )
    }
    assert list(factors.values()) == [
        {"trained", "agent_share", "demand_scale"}, {"trained", "demand_scale", "lead_time"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("agent_shares", [1.2]), ("demand_scales", [0.0]), ("delays", [0]), ("mimicry", [-0.1]), ("processes", ["jump"]),
     ("agent_shares", [0.1, 0.1]), ("weather", [1])],
)  # fmt: skip
def test_trials_that_cannot_be_are_refused(field: str, value: list) -> None:
    with pytest.raises(ConfigError, match=field):
        validate(Trials, {field: value}, "trials")


@pytest.fixture(scope="module")
def tried() -> tuple[list[Tried], pd.DataFrame]:
    worlds = some_worlds(FEW, "traffic=analytic", "traffic.agent_share=0.2")[1]
    runs = [a_run("dear", worlds, 2.2), a_run("cheap", worlds, 1.7, against="dear")]
    return runs, pd.concat([play.try_run(run, 6, 11) for run in runs], ignore_index=True)


def test_every_world_seed_and_episode_has_a_row(tried) -> None:
    _, table = tried
    sellers = [play.OF_SELLER.format(seller) for seller in range(3)]
    assert list(table.columns) == [*play.COLUMNS, *sellers] == list(play.columns_of(table))
    np.testing.assert_allclose(table[sellers].sum(axis=1), table["profit"], rtol=1e-9)
    assert len(table) == 2 * 5 * 2 * 6 and not table.isna().any().any()
    assert table["fill_rate"].between(0, 1).all()
    means = table.groupby(["run", "world"])["price"].mean()
    np.testing.assert_allclose(means["dear"], 2.2, atol=1e-5)
    np.testing.assert_allclose(means["cheap"], 1.7, atol=1e-5)
    # Without a mark-up, what is paid less the unit cost of 1 is the price less 1.
    np.testing.assert_allclose(table["coi"], table["price"] - 1.0, atol=1e-4)
    # Half the demand before the same stock: less of it goes unserved.
    served = table.groupby(["run", "world"])["fill_rate"].mean()
    assert served["cheap"]["demand x0.5"] > served["cheap"]["agents 0 %"] + 0.05


def test_two_seeds_of_one_policy_meet_different_shoppers_and_two_runs_the_same(tried) -> None:
    runs, table = tried
    own = table[(table["run"] == "dear") & (table["world"] == "as trained")]
    one, other = (own[own["seed"] == seed]["profit"].to_numpy() for seed in (0, 1))
    assert not np.allclose(one, other)
    again = play.try_run(replace(runs[0], name="again"), 3, 11)
    few = again[(again["world"] == "as trained") & (again["seed"] == 1)]["profit"].to_numpy()
    np.testing.assert_array_equal(few, other[:3])


def test_measures_are_what_they_say(tried) -> None:
    _, table = tried
    frame = summary.summarise(table, {"dear": None, "cheap": "dear"})
    assert list(frame.columns) == list(summary.SUMMARY_COLUMNS)
    found = frame.set_index(["run", "measure"])
    for run in ("dear", "cheap"):
        own = table[table["run"] == run]
        means = own.groupby("world")["profit"].mean()
        assert found.loc[(run, "nominal"), "value"] == pytest.approx(means["as trained"])
        assert found.loc[(run, "worst"), "value"] == pytest.approx(means.min())
        assert found.loc[(run, "worst"), "world"] == means.idxmin()
        shares = means[["agents 0 %", "agents 60 %"]]
        assert found.loc[(run, "worst_share"), "value"] == pytest.approx(shares.min())
        tails = [np.sort(part["profit"])[: int(0.1 * len(part))].mean() for _, part in own.groupby("seed")]
        assert found.loc[(run, "cvar"), "value"] == pytest.approx(np.mean(tails))
        assert found.loc[(run, "gap"), "value"] == pytest.approx(means["as trained"] - means.min())
    difference = found.loc[("cheap", "worst"), "value"] - found.loc[("dear", "worst"), "value"]
    assert found.loc[("cheap", "worst_gain"), "value"] == pytest.approx(difference)
    price = 1 - found.loc[("cheap", "nominal"), "value"] / found.loc[("dear", "nominal"), "value"]
    assert found.loc[("cheap", "price_of_robustness"), "value"] == pytest.approx(price)
    assert (frame["low"].isna() | (frame["low"] <= frame["value"])).all()


def test_a_run_of_one_robust_seller_is_measured_by_its_profit(tried) -> None:
    _, table = tried
    frame = summary.summarise(table, {"dear": None, "cheap": "dear"}, {"cheap": (1,)})
    found = frame.set_index(["run", "measure"])
    assert set(frame[frame["run"] == "cheap"]["sellers"]) == {"1"} and set(frame["sellers"]) == {"1", "all"}
    means = table.groupby(["run", "world"])["profit_seller_1"].mean().unstack("run")
    assert found.loc[("cheap", "worst"), "value"] == pytest.approx(means["cheap"].min())
    gain = means["cheap"].min() - means["dear"].min()
    assert found.loc[("cheap", "worst_gain"), "value"] == pytest.approx(gain)
    assert found.loc[("cheap", "worst_gain"), "base"] == pytest.approx(abs(means["dear"].min()))
    total = table[table["run"] == "dear"].groupby("world")["profit"].mean()
    assert found.loc[("dear", "worst"), "value"] == pytest.approx(total.min())
    shares = figures.relative(table, {"dear": None, "cheap": "dear"}, {"cheap": (1,)})
    np.testing.assert_allclose(shares.loc["cheap"], (means["cheap"] / means["dear"] - 1)[shares.columns])


def test_runs_of_different_seeds_are_not_compared(tried) -> None:
    _, table = tried
    fewer = table[(table["run"] == "dear") | (table["seed"] == 0)]
    with pytest.raises(ValueError, match="run 'cheap' and 'dear': have different seeds or worlds"):
        summary.summarise(fewer, {"dear": None, "cheap": "dear"})


def test_no_episodes_no_policies_no_play(tried) -> None:
    runs, _ = tried
    with pytest.raises(ValueError, match="episodes=0"):
        play.try_run(runs[0], 0, 1)
    with pytest.raises(ValueError, match="has no learned policies"):
        play.try_run(replace(runs[0], policies=[]), 1, 1)
    with pytest.raises(ValueError, match="of different names"):
        report.evaluate_robustness([runs[0], runs[0]], Path("nowhere"), episodes=1, seed=0)


def test_the_page_holds_tables_and_figures(tried, tmp_path: Path) -> None:
    runs, _ = tried
    runs = [runs[0], replace(runs[1], command="python train.py", held={2: "myopic"})]
    path = report.evaluate_robustness(runs, tmp_path / "out", episodes=3, seed=11, progress=False)
    page = path.read_text()
    assert "<p class=note>python train.py; seller 2 is held by myopic</p>" in page
    names = {file.stem for file in (tmp_path / "out" / "figures").glob("*.png")}
    assert names == {"gains", "share_curves", "matrix", "fill_rate", "coi", "price"} == set(figures.CAPTIONS) | names
    assert page.count("<figure>") == 6 and "http://" not in page and "https://" not in page
    assert len(page) < 3_000_000 and "cheap" in page and "Every world" in page
    frame = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert set(frame["measure"]) <= set(summary.MEASURES)
    assert pd.read_parquet(tmp_path / "out" / "robustness.parquet").shape[0] == 2 * 5 * 2 * 3
    read = frame.fillna({"against": "", "world": ""})
    sentences = report.sentences(runs, read)
    (told,) = report.sentences([replace(runs[1], sellers=(1,))], read)
    assert told.startswith("cheap (profit of seller 1 alone) ") and "profit of" in page
    assert sentences[0].startswith("dear earns ") and sentences[1].startswith("cheap ")
