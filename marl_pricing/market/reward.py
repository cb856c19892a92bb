"""What an epoch is worth to a seller: profit, penalties, omega shaping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import struct

from marl_pricing.traffic import information

Array = jax.Array
Penalty = Literal["coi_leakage", "volatility", "upward_volatility", "supra_competitive", "estimate_error", "agent_loss"]
InformationValue = Literal["constant", "revelation"]
ErrorForm = Literal["symmetric", "relative"]


@dataclass(frozen=True)
class RewardShape:
    """Static half.

    Attributes:
        penalties: those that are switched on; the others are not computed.
        information_value: what a suspicious session learns: a constant, or −log π of the prices it was shown.
        error_form: `symmetric` is bounded; `relative` is the prototype's, which an offer without sales sends to a
            million.
        pay_on_order: units are paid for when ordered, not when sold.
        persistence: prices above the anchor are fined by their running excess, not by this epoch's.
        normalise_shaping: learners see r' / (1 + (1 − ω)(S − 1)), whose size does not move with ω.
    """

    penalties: tuple[Penalty, ...] = ()
    information_value: InformationValue = "constant"
    error_form: ErrorForm = "symmetric"
    pay_on_order: bool = False
    normalise_shaping: bool = True
    persistence: bool = False


class RewardParams(struct.PyTreeNode):
    """Traced half."""

    unit_cost: Array  # [N] money per unit, C
    stockout_penalty: Array  # [N] money per unit of unmet demand, P_so
    holding_cost: Array  # [N] money per unit left and epoch, h
    omega: Array  # [S] 1 selfish … 0 fully cooperative
    coi_leakage: Array  # [] λ, weight
    information_cost: Array  # [] money per session (and nat, for revelation), c_info
    volatility: Array  # [] money per unit of mean absolute relative price movement
    upward_volatility: Array  # [] the same for rises only
    supra_competitive: Array  # [] money per unit of relative excess above the anchor
    anchor: Array  # [N] money, competitive price
    estimate_error: Array  # [] money per unit of relative error of the demand estimate
    agent_loss: Array  # [] money per money lost to agents that came back in a clean session
    initial_cash: Array  # [S] money
    cash_limit: Array  # [S] money; below it a seller is bankrupt
    order_cost: Array | None = None  # [N] money for placing an order, whatever its size, K; None: nothing
    movement_floor: Array | None = None  # [] money, the least that a movement is measured against; None: 1
    excess_memory: Array | None = None  # [] weight of the past in the running excess; where there is one


def by_seller(values: Array, num_sellers: int) -> Array:
    """Sum offers [N] to sellers [S]."""
    return values.reshape(num_sellers, -1).sum(-1)


def seller_mean(values: Array, num_sellers: int) -> Array:
    """Average offers [N] to sellers [S]."""
    return values.reshape(num_sellers, -1).mean(-1)


def profit(
    shape: RewardShape,
    params: RewardParams,
    *,
    price_paid: Array,
    sales: Array,
    unmet: Array,
    stock_left: Array | None,
    ordered: Array,
    placed: Array | None = None,
) -> Array:
    """Profit less stockout, holding and ordering cost, by offer: revenue − C·S − P_so·unmet − h·I' − K·1{ordered}.

    DESIGN 2.7; the cost of placing an order is Scarf's (1960).

    Args:
        price_paid: [N] money per unit.  sales, unmet, ordered: [N] units.
        stock_left: [N] units after sales; None where stock is unlimited (then nothing is held).
        placed: [N] probability that an order was placed; None: 1 where anything was ordered.

    Returns:
        [N] money.
    """
    paid_units = ordered if shape.pay_on_order else sales
    value = price_paid * sales - params.unit_cost * paid_units - params.stockout_penalty * unmet
    if params.order_cost is not None:
        value -= params.order_cost * ((ordered > 0).astype(value.dtype) if placed is None else placed)
    return value if stock_left is None else value - params.holding_cost * stock_left


def relative_movement(prices: Array, last: Array, floor: Array | None = None) -> Array:
    """(p_t − p_{t−1}) / max(p_{t−1}, floor), by offer [N] (the PHANTOM methodology, UX index).

    Args:
        floor: [] money; None: the document's 1, so that movements of prices below 1 count in money.
    """
    return (prices - last) / jnp.maximum(last, 1.0 if floor is None else floor)


def excess_above(prices: Array, anchor: Array) -> Array:
    """max(0, p / anchor − 1), by offer [N]."""
    return jnp.maximum(prices / anchor - 1.0, 0.0)


def running_excess(before: Array, prices: Array, params: RewardParams) -> Array:
    """E_t = ρ E_{t−1} + (1 − ρ) max(0, p_t / anchor − 1), by offer [N]: excess that lasts (the PHANTOM methodology).

    An excess held for k epochs counts 1 − ρᵏ of itself; its half-life is log ½ / log ρ epochs.
    """
    memory = params.excess_memory
    assert memory is not None
    return memory * before + (1.0 - memory) * excess_above(prices, params.anchor)


def penalties(
    shape: RewardShape,
    params: RewardParams,
    num_sellers: int,
    *,
    prices: Array,
    last_prices: Array,
    people: Array,
    events: Array,
    leaked: Array,
    scores: Array,
    log_prob: Array | None,
    excess: Array | None = None,
) -> Array:
    """Sum [S] of the penalties that are switched on (the PHANTOM methodology, reward engineering).

    - `coi_leakage`: λ · Σ_m f_m · c_info over the epoch's sessions m, shared equally by the sellers, because a session
      reads them all;
    - `volatility`: weight · mean |Δp / max(p, floor)|;  `upward_volatility`: weight · mean max(0, Δp / max(p, floor));
    - `supra_competitive`: weight · mean max(0, p / anchor − 1), or of its `running_excess`;
    - `estimate_error`: weight · mean |D_H − q̂| / (D_H + q̂), bounded by the weight (0 where both are 0), or, `relative`,
      |D_H − q̂| / (D_H + 1e-6), with D_H what people ordered (PHANTOM's prototype);
    - `agent_loss`: weight · max(0, revenue had recon and purchase been linked − revenue).

    Args:
        prices, last_prices: [N] money.  people: [N] units that people ordered.  events: [N] demand proxy.
        leaked: [N] money, linked less observed revenue.  scores: [M] suspicion of each session.
        log_prob: [S] of the prices under each seller's policy; only for `revelation`.
        excess: [N] running excess, this epoch's included; None: this epoch's alone.

    Raises:
        ValueError: for `revelation` without `log_prob`.
    """
    total = jnp.zeros((num_sellers,))
    movement = relative_movement(prices, last_prices, params.movement_floor)
    if "coi_leakage" in shape.penalties:
        leak = information.constant_tax(params.information_cost, scores)
        if shape.information_value == "revelation":
            if log_prob is None:
                raise ValueError("reward.information_value='revelation' needs the log-probability of the prices")
            leak = information.revelation(params.information_cost, scores, log_prob)
        total += params.coi_leakage * leak / num_sellers
    if "volatility" in shape.penalties:
        total += params.volatility * seller_mean(jnp.abs(movement), num_sellers)
    if "upward_volatility" in shape.penalties:
        total += params.upward_volatility * seller_mean(jnp.maximum(movement, 0.0), num_sellers)
    if "supra_competitive" in shape.penalties:
        excess = excess_above(prices, params.anchor) if excess is None else excess
        total += params.supra_competitive * seller_mean(excess, num_sellers)
    if "estimate_error" in shape.penalties:
        error = estimate_error(shape.error_form, people, events)
        total += params.estimate_error * seller_mean(error, num_sellers)
    if "agent_loss" in shape.penalties:
        total += params.agent_loss * jnp.maximum(by_seller(leaked, num_sellers), 0.0)
    return total


def estimate_error(form: ErrorForm, people: Array, events: Array) -> Array:
    """Error of the demand proxy as an estimate of people's orders, by offer [N]; see `penalties`."""
    apart = jnp.abs(people - events)
    if form == "relative":
        return apart / (people + 1e-6)
    return apart / jnp.maximum(people + events, 1e-6)


def shape_reward(reward: Array, omega: Array) -> Array:
    """r'_i = ω_i r_i + (1 − ω_i) Σ_j r_j (the formal document of MARL pricing, 2.5). All [S]."""
    return omega * reward + (1.0 - omega) * reward.sum()


def learning_scale(shape: RewardShape, omega: Array) -> Array:
    """Factor [S] on r' for learners: 1 / (1 + (1 − ω)(S − 1)), or 1 where normalisation is off."""
    if not shape.normalise_shaping:
        return jnp.ones_like(omega)
    return 1.0 / (1.0 + (1.0 - omega) * (omega.size - 1))
