"""Learned customers: how they are asked, kept and refused; what they answer is known where the truth is."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, poisson

from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.answers import Answer, answer_from, answer_loss, answer_of
from marl_pricing.virtual_market.curves import TrueCurve, population_error, segment_error
from marl_pricing.virtual_market.errors import LogError, ModelError
from marl_pricing.virtual_market.fit import FitSettings, fit
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.memory import MEMORY_NAMES, NUM_FEATURES, memories_of, next_memory
from marl_pricing.virtual_market.model import VirtualMarket, load_model
from marl_pricing.virtual_market.states import next_state
from tests.virtual_market.logs import a_log, untrained

SMALL = FitSettings(members=2, width=8, epochs=1, batch=256, skip=2)


@cache
def _model() -> VirtualMarket:
    return VirtualMarket(SMALL, fit(a_log(customers=60, days=14).log, SMALL))


def _given(rows: int = 5) -> dict[str, np.ndarray]:
    memory = memories_of(a_log(customers=60, days=14).log, SMALL.form)[:rows, -1]
    return {"state": memory, "day": np.full((rows, 1), 4), "action_1": np.tile([2.0, 0.8], (rows, 1))}


def test_a_memory_counts_what_was_met_and_taken() -> None:
    memory = np.zeros(len(MEMORY_NAMES))
    for promotion, answer in (((0, 1.0), (0, 0.0)), ((2, 0.7), (1, 20.0)), ((1, 0.7), (0, 0.0)), ((0, 1.0), (2, 26.0))):
        memory = next_memory(memory, np.array(promotion), np.array(answer), "order_days")
    told = dict(zip(MEMORY_NAMES, memory, strict=True))
    assert {name: own for name, own in told.items() if own} == {
        "total_num": 3, "average_num": 1.5, "average_fee": 23.0, "days_none": 2, "days_0.70": 2, "taken_none": 1,
        "taken_0.70": 1,
    }  # fmt: skip


def test_nothing_of_a_memory_is_of_the_day_itself_or_of_others() -> None:
    log = a_log(customers=60, days=14).log
    memory = memories_of(log, "order_days")
    orders = log.orders.copy()
    orders[7, 9:] += 1
    changed = PromotionLog(log.customers, log.dates, log.coupons, log.discount, orders, np.where(orders, 9.0, 0.0))
    other = memories_of(changed, "order_days")[..., 3:]
    same = (other == memory[..., 3:]).all(-1)
    assert same[7, :10].all() and same[:7].all() and same[8:].all()


def test_the_loss_is_the_likelihood_of_a_hurdle_and_a_log_normal_fee() -> None:
    law = Answer(*(jnp.asarray(own) for own in ([0.3, 0.3, 0.3], [0.7, 0.7, 0.7], [3.0, 3.0, 3.0], [0.4, 0.4, 0.4])))
    orders, log_fee = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.7, 3.1])
    some = 1 / (1 + np.exp(-0.3))
    expected = -np.log([1 - some, some, some])
    expected[1:] -= poisson.logpmf(orders[1:] - 1, 0.7) + norm.logpdf(log_fee[1:], 3.0, 0.4)
    # Constants of the data are left out: log k! and log √2π.
    expected[1:] -= np.log([1.0, 2.0]) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(answer_loss(law, jnp.asarray(orders), jnp.asarray(log_fee)), expected, rtol=1e-5)


def test_fees_stay_within_reach_of_the_log_whatever_a_network_says() -> None:
    far = tuple(jnp.full(2, 1e4) for _ in range(4))
    usual = jnp.asarray([2.8, 0.6, 4.5])
    law = answer_from(far, jnp.asarray([0.0, 30.0]), usual)
    np.testing.assert_allclose(law.fee, [2.8 + 1.5, 4.5], rtol=1e-5)  # 1.5 more than usual; the log's largest
    np.testing.assert_allclose(law.spread, 0.6 * np.exp(0.7) * np.array([1.0, 0.3]), rtol=1e-5)
    inside = answer_from(tuple(jnp.full(2, own) for own in (0.3, 0.1, 0.01, 0.0)), jnp.asarray([0.0, 30.0]), usual)
    np.testing.assert_allclose(inside.fee, [2.81, np.log(30.0) + 0.01], rtol=1e-5)  # there it is what is told


def test_the_number_of_coupons_adds_at_its_depth_alone() -> None:
    network = jax.tree.map(lambda leaf: leaf[0], untrained().fitted.customers)
    by_number = np.zeros((2, 8, 5), np.float32)
    by_number[:, 3, 1] = 0.7, -0.4  # two coupons at 0.80
    network["params"]["by_number"] = jnp.asarray(by_number)
    offers = np.array([[2, 0.8], [1, 0.8], [2, 0.85], [0, 1.0]])
    inputs, fee = jnp.zeros((4, NUM_FEATURES)), jnp.zeros(4)
    law = answer_of(8, network, inputs, jnp.asarray(offers), fee, untrained().fitted.usual_fee)
    np.testing.assert_allclose(law.odds - law.odds[1], [0.7, 0, 0, 0], atol=1e-6)
    raw = np.log(np.expm1(np.asarray(law.more)))
    np.testing.assert_allclose(raw - raw[1], [-0.4, 0, 0, 0], atol=1e-5)


@pytest.mark.slow
def test_a_stronger_prior_leaves_less_to_the_number_of_coupons() -> None:
    log = a_log(customers=60, days=14).log
    wide, narrow = (
        np.abs(fit(log, SMALL.model_copy(update={"epochs": 8, "number_odds": own})).customers["params"]["by_number"])
        for own in (5.0, 0.02)
    )
    assert narrow[:, 0].mean() < 0.5 * wide[:, 0].mean()
    np.testing.assert_allclose(narrow[:, 1].mean(), wide[:, 1].mean(), rtol=0.5)  # of more orders nothing was said


@pytest.mark.slow
def test_missing_nodes_are_filled_in_and_given_ones_kept() -> None:
    model, given = _model(), _given()
    told = model.infer_one_step(given)
    assert set(told) == {"state", "day", "action_1", "action_2", "next_state"}
    np.testing.assert_array_equal(told["action_1"], given["action_1"].astype(np.float32))
    mean = np.mean([model.infer_one_step(given, member=own)["action_2"] for own in range(2)], axis=0)
    np.testing.assert_allclose(told["action_2"], mean, rtol=1e-5)
    np.testing.assert_allclose(
        told["next_state"][:, :3], next_state(given["state"][:, :3], told["action_2"]), rtol=1e-4
    )
    offered = model.infer_one_step({"state": given["state"], "day": given["day"]}, deterministic=False)["action_1"]
    assert ((offered[:, 0] == 0) == (offered[:, 1] == 1)).all() and (offered[:, 0] <= 5).all()
    kept = model.infer_one_step(given | {"action_2": np.tile([1.0, 9.0], (5, 1))})
    np.testing.assert_array_equal(kept["next_state"][:, 0], given["state"][:, 0].astype(np.float32) + 1)


@pytest.mark.slow
def test_days_follow_one_another_and_draws_follow_their_seed() -> None:
    model, given = _model(), _given()
    days = model.infer_k_steps(given, 3, deterministic=False, seed=4)
    again = model.infer_k_steps(given, 3, deterministic=False, seed=4)
    for one, other in zip(days, again, strict=True):
        np.testing.assert_array_equal(one["action_2"], other["action_2"])
    np.testing.assert_array_equal(days[1]["state"], days[0]["next_state"])
    assert [int(day["day"][0, 0]) for day in days] == [4, 5, 6]
    orders = days[0]["action_2"][:, 0]
    assert (orders == np.round(orders)).all() and ((orders == 0) == (days[0]["action_2"][:, 1] == 0)).all()


@pytest.mark.slow
def test_a_model_is_kept_whole_or_refused(tmp_path: Path) -> None:
    model, given = _model(), _given()
    folder = model.save(tmp_path / "model")
    model.save(folder)
    assert sorted(own.name for own in tmp_path.iterdir()) == ["model"]
    again = load_model(folder)
    np.testing.assert_array_equal(again.infer_one_step(given)["action_2"], model.infer_one_step(given)["action_2"])
    arrays, told = (folder / "arrays.npz").read_bytes(), (folder / "model.json").read_text()

    def refused(match: str) -> None:
        with pytest.raises(ModelError, match=match):
            load_model(folder)
        (folder / "arrays.npz").write_bytes(arrays)
        (folder / "model.json").write_text(told)

    (folder / "arrays.npz").write_bytes(arrays[:-100])
    refused("arrays.npz: is not what was saved; it was cut short")
    (folder / "model.json").write_text(told[:100])
    refused(r"model.json.*is no JSON")
    (folder / "model.json").write_text(json.dumps(json.loads(told) | {"format": 9}))
    refused("accepted is a model of format 2")
    (folder / "model.json").write_text(told.replace('"width": 8', '"width": 9'))
    refused("its arrays are not those of networks of width 9")
    (folder / "arrays.npz").unlink()
    refused("there is no such file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(ModelError, match="holds something that is no model"):
        model.save(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"action_3": np.zeros((5, 2))}, "action_3: there is no such node"),
        ({"day": np.full((5, 1), 7)}, "day: accepted is 0"),
        ({"action_1": np.zeros((4, 2))}, r"action_1 of shape \(4, 2\)"),
        ({"state": np.full((5, 21), np.nan)}, "accepted are finite numbers"),
    ],
)
def test_other_data_are_refused(other: dict, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        _model().infer_one_step(_given() | other)
    with pytest.raises(ModelError, match="state: has to be given"):
        _model().infer_one_step({"day": np.zeros((5, 1))})
    with pytest.raises(ModelError, match="member=2: accepted is 0 … 1"):
        _model().infer_one_step(_given(), member=2)


def test_a_log_that_nothing_can_be_learned_from_is_refused() -> None:
    log = a_log(customers=60, days=14).log
    with pytest.raises(LogError, match="the log has 14 days: accepted are at least 16"):
        fit(log, SMALL.model_copy(update={"holdout": 12}))
    nothing = PromotionLog(log.customers, log.dates, log.coupons, log.discount, 0 * log.orders, 0 * log.fee)
    with pytest.raises(LogError, match="the log has no order"):
        fit(nothing, SMALL)


def test_errors_of_curves_on_numbers_worked_by_hand() -> None:
    truth = TrueCurve(np.stack([np.full(8, 0.2), np.full(8, 1.0)]), np.array([True, False, False, False]))
    alike = np.full(8, 0.5)
    assert population_error(alike, truth) == pytest.approx(0.1)  # 0.4 in truth
    assert segment_error(alike, truth) == pytest.approx(0.75 * 0.3 + 0.25 * 0.5)
    each = np.concatenate([np.full((1, 8), 0.9), np.full((3, 8), 0.2)])
    assert segment_error(each, truth) == pytest.approx(0.025)


@pytest.mark.slow
def test_response_curves_are_the_truth_s_and_a_naive_reader_s_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    log = f"log={tmp_path}/promotion_log.csv"
    assert main(["simulate", f"out={tmp_path}", "seed=11"]) == 0
    assert main(["fit", log, f"out={tmp_path}/model", "members=3", "holdout=14"]) == 0
    assert main(["judge", log, f"model={tmp_path}/model", f"truth={tmp_path}", f"out={tmp_path}/judged.json"]) == 0
    told = json.loads((tmp_path / "judged.json").read_text())
    error = {own: float(told["told"][0].split(f"{own} ")[1].split(",")[0]) for own in ("learned", "naive")}
    assert error["learned"] <= 0.06 and error["naive"] > 2.5 * error["learned"]
    assert "written: " in capsys.readouterr().out
