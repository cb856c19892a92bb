"""Worlds that episodes draw for themselves: what is drawn, who is told, and what is learned from them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import config, market
from marl_pricing.equilibrium import static
from marl_pricing.learning import rollout
from marl_pricing.learning.learner import init
from marl_pricing.learning.learners import LEARNERS, make_learner
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.rollout import Played, Player
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.worlds import Laws, Range, Values, WorldGame, draw, world_params
from marl_pricing.market import Variants
from tests.doors.compose import composed
from tests.learning.helpers import INDEX, QUICK, TINY
from tests.markets import make

AGENTS: dict[str, Any] = {"episode_length": 4, "agent": {"scale": 0.1}}
SCALES = (0.5, 1.0, 2.0)
BASE = ["market.num_sellers=2", "learner.num_envs=4"]


def own_market():
    return make({"agent_share": 0.25}, observe_alpha=True, observe_omega=True, **AGENTS)


def segment_of(own: Any, laws: Laws | None, num_steps: int = 10):
    """A segment of an actor that knows nothing yet, whatever its critic would be told."""
    game: Any = market if laws is None else WorldGame()
    params = own.params if laws is None else world_params(own.params, laws)
    learner = make_learner(LearnerSettings(**TINY), own.shape, params, game=game)

    def play(params: Any):
        actor = learner.actor.init(jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), 4)
        state = rollout.start(keys, own.shape, params, learner.actor, learner.critic_spec, game)
        played = Played(own.shape, params, game)
        return rollout.rollout(jax.random.key(2), played, Player(learner.actor, actor), state, INDEX, num_steps)

    # The market's numbers are arguments, as in a training: as constants they would be folded into other roundings.
    return jax.jit(play, compiler_options=QUICK)(params)


def test_laws_of_one_point_are_the_market_bit_for_bit() -> None:
    """The same program with the same numbers: nothing is left to be drawn."""
    scales = "worlds.factors=[{factor: demand_scale, values: [1.0]}]"
    drawn = composed(*BASE, "worlds.omega={low: 0.3, high: 0.3}", "worlds.agent_share={values: [0.4]}", scales)
    fixed = composed(*BASE, "market.reward.omega=0.3", "traffic.agent_share=0.4")
    assert drawn.learner == fixed.learner
    for one, other in zip(jax.tree.leaves(drawn.params), jax.tree.leaves(fixed.params), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_draw_among_equal_worlds_is_the_market_but_for_rounding() -> None:
    own = own_market()
    params = own.params.replace(reward=own.params.reward.replace(omega=jnp.full((2,), 0.3)))
    laws = Laws(
        agent_share=Values(jnp.array([0.25])),
        omega=Range(jnp.float32(0.3), jnp.float32(0.3)),
        variants=Variants(demand_scale=jnp.ones((2,))),
        coordinates=jnp.zeros((2, 1)),
    )
    _, plain = segment_of(own._replace(params=params), None)
    _, drawn = segment_of(own, laws)
    for name in ("indices", "log_prob", "outcome", "done", "restarted"):
        for one, other in zip(
            jax.tree.leaves(getattr(plain, name)), jax.tree.leaves(getattr(drawn, name)), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=3e-6, atol=3e-6, err_msg=name)
    np.testing.assert_array_equal(plain.indices[0], drawn.indices[0])
    np.testing.assert_array_equal(plain.observation.local, drawn.observation.local)
    np.testing.assert_array_equal(plain.observation.state, drawn.observation.state[..., :-3])


def test_an_episode_keeps_its_world_and_the_next_one_draws_another() -> None:
    own = own_market()
    laws = Laws(
        agent_share=Range(jnp.float32(0.1), jnp.float32(0.9)),
        omega=Values(jnp.array([0.0, 0.5, 1.0])),
        variants=Variants(demand_scale=jnp.array(SCALES)),
        coordinates=jnp.log(jnp.array(SCALES))[:, None],
    )
    _, segment = segment_of(own, laws, num_steps=40)
    told, local = np.asarray(segment.observation.state)[..., -3:], np.asarray(segment.observation.local)
    first = np.asarray(segment.first)
    assert (first.sum(0) == 10).all()
    for env in range(4):
        episodes = np.split(told[:, env], np.flatnonzero(first[:, env])[1:])
        assert all((episode == episode[0]).all() for episode in episodes)
        assert len({tuple(episode[0]) for episode in episodes}) > 5
    share, omega, scale = np.moveaxis(told, -1, 0)
    assert share.min() > 0.1 and share.max() < 0.9 and np.unique(share).size > 30
    assert set(np.unique(omega)) == {0.0, 0.5, 1.0}
    # What sellers are told of it, and what it does: rewards are shaped by ω, and shoppers come by the scale.
    names = market.layout(own.shape)
    at = [
        next(n for n, name in enumerate(names) if name.startswith(text)) for text in ("share of agents", "own weight")
    ]
    np.testing.assert_array_equal(local[..., at[0]], np.broadcast_to(share[..., None], local.shape[:-1]))
    np.testing.assert_array_equal(local[..., at[1]], np.broadcast_to(omega[..., None], local.shape[:-1]))
    raw, shaped = np.asarray(segment.outcome.reward), np.asarray(segment.outcome.shaped)
    weight = omega[..., None]
    np.testing.assert_allclose(shaped, weight * raw + (1 - weight) * raw.sum(-1, keepdims=True), rtol=1e-5, atol=1e-4)
    # ten shoppers an epoch, of whom about as many buy in every world
    demand = np.asarray(segment.outcome.demand).sum(-1)
    low, mid, high = (demand[np.isclose(scale, np.log(own_scale))].mean() for own_scale in SCALES)
    assert low < 0.75 * mid < 0.5 * high


def test_values_and_ranges_are_drawn_evenly() -> None:
    laws = Laws(agent_share=Range(jnp.float32(0.2), jnp.float32(0.6)), omega=Values(jnp.array([0.0, 1.0])))
    drawn = jax.vmap(lambda key: draw(key, laws))(jax.random.split(jax.random.key(0), 4000))
    share, omega = np.asarray(drawn.agent_share), np.asarray(drawn.omega)
    assert drawn.variant is None
    # Four standard errors of a mean, of a half and of a correlation.
    assert share.mean() == pytest.approx(0.4, abs=4 * 0.4 / np.sqrt(12 * 4000))
    assert np.quantile(share, [0.25, 0.75]) == pytest.approx([0.3, 0.5], abs=0.02)
    assert omega.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))
    assert abs(np.corrcoef(share, omega)[0, 1]) < 4 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worlds.omega={low: 0.5}"], "accepted is laws with values, or with both low and high"),
        (["worlds.omega={values: [0.5], low: 0, high: 1}"], "accepted is laws with values, or with both low and high"),
        (["worlds.omega={low: 0.7, high: 0.2}"], "worlds.low=0.7: accepted is at most high=0.2"),
        (["worlds.omega={values: [1.5]}"], "worlds.omega.values[0]=1.5: accepted is a number of at most 1"),
        (["worlds.agent_share={values: [0.1]}", "market.agent=null", "traffic.agent_share=0"], "null without agents"),
        (
            ["worlds.agent_share={values: [0.1]}", "traffic.process.kind=drift"],
            "traffic.process.kind='drift': accepted is 'static' with worlds.agent_share",
        ),
        (["worlds.factors=[demand]"], "worlds.factors='demand': accepted is agent_share, demand_scale, lead_time"),
        (["worlds.factors=[agent_share]"], "worlds.agent_share is its law"),
        (["worlds.factors=[demand_scale]"], "worlds.factors.demand_scale=None: accepted is a list of values"),
        (
            ["worlds.factors=[{factor: demand_scale, values: [-1.0]}]"],
            "worlds.factors.demand_scale=[-1.0]: accepted is different factors above 0",
        ),
        (
            ["worlds.factors=[{factor: lead_time, values: [0, 1]}]", "market/inventory=unlimited"],
            "worlds.factors='lead_time': accepted is other factors where nothing is reordered",
        ),
        (["worlds.factors=[calibration]"], "worlds.factors='calibration': accepted is another factor in a market"),
        (
            ["worlds.omega={values: [0, 1]}", "robust=kl", "robust.radius=0.1"],
            "robust.set='kl': accepted is none with worlds that are drawn",
        ),
        (
            ["worlds.omega={values: [0, 1]}", "opponents.seats={1: myopic}"],
            "accepted is null with worlds that are drawn",
        ),
        (["market.features=[own_price, omega]"], "omega needs market.observe_omega=true"),
    ],
)
def test_worlds_that_cannot_be_drawn_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        composed(*BASE, *arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_settings_mean_their_laws_and_leave_the_market_that_is_judged_as_it_is() -> None:
    scales = "worlds.factors=[{factor: demand_scale, values: [0.5, 2.0]}, {factor: lead_time, values: [0, 1, 2]}]"
    own = composed(*BASE, "worlds.omega={low: 0, high: 1}", "worlds.agent_share={values: [0.1, 0.4]}", scales)
    laws = own.params.laws  # type: ignore[attr-defined]
    assert laws.coordinates.shape == (6, 2)
    np.testing.assert_allclose(laws.coordinates.mean(0), 0.0, atol=1e-6)
    np.testing.assert_array_equal(laws.variants.demand_scale, np.repeat(np.float32([0.5, 2.0]), 3))
    np.testing.assert_array_equal(laws.variants.delay, [0, 1, 2] * 2)
    assert not hasattr(own.market.params, "laws")
    plain = composed(*BASE)
    assert own.market.shape.inventory.max_lead_time == plain.market.shape.inventory.max_lead_time + 2
    assert own.learner.critic.in_size > plain.learner.critic.in_size
    assert own.learner.actor.in_size == plain.learner.actor.in_size


@pytest.mark.slow
def test_one_policy_that_sees_omega_learns_both_ends_of_the_duopoly() -> None:
    """Trained once; played at ω = 1, 0.5 and 0 it is within two grid steps of each one's exact prices, 5 of 5 seeds."""
    own = composed(
        "experiment=logit_duopoly", "learner.num_seeds=5", "market.observe_omega=true",
        "worlds.omega={values: [0, 0.5, 1]}", "market.episode_length=4", "learner.num_envs=48",
        "learner.num_updates=150",
    )  # fmt: skip
    program = Program(own.learner)
    params = program.stack(own.params)
    state, _ = program.train(program.init(params), params, own.learner.settings.num_updates)
    shape, fixed = own.market
    grid = np.asarray(fixed.prices.levels[0], np.float64)

    @jax.jit
    def played(actor: Any, omega: jax.Array) -> jax.Array:
        at = fixed.replace(reward=fixed.reward.replace(omega=jnp.full((2,), omega)))
        policy = learned_policy(own.learner, actor, greedy=True)
        before, seen = market.reset(jax.random.key(0), shape, at)
        action, _ = policy.act(actor, jax.random.key(1), policy.start(), seen, before, at)
        return action.price[:, 0]

    found = {}
    for omega in (1.0, 0.5, 0.0):
        at = fixed.replace(reward=fixed.reward.replace(omega=jnp.full((2,), omega)))
        exact = static.omega_equilibrium(shape, at).prices
        for seed in range(5):
            actor = jax.tree.map(lambda leaf, seed=seed: leaf[seed], state.learnable.actor)
            found[omega, seed] = grid[np.asarray(played(actor, jnp.float32(omega)))] - exact
    assert np.abs(list(found.values())).max() < 2 * (grid[1] - grid[0]), found


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_learns_in_worlds(name: str) -> None:
    """Traced only: what an update of it would be, and that its state stays of one form."""
    own = composed(
        f"learner={name}", "experiment=logit_duopoly", "market.observe_omega=true", "market.features=[omega]",
        "worlds.omega={values: [0, 1]}",
    )  # fmt: skip
    index = jnp.arange(own.learner.settings.num_envs)
    state = jax.eval_shape(lambda: init(own.learner, jnp.int32(0), own.params, index))
    after, _ = jax.eval_shape(lambda s: own.learner.update(s, own.params, index, lambda x: x), state)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert after.rollout.market.world.omega.shape == index.shape
