"""A price list from end to end: read, estimate, choose, say what it brings and why not to trust it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from marl_pricing.calibration.calendar import Calendar
from marl_pricing.calibration.calibrate import mapping_of
from marl_pricing.calibration.holidays import with_holidays
from marl_pricing.calibration.own import offers_of
from marl_pricing.calibration.panel import Panel, largest_store, make_panel
from marl_pricing.calibration.reading import CalibrationError, Sales, choose_category, read_sales
from marl_pricing.config.errors import refuse
from marl_pricing.intake.errors import listed
from marl_pricing.pricelist.choose import Choice, Constraints, choose_prices
from marl_pricing.pricelist.demand import Demand
from marl_pricing.pricelist.elasticities import measure, posterior
from marl_pricing.pricelist.learned import LearnedRivals, load_rivals
from marl_pricing.pricelist.level import Level, backtest, fit_level
from marl_pricing.pricelist.notes import notes_of
from marl_pricing.pricelist.outlook import Outlook, Spread, break_even, forecast
from marl_pricing.pricelist.products import constraints, priced
from marl_pricing.pricelist.rivals import settle
from marl_pricing.pricelist.settings import PriceListSettings, WhatIf

_ROUNDS = 12  # of a list and a policy's answers to it
STEPS = ("read", "elasticities", "levels", "back-test", "prices", "what if", "page")


@dataclass(frozen=True)
class Event:
    """What an event does: profit of the next period at today's prices, at the list's, and at a list made for it."""

    name: str
    today: Spread
    listed: Spread
    answered: Spread
    changed: int


@dataclass(frozen=True)
class PriceList:
    """A list with all that it rests on; products in the order of `table`.

    Attributes:
        table: product, category, price, cost, cost_known, seen_low, seen_high (prices in the data), stock, notes.
        idle: products of the file that are not priced: product and why.
        demand, choice, outlook: of the products of `table`.
        elasticity: [N] of posterior draws.
        measured: per product, its elasticity by itself with its error; NaN where it has none.
        backtest: offer, model, naive errors; empty without one, with the reason in `no_backtest`.
        events: of `what_if`.
        answers: products of rivals: product, offer, category, price, cost, cost_known, seller, answer (their price once
            they have answered; today's where they stay).
        break_even: shifts of all elasticities at which the list brings nothing (`outlook.break_even`).
        rounds: of best responses until nobody moved; None without these, or where they had no end.
    """

    sales: Sales
    table: pd.DataFrame
    idle: pd.DataFrame
    demand: Demand
    choice: Choice
    outlook: Outlook
    elasticity: Spread
    measured: pd.DataFrame
    backtest: pd.DataFrame
    no_backtest: str
    level: Level
    events: tuple[Event, ...]
    store: str
    seller: str
    answers: pd.DataFrame
    rounds: int | None
    break_even: tuple[float, float]

    @property
    def changed(self) -> np.ndarray:
        """[N] bool; whose proposed price is not today's."""
        return ~np.isclose(self.choice.prices, self.demand.today)


def make_list(own: PriceListSettings, step: Callable[[str], None] = lambda _: None) -> PriceList:
    """The list that settings ask for.

    Raises:
        CalibrationError: where the sales tell no elasticity at all.
        ConfigError: for products, sellers, stores, categories that the file does not have.
    """
    step("read")
    sales = with_holidays(read_sales(own.data, mapping_of(own.calibration()), own.judging), own.holidays)
    sales = choose_category(sales, own.category, own.leave_out)
    sales, store = _of_store(sales, own.store)
    seller = _seller(sales, own.seller)
    return list_of(sales, own, seller, store, step)


def list_of(
    sales: Sales, own: PriceListSettings, seller: str, store: str = "", step: Callable[[str], None] = lambda _: None
) -> PriceList:
    """The list of one seller's products out of sales as read. Raises as `make_list`."""
    panel = make_panel(sales.table)
    measured, draws, cross, level = _fitted(panel, own, sales.calendar, step)
    step("back-test")
    tested, no_backtest = _tested(panel, own, sales.calendar)
    step("prices")
    table, idle = priced(sales, panel, own, seller)
    theirs = _rivals(sales, panel, own, seller)
    everybody = _everybody(pd.concat([table, theirs], ignore_index=True), panel, level, draws, cross, own)
    demand = _of_shop(everybody, len(table), own.rivals == "follow")
    rules = constraints(own, table["product"].tolist())
    cost = table["cost"].to_numpy()
    answered, answers, rounds = None, theirs.assign(answer=theirs["price"]), None
    if own.rivals == "best_response":
        choice, demand, answered, answers, rounds = _settled(everybody, demand, table, theirs, rules, own)
    elif own.rivals == "learned":
        policy = _learned_rivals(sales, own, seller, table, theirs)
        choice, demand, answered, answers, rounds = _learned(everybody, demand, table, theirs, rules, policy)
    else:
        choice = choose_prices(demand, cost, rules)
    outlook = forecast(demand, cost, choice.prices, answered)
    step("what if")
    events = tuple(_event(event, demand, cost, choice, rules, theirs, panel) for event in own.what_if)
    elasticity = Spread.of(demand.own)
    measured = measured.set_index("offer")[["elasticity", "error"]].reindex(table["offer"]).reset_index(drop=True)
    table = table.assign(notes=notes_of(table, answered or demand, choice, measured, tested, own))
    return PriceList(
        sales, table, idle, demand, choice, outlook, elasticity, measured, tested, no_backtest, level, events, store,
        seller, answers, rounds, break_even(demand, cost, choice.prices, answered),
    )  # fmt: skip


def _of_store(sales: Sales, wanted: str | None) -> tuple[Sales, str]:
    table = sales.table
    if "store" not in table or table["store"].nunique() < 2:
        if wanted is not None and wanted not in set(table.get("store", [])):
            raise refuse("store", wanted, "null where the sales tell no stores apart (store: in the mapping does)")
        return sales, ""
    store = largest_store(table) if wanted is None else wanted
    own = table[table["store"] == store]
    if own.empty:
        raise refuse("store", store, f"one of the file's: {listed(list(table['store'].unique()))}")
    return replace(sales, table=own.drop(columns="store").reset_index(drop=True)), store


def _seller(sales: Sales, wanted: str | None) -> str:
    there = list(sales.table["seller"].unique())
    if wanted is None and len(there) == 1:
        return str(there[0])
    if wanted not in there:
        raise refuse("seller", wanted, f"one of the file's, whose prices are to be listed: {listed(there)}")
    return str(wanted)


def _fitted(
    panel: Panel, own: PriceListSettings, calendar: Calendar | None, step: Callable[[str], None] = lambda _: None
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, Level]:
    """(elasticities as measured, draws of these, of cross elasticities, the level beside their mean)."""
    step("elasticities")
    measured, others = measure(panel, own)
    draws, cross = posterior(panel, measured, others, own)
    step("levels")
    mean = pd.Series(draws.mean(0), offers_of(panel))
    return measured, draws, cross, fit_level(panel, mean, own.season, own.harmonics, calendar)


def _tested(panel: Panel, own: PriceListSettings, calendar: Calendar | None) -> tuple[pd.DataFrame, str]:
    """The back-test by what was known before the periods held out, elasticities too."""
    nothing = pd.DataFrame(columns=["offer", "model", "naive"])
    last = int(panel.table["period"].max()) - own.holdout
    before = panel.until(last)
    if before.table.empty or before.table["period"].nunique() < 3:
        return nothing, f"holdout={own.holdout} leaves fewer than three periods to forecast from"
    try:
        *_, level = _fitted(before, own, calendar)
    except CalibrationError as error:
        return nothing, f"before the last {own.holdout} periods, {error}"
    return backtest(panel, replace(level, last=last), own.holdout), ""


def _rivals(sales: Sales, panel: Panel, own: PriceListSettings, seller: str) -> pd.DataFrame:
    """Products of the other sellers that sold of late, as `priced`, and whose they are."""
    alone = own.model_copy(update={"costs": None, "stock": None})
    found = [pd.DataFrame(columns=["product", "offer", "category", "price", "cost", "cost_known", "seller", "stock"])]
    for name in sorted(set(panel.rows["seller"].unique()) - {seller}):
        sold = sales.table[(sales.table["seller"] == name) & (sales.table["units"] > 0)]
        if int(sold["period"].max()) > int(sales.table["period"].max()) - own.recent:
            found.append(priced(sales, panel, alone, name)[0].assign(seller=name))
    return pd.concat(found[1:] or found, ignore_index=True)


def _everybody(
    table: pd.DataFrame, panel: Panel, level: Level, draws: np.ndarray, cross: np.ndarray, own: PriceListSettings
) -> Demand:
    """Demand for the products of all sellers."""
    prices, offers = table["price"].to_numpy(float), table["offer"].tolist()
    units = level.expected(offers, np.full(len(table), level.last + 1), prices)
    spread = level.variance().loc[offers].to_numpy()
    random = np.random.default_rng([own.seed, 2])
    shock = np.sqrt(spread) * random.standard_normal((len(draws), len(table))) - 0.5 * spread
    place = pd.Index(offers_of(panel)).get_indexer(pd.Index(offers))
    categories = sorted(panel.rows["category"].unique())
    none = np.zeros(len(categories))
    return Demand(
        prices, units * np.exp(shock), draws[:, place], cross, np.searchsorted(categories, table["category"]),
        none.astype(int), False, none, table["stock"].to_numpy(float),
    )  # fmt: skip


def _of_shop(everybody: Demand, count: int, follow: bool) -> Demand:
    """Demand for the first `count` products, those of the shop; the others are rivals'."""
    theirs = np.bincount(everybody.category[count:], minlength=len(everybody.rivals))
    return replace(
        everybody, today=everybody.today[:count], units=everybody.units[:, :count], own=everybody.own[:, :count],
        category=everybody.category[:count], rivals=theirs, follow=follow, stock=everybody.stock[:count],
    )  # fmt: skip


def _settled(
    everybody: Demand, demand: Demand, table: pd.DataFrame, theirs: pd.DataFrame, rules: Constraints,
    own: PriceListSettings,
) -> tuple[Choice, Demand, Demand, pd.DataFrame, int | None]:  # fmt: skip
    """The list once rivals answer, and how many rounds that took (None: no end).

    Returns:
        The list; demand at what rivals answer to today's prices, and at what they answer to the list; their answers;
        the rounds. Rivals that are not at their best prices today would move whatever the shop does: that is no gain.
    """
    if theirs.empty:
        raise refuse("rivals", "best_response", "stay: the file has no rival that sold of late")
    count = len(table)
    names = sorted(theirs["seller"].unique())
    seller = np.r_[np.zeros(count, int), 1 + np.searchsorted(names, theirs["seller"])]
    free = Constraints(own.floor, own.largest_change, tuple(own.endings))
    cost = np.r_[table["cost"].to_numpy(float), theirs["cost"].to_numpy(float)]
    found = settle(everybody, cost, seller, 0, [rules, *([free] * len(names))])
    stays = Constraints(held=frozenset(range(count)))
    before = settle(everybody, cost, seller, 0, [stays, *([free] * len(names))])
    choice = found.choice
    ours = Choice(found.prices[:count], choice.chance[:count], choice.unsure[:count], choice.crowded_out[:count])
    answers = theirs.assign(answer=found.prices[count:])

    def answered(prices: np.ndarray) -> Demand:
        change = np.log(prices[count:] / everybody.today[count:])
        return replace(demand, moved=_moved(demand, everybody.category[count:], change))

    rounds = None if before.rounds is None else found.rounds
    return ours, answered(before.prices), answered(found.prices), answers, rounds


def _learned_rivals(
    sales: Sales, own: PriceListSettings, seller: str, table: pd.DataFrame, theirs: pd.DataFrame
) -> LearnedRivals:
    if theirs.empty:
        raise refuse("rivals", "learned", "stay: the file has no rival that sold of late")
    assert own.policy is not None
    period = sales.period_name if sales.period_name != "period" else ""
    return load_rivals(own.policy, seller, table, theirs, (sales.currency, period))


def _learned(
    everybody: Demand, demand: Demand, table: pd.DataFrame, theirs: pd.DataFrame, rules: Constraints,
    policy: LearnedRivals,
) -> tuple[Choice, Demand, Demand, pd.DataFrame, int | None]:  # fmt: skip
    """The list once a policy's answers to it change it no more; returns as `_settled`.

    What of the rivals' is not in the policy's market stays where it is.
    """
    category, price = everybody.category[len(table) :], theirs["price"].to_numpy(float)

    def answered(prices: np.ndarray) -> tuple[Demand, np.ndarray]:
        found = pd.Series(policy.answers(dict(zip(table["offer"], prices, strict=True))), list(policy.offers))
        answer = theirs["offer"].map(found).astype(float).fillna(theirs["price"]).to_numpy(float)
        return replace(demand, moved=_moved(demand, category, np.log(answer / price))), answer

    before, answer = answered(demand.today)
    now, prices, rounds = before, demand.today, None
    for played in range(1, _ROUNDS + 1):
        choice = choose_prices(now, table["cost"].to_numpy(float), rules, prices)
        if np.array_equal(choice.prices, prices):
            rounds = played
            break
        prices = choice.prices
        now, answer = answered(prices)
    return choice, before, now, theirs.assign(answer=answer), rounds


def _moved(demand: Demand, category: np.ndarray, change: np.ndarray) -> np.ndarray:
    """[C] what logs of rivals' prices add to the mean of the others' prices that each product of the shop feels."""
    count = len(demand.rivals)
    others = np.bincount(demand.category, minlength=count) - 1 + demand.rivals
    return np.bincount(category, change, count) / np.maximum(others, 1)


def _event(
    event: WhatIf, demand: Demand, cost: np.ndarray, choice: Choice, rules: Constraints, theirs: pd.DataFrame,
    panel: Panel,
) -> Event:  # fmt: skip
    changed = demand
    if event.rival is not None and event.price is not None:
        whose = theirs["seller"].eq(event.rival)
        if not whose.any():
            there = list(theirs["seller"].unique())
            raise refuse("what_if", event.rival, f"a rival: {listed(there)}" if there else "no rival, as there is none")
        categories = sorted(panel.rows["category"].unique())
        category = np.searchsorted(categories, theirs.loc[whose, "category"])
        changed = replace(demand, moved=_moved(demand, category, np.full(int(whose.sum()), np.log1p(event.price))))
    price = cost * (1.0 + (event.cost or 0.0))
    answered = choose_prices(changed, price, rules)
    return Event(
        event.name,
        forecast(changed, price, demand.today).total_today,
        Spread.of(((choice.prices - price) * changed.sold(choice.prices)).sum(1)),
        Spread.of(((answered.prices - price) * changed.sold(answered.prices)).sum(1)),
        int((~np.isclose(answered.prices, demand.today)).sum()),
    )
