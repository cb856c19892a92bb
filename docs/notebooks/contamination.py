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
# # What agents do to browsing data
#
# Browsing leads orders, as long as people browse. AI agents read every price and buy elsewhere, or in a clean
# session. As their share of the sessions grows, orders fall faster than browsing: the same proxy (weighted events)
# means less and less demand.

# %%
import jax
import jax.numpy as jnp

import marl_pricing
from marl_pricing import config, market

# %% [markdown]
# A platform's market, its shoppers' share of agents a number in `params`: all shares are played at once, by `vmap`
# over it. The same prices, the same random numbers.

# %%
own = config.build(marl_pricing.settings("platform", {"traffic.process": {"kind": "static"}}))
shape, params = own.market
shares = jnp.array([0.0, 0.2, 0.4, 0.6])


def play(share):
    """Units wanted and proxy of 24 epochs, all offers together, at one share of agents."""
    mine = params.replace(traffic=params.traffic.replace(agent_share=share))
    state, _ = market.reset(jax.random.key(0), shape, mine)
    action = market.Action(price=jnp.full((shape.num_sellers, shape.num_products), shape.prices.num_levels // 3))

    def epoch(state, key):
        state, _, outcome = market.step(key, shape, state, action, mine)[:3]
        return state, (outcome.demand.sum(), outcome.events.sum())

    wanted, proxy = jax.lax.scan(epoch, state, jax.random.split(jax.random.key(1), 24))[1]
    return wanted.sum(), proxy.sum()


wanted, proxy = jax.jit(jax.vmap(play))(shares)
for share, units, events in zip(shares, wanted, proxy, strict=True):
    print(f"agents {share:.0%}: {units:6.0f} units wanted, proxy {events:8.0f}, {events / units:5.1f} a unit")

# %% [markdown]
# Who prices by the proxy alone takes an agent's reading for demand. A critic that fears the worst share of agents
# nearby does not ([robust](../robust.md)), and detection tells sessions apart as far as they can be told
# ([traffic](../traffic.md)).

# %%
assert proxy[-1] / wanted[-1] > 1.2 * proxy[0] / wanted[0]
