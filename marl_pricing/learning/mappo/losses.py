"""PPO's loss of the policy, as a sum over live steps, so that parts of a batch add up to the whole."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.learning import actions
from marl_pricing.learning.actor_critic.learner import ActorCritic
from marl_pricing.learning.actor_critic.targets import Batch
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.settings import LearnerSettings

Array = jax.Array


def policy_loss(
    new_log_prob: Array, old_log_prob: Array, advantage: Array, live: Array, clip_ratio: float
) -> tuple[Array, dict[str, Array]]:
    """Clipped surrogate (Schulman et al. 2017, eq. 7), negated and summed.

    Args:
        new_log_prob, old_log_prob, advantage: [...].  live: [...] 1.0 where the step counts.

    Returns:
        (sum of −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), sums of diagnostics): `kl` is the estimator (ρ − 1) − log ρ
        (Schulman 2020), `clipped` counts steps whose ratio left the interval.
    """
    # A step that does not count may have any probability: without this, 0 · inf would be a NaN.
    log_ratio = jnp.where(live > 0, new_log_prob - old_log_prob, 0.0)
    ratio = jnp.exp(log_ratio)
    bounded = jnp.clip(ratio, 1.0 - clip_ratio, 1.0 + clip_ratio)
    loss = -jnp.minimum(ratio * advantage, bounded * advantage)
    sums = {
        "policy_loss": (loss * live).sum(),
        "kl": ((ratio - 1.0 - log_ratio) * live).sum(),
        "clipped": ((jnp.abs(ratio - 1.0) > clip_ratio) * live).sum(),
    }
    return sums["policy_loss"], sums


def actor_loss(learner: ActorCritic, parameters: Parameters, batch: Batch, entropy_coefficient: Array):
    """Sum over live steps of the clipped surrogate less the entropy bonus, and sums of diagnostics."""
    own = learner.settings
    assert isinstance(own, LearnerSettings)
    observation = batch.segment.observation
    logits, _ = learner.actor.sequence(parameters, observation.local, batch.actor_memory, batch.segment.first)
    heads = learner.heads(learner.shape, logits, observation.order_mask)
    log_prob = actions.log_prob(heads, batch.segment.indices)
    loss, sums = policy_loss(log_prob, batch.segment.log_prob, batch.advantage, batch.live, own.clip_ratio)
    entropy = (actions.entropy(heads) * batch.live).sum()
    return loss - entropy_coefficient * entropy, {**sums, "entropy": entropy}
