"""What a robust learner is warned of before it starts: worlds that are all alike, worlds to one side of the nominal one
only, and a fear of few shoppers' noise."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import traffic
from marl_pricing.config.robust import BEHIND_THE_COUNTER
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.demand import LogitParams, PowerParams
from marl_pricing.laws import worst_value
from marl_pricing.market import MarketParams, MarketShape, expected_demand, vary
from marl_pricing.robust import Ambiguity
from marl_pricing.traffic import Conditions

# Worlds whose expected orders differ by less than this share are alike.
_ALIKE = 1e-3
# Numbers of people and agents that differ by less than this share are the same, rounded.
_ROUNDING = 1e-6
# Fewer shoppers than this make much of what `per_draw` fears.
_FEW = 300
_SAMPLES = 512


def _found(shape: MarketShape, params: MarketParams, prices: jax.Array, level: float = 1.0) -> Conditions:
    offers = jnp.ones((shape.num_offers,))
    return Conditions(prices, level * offers, offers > 0, params.demand.scale)


def _shares(params: MarketParams, ambiguity: Ambiguity) -> jax.Array:
    return ambiguity.candidates(params.traffic.agent_share, jnp.asarray(ambiguity.anneal_updates))


def all_alike(shape: MarketShape, params: MarketParams, ambiguity: Ambiguity) -> bool:
    """Whether every candidate world orders the same on average, at low and high prices and levels of demand."""
    own = params.prices
    low, high = own.low * jnp.ones((shape.num_offers,)), own.high * jnp.ones((shape.num_offers,))
    shares = _shares(params, ambiguity)
    for prices in (low, 0.5 * (low + high), high):
        for level in (1.0, 1.5):
            units = expected_demand(shape, params, _found(shape, params, prices, level), params.variants, shares)
            apart = units.max(0) - units.min(0)
            if bool((apart > _ALIKE * jnp.maximum(units.max(0), 1e-9)).any()):
                return False
    return True


def one_law(
    shape: MarketShape, params: MarketParams, ambiguity: Ambiguity, visitors: Traffic, factors: set[str]
) -> bool:
    """Whether all worlds are one law: they differ in the share of agents alone, and agents are people in all that they
    do, by their numbers and not by what they order on average.

    Worlds of a log's own sessions never count as one law, nor do those in which a reward knows people from agents.
    """
    own, sessions = params.demand, params.traffic.sessions
    if (
        factors != {"agent_share"}
        or params.variants is not None
        or {"estimate_error", "agent_loss"} & set(shape.reward.penalties)
    ):
        return False
    if visitors.model not in ("analytic", "chain", "bank") or shape.traffic.comparison or shape.traffic.markup:
        return False
    if visitors.model != "analytic" and visitors.bank.source == "log":
        return False
    of_classes: list[jax.Array | None] = [own.type_spread, own.level_sensitivity, params.traffic.purchase_rate]
    if isinstance(own.choice, LogitParams):
        of_classes += [own.choice.quality, own.choice.outside, own.choice.scale, own.choice.nesting]
    elif isinstance(own.choice, PowerParams):
        of_classes += [own.choice.base, own.choice.popularity, own.choice.elasticity, own.choice.cross_elasticity]
    else:
        of_classes += [own.choice.intercept, own.choice.slope, own.choice.cross_slope]
    if sessions is not None:
        of_classes += [sessions.kernels, sessions.kind_shares, sessions.units]
    people_and_agents = (np.asarray(leaf) for leaf in of_classes if leaf is not None)
    if not all(np.allclose(leaf[0], leaf[-1], rtol=_ROUNDING, atol=0.0) for leaf in people_and_agents):
        return False
    return all_alike(shape, params, ambiguity)


def noise_of_draws(shape: MarketShape, params: MarketParams, ambiguity: Ambiguity) -> float:
    """Share of an epoch's profit that is feared for nothing where draws decide: the worst expectation less the mean
    worst draw.

    Of sellers' margins at the first prices, level 1, every order served, by 512 drawn epochs; of their sum where one
    nature chooses.
    """
    prices = 0.5 * (params.prices.start_low + params.prices.start_high) * jnp.ones((shape.num_offers,))
    shares, margin = _shares(params, ambiguity), prices - params.reward.unit_cost
    worlds = [params]
    if params.variants is not None:
        variants = ambiguity.variants(params, jnp.asarray(ambiguity.anneal_updates))
        count = len(ambiguity.others)
        worlds = [vary(params, jax.tree.map(lambda leaf, g=g: leaf[g], variants)) for g in range(count)]
    metric = ambiguity.metric() if ambiguity.set == "wasserstein" else None

    @jax.jit
    def profits(key: jax.Array) -> jax.Array:
        def one(own: MarketParams) -> jax.Array:
            found = _found(shape, own, prices)
            seen = traffic.simulate(key, shape.traffic, own.traffic, shape.demand, own.demand, found, shares)
            return (seen.orders.sum(-2) * margin).reshape(shares.size, shape.num_sellers, -1).sum(-1)

        return jnp.concatenate([one(own) for own in worlds])  # [K, S]

    drawn = jax.lax.map(profits, jax.random.split(jax.random.key(0), _SAMPLES)).swapaxes(1, 2)  # [n, S, K]
    if ambiguity.mode == "algorithm_1" or ambiguity.adversary != "per_seller":
        drawn = drawn.sum(1, keepdims=True)
    weights, radius = jnp.asarray(ambiguity.weights, jnp.float32), jnp.float32(ambiguity.radius)
    by_draw = worst_value(ambiguity.set, drawn, weights, radius, metric).mean(0)
    by_mean = worst_value(ambiguity.set, drawn.mean(0), weights, radius, metric)
    return float((by_mean - by_draw).sum() / jnp.maximum(jnp.abs(drawn.mean((0, 2)).sum()), 1e-9))


def warn(shape: MarketShape, params: MarketParams, ambiguity: Ambiguity, factors: set[str]) -> None:
    """Warn of worlds that are all alike, of a nominal share at the end of all shares, and of draws by few shoppers.

    Args:
        factors: what worlds differ in. Where that is no order (when orders come, what they cost, how agents look
            around), worlds that order alike still differ.
    """
    if not {*BEHIND_THE_COUNTER, "kernels"} & factors and all_alike(shape, params, ambiguity):
        how = "are one law" if ambiguity.one_law else "order alike"
        plain = "; this is the plain learner" if ambiguity.one_law and ambiguity.expects else ""
        warnings.warn(f"robust.worlds: all worlds {how}: there is nothing to be robust against{plain}", stacklevel=3)
    nominal = float(params.traffic.agent_share)
    if "agent_share" in factors and ambiguity.relative and nominal in (0.0, 1.0) and shape.traffic.process == "static":
        shares = np.asarray(_shares(params, ambiguity))
        warnings.warn(
            f"traffic.agent_share={nominal:g}: all worlds of robust.set={ambiguity.set} lie to one side of it: shares "
            f"of agents from {shares.min():.3g} to {shares.max():.3g}",
            stacklevel=3,
        )
    sessions = shape.traffic.sessions * float(np.asarray(params.demand.scale))
    if not ambiguity.expects and shape.traffic.random_orders and sessions < _FEW:
        noise = noise_of_draws(shape, params, ambiguity)
        cure = "" if shape.contracts is not None else "; robust.mode=expected fears the worlds alone"
        warnings.warn(
            f"robust.mode={ambiguity.mode}: with {sessions:g} shoppers an epoch it fears {100 * noise:.1f} % of profit "
            f"that is noise of the draw, whatever the worlds{cure}",
            stacklevel=3,
        )
