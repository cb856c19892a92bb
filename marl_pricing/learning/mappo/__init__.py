"""Recurrent MAPPO (Yu et al. 2022)."""

from marl_pricing.learning.actor_critic.learner import RobustState, num_value_heads
from marl_pricing.learning.actor_critic.losses import critic_loss
from marl_pricing.learning.actor_critic.targets import Batch, critic_values, make_batch, prepare
from marl_pricing.learning.learner import epoch_index, init
from marl_pricing.learning.mappo.learner import Mappo, update
from marl_pricing.learning.mappo.losses import actor_loss

make_learner = Mappo.make

__all__ = [
    "Batch",
    "Mappo",
    "RobustState",
    "actor_loss",
    "critic_loss",
    "critic_values",
    "epoch_index",
    "init",
    "make_batch",
    "make_learner",
    "num_value_heads",
    "prepare",
    "update",
]
