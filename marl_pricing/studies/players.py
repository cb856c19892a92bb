"""Learned sellers at the table of a PettingZoo environment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.learning import actions
from marl_pricing.learning.actions import Heads
from marl_pricing.learning.networks import Acting
from marl_pricing.market import MarketParams, MarketShape, layout
from marl_pricing.studies.loading import LoadedRun

Array = jax.Array


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _act(
    actor: Acting, shape: MarketShape, heads_of: Heads, greedy: bool, params: MarketParams, parameters: Any, key: Array,
    memory: Array, seen: Array, order_mask: Array | None,
) -> tuple[Array, Array]:  # fmt: skip
    """(actions [S, heads], memory [S, M]) of one epoch; seen [S, O], order_mask [S, P, Q]."""
    logits, memories = actor.step(parameters, seen[None], memory[None])
    heads = heads_of(shape, logits[0], order_mask)
    indices = actions.greedy(heads) if greedy else actions.sample(key, heads)
    action = actions.to_action(shape, params, heads, indices)
    parts = [action.price] if action.order is None else [action.price, action.order]
    return jnp.concatenate(parts, -1), memories[0]


class Players:
    """The sellers of one training seed, with what they remember of the episode.

    Args:
        greedy: their most probable actions; otherwise draws, by `reset`'s seed.

    Raises:
        ConfigError: for a seed that the run has not; where others held seats in training, whom an environment does
            not seat.
    """

    def __init__(self, run: LoadedRun, seed: int, *, greedy: bool) -> None:
        if not 0 <= seed < run.settings.learner.num_seeds:
            raise refuse("seed", seed, f"0 to {run.settings.learner.num_seeds - 1}, the run's seeds")
        if run.held:
            who = ", ".join(f"seller {seller}: {holder}" for seller, holder in run.held.items())
            raise ConfigError(f"players: accepted are runs in which all seats learned, not one with {who}")
        self._learner, self._greedy = run.experiment.learner, greedy
        self._params = run.experiment.market.params
        self._actor = jax.tree.map(lambda leaf: leaf[seed], run.networks.actor)
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Before an episode: nothing remembered.

        Args:
            seed: of the draws of sampled play.
        """
        self._memory, self._key = self._learner.actor.start(1)[0], jax.random.key(seed)

    def act(self, observations: Mapping[str, Any], infos: Mapping[str, Mapping[str, Any]] | None = None) -> dict:
        """Actions by agent of an epoch, as the environment's `step` takes them.

        Args:
            observations: [O] of every agent in the market, `seller_0`, ….
            infos: with `action_mask`, where sellers choose what to order.

        Raises:
            ValueError: for an observation of another width than the run's, or missing masks.
        """
        shape, actor = self._learner.shape, self._learner.actor
        names = {f"seller_{seller}": seller for seller in range(shape.num_sellers)}
        width = len(layout(shape))
        seen = np.zeros((shape.num_sellers, width), np.float32)
        for agent, own in observations.items():
            if agent not in names or np.shape(own) != (width,):
                raise ValueError(
                    f"observations[{agent!r}]: of shape {np.shape(own)}; accepted is ({width},) of "
                    f"{', '.join(names)}, as in the market of the run"
                )
            seen[names[agent]] = own
        self._key, key = jax.random.split(self._key)
        mask = self._order_mask(names, infos or {}) if shape.chooses_orders else None
        chosen, self._memory = _act(
            actor, shape, self._learner.heads, self._greedy, self._params, self._actor, key, self._memory,
            jnp.asarray(seen), mask,
        )  # fmt: skip
        table = np.asarray(chosen)
        single = shape.discrete_prices and table.shape[1] == 1
        return {agent: int(table[names[agent], 0]) if single else table[names[agent]] for agent in observations}

    def _order_mask(self, names: Mapping[str, int], infos: Mapping[str, Mapping[str, Any]]) -> Array:
        """[S, P, Q] which quantities may be ordered; of a seller that has left, all."""
        shape = self._learner.shape
        products, levels = shape.num_products, shape.inventory.num_order_levels
        mask = np.ones((shape.num_sellers, products, levels), bool)
        for agent, own in infos.items():
            if "action_mask" not in own:
                raise ValueError(f"infos[{agent!r}]: has no action_mask; accepted are the infos of reset() and step()")
            told = own["action_mask"]
            # By head, or one array of all heads.
            orders = (
                told[products:] if isinstance(told, tuple) else told[-products * levels :].reshape(products, levels)
            )
            mask[names[agent]] = np.asarray(orders, bool)
        if not infos:
            raise ValueError("infos: accepted are those of reset() and step(): sellers choose what to order")
        return jnp.asarray(mask)
