"""Price skimming: one seller, shoppers who are all there at the start, a share of whom may wait for a lower price.

Values are uniform (linear demand). A share λ of the shoppers waits where that is worth more, discounts by δ an epoch
and stays until the end; the others take the first price or leave. The seller cannot commit itself, so each price has to
be the best one for those who are left, who foresee it (Coase 1972; Stokey 1981). With λ = 1 this is Besanko and Winston
(1990) for a seller that does not discount, and their induction backwards carries over: the share only weighs in the
first epoch, in which the others buy.

Margins are in units of the highest value above cost, so that values are uniform on [0, 1]. Where values up to v are
left with s epochs to go, the seller gets A_s v² by asking b_s v: A_1 = ¼ and b_1 = ½, a static monopolist's. Before
that the marginal buyer w is indifferent, w − p = δ (w − b_{s−1} w), so p = k w with k = 1 − δ + δ b_{s−1}, and

    A_s v² = max_w  k w (v − w) + A_{s−1} w²,   so w = k v / (2 (k − A_{s−1})),  b_s = k w/v.

Prices of two neighbouring epochs stand as b_{s−1} to k whatever the seller asked before: a fall that shoppers can know.
In the first epoch it maximises (1 − λ) p (1 − p) + λ (p (1 − w) + A w²) at p = k w, a parabola.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from marl_pricing.demand import LinearParams
from marl_pricing.equilibrium.one_shot import NoEquilibriumError
from marl_pricing.market import MarketParams, MarketShape


@dataclass(frozen=True)
class Skimming:
    """The path of a seller that skims.

    Attributes:
        prices: [T] money.
        profit: money an episode, not discounted.
    """

    prices: np.ndarray
    profit: float


def _induction(discount: float, epochs: int) -> list[tuple[float, float, float]]:
    """(k, b, A) with 1, …, T epochs to go; k of the last epoch is 1: nobody waits."""
    found = [(1.0, 0.5, 0.25)]
    for _ in range(epochs - 1):
        _, b, value = found[-1]
        k = 1.0 - discount + discount * b
        w = min(1.0, k / (2.0 * (k - value))) if k > value else 1.0
        found.append((k, k * w, k * w * (1.0 - w) + value * w**2))
    return found


def expected_falls(discount: float, epochs: int) -> np.ndarray:
    """Falls [T − 1] of the margin from each epoch to the next, shares of it, that shoppers who know the seller expect.

    Args:
        discount: δ in [0, 1).  epochs: T.
    """
    steps = _induction(discount, epochs)[::-1]
    return np.array([1.0 - after[1] / now[0] for now, after in pairwise(steps)])


def skimming(
    choke: float, slope: float, cost: float, share: float, discount: float, epochs: int, shoppers: float = 1.0
) -> Skimming:
    """The prices of a seller that knows that a share of its shoppers may wait.

    Args:
        choke: money, the price at which nobody buys.  slope: units a shopper and money.  cost: money a unit.
        share: λ, of the shoppers.  discount: δ in [0, 1), theirs; the seller does not discount.  epochs: T.
        shoppers: that come, all in the first epoch.
    """
    steps = _induction(discount, epochs)[::-1]
    k, value = steps[0][0], steps[1][2] if epochs > 1 else 0.0

    def earned(price: float, w: float) -> float:
        return (1.0 - share) * price * (1.0 - price) + share * (price * (1.0 - w) + value * w**2)

    # Those who buy at once are the share's best, or all of it waits and the price is for the others alone.
    curve = 2.0 * ((1.0 - share) * k**2 + share * (k - value))
    w = min(1.0, k / curve) if curve > 0 else 1.0
    alone = max(0.5, k)
    price, left = max(((k * w, w), (alone, 1.0)), key=lambda one: earned(*one))
    margins, profit = [price], earned(price, left)
    for k, b, _ in steps[1:]:
        margins.append(b * left)
        left = margins[-1] / k
    scale = choke - cost
    return Skimming(cost + scale * np.asarray(margins), shoppers * slope * scale**2 * profit)


def skimming_of(shape: MarketShape, params: MarketParams) -> Skimming:
    """The path in a market, for shoppers who expect it.

    Raises:
        NoEquilibriumError: where the market is another one, with what it would have to be.
    """
    own, choice = params.demand.patience, params.demand.choice
    falls = None if own is None else expected_falls(float(own.discount), shape.episode_length)
    still = not (shape.demand.level_moves or shape.demand.shocks)
    needs = [
        (own is not None and shape.demand.at_once, "shoppers who all come at once (market.patience.arrive=at_once)"),
        (shape.num_offers == 1 and shape.demand.num_classes == 1, "one seller of one product, and people only"),
        (isinstance(choice, LinearParams), "linear demand (market.demand.model=linear)"),
        (shape.inventory.unlimited, "market.inventory.rule=unlimited"),
        (still, "demand that does not move"),
        (not shape.reward.penalties, "a reward without penalties"),
        (shape.demand.waits == shape.episode_length - 1, "people who wait until the end (market.patience.epochs=null)"),
    ]
    for fits, need in needs:
        if not fits:
            raise NoEquilibriumError(f"no path of price skimming: it needs {need}")
    assert own is not None and falls is not None and isinstance(choice, LinearParams)
    cost = float(params.reward.unit_cost[0])
    foreseen = np.allclose(own.fall[:-1], falls, atol=1e-5) and np.isclose(float(own.floor), cost)
    if not foreseen:
        raise NoEquilibriumError(
            "no path of price skimming: it needs shoppers who expect it (market.patience.fall=rational)"
        )
    slope = float(choice.slope[0, 0])
    shoppers = shape.traffic.sessions * float(params.demand.scale * params.traffic.purchase_rate[0])
    discount, share = (float(np.round(float(each), 7)) for each in (own.discount, own.share))
    choke = float(choice.intercept[0, 0]) / slope
    return skimming(choke, slope, cost, share, discount, shape.episode_length, shoppers)
