"""Rules whose answers to force are known, all in one compiled policy; each seller has its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp

from marl_pricing.market import Action, Policy
from marl_pricing.market.observation import on_hand
from marl_pricing.market.types import epoch_share
from marl_pricing.policies.constant import nothing
from marl_pricing.policies.orders import order_towards
from marl_pricing.policies.targets import no_surprise, price_towards
from tests.markets import one_shot

T = 16
HIGH, LOW = 2.0, 1.4  # money; the price that is kept, and that of a punishment
PUNISHED = 3  # epochs of a punishment
NAMES = (
    "constant",  # HIGH
    "punish",  # HIGH, but LOW for PUNISHED epochs after a rival was below HIGH
    "grim",  # the lowest price that it ever saw a rival post
    "clock",  # by the number of its own decisions so far
    "linear",  # 0.903 + 0.23 own + 0.31 rival, of last prices
    "stock",  # 1.2 and 0.05 for each unit on hand
    "share",  # LOW while more than half of the shoppers are agents, else HIGH
    "chance",  # anything
)


def make_duopoly(**settings):
    """Expected orders, a grid of 0.1, and HIGH before the first epoch."""
    prices = {"map": "levels", "low": 1.2, "high": 2.2, "num_price_levels": 11, "start": HIGH}
    return one_shot(2, quality=[2.0, 2.1], episode_length=T, prices=prices, **settings)


def make_adjusting():
    """Two products each, set by relative changes of at most a tenth; of the shoppers 3 in 10 are agents."""
    prices = {"map": "adjust", "max_change": 0.1, "low": 0.5, "high": 3.0, "start": HIGH}
    return one_shot(2, num_products=2, episode_length=6, prices=prices, agent_share=0.3, agent={"scale": 0.1})


@lru_cache(maxsize=16)
def _functions(shape) -> tuple[Callable, Callable]:
    sellers, products = shape.num_sellers, shape.num_products

    def start():
        # Decisions so far; the lowest price of a rival; epochs of punishment left.
        return jnp.zeros((), jnp.int32), jnp.full((sellers,), HIGH), jnp.zeros((sellers,), jnp.int32)

    def act(parameters, key, memory, observation, state, params):
        count, lowest, left = memory
        last = state.prices.reshape(sellers, products).mean(-1)
        rival = (last.sum() - last) / max(sellers - 1, 1)
        lowest = jnp.minimum(lowest, rival)
        left = jnp.where(rival < HIGH - 1e-3, PUNISHED, jnp.maximum(left - 1, 0))
        held = last if state.stock is None else on_hand(shape, state).reshape(sellers, products).mean(-1)
        clock = 1.3 + 0.1 * (count % 5)
        every = jnp.stack(
            [
                jnp.full((sellers,), HIGH),
                jnp.where(left > 0, LOW, HIGH),
                lowest,
                jnp.broadcast_to(clock, (sellers,)),
                0.903 + 0.23 * last + 0.31 * rival,
                1.2 + 0.05 * held,
                jnp.broadcast_to(jnp.where(epoch_share(params, state) > 0.5, LOW, HIGH), (sellers,)),
                jax.random.uniform(key, (sellers,), minval=1.2, maxval=2.2),
            ]
        )
        wanted = every[parameters, jnp.arange(sellers)]
        price = price_towards(shape, params, state.prices, jnp.repeat(wanted, products))
        order = order_towards(shape, params, state, observation, jnp.full((shape.num_offers,), 12.0))
        return Action(price, order, no_surprise(shape)), (count + 1, lowest, left)

    return start, act


def rule(shape, names: Sequence[str]) -> Policy:
    """A policy with one rule a seller."""
    start, act = _functions(shape)
    return Policy(", ".join(names), jnp.array([NAMES.index(name) for name in names]), start, act)


@lru_cache(maxsize=16)
def _trigger(shape) -> Callable:
    def act(parameters, key, memory, observation, state, params):
        both = (state.prices > HIGH - 1e-3).all()
        price = price_towards(shape, params, state.prices, jnp.full((shape.num_offers,), jnp.where(both, HIGH, LOW)))
        return Action(price), memory

    return act


def trigger(shape) -> Policy:
    """HIGH as long as all were HIGH in the last epoch, else LOW: grim trigger with memory one."""
    return Policy("trigger", (), nothing, _trigger(shape))
