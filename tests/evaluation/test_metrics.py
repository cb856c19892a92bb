"""Measures and intervals against plain computations, profit gain against what it is by definition."""

import jax
import numpy as np
import pandas as pd
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation import tables
from marl_pricing.evaluation.benchmarks import Benchmarks, static_benchmarks
from marl_pricing.evaluation.metrics import episode_sums, ratio_interval
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.summary import pick, summarise
from marl_pricing.policies import constant, random

NONE = Benchmarks(None, None, (), "none here")


def frames(made, policy, episodes=4, seeds=1, run="r"):
    records = [play(jax.random.key(seed), made.shape, made.params, policy, episodes) for seed in range(seeds)]
    offers = [tables.offers_table(record, run, policy.name, seed) for seed, record in enumerate(records)]
    sellers = [tables.sellers_table(record, run, policy.name, seed) for seed, record in enumerate(records)]
    return tables.join(offers), tables.join(sellers)


def test_measures_equal_a_plain_computation(stocked):
    offers, sellers = frames(stocked, random(stocked.shape, stocked.params))
    summary = summarise(offers, sellers, {"r": NONE})
    double = offers.astype({name: float for name in ("price", "stock", "demand", "sales", "unmet", "profit")})

    def value(measure, seller="all"):
        return pick(summary, "r", "random", measure, seller)["value"]

    epochs = 4 * 12
    assert value("fill_rate") == pytest.approx(double["sales"].sum() / double["demand"].sum())
    assert value("stockout_share") == pytest.approx((double["unmet"] > 0).mean())
    assert value("unmet") == pytest.approx(double["unmet"].sum() / epochs)
    assert value("stock") == pytest.approx(double["stock"].mean())
    assert value("price_mean") == pytest.approx(double["price"].mean())
    assert value("profit") == pytest.approx(double["profit"].sum() / epochs, rel=1e-6)
    assert value("reward_shaped") == pytest.approx(1.5 * value("profit"), rel=1e-6)  # (ω + S (1 − ω)) Σ r
    prices = double["price"].to_numpy().reshape(epochs, 2)
    assert value("price_spread") == pytest.approx(np.abs(prices[:, 0] - prices[:, 1]).mean())
    for seller in "01":
        own = double[double["seller"] == int(seller)]
        assert value("fill_rate", seller) == pytest.approx(own["sales"].sum() / own["demand"].sum())
        assert value("profit", seller) == pytest.approx(own["profit"].sum() / epochs, rel=1e-6)
    assert value("profit", "0") + value("profit", "1") == pytest.approx(value("profit"))


def test_interval_equals_a_plain_bootstrap():
    generator = np.random.default_rng(1)
    top, bottom = generator.gamma(3.0, 2.0, 60), generator.uniform(1.0, 3.0, 60)
    found = ratio_interval(top, bottom)
    assert found.value == pytest.approx(top.sum() / bottom.sum())
    draws = np.random.default_rng(2).integers(0, 60, (20_000, 60))
    low, high = np.quantile(top[draws].sum(1) / bottom[draws].sum(1), [0.025, 0.975])
    assert found.low == pytest.approx(low, rel=0.02) and found.high == pytest.approx(high, rel=0.02)
    assert ratio_interval(top, bottom) == found


def test_interval_covers_the_truth():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        found = ratio_interval(generator.normal(2.0, 1.0, 40), np.ones(40))
        hits += found.low <= 2.0 <= found.high
    assert 87 <= hits <= 100


