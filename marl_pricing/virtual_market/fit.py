"""Learning customers from a log: behaviour cloning with the likelihood that answers have, an ensemble by bootstrap.

What is cloned may go on to be matched by rollouts (`matching.py`).

1. What the platform hands out is learned from memories alone: the propensity of each depth.
2. Answers are learned from memory, promotion and weekday, each customer-day weighted by how seldom its depth meets such
   a memory (stabilised inverse propensities, clipped; Robins, Hernán and Brumback 2000), so that the networks fit where
   the logging policy seldom looked, too.
3. Each member sees customers drawn with replacement.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field

from marl_pricing.presentation import pulse
from marl_pricing.virtual_market.answers import (
    AnswerNetwork,
    CouponNetwork,
    answer_loss,
    answer_of,
    coupon_logits,
    coupon_loss,
)
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.levels import NUM_LEVELS, level_of
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.matching import Cloned, MatchingSettings, match
from marl_pricing.virtual_market.memory import (
    NUM_FEATURES,
    NUM_STATE_FEATURES,
    features,
    log_arrays,
    memories_of,
    state_features,
)
from marl_pricing.virtual_market.rollouts import Days, Rollouts
from marl_pricing.virtual_market.states import StateForm

Array = jax.Array


class FitSettings(MatchingSettings):
    """How customers are learned."""

    form: StateForm = Field("order_days", description="how means move: order_days, or document (every day)")
    members: Annotated[int, Field(ge=1, le=64)] = Field(5, description="of the ensemble; the first sees every customer")
    width: Annotated[int, Field(ge=4, le=1024)] = Field(48, description="of the networks' two layers")
    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="passes over the log")
    batch: Annotated[int, Field(ge=16, le=65536)] = Field(1024, description="customer-days of a gradient step")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        4e-3, description="at first; falls to nought by a cosine"
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(1e-3, description="of AdamW")
    most_weight: Annotated[float, Field(ge=1)] = Field(
        4.0, description="largest inverse-propensity weight; 1: none at all"
    )
    number_odds: Annotated[float, Field(gt=0)] = Field(
        0.1, description="standard deviation that is believed beforehand of what the number of coupons adds to the log "
        "odds of an order, at each depth",
    )  # fmt: skip
    number_more: Annotated[float, Field(gt=0)] = Field(
        0.5, description="the same of what it adds to the orders beyond the first, on the network's scale"
    )
    skip: Annotated[int, Field(ge=0)] = Field(7, description="first days, of which only memories are made")
    holdout: Annotated[int, Field(ge=0)] = Field(0, description="last days that are kept from learning")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of networks, batches and bootstrap")


class Rows(NamedTuple):
    """Customer-days that are learned from [R, ...]."""

    memory: Array
    promotion: Array
    weekday: Array
    orders: Array
    log_fee: Array
    customer: Array


class Fitted(NamedTuple):
    """What was learned.

    Attributes:
        customers: parameters [K, ...] of `AnswerNetwork`.  platform: of `CouponNetwork`.
        usual: [9].  usual_fee: [3].
        losses: cloning's − log likelihood a customer-day in its last epoch, of each member [K].
        matched: [K, 3] as `matching.Matched.told`; None without matching.
    """

    customers: Any
    platform: Any
    usual: Any
    usual_fee: Any
    losses: np.ndarray
    matched: np.ndarray | None = None


def rows_of(log: PromotionLog, own: FitSettings) -> Rows:
    """The customer-days of a log that are learned from.

    Raises:
        LogError: for a log that is too short, for what is learned or for its rollouts, or in which nobody orders.
    """
    days = len(log.dates) - own.holdout
    if days - own.skip < 2:
        raise LogError(
            f"the log has {len(log.dates)} days: accepted are at least {own.holdout + own.skip + 2} with "
            f"skip={own.skip} and holdout={own.holdout}"
        )
    if own.matching and days - own.skip < own.matching_days:
        raise LogError(
            f"matching_days={own.matching_days}: accepted are at most the {days - own.skip} days that are learned from"
        )
    if not (log.orders[:, own.skip : days] > 0).any():
        raise LogError("the log has no order in the days that are learned from; accepted is at least one")
    part = slice(own.skip, days)
    promotions, answers = log_arrays(log)
    memory = memories_of(log.of_days(0, days), own.form)[:, :-1][:, own.skip :]
    shape = answers[:, part].shape[:2]
    fee = answers[:, part, 1]
    return Rows(
        memory=jnp.asarray(memory.reshape(-1, memory.shape[-1]), jnp.float32),
        promotion=jnp.asarray(promotions[:, part].reshape(-1, 2), jnp.float32),
        weekday=jnp.asarray(np.broadcast_to(log.weekdays[part], shape).reshape(-1), jnp.int32),
        orders=jnp.asarray(answers[:, part, 0].reshape(-1), jnp.float32),
        log_fee=jnp.asarray(np.log(np.maximum(fee, 1e-3)).reshape(-1), jnp.float32),
        customer=jnp.asarray(np.repeat(np.arange(shape[0]), shape[1]), jnp.int32),
    )


def _train(loss: Any, start: Any, rows: int, own: FitSettings, epochs: int, seed: int, what: str) -> tuple[Any, Array]:
    """(parameters, last epoch's mean loss) of AdamW on minibatches; loss(parameters, index [B]) → scalar or [K]."""
    batch = min(own.batch, rows)
    steps = rows // batch
    schedule = optax.cosine_decay_schedule(own.learning_rate, epochs * steps)
    optimiser = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(schedule, weight_decay=own.weight_decay))

    def step(carry: Any, index: Array) -> Any:
        parameters, state = carry
        (_, told), gradient = jax.value_and_grad(lambda p: (lambda x: (x.sum(), x))(loss(p, index)), has_aux=True)(
            parameters
        )
        update, state = optimiser.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, update), state), told

    @jax.jit
    def epoch(carry: Any, key: Array) -> Any:
        order = jax.random.permutation(key, rows)[: steps * batch].reshape(steps, batch)
        carry, told = jax.lax.scan(step, carry, order)
        return carry, told.mean(0)

    carry, told = (start, optimiser.init(start)), jnp.zeros(())
    for number, key in enumerate(jax.random.split(jax.random.key(seed), epochs)):
        pulse.doing(f"learning {what}, pass {number + 1} of {epochs}")
        carry, told = jax.block_until_ready(epoch(carry, key))
    return carry[0], told


