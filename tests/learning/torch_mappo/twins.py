"""The same learner twice, and what both make of one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.learning import mappo
from marl_pricing.learning.learner import Learner
from marl_pricing.learning.mappo import Mappo
from marl_pricing.learning.networks import head_sizes
from marl_pricing.learning.state import Learnable
from marl_pricing.learning.torch_mappo import convert
from marl_pricing.learning.torch_mappo.learner import TorchLearner

BONUS = 0.03


def twin_of(learner: Mappo, actor: Any = None, critic: Any = None, **settings: Any) -> TorchLearner:
    """The torch learner of a flax one, with its networks."""
    own = learner.settings.model_copy(update={"algorithm": "torch_mappo"} | settings)
    law = None if learner.shape.discrete_prices else own.price_law
    sizes = head_sizes(learner.shape)
    twin = TorchLearner(own, learner.actor, learner.critic, learner.shape.num_products, sizes, law)
    if actor is not None:
        convert.load(twin.actor, actor)
        convert.load(twin.critic, critic)
    return twin


def random_networks(learner: Mappo, spread: float = 0.5, seed: int = 0) -> tuple[Any, Any]:
    """(actor, critic) parameters that are far from nothing, biases included."""
    return _random(
        lambda: (learner.actor.init(jax.random.key(0)), learner.critic.init(jax.random.key(0))), spread, seed
    )


def random_actor(learner: Learner, spread: float, seed: int) -> Any:
    """Parameters of what acts, be it a network or a table."""
    return _random(lambda: learner.actor.init(jax.random.key(0)), spread, seed)


def _random(start: Callable[[], Any], spread: float, seed: int) -> Any:
    rng = np.random.default_rng(seed)

    def weights(leaf: Any) -> jax.Array:
        return jnp.asarray(rng.normal(0, spread, leaf.shape), jnp.float32)

    return jax.tree.map(weights, jax.eval_shape(start))


def flax_terms(learner: Mappo, networks: tuple[Any, Any], batch: mappo.Batch) -> tuple[dict[str, Any], Any]:
    """(loss terms, gradients of actor and critic) of the flax learner."""
    actor, critic = networks
    actor_gradient, sums = jax.grad(lambda p: mappo.actor_loss(learner, p, batch, jnp.float32(BONUS)), has_aux=True)(
        actor
    )
    critic_gradient, critic_sums = jax.grad(lambda p: mappo.critic_loss(learner, p, batch), has_aux=True)(critic)
    return sums | critic_sums, (actor_gradient, critic_gradient)


def torch_terms(learner: Mappo, networks: tuple[Any, Any], batch: mappo.Batch, **settings: Any):
    """The same of the torch learner, as flax trees."""
    twin = twin_of(learner, *networks, **settings)
    sums = twin.gradients(convert.to_torch_batch(batch, learner.critic.central), BONUS)
    gradients = tuple(
        convert.parameters_of(
            [{name: weight.grad for name, weight in network.named_parameters()} for network in own], own.spec.stacked
        )
        for own in (twin.actor, twin.critic)
    )
    return {name: float(value) for name, value in sums.items()}, gradients


def learnable(learner: Mappo) -> Learnable:
    """Fresh networks and optimisers."""
    return learner.first_learnable(*jax.random.split(jax.random.key(0)))


def apart(one: Any, other: Any) -> float:
    """Largest difference of two trees' leaves, each in units of its leaf's largest entry."""
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max() / (np.abs(np.asarray(a)).max() + 1e-12))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )
