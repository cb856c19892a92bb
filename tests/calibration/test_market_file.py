"""From estimates to a market, and back: settings, costs, the file, the round trip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyblp
import pytest
import yaml

from marl_pricing.calibration import market_file, simulate
from marl_pricing.calibration.calibrate import calibrate, find
from marl_pricing.calibration.fit import fit_demand
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.reading import CalibrationError, read_sales
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.calibration.simulate import simulate_sales
from marl_pricing.config import ConfigError, market_from
from marl_pricing.config.calibrated import resolve
from marl_pricing.equilibrium import static
from marl_pricing.pricelist.elasticities import measure, posterior
from marl_pricing.pricelist.settings import PriceListSettings
from tests.calibration.sales import GROCERY, POWER, a_market, rising, some_sales, written
from tests.doors.compose import composed
from tests.markets import within
from tests.sizes import at_once
from tests.traffic.visitors import conditions, epochs

NO_AGENTS = {"model": "analytic", "sessions_per_epoch": 4_000, "agent_share": 0.0}


def own_settings(**changes: Any) -> CalibrationSettings:
    return CalibrationSettings(data="sales.csv", out="out", **({"harmonics": 0, "market_size": 4_000.0} | changes))


def market_of(tmp_path: Path, table: pd.DataFrame, **changes: Any) -> market_file.CalibratedMarket:
    found = find(read_sales(written(tmp_path / "sales.csv", table)), own_settings(**changes))
    if found.market is None:
        raise AssertionError(found.no_market)
    return found.market


OWN = [-1.3, -1.8, -2.2, -2.6, -3.0, -3.4]


@pytest.mark.slow
def test_the_market_has_each_offers_own_elasticity(tmp_path: Path) -> None:
    table = some_sales(demand=POWER | {"elasticity": OWN}, periods=120)
    panel = make_panel(table.assign(category="all"))
    settings = own_settings(form="power", cost="margin")
    fit = fit_demand(panel, settings)
    made = market_file.make_market(fit, panel.table, settings)
    market_file.write_market(tmp_path / "market.yaml", made, market_file.estimates_of(fit), {})
    file = yaml.safe_load((tmp_path / "market.yaml").read_text())["market"]
    place = [int(offer.removeprefix("product_")) for offer in file["calibration"]["products"]]
    true, found, told = np.array(OWN)[place], np.array(file["demand"]["elasticity"]), made.offers
    np.testing.assert_allclose(told["elasticity"], found, rtol=1e-5)
    assert ((told["elasticity_low"] < true) & (true < told["elasticity_high"])).sum() >= 5
    assert np.sqrt(((found - true) ** 2).mean()) < 0.5 * np.sqrt(((fit.slope.value - true) ** 2).mean())
    np.testing.assert_allclose(file["agent"]["elasticity"], 2.5 * found, rtol=1e-4)
    # What the list would use, the market has: the same posterior, and training's candidate worlds are draws of it.
    own = PriceListSettings.model_validate({"data": "", "out": "", "draws": 1000})
    draws, _ = posterior(panel, *measure(panel, own), own)
    np.testing.assert_allclose(draws.mean(0)[place], found, rtol=1e-4)
    trained = composed(
        "market=calibrated", f"market.path={tmp_path / 'market.yaml'}", "robust=kl", "robust.radius=0.1",
        "robust.worlds=calibration", "robust.num_candidates=6", "traffic=analytic",
    )  # fmt: skip
    worlds = np.asarray(trained.market.params.variants.choice.elasticity)
    assert worlds.shape == (6, 2, 6)
    np.testing.assert_allclose(worlds[1:, 0], draws[:5][:, place], rtol=1e-4)
    # One for all is a choice.
    pooled = own_settings(form="power", elasticities="pooled", cost="margin")
    one = market_file.make_market(fit_demand(panel, pooled), panel.table, pooled).settings
    assert one["demand"]["elasticity"] == pytest.approx(fit.slope.value, rel=1e-4)
    assert "elasticity_draws" not in one["calibration"]
    # A product whose demand rises with its price makes no market, by name.
    rising_one = replace(fit, own=replace(fit.own, draws=fit.own.draws.assign(product_0=0.3)))
    with pytest.raises(CalibrationError, match="demand for product_0 is estimated to rise with its price"):
        market_file.make_market(rising_one, panel.table, settings)


def without_agents(own: market_file.CalibratedMarket) -> dict[str, Any]:
    return {name: value for name, value in own.settings.items() if name not in ("agent", "calibration")}


@pytest.mark.parametrize("form", at_once(["logit", "power"]))
def test_the_market_sells_what_was_sold(tmp_path: Path, form: str) -> None:
    table = some_sales(demand=POWER if form == "power" else None, periods=100)
    own = market_of(tmp_path, table, form=form, cost="margin")
    built = market_from(without_agents(own), NO_AGENTS)
    np.testing.assert_allclose(static.demand_at(*built, own.offers["price"].to_numpy()), own.offers["units"], rtol=1e-4)
    # Elasticities as told are those of the market's own demand.
    price = own.offers["price"].to_numpy()
    up, down = (static.demand_at(*built, price * factor) for factor in (1.001, 0.999))
    first = np.zeros(6)
    for j in range(6):
        step = np.where(np.arange(6) == j, 1.001, 1.0)
        first[j] = np.log(static.demand_at(*built, price * step)[j] / static.demand_at(*built, price)[j]) / np.log(
            1.001
        )
    told = own.offers["elasticity"].to_numpy()
    np.testing.assert_allclose(first, told, rtol=0.01)
    assert up.sum() < down.sum()


@pytest.mark.slow
def test_prices_of_known_costs_imply_them() -> None:
    """Nash prices of a market imply its costs back, several products a seller; nested too."""
    for nesting in (0.0, 0.5):
        demand = {"model": "logit", "quality": [2.0, 1.8, 2.1, 1.9], "scale": 0.3, "nesting": nesting}
        cost = [1.0, 0.8, 1.1, 0.9]
        own = market_from(
            {"num_sellers": 2, "num_products": 2, "demand": demand, "inventory": {"rule": "unlimited"},
             "prices": {"map": "levels", "low": 0.5, "high": 3.0}, "reward": {"unit_cost": cost}},
            NO_AGENTS,
        )  # fmt: skip
        np.testing.assert_allclose(static.implied_costs(*own, static.nash(*own).prices), cost, atol=1e-5)


def test_implied_costs_are_pyblps() -> None:
    """The same first-order conditions on one market of Nevo's cereals, with a logit of its estimated slope."""
    raw = pd.read_csv(pyblp.data.NEVO_PRODUCTS_LOCATION)
    pyblp.options.verbose = False
    names = {f"demand_instruments{n}": raw[f"demand_instruments{n}"] for n in range(20)}
    data = raw[["market_ids", "product_ids", "firm_ids", "shares", "prices"]].assign(**names)
    result = pyblp.Problem(pyblp.Formulation("0 + prices", absorb="C(product_ids)"), data).solve(method="1s")
    one = raw["market_ids"] == raw["market_ids"].iloc[0]
    # Our offers are the sellers' in order, as many each: the two firms of nine products and more are cut to equal size.
    costs = pd.Series(result.compute_costs().ravel(), raw.index)[one]
    own = raw[one].sort_values("firm_ids", kind="stable")
    sizes = own.groupby("firm_ids").size()
    assert sizes.nunique() > 1  # so firms are compared one by one, rivals' prices held in the outside option
    scale = -1.0 / float(result.beta[0, 0])
    for firm in sizes.index:
        mine = own[own["firm_ids"] == firm]
        outside = 1.0 - own["shares"].sum()
        rivals = own.loc[own["firm_ids"] != firm, "shares"].sum()
        price = mine["prices"].to_numpy()
        delta = np.log(mine["shares"].to_numpy() / (outside + rivals))
        built = market_from(
            {"num_sellers": 1, "num_products": len(mine), "inventory": {"rule": "unlimited"},
             "demand": {"model": "logit", "quality": (price + scale * delta).tolist(), "scale": scale},
             "prices": {"map": "levels", "low": 0.01, "high": 1.0}, "reward": {"unit_cost": 0.0}},
            NO_AGENTS,
        )  # fmt: skip
        np.testing.assert_allclose(static.implied_costs(*built, price), costs[mine.index], atol=1e-5)


