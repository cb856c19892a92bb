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


def advance_shock(key: Array, remaining: Array, params: DemandParams) -> tuple[Array, Array]:
    """Start a shock if none is running, then use up one epoch of it.

    Args:
        remaining: [] int32, epochs that the running shock still lasts (0: none is running).

    Returns:
        (factor [] on this epoch's demand, remaining [] int32 after this epoch).
    """
    starts = (remaining == 0) & jax.random.bernoulli(key, params.shock_probability)
    running = jnp.where(starts, params.shock_duration, remaining)
    factor = jnp.where(running > 0, params.shock_scale, 1.0)
    return factor, jnp.maximum(running - 1, 0)
