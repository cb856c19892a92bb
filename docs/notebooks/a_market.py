# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A market, by hand
#
# Two sellers, one product each, logit demand, no stock limit: what do they earn at which prices, and where are
# competition and a cartel?

# %%
import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.config import default_market
from marl_pricing.equilibrium import static

shape, params = default_market()
print(shape.num_sellers, "sellers,", shape.episode_length, "epochs,", shape.prices.num_levels, "price levels")

# %% [markdown]
# `reset` and `step` are pure functions; `vmap` makes thousands of markets of one. Here every seller posts the same
# price level, and each level is played in 32 markets at once.

# %%
levels = jnp.arange(shape.prices.num_levels)


def profit(key, level):
    """Mean raw reward an epoch of all sellers at one price level."""
    start, key = jax.random.split(key)
    state, _ = market.reset(start, shape, params)
    action = market.Action(price=jnp.full((shape.num_sellers, shape.num_products), level))

    def epoch(state, key):
        state, _, outcome = market.step(key, shape, state, action, params)[:3]
        return state, outcome.reward.sum()

    return jax.lax.scan(epoch, state, jax.random.split(key, 32))[1].mean()


keys = jax.random.split(jax.random.key(0), 32)
curve = jax.jit(jax.vmap(jax.vmap(profit, (0, None)), (None, 0)))(keys, levels).mean(1)
prices = np.asarray(params.prices.levels)[0]

# %% [markdown]
# Competition (Nash) and a cartel (joint profit) are computed, not learned. They are *static*: as if every order were
# served.

# %%
nash, joint = static.nash(shape, params), static.joint_profit(shape, params)
best = int(curve.argmax())
print(f"Nash price {nash.prices.mean():.3f}, joint-profit price {joint.prices.mean():.3f}")
print(f"best common price on the grid by simulation: {prices[best]:.3f}, {curve[best]:.2f} money an epoch")
