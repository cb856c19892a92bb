"""The types that the whole product speaks: shape, parameters, state, action, observation, outcome.

Axes: S sellers, P products of each, N = S·P offers (offer j = i·P + k), Y shopper classes, K price levels, Q order
levels, L epochs of the longest lead time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.demand import DemandParams, DemandShape, LinearParams, LogitParams, PowerParams
from marl_pricing.demand.patience import Waiting
from marl_pricing.market.contracts import ContractParams, ContractShape, ContractState, Supplied
from marl_pricing.market.inventory import InventoryParams, InventoryShape
from marl_pricing.market.prices import PriceParams, PriceShape
from marl_pricing.market.reward import RewardParams, RewardShape
from marl_pricing.traffic import SessionParams, TrafficParams, TrafficShape

Array = jax.Array
Feature = Literal[
    "own_price",
    "rival_price",
    "all_rival_prices",
    "stock",
    "on_order",
    "pipeline",
    "demand",
    "events",
    "proxy_share",
    "proxy_trend",
    "suspicion",
    "share_estimate",
    "agent_share",
    "omega",
    "time",
    "shock",
    "cash",
    "held_cost",
    "ordered_cost",
    "last_agreement",
]


@dataclass(frozen=True)
class MarketShape:
    """Static half of a market: hashable, and all that changes the compiled program.

    Attributes:
        episode_length: T, epochs in an episode.
        sub_slots: waves in which an epoch's shoppers come; a wave sees only offers still in stock.
        pass_over: an epoch's one wave chooses only among offers that are in stock when it comes.
        features: what a seller observes, in this order.
        bankruptcy: a seller whose cash falls below its limit leaves the market.
        collapse_patience: epochs of zero demand that end the market; 0 switches the rule off.
        contracts: supply that is bargained for; None: it costs and takes what the parameters say.
    """

    demand: DemandShape
    traffic: TrafficShape
    inventory: InventoryShape
    prices: PriceShape
    reward: RewardShape = field(default_factory=RewardShape)
    episode_length: int = 100
    sub_slots: int = 1
    pass_over: bool = False
    features: tuple[Feature, ...] = ("own_price", "rival_price", "stock", "time", "shock")
    bankruptcy: bool = False
    collapse_patience: int = 0
    contracts: ContractShape | None = None

    @property
    def num_sellers(self) -> int:
        """S."""
        return self.demand.num_sellers

    @property
    def num_products(self) -> int:
        """P."""
        return self.demand.num_products

    @property
    def num_offers(self) -> int:
        """N = S·P."""
        return self.demand.num_offers

    @property
    def chooses_orders(self) -> bool:
        """Whether sellers have a second action: the order quantity, or how long to stay tough in a bargain."""
        return self.inventory.rule in ("chosen", "contract_chosen")

    @property
    def chooses_quantities(self) -> bool:
        """Whether that second action is the order quantity."""
        return self.inventory.rule == "chosen"

    @property
    def discrete_prices(self) -> bool:
        """Whether a price action is an index (otherwise a price or a relative change)."""
        return not self.prices.continuous


class Variants(struct.PyTreeNode):
    """Other worlds that the same sellers might be in: what differs from the market's own numbers; None: nothing does.

    Arrays are of one variant, or with a leading axis [G] of several.
    """

    demand_scale: Array | None = None  # [] factor on demand
    delay: Array | None = None  # [] int32, epochs that orders come later; the pipeline has to be that long
    choice: LogitParams | PowerParams | LinearParams | None = None  # demand instead of the market's own
    sessions: SessionParams | None = None  # behaviour instead of the market's own
    purchase_rate: Array | None = None  # [Y] of those sessions
    contracts: ContractParams | None = None  # supply that is bargained for otherwise


class MarketParams(struct.PyTreeNode):
    """Traced half of a market: each room's numbers."""

    demand: DemandParams
    traffic: TrafficParams
    inventory: InventoryParams
    prices: PriceParams
    reward: RewardParams
    variants: Variants | None = None  # [G] worlds that a robust critic looks into; nothing else reads them
    observed: Array | None = None  # [N] money, mean prices of the sales behind a calibrated market; no step reads it
    contracts: ContractParams | None = None


class MarketState(struct.PyTreeNode):
    """All that the next epoch depends on. A part that the shape switches off is None and costs nothing."""

    epoch: Array  # [] int32, t
    prices: Array  # [N] money, of the last epoch; of a seller that has left, those that it left with
    demand: Array  # [N] units ordered in the last epoch
    events: Array  # [N] demand proxy of the last epoch
    trend: Array | None  # [N] change of the share of the demand proxy
    suspicion: Array | None  # [] mean score of the sessions of the last epoch that had any
    share_estimate: Array | None  # [] running mean of those scores, read as a share of agents
    visited_epochs: Array | None  # [] int32, epochs so far that had sessions
    agent_share: Array | None  # [] share of agents of the coming epoch, where it moves
    stock: Array | None  # [N] units on hand, before the arrivals of epoch t
    pipeline: Array | None  # [N, L] units that join at the start of epoch t, t + 1, …
    log_level: Array | None  # [N] latent demand level
    shock_remaining: Array | None  # [] int32, epochs that the running shock still lasts, the coming one included
    cash: Array | None  # [S] money
    active: Array | None  # [S] bool, still in the market
    quiet_epochs: Array | None  # [] int32, epochs without any demand so far
    excess: Array | None = None  # [N] running excess of prices above the anchor
    contracts: ContractState | None = None
    waiting: Waiting | None = None  # people who wait for a lower price


