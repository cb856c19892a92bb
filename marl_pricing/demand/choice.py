"""Prices to purchase propensities, one function a demand model.

A propensity is the expected number of units of an offer that one session of a class orders: a choice
probability for `logit`, a rate for `power` and `linear`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.demand.params import (
    Array,
    DemandParams,
    DemandShape,
    LinearParams,
    LogitParams,
    PowerParams,
)

_FAR = float(np.log(2.0))


def logit(prices: Array, level: Array, available: Array, theta: Array, params: LogitParams) -> Array:
    """Multinomial logit with an outside option (Calvano, Calzolari, Denicolò, Pastorello 2020, eq. 5).

    q_yj = ℓ_j exp((θ a_yj − p_j)/μ_y) / (exp(a_y0/μ_y) + Σ_k ℓ_k exp((θ a_yk − p_k)/μ_y)); the latent level ℓ
    scales an offer's attraction, so that shares stay below one. With `nesting` ρ_y all offers share a nest (Berry 1994,
    section 5): utilities are divided by 1 − ρ within it, and the nest weighs
    (Σ_k ℓ_k e^{u_k/(1−ρ)})^{1−ρ}; ρ = 0 is the plain logit.

    Args:
        prices: [N] money.  level: [N] or [Y, N] factor.  available: [N] bool, an offer that can be bought.
        theta: [Y] latent type, a factor on quality.

    Returns:
        [Y, N] choice probabilities; an offer that is not available has 0.
    """
    utility = (theta[:, None] * params.quality - prices) / params.scale[:, None] + jnp.log(level)
    utility = jnp.where(available, utility, -jnp.inf)
    outside = params.outside / params.scale
    if params.nesting is not None:
        return _nested(utility, outside, params.nesting)
    highest = jax.lax.stop_gradient(jnp.maximum(utility.max(-1), outside))
    weight = jnp.exp(utility - highest[:, None])
    return weight / (weight.sum(-1) + jnp.exp(outside - highest))[:, None]


def _nested(utility: Array, outside: Array, nesting: Array) -> Array:
    """Choice probabilities [Y, N] with all offers in one nest; utility [Y, N], outside [Y], nesting ρ [Y]."""
    within = utility / (1.0 - nesting)[:, None]
    inclusive = jax.nn.logsumexp(within, axis=-1)
    anybody = jnp.isfinite(inclusive)
    inclusive = jnp.where(anybody, inclusive, 0.0)
    inside = jnp.where(anybody, jax.nn.sigmoid((1.0 - nesting) * inclusive - outside), 0.0)
    return jnp.exp(within - inclusive[:, None]) * inside[:, None]


def inclusive_value(prices: Array, level: Array, available: Array, theta: Array, params: LogitParams) -> Array:
    """What the offers together are worth to a session [Y], in units of the scale μ: the log-sum within their nest.

    A session buys one of them with the probability at which this exceeds the outside option. Args as in `logit`.
    """
    utility = (theta[:, None] * params.quality - prices) / params.scale[:, None] + jnp.log(level)
    utility = jnp.where(available, utility, -jnp.inf)
    kept = 1.0 if params.nesting is None else 1.0 - params.nesting
    return kept * jax.nn.logsumexp(utility / jnp.reshape(kept, (-1, 1)), axis=-1)


def power(
    prices: Array, level: Array, available: Array, theta: Array, params: PowerParams, listed: Array | None = None
) -> Array:
    """Constant elasticity times popularity (PHANTOM's prototype, `setup_true_demand`).

    q_yj = min(cap, base_y · popularity_yj · ℓ_j · (p_j / (θ p_ref,j))^elasticity_yj · c_yj), where c is 1 or, with
    `cross_elasticity` η, the geometric mean of the other offers' prices over their references, to the power η. Another
    offer's price counts between half and twice its reference; one that is not listed counts as twice.

    Args and return as in `logit`; `listed` as in `propensities`.
    """
    relative = prices / (theta[:, None] * params.reference_price)
    rate = params.base[:, None] * params.popularity * level * relative**params.elasticity
    if params.cross_elasticity is not None and prices.size > 1:
        # Beyond a factor of two the data say nothing, and without an end a seller would price one product out of the
        # market for ever to sell its others.
        logs = jnp.clip(jnp.log(_shown(prices, listed) / params.reference_price), -_FAR, _FAR)
        others = (logs.sum() - logs) / (prices.size - 1)
        rate = rate * jnp.exp(params.cross_elasticity[:, None] * others)
    return jnp.where(available, jnp.minimum(rate, params.cap), 0.0)


def _shown(prices: Array, listed: Array | None) -> Array:
    """Prices [N] as the demand for other offers feels them: nobody can have an offer that is not listed."""
    return prices if listed is None else jnp.where(listed, prices, jnp.inf)


def linear(
    prices: Array,
    level: Array,
    available: Array,
    theta: Array,
    params: LinearParams,
    num_sellers: int,
    *,
    listed: Array | None = None,
) -> Array:
    """Linear demand, with the rivals' mean price where it matters (Singh and Vives 1984).

    q_yj = ℓ_j · max(0, θ intercept_yj − slope_yj p_j + cross_yj · mean price of the other sellers' offers).

    A rival's price counts up to its choke price, at which nobody buys from it any more: beyond that a rise sends nobody
    over (without this, sellers that cooperate would raise one price for ever to sell the others' products). An offer
    that is not listed counts as one at that price: the virtual price of a good that cannot be had (Neary and Roberts
    1980).

    Args and return as in `logit`; `num_sellers` S splits the offers into sellers, `listed` as in `propensities`.
    """
    num_offers = prices.size
    own_offers = num_offers // num_sellers

    def rival_mean(values: Array) -> Array:
        by_seller = values.reshape(-1, num_sellers, own_offers).sum(-1)
        mean = (by_seller.sum(-1, keepdims=True) - by_seller) / max(num_offers - own_offers, 1)
        return jnp.repeat(mean, own_offers, axis=-1, total_repeat_length=num_offers)

    intercept = theta[:, None] * params.intercept
    # Nobody buys above this even where all rivals are as dear.
    ceiling = intercept / jnp.maximum(params.slope - params.cross_slope, 1e-9)
    shown = _shown(prices, listed)
    choke = (intercept + params.cross_slope * rival_mean(jnp.minimum(shown, ceiling))) / jnp.maximum(params.slope, 1e-9)
    rival = rival_mean(jnp.minimum(shown, choke))
    rate = intercept - params.slope * prices + params.cross_slope * rival
    return jnp.where(available, level * jnp.maximum(rate, 0.0), 0.0)


def type_nodes(shape: DemandShape, params: DemandParams) -> tuple[Array, np.ndarray]:
    """Gauss–Hermite nodes of the latent type: log θ ~ N(−s²/2, s²) with s = `type_spread`, so E[θ] = 1.

    Returns:
        ([G, Y] values of θ, [G] weights that sum to 1).
    """
    node, weight = np.polynomial.hermite_e.hermegauss(shape.num_types)
    weight = (weight / weight.sum()).astype(np.float32)
    spread = params.type_spread
    theta = jnp.exp(node.astype(np.float32)[:, None] * spread - 0.5 * spread**2)
    return theta, weight


def class_propensities(
    shape: DemandShape,
    params: DemandParams,
    prices: Array,
    level: Array,
    available: Array,
    theta: Array,
    *,
    listed: Array | None = None,
) -> Array:
    """Propensities [Y, N] of sessions of latent type `theta` [Y]."""
    choice = params.choice
    # Agents that shop to order need not follow what people long for.
    level = level ** params.level_sensitivity[:, None] if shape.level_moves and shape.num_classes > 1 else level[None]
    if isinstance(choice, LogitParams):
        return logit(prices, level, available, theta, choice)
    if isinstance(choice, PowerParams):
        return power(prices, level, available, theta, choice, listed)
    return linear(prices, level, available, theta, choice, shape.num_sellers, listed=listed)


def propensities_by_type(
    shape: DemandShape,
    params: DemandParams,
    prices: Array,
    level: Array,
    available: Array,
    listed: Array | None = None,
) -> tuple[Array, np.ndarray]:
    """([G, Y, N] propensities of each latent type, [G] how common it is); args as in `propensities`."""
    if shape.num_types == 1:
        theta = jnp.ones_like(params.type_spread)
        one = class_propensities(shape, params, prices, level, available, theta, listed=listed)
        return one[None], np.ones(1, np.float32)
    theta, weight = type_nodes(shape, params)
    each = jax.vmap(lambda own: class_propensities(shape, params, prices, level, available, own, listed=listed))
    return each(theta), weight


def propensities(
    shape: DemandShape,
    params: DemandParams,
    prices: Array,
    level: Array,
    available: Array,
    listed: Array | None = None,
) -> Array:
    """Expected propensities [Y, N] over the law of the latent type.

    Args:
        prices: [N] money.  level: [N] latent demand level, mean 1.  available: [N] bool, offers that can be bought.
        listed: [N] bool, offers whose price shoppers see, all that are available among them: one that is sold out
            still shows its price, one whose seller has left the market does not. None: all.
    """
    by_type, weight = propensities_by_type(shape, params, prices, level, available, listed)
    return by_type[0] if shape.num_types == 1 else jnp.tensordot(weight, by_type, axes=1)
