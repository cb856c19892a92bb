"""What the traffic room needs to know: sizes and choices (static), numbers (traced)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
TrafficModel = Literal["analytic", "scripted", "chain", "bank"]
Detector = Literal["kernels", "timed", "rule"]
ContaminationProcess = Literal["static", "drift", "burst"]
OrderLaw = Literal["poisson", "multinomial"]


@dataclass(frozen=True)
class TrafficShape:
    """Static half.

    Attributes:
        model: who draws the orders.
        sessions: M, shopper sessions in an epoch at intensity 1.
        capacity: the most sessions of one wave; more than this cannot come. 0 means M.
        random_orders: orders are drawn; otherwise they are their expectation. `analytic` only.
        order_law: of drawn orders: `poisson`, or `multinomial`, where each session takes one unit of one offer or
            nothing. `analytic` only.
        max_events: events after which a session is cut off.
        slots: places for the events of a session in a bank; where there are more, several share the product of one.
        purchase_slots: places for its purchases, likewise.
        refresh: the bank is drawn anew before each update of a learner.
        markup: sessions pay more the more interest they show.
        quotes: prices differ between sessions, and agents gather several of them.
        comparison: some agents buy the cheapest comparable offer that they saw.
        detector: what a session's suspicion is read from: its transitions; its times as well; or the prototype's rule.
        counts_refused: a purchase event that its session's latent type refuses counts and is seen all the same.
        price_visits: fewer sessions come at higher prices.
        process: how the share of agents moves.
    """

    model: TrafficModel = "analytic"
    sessions: int = 1
    capacity: int = 0
    random_orders: bool = True
    order_law: OrderLaw = "poisson"
    max_events: int = 40
    slots: int = 16
    purchase_slots: int = 1
    refresh: bool = False
    markup: bool = False
    quotes: bool = False
    comparison: bool = False
    detector: Detector = "kernels"
    counts_refused: bool = False
    price_visits: bool = False
    process: ContaminationProcess = "static"

    @property
    def walks_sessions(self) -> bool:
        """Whether there are sessions at all, with events and scores."""
        return self.model != "analytic"

    @property
    def pays_apart(self) -> bool:
        """Whether sessions pay other prices than those posted."""
        return self.markup or self.quotes

    @property
    def num_sessions(self) -> int:
        """Places for sessions in one wave."""
        return self.capacity or self.sessions


class RowTimes(struct.PyTreeNode):
    """What a session's clock says, seconds."""

    length: Array  # [...] events
    duration: Array  # [...] from the first event to the last
    refused_duration: Array  # [...] the same without the session's purchases
    dwell: Array  # [...] of attention, of all dwell events together


class Rows(struct.PyTreeNode):
    """Sessions reduced to what an epoch needs. Any leading axes; L slots, Q purchase slots.

    An event's product is kept as a uniform number: the attention of the day turns it into a product, so that a row
    serves any prices.
    """

    item: Array  # [..., L] uint16, where in [0, 2^16) of the attention the event's product lies
    weight: Array  # [..., L] float32, what the slot's events but purchases count in the demand proxy; 0 where empty
    purchase_item: Array  # [..., Q] uint16, as `item`
    purchases: Array  # [..., Q] float32, purchase events of the slot
    signal: Array  # [...] float32, interest shown: weights of the events that are no purchase
    views: Array  # [...] float32, events of discovery (category nav)
    log_ratio: Array  # [...] float32, log P(session | agents) − log P(session | people)
    gap: Array  # [...] float32, Δ_H − Δ_A: the same a transition
    times: RowTimes | None  # where the detector asks for them
    refused_gap: Array | None  # [...] float32, the gap without the session's purchases: what is seen where it refuses


class TimeParams(struct.PyTreeNode):
    """Gamma laws of seconds, (shape, scale), of people and of agents."""

    gaps: Array  # [2, 2] between two events
    dwell: Array  # [2, 2] of a dwell event
    dwells: Array  # [E] 1.0 at dwell events


class IdentityParams(struct.PyTreeNode):
    """What sessions say of themselves: nothing, that they are an agent's, or that and a signature that proves it."""

    rates: Array  # [2, 3] shares of people's and of agents' sessions that say each
    odds: Array  # [3] log P(said | agent) − log P(said | person)


