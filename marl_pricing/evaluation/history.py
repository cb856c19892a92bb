"""The alternating record of who moves when: sellers publish prices, shoppers answer with demand.

PHANTOM's methodology keeps it as a game history (its code names it Limbo): in every epoch the leader's move, a vector
of prices, and then the follower's, the demand that sessions return.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation.play import Record

COLUMNS = {
    "run": "text",
    "policy": "text",
    "seed": "whole number; the training seed, 0 for a rule",
    "turn": "whole number from 0; even turns are the leader's, odd ones the follower's, two an epoch",
    "epoch": "whole number from 0",
    "player": "text; leader (the sellers) or follower (the shoppers)",
    "seller": "whole number from 0",
    "product": "whole number from 0",
    "price": "money per unit; published in the leader's move, empty in the follower's",
    "demand": "units that shoppers wanted; empty in the leader's move",
    "proxy": "weighted events of the sessions, q̂; the orders themselves where there are no sessions; empty likewise",
}


def history_table(record: Record, run: str, policy: str, seed: int) -> pd.DataFrame:
    """The first episode of a policy and seed, one row a turn and offer; see `COLUMNS`.

    Offers of sellers that have left are not published, and nothing is returned for them.

    Args:
        record: of E episodes; the first is told.
    """
    live = np.asarray(record.live[0])
    epochs, num_sellers = live.shape
    num_products = record.price.shape[-1] // num_sellers
    turn, seller, product = (grid.ravel() for grid in np.indices((2 * epochs, num_sellers, num_products)))
    leads = turn % 2 == 0
    place = turn // 2, seller * num_products + product

    def told(values: Any, mine: np.ndarray) -> np.ndarray:
        return np.where(mine, np.asarray(values[0], np.float64)[place], np.nan)

    table = {
        "run": run,
        "policy": policy,
        "seed": seed,
        "turn": turn,
        "epoch": place[0],
        "player": np.where(leads, "leader", "follower"),
        "seller": seller,
        "product": product,
        "price": told(record.price, leads),
        "demand": told(record.demand, ~leads),
        "proxy": told(record.events, ~leads),
    }
    return pd.DataFrame(table)[live[place[0], seller]].reset_index(drop=True)