def test_several_seeds_are_resampled_and_single_ones_by_episode(stocked):
    policy = random(stocked.shape, stocked.params)
    offers, sellers = frames(stocked, policy, episodes=3, seeds=4)
    row = pick(summarise(offers, sellers, {"r": NONE}), "r", "random", "profit")
    assert (row["resampled"], row["count"]) == ("seeds", 4)
    sums = episode_sums(offers, sellers).groupby("seed")[["reward_raw", "epochs"]].sum()
    by_hand = ratio_interval(sums["reward_raw"].to_numpy(), sums["epochs"].to_numpy())
    assert (row["value"], row["low"], row["high"]) == (by_hand.value, by_hand.low, by_hand.high)
    one = offers["seed"] == 0
    single = pick(summarise(offers[one], sellers[sellers["seed"] == 0], {"r": NONE}), "r", "random", "profit")
    assert (single["resampled"], single["count"]) == ("episodes", 3)


def test_one_episode_has_no_interval(stocked):
    offers, sellers = frames(stocked, random(stocked.shape, stocked.params), episodes=1)
    row = pick(summarise(offers, sellers, {"r": NONE}), "r", "random", "profit")
    assert np.isnan(row["low"]) and "only one episode" in row["note"]


def test_gain_is_zero_at_nash_and_one_at_joint_profit(make_market):
    prices = make_market()
    nash, joint = (solve(*prices).prices for solve in (static.nash, static.joint_profit))
    made = make_market(prices={"map": "levels", "levels": [float(nash[0]), float(joint[0])]})
    benchmarks = static_benchmarks(made.shape, made.params)
    assert benchmarks.label == "static benchmark" and not benchmarks.reason
    for wanted, gain in ((nash, 0.0), (joint, 1.0)):
        offers, sellers = frames(made, constant(made.shape, made.params, wanted), episodes=2)
        row = pick(summarise(offers, sellers, {"r": benchmarks}), "r", "constant", "profit_gain")
        assert row["value"] == pytest.approx(gain, abs=1e-5)


def test_gain_says_what_the_benchmark_ignores(stocked):
    benchmarks = static_benchmarks(stocked.shape, stocked.params)
    offers, sellers = frames(stocked, random(stocked.shape, stocked.params))
    row = pick(summarise(offers, sellers, {"r": benchmarks}), "r", "random", "profit_gain")
    assert row["note"] == "static benchmark, ignores stock"
    profit = pick(summarise(offers, sellers, {"r": benchmarks}), "r", "random", "profit")
    for end in ("value", "low", "high"):
        assert row[end] == pytest.approx(benchmarks.profit_gain(profit[end]))


def test_gain_is_withheld_with_a_reason(make_market):
    monopoly = make_market(num_sellers=1)  # one seller: Nash is the joint profit
    power = {"model": "power", "base": 0.1, "elasticity": -0.9, "reference_price": 1.0}
    for made, reason in ((monopoly, "too little to divide by"), (make_market(demand=power), "no equilibrium")):
        benchmarks = static_benchmarks(made.shape, made.params)
        assert reason in benchmarks.reason
        offers, sellers = frames(made, constant(made.shape, made.params, [1.5] * made.shape.num_offers), episodes=1)
        row = pick(summarise(offers, sellers, {"r": benchmarks}), "r", "constant", "profit_gain")
        assert np.isnan(row["value"]) and reason in row["note"]


def test_unlimited_stock_and_no_demand_are_withheld(make_market):
    made = make_market(demand_scale=0.0)
    offers, sellers = frames(made, constant(made.shape, made.params, [1.5, 1.5]), episodes=2)
    summary = summarise(offers, sellers, {"r": NONE})
    stock, fill = (pick(summary, "r", "constant", name) for name in ("stock", "fill_rate"))
    assert np.isnan(stock["value"]) and stock["note"] == "stock is unlimited"
    assert np.isnan(fill["value"]) and fill["note"] == "nobody wanted anything"


def test_epochs_count_until_the_market_ends(make_market):
    made = make_market(demand_scale=0.0, collapse_patience=5)
    sums = episode_sums(*frames(made, constant(made.shape, made.params, [1.5, 1.5]), episodes=2))
    assert sums["epochs"].tolist() == [5.0, 5.0]
    assert isinstance(sums, pd.DataFrame) and sums["rows"].tolist() == [10.0, 10.0]
