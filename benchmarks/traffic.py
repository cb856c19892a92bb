"""Market steps per second with sessions: models, candidates, sizes."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from benchmarks.market import random_actions
from marl_pricing import market
from marl_pricing.config import Market, market_from

Array = jax.Array

NUM_MARKETS = 1024
# Steps a second of PHANTOM's own JAX engine with 1,024 markets on two cores like these: (M, N, candidates).
PHANTOM = {(10, 3, 1): 7_900.0, (10, 3, 5): 1_690.0, (100, 10, 5): 165.0}
PROTOTYPE = 10.9


def session_market(model: str, sessions: int, offers: int, **traffic: Any) -> Market:
    """People and agents in a logit market with stock, lead time and a moving level of demand."""
    return market_from(
        {
            "num_sellers": offers,
            "episode_length": 100,
            "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
            "agent": {"scale": 0.1, "level_sensitivity": 0.0},
            "level": {"persistence": 0.9, "volatility": 0.1},
            "prices": {"map": "levels", "low": 1.1, "high": 2.5},
            "inventory": {
                "rule": "threshold",
                "initial_stock": 20.0,
                "reorder_point": 14.0,
                "order_quantity": 14.0,
                "lead_time": 3,
            },
            "reward": {"unit_cost": 1.0, "stockout_penalty": 0.5},
        },
        {"model": model, "sessions_per_epoch": sessions, "agent_share": 0.25} | traffic,
    )


def make_run(own: Market, num_markets: int, num_steps: int, num_candidates: int):
    """A compiled run: every epoch under all candidates, going on with each seller's worst on average.

    It returns a checksum of rewards and observations, so that nothing of a step can be left out.
    """
    shape, params = own
    num_devices = jax.device_count()
    mesh = jax.make_mesh((num_devices,), ("env",), axis_types=(AxisType.Auto,))
    local = num_markets // num_devices
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
            state, seen, outcome = jax.vmap(one)(jax.random.split(own_key, local), state, action)
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
