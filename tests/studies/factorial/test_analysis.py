"""Tables whose truth is known: a factor that does nothing has no effect, and one that does has the one it has."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from marl_pricing.studies.factorial import analysis, report
from marl_pricing.studies.factorial.cells import Cell


def drawn(seed: int, effect: float = 0.0, seeds: int = 3) -> pd.DataFrame:
    """Runs of 2 × 3 × 2 cells; α adds `effect` a level to the revenue, seeds what is theirs, the rest is chance."""
    random = np.random.default_rng(seed)
    own = random.normal(size=seeds)
    rows = []
    for (number, alpha), epsilon, algorithm, k in product(
        enumerate((0.1, 0.3, 0.6)), (0.0, 0.2), ("a2c", "ppo"), range(seeds)
    ):
        cell = Cell(algorithm, alpha, epsilon, 0.1, 5)
        value = 10.0 + effect * number + own[k] + random.normal()
        told = {f"{name}{world}": value for name in analysis.IN_WORLDS for world in ("", "_fewer", "_more")}
        rows.append({**cell._asdict(), "seed": k, **told})
    return pd.DataFrame(rows).assign(coi_level=1.0, ux=0.5)


def test_a_factor_that_does_nothing_has_no_effect() -> None:
    found = [analysis.variance(drawn(number), "revenue").set_index("term") for number in range(60)]
    terms = ["algorithm", "alpha", "epsilon_alpha", "algorithm × alpha", "alpha × epsilon_alpha"]
    for term in terms:
        p = np.array([own.loc[term, "p"] for own in found])
        assert stats.kstest(p, "uniform").pvalue > 1e-3, term  # p-values of nothing are uniform
        assert abs(np.mean([own.loc[term, "omega2"] for own in found])) < 0.01  # and ω² is 0 on average
    told = [(own["p_holm"] < 0.05).any() for own in found]
    assert np.mean(told) < 0.15  # any effect at all: 5 % of studies, 60 of which have 3 ± 1.7


def test_an_effect_is_found_and_is_as_large_as_it_is() -> None:
    table = drawn(1, effect=2.0, seeds=40)
    found = analysis.variance(table, "revenue").set_index("term")
    # By hand: a balanced design's sum of squares of a factor is that of its means.
    means = table.groupby("alpha")["revenue"].mean()
    squares = (len(table) / 3) * ((means - table["revenue"].mean()) ** 2).sum()
    assert found.loc["alpha", "sum_of_squares"] == pytest.approx(squares)
    assert found["sum_of_squares"].sum() == pytest.approx(((table["revenue"] - table["revenue"].mean()) ** 2).sum())
    assert found["eta2"].sum() == pytest.approx(1.0)
    assert found.loc["alpha", "p_holm"] < 1e-10 and found.loc["alpha", "partial_eta2"] > 0.6
    assert found.loc["epsilon_alpha", "p_holm"] > 0.05


def test_nothing_is_told_where_nothing_can_be() -> None:
    flat = drawn(0).assign(revenue=3.0)
    assert not len(analysis.variance(flat, "revenue"))
    one = drawn(0)
    one = one[(one["alpha"] == 0.1) & (one["epsilon_alpha"] == 0) & (one["algorithm"] == "ppo")]
    assert not len(analysis.variance(one, "revenue")) and not len(analysis.defended(one))


def test_the_defended_are_paired_with_what_is_alike() -> None:
    table = drawn(2)
    table.loc[table["epsilon_alpha"] > 0, "revenue"] = (
        table.loc[table["epsilon_alpha"] == 0, "revenue"].to_numpy() + 0.5
    )
    found = analysis.defended(table)
    own = found[found["measure"] == "revenue"]
    assert len(own) == 6 and (own["seeds"] == 3).all()
    np.testing.assert_allclose(own[["difference", "low", "high"]], 0.5, atol=1e-9)
    np.testing.assert_allclose(found[found["measure"] == "ux"]["difference"], 0.0)


def test_the_worst_is_the_least_of_the_three_worlds_of_each_run() -> None:
    table = drawn(4)
    table["reward_more"] -= 1.0 + (table["epsilon_alpha"] == 0)  # the undefended lose 2 where agents are more
    table["reward_fewer"] += 5.0
    found = analysis.defended(table).groupby("measure")["difference"].mean()
    assert found["reward_worst"] == pytest.approx(found["reward"] + 1.0)
    assert found["reward_fewer"] == pytest.approx(found["reward"])
    assert found["revenue_worst"] == pytest.approx(found["revenue"])


def test_what_is_learned_is_set_beside_prices_held_in_the_same_market() -> None:
    table = drawn(5)
    held = table[["alpha", "lambda_coi", "action_levels"]].drop_duplicates()
    held = held.assign(reward=100.0 * held["alpha"])
    table["reward"] = 100.0 * table["alpha"] - 2.0 - (table["epsilon_alpha"] > 0)  # those with a radius do not count
    found = analysis.beside_held(table, held).set_index(["algorithm", "alpha"])
    assert len(found) == 2 * (3 + 1)
    np.testing.assert_allclose(found[["difference", "low", "high"]], -2.0, atol=1e-9)
    assert found.loc[("ppo", 0.1), "share"] == pytest.approx(0.8)
    assert found.loc[("ppo", "all"), "share"] == pytest.approx(1 - 6 / 100)
    assert not len(analysis.beside_held(table[table["epsilon_alpha"] > 0], held))
    told = report._beside(found.reset_index().query("alpha == 'all'"))
    assert told.endswith("of the best of 25 prices that are held: a2c 94.0%, ppo 94.0%.")
    loss = analysis.beside_held(table, held.assign(reward=held["reward"] - 500.0))  # a share of a loss tells nothing
    assert loss["share"].isna().all() and (loss["difference"] == found["difference"].to_numpy() + 500.0).all()
    told = report._beside(loss[loss["alpha"] == "all"])
    assert told.endswith("less that of the best of 25 prices that are held: a2c 498, ppo 498.")


def test_what_was_found_is_told_by_what_was_trained_for() -> None:
    table = drawn(6)
    own = table["epsilon_alpha"] > 0
    table.loc[own, ["reward", "reward_fewer"]] = table.loc[~own, ["reward", "reward_fewer"]].to_numpy() - 0.5
    table.loc[own, "reward_more"] = table.loc[~own, "reward_more"].to_numpy() * 0.5
    table.loc[~own, "reward_more"] *= 0.25
    for name in ("revenue", "revenue_fewer", "revenue_more"):
        table.loc[own, name] = table.loc[~own, name].to_numpy() + 1.0
    first, second = report._defence(analysis.defended(table))
    assert first.startswith("In the worst of three worlds the defended come to 100.0% more reward than the undefended")
    assert re.search(r"in the world they were trained for to [45]\.\d% less; by algorithm", first)
    assert "in 6 of 6 comparisons and to less in 0" in first
    assert " more in the worst and " in second and second.endswith("nobody is trained for revenue.")
    names = [f"reward{world}" for world in ("", "_fewer", "_more")]
    first, _ = report._defence(analysis.defended(table.assign(**{name: table[name] - 30.0 for name in names})))
    assert first.startswith("In the worst of three worlds the defended come to 2.") and "% more" not in first
    assert "in the world they were trained for to 0.5 less; by algorithm" in first  # in money, where base is a loss


def test_the_link_is_the_slope_within_runs() -> None:
    random = np.random.default_rng(3)
    rows, errors = [], []
    for trial in range(200):
        rows.clear()
        for run in range(12):
            x = random.normal(run, 1.0, 50)  # runs differ in their means, which must not matter
            y = 5.0 * run - 0.7 * x + random.normal(size=50)
            a, b = x - x.mean(), y - y.mean()
            rows.append({"algorithm": "ppo", "link_n": 50, "link_xx": a @ a, "link_xy": a @ b, "link_yy": b @ b})
        own = analysis.link(pd.DataFrame(rows)).iloc[0]
        errors.append((own["kappa"] - 0.7) / own["error"])
        assert trial or own["pairs"] == 600
    assert abs(np.mean(errors)) < 0.3 and 0.8 < np.std(errors) < 1.3
    held = pd.DataFrame(rows).assign(link_xy=0.0)  # nobody reacts
    both = analysis.link(pd.DataFrame(rows), pd.concat([held, held])).set_index("algorithm")
    assert both.loc[analysis.HELD, "runs"] == 12  # what is played alike is no second play
    assert list(both.index) == ["all", analysis.HELD] and both.loc[analysis.HELD, "kappa"] == 0.0
    assert both.loc["all", "kappa"] == own["kappa"]
    line = report._linked(both)
    assert "above 0, as assumed" in line and line.endswith("so that nobody reacts, κ is 0 (0 to 0).")
