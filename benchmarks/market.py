"""Market steps per second: random actions, no learner."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from marl_pricing import market
from marl_pricing.config import Market, market_from

Array = jax.Array

NUM_MARKETS, NUM_STEPS = 1024, 500


def stock_market(num_sellers: int, *, random_orders: bool, rule: str) -> Market:
    """A logit market with stock, and replenishment where `rule` is not `none`."""
    inventory: dict[str, Any] = {"rule": rule, "initial_stock": 200.0}
    if rule == "threshold":
        inventory |= {"reorder_point": 14.0, "order_quantity": 14.0, "lead_time": 3, "initial_stock": 20.0}
    return market_from(
        {
            "num_sellers": num_sellers,
            "episode_length": 100,
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "prices": {"map": "levels", "low": 1.1, "high": 2.5},
            "inventory": inventory,
            "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5},
        },
        {"sessions_per_epoch": 10, "random_orders": random_orders},
    )


def session_market() -> Market:
    """Three sellers of one product with stock and a moving level of demand, visited by people and agents of a bank.

    Spelled out, so that times stay comparable whatever the market is that `train.py` trains by default.
    """
    return market_from(
        {
            "num_sellers": 3,
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "agent": {"scale": 0.1, "level_sensitivity": 0.0},
            "level": {"persistence": 0.9, "volatility": 0.1},
            "prices": {"map": "levels", "num_price_levels": 15, "low": 1.1, "high": 2.5},
            "inventory": {
                "rule": "threshold",
                "initial_stock": 20.0,
                "lead_time": 3,
                "reorder_point": 14.0,
                "order_quantity": 14.0,
            },
            "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5, "holding_cost": 0.01},
        },
        {"model": "bank", "sessions_per_epoch": 60, "agent_share": 0.25},
    )


def random_actions(key: Array, shape: market.MarketShape, num: int) -> Array:
    """Uniform price levels [num, S, P], four cut from each 32-bit word."""
    size = num * shape.num_offers
    words = jax.random.bits(key, (-(-size // 4),), jnp.uint32)
    bits = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[:size].astype(jnp.int32)
    return (bits * shape.prices.num_levels >> 8).reshape(num, shape.num_sellers, shape.num_products)


def make_run(own: Market, num_markets: int, num_steps: int, num_candidates: int = 1):
    """A compiled run: every epoch under all candidates, going on with the one that is worst for the sellers together.

    It returns a checksum of rewards and observations, so that nothing of a step can be left out.
    """
    shape, params = own
    num_devices = jax.device_count()
    mesh = jax.make_mesh((num_devices,), ("env",), axis_types=(AxisType.Auto,))
    local = num_markets // num_devices
    needs_keys = shape.traffic.random_orders
    shares = params.traffic.agent_share[None]
    if num_candidates > 1:
        shares = jnp.linspace(0.05, 0.45, num_candidates)

    def play(key: Array, params: market.MarketParams) -> Array:
        key = jax.random.fold_in(key, jax.lax.axis_index("env"))
        fresh = jax.vmap(lambda k: market.reset(k, shape, params))(jax.random.split(key, local))

        def one(key: Array, state: market.MarketState, action: market.Action):
            worlds = market.step_candidates(key, shape, state, action, params, shares)
            worst = worlds[2].reward.sum(-1).argmin()
            return market.choose_world(worlds, worst)

        def step(carry, time_now: Array):
            (state, seen), total = carry
            own_key = jax.random.fold_in(key, time_now)
            if shape.discrete_prices:
                action = market.Action(random_actions(own_key, shape, local))
            else:
                size = (local, shape.num_sellers, shape.num_products)
                action = market.Action(jax.random.uniform(own_key, size, minval=-0.3, maxval=0.3))
            keys = jax.random.split(own_key, local) if needs_keys else jnp.broadcast_to(own_key, (local,))
            state, seen, outcome = jax.vmap(one)(keys, state, action)
            over = outcome.truncated[0]  # every market has the same horizon
            state, seen = jax.lax.cond(over, lambda: fresh, lambda: (state, seen))
            total += outcome.reward.sum(-1) + seen.local.sum((-1, -2)) + seen.state.sum(-1)
            return ((state, seen), total), None

        (_, total), _ = jax.lax.scan(step, (fresh, jnp.zeros((local,))), jnp.arange(num_steps))
        return jax.lax.psum(total.sum(), "env")

    sharded = jax.shard_map(play, mesh=mesh, in_specs=(P(), P()), out_specs=P(), check_vma=False)
    begin = time.perf_counter()
    compiled = jax.jit(sharded).lower(jax.random.key(0), params).compile()
    return compiled, time.perf_counter() - begin


def measure(own: Market, num_candidates: int, num_markets: int, num_steps: int, repeats: int) -> tuple[float, float]:
    """(market steps a second, median of `repeats`; seconds of compilation)."""
    run, compile_seconds = make_run(own, num_markets, num_steps, num_candidates)
    seconds = []
    for number in range(repeats + 1):
        begin = time.perf_counter()
        run(jax.random.key(number), own.params).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return num_markets * num_steps / median(seconds[1:]), compile_seconds


def rows(repeats: int = 5) -> list[dict[str, Any]]:
    """The market rows of the speed table."""
    cases = [
        ("2 sellers, expected demand, fixed stock", 2, False, "none"),
        ("2 sellers, Poisson demand, fixed stock", 2, True, "none"),
        ("2 sellers, expected demand, replenishment", 2, False, "threshold"),
        ("2 sellers, Poisson demand, replenishment", 2, True, "threshold"),
        ("8 sellers, expected demand, fixed stock", 8, False, "none"),
        ("8 sellers, Poisson demand, replenishment", 8, True, "threshold"),
    ]
    table = []
    for name, num_sellers, random_orders, rule in cases:
        own = stock_market(num_sellers, random_orders=random_orders, rule=rule)
        speed, compile_seconds = measure(own, 1, NUM_MARKETS, NUM_STEPS, repeats)
        table.append(
            {
                "name": f"market: {name}",
                "value": speed,
                "unit": "market steps/s",
                "compile_seconds": compile_seconds,
                "note": f"{NUM_MARKETS} markets, observations included",
            }
        )
    return table
