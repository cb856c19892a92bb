"""The policy gradient's loss, as a sum over live steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marl_pricing.learning import actions
from marl_pricing.learning.actor_critic.learner import ActorCritic
from marl_pricing.learning.actor_critic.targets import Batch
from marl_pricing.learning.networks import Parameters

Array = jax.Array


def policy_gradient_loss(log_prob: Array, advantage: Array, live: Array) -> Array:
    """−Σ log π(a) A over live steps (Mnih et al. 2016, section 4), all [...].

    A step that does not count may have any probability: without the mask, 0 · inf would be a NaN.
    """
    return -(jnp.where(live > 0, log_prob, 0.0) * advantage * live).sum()


def actor_loss(learner: ActorCritic, parameters: Parameters, batch: Batch, entropy_coefficient: Array):
    """Sum over live steps of the policy gradient's loss less the entropy bonus, and sums of diagnostics."""
    observation = batch.segment.observation
    logits, _ = learner.actor.sequence(parameters, observation.local, batch.actor_memory, batch.segment.first)
    heads = learner.heads(learner.shape, logits, observation.order_mask)
    loss = policy_gradient_loss(actions.log_prob(heads, batch.segment.indices), batch.advantage, batch.live)
    entropy = (actions.entropy(heads) * batch.live).sum()
    return loss - entropy_coefficient * entropy, {"policy_loss": loss, "entropy": entropy}
