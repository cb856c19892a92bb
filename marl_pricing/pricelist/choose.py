"""Prices of the highest expected profit under a shop's constraints, and only changes that the data can speak for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from marl_pricing.pricelist.demand import Demand

Array = np.ndarray
_MOST_PRICES = 101  # of a product that are tried


@dataclass(frozen=True)
class Constraints:
    """What a shop allows; today's price is always allowed.

    Attributes:
        floor: lowest price as a multiple of cost.  largest_change: of today's price, a share below 1.
        endings: of prices in hundredths (99 for .99); empty: any hundredth.
        held: products whose price may not change.  tied: groups of products that change by one factor or none.
        budget: most products that may change; None: all.
        certainty: least share of draws in which a change has to raise profit.
    """

    floor: float = 1.0
    largest_change: float = 0.2
    endings: tuple[int, ...] = ()
    held: frozenset[int] = frozenset()
    tied: tuple[tuple[int, ...], ...] = ()
    budget: int | None = None
    certainty: float = 0.0


@dataclass(frozen=True)
class Group:
    """Products that move together.

    Attributes:
        products: [M] their numbers.  prices: [K, M] to choose from; the first are today's.
    """

    products: Array
    prices: Array


@dataclass(frozen=True)
class Choice:
    """A list of prices.

    Attributes:
        prices: [N].
        chance: [N] share of draws in which the product's change, the others as proposed, raises the shop's profit; of
            one that stays, that of the surest change that would gain on average, or of any where none would; NaN where
            none was allowed.
        unsure: [N] bool; it stays because no change that gains on average is certain enough.
        crowded_out: [N] bool; it stays because the budget of changes is spent on others.
    """

    prices: Array
    chance: Array
    unsure: Array
    crowded_out: Array


def allowed_prices(today: float, cost: float, rules: Constraints) -> Array:
    """[K] today's price, then every price with an allowed ending within the floor and the largest change, rising.

    At most 101 of them, evenly spread, where a price has more hundredths than that.
    """
    low = max(today * (1 - rules.largest_change), cost * rules.floor)
    cents = np.arange(np.ceil(low * 100 - 1e-6), np.floor(today * (1 + rules.largest_change) * 100 + 1e-6) + 1)
    cents = cents[cents > 0].astype(int)
    if rules.endings:
        cents = cents[np.isin(cents % 100, rules.endings)]
    if len(cents) > _MOST_PRICES:
        cents = cents[np.linspace(0, len(cents) - 1, _MOST_PRICES).round().astype(int)]
    prices = cents / 100
    return np.concatenate([[today], prices[~np.isclose(prices, today)]])


def groups_of(today: Array, cost: Array, rules: Constraints) -> list[Group]:
    """What can be changed at all, each with its choices.

    Tied products follow the first of their group, to the nearest allowed price within one hundredth; a step that one
    of them may not take none of them takes.
    """
    bound = {product for group in rules.tied for product in group}
    groups = [list(group) for group in rules.tied] + [[n] for n in range(len(today)) if n not in bound]
    found = []
    for group in groups:
        if rules.held.intersection(group):
            continue
        ladders = [allowed_prices(today[n], cost[n], rules) for n in group]
        rows = [today[group]]
        for lead in ladders[0][1:]:
            wanted = today[group] * lead / today[group[0]]
            nearest = [ladder[np.abs(ladder - price).argmin()] for ladder, price in zip(ladders, wanted, strict=True)]
            if np.all(np.abs(np.array(nearest) - wanted) <= 0.01):
                rows.append(np.array(nearest))
        if len(rows) > 1:
            found.append(Group(np.array(group), np.stack(rows)))
    return found


class _Profits:
    """Profit of every draw as one group's prices vary and the others stay: of those a factor more is wanted."""

    def __init__(self, demand: Demand, cost: Array, prices: Array, counted: Array) -> None:
        self._demand, self._cost, self._counted = demand, cost, counted
        self.prices = prices.astype(float).copy()
        self._other, self._back = demand.weights
        self._own = self._products()

    def _products(self) -> Array:
        return np.where(self._counted, (self.prices - self._cost) * self._demand.sold(self.prices), 0.0)

    @property
    def total(self) -> Array:
        """[D] of all products that count."""
        return self._own.sum(1)

    def of(self, group: Group) -> Array:
        """[D, K] of all products at each of a group's choices."""
        demand, who = self._demand, group.products
        moved = np.log(group.prices / self.prices[who])  # [K, M]
        inside = np.zeros((len(self._own), len(moved)))
        outside = self.total[:, None] - self._own[:, who].sum(1)[:, None]
        for category in np.unique(demand.category[who]):
            mine = demand.category[who] == category
            others = (demand.category == category) & ~np.isin(np.arange(len(self.prices)), who)
            cross = demand.cross[:, category, None]
            summed = moved[:, mine].sum(1)  # [K]
            if np.any(cross):
                factor = np.exp(cross * self._other[who[mine][0]] * summed)  # [D, K], of units wanted
                outside = outside + self._change(others & self._counted, factor)
            for place in np.flatnonzero(mine):
                n, step = who[place], moved[:, place]
                felt = self._other[n] * (summed - step) + self._back[n] * step
                units = demand.at_one(self.prices, n)[:, None]
                units = units * np.exp(demand.own[:, n, None] * step + cross * felt)
                inside += (group.prices[:, place] - self._cost[n]) * np.minimum(units, demand.stock[n])
        return inside + outside

    def _change(self, who: Array, factor: Array) -> Array:
        """[D, K] what profit of products [N] bool changes by as so many times as many units are wanted of them."""
        free = who & ~np.isfinite(self._demand.stock)
        change = self._own[:, free].sum(1)[:, None] * (factor - 1.0)
        for n in np.flatnonzero(who & ~free).tolist():
            wanted = self._demand.at_one(self.prices, n)[:, None] * factor
            margin = self.prices[n] - self._cost[n]
            change = change + margin * np.minimum(wanted, self._demand.stock[n]) - self._own[:, n, None]
        return change

    def choice(self, group: Group) -> int:
        """Which of a group's choices is taken."""
        return int(np.flatnonzero((group.prices == self.prices[group.products]).all(1))[0])

    def put(self, group: Group, choice: int) -> None:
        """Give a group other prices."""
        self.prices[group.products] = group.prices[choice]
        self._own = self._products()


