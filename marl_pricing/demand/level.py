"""How the level of demand moves: the latent level of each offer, and market-wide shocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.demand.params import Array, DemandParams, SeasonParams


def stationary_variance(params: DemandParams) -> Array:
    """Variance [N] of the log level in the long run, σ² / (1 − ρ²)."""
    return params.level_volatility**2 / (1.0 - params.level_persistence**2)


def draw_log_level(key: Array, params: DemandParams) -> Array:
    """Log level [N] from its stationary law N(0, σ² / (1 − ρ²))."""
    noise = jax.random.normal(key, params.level_volatility.shape)
    return jnp.sqrt(stationary_variance(params)) * noise


def advance_log_level(key: Array, log_level: Array, params: DemandParams) -> Array:
    """One epoch of x' = ρ x + σ ε, all [N]."""
    noise = jax.random.normal(key, log_level.shape)
    return params.level_persistence * log_level + params.level_volatility * noise


def level_factor(log_level: Array, params: DemandParams) -> Array:
    """Factor on demand [N]; the shift by half the stationary variance keeps its long-run mean at 1."""
    return jnp.exp(log_level - 0.5 * stationary_variance(params))


def noise_factor(key: Array, params: DemandParams) -> Array:
    """Factor on one epoch's demand [N] that does not last: exp(ν ε − ν²/2), mean 1."""
    noise = jax.random.normal(key, params.level_noise.shape)
    return jnp.exp(params.level_noise * noise - 0.5 * params.level_noise**2)


def season_factor(epoch: Array, season: SeasonParams) -> Array:
    """Factor on demand [...] at epochs [...]; its mean over whole epochs of a season is not forced to 1."""
    harmonic = jnp.arange(1, season.cosine.shape[-1] + 1)
    angle = 2.0 * jnp.pi * harmonic * ((epoch[..., None] + season.start) / season.period)
    return jnp.exp((season.cosine * jnp.cos(angle) + season.sine * jnp.sin(angle)).sum(-1))


def shock_factor(remaining: Array, params: DemandParams) -> Array:
    """Factor [] on the demand of an epoch in which a shock still lasts `remaining` epochs, this one included."""
    return jnp.where(remaining > 0, params.shock_scale, 1.0)


def advance_shock(key: Array, remaining: Array, params: DemandParams) -> Array:
    """Use up one epoch of a shock and, if none is running then, start one with `shock_probability`.

    It is decided before the epoch that it moves, so that who prices that epoch can know of it.

    Args:
        remaining: [] int32, epochs that the shock lasts from the present epoch on, which it includes (0: none runs).

    Returns:
        [] int32, the same of the next epoch.
    """
    left = jnp.maximum(remaining - 1, 0)
    starts = (left == 0) & jax.random.bernoulli(key, params.shock_probability)
    return jnp.where(starts, params.shock_duration, left)
