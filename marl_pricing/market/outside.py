"""Contracts that are signed outside of the market, by who runs it between its epochs.

A market of `ContractShape.outside` bargains over nothing: `Outcome.supplied.asked` says which sellers would. What they
agree upon elsewhere (a NegMAS world, somebody's own simulation) enters stock and books by these two, as contracts of
its own rule do.
"""

from __future__ import annotations

import jax.numpy as jnp

from marl_pricing.market import contracts, inventory, reward
from marl_pricing.market.types import Array, MarketParams, MarketShape, MarketState
from marl_pricing.negotiation import Terms


def sign_outside(
    shape: MarketShape, params: MarketParams, state: MarketState, terms: Terms, signs: Array
) -> MarketState:
    """The market after contracts were signed at the end of its last epoch; their units come after the lead time.

    Where contracts are paid at signing, the money leaves the till here.

    Args:
        terms: of each offer, one contract at most.  signs: [N] bool, the offers that have one.
    """
    assert shape.contracts is not None and params.contracts is not None
    assert state.contracts is not None and state.pipeline is not None
    after, quantity, paid = contracts.sign(None, shape.contracts, params.contracts, state.contracts, terms, signs)
    cash = None if state.cash is None else state.cash - reward.by_seller(paid, shape.num_sellers)
    pipeline = inventory.place(state.pipeline, quantity, terms.lead_time)
    return state.replace(contracts=after, pipeline=pipeline, cash=cash)


def fall_short(state: MarketState, missing: Array, lost: Array, fines: Array) -> MarketState:
    """The market before an epoch to which suppliers do not bring all that is due.

    Args:
        missing: [N] units that do not come.  lost: [N] money that they were to cost.  fines: [N] money that suppliers
            pay for them.
    """
    assert state.contracts is not None and state.contracts.failing is not None
    failing = state.contracts.failing.at[:, :, 0].add(jnp.stack([missing, lost, fines]))
    return state.replace(contracts=state.contracts.replace(failing=failing))
