"""Rivals that answer as a trained policy does: against the policy played by its own program, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from marl_pricing import market
from marl_pricing.calibration.fit import fit_demand
from marl_pricing.calibration.market_file import estimates_of, make_market, write_market
from marl_pricing.calibration.panel import make_panel
from marl_pricing.calibration.settings import CalibrationSettings
from marl_pricing.config.errors import ConfigError
from marl_pricing.config.market_settings import Calibration
from marl_pricing.export.__main__ import main as export
from marl_pricing.pricelist import learned
from marl_pricing.pricelist.__main__ import main
from marl_pricing.studies.loading import load_run
from tests.learning.helpers import QUICK
from tests.pricelist.test_list import sales_of, settings

SELLERS = ("shop", "rival")


def both_sellers() -> pd.DataFrame:
    """Ten products of the shop and ten of a rival in two categories, forty weeks."""
    one, two = sales_of(seed=1).table, sales_of(seed=2).table.assign(seller="rival")
    return pd.concat([one, two.assign(product="r" + two["product"])], ignore_index=True)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sales, a run on the market that was calibrated from them (random networks), its policy as a file."""
    from tests.export.test_export import make_run

    folder, table = tmp_path_factory.mktemp("learned"), both_sellers()
    table.to_csv(folder / "sales.csv", index=False)
    own = CalibrationSettings(data="", out="", form="power", products_per_seller=2, cost="margin", harmonics=0)
    panel = make_panel(table)
    fit = fit_demand(panel, own)
    write_market(folder / "market.yaml", make_market(fit, panel.table, own), estimates_of(fit), {"file": "sales.csv"})
    run = make_run(
        folder / "of", "market=calibrated", f"market.path={folder / 'market.yaml'}", "market.episode_length=16",
        "market.agent={level_sensitivity:1.0}",
    )  # fmt: skip
    assert export([f"run={run}", "format=flax"]) == 0
    return {"sales": folder / "sales.csv", "run": run, "file": run / "export" / "flax" / "policy.npz"}


