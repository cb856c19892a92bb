"""What a robust learner keeps of an epoch in other worlds: what happened in each, and what was expected of each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing import market
from marl_pricing.learning.expected_values import regressors
from marl_pricing.market import MarketParams, MarketShape, MarketState, Observation, Outcome
from marl_pricing.market.types import epoch_share
from marl_pricing.robust import Ambiguity
from marl_pricing.traffic import Conditions, knows_orders

Array = jax.Array


class Candidates(struct.PyTreeNode):
    """What a step leads to in K candidate worlds, every array [T, E, K, ...]."""

    seen: Array  # [T, E, K, G] global states after the step, or [T, E, K, S, O] local views for a local critic
    reward: Array  # [T, E, K, S] as learners use it
    terminated: Array  # [T, E, K, S] bool
    demand: Array | None  # [T, E, K, N] units, drawn, or expected where laws are chosen by expectations
    expected: market.Expectation | None = None  # where laws are chosen by expectations; this and the next two
    means: Array | None = None  # [T, E, K, S, 5] what explains differences, see `expected_values.regressors`
    noises: Array | None = None  # [T, E, K, S, 5]


def candidate_worlds(
    key: Array,
    shape: MarketShape,
    params: MarketParams,
    own: MarketState,
    action: market.Action,
    ambiguity: Ambiguity,
    update: Array | int,
    central: bool,
) -> tuple[MarketState, Observation, Outcome, Candidates | None]:
    """One epoch of one market in its nominal world and in the candidate ones, with the same random numbers.

    Under `algorithm_1` the candidate whose shaped rewards sum to the least is the one that happens; otherwise the
    nominal world happens, and the candidates are kept for the critic.
    """
    update = jnp.asarray(update)
    nominal = epoch_share(params, own)
    shares = ambiguity.candidates(nominal, update)
    stays = ambiguity.mode != "algorithm_1"
    happened = None
    if params.variants is not None:
        happened = market.step(key, shape, own, action, params) if stays else None
        worlds = market.step_variants(key, shape, own, action, params, ambiguity.variants(params, update), shares)
    elif stays:
        # One draw of the shoppers serves the nominal share and the others.
        both = market.step_candidates(key, shape, own, action, params, jnp.concatenate([nominal[None], shares]))
        happened, worlds = (jax.tree.map(lambda leaf, part=part: leaf[part], both) for part in (0, slice(1, None)))
    else:
        worlds = market.step_candidates(key, shape, own, action, params, shares)
    _, seen, outcome = worlds
    if happened is None:
        return *market.choose_world(worlds, outcome.shaped.sum(-1).argmin()), None
    demand = outcome.demand if ambiguity.demand_metric or ambiguity.expects else None
    return *happened, Candidates(seen.state if central else seen.local, outcome.learning, outcome.terminated, demand)


def expect_worlds(
    shape: MarketShape,
    params: MarketParams,
    ambiguity: Ambiguity,
    update: Array | int,
    before: MarketState,
    action: market.Action,
    outcome: Outcome,
    found: Candidates,
) -> Candidates:
    """What was to be expected of an epoch of one market in every world, beside what happened.

    Args:
        before: the state that was played from.  outcome: in the nominal world.
    """
    update = jnp.asarray(update)
    shares = ambiguity.candidates(epoch_share(params, before), update)
    variants = None if params.variants is None else ambiguity.variants(params, update)
    expected = market.expect_variants(shape, before, action, params, variants, shares)
    mean = expected.demand
    if shape.demand.noisy_level:  # an epoch's own level is drawn with its shoppers
        conditions = _conditions(shape, before, outcome)
        mean = market.expected_demand(shape, params, conditions, variants, shares)
    assert found.demand is not None
    surplus = found.demand - mean
    if shape.sub_slots > 1 or not knows_orders(shape.traffic):
        surplus = jnp.zeros_like(surplus)  # the mean is not theirs
    means, noises = regressors(shape, params, outcome.prices, expected, surplus)
    demand = expected.demand if ambiguity.demand_metric else None
    return found.replace(expected=expected, means=means, noises=noises, demand=demand)


def _conditions(shape: MarketShape, before: MarketState, outcome: Outcome) -> Conditions:
    """What the epoch's shoppers found in the nominal world."""
    active = jnp.ones((shape.num_sellers,), bool) if before.active is None else before.active
    there = jnp.repeat(active, shape.num_products, total_repeat_length=shape.num_offers)
    listed = there if shape.bankruptcy else None
    available = there & (outcome.stock > 0) if shape.pass_over else there
    return Conditions(outcome.prices, outcome.level, available, outcome.intensity, listed)
