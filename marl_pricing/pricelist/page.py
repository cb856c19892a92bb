"""The page of a price list: what it brings, the list, why not to trust it, how it came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure

from marl_pricing.presentation import page
from marl_pricing.pricelist import figures
from marl_pricing.pricelist.make import PriceList
from marl_pricing.pricelist.outlook import Spread
from marl_pricing.pricelist.settings import ANSWERING, PriceListSettings

Cell = tuple[str, float | None]


def _money(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"


def _span(own: Spread, number: int | None = None) -> str:
    low, high = (float(end) if number is None else float(end[number]) for end in (own.low, own.high))
    return f"{_money(low)} to {_money(high)}"


def _chance(value: float) -> str:
    return "above 99%" if value > 0.99 else "below 1%" if value < 0.01 else f"{value:.0%}"


def sentences(found: PriceList, own: PriceListSettings) -> list[str]:
    """What the list says, in words: on the page first, and at the end of the command."""
    currency, period = found.sales.currency or "money", found.sales.period_name
    outlook, count = found.outlook, len(found.table)
    changed = found.changed
    up = int((found.choice.prices[changed] > found.demand.today[changed]).sum())
    told = []
    if changed.any():
        gain, today = outlook.total_gain, float(outlook.total_today.mean)
        share = f" ({float(gain.mean) / today:+.1%} of {_money(today)})" if today > 0 else ""
        told.append(
            f"{changed.sum()} of {count} prices change: {up} rise, {changed.sum() - up} fall. In the next {period} "
            f"they are expected to bring {_money(float(gain.mean))} {currency} more profit{share}, 95 % interval "
            f"{_span(gain)}; the probability that profit rises is {_chance(outlook.total_chance)}."
        )
    else:
        told.append(f"No price of {count} changes.")
    unsure, crowded = int(found.choice.unsure.sum()), int(found.choice.crowded_out.sum())
    if unsure:
        told.append(
            f"{unsure} stay because the data cannot say: no change of theirs is a gain with a probability of "
            f"{own.certainty:.0%}."
        )
    if crowded:
        told.append(f"{crowded} stay because only {own.budget} may change.")
    assumed = int((~found.table["cost_known"]).sum())
    if assumed:
        told.append(
            f"NOTE: the costs of {assumed} products are assumed, a margin of {own.margin:.0%}; the best prices rest on "
            "them: name a column of costs in the mapping, or costs=FILE."
        )
    if own.rivals in ANSWERING:
        moved = ~np.isclose(found.answers["answer"].astype(float), found.answers["price"].astype(float))
        change = float(np.exp(np.log(found.answers["answer"] / found.answers["price"]).mean()) - 1.0)
        told.append(
            f"Rivals answer {_how(found, own)}: {moved.sum()} of {len(moved)} change, by {change:+.1%} on average"
            + (f"; after {found.rounds} rounds nobody moves." if found.rounds else ".")
            + " What the list brings is counted against today's prices of the shop, answered likewise."
        )
        if found.rounds is None:
            told.append("NOTE: the answers went round without an end; the list is the last that was tried.")
    if own.rivals == "follow":
        told.append("Rivals are taken to follow: they move by the mean change of each category.")
    if own.cross == "none":
        told.append("Products are taken to sell independently of one another's prices (cross=category does not).")
    if changed.any():
        told.append(_break_even(found))
    told.append(
        "Intervals hold what the estimates leave open and what demand does until then, not that prices may have "
        "followed demand in the data."
    )
    if len(found.idle):
        told.append(f"{len(found.idle)} products are not priced.")
    if found.no_backtest:
        told.append(f"No back-test: {found.no_backtest}.")
    return told


def _break_even(found: PriceList) -> str:
    near = min(found.break_even, key=abs)
    if not np.isfinite(near):
        return "It would gain even if every elasticity were off by 4, one way or the other."
    if near < 0:
        return (
            f"It would bring nothing if every elasticity were {-near:.2f} lower than estimated, shoppers more "
            "sensitive, as they are where prices followed demand."
        )
    return (
        f"It would bring nothing if every elasticity were {near:.2f} higher than estimated, shoppers less sensitive, "
        "as they are where low prices came with promotions that the file does not tell."
    )


def _how(found: PriceList, own: PriceListSettings) -> str:
    if own.rivals == "learned":
        return f"as the policy of {Path(own.policy or '').name} does in its market, once it has seen the list for long"
    return f"with their own best prices, costs of theirs {_known(found)}"


def _known(found: PriceList) -> str:
    known = found.answers["cost_known"].astype(bool)
    return (
        "known" if known.all() else "assumed by the margin" if not known.any() else "assumed where they are not known"
    )


def _answers(found: PriceList) -> str:
    currency = found.sales.currency or "money"
    rows: list[list[Cell]] = []
    for row in found.answers.to_dict("records"):
        change = row["answer"] / row["price"] - 1.0
        rows.append(
            [
                (str(row["product"]), None), (str(row["seller"]), None), (str(row["category"]), None),
                (f"{row['price']:,.2f}", float(row["price"])), (f"{row['answer']:,.2f}", float(row["answer"])),
                (f"{change:+.1%}" if abs(change) > 1e-9 else "stays", change),
            ]
        )  # fmt: skip
    heads = [("product", ""), ("seller", ""), ("category", ""), ("price", f"{currency}, today"),
             ("answer", currency), ("change", "")]  # fmt: skip
    return page.table(heads, rows)


def _list(found: PriceList) -> str:
    currency, period = found.sales.currency or "money", found.sales.period_name
    outlook, rows, several = found.outlook, [], found.table["category"].nunique() > 1
    order = np.argsort(-outlook.gain.mean, kind="stable")
    for n in order:
        own, price = found.table.iloc[n], float(found.choice.prices[n])
        change = price / own["price"] - 1.0
        stays = np.isclose(change, 0.0)
        chance = float(found.choice.chance[n])
        cells: list[Cell] = [
            (str(own["product"]), None),
            (f"{own['price']:,.2f}", float(own["price"])),
            ("stays" if stays else f"{price:,.2f}", price),
            ("" if stays else f"{change:+.1%}", change),
            ("" if stays else f"{outlook.gain.mean[n]:+,.2f}", float(outlook.gain.mean[n])),
            ("" if stays else _span(outlook.gain, int(n)), float(outlook.gain.low[n])),
            ("" if np.isnan(chance) else _chance(chance), chance),
            (str(own["notes"]), None),
            (f"{outlook.units_today.mean[n]:,.1f}", float(outlook.units_today.mean[n])),
            (f"{outlook.units.mean[n]:,.1f}", float(outlook.units.mean[n])),
            (_money(outlook.profit_today.mean[n]), float(outlook.profit_today.mean[n])),
            (f"{found.elasticity.mean[n]:.2f}", float(found.elasticity.mean[n])),
            (str(own["category"]), None),
        ]
        rows.append(cells if several else cells[:-1])
    heads = [
        ("product", ""), ("price", f"{currency}, today"), ("proposed", currency), ("change", ""),
        ("gain", f"{currency} a {period}"), ("95 %", "of the gain"), ("chance", "profit rises"),
        ("why it stays, or why not to trust it", ""), ("units", f"a {period}, today's price"), ("units", "proposed"),
        ("profit", f"{currency} a {period}, today"), ("elasticity", ""), ("category", ""),
    ]  # fmt: skip
    return page.table(heads if several else heads[:-1], rows)


def _events(found: PriceList) -> str:
    currency = found.sales.currency or "money"
    rows: list[list[Cell]] = []
    for event in found.events:
        spreads = (event.today, event.listed, event.answered)
        shown = [(f"{_money(float(own.mean))} ({_span(own)})", float(own.mean)) for own in spreads]
        rows.append([(event.name, None), *shown, (str(event.changed), float(event.changed))])
    heads = [
        ("if", ""), ("profit at today's prices", f"{currency}, 95 %"), ("at this list", f"{currency}, 95 %"),
        ("at a list made for it", f"{currency}, 95 %"), ("prices it changes", ""),
    ]  # fmt: skip
    return page.table(heads, rows)


def pictures(found: PriceList) -> list[tuple[str, str, str, Callable[[], Figure]]]:
    """(file name, title, caption, how it is drawn)."""
    changed = int(found.changed.sum())
    listed: list[tuple[str, str, str, Callable[[], Figure]]] = []
    if changed:
        which = "all that change" if changed <= figures.MOST else f"the {figures.MOST} largest of {changed}"
        caption = figures.CAPTIONS["gains"].format(period=found.sales.period_name, which=which)
        listed.append(("gains", "Gains", caption, lambda: figures.gains(found)))
    if found.measured["elasticity"].notna().any():
        caption = figures.CAPTIONS["elasticities"]
        listed.append(("elasticities", "Elasticities", caption, lambda: figures.elasticities(found)))
    return listed


def render(
    found: PriceList, own: PriceListSettings, file: str, provenance: Mapping[str, object],
    images: Mapping[str, tuple[bytes, bytes]],
) -> str:  # fmt: skip
    """The page.

    Args:
        images: by file name of `pictures`, PNG for wide pages and for phones.
    """
    whose = ", ".join(text for text in (found.seller, found.store, own.category) if text)
    title = f"Price list of {whose}" if whose else "Price list"
    shown = {name: page.picture(head, caption, *images[name]) for name, head, caption, _ in pictures(found)}
    said = sentences(found, own)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=lead>{escape(said[0])}</p><ul>",
        *(f"<li>{escape(line)}</li>" for line in said[1:]),
        "</ul><section><h2>The list</h2>",
        "<p class=note>Press a column's head to sort. Units and profit are those expected in the next "
        f"{escape(found.sales.period_name)}.</p>",
        _list(found),
        shown.get("gains", ""),
        "</section>",
    ]
    if own.rivals in ANSWERING:
        body += ["<section><h2>What rivals answer</h2>", _answers(found), "</section>"]
    if found.events:
        today = f"{_money(float(found.outlook.total_today.mean))} {found.sales.currency or 'money'}"
        usual = f"Without any of it today's prices bring {today} a {found.sales.period_name}."
        body += ["<section><h2>What if</h2>", f"<p>{escape(usual)}</p>", _events(found), "</section>"]
    if "elasticities" in shown:
        body += ["<section><h2>What it rests on</h2>", shown["elasticities"], "</section>"]
    if len(found.idle):
        rows: list[list[Cell]] = [[(row["product"], None), (row["why"], None)] for row in found.idle.to_dict("records")]
        body += [
            "<section><details><summary>Not priced</summary>",
            page.table([("product", ""), ("why", "")], rows),
            "</details></section>",
        ]
    body += [
        f"<section><h2>Where it comes from</h2><p>{escape(file)}, read as:</p><ul>",
        *(f"<li>{escape(line)}</li>" for line in found.sales.read_as),
        "</ul><pre>",
        escape(yaml.safe_dump(dict(provenance), sort_keys=False, allow_unicode=True)),
        "</pre></section>",
    ]
    return page.render(title, body)
