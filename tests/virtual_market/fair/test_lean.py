"""Learning that starts from a plan: its own offers before any update, what training adds, what is said if it fails."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.fair.feedback import ROW, with_losses
from marl_pricing.virtual_market.fair.game import PromotionGame, promotion_params, scales
from marl_pricing.virtual_market.fair.kept import load_policy
from marl_pricing.virtual_market.fair.lean import AHEAD, lean_of, odds_of
from marl_pricing.virtual_market.fair.offers import mean_tables
from marl_pricing.virtual_market.fair.playing import play_feedback
from marl_pricing.virtual_market.fair.policy import LEARNED, FairPolicy, PolicySettings, Verdict, learner_of
from marl_pricing.virtual_market.fair.start import POLICY, starts_of
from marl_pricing.virtual_market.fair.training import train_policy
from marl_pricing.virtual_market.fair.worlds import learned_worlds
from marl_pricing.virtual_market.levels import OFFERS
from tests.virtual_market.fair.submitted import submitted
from tests.virtual_market.logs import a_log, untrained

DAYS, EPISODES = 4, 6
SMALL = PolicySettings(days=DAYS, goal=5.0, customers=30, updates=4, episodes=32, hidden=8, every=2)


@cache
def _made():
    """(starts [1, 21, C], weekday, plan, losses) of customers who have learned nothing."""
    starts, weekdays = starts_of(a_log(customers=60, days=14).log, "order_days", 1)
    tables = mean_tables(learned_worlds(untrained()), starts[0])
    return starts, int(weekdays[0]), *with_losses(*tables, int(weekdays[0]), DAYS, SMALL.asked)


def _policy(gain: float) -> FairPolicy:
    """One whose network says noughts, or draws of so large a deviation."""
    starts, weekday, plan, losses = _made()
    odds = odds_of(losses, 0.3)
    shape, params = promotion_params(learned_worlds(untrained()), starts, [weekday], days=DAYS, threshold=SMALL.asked)
    actor = learner_of(SMALL, PromotionGame(DAYS), shape, params.replace(lean=lean_of(plan, odds))).actor
    drawn = actor.init(jax.random.key(0))
    parameters = jax.tree.map(lambda leaf: gain * np.random.default_rng(leaf.size).standard_normal(leaf.shape), drawn)
    verdict = Verdict(2, 2, 100, 1.2, 1.1, 0.01, 1.0, 1.0)
    lots = np.zeros((DAYS, len(OFFERS)), np.float32)
    return FairPolicy(SMALL, "order_days", jax.tree.map(np.float32, parameters), *scales(starts, DAYS), starts, weekday,
                      lots, np.ones(2), np.ones((1, 2)), plan, odds, verdict)  # fmt: skip


def test_the_likeliest_offer_is_the_plans_whatever_came_before() -> None:
    plan, losses = _made()[2:]
    lean, draws = lean_of(plan, odds_of(losses, 0.3)), np.random.default_rng(0)
    day, gmv, cost = draws.integers(DAYS, size=200), draws.uniform(0, 40, 200), draws.uniform(0, 8, 200)
    told = np.asarray(jax.vmap(lean.logits)(jnp.int32(day), jnp.float32(gmv), jnp.float32(cost)))
    assert told.argmax(1).tolist() == [plan.offer(*own) for own in zip(day, gmv, cost, strict=True)]
    assert len(set(told.argmax(1))) > 2 and (told.max(1) == AHEAD).all() and (np.sort(told, 1)[:, -2] <= 0).all()


def test_before_any_update_it_is_the_plan() -> None:
    policy, worlds = _policy(0.0), learned_worlds(untrained())
    where = np.arange(EPISODES) % worlds.count
    shape, params = promotion_params(worlds, policy.starts, [policy.weekday], days=DAYS, threshold=policy.threshold)
    own = policy.play(shape, params, where, 3)
    plan = play_feedback(policy.game, shape, params, policy.plan, where, 3)
    assert (own.offers == plan.offers).all() and own.gmv == pytest.approx(plan.gmv)
    assert len({tuple(offers.ravel()) for offers in own.offers}) > 1  # they differ by what came
    moved = replace(policy, parameters=_policy(1.5).parameters).play(shape, params, where, 3)
    assert (moved.offers != plan.offers).any()


def test_it_is_kept_whole_or_refused(tmp_path: Path) -> None:
    policy = _policy(1.5)
    folder = policy.save(tmp_path / "policy")
    again = load_policy(folder)
    assert isinstance(again, FairPolicy) and again.plan is not None and again.verdict == policy.verdict
    assert (again.plan.offers == policy.plan.offers).all() and (again.odds == policy.odds).all()
    told, arrays = POLICY.read(folder)
    told = {name: told[name] for name in ("kind", "settings", "form", "weekday", "verdict")}
    for wrong, where in (
        ({"odds": arrays["odds"][:, 1:]}, r"odds of shape \(4, 300, 41\), not \(4, 301, 41\)"),
        ({"offers": arrays["offers"][1:]}, r"offers of shape \(3, 3001\) for 4 days"),
    ):
        POLICY.save(folder, told, arrays | wrong)
        with pytest.raises(ModelError, match=where):
            load_policy(folder)
    POLICY.save(folder, told, {name: own for name, own in arrays.items() if name != "odds"})
    with pytest.raises(ModelError, match="has no 'odds'"):
        load_policy(folder)


def test_the_submission_offers_what_is_played(tmp_path: Path) -> None:
    """As for a plan: customers answer the very offers, drawn again by the game's own keys."""
    policy, worlds = _policy(1.5), learned_worlds(untrained())
    where = np.arange(EPISODES) % worlds.count
    shape, params = policy.in_world(worlds, 4)
    policy = replace(policy, zero_gmv=np.asarray(params.zero_gmv))
    shape, params = policy.in_world(worlds, 4)
    played = policy.play(shape, params, where, 3)
    found = submitted(policy, worlds, params, where, played, 3, tmp_path)
    assert found["told"] == [[count, min(share, 0.95)] for count, share in played.offers.reshape(-1, 2).tolist()]
    assert found["refused"].startswith("day 5: the plan has 4;")