class Action(struct.PyTreeNode):
    """What the sellers decide for one epoch."""

    price: Array  # [S, P] int32 index of a level or factor; float32 money (`range`) or change (`adjust`)
    order: Array | None = None  # [S, P] int32 index of an order level or exponent, where sellers choose them
    log_prob: Array | None = None  # [S] of these prices under the seller's own policy; for the penalty on revelation


def take(theirs: Action, ours: Action, seats: Array) -> Action:
    """Their action in these seats [S] bool, ours in the others."""
    return jax.tree.map(lambda a, b: jnp.where(seats.reshape(-1, *(1,) * (a.ndim - 1)), a, b), theirs, ours)


class Observation(struct.PyTreeNode):
    """What is seen at the start of an epoch."""

    local: Array  # [S, O] each seller's own view
    state: Array  # [G] the whole market, for a central critic
    order_mask: Array | None  # [S, P, Q] bool, order levels that are allowed now


class Outcome(struct.PyTreeNode):
    """What happened in one epoch. N offers, S sellers, Y classes."""

    prices: Array  # [N] money, posted
    price_paid: Array  # [N] money per unit
    stock: Array  # [N] units on hand when the shoppers came (after arrivals); inf where stock is unlimited
    arrivals: Array  # [N] units that joined the stock
    orders: Array  # [Y, N] units demanded, by class
    demand: Array  # [N] units demanded, D
    sales: Array  # [N] units sold, S = min(I, D)
    unmet: Array  # [N] units, max(0, D − I)
    ordered: Array  # [N] units ordered from the supplier
    on_order: Array  # [N] units on the way after this epoch
    events: Array  # [N] demand proxy q̂
    price_linked: Array  # [N] money per unit, had agents' recon and purchase sessions been linked
    visits: Array  # [] sessions that came
    views: Array  # [] product views
    suspicion: Array  # [] mean score of the sessions; 0 where visits are 0, and then it says nothing
    agent_share: Array  # [] share of agents that the sessions were drawn with
    level: Array  # [N] latent level of demand, season and noise in it
    intensity: Array  # [] factor on the number of sessions
    reward: Array  # [S] r_i, money
    shaped: Array  # [S] r'_i = ω r_i + (1 − ω) Σ_j r_j
    learning: Array  # [S] r'_i as learners use it
    acted: Array  # [S] bool, was in the market during this epoch
    terminated: Array  # [S] bool, left it at its end (bankrupt, collapsed, or a season is over)
    truncated: Array  # [] bool, the horizon was reached
    supplied: Supplied | None = None  # contracts, where supply is bargained for


def vary(params: MarketParams, variant: Variants) -> MarketParams:
    """The market's numbers in one variant (arrays without the axis [G])."""
    demand, traffic, inventory = params.demand, params.traffic, params.inventory
    if variant.demand_scale is not None:
        demand = demand.replace(scale=demand.scale * variant.demand_scale)
    if variant.choice is not None:
        demand = demand.replace(choice=variant.choice)
    if variant.sessions is not None:
        traffic = traffic.replace(sessions=variant.sessions)
    if variant.purchase_rate is not None:
        traffic = traffic.replace(purchase_rate=variant.purchase_rate)
    if variant.delay is not None:
        inventory = inventory.replace(lead_time=inventory.lead_time + variant.delay)
    supply = params.contracts if variant.contracts is None else variant.contracts
    return params.replace(demand=demand, traffic=traffic, inventory=inventory, contracts=supply)


def epoch_share(params: MarketParams, state: MarketState) -> Array:
    """The share of agents [] of the coming epoch."""
    return params.traffic.agent_share if state.agent_share is None else state.agent_share


@dataclass(frozen=True)
class Policy:
    """Anyone who can play one market: a rule, a learned network, a table.

    Attributes:
        name: what tables and figures call it.
        parameters: a pytree handed to `act`, so that policies of one kind share one compiled program.
        start: () → memory before the first epoch of an episode (a pytree; () where nothing is remembered).
        act: (parameters, key, memory, observation, state, market parameters) → (action, memory). Pure, for one market;
            a batch is the caller's `vmap`. `state` is the whole truth: rules that know the market may read it, learned
            policies read the observation only.
    """

    name: str
    parameters: Any
    start: Callable[[], Any]
    act: Callable[[Any, Array, Any, Observation, MarketState, MarketParams], tuple[Action, Any]]
