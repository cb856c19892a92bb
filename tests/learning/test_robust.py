"""The robust critic: what its targets are, mode by mode, and that radius 0 is the plain learner."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import config, market
from marl_pricing.config import ConfigError
from marl_pricing.learning import mappo, rollout
from marl_pricing.learning.rollout import Played, Player
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.robust import Ambiguity, robust_targets
from tests.doors.compose import composed
from tests.learning.helpers import INDEX, QUICK, TINY, batch_of, rolled, started, update_of
from tests.sizes import at_once
from tests.traffic.visitors import with_sessions

INTERVAL = Ambiguity("interval", "expected", 0.2, (-0.2, -0.1, 0.0, 0.1, 0.2), True, (0.2,) * 5)
GRID = Ambiguity("kl", "expected", 0.3, (0.0, 0.3, 0.6), False, (1 / 3,) * 3)


# Agents that behave, choose and long as people do: every world is the same law.
NULL = ["traffic.mimicry=1", "market.agent.scale=0.25", "market.agent.level_sensitivity=1.0", "traffic.agent_share=0.3"]


def a_market(**settings):
    return with_sessions("bank", sessions=40, episode_length=7, **settings)


def learner(own, ambiguity, **settings) -> mappo.Mappo:
    return mappo.make_learner(LearnerSettings(**(TINY | settings)), *own, ambiguity)


@partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def _robustly_played(robust: mappo.Mappo, key, params, state):
    played = Played(robust.shape, params, ambiguity=robust.ambiguity, update=state.update, central=robust.central)
    player = Player(robust.actor, state.learnable.actor)
    return rollout.rollout(key, played, player, state.rollout, INDEX, 10)[1]


def robust_segment(own, robust: mappo.Mappo):
    """(state, segment with candidates)."""
    state = started(robust, own)
    return state, _robustly_played(robust, jax.random.key(5), own.params, state)


@pytest.mark.slow
def test_looking_into_other_worlds_changes_nothing_of_what_happens() -> None:
    own = a_market()
    robust = learner(own, INTERVAL)
    state, segment = robust_segment(own, robust)
    _, plain = rolled(learner(own, None), own, state)
    np.testing.assert_array_equal(segment.outcome.orders, plain.outcome.orders)
    np.testing.assert_array_equal(segment.indices[0], plain.indices[0])
    np.testing.assert_allclose(segment.outcome.reward, plain.outcome.reward, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(segment.observation.local, plain.observation.local, rtol=1e-5, atol=1e-6)
    assert segment.candidates.reward.shape == (10, 4, 5, 2)
    # The middle candidate of the interval is the nominal world itself.
    np.testing.assert_allclose(segment.candidates.reward[:, :, 2], plain.outcome.learning, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(segment.candidates.seen[:, :, 2], plain.following.state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("critic", at_once(["central", "local"]))
def test_targets_are_the_worst_candidate_by_hand(critic: str) -> None:
    own = a_market()
    by_draw = replace(INTERVAL, mode="per_draw")
    robust = learner(own, by_draw, critic=critic, value_normalisation="none", normalise_advantage=False)
    state, segment = robust_segment(own, robust)
    parameters, memory = state.learnable.critic, state.rollout.critic_memory
    gamma, lam = robust.settings.gamma, robust.settings.gae_lambda
    one_step, values = [], []
    for t in range(10):
        memory = jnp.where(segment.first[t][:, None, None], 0.0, memory)
        seen = segment.observation.state[t] if critic == "central" else segment.observation.local[t]
        value, memory = robust.critic.step(parameters, seen, memory)
        values.append(np.asarray(value[..., 0]))
        following = [
            robust.critic.step(parameters, segment.candidates.seen[t, :, k], memory)[0][..., 0] for k in range(5)
        ]
        each = np.asarray(segment.candidates.reward[t]) + gamma * np.stack(following, 1)
        one_step.append(each.min(1))
    advantage, later = np.zeros((10, 4, 2)), 0.0
    done = np.asarray(segment.done)
    for t in reversed(range(10)):
        later = one_step[t] - values[t] + gamma * lam * np.where(done[t], 0.0, later)
        advantage[t] = later
    batch = batch_of(robust, state, segment)
    np.testing.assert_allclose(batch.advantage, advantage, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(batch.target, advantage + np.stack(values), rtol=1e-3, atol=1e-3)


def test_modes_choose_as_they_say() -> None:
    values = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3, 5, 2)), jnp.float32)
    episodes = jnp.asarray(np.array([[0, 0, 1, 1, 1, 2]] * 3).T)
    chosen = {}
    for mode in ("per_seller", "nature", "fixed_world"):
        target, law = robust_targets(replace(INTERVAL, adversary=mode), values, jnp.float32(0.2), episodes)
        chosen[mode] = np.asarray(law.argmax(2))
        np.testing.assert_allclose(law.sum(2), 1.0, rtol=1e-6)
        np.testing.assert_allclose(target, (law * values).sum(2), rtol=1e-6)
    together = np.asarray(values.sum(-1))
    np.testing.assert_array_equal(chosen["per_seller"], np.asarray(values).argmin(2))
    np.testing.assert_array_equal(chosen["nature"], np.repeat(together.argmin(2)[..., None], 2, -1))
    for env in range(3):
        for episode, steps in ((0, [0, 1]), (1, [2, 3, 4]), (2, [5])):
            worst = together[steps, env].sum(0).argmin()
            assert (chosen["fixed_world"][steps, env] == worst).all(), episode


def test_one_seller_pessimism_is_deeper_than_natures_and_that_than_a_fixed_worlds() -> None:
    values = jnp.asarray(np.random.default_rng(1).normal(size=(50, 4, 5, 3)), jnp.float32)
    episodes = jnp.zeros((50, 4), jnp.int32)
    means = [
        float(robust_targets(replace(INTERVAL, adversary=mode), values, jnp.float32(0.2), episodes)[0].mean())
        for mode in ("per_seller", "nature", "fixed_world")
    ]
    assert means[0] < means[1] < means[2] < float(values.mean())


one_step = jax.jit(market.step, static_argnums=1, compiler_options=QUICK)


def plain_algorithm_1(own, robust, key, state, action, shares):
    """Algorithm 1 in NumPy: every candidate stepped alone, the smallest total reward happens."""
    rewards, worlds = [], []
    for share in shares:
        params = own.params.replace(traffic=own.params.traffic.replace(agent_share=jnp.float32(share)))
        world = one_step(key, own.shape, state, action, params)
        rewards.append(float(np.asarray(world[2].shaped).sum()))
        worlds.append(world)
    best = int(np.argmin(rewards))
    return best, rewards[best], worlds[best]


def test_algorithm_1_is_its_plain_transcription() -> None:
    own = a_market(reward={"unit_cost": 1.0, "coi_leakage": 0.5, "information_cost": 0.1})
    robust = learner(own, replace(INTERVAL, mode="algorithm_1"))
    state, segment = robust_segment(own, robust)
    assert segment.candidates is None
    shares = [0.05, 0.15, 0.25, 0.35, 0.45]
    market_state = jax.tree.map(lambda x: x[1], state.rollout.market)  # the second environment
    counted = set()
    for t in range(7):  # up to the end of the first episode
        step_key = jax.random.fold_in(jax.random.key(5), t)
        keys = jax.random.split(jax.random.fold_in(step_key, 1), 3)
        action = market.Action(segment.indices[0][t, 1])
        best, reward, world = plain_algorithm_1(own, robust, keys[1], market_state, action, shares)
        assert reward == pytest.approx(float(segment.outcome.shaped[t, 1].sum()), rel=1e-4, abs=1e-4)
        assert float(segment.outcome.agent_share[t, 1]) == pytest.approx(shares[best], abs=1e-6)
        np.testing.assert_allclose(segment.outcome.events[t, 1], world[2].events, rtol=1e-5)
        market_state = world[0]
        counted.add(best)
    assert len(counted) > 1


@pytest.mark.parametrize("mode", at_once(["expected", "per_draw", "algorithm_1"]))
def test_modes_train(mode: str) -> None:
    own = a_market()
    robust = learner(own, replace(INTERVAL, mode=mode))
    state, measures = update_of(robust, own)(started(robust, own))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.learnable))
    if mode == "algorithm_1":
        assert not {"pessimism", "radius", "candidate_0"} & set(measures)
    else:
        weights = [float(measures[f"candidate_{k}"]) for k in range(5)]
        assert sum(weights) == pytest.approx(1.0, abs=1e-4)
        assert float(measures["radius"]) == pytest.approx(0.2)
        assert mode == "expected" or float(measures["pessimism"]) > 0


@pytest.mark.slow
def test_targets_fall_as_the_radius_grows() -> None:
    values = jnp.asarray(np.random.default_rng(2).normal(size=(40, 4, 5, 2)), jnp.float32)
    episodes = jnp.zeros((40, 4), jnp.int32)
    for mode in ("per_seller", "nature", "fixed_world"):
        every = mode == "per_seller"  # the sets are the same for all: two are enough to see the others' sums
        # A smaller interval tries some of the candidates of the larger one.
        nested = [values[:, :, part] for part in (slice(2, 3), slice(1, 4), slice(0, 5))]
        names = ("interval", "kl", "chi2", "total_variation", "contamination", "wasserstein")
        for name in names if every else names[:2]:
            base = replace(INTERVAL if name == "interval" else GRID, set=name, adversary=mode)
            if name == "interval":
                each = [(replace(base, weights=(1 / v.shape[2],) * v.shape[2]), v, 0.1) for v in nested]
            else:
                each = [(base, values[:, :, :3], radius) for radius in (0.0, 0.1, 0.4)]
            means = [float(robust_targets(a, v, jnp.float32(r), episodes)[0].sum()) for a, v, r in each]
            by_step = [np.asarray(robust_targets(a, v, jnp.float32(r), episodes)[0].sum(-1)) for a, v, r in each]
            assert means[0] > means[1] > means[2], (mode, name)
            if mode != "fixed_world":  # whose steps may gain where its episode loses
                assert np.all(by_step[0] >= by_step[1] - 1e-5) and np.all(by_step[1] >= by_step[2] - 1e-5)


def test_a_radius_grows_over_the_updates() -> None:
    grown = replace(INTERVAL, anneal_updates=10)
    assert [float(grown.radius_at(jnp.int32(n))) for n in (0, 5, 10, 99)] == pytest.approx([0.0, 0.1, 0.2, 0.2])
    np.testing.assert_allclose(grown.candidates(jnp.float32(0.25), jnp.int32(0)), 0.25)
    np.testing.assert_allclose(grown.candidates(jnp.float32(0.1), jnp.int32(10)), np.linspace(0, 0.3, 5), atol=1e-6)


def test_radius_zero_is_the_plain_learner() -> None:
    assert composed("robust=interval", "robust.radius=0").learner == composed().learner
    built = composed("robust=interval").learner.ambiguity
    assert built.shares == pytest.approx(INTERVAL.shares) and replace(built, shares=INTERVAL.shares) == INTERVAL
    assert composed("robust=kl").learner.ambiguity.shares == pytest.approx((0.0, 0.15, 0.3, 0.45, 0.6))


@pytest.mark.slow
def test_who_does_not_fear_learns_from_what_he_is_paid() -> None:
    own, targets = a_market(), {}
    for name, ambiguity in (("all", INTERVAL), ("one", replace(INTERVAL, sellers=(1,))), ("none", None)):
        made = learner(own, ambiguity, normalise_advantage=False)
        state = started(made, own)
        batch, _, measures = mappo.prepare(made, state, own.params, jnp.arange(made.settings.num_envs))
        targets[name] = np.asarray(batch.target), measures
    np.testing.assert_allclose(targets["one"][0][..., 1], targets["all"][0][..., 1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(targets["one"][0][..., 0], targets["none"][0][..., 0], rtol=1e-5, atol=1e-5)
    assert np.abs(targets["all"][0] - targets["none"][0]).max(axis=(0, 1)).min() > 1e-3
    # Pessimism is that of the sellers who fear.
    assert 0 < float(targets["one"][1]["pessimism"]) != float(targets["all"][1]["pessimism"])


def test_sellers_who_fear_have_a_number_or_a_name() -> None:
    assert composed("robust=interval", "robust.sellers=[1]").learner.ambiguity.sellers == (1,)
    assert composed("robust=interval", "robust.sellers=[2,0,1]").learner.ambiguity == composed(
        "robust=interval").learner.ambiguity  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["robust=interval", "robust.sellers=[3]"], "robust.sellers='3': accepted is a seller from 0 to 2"),
        (["robust=interval", "robust.sellers=[1,1]"], "robust.sellers=[1, 1]: accepted is different sellers"),
        (["robust=interval", "robust.sellers=[]"], "robust.sellers"),
        (["robust=interval", "robust.sellers=[0]", "robust.adversary=nature"], "accepted is all with robust.adversary"),
        (["robust=interval", "robust.sellers=[0]", "robust.mode=algorithm_1"], "accepted is all with robust.mode"),
        (["robust=interval", "robust.radius=-0.1"], "robust.radius=-0.1: accepted is a number of at least 0"),
        (["robust=interval", "robust.radius=nan"], "robust.radius=nan"),
        (["robust=interval", "robust.radius=inf"], "robust.radius=inf"),
        (["robust=interval", "robust.radius=2"], "robust.radius=2.0: accepted is at most 1"),
        (["robust=interval", "robust.num_candidates=0"], "robust.num_candidates=0"),
        (["robust=interval", "robust.num_candidates=1"], "robust.num_candidates=1: accepted is at least 2"),
        (["robust=kl", "robust.mode=algorithm_1"], "robust.mode='algorithm_1': accepted is another mode"),
        (["robust=kl", "robust.low=0.7"], "robust.low=0.7: accepted is below robust.high=0.6"),
        (["robust=kl", "robust.high=1.5"], "robust.high=1.5"),
        (["robust=interval", "robust.mode=minimax"], "robust.mode='minimax'"),
        (["robust=interval", "robust.mode=nature"], "robust.mode='nature'"),
        (
            ["robust=interval", "robust.mode=algorithm_1", "robust.adversary=fixed_world"],
            "robust.adversary='fixed_world'",
        ),
        (["robust=interval", "traffic=analytic", "market.agent=null"], "robust.set='interval': accepted is 'none'"),
    ],
)
def test_bad_robust_settings_are_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(*overrides)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def told(*overrides: str) -> list[str]:
    """What a robust learner is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        composed("robust=interval", *overrides)
    return [str(own.message) for own in caught if "robust." in str(own.message)]


def test_worlds_that_are_alike_or_to_one_side_are_warned_of() -> None:
    assert told() == []
    assert told("robust.mode=per_draw", "traffic.sessions_per_epoch=600") == []
    alike = told(*NULL)
    assert len(alike) == 1 and "all worlds are one law: there is nothing to be robust against" in alike[0]
    for share, worlds in ((0, "from 0 to 0.2"), (1, "from 0.8 to 1")):
        (one_side,) = told(f"traffic.agent_share={share}")
        assert f"traffic.agent_share={share}: all worlds" in one_side and worlds in one_side
    by_draws = told(*NULL, "robust.mode=per_draw")
    assert "all worlds are one law" in by_draws[0] and "plain learner" in alike[0] and "plain" not in by_draws[0]


@pytest.mark.slow
def test_how_much_profit_noisy_draws_fear_is_warned_of() -> None:
    noisy = [told(*NULL, f"robust.mode={mode}", f"traffic.sessions_per_epoch={n}")
             for mode, n in (("per_draw", 240), ("per_draw", 60), ("algorithm_1", 60))]  # fmt: skip
    size = [float(re.search(r"fears ([0-9.]+) % of profit", own[1])[1]) for own in noisy]
    # About as 1 / sqrt(shoppers); three sellers' sum is less noisy than each.
    assert 1.5 < size[1] / size[0] < 2.2
    assert 10 < size[1] < 40 and 0.3 * size[1] < size[2] < 0.9 * size[1]


