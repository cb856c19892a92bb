"""Categories are ranked by what competition is worth in them, and doubted where their estimates are not believable."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from marl_pricing.calibration.categories import COLUMNS, compare, main
from marl_pricing.calibration.reading import Sales
from marl_pricing.calibration.settings import CalibrationSettings

PERIODS = 60


def shop(random: np.random.Generator, category: str, slope: float, behind: float = 0.0) -> pd.DataFrame:
    """Two sellers of three products each under a logit of 2,000 shoppers; the small one's utilities lie `behind`."""
    price = 1.5 * np.exp(random.normal(0.0, 0.12, (PERIODS, 6)))
    weight = np.exp(slope * (price - 1.5) - np.repeat([1.1, 1.1 + behind], 3))
    share = weight / (1.0 + weight.sum(1, keepdims=True))
    rows = [
        (f"{category} {offer}", "big" if offer < 3 else "small", period, units, price[period, offer])
        for period in range(PERIODS)
        for offer, units in enumerate(random.poisson(2000 * share[period]))
    ]
    return pd.DataFrame(rows, columns=["product", "seller", "period", "units", "price"]).assign(category=category)


def sales() -> Sales:
    """Rivals of one size, a rival whom few buy from, shoppers whom the price hardly matters to, a seller alone."""
    random = np.random.default_rng(4)
    tables = [
        shop(random, "even", -4.0),
        shop(random, "uneven", -4.0, behind=3.0),
        shop(random, "deaf", -0.02),
        shop(random, "alone", -4.0).query("seller == 'big'"),
    ]
    table = pd.concat(tables, ignore_index=True)
    return Sales(table[table["units"] > 0].astype({"units": float}), len(table), Counter(), 0)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    own = CalibrationSettings(data="sales.csv", out="out", products_per_seller=5, harmonics=0)
    told: list[str] = []
    found = compare(sales(), own, lambda name, done: told.append(f"{done} {name}"))
    assert told == ["0 deaf", "1 even", "2 uneven"]  # one seller has nobody to compete with
    return found.set_index("category")


@pytest.mark.slow
def test_where_rivals_are_equal_competition_is_worth_more(table: pd.DataFrame) -> None:
    assert list(table.index) == ["even", "uneven", "deaf"] and set(table.columns) == set(COLUMNS) - {"category"}
    assert table.loc["even", "gap"] > 3 * table.loc["uneven", "gap"] > 0
    assert table.loc["even", "price_rise"] > 0 and (table["products"] == 3).all()


@pytest.mark.slow
def test_what_is_not_believable_is_doubted_and_comes_last(table: pd.DataFrame) -> None:
    assert table["doubt"].eq("").tolist() == [True, True, False]
    assert np.isnan(table.loc["deaf", "gap"]) and "implies a cost" in table.loc["deaf", "doubt"]


@pytest.mark.slow
def test_the_gap_is_that_of_the_logit(table: pd.DataFrame) -> None:
    """By SciPy; the shoppers are 1.5 times the units of the busiest period."""
    sold = sales().table.query("category == 'even'")
    units = sold.pivot(index="period", columns="product", values="units").to_numpy()
    # Log odds against buying nothing, which are linear in price: their means are those at the mean prices.
    weight = np.exp(np.log(units / (1.5 * units.sum(1).max() - units.sum(1, keepdims=True))).mean(0))
    share = weight / (1.0 + weight.sum())
    price, slope = np.full(6, 1.5), -4.0
    quality = np.log(weight) - slope * price
    # First-order conditions of sellers of several products in a logit (Anderson et al. 1992): one margin a seller.
    cost = price + 1.0 / (slope * (1.0 - np.repeat(share.reshape(2, 3).sum(1), 3)))

    def profits(price: np.ndarray) -> np.ndarray:
        weight = np.exp(slope * price + quality)
        return (price - cost) * weight / (1.0 + weight.sum())

    together = -optimize.minimize(lambda own: -profits(own).sum(), price).fun
    assert table.loc["even", "gap"] == pytest.approx(together / profits(price).sum() - 1.0, rel=0.15)


def test_help_and_faults_are_said_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and "joint over Nash profit" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["data=nowhere.csv", "out=out", "margin=2"])
    assert stopped.value.code == 2 and "margin=2" in capsys.readouterr().err
