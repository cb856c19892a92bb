"""The promotion game: one offer a day for all customers, for the learner that sellers have. One seller, one product.

What is decided is MultiDiscrete, coupons times discounts, as one choice out of their product, in the place of a price:
two choices of their own would not find from three shallow coupons to one deep one, since one shallow and three deep are
both worse. Money is per customer and day, whatever the number of customers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.config import market_from
from marl_pricing.market import Action, MarketParams, MarketShape, Observation, Outcome
from marl_pricing.virtual_market.fair.day import wide_next
from marl_pricing.virtual_market.fair.worlds import expected_money
from marl_pricing.virtual_market.levels import NUM_LEVELS, OFFERS
from marl_pricing.virtual_market.memory import MEMORY_NAMES
from marl_pricing.virtual_market.money import day_cost, day_gmv
from marl_pricing.virtual_market.states import StateForm
from marl_pricing.widths import float32, int32

Array = jax.Array

MOST_ROI = 40.0  # what is shown of a day that costs less: 19 is that of 0.95 where every order uses a coupon
STATISTICS = ("mean", "sd", "max", "min")
OBSERVED = (
    *(f"{name} of {dimension}" for name in STATISTICS for dimension in MEMORY_NAMES),
    "orders a customer of the day before", "ROI of the day before", "ROI so far", "day (share of the episode)",
    "GMV so far above what the threshold asks for (share of an episode's without coupons)",
    *(f"weekday {number}" for number in range(7)),
)  # fmt: skip


class PromotionParams(MarketParams):
    """A market's numbers, and what the promotion game is played with. K worlds, N states to start from."""

    world: Any = None  # `LearnedWorlds` or `TrueWorld`
    odds: Array | None = None  # [K] probability that an episode is played in each world
    starts: Array | None = None  # [N, 21, C] memories
    weekdays: Array | None = None  # [N] int32, of the first day from each
    zero_gmv: Array | None = None  # [K] GMV a customer and day without coupons, money, measured
    threshold: Array | None = None  # [] return on investment that is asked for
    centre: Array | None = None  # [84] of the statistics that are observed
    spread: Array | None = None  # [84]
    doubt: Array | None = None  # [] standard deviation of what an episode adds to the log odds at each depth
    unit: Array | None = None  # [] money a customer and day that is left or missing is shown in
    lean: Any = None  # `lean.Lean`, whose logits come behind what is observed; None: nothing does


class PromotionState(struct.PyTreeNode):
    """An episode."""

    memory: Array  # [21, C]
    world: Array  # [] int32
    weekday: Array  # [] int32, of the coming day
    day: Array  # [] int32, days so far
    orders: Array  # [] a customer, of the day before
    roi: Array  # [] of the day before; 0 before the first
    gmv: Array  # [] money a customer so far
    cost: Array  # [] money a customer so far
    doubt: Array  # [41] added to everybody's log odds of an order where the offer is made
    known: Array  # [21, C] memories that answers are learned from: those of the episode's first day, or `memory`


def group_statistics(memory: Any, xp: Any = jnp) -> Any:
    """[..., 84] mean, standard deviation, largest and least of every dimension of memories [..., 21, C]."""
    parts = [xp.mean(memory, -1), xp.std(memory, -1), xp.max(memory, -1), xp.min(memory, -1)]
    return xp.concatenate(parts, -1)