@pytest.mark.slow
def test_costs_come_from_where_the_settings_say(tmp_path: Path) -> None:
    table = some_sales(periods=80).assign(cost=0.7)
    (tmp_path / "sales.csv").write_text(table.to_csv(index=False))
    from marl_pricing.calibration.reading import Mapping

    sales = read_sales(tmp_path / "sales.csv", Mapping(cost="cost"))
    told = {}
    panel = make_panel(sales.table)
    fit = fit_demand(panel, own_settings())
    for cost in ("auto", "column", "nash", "margin"):
        own = market_file.make_market(fit, panel.table, own_settings(cost=cost, margin=0.4))
        told[cost] = own.offers["cost"].to_numpy()
    np.testing.assert_allclose(told["auto"], 0.7)
    np.testing.assert_allclose(told["column"], 0.7)
    np.testing.assert_allclose(told["margin"], 0.6 * own.offers["price"])
    # At Nash costs the mean prices are an equilibrium.
    own = market_file.make_market(fit, panel.table, own_settings(cost="nash"))
    assert "assumption" in own.assumptions[0]
    built = market_from(without_agents(own), NO_AGENTS)
    np.testing.assert_allclose(static.nash(*built).prices, own.offers["price"], rtol=1e-3)
    with pytest.raises(ConfigError, match="cost='column'"):
        market_file.make_market(fit, panel.table.drop(columns="cost"), own_settings(cost="column"))


