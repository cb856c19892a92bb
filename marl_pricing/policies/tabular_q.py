"""Sellers that learn by tabular Q-learning (Calvano, Calzolari, Denicolò and Pastorello 2020): which market they can
have, what they can be told, and how what they learned plays.

A state is every seller's last price level: there are Z = K^S of them, counted with the last seller's level fastest.
`q_learning.learn` fills the tables, `q_sessions` says what they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from pydantic import BaseModel, Field

from marl_pricing.equilibrium import static
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Policy
from marl_pricing.policies.constant import nothing
from marl_pricing.policies.expectations import RuleError
from marl_pricing.policies.targets import no_surprise
from marl_pricing.traffic.params import Array


class QLearningSettings(BaseModel, frozen=True, extra="forbid", strict=True, allow_inf_nan=False):
    """Calvano et al. (2020), section II; the defaults are those of their representative experiment."""

    learning_rate: Annotated[float, Field(gt=0, le=1, description="α, weight of what was just seen")] = 0.15
    exploration_decay: Annotated[
        float, Field(ge=0, description="β: a seller explores in period t with probability exp(-β t)")
    ] = 4e-6
    discount: Annotated[float, Field(ge=0, lt=1, description="δ, of a period")] = 0.95
    patience: Annotated[
        int, Field(ge=1, lt=2**31, description="periods without a new greedy strategy that end a session: converged")
    ] = 100_000
    max_periods: Annotated[
        int, Field(ge=1, le=2_000_000_000, description="periods after which a session ends, converged or not")
    ] = 10_000_000


@dataclass(frozen=True)
class PricingGame:
    """The one-shot game that sellers with S price grids of K levels play in every period.

    Attributes:
        levels: [S, K] money.
        profits: [Z, S] money per period, raw, at the levels of state z.
        payoffs: [Z, S] money per period, as sellers value them: ω π_i + (1 − ω) Σ_j π_j.
    """

    levels: np.ndarray
    profits: np.ndarray
    payoffs: np.ndarray

    @property
    def num_sellers(self) -> int:
        """S."""
        return self.levels.shape[0]

    @property
    def num_levels(self) -> int:
        """K."""
        return self.levels.shape[1]

    @property
    def num_states(self) -> int:
        """Z = K^S."""
        return self.num_levels**self.num_sellers

    @property
    def shape(self) -> tuple[int, ...]:
        """K for each seller: what `np.unravel_index` needs to turn a state into levels."""
        return (self.num_levels,) * self.num_sellers

    def levels_of(self, states: np.ndarray) -> np.ndarray:
        """Level indices [..., S] of states [...]."""
        return np.stack(np.unravel_index(states, self.shape), -1)

    def state_of(self, levels: np.ndarray) -> np.ndarray:
        """States [...] of level indices [..., S]."""
        return np.ravel_multi_index(tuple(np.moveaxis(levels, -1, 0)), self.shape)

    def prices_of(self, states: np.ndarray) -> np.ndarray:
        """Prices [..., S], money, of states [...]."""
        return self.levels[np.arange(self.num_sellers), self.levels_of(states)]


def pricing_game(shape: MarketShape, params: MarketParams) -> PricingGame:
    """The market as a game repeated without change.

    Raises:
        RuleError: for a market that is more than its one-shot payoffs on a grid of prices.
        equilibrium.static.NoEquilibriumError, ValueError: as `equilibrium.static.grid_payoffs`.
    """
    _need_repeated_game(shape)
    payoffs = static.grid_payoffs(shape, params)
    own = params.replace(reward=params.reward.replace(omega=jnp.ones_like(params.reward.omega)))
    profits = static.grid_payoffs(shape, own)
    by_state = (-1, shape.num_sellers)
    return PricingGame(
        np.asarray(params.prices.levels, np.float64), profits.reshape(by_state), payoffs.reshape(by_state)
    )


def _need_repeated_game(shape: MarketShape) -> None:
    visitors = shape.traffic
    faults = (
        (shape.num_sellers < 2, f"market.num_sellers={shape.num_sellers}: accepted is at least 2"),
        (shape.num_products > 1, f"market.num_products={shape.num_products}: accepted is 1"),
        (shape.prices.map != "levels", f"market.prices.map={shape.prices.map!r}: accepted is 'levels'"),
        (not shape.inventory.unlimited, f"market.inventory.rule={shape.inventory.rule!r}: accepted is 'unlimited'"),
        (shape.demand.moving_level, "market.level.volatility: accepted is 0"),
        (shape.demand.noisy_level, "market.level.noise: accepted is 0"),
        (shape.demand.season, "market.season: accepted is none"),
        (shape.demand.shocks, "market.shocks.probability: accepted is 0"),
        (visitors.model != "analytic", f"traffic.model={visitors.model!r}: accepted is 'analytic'"),
        (visitors.random_orders, "traffic.random_orders=True: accepted is false"),
        (visitors.process != "static", f"traffic.process.kind={visitors.process!r}: accepted is 'static'"),
        (bool(shape.reward.penalties), f"market.reward: penalties {list(shape.reward.penalties)}: accepted is none"),
        (shape.bankruptcy, "market.bankruptcy.initial_cash: accepted is null"),
        (shape.collapse_patience > 0, f"market.collapse_patience={shape.collapse_patience}: accepted is 0"),
    )
    told = [f"tabular_q: {fault}" for wrong, fault in faults if wrong]
    if told:
        raise RuleError("\n".join(told))


def first_values(game: PricingGame, discount: float) -> np.ndarray:
    """Q_i(z, a) [S, K] before learning, the same in every state (Calvano et al. 2020, eq. 8).

    The discounted payoff of setting `a` for ever against rivals who take every level alike.
    """
    by_level = game.payoffs.reshape(*game.shape, game.num_sellers)
    sellers = range(game.num_sellers)
    means = [by_level[..., i].mean(axis=tuple(j for j in sellers if j != i)) for i in sellers]
    return np.stack(means) / (1.0 - discount)


class TabularParameters(struct.PyTreeNode):
    """Numbers of a table that plays."""

    greedy: Array  # [Z, S] int32 level index that each seller sets next, by state


# One function a shape, so that all sessions share one compiled program.
@lru_cache(maxsize=64)
def _act(shape: MarketShape) -> Callable[..., tuple[Action, Any]]:
    def act(
        parameters: TabularParameters,
        key: Array,
        memory: Any,
        observation: Observation,
        state: MarketState,
        params: MarketParams,
    ) -> tuple[Action, Any]:
        # A market may start at prices that are not on the grid.
        last = jnp.abs(params.prices.levels - state.prices[:, None]).argmin(-1)
        number = jnp.ravel_multi_index(tuple(last), (shape.prices.num_levels,) * shape.num_sellers, mode="clip")
        return Action(parameters.greedy[number][:, None], None, no_surprise(shape)), memory

    return act


def tabular(shape: MarketShape, greedy: np.ndarray) -> Policy:
    """Play the greedy strategies of one session: each seller answers the last prices on the market.

    Args:
        greedy: [Z, S] level index by state, one session of `q_learning.Learned.greedy`.

    Raises:
        RuleError: where the strategies do not fit the market's grid, or sellers also choose orders.
    """
    if shape.prices.map != "levels" or shape.num_products > 1 or shape.chooses_orders:
        raise RuleError("tabular_q: plays where sellers choose one price each from market.prices.map='levels'")
    table = np.asarray(greedy)
    accepted = (shape.prices.num_levels**shape.num_sellers, shape.num_sellers)
    if table.shape != accepted or table.min() < 0 or table.max() >= shape.prices.num_levels:
        raise RuleError(
            f"greedy of shape {table.shape}: accepted are {accepted} indices below {shape.prices.num_levels}"
        )
    return Policy("tabular_q", TabularParameters(jnp.asarray(table, jnp.int32)), nothing, _act(shape))
