"""The defensive pricing loop as a game of the learners (the PHANTOM methodology, algorithm 1).

One platform moves all its prices by one factor an epoch; of the candidate shares of agents around the nominal one, that
of the least reward is the one that happens. `environments.PhantomDefenceEnv` is the same loop for other people's
learners. Learners are shown a market of one offer, the basket of all products: it has the one choice that there is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from marl_pricing import market
from marl_pricing.learning.seats import parts_of
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Observation, Outcome
from marl_pricing.market.observation import proxy_share, scaled_prices
from marl_pricing.market.types import epoch_share
from marl_pricing.traffic.contamination import shares_around

Array = jax.Array


class DefenceParams(MarketParams):
    """A market's numbers, and how far nature may go."""

    radius: Array | None = None  # [] ε_α, of the interval around the nominal share


def with_radius(params: MarketParams, radius: float) -> DefenceParams:
    """A market's numbers with the radius of its ambiguity."""
    return DefenceParams(**parts_of(params), radius=jnp.float32(radius))


def basket_shape(shape: MarketShape) -> MarketShape:
    """The market of one offer that learners are shown: one seller, one choice among the factors."""
    return replace(shape, demand=replace(shape.demand, num_products=1))


@dataclass(frozen=True)
class DefenceGame:
    """`learning.trajectory.Game`: the loop in a market of one platform.

    Attributes:
        market: its shape.
        candidates: K, shares of agents on an even grid of [α − ε, α + ε]; 1: the nominal one alone.
        brief: what is observed fits into a table: the prices' mean place in their range and the mean suspicion, both
            from −1 to 1. Otherwise it is o_t = (q̃, p) of the methodology: N shares of the demand proxy, 1 being an
            equal one, and N places of prices.
    """

    market: MarketShape
    candidates: int = 1
    brief: bool = False

    def observe(self, params: MarketParams, state: MarketState) -> Observation:
        """What the platform sees: [1, 2] or [1, 2N]."""
        places = scaled_prices(params, state.prices)
        if self.brief:
            assert state.suspicion is not None
            seen = jnp.stack([places.mean(), 2.0 * state.suspicion - 1.0])
        else:
            seen = jnp.concatenate([proxy_share(state.events) * places.size, places])
        return Observation(local=seen[None], state=seen, order_mask=None)

    def reset(self, key: Array, shape: MarketShape, params: MarketParams) -> tuple[MarketState, Observation]:
        """As `market.reset`."""
        del shape
        state, _ = market.reset(key, self.market, params)
        return state, self.observe(params, state)

    def step(
        self, key: Array, shape: MarketShape, state: MarketState, action: Action, params: MarketParams
    ) -> tuple[MarketState, Observation, Outcome]:
        """An epoch under the worst candidate; what is told of it is the basket's."""
        del shape
        state, outcome = self.advance(key, state, action.price.reshape(()), params)
        return state, self.observe(params, state), basket(outcome)

    def advance(
        self, key: Array, state: MarketState, choice: Array, params: MarketParams
    ) -> tuple[MarketState, Outcome]:
        """An epoch under the worst candidate, product by product.

        Args:
            choice: [] int32, the factor of all prices.
        """
        share = epoch_share(params, state)
        shares = share[None]
        if self.candidates > 1:
            assert isinstance(params, DefenceParams) and params.radius is not None
            shares = shares_around(share, params.radius * jnp.linspace(-1.0, 1.0, self.candidates))
        own = Action(jnp.full((1, self.market.num_products), choice, jnp.int32))
        after, _, outcome = market.step_candidates(key, self.market, state, own, params, shares)
        return market.choose_world((after, outcome), outcome.reward[:, 0].argmin())


def basket(outcome: Outcome) -> Outcome:
    """What happened, of all products together [1]: sums of units, mean prices (by units where they were paid)."""
    units = outcome.sales.sum(keepdims=True)

    def paid(price: Array) -> Array:
        weighted = (price * outcome.sales).sum(keepdims=True) / jnp.maximum(units, 1e-30)
        return jnp.where(units > 0, weighted, price.mean(keepdims=True))

    sums = ("stock", "arrivals", "demand", "sales", "unmet", "ordered", "on_order", "events")
    return outcome.replace(
        prices=outcome.prices.mean(keepdims=True),
        price_paid=paid(outcome.price_paid),
        price_linked=paid(outcome.price_linked),
        orders=outcome.orders.sum(-1, keepdims=True),
        level=outcome.level.mean(keepdims=True),
        **{name: getattr(outcome, name).sum(keepdims=True) for name in sums},
    )
