"""Generalised advantage estimation that tells termination from truncation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def one_step_target(reward: Array, next_value: Array, terminated: Array, gamma: float | Array) -> Array:
    """y_t = r_t + γ (1 − terminated_t) V(s'_t), all [T, ...].

    s'_t is the real state after step t, also where the episode was truncated there: a truncated step bootstraps from
    it, a terminated one does not.
    """
    return reward + gamma * jnp.where(terminated, 0.0, next_value)


def generalised_advantage(
    one_step: Array,
    value: Array,
    done: Array,
    gamma: float | Array,
    gae_lambda: float | Array,
) -> tuple[Array, Array]:
    """GAE(λ) (Schulman et al. 2016, eq. 16).

    δ_t = y_t − V(s_t), A_t = δ_t + γ λ (1 − done_t) A_{t+1}; nothing flows back across the end of an episode.

    Args:
        one_step: [T, ...] one-step targets y_t, see `one_step_target`.  value: [T, ...], in the same units.
        done: [T, ...] bool, terminated or truncated.

    Returns:
        (advantages [T, ...], value targets A + V [T, ...]).
    """
    delta = one_step - value
    decay = gamma * gae_lambda * jnp.where(done, 0.0, 1.0)

    def step(following: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, decay = at
        advantage = delta + decay * following
        return advantage, advantage

    _, advantages = jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)
    return advantages, advantages + value
