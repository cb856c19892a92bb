"""Random orders that respond smoothly to their rate."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array

# The search below starts where less than 1e-10 of the mass lies underneath, far below the 2^-23 grid of a float32
# uniform, and ends at the largest count that a uniform on that grid can ask for (Cornish and Fisher 1938: z = 5.4 and
# the skewness term (z² − 1) / 6). Without that end, a running sum that rounds to just below the largest uniform would
# turn it into a count that no Poisson law gives.
_TAIL = 6.5
_LAST, _SKEW = 5.4, 5.0
# Below this count Stirling's series is not exact to float32, and exp(−rate) has not underflowed yet.
_SMALLEST_FIRST = 8.0


def _deviance(k: Array, rate: Array) -> Array:
    """k log(k/rate) + rate − k, without cancellation near k = rate (Loader 2000, bd0)."""
    x = (k - rate) / rate
    return rate * ((1.0 + x) * jnp.log1p(x) - x)


def poisson(key: Array, rate: Array) -> Array:
    """Poisson counts by inversion, one uniform a count.

    `jax.random.poisson` draws by rejection above a rate of 10: two rates near each other then give unrelated counts.
    Inversion is monotone in the rate for one key, so candidate worlds that share a key differ by what they are and
    not by noise; it also costs one uniform instead of one per trial.

    Args:
        rate: any shape, ≥ 0 and finite. The work grows with the square root of the largest rate.

    Returns:
        float32 counts of the same shape.
    """
    uniform = jax.random.uniform(key, rate.shape)
    safe = jnp.maximum(rate, 1e-30)
    deviation = jnp.sqrt(safe)
    first = jnp.floor(safe - _TAIL * deviation)
    first = jnp.where(first < _SMALLEST_FIRST, 0.0, first)
    last = jnp.ceil(safe + _LAST * deviation + _SKEW)
    # Loader's saddle-point form holds also where rate^k / k! overflows.
    k = jnp.maximum(first, 1.0)
    stirling = 1.0 / (12.0 * k) - 1.0 / (360.0 * k**3)
    saddle = jnp.exp(-stirling - _deviance(k, safe)) / jnp.sqrt(2.0 * jnp.pi * k)
    mass = jnp.where(first > 0, saddle, jnp.exp(-safe))

    def searching(carry: tuple[Array, Array, Array]) -> Array:
        count, _, below = carry
        return jnp.any((uniform >= below) & (count < last))

    def advance(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, mass, below = carry
        more = (uniform >= below) & (count < last)
        count = jnp.where(more, count + 1.0, count)
        mass = jnp.where(more, mass * safe / count, mass)
        return count, mass, jnp.where(more, below + mass, below)

    count, _, _ = jax.lax.while_loop(searching, advance, (first, mass, mass))
    return jnp.where(rate > 0, count, 0.0)