def test_no_market_is_made_of_a_rising_demand(tmp_path: Path) -> None:
    found = find(read_sales(written(tmp_path / "sales.csv", rising(some_sales()))), own_settings(form="power"))
    assert found.market is None and "demand is estimated to rise with it" in found.no_market
    assert (found.groups["elasticity"] > 0).all()


def test_sellers_and_products_are_the_best_selling(tmp_path: Path) -> None:
    table = some_sales()
    extra = table[table["product"] == "product_0"].assign(product="poor", units=lambda rows: rows["units"] // 10 + 1)
    panel = make_panel(pd.concat([table, extra]).assign(category="all"))
    chosen = market_file.choose_offers(panel.table, own_settings(products_per_seller=2))
    assert chosen["seller"].tolist() == ["seller_0", "seller_0", "seller_1", "seller_1"]
    assert "poor" not in chosen["offer"].tolist()
    for changes, told in (
        ({"products_per_seller": 9}, "products_per_seller=9: accepted is at most 4"),
        ({"products_per_seller": 4, "sellers": ["seller_1"]}, "products_per_seller=4: accepted is at most 3, all of"),
        ({"sellers": ["Nobody"]}, "sellers='Nobody': accepted is some of the file's: seller_0, seller_1"),
        ({"sellers": ["seller_0", "seller_0"]}, "a list of different sellers"),
    ):
        with pytest.raises(ConfigError, match=told):
            market_file.choose_offers(panel.table, own_settings(**changes))


def test_what_stands_beside_the_path_wins_over_the_file() -> None:
    path = str(GROCERY / "market.yaml")
    file = resolve({"path": path})
    assert (
        file["num_products"] == 1 and file["calibration"]["path"] == path and len(file["calibration"]["sha256"]) == 64
    )
    assert (file["calibration"]["currency"], file["calibration"]["period"]) == ("USD", "week")
    own = resolve({"path": path, "reward": {"omega": 0.0, "unit_cost": None}, "level": {"noise": 0.1}})
    assert own["reward"] == file["reward"] | {"omega": 0.0}
    assert own["level"] == file["level"] | {"noise": 0.1}
    other = resolve({"path": path, "prices": {"map": "scale", "low": 1.0, "high": 2.0}})
    assert other["prices"] == {"map": "scale", "low": 1.0, "high": 2.0}
    assert resolve({"num_sellers": 2}) == {"num_sellers": 2}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no such file"),
        ("market: [", "line 1: is not YAML"),
        ("a: 1", "is no calibrated market"),
        ("format: 99\nmarket: {}", "is of format 99; accepted is 1"),
        ("format: 1\nmarket: {num_sellers: 2}", "market.calibration is missing"),
    ],
)
def test_what_is_no_market_file_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "market.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        resolve({"path": str(path)})
    assert told in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_calibrated_market_trains_with_what_its_command_line_says() -> None:
    path = f"market.path={GROCERY / 'market.yaml'}"
    own = composed("market=calibrated", path, "market.reward.omega=0", "market.episode_length=20")
    assert own.market.shape.num_offers == 2 and own.market.shape.episode_length == 20
    assert own.market.params.reward.omega.tolist() == [0.0, 0.0]
    with pytest.raises(ConfigError, match=r"market\.path: has to be given"):
        composed("market=calibrated")
    with pytest.raises(ConfigError, match=r"market\.demand\.model='power': accepted is the file's own, 'logit'"):
        composed("market=calibrated", path, "+market.demand.model=power")


