"""What the first screen calls competition, collusion or a difference, and what a folded part says of itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.benchmarks import static_benchmarks
from marl_pricing.evaluation.report import findings
from marl_pricing.evaluation.report.first_screen import Reference, place_of, warnings
from marl_pricing.evaluation.runs import RunToEvaluate
from marl_pricing.policies import constant
from tests.markets import one_shot

MARKET = Reference(nash=1.0, joint=2.0, static_nash=1.0, static_joint=2.0, name="static benchmark")


def price(value: float, deviation: float, seeds: int = 5) -> dict:
    return {"value": value, "low": value, "high": value, "deviation": deviation, "count": seeds, "resampled": "seeds"}


@pytest.mark.parametrize(
    ("value", "deviation", "place"),
    [(1.05, 0.01, "at"), (1.5, 0.1, "above"), (0.7, 0.05, "below"), (1.5, 0.9, "unclear"), (2.1, 0.1, "above")],
)
def test_where_prices_lie_is_told_as_far_as_seeds_support_it(value: float, deviation: float, place: str) -> None:
    assert place_of(price(value, deviation), MARKET) == place


def test_benchmarks_that_ask_the_same_tell_nothing_and_scarcity_is_no_collusion() -> None:
    flat = Reference(1.0, 1.01, 1.0, 1.01, "")
    assert place_of(price(1.5, 0.01), flat) == "flat"
    scarce = Reference(nash=1.6, joint=2.0, static_nash=1.0, static_joint=1.4, name="by simulation")
    assert place_of(price(1.6, 0.01), scarce) == "at"  # far above the static cartel price
    assert place_of(price(1.3, 0.01), scarce) == "at"  # between the two Nash prices
    assert place_of(price(1.9, 0.01), scarce) == "above"


def test_one_seed_s_interval_is_that_of_its_episodes() -> None:
    alone = {"value": 1.5, "low": 1.4, "high": 1.6, "deviation": np.nan, "count": 64, "resampled": "episodes"}
    assert place_of(alone, MARKET) == "above"
    assert place_of(alone | {"low": np.nan, "high": np.nan}, MARKET) == "above"


def test_three_seeds_whose_signs_agree_support_no_difference_by_that_alone() -> None:
    def pair(differences: list[float], units: str = "seeds") -> dict:
        own = np.array(differences)
        return {
            "difference": own.mean(), "effect": own.mean() / own.std(ddof=1), "low": own.min(), "high": own.max(),
            "count": len(own), "units": units,
        }  # fmt: skip

    assert not statistics.supported(pair([0.024, 0.024, 0.047]))  # t = 4.1, of two degrees of freedom
    assert statistics.supported(pair([0.40, 0.47, 0.53]))
    assert not statistics.supported(pair([0.40, 0.47, 0.53], "episodes"))
    # Seeds that differ by chance are called different in a twentieth of cases, however few they are.
    rng = np.random.default_rng(1)
    for count in (3, 5):
        found = [statistics.supported(pair(list(rng.normal(size=count)))) for _ in range(2000)]
        assert 0.035 < np.mean(found) < 0.065


def test_what_to_mind_names_one_seed_and_markets_that_differ() -> None:
    own = one_shot(2)
    policy = [constant(*own, [1.5] * 2)]
    runs = [RunToEvaluate(name, *own, policies={"greedy": policy * count}) for name, count in (("a", 1), ("b", 3))]
    told = warnings(runs, dict.fromkeys(("a", "b"), static_benchmarks(*own)), comparable=False)
    assert told[0].startswith("one seed (a)") and told[1].startswith("3 seeds are few")
    assert told[-1] == "the markets of these runs differ beyond ω"
    assert not warnings([RunToEvaluate("c", *own, policies={"greedy": policy * 5})], {"c": static_benchmarks(*own)},
                        comparable=True)  # fmt: skip


def answer(change: list[float], wide: float) -> pd.DataFrame:
    """A rival's path after a cut, with intervals of that half width."""
    size, since = np.array(change), np.arange(1, len(change) + 1)
    ends = {"price_low": size - wide, "price_high": size + wide}
    return pd.DataFrame({"undisturbed": 1.0, "price_change": size, "since": since} | ends)


def test_an_answer_has_to_be_large_last_and_lie_beyond_chance() -> None:
    assert findings._answer(answer([-0.05, -0.04, -0.01, 0.0], 0.005), down=True) == pytest.approx(0.05)
    for nothing in (
        answer([-0.05, -0.04, 0.0, 0.0], 0.06),  # within chance
        answer([-0.005, -0.006, -0.004, 0.0], 0.001),  # too small
        answer([-0.05, 0.0, -0.05, 0.0], 0.01),  # does not last
        answer([0.05, 0.04, 0.0, 0.0], 0.01),  # a rise is no punishment
    ):
        assert findings._answer(nothing, down=True) == 0.0
    assert findings._answer(answer([0.05, 0.04, 0.0, 0.0], 0.01), down=None) == pytest.approx(0.05)
