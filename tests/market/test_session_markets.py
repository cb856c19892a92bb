"""Markets that sessions visit: what sellers see, what penalties cost, learners and environments on top."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marl_pricing
from marl_pricing import market
from marl_pricing.learning import actions, mappo
from marl_pricing.learning.state import TrainState
from marl_pricing.market import Action, layout
from marl_pricing.policies import constant_nash, random
from tests.learning.helpers import INDEX, learner_of, rolled, started, update_of
from tests.markets import UNLIMITED, programs
from tests.traffic.visitors import with_sessions


def played(own, steps: int = 12, seed: int = 0):
    """Observations and outcomes [T, ...] at the middle price."""
    state, first = programs.reset(jax.random.key(seed), *own)
    still = Action(jnp.full((2, own.shape.num_products), 4))

    def epoch(state, key):
        state, seen, outcome = market.step(key, own.shape, state, still, own.params)
        return state, (seen, outcome, state)

    _, rest = jax.jit(lambda s: jax.lax.scan(epoch, s, jax.random.split(jax.random.key(seed + 1), steps)))(state)
    return first, *jax.tree.map(np.asarray, rest)


def column(own, seen, start: str) -> np.ndarray:
    """The entry of a local observation whose name begins so, [T, S]."""
    names = layout(own.shape)
    return seen.local[..., next(i for i, name in enumerate(names) if name.startswith(start))]


def test_sellers_see_their_share_of_the_proxy_its_change_and_suspicion() -> None:
    own = with_sessions("bank", sessions=40)
    first, seen, outcome, _ = played(own)
    share = outcome.events / outcome.events.sum(-1, keepdims=True)
    np.testing.assert_allclose(column(own, seen, "share of the demand proxy"), share * 2, rtol=1e-5)
    change = np.vstack([np.zeros(2), np.diff(share, axis=0)])
    np.testing.assert_allclose(column(own, seen, "change of that share"), change * 2, atol=1e-5)
    np.testing.assert_allclose(column(own, seen, "mean suspicion")[:, 0], outcome.suspicion, rtol=1e-6)
    names = layout(own.shape)
    assert len(names) == seen.local.shape[-1] == first.local.shape[-1] and len(set(names)) == len(names)
    assert np.all(np.isfinite(seen.local)) and np.all(np.isfinite(seen.state))


def test_the_running_estimate_finds_the_share_of_agents() -> None:
    for share in (0.1, 0.6):
        own = with_sessions("bank", sessions=200, agent_share=share, episode_length=200)
        *_, state = played(own, 150)
        # Mean of 150 epochs, a tenth of the newest weighs as much as nineteen: noise of a few hundredths.
        assert np.mean(state.share_estimate[30:]) == pytest.approx(share, abs=0.05)


def test_what_is_lost_to_agents_is_fined() -> None:
    traffic = {"markup": {"strength": 0.5}}
    reward = {"unit_cost": 1.0}
    plain = with_sessions("bank", sessions=200, agent_share=0.6, traffic=traffic, reward=reward, inventory=UNLIMITED)
    fined = with_sessions(
        "bank", sessions=200, agent_share=0.6, traffic=traffic, reward=reward | {"agent_loss": 2.0}, inventory=UNLIMITED
    )
    (_, _, base, _), (_, _, got, _) = played(plain), played(fined)
    lost = np.maximum(((base.price_linked - base.price_paid) * base.sales), 0.0)
    assert lost.sum() > 0
    np.testing.assert_allclose(base.reward - got.reward, 2.0 * lost, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", ["symmetric", "relative"])
def test_the_error_of_the_proxy_is_fined_in_both_forms(form: str) -> None:
    reward = {"unit_cost": 1.0, "estimate_error": 3.0, "error_form": form}
    own = with_sessions("bank", sessions=40, reward=reward, inventory=UNLIMITED)
    bare = with_sessions("bank", sessions=40, reward={"unit_cost": 1.0}, inventory=UNLIMITED)
    (_, _, got, _), (_, _, base, _) = played(own), played(bare)
    people, events = base.orders[:, 0], base.events
    apart = np.abs(people - events)
    error = apart / (people + 1e-6) if form == "relative" else apart / np.maximum(people + events, 1e-6)
    np.testing.assert_allclose(base.reward - got.reward, 3.0 * error, rtol=1e-3, atol=2e-3)
    if form == "symmetric":
        assert error.max() <= 1.0


REVEAL = {"unit_cost": 1.0, "coi_leakage": 0.5, "information_cost": 0.1, "information_value": "revelation"}


def test_revelation_costs_the_surprise_of_the_sellers_own_policy() -> None:
    own = with_sessions("bank", sessions=40, reward=REVEAL, inventory=UNLIMITED, num_products=2)
    bare = with_sessions("bank", sessions=40, reward={"unit_cost": 1.0}, inventory=UNLIMITED, num_products=2)
    learner = learner_of(own)
    state = started(learner, own)
    _, segment = rolled(learner, own, state)
    price = segment.indices[0]
    heads = actions.split_heads(own.shape, learner_logits(learner, state, segment), None)
    surprise = -actions.log_prob(heads[:1], [price])
    np.testing.assert_allclose(surprise, -segment.log_prob, rtol=1e-3, atol=1e-3)
    outcome = segment.outcome
    profit = (outcome.price_paid - bare.params.reward.unit_cost) * outcome.sales
    raw = profit.reshape(*profit.shape[:-1], 2, 2).sum(-1)
    leak = 0.5 * 0.1 * (outcome.suspicion * outcome.visits)[..., None] * surprise / 2
    np.testing.assert_allclose(raw - outcome.reward, leak, rtol=1e-2, atol=1e-3)


def learner_logits(learner: mappo.Mappo, state: TrainState, segment) -> jax.Array:
    """Logits [T, E, S, A] of a segment, replayed."""
    memory = learner.actor.start(len(INDEX))

    def step(memory, at):
        local, first = at
        logits, memory = learner.actor.step(state.learnable.actor, local, jnp.where(first[:, None, None], 0.0, memory))
        return memory, logits

    return jax.lax.scan(step, memory, (segment.observation.local, segment.first))[1]


def test_revelation_needs_a_policy_that_says_how_probable_it_was() -> None:
    own = with_sessions("bank", reward=REVEAL)
    with pytest.raises(ValueError, match=r"information_value='constant'|accepted is 'constant'"):
        marl_pricing.parallel_env(own)
    state, _ = programs.reset(jax.random.key(0), *own)
    with pytest.raises(ValueError, match="needs the log-probability"):
        jax.eval_shape(
            lambda: market.step(jax.random.key(1), own.shape, state, Action(jnp.full((2, 1), 3)), own.params)
        )
    # Rules without chance reveal nothing; uniform ones log K each.
    for policy, surprise in ((constant_nash(*own), 0.0), (random(*own), -np.log(8))):
        seen = programs.observe(own.shape, own.params, state)
        action, _ = policy.act(policy.parameters, jax.random.key(2), policy.start(), seen, state, own.params)
        np.testing.assert_allclose(action.log_prob, surprise, rtol=1e-6)


@pytest.mark.slow
def test_a_new_bank_for_each_update_changes_the_shoppers_and_nothing_else() -> None:
    kept, fresh = (
        with_sessions("bank", sessions=40, traffic={"bank": {"size": 64, "refresh": on}}) for on in (False, True)
    )
    ended = {}
    for name, own in (("kept", kept), ("fresh", fresh)):
        learner = learner_of(own)
        update = update_of(learner, own)
        ended[name] = [tuple(np.asarray(update(started(learner, own))[1]["fill_rate"])) for _ in range(2)]
    assert ended["fresh"][0] == ended["fresh"][1] != ended["kept"][0]


def test_new_numbers_of_the_traffic_do_not_recompile() -> None:
    compiled = []

    @jax.jit
    def step(key, state, action, params):
        compiled.append(1)
        return market.step(key, shape, state, action, params)[2].reward

    for share, temperature in ((0.1, 0.2), (0.5, 0.9)):
        shape, params = with_sessions("bank", agent_share=share, traffic={"temperature": temperature})
        state, _ = programs.reset(jax.random.key(0), shape, params)
        step(jax.random.key(1), state, Action(jnp.full((2, 1), 3)), params)
    assert len(compiled) == 1


def test_a_grid_of_shares_is_one_vmap() -> None:
    own = with_sessions("bank", sessions=100)
    shares = jnp.array([0.0, 0.5, 1.0])
    state, _ = programs.reset(jax.random.key(0), *own)

    def agents_orders(share, params):
        params = params.replace(traffic=params.traffic.replace(agent_share=share))
        keys = jax.random.split(jax.random.key(1), 50)
        still = Action(jnp.full((2, 1), 3))
        return jax.vmap(lambda k: programs.step(k, own.shape, state, still, params)[2].orders)(keys).sum((0, 2))

    got = np.asarray(jax.jit(jax.vmap(agents_orders, in_axes=(0, None)))(shares, own.params))
    assert got[0, 1] == 0 < got[1, 1] < got[2, 1] and got[2, 0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("sub_slots", [1, 3])
def test_waves_of_sessions_serve_what_is_left(sub_slots: int) -> None:
    own = with_sessions("bank", sessions=60, sub_slots=sub_slots)
    assert own.shape.traffic.num_sessions == 60 // sub_slots
    *_, outcome, _ = played(own, 40)
    assert np.all(outcome.sales <= outcome.stock) and outcome.sales.sum() > 0
    np.testing.assert_allclose(outcome.visits, 60, atol=1.0)


def test_the_default_environment_is_visited_by_sessions() -> None:
    env = marl_pricing.parallel_env()
    assert env.shape.traffic.model == "bank"
    env.reset(seed=0)
    one = env.step(dict.fromkeys(env.agents, 3))[1]
    env.reset(seed=0)
    assert env.step(dict.fromkeys(env.agents, 3))[1] == one
