"""What shopping is worth to a shopper: the log-sum of logit demand."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.demand.choice import inclusive_value, type_nodes
from marl_pricing.demand.params import Array, DemandParams, DemandShape, LogitParams


def _log_sum(prices: Array, level: Array, available: Array, theta: Array, params: LogitParams) -> Array:
    """Surplus [Y] of one session of latent type `theta` [Y]; `level` [Y, N] or [1, N]."""
    inclusive = inclusive_value(prices, level, available, theta, params)
    outside = params.outside / params.scale
    return params.scale * (jnp.logaddexp(inclusive, outside) - outside)


def logit_surplus(shape: DemandShape, params: DemandParams, prices: Array, level: Array, available: Array) -> Array:
    """Expected surplus [Y], money a session: μ_y log(1 + Σ_j exp((a_yj − p_j − a_y0)/μ_y)).

    The log-sum (Small and Rosen 1981): what the offers add to the outside option, in the mean over latent types. The
    level of demand counts as attraction and a nest weighs as in `choice.logit`.

    Args:
        prices: [N] money.  level: [N] latent demand level.  available: [N] bool.

    Raises:
        ValueError: for demand that is not logit.
    """
    choice = params.choice
    if not isinstance(choice, LogitParams):
        raise ValueError(f"market.demand.model={shape.model!r}: consumer surplus is known for 'logit'")
    # Agents that shop to order need not follow what people long for.
    level = level ** params.level_sensitivity[:, None] if shape.level_moves and shape.num_classes > 1 else level[None]
    if shape.num_types == 1:
        return _log_sum(prices, level, available, jnp.ones_like(params.type_spread), choice)
    theta, weight = type_nodes(shape, params)
    return jnp.tensordot(weight, jax.vmap(lambda own: _log_sum(prices, level, available, own, choice))(theta), axes=1)
