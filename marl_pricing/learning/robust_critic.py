"""A robust critic's one-step targets: what each world drew, what it was expected to be worth, the worst law."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from marl_pricing.learning import expected_values, normalisation
from marl_pricing.learning.advantage import one_step_target
from marl_pricing.learning.expected_values import WorldFit
from marl_pricing.learning.trajectory import Segment
from marl_pricing.robust import Ambiguity, robust_targets

if TYPE_CHECKING:
    from marl_pricing.learning.actor_critic.learner import ActorCritic
    from marl_pricing.learning.state import TrainState

Array = jax.Array
Sum = Callable[[Any], Any]


def discounted(
    learner: ActorCritic, state: TrainState, memories: Array, seen: Array, reward: Array, terminated: Array
) -> Array:
    """r_k + γ V(s'_k) [T, E, K, S] of every candidate world.

    The recurrent critic remembers what was played up to the step, which is the same in every candidate world, and takes
    one step from there into each candidate's next state.
    """
    own = learner.settings
    num_steps, num_envs = reward.shape[:2]

    def flat(x: Array) -> Array:
        return x.reshape(num_steps * num_envs, *x.shape[2:])

    said = learner.critic.branches(state.learnable.critic, flat(seen), flat(memories))
    value = said[..., 0].reshape(reward.shape)
    if own.value_normalisation != "none":
        value = normalisation.denormalise(state.statistics, value)
    return one_step_target(reward, value, terminated, own.gamma)


def robust_one_step(
    learner: ActorCritic,
    state: TrainState,
    segment: Segment,
    memories: Array,
    plain: Array,
    total: Sum,
) -> tuple[Array, WorldFit | None, dict[str, Array]]:
    """Robust one-step targets of a segment.

    Args:
        state: as it was before the segment.  memories: [T, E, …] of the critic after each step.
        plain: [T, E, S] the plain one-step targets.  total: sums over devices, the identity on one.

    Returns:
        (targets [T, E, S], what has been learned of the worlds, measures).
    """
    found, ambiguity = segment.candidates, learner.ambiguity
    assert found is not None and ambiguity is not None
    live = segment.live.astype(jnp.float32)
    drawn = discounted(learner, state, memories, found.seen, found.reward, found.terminated)
    known, worlds = None, getattr(state, "worlds", None)
    if worlds is not None:
        expected = found.expected
        assert expected is not None
        seen = expected.state if learner.critic.central else expected.local
        cases = (x.reshape(*x.shape[:2], -1, *x.shape[4:]) for x in (seen, expected.reward, expected.terminated))
        promised = discounted(learner, state, memories, *cases).reshape(expected.reward.shape)
        following = (promised - expected.reward).mean(3)
        assert found.means is not None and found.noises is not None
        known, worlds = expected_values.expected_values(
            worlds, found.means, found.noises, following, drawn, live, total
        )
    radius = ambiguity.radius_at(state.update)
    episodes = jnp.cumsum(segment.first, axis=0).astype(jnp.int32)
    targets, law = robust_targets(ambiguity, drawn, radius, episodes, found.demand, known, plain)
    fear = jnp.asarray(ambiguity.fearful(learner.shape.num_sellers))
    targets = jnp.where(fear, targets, plain)
    return targets, worlds, _pessimism(radius, plain, targets, law, live * fear, total)


def _pessimism(radius: Array, plain: Array, robust: Array, law: Array, live: Array, total: Sum) -> dict[str, Array]:
    """How far the robust targets are below the plain ones, and how much weight each candidate got.

    Args:
        live: [T, E, S] where a seller that fears was in the market.
    """
    count = jnp.maximum(total(live.sum()), 1.0)
    chosen = total((law * live[:, :, None]).sum((0, 1, 3))) / count
    return _measures(total(((plain - robust) * live).sum()) / count, radius, chosen)


def nothing_feared(ambiguity: Ambiguity, update: Array) -> dict[str, Array]:
    """The same measures where all worlds are one law: no pessimism, and the candidates as probable as they are."""
    return _measures(jnp.zeros(()), ambiguity.radius_at(update), jnp.asarray(ambiguity.weights, jnp.float32))


def _measures(pessimism: Array, radius: Array, law: Array) -> dict[str, Array]:
    candidates = {f"candidate_{number}": weight for number, weight in enumerate(law)}
    return {"pessimism": pessimism, "radius": radius, **candidates}