def test_a_run_from_before_modes_were_told_apart_keeps_its_meaning() -> None:
    settings = composed("robust=interval", "robust.mode=per_draw", "robust.adversary=nature").settings
    text = config.to_yaml(settings)
    assert "  mode: per_draw\n" in text and "  adversary: nature\n" in text
    old = text.replace("  mode: per_draw\n", "  mode: nature\n").replace("  adversary: nature\n", "")
    assert config.from_yaml(old, "config.yaml") == settings
    picked = config.to_yaml(composed("robust=interval", "robust.mode=algorithm_1").settings)
    known = config.from_yaml(picked.replace("  adversary: per_seller\n", ""), "config.yaml").robust
    assert known.mode == "algorithm_1"
    plain = config.to_yaml(composed().settings).replace("  mode: expected\n", "  mode: per_seller\n")
    assert config.from_yaml(plain.replace("  adversary: per_seller\n", ""), "config.yaml").robust.mode == "expected"


@pytest.mark.parametrize("name", ["interval", "contamination", "total_variation", "kl", "chi2", "wasserstein"])
@pytest.mark.parametrize("adversary", ["per_seller", "nature", "fixed_world"])
def test_worlds_that_are_known_to_be_alike_leave_the_plain_target(name: str, adversary: str) -> None:
    random = np.random.default_rng(3)
    values = jnp.asarray(5.0 + random.normal(size=(6, 4, 5, 3)), jnp.float32)
    plain = jnp.asarray(5.0 + random.normal(size=(6, 4, 3)), jnp.float32)
    known = 1e-6 * jnp.asarray(random.normal(size=values.shape), jnp.float32)
    known = known.at[:, 2:, 3].add(-1.0)  # in half of the markets one world is worse
    own = replace(INTERVAL, set=name, adversary=adversary)
    episodes = jnp.zeros((6, 4), jnp.int32)
    target, law = robust_targets(own, values, jnp.float32(0.2), episodes, known=known, plain=plain)
    np.testing.assert_array_equal(target[:, :2], plain[:, :2])
    np.testing.assert_allclose(law[:, :2], 0.2, rtol=1e-6)
    assert np.all(np.asarray(law[:, 2:, 3]) > 0.2) and np.all(np.asarray(target[:, 2:]) != np.asarray(plain[:, 2:]))
