"""A gradient step of a network that values actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from marl_pricing.learning.action_values.heads import split_values, value_of
from marl_pricing.learning.action_values.learner import ValueNetwork
from marl_pricing.learning.action_values.targets import Batch
from marl_pricing.learning.batch import num_blocks, rows_per_block
from marl_pricing.learning.gradient import apply, gradient, mean_over_live, optimiser_of
from marl_pricing.learning.losses import value_loss
from marl_pricing.learning.networks import Parameters
from marl_pricing.learning.state import Learnable

Array = jax.Array
Sum = Callable[[Any], Any]


def action_value_loss(learner: ValueNetwork, parameters: Parameters, batch: Batch):
    """Sum over live steps of half the squared error of the chosen actions' values."""
    own = batch.transitions
    outputs, _ = learner.actor.sequence(parameters, own.local, own.memory, own.first)
    value = value_of(split_values(learner.shape, outputs, own.order_mask), own.indices)
    loss = value_loss(value, value, batch.target, batch.weight, None)
    return loss, {"value_loss": loss}


def gradient_step(
    learner: ValueNetwork, total: Sum, rate: Array, learnable: Learnable, batch: Batch, index: Array
) -> tuple[Learnable, dict[str, Array]]:
    """One gradient step on the environments `index` [B]; returns sums of diagnostics over their live steps."""
    rows = 1 if learner.actor.stacked else learner.shape.num_sellers
    blocks = num_blocks(index.size, rows, rows_per_block(learner.settings))
    slope, sums = gradient(lambda p, b: action_value_loss(learner, p, b), learnable.actor, batch, index, blocks)
    live = batch.live[:, index].sum((0, 1))
    slope, sums, live = total((slope, sums, live))
    count = jnp.maximum(live.sum(), 1.0)
    slope = mean_over_live(learner.actor, slope, live, count)
    actor, optimiser = apply(
        learner.actor, optimiser_of(learner.settings), learnable.actor, learnable.actor_optimiser, slope, rate
    )
    sums |= {"live": live.sum(), "actor_gradient_norm": optax.tree.norm(slope) * count}
    return learnable.replace(actor=actor, actor_optimiser=optimiser), sums