def test_offers_lose_what_the_plan_would_not_have_of_them() -> None:
    plan, losses = _made()[2:]
    rows = plan.grid[::ROW]
    assert (losses >= 0).all() and losses.shape == (DAYS, len(rows), len(OFFERS))
    chosen = np.take_along_axis(losses, plan.offers[:, ::ROW, None], axis=2)
    assert chosen.max() < 1e-6 and (losses.max(2) > 0.1).all()


def test_a_verdict_says_whether_it_is_better_by_more_than_chance() -> None:
    own = Verdict(10, 10, 1000, 2.02, 2.0, 0.005, 1.0, 0.99)
    assert own.better and "it is better" in own.said() and "+0.020, standard error 0.005" in own.said()
    chance = own._replace(error=0.02)
    assert not chance.better and not chance.worse and "not better by more than chance" in chance.said()
    assert "TRAINING FAILED" in own._replace(reward=1.5).said()
    assert "TRAINING ADDED NOTHING beyond chance" in own._replace(update=0).said()
    assert own._replace(update=0, tried=0).said().startswith("no update was better than the plan")


@pytest.mark.slow
def test_training_adds_to_a_plan_that_is_too_careful() -> None:
    """A plan that expects a day to leave twice its GMV more or less keeps far more than it needs."""
    own = SMALL.model_copy(update={"reserve": 2.0, "updates": 30, "every": 10, "temperature": 0.5, "doubt": 0.0})
    policy = train_policy(untrained(), a_log(customers=60, days=14).log, own)
    assert policy.verdict is not None and policy.verdict.better and policy.verdict.update > 0
    assert policy.title == LEARNED


@pytest.mark.slow
def test_training_that_fails_leaves_the_plan_and_says_so() -> None:
    """Steps that are far too long: every policy that was tried is worse than the plan, which is kept."""
    own, told = SMALL.model_copy(update={"learning_rate": 1.0}), []
    policy = train_policy(untrained(), a_log(customers=60, days=14).log, own, say=lambda *own: told.append(own))
    assert [update for update, *_ in told] == [0, 2, 4] == policy.history[:, 0].tolist()
    assert policy.verdict is not None and policy.verdict.update == 0 and "ADDED NOTHING" in policy.verdict.said()
    assert policy.title == f"{LEARNED} (plan kept)"
    worlds, where = learned_worlds(untrained()), np.arange(EPISODES) % 2
    shape, params = policy.in_world(worlds, 4)
    plan = play_feedback(policy.game, shape, params, policy.plan, where, 3)
    assert (policy.play(shape, params, where, 3).offers == plan.offers).all()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["starts=3"], "starts=3: accepted with start='plan' is 1"),
        (["start=nothing", "temperature=0.1"], "temperature=0.1: says nothing with start=nothing; accepted is start="),
        (["start=plans"], "start='plans': accepted is 'plan' or 'nothing'"),
    ],
)  # fmt: skip
def test_settings_of_another_start_are_refused(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "log=none.csv", f"model={tmp_path}", f"out={tmp_path / 'new'}", *given])
    assert told in capsys.readouterr().err and not (tmp_path / "new").exists()
