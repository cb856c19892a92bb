"""What changes with the number of updates done."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from marl_pricing.learning.settings import ActorCriticSettings, CommonSettings

Array = jax.Array


def learning_rate(settings: CommonSettings, update: Array) -> Array:
    """Step size at an update: constant, or from its start to its end over the scheduled updates."""
    first, last = settings.learning_rate, settings.learning_rate_end
    if settings.schedule == "constant":
        return jnp.asarray(first)
    if settings.schedule == "linear":
        return optax.linear_schedule(first, last, settings.scheduled_updates)(update)
    return optax.cosine_decay_schedule(first, settings.scheduled_updates, alpha=last / first)(update)


def linear(first: Array | float, last: Array | float, update: Array, updates: Array | float) -> Array:
    """From the first to the last over some updates, then there.

    Not optax's: it divides by `updates`, which may be less than one here.
    """
    done = update / jnp.maximum(updates, 1.0)
    return first + (last - first) * jnp.clip(done, 0.0, 1.0)


def entropy_coefficient(settings: ActorCriticSettings, update: Array) -> Array:
    """Weight of the entropy bonus at an update: linear from its start to its end over the scheduled updates."""
    return optax.linear_schedule(settings.entropy_start, settings.entropy_end, settings.scheduled_updates)(update)
