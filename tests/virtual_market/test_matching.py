"""Matching of rollouts: what one is, what is refused, and that a discriminator alone mends customers gone wrong."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.fit import FitSettings, fit
from marl_pricing.virtual_market.matching import Cloned, MatchingSettings, match, summary
from marl_pricing.virtual_market.memory import log_arrays, memories_of, next_memory
from marl_pricing.virtual_market.model import VirtualMarket, load_model
from marl_pricing.virtual_market.money import day_gmv
from marl_pricing.virtual_market.rollouts import Days, Rollouts, distance
from tests.virtual_market.logs import a_log, untrained


@cache
def _rollouts() -> Rollouts:
    log = a_log(customers=200, days=20).log
    promotions, answers = log_arrays(log)
    weekdays = np.broadcast_to(log.weekdays, promotions.shape[:2])
    days = Days(memories_of(log, "order_days")[:, :-1], promotions, weekdays, answers)
    days = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), days)._replace(weekday=jnp.asarray(weekdays))
    own = untrained(width=8).fitted
    return Rollouts(days, {}, jnp.asarray(own.usual), jnp.asarray(own.usual_fee), 8, "order_days")


def _member(shift: float = 0.0) -> dict:
    """One member's networks; shift is added to the log odds of any order."""
    own = jax.tree.map(lambda leaf: leaf[0], untrained(width=8).fitted.customers)
    own["params"]["Dense_2"]["bias"] = own["params"]["Dense_2"]["bias"].at[0].add(shift)
    return own


def test_a_rollout_begins_as_the_log_and_goes_on_from_its_own_answers() -> None:
    rollouts = _rollouts()
    who, first = jnp.array([3, 3, 150]), jnp.array([0, 4, 14])
    real = rollouts.logged(who, first, 6)
    np.testing.assert_array_equal(real.answer[:, 1], rollouts.log.answer[3, 4:10])
    rolled = jax.jit(lambda key: rollouts.roll(_member(), key, real, "logged"))(jax.random.key(1))
    np.testing.assert_array_equal(rolled.memory[0], real.memory[0])
    np.testing.assert_array_equal(rolled.promotion, real.promotion)
    np.testing.assert_array_equal(rolled.weekday, real.weekday)
    after = next_memory(np.asarray(rolled.memory), np.asarray(real.promotion), np.asarray(rolled.answer), "order_days")
    np.testing.assert_allclose(rolled.memory[1:], after[:-1], rtol=1e-5)
    assert not np.array_equal(rolled.answer, real.answer)


def test_the_distance_is_wasserstein_s_of_days_and_windows_over_the_log_s_means() -> None:
    rng = np.random.default_rng(0)

    def windows(rate: float) -> Days:
        orders = rng.poisson(rate, (4, 30)).astype(np.float32)
        answer = np.stack([orders, np.where(orders > 0, rng.uniform(5, 30, orders.shape), 0.0)], axis=-1)
        return Days(jnp.zeros((4, 30, 21)), jnp.tile(jnp.array([1.0, 0.8]), (4, 30, 1)), jnp.zeros((4, 30)), answer)

    rolled, real = windows(0.5), windows(0.9)
    told = []
    for own in (
        lambda days: days.answer[..., 0],
        lambda days: day_gmv(1.0, 0.8, days.answer[..., 0], days.answer[..., 1]),
    ):
        for each in (np.ravel, lambda values: values.sum(0)):
            one, other = each(own(rolled)), each(own(real))
            told.append(wasserstein_distance(one, other) / other.mean())
    np.testing.assert_allclose(distance(rolled, real), np.mean(told), rtol=1e-4)
    assert float(distance(real, real)) == 0.0


def test_settings_that_say_nothing_and_windows_longer_than_the_log_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = ["fit", "log=none.csv", f"out={tmp_path}/model", "matching_anchor=2.0"]
    with pytest.raises(SystemExit, match="2"):
        main(given)
    assert "matching_anchor=2.0: accepted is 1.0 where matching=0" in capsys.readouterr().err
    with pytest.raises(LogError, match="matching_days=14: accepted are at most the 12 days that are learned from"):
        fit(a_log(customers=60, days=14).log, FitSettings(members=1, skip=2, matching=5))


@pytest.mark.slow
def test_a_discriminator_alone_mends_customers_who_order_too_seldom(tmp_path: Path) -> None:
    """Without the log's likelihood, so that nothing but the rewards can have done it."""
    log = a_log(customers=200, days=20).log
    how = FitSettings(members=1, width=8, epochs=20, batch=256, skip=4)
    cloned = fit(log, how)
    customers = jax.tree.map(jnp.asarray, cloned.customers)
    bias = customers["params"]["Dense_2"]["bias"]
    customers["params"]["Dense_2"]["bias"] = bias.at[:, 0].add(-2.5)
    learned_from = jax.tree.map(lambda leaf: leaf[:, how.skip :], _rollouts().log)
    own = Rollouts(learned_from, cloned.platform, jnp.asarray(cloned.usual), jnp.asarray(cloned.usual_fee), 8, how.form)
    matching = MatchingSettings(matching=40, matching_anchor=0.0, matching_rate=1e-3, matching_days=8)
    begun = Cloned(customers, np.ones((1, 200)), lambda network, weight, index: jnp.zeros(()), 3200, 16)
    found = match(matching, own, begun, seed=0)
    number, before, after = found.told[0]
    assert number > 0 and after < 0.5 * before

    again = FitSettings(members=1, width=8, matching=40, matching_rate=1e-3)
    kept = cloned._replace(customers=found.customers, matched=found.told)
    model = load_model(VirtualMarket(again, kept).save(tmp_path / "model"))
    assert model.settings.matching == 40
    np.testing.assert_array_equal(model.fitted.matched, found.told)
    assert summary(matching, found.told)[0].startswith(f"matching, member 0: update {number:.0f} of 40 kept")


@pytest.mark.slow
def test_fit_matches_and_says_what_it_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = ["members=2", "width=8", "epochs=1", "batch=256", "skip=2"]
    more = ["matching=7", "matching_days=5", "matching_windows=16", "matching_offers=logged"]
    log = f"log={tmp_path}/promotion_log.csv"
    assert main(["simulate", f"out={tmp_path}", "customers=60", "days=14"]) == 0
    assert main(["fit", log, f"out={tmp_path}/cloned", *small]) == 0
    capsys.readouterr()
    assert main(["fit", log, f"out={tmp_path}/matched", *small, *more]) == 0
    said = capsys.readouterr().out
    cloned, matched = load_model(tmp_path / "cloned"), load_model(tmp_path / "matched")
    assert cloned.fitted.matched is None and matched.settings.matching_offers == "logged"
    told = matched.fitted.matched
    assert told is not None and told.shape == (2, 3) and (told[:, 2] <= told[:, 1]).all()
    for member, (number, *_) in enumerate(told):
        kept = "none of 7 updates kept" if number == 0 else "update 7 of 7 kept"
        assert f"matching, member {member}: {kept}" in said
        same = jax.tree.map(
            lambda own, other, at=member: bool(np.array_equal(own[at], other[at])),
            matched.fitted.customers, cloned.fitted.customers,
        )  # fmt: skip
        assert all(jax.tree.leaves(same)) == (number == 0)
