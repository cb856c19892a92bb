"""Measures of played episodes against plain computations, and the summary's indices against what they are."""

import jax
import numpy as np
import pytest

from marl_pricing.equilibrium import static
from marl_pricing.evaluation.benchmarks import Benchmarks, static_benchmarks
from marl_pricing.evaluation.measured import Measured
from marl_pricing.evaluation.metrics import MEASURES, SUBJECTS
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.summary import INDICES, compare, pick, summarise
from marl_pricing.policies import constant, random

NONE = Benchmarks(None, None, (), "none here")


def measured_of(made, policy, episodes=4, seeds=1, run="r", into=None):
    found = into or Measured()
    records = [play(jax.random.key(seed), made.shape, made.params, policy, episodes) for seed in range(seeds)]
    for record in records:
        found.add(made.shape, made.params, record, run, policy.name)
    return found, records


def test_measures_equal_a_plain_computation(stocked):
    found, (record,) = measured_of(stocked, random(stocked.shape, stocked.params))
    summary = summarise(found, {"r": NONE})
    own = {name: np.asarray(getattr(record, name), float) for name in ("price", "stock", "demand", "sales", "unmet")}

    def value(measure, seller="all"):
        return pick(summary, "r", "random", measure, seller)["value"]

    epochs = 4 * 12
    assert value("fill_rate") == pytest.approx(own["sales"].sum() / own["demand"].sum())
    assert value("stockout_share") == pytest.approx((own["unmet"] > 0).mean())
    assert value("unmet") == pytest.approx(own["unmet"].sum() / epochs)
    assert value("stock") == pytest.approx(own["stock"].mean())
    assert value("price_mean") == pytest.approx(own["price"].mean())
    assert value("profit") == pytest.approx(record.reward_raw.sum() / epochs, rel=1e-6)
    assert value("reward_shaped") == pytest.approx(1.5 * value("profit"), rel=1e-6)  # (ω + S (1 − ω)) Σ r
    assert value("price_spread") == pytest.approx(np.abs(own["price"][..., 0] - own["price"][..., 1]).mean())
    assert value("holding_cost") == pytest.approx(0.02 * (own["stock"] - own["sales"]).sum() / epochs, rel=1e-6)
    assert value("lost_sales_cost") == pytest.approx(0.5 * own["unmet"].sum() / epochs)
    assert value("welfare") == pytest.approx(value("consumer_surplus") + value("profit"), rel=1e-6)
    for seller in (0, 1):
        of = {name: values[..., seller] for name, values in own.items()}
        assert value("fill_rate", str(seller)) == pytest.approx(of["sales"].sum() / of["demand"].sum())
        assert value("profit", str(seller)) == pytest.approx(record.reward_raw[..., seller].sum() / epochs, rel=1e-6)
        orders, wanted = (
            np.asarray(x, float).var(1, ddof=1).sum() for x in (record.ordered[..., seller], of["demand"])
        )
        assert value("bullwhip", str(seller)) == pytest.approx(orders / wanted, rel=1e-6)
    assert value("profit", "0") + value("profit", "1") == pytest.approx(value("profit"))


def test_products_are_put_together_by_their_sums(make_market):
    made = make_market(random_orders=True, num_products=3)
    found, (record,) = measured_of(made, random(made.shape, made.params))
    row = pick(summarise(found, {"r": NONE}), "r", "random", "price_mean", "1")
    assert row["value"] == pytest.approx(float(record.price[..., 3:].mean()), rel=1e-6)


def test_every_measure_has_its_subject_and_says_why_it_is_withheld(make_market):
    listed = [name for names in SUBJECTS.values() for name in names]
    assert sorted(listed) == sorted(MEASURES)
    made = make_market(demand_scale=0.0)
    found, _ = measured_of(made, constant(made.shape, made.params, [1.5, 1.5]), episodes=2)
    summary = summarise(found, {"r": NONE})
    assert set(summary["measure"]) == set(MEASURES) | set(INDICES)
    empty = summary[summary["value"].isna()]
    assert empty["note"].str.len().min() > 0
    notes = {
        name: pick(summary, "r", "constant", name)["note"] for name in ("stock", "fill_rate", "profit_gain", "coi_leak")
    }
    assert notes["stock"] == "stock is unlimited" and notes["fill_rate"] == "nobody wanted anything"
    assert notes["profit_gain"] == "withheld: none here" and "without sessions" in notes["coi_leak"]