class SessionParams(struct.PyTreeNode):
    """Numbers of the models that walk sessions. Y classes, G kinds of behaviour in a class, E states."""

    kernels: Array  # [Y, G, E, E] transition probabilities, row = source
    kind_shares: Array  # [Y, G]
    weights: Array  # [E] what an event counts in the demand proxy
    purchase: Array  # [E] 1.0 at the purchase event
    view: Array  # [E] 1.0 at events of discovery
    log_ratio: Array  # [E, E] log of agents' over people's transition probability, smoothed
    temperature: Array  # [] of f = σ(gap / temperature)
    mean_scores: Array  # [2] mean f of people's and of agents' sessions, if none refuses
    refused_scores: Array  # [2] the same if all refuse what their purchase events mean
    comparison: Array  # [] share of agents that buy the cheapest comparable offer they saw
    bank: Rows | None  # [Y, B, ...]
    units: Array | None = None  # [Y] units of a purchase event, where orders are held (`traffic.hold_orders`); else 1
    kind_logs: Array | None = (
        None  # [2, G, E, E] log-probabilities of kinds that a detector tells apart; None: one each
    )
    kind_weights: Array | None = None  # [2, G] their log shares in people and agents
    times: TimeParams | None = None  # where the detector asks for them
    identity: IdentityParams | None = None  # where sessions may say what they are
    product: Array | None = None  # [E] 1.0 where a state is about a product; None: all events are
    interest: Array | None = None  # [Y, F] shares of a class's purchases, by interest in halves; where mark-ups matter


class MarkupParams(struct.PyTreeNode):
    """A session's mark-up: 1 + strength · σ((signal − threshold) / temperature), up to a highest price."""

    strength: Array  # []
    threshold: Array  # [] interest
    temperature: Array  # [] interest
    clean_signal: Array  # [] interest that an agent's clean purchase session shows
    highest_price: Array  # [] money


class QuoteParams(struct.PyTreeNode):
    """Prices that differ between sessions: an A/B test, or drift between visits."""

    factors: Array  # [n] on the posted price, increasing, each as likely; their mean is 1
    identities: Array  # [] N ≥ 1, sessions that an agent gets a quote from; it buys at the lowest


class BrowsingParams(struct.PyTreeNode):
    """How many sessions come at a price level: (price index over the reference)^−elasticity, at most all."""

    elasticity: Array  # [Y] of the number of a class's sessions
    reference: Array  # [N] money, prices up to which all come


class ScriptParams(struct.PyTreeNode):
    """Numbers of the scripted sessions (PHANTOM's prototype)."""

    cart_probability: Array  # [] that a person puts a viewed product into the cart
    recon_mean: Array  # [] mean of the Poisson number behind the views of a recon session
    recon_multiplier: Array  # [] views for each of them
    recon_floor: Array  # [] views of any recon session
    clean_probability: Array  # [] that an agent comes back in a clean session
    weights: Array  # [3] of a view, a cart and a purchase in the demand proxy
    exclude_detected: Array  # [] 1.0: the proxy leaves out sessions that the heuristic detector flags


class ProcessParams(struct.PyTreeNode):
    """How the share of agents moves (static: not at all)."""

    low: Array  # [] lowest share of a drift
    high: Array  # [] highest share of a drift, and the share during a burst
    step: Array  # [] standard deviation of a drift's step
    start_probability: Array  # [] that a burst starts in an epoch
    stop_probability: Array  # [] that it stops


class TrafficParams(struct.PyTreeNode):
    """Traced half. A part that the model does not need is None."""

    agent_share: Array  # [] α, probability that a session is an agent's (at the start of an episode)
    purchase_rate: Array  # [Y] units that a session of a class orders at a propensity of 1
    event_scale: Array  # [] weighted events of a person's session; 1 for `analytic`
    sessions: SessionParams | None = None
    markup: MarkupParams | None = None
    script: ScriptParams | None = None
    browsing: BrowsingParams | None = None
    quotes: QuoteParams | None = None
    process: ProcessParams | None = None
    session_events: Array | None = None  # [Y] weighted events but purchases of a class's session, where sessions walk
    session_purchases: Array | None = None  # [Y] weighted purchase events of one, if it refuses none
    session_weight: Array | None = None  # [Y] orders of a class's session over a held one's; by its mean fewer come

    def without_bank(self) -> TrafficParams:
        """The same numbers without a bank of sessions: all that an expectation needs."""
        return self if self.sessions is None else self.replace(sessions=self.sessions.replace(bank=None))

    def visits_factor(self, agent_share: Array) -> Array:
        """Factor [] on the number of sessions at a share of agents."""
        if self.session_weight is None:
            return jnp.ones(())
        return 1.0 / (class_shares(self.session_weight.size, agent_share) * self.session_weight).sum()

    def session_orders(self, agent_share: Array) -> Array:
        """Units [Y] of a session of each class at a propensity of 1, times the factor on the number of sessions."""
        if self.session_weight is None:
            return self.purchase_rate
        return self.purchase_rate * self.visits_factor(agent_share)


def class_shares(num_classes: int, agent_share: Array) -> Array:
    """[Y] shares of the sessions that are people's and agents'."""
    if num_classes == 1:
        return jnp.ones((1,))
    return jnp.stack([1.0 - agent_share, agent_share])