def played(run: Path, prices: np.ndarray) -> np.ndarray:
    """[N] the rival's geometric mean prices while the shop, its seller 1, asks these: by the policy in JAX."""
    loaded = load_run(run, "latest")
    shape, params = loaded.experiment.market
    policy = loaded.policies(greedy=True)[0]
    half = shape.num_products
    levels = params.prices.levels.at[half:].set(jnp.asarray(prices, jnp.float32)[half:, None])
    params = params.replace(prices=params.prices.replace(levels=levels))

    def episode(key: jax.Array):
        state, seen = market.reset(key, shape, params)

        def epoch(carry, number):
            state, seen, memory = carry
            action, memory = policy.act(policy.parameters, key, memory, seen, state, params)
            state, seen, outcome = market.step(jax.random.fold_in(key, 1 + number), shape, state, action, params)
            return (state, seen, memory), outcome.prices

        return jax.lax.scan(epoch, (state, seen, policy.start()), jnp.arange(shape.episode_length))[1]

    keys = jax.random.split(jax.random.key(0), 8)
    posted = np.asarray(jax.jit(jax.vmap(episode), compiler_options=QUICK)(keys), float)
    return np.exp(np.log(posted[:, shape.episode_length // 2 :]).mean((0, 1)))


@pytest.mark.slow
def test_answers_are_those_of_the_policy_in_its_market(places: dict[str, Path]) -> None:
    table = both_sellers()
    latest = table.sort_values("period").groupby(["seller", "product"]).last().reset_index()
    latest = latest.rename(columns={"product": "offer"})
    ours, theirs = (latest[latest["seller"] == seller] for seller in SELLERS)
    own = learned.load_rivals(str(places["file"]), "shop", ours, theirs, ("", ""))
    same = learned.load_rivals(str(places["run"]), "shop", ours, theirs, ("", ""))
    today = dict(zip(latest["offer"], latest["price"], strict=True))
    shop = np.flatnonzero(own.ours)
    assert len(shop) == 2 and set(np.array(own.offers)[shop]) <= set(ours["offer"])
    dearer = {offer: 1.2 * price for offer, price in today.items()}
    for asked in (today, dearer):
        found = own.answers(asked)
        np.testing.assert_allclose(found[shop], [asked[own.offers[n]] for n in shop], rtol=1e-6)
        np.testing.assert_allclose(found, same.answers(asked), rtol=1e-6)
        expected = played(places["run"], np.array([asked[offer] for offer in own.offers]))
        np.testing.assert_allclose(found[~own.ours], expected[~own.ours], rtol=1e-4)


@pytest.mark.slow
def test_a_list_counts_what_a_policy_answers(places: dict[str, Path], tmp_path: Path, capsys) -> None:
    shared = [f"data={places['sales']}", f"out={tmp_path}", "seller=shop", "cross=category", "certainty=0", "draws=400"]
    assert main([*shared, "rivals=learned", f"policy={places['run']}"]) == 0
    said = capsys.readouterr().out
    assert "Rivals answer as the policy of run does in its market" in said and "2 of 10 change" in said
    answers, listed = pd.read_csv(tmp_path / "rivals.csv"), pd.read_csv(tmp_path / "pricelist.csv")
    latest = both_sellers().sort_values("period").groupby("product").last()
    theirs = latest[latest["seller"] == "rival"].reset_index().rename(columns={"product": "offer"})
    ours = latest[latest["seller"] == "shop"].reset_index().rename(columns={"product": "offer"})
    own = learned.load_rivals(str(places["file"]), "shop", ours, theirs, ("", ""))
    proposed = dict(zip(listed["product"], listed["proposed"], strict=True))
    found = dict(zip(own.offers, own.answers(proposed), strict=True))
    for row in answers.to_dict("records"):
        assert row["answer"] == pytest.approx(found.get(row["product"], row["price"]), rel=1e-4)
    assert "What rivals answer" in (tmp_path / "pricelist.html").read_text()
    # Another shop's policy is refused, by name and before anything is played.
    sales = both_sellers().replace({"seller": {"rival": "somebody"}})
    sales.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(SystemExit):
        main([f"data={tmp_path / 'other.csv'}", *shared[1:], "rivals=learned", f"policy={places['file']}"])
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and "whose other sellers are rivals here (somebody); 'rival' is none" in told[0]


def told_market(**changes) -> Calibration:
    own = {
        "path": "", "sha256": "", "sellers": ["rival", "shop"], "products": ["c", "d", "a", "b"], "slope": -2.0,
        "slope_error": 0.1, "reference_price": [1.0] * 4, "level_error": [0.1] * 4,
    } | changes  # fmt: skip
    return Calibration.model_validate(own)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sellers": ["rival", "other"]}, "'shop' sells; its sellers are rival, other"),
        ({"sellers": ["third", "shop"]}, "rivals here (rival); 'third' is none"),
        ({"products": ["c", "d", "a", "z"]}, "'shop' sells no 'z', but a, b"),
        ({"products": ["c", "a", "a", "b"]}, "'rival' sells no 'a', but c, d"),
        ({"currency": "EUR"}, "the currency of the sales, USD; its currency is EUR"),
        ({"period": "day"}, "the period of the sales, week; its period is day"),
    ],
)
def test_a_policy_of_another_market_is_refused_by_name(changes: dict, told: str) -> None:
    ours = pd.DataFrame({"offer": ["a", "b"], "price": [1.0, 2.0]})
    theirs = pd.DataFrame({"offer": ["c", "d"], "price": [1.0, 2.0], "seller": "rival"})
    learned._refuse_another_market("runs/A", told_market(), "shop", ours, theirs, ("USD", "week"))
    with pytest.raises(ConfigError, match=re.escape(told)) as error:
        learned._refuse_another_market("runs/A", told_market(**changes), "shop", ours, theirs, ("USD", "week"))
    assert str(error.value).startswith("policy='runs/A': accepted is one of a market")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rivals": "learned"}, "policy=None: accepted is a run folder or an exported policy file with rivals=learned"),
        ({"policy": "runs/A"}, "policy='runs/A': accepted is null with rivals=stay"),
        ({"rivals": "learned", "policy": "a", "what_if": [{"cost": 0.1}]}, "accepted is [] with rivals=learned"),
    ],
)
def test_settings_that_do_not_fit_a_policy_are_refused(changes: dict, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        settings(cross="category", **changes)


def test_what_is_no_policy_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no-such: there is no such file; accepted is a run folder or"):
        learned._policy(str(tmp_path / "no-such"))
    (tmp_path / "policy.npz").write_text("nothing")
    with pytest.raises(ConfigError, match="is no policy file"):
        learned._policy(str(tmp_path / "policy.npz"))
