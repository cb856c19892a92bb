"""The worst expectation over a Wasserstein ball around a sample, mass free to move off the sample's points.

min over Q with W₁(Q, P̂_N) ≤ ε of E_Q[r(D)] = max over λ ≥ 0 of 1/N Σ_i min_x (r(x) + λ d(x, D_i)) − λ ε
(Mohajerin Esfahani and Kuhn 2018, theorem 4.2; Kuhn et al. 2019, theorem 7). For a reward that is a sum of
piecewise-linear functions of each offer's demand, and d(x, D) = Σ_j w_j |x_j − D_j|, the inner minimum is taken offer
by offer and lies at a knot, at D_ij itself, or at an end of the support: a finite dual, exact. Rewards that are not of
this kind (a value that a network gives to a state) have no such form and no place here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
_HALVINGS = 60


class PiecewiseLinear(struct.PyTreeNode):
    """Rewards of N offers' demand, each linear between its knots; the support ends at the first and the last knot."""

    knots: Array  # [N, B] units, rising
    values: Array  # [N, B] money

    def __call__(self, demand: Array) -> Array:
        """Total reward [...] of demand [..., N] within the support."""
        by_offer = jax.vmap(jnp.interp, in_axes=(-1, 0, 0), out_axes=-1)
        flat = by_offer(demand.reshape(-1, demand.shape[-1]), self.knots, self.values)
        return flat.sum(-1).reshape(demand.shape[:-1])


def stock_reward(
    margin: Array, most: Array, stock: Array | None = None, missing: Array | float = 0.0, left: Array | float = 0.0
) -> PiecewiseLinear:
    """Reward of each offer's demand D: margin · min(D, I) − missing · (D − I)⁺ − left · (I − D)⁺.

    Args:
        margin: [N] money per unit sold.  most: [N] units, the most that can be demanded.
        stock: [N] units I; None where it is unlimited, so that the reward is linear.
        missing, left: [N] money per unit of unmet demand, and per unit left.
    """
    zero = jnp.zeros_like(margin)
    if stock is None:
        return PiecewiseLinear(jnp.stack([zero, most], -1), jnp.stack([zero, margin * most], -1))
    kink = jnp.minimum(stock, most)
    at_kink = margin * kink - left * (stock - kink)
    beyond = margin * kink - missing * (most - kink) - left * (stock - kink)
    return PiecewiseLinear(jnp.stack([zero, kink, most], -1), jnp.stack([-left * stock, at_kink, beyond], -1))


def _least(reward: PiecewiseLinear, sample: Array, weight: Array, price: Array) -> tuple[Array, Array]:
    """(1/N Σ_i min_x r(x) + λ d(x, D_i), mean distance travelled by the nearest minimisers) at a price λ []."""
    own = jax.vmap(jnp.interp, in_axes=(-1, 0, 0), out_axes=-1)(sample, reward.knots, reward.values)  # [n, N]
    places = jnp.concatenate(
        [sample[..., None], jnp.broadcast_to(reward.knots, (*sample.shape, reward.knots.shape[-1]))], -1
    )
    worth = jnp.concatenate(
        [own[..., None], jnp.broadcast_to(reward.values, (*sample.shape, reward.values.shape[-1]))], -1
    )
    distance = weight[:, None] * jnp.abs(places - sample[..., None])
    cost = worth + price * distance
    chosen = cost.argmin(-1)[..., None]
    least = jnp.take_along_axis(cost, chosen, -1)[..., 0].sum(-1).mean()
    moved = jnp.take_along_axis(distance, chosen, -1)[..., 0].sum(-1).mean()
    return least, moved


def ball_worst(reward: PiecewiseLinear, sample: Array, weight: Array, radius: Array) -> Array:
    """The smallest expectation [] of a piecewise-linear reward in the W₁ ball around a sample.

    Args:
        sample: [n, N] units, within the support.
        weight: [N] of an offer's units in the ground metric d(x, D) = Σ_j w_j |x_j − D_j|, above 0.
        radius: [] ε ≥ 0, in the metric's units.
    """
    gaps = jnp.diff(reward.knots, axis=-1)
    slopes = jnp.abs(jnp.diff(reward.values, axis=-1)) / jnp.where(gaps > 0, gaps, jnp.inf)
    # Beyond the steepest slope a unit of distance costs more than it can take away: nothing moves.
    high = 1.001 * (slopes / weight[:, None]).max() + 1e-6

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        far = _least(reward, sample, weight, middle)[1] > radius
        return jnp.where(far, middle, low), jnp.where(far, high, middle)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros_like(high), high))
    # The dual is concave in λ and largest where the mean distance falls through ε; any λ bounds from below.
    return jnp.maximum(*(_least(reward, sample, weight, price)[0] - price * radius for price in (low, high)))
