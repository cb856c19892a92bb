"""What was learned as a folder, as a market that train.py takes, and by command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from marl_pricing.config import build, market_from, read_settings
from marl_pricing.config.composing import compose_settings
from marl_pricing.config.errors import ConfigError
from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.prices.fit import FitSettings, FittedPrices, Shoppers
from marl_pricing.virtual_market.prices.judge import naive_regression
from marl_pricing.virtual_market.prices.model import (
    PriceModel,
    learned_market,
    load_model,
    market_settings,
    notes,
    train_settings,
    write_market,
)
from marl_pricing.virtual_market.prices.truth import propensities_of
from tests.virtual_market.prices.shoppers import a_log

PRICES = np.array([[1.4, 1.6], [1.8, 1.5]])


def _class(scale: float, rate: float, share: float) -> Shoppers:
    both = np.array([1.0, 1.1, 0.9])
    return Shoppers(
        np.array([[2.0, 1.9]]) * both[:, None], scale * both, np.array([0.2, 0.3, 0.1]), rate * both,
        np.array([[0.3, 0.3]]) * both[:, None], np.array([0.5, 0.5, 0.5]), "nested", 1e-4, 0.01, 0.8, share,
    )  # fmt: skip


def _fitted() -> FittedPrices:
    ends = np.array([1.3, 1.3]), np.array([2.0, 2.0]), np.array([1.6, 1.7])
    return FittedPrices((_class(0.25, 0.2, 0.7), _class(0.1, 0.05, 0.3)), ("a", "b"), *ends, 150.0, 4.0)


def _by_hand(one: Shoppers, prices: np.ndarray, member: int, shift: float = 0.0) -> np.ndarray:
    """The nested logit written out: rate · share of each offer."""
    rest = 1.0 - one.nesting[member]
    utility = ((one.quality[member] + shift) - prices) / one.scale[member]
    within = np.exp(utility / rest)
    total = within.sum(-1, keepdims=True)
    return one.rate[member] * (total**rest / (1.0 + total**rest)) * within / total


@pytest.mark.parametrize("member", [0, 2])
def test_shoppers_of_the_market_buy_as_the_law_that_was_learned(member: int) -> None:
    own = _fitted()
    built = learned_market(own, 1.0, member)
    people, agents = own.classes
    # At level 1, half a variance above the log mean in which agents are told: they see the same level by half as much.
    wanted = 0.7 * _by_hand(people, PRICES, member) + 0.3 * _by_hand(agents, PRICES, member)
    np.testing.assert_allclose(propensities_of(built.shape, built.params, PRICES), wanted, rtol=2e-5)


def test_a_model_is_kept_whole_or_refused(tmp_path: Path) -> None:
    model = PriceModel(FitSettings(members=3), _fitted())
    folder = model.save(tmp_path / "model")
    again = load_model(folder)
    assert again.settings == model.settings and again.fitted.offers == ("a", "b")
    for one, other in zip(model.fitted.classes, again.fitted.classes, strict=True):
        for name in Shoppers._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    (folder / "arrays.npz").write_bytes((folder / "arrays.npz").read_bytes()[:-20])
    with pytest.raises(ModelError, match="cut short or changed"):
        load_model(folder)
    with pytest.raises(ConfigError, match="member=3: accepted is 0 to 2"):
        market_settings(_fitted(), 1.0, member=3)


def test_what_is_wrong_with_it_is_said() -> None:
    told = notes(_fitted())
    assert len(told) == 4 and "do not choose as the family nested says" in told[0] and "0.80 times" in told[1]


def test_train_py_takes_the_file(tmp_path: Path) -> None:
    model = PriceModel(FitSettings(members=3), _fitted())
    path = write_market(tmp_path / "market.yaml", model, market_settings(model.fitted, [1.0, 1.1], levels=7), 0)
    told = [f"traffic.{name}={value}" for name, value in train_settings(model.fitted).items()]
    data = compose_settings(["market=calibrated", f"market.path={path}", "traffic=analytic", *told])
    for name in ("study", "resume"):
        data.pop(name)
    market = build(read_settings(data)).market
    assert market.shape.prices.num_levels == 7 and market.shape.demand.num_classes == 2
    np.testing.assert_allclose(market.params.reward.unit_cost, [1.0, 1.1])
    plain = learned_market(model.fitted, [1.0, 1.1])
    for prices in PRICES:
        ours, theirs = (propensities_of(own.shape, own.params, prices) for own in (market, plain))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert yaml.safe_load(path.read_text())["traffic"]["agent_share"] == pytest.approx(0.015 / 0.155, rel=1e-5)


def test_a_file_of_calibration_keeps_its_scale_of_demand() -> None:
    settings = market_settings(_fitted(), 1.0)
    settings["calibration"] |= {"path": "", "sha256": ""}
    built = market_from(settings, train_settings(_fitted()))
    assert float(built.params.demand.scale) == pytest.approx(0.155, rel=1e-5)


def test_the_naive_reader_is_least_squares() -> None:
    log = a_log(days=8, epochs=2, sessions=50)
    found = naive_regression(log, PRICES)
    inputs = np.column_stack([np.ones(len(log.prices)), log.prices])
    for offer in range(2):
        by_rows, *_ = np.linalg.lstsq(inputs, (log.bought == offer).astype(float), rcond=None)
        np.testing.assert_allclose(found[:, offer], by_rows[0] + PRICES @ by_rows[1:], rtol=1e-6)


def test_verbs_say_what_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "--help"]) == 0
    told = capsys.readouterr().out
    assert "marl_pricing.virtual_market prices VERB" in told and "\n  simulate  " in told and "\n  market    " in told
    assert main(["prices", "fit", "--help"]) == 0
    assert "effects=day" in capsys.readouterr().out
    assert main(["prices", "simulat"]) == 2
    assert "did you mean simulate" in capsys.readouterr().err
    assert main(["price"]) == 2
    assert "did you mean prices" in capsys.readouterr().err
    for wrong, said in (
        ("spread=0", "spread=0.0: accepted is above 0 with confounding=0.6"),
        ("overrides=[learner.gamma=0.5]", "overrides='learner.gamma=0.5': accepted is market"),
        ("experiment=phantom_prototype", "traffic.model='scripted'"),
        ("low=2.5", "high=None: accepted is above the lowest price"),
    ):
        with pytest.raises(SystemExit):
            main(["prices", "simulate", "out=x", wrong])
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_from_a_confounded_log_to_prices_that_earn_in_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, model = tmp_path / "price_log.csv", tmp_path / "model"
    steps = [
        ["simulate", f"out={tmp_path}", "days=40"],
        ["log", f"log={log}"],
        ["fit", f"log={log}", f"out={model}", "members=6", "family=logit"],
        ["judge", f"log={log}", f"model={model}", f"truth={tmp_path}", f"out={tmp_path / 'judged.json'}"],
        ["market", f"model={model}", f"out={tmp_path / 'market.yaml'}", "unit_cost=1"],
    ]
    for step in steps:
        assert main(["prices", *step]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "prices of the log did follow it" in said and "train with: python train.py market=calibrated" in said
    rows = json.loads((tmp_path / "judged.json").read_text())["curves"]
    error = {name: np.mean([abs(row[name] - row["truth"]) for row in rows]) for name in ("learned", "naive")}
    assert error["learned"] < 0.02 and error["naive"] > 2.5 * error["learned"]
    told = next(line for line in said.splitlines() if line.startswith("best prices"))
    shares = [float(word.rstrip("%")) for word in told.split() if word.endswith("%")]
    assert shares[0] >= 97 and shares[1] >= 97 and shares[2] < 2
