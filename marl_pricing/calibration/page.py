"""The calibration page: what was read, estimated, forecast and assumed, to open from disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

from marl_pricing.calibration import figures
from marl_pricing.calibration.choosing import CALLED
from marl_pricing.calibration.fit import Fit
from marl_pricing.calibration.forecast import Backtest
from marl_pricing.calibration.instruments import Strength, shown_set
from marl_pricing.calibration.market_file import CalibratedMarket
from marl_pricing.calibration.panel import Panel
from marl_pricing.calibration.reading import Sales
from marl_pricing.calibration.standard_errors import Estimate
from marl_pricing.presentation import page

Cell = tuple[str, float | None]


@dataclass(frozen=True)
class Findings:
    """All that a calibration found. `market` is None with the reason in `no_market`, likewise the back-test."""

    sales: Sales
    panel: Panel
    fit: Fit
    groups: pd.DataFrame  # elasticities by category, or by offer in a single category
    group: str  # the column that names them
    backtest: Backtest | None
    no_backtest: str
    market: CalibratedMarket | None
    no_market: str


def _number(value: float, digits: int = 3) -> Cell:
    return (f"{value:.{digits}f}" if np.isfinite(value) else "not identified", float(value))


def _p_value(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _estimates(found: Findings) -> str:
    fit, moves = found.fit, found.fit.dynamics
    rows: list[list[Cell]] = []

    def add(name: str, own: Estimate | None, test: str = "") -> None:
        if own is None:
            return
        low, high = own.interval
        rows.append([(name, None), _number(own.value), _number(own.error), _number(low), _number(high), (test, None)])

    add(f"own-price elasticity, {CALLED[fit.elasticity.estimator]}", fit.elasticity.own)
    add("the same, errors of independent draws", fit.elasticity.iid)
    if fit.elasticity.instruments is not None:
        rows.append(_instrument_row("the same, Anderson–Rubin", fit.elasticity.instruments))
    if fit.elasticity.with_cross:
        add("own, beside the others' price", fit.elasticity.with_cross[0])
        add("cross-price elasticity in the category", fit.elasticity.with_cross[1])
    if fit.form != "power":
        add(f"price coefficient of the logit, per {found.sales.currency or 'money'}", fit.slope)
        if fit.instruments is not None:
            rows.append(_instrument_row("the same, Anderson–Rubin", fit.instruments))
    add("promotion, beside the price", fit.promotion)
    add("nesting ρ", fit.nesting)
    add("holiday, log units of its period", moves.holiday)
    tests = (moves.persistence_test, moves.volatility_test)
    lasting, noisy = (f"{_p_value(test.p_value)} (likelihood ratio {test.statistic:.1f})" for test in tests)
    add("persistence of the level", moves.persistence, f"no level: {lasting}")
    add("volatility of the level", moves.volatility)
    add("noise that does not last", moves.noise, f"counting noise alone: {noisy}")
    if moves.season_test is not None:
        test = f"no season: {_p_value(moves.season_test.p_value)} (Wald {moves.season_test.statistic:.1f})"
        size = float(np.hypot(moves.season_cosine, moves.season_sine).max())
        rows.append([("season, swing of log demand", None), _number(size), *[("", None)] * 3, (test, None)])
    heads = [("what", ""), ("estimate", ""), ("standard error", ""), ("95 % from", ""), ("to", ""), ("p-value of", "")]
    return page.table(heads, rows)


def _instrument_row(name: str, own: Strength) -> list[Cell]:
    """The interval that holds however weak the instruments are; the first stage's F says how weak."""
    told = f"first-stage F {own.first_stage:,.1f}"
    if own.overidentified is not None:
        told += f"; instruments that agree: {_p_value(own.overidentified)}"
    if len(own.intervals) == 1 and np.all(np.isfinite(own.intervals[0])):
        low, high = own.intervals[0]
        return [(name, None), ("", None), ("", None), _number(low), _number(high), (told, None)]
    return [(f"{name}: {shown_set(own.intervals)}", None), *[("", None)] * 4, (told, None)]


def how_estimated(fit: Fit) -> list[str]:
    """By what, with which effects and errors, and what makes it less to be trusted, in sentences."""
    named = {"product": "products", "period": "periods", "trend": "a trend"}
    called = CALLED[fit.estimator]
    if fit.form != "power":
        counts = "multinomial likelihood of the units, rows of 0 units counted"
        called = counts if fit.estimator == "poisson" else "log odds of shares (Berry's inversion)"
    told = [
        f"Estimated by {called}, with effects of {' and '.join(named[effect] for effect in fit.effects)}; standard "
        f"errors allow for {fit.errors}."
    ]
    worth = fit.instruments or fit.elasticity.instruments
    if worth is not None:
        of = "the elasticity" if fit.instruments is None or fit.form == "power" else "the price's coefficient"
        told.append(worth.told(of))
    warnings = dict.fromkeys([*fit.warnings, *fit.elasticity.warnings])
    return [*told, *(f"NOTE: {line[0].upper()}{line[1:]}." for line in warnings)]


