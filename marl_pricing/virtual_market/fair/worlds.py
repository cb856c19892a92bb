"""Customers as the game meets them: learned ones, a world each member of the ensemble, or those of a known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing.config.errors import ConfigError, validate
from marl_pricing.intake import IntakeError, plain
from marl_pricing.virtual_market.answers import Answer
from marl_pricing.virtual_market.counts import expected_orders, expected_taken
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.fair.day import wide_answer, wide_draw
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.simulate import SimulationSettings
from marl_pricing.virtual_market.truth import Customers, Truth, draw_customers, draw_day, hurdle, make_truth

Array = jax.Array


class DayLaw(NamedTuple):
    """What a day's orders and fees are drawn from [C]."""

    any_orders: Array  # probability of at least one order
    more: Array  # mean orders beyond the first
    fee: Array  # mean fee, money


def expected_money(law: DayLaw, coupons: Array, discount: Array) -> tuple[Array, Array]:
    """(GMV, cost) [C] that are expected of a day, money."""
    cost = (1.0 - discount) * expected_taken(law.any_orders, law.more, coupons) * law.fee
    return expected_orders(law.any_orders, law.more) * law.fee - cost, cost


class LearnedWorlds(struct.PyTreeNode):
    """Learned customers; a world is a member of the ensemble."""

    customers: Any  # parameters [K, ...] of `AnswerNetwork`
    usual: Array  # [9]
    usual_fee: Array  # [3]

    @property
    def count(self) -> int:
        """K, worlds."""
        return int(jax.tree.leaves(self.customers)[0].shape[0])

    def draw(
        self, key: Array, world: Array, memory: Array, offer: Array, weekday: Array, shift: Array
    ) -> tuple[Array, DayLaw]:
        """Orders and average fees [2, C] of a day, and their law.

        Args:
            world: [] int32.  memory: [21, C].  offer: [2] coupons and discount, of all.  weekday: [] 0 Monday.
            shift: [] added to everybody's log odds of any order.
        """
        own = jax.tree.map(lambda leaf: leaf[world], self.customers)
        answer, law = self.law(own, memory, offer, weekday)
        odds = answer.odds + shift
        return wide_draw(key, answer._replace(odds=odds)), law._replace(any_orders=jax.nn.sigmoid(odds))

    def law(self, network: Any, memory: Array, offer: Array, weekday: Array) -> tuple[Answer, DayLaw]:
        """The law of one member's day, as its network says it and as money needs it."""
        own = wide_answer(network, memory, offer[0], offer[1], weekday, self.usual, self.usual_fee)
        return own, DayLaw(jax.nn.sigmoid(own.odds), own.more, jnp.exp(own.fee + own.spread**2 / 2))


class TrueWorld(struct.PyTreeNode):
    """Customers whose truth is known: one world, and memories say nothing of it."""

    truth: Truth
    customers: Customers

    @property
    def count(self) -> int:
        """One."""
        return 1

    def draw(
        self, key: Array, world: Array, memory: Array, offer: Array, weekday: Array, shift: Array
    ) -> tuple[Array, DayLaw]:
        """As `LearnedWorlds.draw`; of all customers, about whom there is no doubt."""
        del world, memory, shift
        own = self.truth, self.customers, offer[0], offer[1], weekday
        return jnp.stack(draw_day(key, *own)), DayLaw(*hurdle(*own), jnp.exp(self.customers.log_fee))


def learned_worlds(model: VirtualMarket) -> LearnedWorlds:
    """The worlds of a model."""
    own = model.fitted
    customers, usual, usual_fee = jax.tree.map(jnp.asarray, (own.customers, own.usual, own.usual_fee))
    return LearnedWorlds(customers, usual, usual_fee)


def true_world(folder: Path | str, log: PromotionLog) -> TrueWorld:
    """The customers of a log that `simulate` left, in the log's order.

    Raises:
        LogError: for a folder that has no truth of this log.
    """
    try:
        told = plain.read_json(Path(folder) / "truth.json")
        own = validate(SimulationSettings, {**told["settings"], "out": str(folder)})
    except IntakeError as error:
        raise LogError(str(error)) from None
    except (KeyError, TypeError, ConfigError):
        raise LogError(f"truth={str(folder)!r}: accepted is a folder that simulate left") from None
    names = {str(number): number for number in range(own.customers)}
    if {str(name) for name in log.customers} != names.keys():
        raise LogError(f"truth={str(folder)!r}: is of other customers than the log's")
    place = np.array([names[str(name)] for name in log.customers])
    customers = draw_customers(own, own.customers, own.seed)
    return TrueWorld(make_truth(own)[0], jax.tree.map(lambda leaf: leaf[place], customers))