@dataclass(frozen=True)
class _Options:
    """A group's choices [K], the others as they are: mean gain over today's prices, share of draws that gain."""

    gain: Array
    chance: Array
    allowed: Array

    @property
    def best(self) -> int:
        """Of those that are certain enough; today's prices always are."""
        return int(np.where(self.allowed, self.gain, -np.inf).argmax())


def _options(profits: _Profits, group: Group, certainty: float) -> _Options:
    values = profits.of(group)
    gains = values - values[:, :1]
    chance = (gains > 0).mean(0)
    allowed = chance >= certainty
    allowed[0] = True
    return _Options(gains.mean(0), chance, allowed)


def _climb(profits: _Profits, groups: Sequence[Group], certainty: float, most: int = 50) -> None:
    """One group after the other its best prices that are certain enough, until none moves."""
    for _ in range(most):
        moved = False
        for group in groups:
            own, now = _options(profits, group, certainty), profits.choice(group)
            gains = own.gain[own.best] > own.gain[now] + 1e-9 * max(abs(own.gain).max(), 1.0)
            if gains or not own.allowed[now]:
                profits.put(group, own.best)
                moved = True
        if not moved:
            return


def _worth_most(value: Array, size: Array, budget: int) -> Array:
    """[G] bool: the groups of highest value together whose products are no more than a budget."""
    found = optimize.milp(-value, constraints=optimize.LinearConstraint(size[None], ub=budget), integrality=1,
                          bounds=optimize.Bounds(0, 1))  # fmt: skip
    return found.x > 0.5


def choose_prices(
    demand: Demand, cost: Array, rules: Constraints, start: Array | None = None, counted: Array | None = None
) -> Choice:
    """Prices of the highest mean profit over the draws, of those at which it rises with enough certainty.

    All groups climb, each to its best prices as the others stand. Where more change than the budget allows, those are
    kept that are worth most by themselves, and climb once more. Where products do not compete this is the optimum;
    where they do, a list that no change of one group improves.

    Args:
        start: [N] prices to climb from; None: today's.
        counted: [N] bool; whose profit it is about, and whose prices it sets; None: all.
    """
    today = demand.today
    counted = np.ones(len(today), bool) if counted is None else counted
    groups = [group for group in groups_of(today, cost, rules) if counted[group.products].all()]
    profits = _Profits(demand, cost, today if start is None else start, counted)
    crowded = np.zeros(len(today), bool)
    _climb(profits, groups, rules.certainty)
    changed = [group for group in groups if profits.choice(group)]
    if rules.budget is not None and changed:
        own = [_options(profits, group, 0.0).gain[profits.choice(group)] for group in changed]
        takes = _worth_most(np.array(own), np.array([len(group.products) for group in changed]), rules.budget)
        for group, taken in zip(changed, takes, strict=True):
            if not taken:
                profits.put(group, 0)
                crowded[group.products] = True
        _climb(profits, [group for group, taken in zip(changed, takes, strict=True) if taken], rules.certainty)
    chance, unsure = np.full(len(today), np.nan), np.zeros(len(today), bool)
    for group in groups:
        found, now = _options(profits, group, rules.certainty), profits.choice(group)
        gaining = np.flatnonzero(found.gain > 0)
        tried = [now] if now else gaining if gaining.size else np.arange(1, len(found.gain))
        chance[group.products] = found.chance[tried].max()
        unsure[group.products] = not now and gaining.size > 0 and not found.best
    return Choice(profits.prices, chance, unsure & ~crowded, crowded)
