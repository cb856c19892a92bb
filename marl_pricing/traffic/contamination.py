"""The share of agents: how it moves in a market, and how a log is mixed to a wanted share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.traffic.params import Array, TrafficParams, TrafficShape

Session = TypeVar("Session")


def advance_share(key: Array, shape: TrafficShape, params: TrafficParams, share: Array) -> Array:
    """The share of agents [] in the next epoch.

    `drift` is a random walk that is reflected at its bounds; `burst` has two states, the nominal share and a high one.
    """
    if params.process is None or shape.process == "static":
        return share
    own = params.process
    if shape.process == "drift":
        moved = share + own.step * jax.random.normal(key)
        # Folded at both ends as often as needed, so that no step, however large, leaves the interval.
        width = jnp.maximum(own.high - own.low, 1e-9)
        phase = jnp.mod(moved - own.low, 2.0 * width)
        return own.low + jnp.minimum(phase, 2.0 * width - phase)
    uniform = jax.random.uniform(key)
    bursting = share == own.high
    stays = uniform >= jnp.where(bursting, own.stop_probability, own.start_probability)
    return jnp.where(bursting == stays, own.high, params.agent_share)


def shares_around(nominal: Array, offsets: Array) -> Array:
    """Evenly spaced candidates from max(0, α₀ − ε) to min(1, α₀ + ε) (the PHANTOM methodology, ambiguity set).

    Near 0 and 1 they come closer together; none comes twice.

    Args:
        nominal: [] α₀.  offsets: [C] evenly spaced from −ε to ε; one for the nominal share alone.

    Returns:
        [C] shares.
    """
    if offsets.size == 1:
        return jnp.clip(nominal + offsets, 0.0, 1.0)
    ends = jnp.clip(nominal + jnp.stack([offsets[0], offsets[-1]]), 0.0, 1.0)
    within = (nominal + offsets[0] >= 0.0) & (nominal + offsets[-1] <= 1.0)
    # Well inside, α₀ itself stays one of them to the bit.
    return jnp.where(within, nominal + offsets, jnp.linspace(ends[0], ends[1], offsets.size))


def mix(
    people: Sequence[Session], agents: Sequence[Session], share: float, seed: int = 0
) -> list[tuple[Session, bool]]:
    """The contamination generator G(α) of the PHANTOM methodology: people's sessions and as many agents' as it takes.

    All of the people's sessions are kept; agents' are drawn with replacement until their share is the nearest that
    whole sessions allow. The order is random.

    Args:
        share: α, from 0 to below 1.

    Returns:
        (session, whether it is an agent's).

    Raises:
        ValueError: for a share outside [0, 1), no people's sessions, or no agents' to draw from.
    """
    if not 0.0 <= share < 1.0:
        raise ValueError(f"share={share!r}: accepted is a number of at least 0 and below 1")
    if not len(people):
        raise ValueError("people: there are no sessions to contaminate")
    count = round(len(people) * share / (1.0 - share))
    if count and not len(agents):
        raise ValueError("agents: there are no sessions to draw from")
    random = np.random.default_rng(seed)
    drawn = [agents[i] for i in random.integers(0, len(agents), count)] if count else []
    mixed = [(session, False) for session in people] + [(session, True) for session in drawn]
    return [mixed[i] for i in random.permutation(len(mixed))]
