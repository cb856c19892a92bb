"""Tabular Q-learning (Watkins and Dayan 1992) on segments of many environments at once.

`policies.q_learning` is the same rule where sellers price one known game for millions of periods, its tables laid out
for that; this one learns in any market whose observation fits into a table, on the rollout of all learners.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import jax
import jax.numpy as jnp
from pydantic import Field

from marl_pricing import market
from marl_pricing.learning import normalisation
from marl_pricing.learning.action_values.heads import EpsilonGreedy, best_value, split_values, value_of
from marl_pricing.learning.action_values.learner import epsilon
from marl_pricing.learning.action_values.settings import ExplorationSettings
from marl_pricing.learning.actions import Heads
from marl_pricing.learning.advantage import one_step_target
from marl_pricing.learning.learner import Learner, next_segment, sizes_of
from marl_pricing.learning.losses import explained_variance
from marl_pricing.learning.measures import segment_measures
from marl_pricing.learning.networks import Parameters, head_sizes
from marl_pricing.learning.normalisation import ValueStatistics
from marl_pricing.learning.qtable.table import TableSpec
from marl_pricing.learning.schedule import learning_rate
from marl_pricing.learning.settings import Count
from marl_pricing.learning.state import Learnable, TrainState
from marl_pricing.learning.trajectory import Game
from marl_pricing.market import MarketParams, MarketShape

Array = jax.Array
Sum = Callable[[Any], Any]

LARGEST = 2**24  # entries of all tables of a seed


class QTableSettings(ExplorationSettings, frozen=True):
    """Tabular Q-learning (Watkins and Dayan 1992). `learning_rate` is the weight α of what was just seen."""

    algorithm: Literal["qtable"] = "qtable"
    sharing: Literal["shared", "per_seller"] = "per_seller"
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    learning_rate_end: Annotated[float, Field(ge=0, le=1)] = 0.02
    bins: Count = 21  # values from -1 to 1 that each observed entry is rounded to
    num_epochs: Annotated[int, Field(ge=1, le=10_000)] = 2


@dataclass(frozen=True)
class QTable(Learner):
    """Q-learning in a table: one-step targets, each entry moved by the mean error of the steps that met it."""

    settings: QTableSettings
    actor: TableSpec

    @classmethod
    def make(
        cls,
        settings: Any,
        shape: MarketShape,
        params: MarketParams,
        *,
        game: Game = market,
    ) -> Self:
        """Size the table for a market. Raises ValueError for one that is too large."""
        local, choices = sizes_of(shape, params, game).local, shape.num_products * sum(head_sizes(shape))
        table = TableSpec(local, settings.bins, choices, shape.num_sellers, settings.sharing == "per_seller")
        entries = table.num_states * choices * (shape.num_sellers if table.stacked else 1)
        if entries > LARGEST:
            raise ValueError(
                f"learner.bins={settings.bins!r}: a table over {local} observed entries and {choices} choices has "
                f"{entries:.2g} values; accepted are {LARGEST}: fewer bins, or fewer market.features"
            )
        return cls(settings, shape, table, game=game)

    def first_learnable(self, actor_key: Array, critic_key: Array) -> Learnable:
        """Tables of zeros."""
        return self.with_optimisers(self.actor.init(actor_key), None)

    def with_optimisers(self, actor: Parameters, critic: Parameters) -> Learnable:
        """Tables; they have no optimiser."""
        return Learnable(actor, critic, None, None)

    def first_statistics(self) -> ValueStatistics:
        """Nothing: a table speaks the reward's units."""
        return normalisation.start(1)

    @property
    def heads(self) -> Heads:
        """Policies are played as they explore at the end."""
        return EpsilonGreedy(self.settings.epsilon_end)

    @property
    def facts(self) -> dict[str, Any]:
        """What its tables depend on beside the market, by the setting that decides it."""
        own = self.settings
        return {"learner.algorithm": own.algorithm, "learner.bins": own.bins, "learner.sharing": own.sharing}

    def update(
        self, state: TrainState, params: MarketParams, env_index: Array, total: Sum = lambda x: x
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update; see `Learner.update`."""
        own, shape, table = self.settings, self.shape, self.actor
        chance, rate = epsilon(own, state.update), learning_rate(own, state.update)
        before, params, after, segment = next_segment(self, state, params, env_index, EpsilonGreedy(chance))
        now, then, happened = segment.observation, segment.following, segment.outcome
        live = segment.live.astype(jnp.float32)
        place, which = table.state_of(now.local), table.table_of()
        heads = len(segment.indices) * shape.num_products  # of one choice: each takes its share of the error
        starts = _starts(shape)

        def errors(values: Array) -> tuple[Array, Array]:
            best = best_value(split_values(shape, table.read({"values": values}, then.local), then.order_mask))
            target = one_step_target(happened.learning, best, happened.terminated, own.gamma)
            said = value_of(split_values(shape, values[which, place], now.order_mask), segment.indices)
            return target, said

        def sweep(values: Array, _: Array) -> tuple[Array, Array]:
            target, said = errors(values)
            moved, met = jnp.zeros_like(values), jnp.zeros_like(values)
            for start, index in zip(starts, segment.indices, strict=True):
                at = which[:, None], place[..., None], index + start
                moved = moved.at[at].add(((target - said) * live)[..., None])
                met = met.at[at].add(live[..., None])
            moved, met = total((moved, met))
            error = total((((target - said) ** 2) * live).sum()) / jnp.maximum(total(live.sum()), 1.0)
            return values + rate / heads * moved / jnp.maximum(met, 1.0), 0.5 * error

        measures = segment_measures(shape, params, segment, total)
        first = before.learnable.actor["values"]
        target, said = errors(first)
        values, losses = jax.lax.scan(sweep, first, jnp.arange(own.num_epochs))
        measures |= {
            "value_loss": losses[-1],
            "explained_variance": explained_variance(said, target, live, total),
            "learning_rate": rate,
            "epsilon": chance,
        }
        learnable = before.learnable.replace(actor={"values": values})
        return after.replace(learnable=learnable, update=after.update + 1), measures


def _starts(shape: MarketShape) -> list[Array]:
    """Column [P] of the table at which each head's choices begin, product by product."""
    sizes = head_sizes(shape)
    product = jnp.arange(shape.num_products) * sum(sizes)
    return [product + sum(sizes[:number]) for number in range(len(sizes))]
