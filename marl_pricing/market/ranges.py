"""Between what the entries of an observation lie: as shown, whatever sellers do and however shoppers answer."""

from __future__ import annotations

import math

from marl_pricing.market.types import Feature, MarketShape

# Rules that order up to a position and no further; sellers that choose, or bargain, may pile up stock.
_UP_TO_A_POSITION = ("none", "threshold", "base_stock", "s_S")


def shown_range(feature: Feature, shape: MarketShape) -> tuple[float, float]:
    """The lowest and the highest value that entries of a feature can have; infinite where nothing bounds them.

    The scale of stock is the largest position that the market's numbers speak of (`observation.stock_scale`), so that
    rules which order up to a position stay within 1.
    """
    if feature in ("own_price", "rival_price", "all_rival_prices"):
        return (-1.0, 1.0)
    if feature in ("held_cost", "ordered_cost", "last_agreement"):
        return (-1.0, 1.0)
    if feature in ("suspicion", "share_estimate", "agent_share", "omega", "time", "shock"):
        return (0.0, 1.0)
    if feature == "stock":
        return (0.0, 1.0 if shape.inventory.rule in _UP_TO_A_POSITION else math.inf)
    if feature in ("on_order", "pipeline"):
        one_order = shape.inventory.rule == "chosen" and shape.inventory.single_order
        return (0.0, 1.0 if one_order or shape.inventory.rule in _UP_TO_A_POSITION else math.inf)
    if feature == "proxy_share":
        return (0.0, float(shape.num_offers))
    if feature == "proxy_trend":
        return (-float(shape.num_offers), float(shape.num_offers))
    assert feature in ("demand", "events", "cash"), feature
    return (0.0, math.inf)
