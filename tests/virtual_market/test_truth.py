"""Simulated logs say of their customers what is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.config.errors import ConfigError, validate
from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.counts import draw_orders
from marl_pricing.virtual_market.truth import TruthSettings, draw_customers, make_truth, response_curve
from tests.virtual_market.logs import a_log


@pytest.mark.slow
def test_response_curves_are_the_tables_that_were_set() -> None:
    own = TruthSettings()
    law, _ = make_truth(own)
    people = draw_customers(own, 40_000, 0)
    curve = np.mean([response_curve(law, people, count) for count in (1, 2, 3)], axis=0)
    np.testing.assert_allclose(curve[:, 1], [own.loyal_none, *own.loyal_orders], atol=0.006)
    np.testing.assert_allclose(curve[:, 0], [own.dormant_none, *own.dormant_orders], atol=0.002)
    # One coupon caps what several do not: 1.16, 1.52 and 1.90 over their mean.
    deep = np.stack([response_curve(law, people, count)[6] for count in (1, 2, 3)])
    np.testing.assert_allclose(deep / deep.mean(0), np.array([[1.16], [1.52], [1.90]]) / 1.5267 * [[1, 1]], atol=0.01)


@pytest.mark.slow
def test_a_log_shows_the_facts_of_its_customers() -> None:
    log, _, people = a_log(customers=3000)
    loyal = np.asarray(people.loyal)
    assert loyal.mean() == pytest.approx(0.39, abs=0.001)
    assert (log.orders.sum(1) == 0).mean() == pytest.approx(0.13, abs=0.01)
    bare = np.where(log.coupons == 0, log.orders, -1)
    counts = np.array([(bare[loyal] == n).sum() for n in range(3)] + [(bare[loyal] > 2).sum()])
    shares = counts / counts.sum()
    np.testing.assert_allclose([shares[0], shares[1], shares[2:].sum()], [0.37, 0.59, 0.04], atol=0.02)
    assert bare[~loyal][bare[~loyal] >= 0].mean() == pytest.approx(0.004, abs=0.002)
    days = np.array([bare[:, log.weekdays == day][bare[:, log.weekdays == day] >= 0].mean() for day in range(7)])
    told = np.array(TruthSettings().weekdays)
    np.testing.assert_allclose(days / days.mean(), told / told.mean(), atol=0.1)
    ordered = (log.orders > 0).sum(1)
    mean_fee = np.where(ordered > 0, log.fee.sum(1) / np.maximum(ordered, 1), np.nan)
    assert np.nanmean(mean_fee[loyal]) == pytest.approx(22.5, abs=0.6) and np.nanstd(mean_fee[loyal]) == pytest.approx(
        7, abs=0.7
    )
    assert np.nanmean(mean_fee[~loyal]) == pytest.approx(15, abs=1.2)


@pytest.mark.slow
def test_the_logging_policy_is_confounded_as_far_as_it_is_told() -> None:
    def gap(**other: float) -> float:
        log, _, people = a_log(**other)
        loyal = np.asarray(people.loyal)
        deep = (log.coupons > 0) & (log.discount < 0.75)
        return deep[loyal].mean() - deep[~loyal].mean()

    assert gap() > 0.15
    assert abs(gap(confounding=0.0)) < 0.01


def test_drawn_orders_have_their_probability_and_mean() -> None:
    key = jax.random.key(0)
    probability, more = jnp.full(200_000, 0.7), jnp.full(200_000, 0.9)
    orders = np.asarray(draw_orders(probability, more, *jax.random.uniform(key, (2, 200_000))))
    assert (orders > 0).mean() == pytest.approx(0.7, abs=0.005)
    assert orders.mean() == pytest.approx(0.7 * 1.9, abs=0.015)
    assert (orders == 1).mean() == pytest.approx(0.7 * np.exp(-0.9), abs=0.005)


def test_the_command_leaves_a_log_and_what_is_true_of_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "sim"
    assert main(["simulate", f"out={out}", "customers=40", "days=8", "seed=3"]) == 0
    assert "customers: 40" in capsys.readouterr().out
    first = (out / "promotion_log.csv").read_bytes()
    truth = json.loads((out / "truth.json").read_text())
    assert truth["levels"][0] == "none" and len(truth["orders_a_day_by_coupons"]["2"]) == 9
    assert main(["log", f"log={out}/promotion_log.csv"]) == 0
    assert "days: 8, 2021-03-01 to 2021-03-08" in capsys.readouterr().out
    main(["simulate", f"out={out}", "customers=40", "days=8", "seed=3"])
    assert (out / "promotion_log.csv").read_bytes() == first


def test_settings_that_no_customers_can_have_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for given, told in (
        ("never_share=0.7", "never_share=0.7: accepted is less than the dormant share, 0.61"),
        ("start=yesterday", "start='yesterday': accepted is a date, yyyy-mm-dd"),
        ("loyal_orders=[1,1]", "loyal_orders=[1, 1]: accepted is a list of at least 8"),
        ("custmers=3", "custmers=3: there is no such setting; did you mean customers?"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["simulate", f"out={tmp_path / 'x'}", given])
        assert ended.value.code == 2 and told in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    with pytest.raises(ConfigError, match="busiest weekday"):
        validate(TruthSettings, {"weekdays": [1, 1, 1, 1, 6, 1, 1]})


def test_help_names_the_verbs_and_their_settings(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0 and main(["simulate"]) == 0 and main(["log", "--help"]) == 0
    told = capsys.readouterr().out
    assert "simulate " in told and "confounding=1.0" in told and "mapping=null" in told
    assert main(["promise"]) == 2 and "promise: accepted is simulate, log, graph, fit, judge" in capsys.readouterr().err