def scales(starts: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
    """(centre [84], spread [84]) of what is observed: over the states to start from, as wide as an episode moves it.

    Args:
        starts: [N, 21, C] memories.  days: of an episode, a tenth of which a number that does not move is wide.
    """
    seen = group_statistics(np.asarray(starts, float), np)
    centre = seen.mean(0)
    return centre, np.maximum(np.maximum(seen.std(0), 0.1 * np.abs(centre)), 0.1 * days / 14)


def doubts_of(depths: Any) -> Any:
    """[..., 41] what is added to each offer, of what is at each depth [..., 8]: nothing without a coupon.

    What a log can misjudge is how customers take a depth, the same for any number of coupons; that they are many must
    not make it look like so many chances.
    """
    level = np.round((0.95 - OFFERS[1:, 1]) / 0.05).astype(int)
    nought = depths[..., :1] * 0.0
    return jnp.concatenate([nought, depths[..., level]], -1)


def shown_left(gmv: Any, cost: Any, threshold: Any, unit: Any, days: int, xp: Any = jnp) -> Any:
    """What GMV is above the threshold's share of the cost so far, money a customer, as a policy is shown it."""
    return xp.clip(4.0 * (gmv - threshold * cost) / (unit * days), -4.0, 4.0)


def shown_roi(gmv: Any, cost: Any, xp: Any = jnp) -> Any:
    """GMV over cost, at most `MOST_ROI`."""
    return xp.minimum(gmv / xp.maximum(cost, 1e-6), MOST_ROI)


def observe(params: PromotionParams, state: PromotionState, days: int) -> Observation:
    """What the platform sees before a day, and beside it what a central critic may: the world, and what is amiss."""
    statistics = jnp.clip((group_statistics(state.memory) - params.centre) / params.spread, -5.0, 5.0)
    so_far = jnp.where(state.day > 0, shown_roi(state.gmv, state.cost), 0.0)
    assert params.zero_gmv is not None and params.threshold is not None
    left = shown_left(state.gmv, state.cost, params.threshold, params.unit, days)
    now = jnp.stack([state.orders, state.roi / 10.0, so_far / 10.0, state.day / days, left])
    weekday = (jnp.arange(7) == state.weekday).astype(jnp.float32)
    seen = local = jnp.concatenate([statistics, now, weekday])
    if params.lean is not None:
        local = jnp.concatenate([seen, params.lean.logits(state.day, state.gmv, state.cost)])
    world = (jnp.arange(params.zero_gmv.shape[0]) == state.world).astype(jnp.float32)
    totals = jnp.stack([state.gmv, state.cost * params.threshold]) / (params.zero_gmv[state.world] * days)
    amiss = state.doubt[1:NUM_LEVELS]  # of one coupon at each depth
    return Observation(local=local[None], state=jnp.concatenate([seen, totals, world, amiss]), order_mask=None)


def final_reward(gmv: Any, cost: Any, zero_gmv: Any, threshold: Any) -> Array:
    """GMV over GMV without coupons where the ROI reaches the threshold, else the ROI less the threshold (the document).

    Args:
        gmv, cost: of all days.  zero_gmv: of as many days without coupons, the same unit.
    """
    reached = gmv >= threshold * cost
    return jnp.where(reached, gmv / zero_gmv, gmv / jnp.maximum(cost, 1e-6) - threshold)


def standing(gmv: Array, cost: Array, zero_gmv: Array, threshold: Array) -> Array:
    """What an episode stands at before its end: score so far, less what is missing below the threshold.

    Learners are told its changes day by day, and on the last day what is left of the reward: a sum that is the reward
    itself, as shaping by a potential is (Ng, Harada and Russell 1999), but says which day did what.
    """
    return (gmv + jnp.minimum(gmv - threshold * cost, 0.0)) / zero_gmv


@dataclass(frozen=True)
class PromotionGame:
    """`learning.trajectory.Game`: an episode is `days` days of one offer for all.

    Attributes:
        days: of an episode.  form: how states move.
        customers: of an episode; None: all of them. As many as that are taken at equal distances among those that are
            there, from a first one that is drawn: where they lie by what they spend, samples are alike.
        expected: money is what is expected of a day's law, not what is drawn; states are drawn all the same.
        moving: customers answer by what they did in the episode, too; else by what was known of them when it began.
            States move either way. Who makes up what he then learns from learns nothing of a customer, so that the
            mean of answers should not move; where it does, the networks are asked for what no log has shown them.
    """

    days: int = 14
    form: StateForm = "order_days"
    customers: int | None = None
    expected: bool = False
    moving: bool = False

    def begin(self, memory: Array, weekday: Array, world: Array, doubt: Array) -> PromotionState:
        """The first day, from memories [21, C] in a world, with its doubts [41]."""
        nought = jnp.zeros(())
        return PromotionState(
            memory, jnp.int32(world), jnp.int32(weekday), jnp.int32(0), nought, nought, nought, nought, doubt, memory
        )

    def reset(self, key: Array, shape: MarketShape, params: MarketParams) -> tuple[PromotionState, Observation]:
        """From one of the states to start from, in one of the worlds."""
        del shape
        assert isinstance(params, PromotionParams) and params.starts is not None and params.weekdays is not None
        assert params.odds is not None and params.doubt is not None
        keys = jax.random.split(key, 4)
        start = jax.random.randint(keys[0], (), 0, params.starts.shape[0])
        world = jax.random.categorical(keys[1], jnp.log(params.odds))
        memory = params.starts[start]
        there = memory.shape[1]
        if self.customers is not None and self.customers < there:
            first = jax.random.uniform(keys[2])
            memory = memory[:, ((first + jnp.arange(self.customers)) * (there / self.customers)).astype(jnp.int32)]
        doubt = doubts_of(params.doubt * jax.random.normal(keys[3], (NUM_LEVELS - 1,)))
        state = self.begin(memory, params.weekdays[start], world, doubt)
        return state, observe(params, state, self.days)

    def step(
        self, key: Array, shape: MarketShape, state: Any, action: Action, params: MarketParams
    ) -> tuple[PromotionState, Observation, Outcome]:
        """A day. `Outcome` has offers of share paid, orders a customer, and the reward; nothing is out of stock."""
        assert isinstance(params, PromotionParams) and params.zero_gmv is not None and params.threshold is not None
        offer = jnp.asarray(OFFERS, jnp.float32)[action.price[0, 0]]
        shift = state.doubt[action.price[0, 0]]
        answer, law = params.world.draw(key, state.world, state.known, offer, state.weekday, shift)
        orders, fee = answer
        if self.expected:
            gmv, cost = (own.mean() for own in expected_money(law, offer[0], offer[1]))
        else:
            cost = day_cost(offer[0], offer[1], orders, fee, jnp).mean()
            gmv = day_gmv(offer[0], offer[1], orders, fee, jnp).mean()
        memory = wide_next(state.memory, offer[0], offer[1], answer, self.form)
        after = PromotionState(
            memory=memory,
            world=state.world,
            weekday=(state.weekday + 1) % 7,
            day=state.day + 1,
            orders=orders.mean(),
            roi=shown_roi(gmv, cost),
            gmv=state.gmv + gmv,
            cost=state.cost + cost,
            doubt=state.doubt,
            known=memory if self.moving else state.known,
        )
        over = after.day >= self.days
        zero = params.zero_gmv[state.world] * self.days
        whole = final_reward(after.gmv, after.cost, zero, params.threshold)
        reward = jnp.where(over, whole, 0.0)
        before, now = (standing(own.gmv, own.cost, zero, params.threshold) for own in (state, after))
        learning = jnp.where(over, whole, now) - before
        told = _outcome(shape, offer[1], orders.mean(), reward, learning, over)
        return after, observe(params, after, self.days), told


def _outcome(shape: MarketShape, share: Array, orders: Array, reward: Array, learning: Array, over: Array) -> Outcome:
    one, nought = jnp.ones((shape.num_offers,)), jnp.zeros((shape.num_offers,))
    own = jnp.broadcast_to(reward, (1,))
    return Outcome(
        prices=one * share, price_paid=one * share, stock=one * jnp.inf, arrivals=nought, orders=(one * orders)[None],
        demand=one * orders, sales=one * orders, unmet=nought, ordered=nought, on_order=nought, events=nought,
        price_linked=one * share, visits=jnp.zeros(()), views=jnp.zeros(()), suspicion=jnp.zeros(()),
        agent_share=jnp.zeros(()), level=one, intensity=jnp.ones(()), reward=own, shaped=own,
        learning=jnp.broadcast_to(learning, (1,)),
        acted=jnp.ones((1,), bool), terminated=jnp.broadcast_to(over, (1,)), truncated=over,
    )  # fmt: skip


@cache
def _market(days: int) -> Any:
    """One seller of one product, with as many prices as there are offers."""
    return market_from(
        {
            "num_sellers": 1,
            "episode_length": days,
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "prices": {"map": "levels", "low": 0.60, "high": 0.95, "num_price_levels": len(OFFERS)},
            "inventory": {"rule": "unlimited"},
            "reward": {"unit_cost": 0.0},
        },
        {"sessions_per_epoch": 1},
    )


def promotion_params(
    world: Any,
    starts: np.ndarray,
    weekdays: Sequence[int] | np.ndarray,
    *,
    days: int,
    threshold: float,
    zero_gmv: np.ndarray | None = None,
    odds: np.ndarray | None = None,
    doubt: float = 0.0,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
    unit: float = 1.0,
) -> tuple[MarketShape, PromotionParams]:
    """The two halves of a promotion game, as the learner takes them.

    Args:
        starts: [N, 21, C].  weekdays: [N].
        zero_gmv: [K]; None: to be measured, ones until then.  odds: [K]; None: equal.  doubt: as `PromotionParams`.
        scale: `scales` of what is observed; None: of these starts.  unit: as `PromotionParams`.
    """
    shape, base = _market(days).shape, _market(days).params
    centre, spread = scales(starts, days) if scale is None else scale
    count = world.count

    params = PromotionParams(
        **{name: getattr(base, name) for name in ("demand", "traffic", "inventory", "prices", "reward")},
        world=world,
        odds=float32(np.full(count, 1 / count) if odds is None else odds),
        starts=float32(starts),
        weekdays=int32(weekdays),
        zero_gmv=float32(np.ones(count) if zero_gmv is None else zero_gmv),
        threshold=float32(threshold),
        centre=float32(centre),
        spread=float32(spread),
        doubt=float32(doubt),
        unit=float32(unit),
    )
    return shape, params
