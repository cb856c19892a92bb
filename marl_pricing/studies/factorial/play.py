"""Play of a policy in the world as it is, on shoppers that no training has met, and what its epochs were like."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.config.factorial import Factorial
from marl_pricing.market import MarketState, Observation
from marl_pricing.market.reward import relative_movement
from marl_pricing.studies.factorial.game import DefenceGame, DefenceParams

Array = jax.Array
# Of the keys of shoppers that no training has met: `learning.held_out` keeps to the same rule with another root.
_ROOT = np.uint32(3_236_067_977)
# Of an episode's epochs t but the last, x the leak a session of t, y the change of the COI level to t + 1: number,
# means, and sums of squares and products about those.
LINK = ("link_n", "link_x", "link_y", "link_xx", "link_xy", "link_yy")
# (memory, what E platforms see, their markets) → (numbers of the factors they choose [E], memory)
Policy = Callable[[Any, Observation, MarketState], tuple[Array, Any]]


def play_episodes(
    game: DefenceGame, params: DefenceParams, study: Factorial, policy: Policy, memory: Any, seed: int | Array
) -> dict[str, Array]:
    """Episodes of one policy at the share of agents of `params`, whatever the game's candidates.

    Args:
        memory: the policy's, of all episodes, before the first epoch.
        seed: of the shoppers.

    Returns:
        {measure: [], means over the epochs of all episodes}, and `LINK` [].
    """
    game = DefenceGame(game.market, brief=game.brief)
    root = jax.random.fold_in(jax.random.key(_ROOT), seed)
    keys = jax.vmap(partial(jax.random.fold_in, root))(jnp.arange(study.play.episodes))
    state, seen = jax.vmap(lambda key: game.reset(jax.random.fold_in(key, 0), game.market, params))(keys)

    def epoch(carry: tuple, time: Array) -> tuple[tuple, dict[str, Array]]:
        state, seen, memory, over = carry
        choice, memory = policy(memory, seen, state)
        now = jax.vmap(lambda key: jax.random.fold_in(key, time + 1))(keys)
        after, outcome = jax.vmap(lambda k, s, a: game.advance(k, s, a, params))(now, state, choice)
        row = jax.vmap(lambda o, s: _epoch_measures(o, s.prices, params, study))(outcome, state)
        live = (~over).astype(jnp.float32)
        seen = jax.vmap(lambda s: game.observe(params, s))(after)
        return (after, seen, memory, over | outcome.terminated[:, 0]), row | {"live": live}

    first = (state, seen, memory, jnp.zeros((study.play.episodes,), bool))
    _, rows = jax.lax.scan(epoch, first, jnp.arange(game.market.episode_length))  # {name: [T, E]}
    live, units = rows.pop("live"), rows.pop("units")
    count = jnp.maximum(live.sum(), 1.0)
    sold = live * units
    paid = rows.pop("paid_above")
    means = {name: (value * live).sum() / count for name, value in rows.items() if name != "leak_session"}
    means["coi_level"] = (paid * live).sum() / jnp.maximum(sold.sum(), 1e-9)
    means["epochs"] = live.sum() / study.play.episodes
    return means | _link(rows["leak_session"], paid / jnp.maximum(units, 1e-9), (units > 0) & (live > 0))


def _epoch_measures(outcome: Any, before: Array, params: DefenceParams, study: Factorial) -> dict[str, Array]:
    """What one epoch of one market was like; every value []."""
    movement = relative_movement(outcome.prices, before, params.reward.movement_floor)
    v, rise = jnp.abs(movement).mean(), jnp.maximum(movement, 0.0).mean()
    leak_session = params.reward.information_cost * outcome.suspicion
    spent = jnp.minimum(leak_session / study.ux.information_budget, 1.0)
    ux = 1.0 - study.ux.eta * (v + 0.5 * rise) - study.ux.information_weight * spent
    return {
        "revenue": (outcome.price_paid * outcome.sales).sum(),
        "reward": outcome.reward[0],
        "coi_leak": leak_session * outcome.visits,
        "leak_session": leak_session,
        "volatility": v,
        "upward_volatility": rise,
        "ux": jnp.clip(ux, 0.0, 1.0),
        "price": outcome.prices.mean(),
        "suspicion": outcome.suspicion,
        "visits": outcome.visits,
        "units": outcome.sales.sum(),
        "paid_above": ((outcome.price_paid - params.reward.unit_cost) * outcome.sales).sum(),
    }


def _link(leak: Array, level: Array, counts: Array) -> dict[str, Array]:
    """`LINK` of series [T, E]; pairs of epochs in both of which something was sold."""
    both = (counts[1:] & counts[:-1]).astype(jnp.float32)
    x, y = leak[:-1], level[1:] - level[:-1]
    count = jnp.maximum(both.sum(), 1.0)
    mean_x, mean_y = (both * x).sum() / count, (both * y).sum() / count
    x, y = both * (x - mean_x), both * (y - mean_y)
    return dict(zip(LINK, (both.sum(), mean_x, mean_y, (x * x).sum(), (x * y).sum(), (y * y).sum()), strict=True))