def _groups(found: Findings) -> str:
    rows: list[list[Cell]] = []
    for row in found.groups.to_dict("records"):
        told = "rises with its price: kept as estimated" if row["elasticity"] >= 0 else ""
        numbers = [_number(row[name]) for name in ("elasticity", "error", "low", "high")]
        rows.append([(str(row[found.group]), None), (f"{row['rows']:,}", float(row["rows"])), *numbers, (told, None)])
    heads = [(found.group, ""), ("rows", ""), ("elasticity", ""), ("standard error", ""), ("95 % from", ""), ("to", "")]
    return page.table([*heads, ("", "")], rows)


def _scores(own: Backtest) -> str:
    rows: list[list[Cell]] = []
    for row in own.scores.to_dict("records"):
        numbers = [(f"{100 * row[name]:.1f} %", float(row[name])) for name in _SCORES]
        rows.append(
            [(row["forecast"], None), (row["what"], None), (f"{row['cells']:,}", float(row["cells"])), *numbers]
        )
    heads = [
        ("forecast", ""),
        ("what it is", ""),
        ("cells", "offer and period"),
        *[(n, u) for n, u in _SCORES.values()],
    ]
    return page.table(heads, rows)


_SCORES = {
    "weighted": ("error", "of all units"),
    "by_revenue": ("error", "weighted with prices"),
    "mean_offer": ("error", "mean of offers"),
    "model": ("this calibration's", "of all units, same cells"),
}


def _read_as(found: Findings) -> str:
    return "".join(["<ul>", *(f"<li>{escape(line)}</li>" for line in found.sales.read_as), "</ul>"])


def _dropped(found: Findings) -> str:
    panel = found.panel
    rows: list[tuple[str, int, str]] = [
        (reason, count, "row set aside") for reason, count in found.sales.reasons.most_common()
    ]
    rows += [
        ("units are 0", panel.zero_rows, _zeros(found.fit)),
        ("all of the stock was sold, so that demand is only bounded", panel.sold_out, _sold_out(found.fit)),
        ("fewer periods than parameters", len(panel.short), "product left out"),
        ("price never changes", len(panel.fixed), "product kept; it tells nothing of the elasticity"),
        ("no row between a product's first and last period", panel.missing, "period missing; taken for unknown"),
    ]
    cells: list[list[Cell]] = [
        [(reason, None), (f"{count:,}", float(count)), (what, None)] for reason, count, what in rows if count
    ]
    if not cells:
        return "<p>Nothing.</p>"
    return page.table([("reason", ""), ("how many", ""), ("what was done", "")], cells)


def _zeros(fit: Fit) -> str:
    if fit.estimator in ("poisson", "censored"):
        return "row kept in the estimate of the slope and in the mean; the level's path does without"
    return "row left out of the estimates: it has no logarithm"


def _sold_out(fit: Fit) -> str:
    if fit.estimator == "censored":
        return "row kept: at least the stock was wanted"
    return "row left out of the estimates" + ("" if fit.form == "power" else ", its units kept in the market's")


def _offers(market: CalibratedMarket, money: str, period: str) -> str:
    rows: list[list[Cell]] = []
    for row in market.offers.to_dict("records"):
        numbers = [_number(row[name], digits) for name, digits in (("price", 2), ("units", 1), ("cost", 2))]
        told = _number(row["elasticity"], 2)
        if "elasticity_low" in row:
            told = (f"{told[0]} ({row['elasticity_low']:.2f} to {row['elasticity_high']:.2f})", told[1])
        rows.append([(str(row["offer"]), None), (str(row["seller"]), None), *numbers, told])
    heads = [("offer", ""), ("seller", ""), ("price", money), ("units", f"a {period}"), ("unit cost", money)]
    what = "own price, 95 %" if "elasticity_low" in market.offers else "own price"
    return page.table([*heads, ("elasticity", what)], rows)


def sentences(found: Findings) -> list[str]:
    """What was found, in words, first thing on the page and at the end of the command."""
    fit, moves = found.fit, found.fit.dynamics
    low, high = fit.elasticity.own.interval
    value = fit.elasticity.own.value
    way = "more" if value > 0 else "less"
    told = [
        f"A price 1 % higher goes with {abs(value):.2f} % {way} units (95 % interval of the elasticity "
        f"{low:.2f} to {high:.2f}, {fit.elasticity.rows:,} rows of {fit.elasticity.offers} offers)."
    ]
    told += [*how_estimated(fit), *_unseen(fit)]
    if fit.own is not None:
        low, middle, high = np.quantile(fit.own.mean, [0.0, 0.5, 1.0])
        count, silent = fit.own.draws.shape[1], fit.own.draws.shape[1] - len(fit.own.measured)
        none = f"; of {silent} of {count} the sales tell none, and these have their category's" if silent else ""
        told.append(
            f"Each offer has its own elasticity, drawn towards its category's: from {low:.2f} to {high:.2f}, half of "
            f"them below {middle:.2f}{none}."
        )
    if fit.elasticity.own.value >= 0:
        told.append("Demand rises with its price: more likely prices follow demand here than the other way round.")
    told.append(
        f"Demand has a level that lasts (persistence {moves.persistence.value:.2f}, volatility "
        f"{moves.volatility.value:.2f}) and noise of {moves.noise.value:.2f} that does not."
    )
    own = found.backtest
    if own is not None:
        scores = own.scores.set_index("forecast")
        model, naive = scores.loc["model"], scores.loc["naive"]
        better = "less than" if model["mean_offer"] < naive["mean_offer"] else "no less than"
        told.append(
            f"In the last {own.holdout} periods, held out, its forecasts miss {100 * model['mean_offer']:.0f} % of an "
            f"offer's units on average, {better} the {100 * naive['mean_offer']:.0f} % of repeating the last ones seen."
        )
    if found.market is not None:
        told += found.market.warnings
    if found.no_market:
        told.append(f"No market was written: {found.no_market}.")
    return told


