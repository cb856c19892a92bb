"""What lists of simulated shops promise and bring."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from marl_pricing.pricelist.choose import allowed_prices
from marl_pricing.pricelist.products import constraints
from marl_pricing.pricelist.shops import SHOPS, draw_shop, others_mean
from marl_pricing.pricelist.trial import best_prices, main, try_shops
from tests.pricelist.test_list import settings


def test_the_best_prices_of_a_known_shop_are_the_best_of_each_products_ladder() -> None:
    _, truth = draw_shop(SHOPS["friendly"], np.random.default_rng(0))
    own = settings()
    names = [f"item {number:03d}" for number in range(len(truth.today))]
    found = best_prices(truth, own, names)
    for n, price in enumerate(found):
        ladder = allowed_prices(truth.today[n], truth.cost[n], constraints(own, names))
        profits = [truth.profit(np.where(np.arange(len(names)) == n, other, truth.today)) for other in ladder]
        assert price == ladder[int(np.argmax(profits))]


def test_others_mean_is_of_the_same_category() -> None:
    values, category = np.array([1.0, 2.0, 6.0, 5.0]), np.array([0, 0, 0, 1])
    np.testing.assert_allclose(others_mean(values, category), [4.0, 3.5, 1.5, 0.0])


def test_a_shop_that_there_is_not_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["no such shop"])
    assert "no shop 'no such shop'" in capsys.readouterr().err


@pytest.mark.slow
def test_lists_gain_do_no_harm_and_hold_what_they_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = try_shops("friendly", 25, settings(), seed=7)
    low = found["gain"].mean() - stats.t.ppf(0.975, 24) * found["gain"].std() / 5.0
    assert low > 0.0 and (found["gain"] >= -0.01).mean() >= 0.95
    assert found["inside"].sum() >= stats.binom.ppf(0.001, 25, 0.85)
    assert found["hierarchy"].mean() < min(found["alone"].mean(), found["pooled"].mean())
    assert (found["gain"] <= found["best"] + 1e-9).all() and found["gain"].mean() > 0.6 * found["best"].mean()
