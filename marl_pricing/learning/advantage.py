"""Generalised advantage estimation that tells termination from truncation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def generalised_advantage(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    done: Array,
    gamma: float | Array,
    gae_lambda: float | Array,
) -> tuple[Array, Array]:
    """GAE(λ) (Schulman et al. 2016, eq. 16).

    δ_t = r_t + γ (1 − terminated_t) V(s'_t) − V(s_t), A_t = δ_t + γ λ (1 − done_t) A_{t+1}.

    s'_t is the real state after step t, also where the episode was truncated there: a truncated step bootstraps from
    it, a terminated one does not, and nothing flows back across either.

    Args:
        reward, value, next_value: [T, ...], values in the units of the reward.
        terminated: [T, ...] bool.  done: [T, ...] bool, terminated or truncated.

    Returns:
        (advantages [T, ...], value targets A + V [T, ...]).
    """
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    decay = gamma * gae_lambda * jnp.where(done, 0.0, 1.0)

    def step(following: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, decay = at
        advantage = delta + decay * following
        return advantage, advantage

    _, advantages = jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)
    return advantages, advantages + value