def test_measures_count_until_a_seller_leaves_and_the_market_ends(make_market):
    made = make_market(demand_scale=0.0, collapse_patience=5)
    found, _ = measured_of(made, constant(made.shape, made.params, [1.5, 1.5]), episodes=2)
    parts = found.parts(("r", "constant"))
    assert parts["profit"].bottom.ravel().tolist() == [5.0] * 6
    assert parts["price_mean"].bottom[..., 0].ravel().tolist() == [10.0, 10.0]


def test_indices_are_zero_at_nash_and_one_at_joint_profit(make_market):
    prices = make_market()
    nash, joint = (solve(*prices).prices for solve in (static.nash, static.joint_profit))
    made = make_market(prices={"map": "levels", "levels": [float(nash[0]), float(joint[0])]})
    benchmarks = static_benchmarks(made.shape, made.params)
    assert benchmarks.label == "static benchmark" and not benchmarks.reason
    for wanted, gain in ((nash, 0.0), (joint, 1.0)):
        found, _ = measured_of(made, constant(made.shape, made.params, wanted), episodes=2)
        summary = summarise(found, {"r": benchmarks})
        for index in INDICES:
            for seller in ("all", "0", "1"):
                row = pick(summary, "r", "constant", index, seller)
                assert row["value"] == pytest.approx(gain, abs=1e-5) and row["note"] == "static benchmark"


def test_an_index_says_what_its_benchmark_ignores_and_moves_its_interval_along(stocked):
    benchmarks = static_benchmarks(stocked.shape, stocked.params)
    found, _ = measured_of(stocked, random(stocked.shape, stocked.params), seeds=4)
    summary = summarise(found, {"r": benchmarks})
    row, profit = (pick(summary, "r", "random", name) for name in ("profit_gain", "profit"))
    assert row["note"] == "static benchmark, ignores stock"
    for end in ("value", "low", "high", "iqm", "iqm_low", "iqm_high"):
        assert row[end] == pytest.approx(benchmarks.profit_gain(profit[end]))
    at_omega = benchmarks.at_omega
    assert at_omega is not None
    np.testing.assert_allclose(at_omega.prices, static.omega_equilibrium(*stocked[:2], 0.5).prices)


def test_an_index_between_benchmarks_that_are_too_close_is_withheld(make_market):
    monopoly = make_market(num_sellers=1)  # one seller: Nash is the joint profit
    power = {"model": "power", "base": 0.1, "elasticity": -0.9, "reference_price": 1.0}
    for made, reason in ((monopoly, "at least +2% is needed"), (make_market(demand=power), "no equilibrium")):
        benchmarks = static_benchmarks(made.shape, made.params)
        assert reason in benchmarks.reason
        found, _ = measured_of(made, constant(made.shape, made.params, [1.5] * made.shape.num_offers), episodes=1)
        row = pick(summarise(found, {"r": benchmarks}), "r", "constant", "profit_gain")
        assert np.isnan(row["value"]) and reason in row["note"]


def test_runs_are_compared_in_pairs(make_market):
    made = make_market(random_orders=True)
    low, high = (constant(made.shape, made.params, [price] * 2) for price in (1.5, 1.9))
    found, _ = measured_of(made, low, seeds=3, run="low")
    measured_of(made, high, seeds=3, run="high", into=found)
    rows = compare(found, "high", "low", "constant").set_index("measure")
    assert rows.loc["price_mean", "difference"] == pytest.approx(0.4, abs=1e-5)
    assert rows.loc["price_mean", "above"] == 1.0 and rows.loc["consumer_surplus", "difference"] < 0
    assert rows.loc["profit", "count"] == 3 and (rows["units"] == "seeds").all()
    measured_of(made, high, seeds=1, run="short", into=found)
    with pytest.raises(ValueError, match="runs 'short' and 'low': runs of 1 and 3 seeds"):
        compare(found, "short", "low", "constant")


def test_the_table_of_episodes_holds_what_the_summary_is_made_of(stocked):
    found, (record,) = measured_of(stocked, random(stocked.shape, stocked.params))
    table = found.table().set_index(["episode", "seller"])
    for episode in range(4):
        whole = record.sales[episode].sum() / record.demand[episode].sum()
        assert table.loc[(episode, "all"), "fill_rate"] == pytest.approx(whole, rel=1e-6)
        assert table.loc[(episode, "1"), "fill_rate_weight"] == record.demand[episode, :, 1].sum()
