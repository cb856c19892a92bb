"""The critic's loss of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marl_pricing.learning.actor_critic.learner import ActorCritic, seen
from marl_pricing.learning.losses import VALUE_WEIGHT, value_loss
from marl_pricing.learning.networks import Parameters

if TYPE_CHECKING:
    from marl_pricing.learning.actor_critic.targets import Batch


def critic_loss(learner: ActorCritic, parameters: Parameters, batch: Batch):
    """Sum over live steps of the value loss."""
    observed = seen(learner, batch.segment.observation)
    value, _ = learner.critic.sequence(parameters, observed, batch.critic_memory, batch.segment.first)
    loss = value_loss(value[..., 0], batch.value, batch.target, batch.live, learner.settings.clipped_value)
    return VALUE_WEIGHT * loss, {"value_loss": loss}