def test_the_grocery_market_is_what_its_calibration_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed file is a fresh calibration's, to five digits, estimates too."""
    monkeypatch.chdir(GROCERY.parents[1])
    own = yaml.safe_load((GROCERY / "calibration.yaml").read_text())
    calibrate(CalibrationSettings(out=str(tmp_path / "out"), **own), ["command"])
    fresh, kept = (yaml.safe_load(p.read_text()) for p in (tmp_path / "out" / "market.yaml", GROCERY / "market.yaml"))

    def same(a: Any, b: Any, where: str = "") -> None:
        if isinstance(a, dict):
            assert set(a) == set(b), where
            for name in a:
                same(a[name], b[name], f"{where}.{name}")
        elif isinstance(a, float) or (isinstance(a, list) and a and isinstance(a[0], float)):
            np.testing.assert_allclose(a, b, rtol=1e-5, err_msg=where)
        else:
            assert a == b, where

    for part in ("market", "market_size", "assumptions", "estimates"):
        same(fresh[part], kept[part], part)
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"market.yaml", "calibration.html", "elasticities.csv"}
    assert not list((tmp_path / "out").rglob("*.part"))
    assert kept["provenance"]["sha256"] == fresh["provenance"]["sha256"]
    page = (tmp_path / "out" / "calibration.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "<img" in page and len(page) < 3_000_000


@pytest.mark.slow
@pytest.mark.parametrize("form", ["logit", "power"])
def test_round_trip(tmp_path: Path, form: str) -> None:
    """Simulate, write, calibrate, simulate again: mean units, price response and persistence agree.

    Three standard errors of what one file of sales tells, with the errors of both sides.
    """
    true = a_market(POWER if form == "power" else None, shoppers=20_000)
    table = simulate_sales(*true, periods=300, seed=3)
    path = written(tmp_path / "sales.csv", table)
    sales = read_sales(path)
    found = find(sales, own_settings(form=form, cost="margin", market_size=20_000.0, effects=["product"]))
    assert found.market is not None and found.fit.slope.value < 0
    grid = {"prices": {"map": "levels", "num_price_levels": 15, "low": 1.4, "high": 2.6}}
    again = market_from(
        without_agents(found.market) | {"inventory": {"rule": "unlimited"}} | grid,
        NO_AGENTS | {"sessions_per_epoch": 20_000},
    )
    second = simulate_sales(*again, periods=300, seed=4)
    fits = [found.fit, find(read_sales(written(tmp_path / "two.csv", second)), own_settings(
        form=form, cost="margin", market_size=20_000.0, effects=["product"])).fit]  # fmt: skip
    for get in (lambda fit: fit.slope, lambda fit: fit.dynamics.persistence, lambda fit: fit.dynamics.volatility):
        one, other = (get(fit) for fit in fits)
        assert abs(one.value - other.value) < 3.0 * np.hypot(one.error, other.error)
        assert one.error < 0.15 * abs(one.value)
    # Each offer's mean units over many simulations of both; the level's long swings were the first file's error.
    keys = jax.random.split(jax.random.key(9), 16)
    means, errors = [], []
    for shape, params in (true, again):
        units = jax.vmap(lambda key, s=shape, p=params: simulate.play(key, s, p, 300, jnp.float32(0.3))[1])(keys)
        logs = np.log(np.asarray(units).mean(1))
        means.append(logs.mean(0))
        errors.append(logs.std(0, ddof=1) / 4.0)
    order = [int(name.removeprefix("product_")) for name in found.market.offers["offer"]]
    own_error = found.fit.dynamics.constant_errors.loc[found.market.offers["offer"]].to_numpy()
    apart = (means[1] - means[0][order]) / np.sqrt(own_error**2 + errors[1] ** 2 + errors[0][order] ** 2)
    assert np.sqrt((apart**2).mean()) < 2.0 and np.abs(apart).max() < 3.5


@pytest.mark.parametrize(
    "model", ["analytic", *(pytest.param(model, marks=pytest.mark.slow) for model in ("bank", "chain"))]
)
def test_sessions_of_every_kind_buy_what_the_file_says_was_sold(model: str) -> None:
    """With as many sessions as shoppers, agents among them or not: by the logit written out, units a week."""
    file = yaml.safe_load((GROCERY / "market.yaml").read_text())
    demand, prices = file["market"]["demand"], np.array(file["market"]["prices"]["start"])
    weights = np.exp((np.array(demand["quality"]) - prices) / demand["scale"])
    sold = file["market_size"] * weights / (1.0 + weights.sum())
    np.testing.assert_allclose(sold, [52.34, 29.70], atol=0.01)
    own = composed(
        "market=calibrated", f"market.path={GROCERY / 'market.yaml'}", f"traffic={model}",
        f"traffic.sessions_per_epoch={round(file['market_size'])}",
    ).market  # fmt: skip
    orders = epochs(own, 400, [0.0, 0.3], conditions(own, prices)).orders.sum(2)
    for share in (0, 1):
        error = orders[:, share].std(0) / np.sqrt(len(orders))
        assert within(orders[:, share].mean(0), sold, error), (orders[:, share].mean(0), sold)
