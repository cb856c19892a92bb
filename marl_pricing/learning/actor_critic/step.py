"""A gradient step of actor and critic on a minibatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from marl_pricing.learning.actor_critic.learner import ActorCritic
from marl_pricing.learning.actor_critic.losses import critic_loss
from marl_pricing.learning.actor_critic.targets import Batch
from marl_pricing.learning.batch import num_blocks, rows_per_block
from marl_pricing.learning.gradient import apply, gradient, mean_over_live, optimiser_of
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.state import Learnable

Array = jax.Array
Sum = Callable[[Any], Any]
# (learner, the actor's parameters, batch, weight of the entropy bonus) → sum over live steps, sums of diagnostics
ActorLoss = Callable[[Any, Parameters, Batch, Array], tuple[Array, dict[str, Array]]]


def gradient_step(
    learner: ActorCritic,
    actor_loss: ActorLoss,
    batch: Batch,
    total: Sum,
    entropy_coefficient: Array,
    rate: Array,
    learnable: Learnable,
    index: Array,
) -> tuple[Learnable, dict[str, Array]]:
    """One gradient step on the environments `index` [B]; returns sums of diagnostics over their live steps."""
    rows = rows_per_block(learner.settings)
    optimiser = optimiser_of(learner.settings)
    num_envs, num_sellers = index.size, learner.shape.num_sellers
    actor_blocks = num_blocks(num_envs, 1 if learner.actor.stacked else num_sellers, rows)
    critic_blocks = num_blocks(num_envs, 1 if learner.critic.stacked else learner.critic.memory_sellers, rows)
    actor_gradient, sums = gradient(
        lambda p, b: actor_loss(learner, p, b, entropy_coefficient), learnable.actor, batch, index, actor_blocks
    )
    critic_gradient, critic_sums = gradient(
        lambda p, b: critic_loss(learner, p, b), learnable.critic, batch, index, critic_blocks
    )
    live = batch.live[:, index].sum((0, 1))
    sums |= critic_sums | {"live": live.sum()}
    actor_gradient, critic_gradient, sums, live = total((actor_gradient, critic_gradient, sums, live))
    count = jnp.maximum(sums["live"], 1.0)

    actor_gradient = mean_over_live(learner.actor, actor_gradient, live, count)
    critic_gradient = mean_over_live(learner.critic, critic_gradient, live, count)
    actor, actor_optimiser = apply(
        learner.actor, optimiser, learnable.actor, learnable.actor_optimiser, actor_gradient, rate
    )
    critic, critic_optimiser = apply(
        learner.critic, optimiser, learnable.critic, learnable.critic_optimiser, critic_gradient, rate
    )
    sums |= {
        "actor_gradient_norm": optax.tree.norm(actor_gradient) * count,
        "critic_gradient_norm": optax.tree.norm(critic_gradient) * count,
    }
    return Learnable(actor, critic, actor_optimiser, critic_optimiser), sums