def _prior(member: Any, own: FitSettings) -> Array:
    """− log of what is believed beforehand of what numbers of coupons add, constants aside."""
    odds, more = member["params"]["by_number"]
    return 0.5 * ((odds / own.number_odds) ** 2).sum() + 0.5 * ((more / own.number_more) ** 2).sum()


def fit(log: PromotionLog, own: FitSettings) -> Fitted:
    """Learn the customers of a log, and the platform that handed out its coupons. Raises LogError."""
    rows = rows_of(log, own)
    level = level_of(rows.promotion[:, 0], rows.promotion[:, 1], jnp)
    number = rows.promotion[:, 0].astype(jnp.int32)
    met = np.bincount(np.asarray(level), minlength=NUM_LEVELS)
    taken = np.bincount(np.asarray(level), weights=np.asarray(rows.orders > 0), minlength=NUM_LEVELS)
    usual = jnp.asarray((taken + 0.5) / (met + 1.0), jnp.float32)
    fees = np.asarray(rows.log_fee)[np.asarray(rows.orders) > 0]
    usual_fee = jnp.asarray([fees.mean(), max(float(fees.std()), 0.05), fees.max()], jnp.float32)
    count = len(level)

    keys = jax.random.split(jax.random.key(own.seed))
    known = jax.jit(state_features)(rows.memory, usual)

    def coupons(parameters: Any, index: Array) -> Array:
        return coupon_loss(coupon_logits(own.width, parameters, known[index]), level[index], number[index]).mean()

    start = jax.jit(CouponNetwork(own.width).init)(keys[0], jnp.zeros((1, NUM_STATE_FEATURES)))
    handing, _ = _train(coupons, start, count, own, max(own.epochs // 3, 1), own.seed, "who was given coupons")

    @jax.jit
    def inverse_propensity(handing: Any) -> Array:
        chance = jax.nn.softmax(coupon_logits(own.width, handing, known)[0])
        chance = jnp.take_along_axis(chance, level[:, None], -1)[:, 0]
        share = jnp.asarray(met / met.sum(), jnp.float32)[level]
        return jnp.clip(share / jnp.maximum(chance, 1e-4), 1 / own.most_weight, own.most_weight)

    weight = inverse_propensity(handing)
    rng = np.random.default_rng(own.seed)
    people = len(log.customers)
    draws = np.ones((own.members, people))
    for member in range(1, own.members):
        draws[member] = np.bincount(rng.integers(0, people, people), minlength=people)
    draws_ = jnp.asarray(draws, jnp.float32)

    def likelihood(member: Any, drawn: Array, index: Array) -> Array:
        at: Rows = jax.tree.map(lambda leaf: leaf[index], rows)
        inputs = features(at.memory, at.promotion, at.weekday, usual)
        told = answer_of(own.width, member, inputs, at.promotion, at.memory[:, 2], usual_fee)
        loss = (answer_loss(told, at.orders, at.log_fee) * weight[index] * drawn[at.customer]).mean()
        return loss + _prior(member, own) / count

    def answers(parameters: Any, index: Array) -> Array:
        return jax.vmap(partial(likelihood, index=index))(parameters, draws_)

    @jax.jit
    @jax.vmap
    def begin(key: Array) -> Any:
        return AnswerNetwork(own.width).init(
            key, jnp.zeros((1, NUM_FEATURES)), jnp.zeros((1, 2)), jnp.zeros(1), usual_fee
        )

    stacked = begin(jax.random.split(keys[1], own.members))
    learned, losses = _train(answers, stacked, count, own, own.epochs, own.seed + 1, "how customers answer")
    cloned = Fitted(learned, handing, np.asarray(usual), np.asarray(usual_fee), np.atleast_1d(np.asarray(losses)))
    if not own.matching:
        return cloned
    begun = Cloned(learned, draws, likelihood, count, min(own.batch, count))
    found = match(own, _rollouts(rows, cloned, own, people), begun, own.seed + 2)
    return cloned._replace(customers=found.customers, matched=found.told)


def _rollouts(rows: Rows, cloned: Fitted, own: FitSettings, people: int) -> Rollouts:
    """What rollouts stand on: the rows by customer and day."""
    answer = jnp.stack([rows.orders, jnp.where(rows.orders > 0, jnp.exp(rows.log_fee), 0.0)], axis=-1)
    days = Days(rows.memory, rows.promotion, rows.weekday, answer)
    log = jax.tree.map(lambda leaf: leaf.reshape(people, -1, *leaf.shape[1:]), days)
    usual, usual_fee = jnp.asarray(cloned.usual), jnp.asarray(cloned.usual_fee)
    return Rollouts(log, cloned.platform, usual, usual_fee, own.width, own.form)
