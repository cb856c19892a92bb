"""Candidate worlds beyond the share of agents: what each is, and that learners look into it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.config import ConfigError, Experiment, worlds
from marl_pricing.config.market_settings import Calibration
from marl_pricing.config.robust import Robust
from marl_pricing.demand import propensities
from marl_pricing.laws import demand_distances
from marl_pricing.market import Variants
from marl_pricing.robust.targets import robust_targets
from tests.doors.compose import composed
from tests.learning.helpers import QUICK, started, update_of
from tests.learning.test_robust import GRID
from tests.markets import programs

SMALL = [
    "traffic.sessions_per_epoch=40", "learner.num_envs=4", "learner.num_steps=6", "learner.num_minibatches=2",
    "learner.hidden_size=8", "learner.num_epochs=1", "learner.devices=1", "traffic.bank.size=256",
]  # fmt: skip
SCALES = "{factor:demand_scale,values:[0.5,1,2]}"
DELAYS = "{factor:lead_time,values:[0,2]}"
KERNELS = "{factor:kernels,values:[0,1]}"
GROCERY = [*SMALL, "market=calibrated", "market.path=examples/grocery/market.yaml"]


def built_with(*overrides: str):
    return composed(*SMALL, *overrides)


def test_every_combination_is_a_world_with_a_name() -> None:
    own = built_with(
        "robust=contamination", f"robust.worlds=[agent_share,{SCALES},{DELAYS}]", "robust.num_candidates=2"
    )
    ambiguity, variants = own.learner.ambiguity, own.market.params.variants
    assert ambiguity.num_candidates == 12 == len(ambiguity.labels) == len(ambiguity.weights)
    assert ambiguity.labels[0] == "demand x0.5, orders +0, agents 0"
    assert ambiguity.labels[-1] == "demand x2, orders +2, agents 0.6"
    np.testing.assert_allclose(variants.demand_scale, [0.5, 0.5, 1, 1, 2, 2])
    np.testing.assert_array_equal(variants.delay, [0, 2, 0, 2, 0, 2])
    # Distances add: log demand, epochs, shares.
    apart = np.asarray(replace(ambiguity, set="wasserstein").metric())
    assert apart[0, -1] == pytest.approx(np.log(4) + 2 + 0.6, rel=1e-5)
    assert (np.diag(apart) == 0).all() and (apart == apart.T).all()
    # The market has room for the dearest of them.
    plain = built_with()
    assert own.market.shape.inventory.max_lead_time == plain.market.shape.inventory.max_lead_time + 2
    assert own.market.shape.traffic.capacity == 2 * plain.market.shape.traffic.capacity


def test_variants_are_what_a_market_with_those_numbers_does() -> None:
    own = built_with("robust=contamination", f"robust.worlds=[{SCALES},{DELAYS},{KERNELS}]")
    shape, params = own.market
    state, _ = programs.reset(jax.random.key(0), shape, params)
    state = state.replace(stock=jnp.minimum(state.stock, 3.0))
    action = market.Action(jnp.full((shape.num_sellers, shape.num_products), 4))
    shares = jnp.array([0.1, 0.7])
    run = jax.jit(lambda key: market.step_variants(key, shape, state, action, params, params.variants, shares))
    _, seen, outcome = run(jax.random.key(1))
    assert outcome.demand.shape == (24, shape.num_offers)
    one = jax.jit(lambda params: market.step(jax.random.key(1), shape, state, action, params))
    for index in (0, 5, 10, 23):
        variant = jax.tree.map(lambda leaf, index=index: leaf[index // 2], params.variants)
        varied = market.vary(params, variant)
        alone = one(varied.replace(traffic=varied.traffic.replace(agent_share=shares[index % 2])))
        np.testing.assert_array_equal(outcome.demand[index], alone[2].demand)
        np.testing.assert_allclose(outcome.reward[index], alone[2].reward, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(seen.state[index], alone[1].state, rtol=1e-5, atol=1e-5)
    totals = np.asarray(outcome.demand).sum(-1).reshape(3, 2, 2, 2)
    assert (totals[0] <= totals[1]).all() and (totals[1] <= totals[2]).all() and totals[0].sum() < totals[2].sum()
    # Agents that behave as people are suspected less; only where there are many of them does it show.
    suspicion = np.asarray(outcome.suspicion).reshape(3, 2, 2, 2)
    assert (suspicion[:, :, 1, 1] < suspicion[:, :, 0, 1]).all()
    # Orders placed now come later by the delay.
    pipelines = np.asarray(seen.state)
    assert np.abs(pipelines[0] - pipelines[4]).max() > 0


@pytest.mark.slow
def test_calibration_worlds_are_the_estimates_and_their_errors() -> None:
    own = composed(*GROCERY, "robust=kl", "robust.worlds=calibration", "robust.num_candidates=64")
    told, params, shape = own.settings.market.calibration, own.market.params, own.market.shape.demand
    variants = params.variants.choice
    # The first world is the market itself.
    np.testing.assert_allclose(variants.quality[0], params.demand.choice.quality, rtol=1e-5)
    slopes = -1.0 / np.asarray(variants.scale[:, 0])
    assert slopes.max() < 0
    assert slopes.mean() == pytest.approx(told.slope, abs=0.1 * told.slope_error)
    assert slopes.std() == pytest.approx(told.slope_error, rel=0.1)
    # Log attraction at the reference price has its own error and is not moved by the slope.
    at = np.log(np.asarray(jax.vmap(lambda choice: rates(shape, params, choice, told))(variants))[:, 0])
    outside = np.log1p(-np.exp(at).sum(1, keepdims=True))
    attraction = at - outside
    np.testing.assert_allclose(attraction.std(0), told.level_error, rtol=0.15)
    assert np.abs(np.corrcoef(slopes, attraction.T)[0, 1:]).max() < 0.35


def rates(shape, params, choice, told):
    own = params.demand.replace(choice=choice)
    num = shape.num_offers
    return propensities(shape, own, jnp.asarray(told.reference_price), jnp.ones(num), jnp.ones(num, bool))


def test_an_interval_of_estimates_is_as_wide_as_its_radius() -> None:
    widths = []
    for radius in (1.0, 3.0):
        errors = worlds.draw_errors(33, 4, radius)
        assert np.abs(errors).max() <= radius and (errors[0] == 0).all()
        widths.append(np.abs(errors).max())
    assert widths[1] == pytest.approx(3 * widths[0])
    np.testing.assert_allclose(worlds.draw_errors(257, 3, None)[1:].std(0), 1.0, atol=0.05)
    told = Calibration(
        path="", sha256="", sellers=["a"], products=["x", "y"], slope=-2.0, slope_error=0.5, reference_price=[1.0, 2.0],
        level_error=[0.1, 0.2],
    )  # fmt: skip
    own = composed("market/demand=power", "market.num_sellers=2").market.params.demand.choice
    steeper = worlds.calibrated_choice(own, told, np.array([-2.0, 1.0, -1.0]))
    np.testing.assert_allclose(steeper.elasticity, own.elasticity * 1.5, rtol=1e-6)
    np.testing.assert_allclose(steeper.popularity / own.popularity, np.exp([[0.1, -0.2]] * 2), rtol=1e-6)
    flat = worlds.calibrated_choice(own, told, np.array([40.0, 0.0, 0.0]))
    assert float(flat.elasticity.max()) < 0


DRAWS = np.random.default_rng(3).multivariate_normal([-2.0, -1.2], [[0.09, 0.03], [0.03, 0.04]], 64)


def own_elasticities() -> Calibration:
    lines = [" ".join(map(str, row)) for row in DRAWS.tolist()]
    return Calibration.model_validate(
        {"path": "", "sha256": "", "sellers": ["a", "b"], "products": ["x", "y"], "slope": -1.6, "slope_error": 0.1,
         "reference_price": [1.0, 2.0], "level_error": [0.1, 0.2], "elasticity_draws": lines}
    )  # fmt: skip


def power_market() -> Experiment:
    return composed(
        "market/demand=power", "market.num_sellers=2", "market.demand.elasticity=[-2.0,-1.2]",
        "market.agent.elasticity=[-4.0,-2.4]",
    )  # fmt: skip


def test_worlds_are_the_draws_of_each_offers_elasticity() -> None:
    told, built = own_elasticities(), power_market()
    own = Robust.model_validate({"set": "kl", "radius": 0.1, "num_candidates": 9, "worlds": "calibration"})
    market, ambiguity = worlds.build_ambiguity(own, built.market, told, built.settings.traffic)
    drawn = np.asarray(market.params.variants.choice.elasticity)  # [K, Y, N]
    np.testing.assert_allclose(drawn[0, 0], [-2.0, -1.2], rtol=1e-6)
    np.testing.assert_allclose(drawn[1:, 0], DRAWS[:8], rtol=1e-5)
    # Agents are off by the same share.
    np.testing.assert_allclose(drawn[:, 1], 2.0 * drawn[:, 0], rtol=1e-5)
    assert len(ambiguity.labels) == 9
    # Worlds that are far apart by the posterior's own measure are far apart.
    apart = np.linalg.inv(np.linalg.cholesky(np.cov(DRAWS.T))) @ (DRAWS[:8] - [-2.0, -1.2]).T
    where = np.array(ambiguity.others)
    np.testing.assert_allclose(np.linalg.norm(where[1:, :2], axis=1), np.linalg.norm(apart, axis=0), rtol=1e-4)


def test_an_interval_holds_each_offers_elasticity() -> None:
    told, built = own_elasticities(), power_market()
    own = Robust.model_validate({"set": "interval", "radius": 1.5, "num_candidates": 33, "worlds": "calibration"})
    market, _ = worlds.build_ambiguity(own, built.market, told, built.settings.traffic)
    off = np.asarray(market.params.variants.choice.elasticity)[:, 0] - [-2.0, -1.2]
    variances, axes = np.linalg.eigh(np.cov(DRAWS.T))
    assert np.abs(off @ axes / np.sqrt(variances)).max() <= 1.5 + 1e-4
    assert np.abs(off @ axes / np.sqrt(variances)).max() > 1.3
    assert np.corrcoef(off.T)[0, 1] > 0.2  # as the posterior's


def test_draws_that_fit_no_market_are_refused() -> None:
    data = own_elasticities().model_dump()
    assert data["elasticity_draws"][0].count(" ") == 1  # a line a draw
    assert Calibration.model_validate(data).model_dump() == data
    with pytest.raises(ValueError, match=r"elasticity_draws=\[-1\.0\]: accepted is lines of 2 numbers"):
        Calibration.model_validate(data | {"elasticity_draws": ["-1"]})
    with pytest.raises(ValueError, match="valid list"):
        Calibration.model_validate(data | {"elasticity_draws": ["-1 high"]})


@pytest.mark.slow
def test_an_interval_of_estimates_can_grow() -> None:
    own = composed(
        *GROCERY, "robust=interval", "robust.radius=2", "robust.worlds=calibration", "robust.anneal_updates=10"
    )
    ambiguity, params = own.learner.ambiguity, own.market.params
    none, half, full = (ambiguity.variants(params, jnp.int32(n)).choice.quality for n in (0, 5, 10))
    nominal = params.demand.choice.quality
    np.testing.assert_allclose(none, jnp.broadcast_to(nominal, none.shape), rtol=1e-6)
    np.testing.assert_allclose(half, 0.5 * (nominal + full), rtol=1e-5)
    np.testing.assert_allclose(full, params.variants.choice.quality)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["robust=contamination", f"robust.worlds=[agent_share,{SCALES}]", "robust.num_candidates=2"],
        ["robust=wasserstein", f"robust.worlds=[{KERNELS},{DELAYS}]", "robust.metric=demand"],
        pytest.param(
            ["market=calibrated", "market.path=examples/grocery/market.yaml", "robust=interval", "robust.radius=2",
             "robust.worlds=calibration", "robust.mode=algorithm_1"], marks=pytest.mark.slow),
    ],
    ids=["demand scale", "kernels and delays, demand metric", "calibration, algorithm 1"],
)  # fmt: skip
def test_learners_look_into_them(overrides: list[str]) -> None:
    own = built_with(*overrides)
    state, measures = update_of(own.learner, own.market)(started(own.learner, own.market))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.learnable))
    if "robust.mode=algorithm_1" not in overrides:
        # Beside the worst of them, a law over worlds also holds better ones than the nominal.
        assert np.isfinite(float(measures["pessimism"])) and float(measures["radius"]) > 0
        weights = [float(measures[f"candidate_{k}"]) for k in range(own.learner.ambiguity.num_candidates)]
        assert sum(weights) == pytest.approx(1.0, abs=1e-4)


def test_demand_samples_make_a_metric() -> None:
    demand = jnp.array([[4.0, 6.0], [2.0, 6.0], [4.0, 4.0]])  # totals 10, 8, 8
    apart = np.asarray(demand_distances(demand))
    np.testing.assert_allclose(apart * 26 / 3, [[0, 2, 2], [2, 0, 4], [2, 4, 0]], rtol=1e-6)
    values = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2, 3, 2)), jnp.float32)
    samples = jnp.asarray(np.random.default_rng(1).poisson(9.0, (5, 2, 3, 4)), jnp.float32)
    own = replace(GRID, set="wasserstein", demand_metric=True)
    episodes = jnp.zeros((5, 2), jnp.int32)
    run = jax.jit(lambda radius: robust_targets(own, values, radius, episodes, samples)[0], compiler_options=QUICK)
    got = [np.asarray(run(jnp.float32(radius))) for radius in (0.0, 0.05, 0.2, 5.0)]
    np.testing.assert_allclose(got[0], values.mean(2), rtol=1e-5, atol=1e-6)
    assert all((b <= a + 1e-5).all() and (b < a).any() for a, b in pairwise(got))
    np.testing.assert_allclose(got[-1], values.min(2), rtol=1e-5, atol=1e-5)
    # One cell by hand: a metric given as a matrix is the same.
    cell = np.asarray(demand_distances(samples[3, 1]))
    alone = replace(own, demand_metric=False, distances=tuple(map(tuple, cell.tolist())))
    one = robust_targets(alone, values[3:4, 1:2], jnp.float32(0.05), episodes[:1, :1])[0]
    np.testing.assert_allclose(one[0, 0], got[1][3, 1], rtol=1e-4, atol=1e-5)


def test_variants_that_say_nothing_change_nothing() -> None:
    params = composed().market.params
    assert market.vary(params, Variants()) == params or jax.tree.all(
        jax.tree.map(lambda a, b: bool((a == b).all()), market.vary(params, Variants()), params)
    )


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["robust=kl", "robust.worlds=[]"], "robust.worlds=[]: accepted is at least one of agent_share"),
        (["robust=kl", "robust.worlds=weather"], "robust.worlds='weather': accepted is agent_share"),
        (["robust=kl", "robust.worlds=[agent_share,agent_share]"], "accepted is a list of different factors"),
        (["robust=kl", "robust.worlds=demand_scale"], "robust.worlds.demand_scale=None: accepted is a list of values"),
        (["robust=kl", "robust.worlds=[{factor:demand_scale,values:[0,1]}]"], "accepted is different factors above 0"),
        (["robust=kl", "robust.worlds=[{factor:lead_time,values:[0.5]}]"], "whole numbers of epochs, 0 or more"),
        (["robust=kl", "robust.worlds=[{factor:kernels,values:[2]}]"], "accepted is different shares in [0, 1]"),
        (["robust=kl", "robust.worlds=[{factor:agent_share,values:[-1,2]}]"], "shares of which some lie in [0, 1]"),
        (["robust=kl", "robust.worlds=[{factor:calibration,values:[1]}]"], "accepted is no values"),
        (["robust=kl", "robust.worlds=calibration"], "a market without estimates"),
        (["robust=kl", "robust.worlds=[{factor:demand_scale,values:[1]}]"], "values that make at least 2 worlds"),
        (["robust=kl", "robust.num_candidates=33", f"robust.worlds=[agent_share,{SCALES}]"], "at most 64 combinations"),
        (["robust=interval", f"robust.worlds=[{SCALES}]"], "robust.set='interval': accepted is another set"),
        (["robust=interval", f"robust.worlds=[agent_share,{SCALES}]", "robust.anneal_updates=3"],
         "robust.anneal_updates=3"),
        (["robust=kl", f"robust.worlds=[{DELAYS}]", "market/inventory=unlimited"], "other factors where nothing is"),
        (["robust=kl", f"robust.worlds=[{KERNELS}]", "traffic=analytic"], "without sessions that are drawn"),
        (["robust=kl", f"robust.worlds=[{KERNELS}]", "traffic.bank.refresh=true"], "traffic.bank.refresh=true"),
        (["robust=kl", "robust.metric=demand"], "robust.metric='demand': accepted is 'worlds' with robust.set=kl"),
        (["robust=wasserstein", "robust.metric=demand", "robust.adversary=fixed_world"], "robust.metric='demand'"),
        (["robust=wasserstein", "robust.metric=[[0,1],[1,0]]"], "accepted is a matrix of 5 rows of 5"),
        (["robust=wasserstein", "robust.num_candidates=2", "robust.metric=[[0,1],[2,0]]"], "robust.metric[0][1]=1.0"),
        (["robust=wasserstein", "robust.num_candidates=2", "robust.metric=[[0,1],[-1,0]]"], "robust.metric[1][0]=-1"),
        (["traffic=analytic", "market.agent=null", "traffic.agent_share=0", "+traffic.mimicry=0.5"],
         "traffic.mimicry=0.5"),
    ],
)  # fmt: skip
def test_worlds_that_cannot_be_are_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(*overrides)
    assert told in str(caught.value) and "\n" not in str(caught.value)