def _unseen(fit: Fit) -> list[str]:
    """How strong a cause that the file does not tell would have to be, and what holidays do."""
    told, own = [], fit.robustness
    if own is not None and fit.elasticity.own.value < 0:
        more = (
            f", one that explains {own.to_minus_one:.1%} to −1, where no price is best" if own.to_minus_one > 0 else ""
        )
        told.append(
            f"A cause that the file does not tell, which explains {own.to_zero:.1%} of what effects leave of prices "
            f"and as much of units, could bring the elasticity to 0{more} (robustness values of Cinelli and Hazlett "
            "2020, in logs)."
        )
    holiday = fit.dynamics.holiday
    if holiday is not None:
        low, high = (100.0 * np.expm1(end) for end in holiday.interval)
        told.append(
            f"A holiday changes the units of its period by {100.0 * np.expm1(holiday.value):+.0f} % (95 % interval "
            f"{low:+.0f} to {high:+.0f} %); the market is that of a period without."
        )
    return told


def pictures(found: Findings) -> list[tuple[str, str, str, Callable[[], Figure]]]:
    """(file name, title, caption, how it is drawn)."""
    captions, own = figures.CAPTIONS, found.backtest
    listed: list[tuple[str, str, str, Callable[[], Figure]]] = [
        (
            "elasticities",
            "Elasticities",
            captions["elasticities"].format(group=found.group),
            lambda: figures.elasticities(found.fit, found.groups, found.group),
        )
    ]
    if own is not None:
        listed += [
            (
                "backtest",
                "Back-test",
                captions["backtest"].format(holdout=own.holdout),
                lambda: figures.backtest(own, found.sales.period_name),
            ),
            (
                "fit",
                "Units, forecast and price",
                captions["fit"],
                lambda: figures.fit_over_time(found.panel.table, own, found.sales.currency, found.sales.period_name),
            ),
        ]
    market = found.market
    if market is not None:
        prices, period = market.settings["prices"], found.sales.period_name
        listed.append(
            (
                "demand_curves",
                "Demand of the market's offers",
                captions["demand_curves"],
                lambda: figures.demand_curves(
                    found.fit, market.offers, (prices["low"], prices["high"]), found.sales.currency, period
                ),
            )
        )
    return listed


def render(
    found: Findings, title: str, provenance: Mapping[str, object], images: Mapping[str, tuple[bytes, bytes]]
) -> str:
    """The page.

    Args:
        images: by file name of `pictures`, PNG for wide pages and for phones.
    """
    own, market = found.backtest, found.market
    money, period = found.sales.currency or "money", found.sales.period_name
    shown = {name: page.picture(head, caption, *images[name]) for name, head, caption, _ in pictures(found)}
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>{escape(' '.join(sentences(found)))}</p>",
        "<section><h2>Estimates</h2>",
        _estimates(found),
        f"<p class=note>{escape(' '.join(how_estimated(found.fit)))} "
        f"{escape(_cross_note(found.fit))}Press a column's head to sort.</p>",
        shown["elasticities"],
        f"<details><summary>By {found.group}</summary>{_groups(found)}</details></section>",
        "<section><h2>Held-out periods</h2>",
        f"<p>{escape(found.no_backtest)}</p>" if own is None else _scores(own) + shown["backtest"] + shown["fit"],
        "</section><section><h2>The market</h2>",
        f"<p>{escape(found.no_market)}</p>"
        if market is None
        else _offers(market, money, period) + shown["demand_curves"],
    ]
    if market is not None:
        assumed = "".join(f"<li>{escape(line)}</li>" for line in market.assumptions)
        body.append(f"<h3>Taken for granted</h3><ul>{assumed}</ul>")
    body += [
        f"</section><section><h2>How the file was read</h2><p>{found.sales.rows:,} rows were read; {period} "
        f"{escape(found.sales.first_period)} is the first.</p>{_read_as(found)}",
        f"<h3>What was dropped</h3>{_dropped(found)}</section>",
        "<section><h2>Where it comes from</h2><pre>",
        escape(yaml.safe_dump(dict(provenance), sort_keys=False, allow_unicode=True)),
        "</pre></section>",
    ]
    return page.render(title, body)


def _cross_note(fit: Fit) -> str:
    if fit.elasticity.with_cross is None:
        return f"No cross-price elasticity: {fit.elasticity.no_cross}. "
    return ""
