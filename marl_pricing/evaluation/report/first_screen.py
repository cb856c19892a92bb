"""The first screen of a report: three answers in plain words, and one line of what to mind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.report import texts
from marl_pricing.evaluation.runs import LEARNED, RunToEvaluate
from marl_pricing.evaluation.summary import pick, records
from marl_pricing.learning.convergence import curves_of, judge

_FEW_RUNS = 3  # that are told one by one
_FEW_SELLERS = 4
_FEW_SEEDS = 5
_NEAR = 0.15  # of the way from Nash to joint profit that is still called competition
_FLAT = 0.02  # of the Nash price; benchmarks that lie closer together tell nothing apart
_SCARCE = 0.01  # of the static Nash price, by which stock has to move it


@dataclass(frozen=True)
class Answer:
    """A question of the first screen and what is answered, in a sentence or two."""

    question: str
    text: str


def number(measure: str, value: float) -> str:
    """A value with the digits that a sentence bears."""
    return (
        texts.number(measure, value)
        if abs(value) < 1 or abs(value) >= 100 or measure == "fill_rate"
        else f"{value:.2f}"
    )


def _by_seller(summary: pd.DataFrame, run: str, policy: str, measure: str) -> str:
    """Each seller's own value in brackets, the highest first; empty for one seller."""
    own = summary[summary["run"].eq(run) & summary["policy"].eq(policy) & summary["measure"].eq(measure)]
    rows = [row for row in records(own[own["seller"].ne("all")]) if np.isfinite(row["value"])]
    if len(rows) < 2:
        return ""
    rows.sort(key=lambda row: -row["value"])
    shown = rows if len(rows) <= _FEW_SELLERS else [rows[0], rows[-1]]
    dots = " … " if len(shown) < len(rows) else ", "
    told = [f"seller {row['seller']} {number(measure, row['value'])}" for row in shown]
    return f" ({dots.join(told)})"


def _apart(pair: dict[str, Any] | None, measure: str, more: str) -> str:
    """What a comparison of two runs supports, as the end of a sentence; `more` has a place for the amount."""
    if pair is None:
        return "; these runs were not compared in pairs"
    low, high = statistics.paired_ends(pair)
    ends = f"95\u00a0% interval {number(measure, low)} to {number(measure, high)}"
    if pair["units"] != "seeds":
        return "; of one seed each, so that no difference between them is claimed: another training may end otherwise"
    if statistics.supported(pair):
        beyond = f"more than the luck of {pair['count']} seeds ({ends})"
        return f": {more.format(number(measure, pair['difference']))}, which is {beyond}"
    return f": no difference that {pair['count']} seeds support ({number(measure, pair['difference'])}, {ends})"


def _extremes(summary: pd.DataFrame, shown: Mapping[str, str], measure: str) -> tuple[str, str]:
    """The runs with the highest and the lowest value."""
    by_value = sorted(shown, key=lambda run: pick(summary, run, shown[run], measure)["value"])
    return by_value[-1], by_value[0]


def _policy(policy: str) -> str:
    return "" if policy.startswith(LEARNED) else f" under {policy}"


def _earned(
    summary: pd.DataFrame, shown: Mapping[str, str], comparisons: pd.DataFrame | None, comparable: bool
) -> Answer:
    told = {}
    for run, policy in shown.items():
        value = number("profit", pick(summary, run, policy, "profit")["value"])
        own = _by_seller(summary, run, policy, "profit")
        told[run] = f"of {run}{_policy(policy)} earn {value} money per epoch{' together' if own else ''}{own}"
    if len(shown) == 1:
        run, policy = next(iter(shown.items()))
        row = pick(summary, run, policy, "profit")
        many = summary["seller"].nunique() > 2
        ends = f"; 95\u00a0% interval {number('profit', row['low'])} to {number('profit', row['high'])}"
        ends = "" if np.isnan(row["low"]) else f"{ends}, over {row['count']} {row['resampled']}"
        text = f"{'Sellers' if many else 'The seller'} {told[run]}{ends}."
        return Answer("Who earns what?", text if many else text.replace(" earn ", " earns "))
    best, worst = _extremes(summary, shown, "profit")
    listed = list(shown) if len(shown) <= _FEW_RUNS else [best, worst]
    listed.sort(key=lambda run: -pick(summary, run, shown[run], "profit")["value"])
    first = "Sellers " if len(shown) <= _FEW_RUNS else f"Of {len(shown)} runs, sellers "
    text = first + "; those ".join(told[run] for run in listed)
    if not comparable:
        return Answer("Who earns what?", f"{text}; the markets of these runs differ, so that nobody earns more.")
    pair = texts.pair_of(comparisons, "profit", best, worst)
    return Answer("Who earns what?", f"{text}{_apart(pair, 'profit', f'{best} earns {{}} more')}.")


def _shoppers(
    summary: pd.DataFrame, shown: Mapping[str, str], comparisons: pd.DataFrame | None, comparable: bool
) -> Answer:
    best, worst = _extremes(summary, shown, "price_mean")
    listed = list(shown) if len(shown) <= _FEW_RUNS else [best, worst]
    parts = []
    for run in listed:
        policy = shown[run]
        price = number("price_mean", pick(summary, run, policy, "price_mean")["value"])
        where = f" in {run}" if len(shown) > 1 else ""
        parts.append(f"{price} money a unit{where}{_by_seller(summary, run, policy, 'price_mean')}")
    text = f"They are asked {', '.join(parts)} on average"
    if len(shown) > 1 and comparable:
        pair = texts.pair_of(comparisons, "price_mean", best, worst)
        text += _apart(pair, "price_mean", f"{best} asks {{}} more")
    fills = [pick(summary, run, shown[run], "fill_rate")["value"] for run in listed]
    if any(np.isfinite(own) and own < 0.9995 for own in fills):
        served = " and ".join(number("fill_rate", own) for own in fills)
        text += f". Of what they want {served} is in stock"
    kept = [pick(summary, run, shown[run], "consumer_surplus")["value"] for run in listed]
    if all(np.isfinite(kept)):
        worth = " and ".join(number("consumer_surplus", own) for own in kept)
        text += f"; what they buy is worth {worth} money per epoch more to them than they pay"
    return Answer("What do shoppers pay?", f"{text}.")


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    """A 95 % interval of a mean: Student's over seeds, where there are several, else what the episodes leave."""
    if row["resampled"] == "seeds" and row["count"] > 1:
        half = statistics.student(row["count"]) * row["deviation"] / math.sqrt(row["count"])
        return row["value"] - half, row["value"] + half
    return (row["value"], row["value"]) if np.isnan(row["low"]) else (row["low"], row["high"])


def _omega(run: RunToEvaluate) -> str:
    values = np.unique(np.round(np.asarray(run.params.reward.omega, np.float64), 4))
    return " and ".join(f"{value:g}" for value in values)


def _selfish(run: RunToEvaluate) -> bool:
    return bool(np.all(np.asarray(run.params.reward.omega) == 1.0))


@dataclass(frozen=True)
class Reference:
    """Mean prices of a market's benchmarks, money per unit; None where there is none.

    Attributes:
        nash, joint: that prices are held against: with the stock counted, where that is known.
        static_nash, static_joint: as if every order were served.
        name: what the first two are.
    """

    nash: float
    joint: float
    static_nash: float | None
    static_joint: float | None
    name: str


def reference(benchmarks: Benchmarks) -> Reference | None:
    """What prices are held against; None where the market has no benchmark at all."""
    nash, joint = (None if own is None else float(own.prices.mean()) for own in (benchmarks.nash, benchmarks.joint))
    if benchmarks.simulated is not None:
        found = [float(own.prices.mean()) for own in benchmarks.simulated]
        return Reference(found[0], found[1], nash, joint, benchmarks.simulated_label)
    if nash is None or joint is None:
        return None
    fluid = [
        None if own is None else float(own.at.prices.mean()) for own in (benchmarks.fluid_nash, benchmarks.fluid_joint)
    ]
    name = benchmarks.label if fluid == [None, None] else benchmarks.stock_label
    first, second = (other if own is None else own for own, other in zip(fluid, (nash, joint), strict=True))
    return Reference(first, second, nash, joint, name)


def place_of(row: Mapping[str, Any], found: Reference) -> str:
    """Where a mean price lies: `below`, `at` or `above` competition, `unclear`, or `flat` where nothing can be told."""
    gap = found.joint - found.nash
    if gap < _FLAT * abs(found.nash):
        return "flat"
    low, high = _ends(row)
    near = _NEAR * gap
    # Who learned that every order is served, and who learned that stock is scarce, both compete.
    most, least = (
        end(found.nash, found.nash if found.static_nash is None else found.static_nash) for end in (max, min)
    )
    if low > most + near:
        return "above"
    if high < least - near:
        return "below"
    return "unclear" if high > most + 0.5 * gap or low < least - 0.5 * gap else "at"


def _verdict(run: RunToEvaluate, row: Mapping[str, Any], found: Reference, punished: bool | None) -> str:
    """What one run's prices are: competition, collusion, cooperation."""
    place, price = place_of(row, found), number("price_mean", row["value"])
    way = (row["value"] - found.nash) / (found.joint - found.nash) if found.joint != found.nash else 0.0
    where = f"Prices of {run.name} ({price})"
    nash, joint = (number("price_mean", own) for own in (found.nash, found.joint))
    ends = f"those of competition ({nash}) and of a cartel ({joint})"
    if place == "flat":
        return f"{where} tell nothing: {ends} are nearly the same"
    trained = "" if _selfish(run) else f"; ω = {_omega(run)} trains sellers to cooperate"
    if place == "unclear":
        return f"{where} cannot be told apart from {ends}: seeds lie too far from each other{trained}"
    if place == "below":
        return f"{where} are below those of competition: Nash is {nash}{trained}"
    if place == "at":
        return f"{where} are those of competition: Nash is {nash}, a cartel's price {joint}{trained}"
    lie = f"{where} lie {100 * way:.0f}\u00a0% of the way from competition ({nash}) to a cartel ({joint})"
    if not _selfish(run):
        return f"{lie}: cooperation, which ω = {_omega(run)} trains sellers for"
    how = {True: ", and a cut of a price is punished", False: ", though nobody punishes a cut of a price"}
    return f"{lie}: what looks like collusion, since each seller learned for itself{how.get(punished, '')}"  # type: ignore[arg-type]


def _scarcity(found: Reference, benchmarks: Benchmarks, highest: float) -> str:
    """What stock does to the benchmarks, and what they ignore."""
    ignores = ", ".join(benchmarks.ignores)
    if found.static_nash is None or found.static_joint is None:
        return f" Held against: {found.name}."
    static = f"Nash {number('price_mean', found.static_nash)}, joint {number('price_mean', found.static_joint)}"
    if found.name == benchmarks.label:
        return f" These are static benchmarks; they ignore {ignores}." if ignores else ""
    if not ignores:
        return f" Held against: {found.name}; were any price allowed: {static}."
    told = f" Held against: {found.name}; the static benchmarks ({static}) ignore {ignores}."
    if not benchmarks.knows_stock:
        return told
    if highest > found.static_joint and highest <= found.joint + _NEAR * abs(found.joint - found.nash):
        return f"{told} Prices above the static cartel price are scarcity: stock does not serve every order."
    if found.nash > (1 + _SCARCE) * found.static_nash:
        lifted = f"from {number('price_mean', found.static_nash)} to {number('price_mean', found.nash)}"
        return f"{told} Scarce stock lifts the Nash price {lifted}."
    return (
        f"{told} Scarcity moves competitive prices by less than 1\u00a0%."
        if abs(found.nash - found.static_nash) <= _SCARCE * found.static_nash
        else told
    )


def _why(
    runs: Sequence[RunToEvaluate],
    summary: pd.DataFrame,
    shown: Mapping[str, str],
    benchmarks: Mapping[str, Benchmarks],
    punished: Mapping[str, bool],
) -> Answer:
    question = "Collusion, competition or scarcity?"
    parts: list[str] = []
    places: dict[str, int] = {}
    known: dict[str, Reference] = {}
    for run in runs:
        found, row = reference(benchmarks[run.name]), pick(summary, run.name, shown[run.name], "price_mean")
        if found is None:
            parts.append(f"{run.name} has no benchmark to hold prices against ({benchmarks[run.name].missing})")
            continue
        known[run.name] = found
        place = place_of(row, found)
        places[place] = places.get(place, 0) + 1
        parts.append(_verdict(run, row, found, punished.get(run.name)))
    if len(runs) > _FEW_RUNS:
        words = {
            "above": "above competition", "at": "at competition", "below": "below it", "unclear": "cannot be told",
            "flat": "in markets where competition and a cartel ask the same",
        }  # fmt: skip
        counted = ", ".join(f"{count} {words[place]}" for place, count in places.items())
        parts = [f"Of {len(runs)} runs, prices are: {counted or 'without benchmarks'}"]
    text = f"{'. '.join(parts)}."
    if known:
        name = next(iter(known))
        highest = max(pick(summary, run, shown[run], "price_mean")["value"] for run in known)
        text += _scarcity(known[name], benchmarks[name], highest)
    return Answer(question, text)


def answers(
    runs: Sequence[RunToEvaluate],
    summary: pd.DataFrame,
    shown: Mapping[str, str],
    benchmarks: Mapping[str, Benchmarks],
    comparisons: pd.DataFrame | None,
    punished: Mapping[str, bool],
    *,
    comparable: bool,
) -> list[Answer]:
    """Who earns what, what shoppers pay, and whether that is collusion, competition or scarcity.

    A difference between runs is called one where the interval of the paired differences and Student's test of them
    leave 0 out, over training seeds. A mean price is competition's within 15 % of the way from Nash to joint profit.

    Args:
        shown: by run, the policy that is told of.
        punished: by run, whether rivals answered a forced cut; without runs where nobody looked.
        comparable: whether runs differ in omega at most.
    """
    return [
        _earned(summary, shown, comparisons, comparable),
        _shoppers(summary, shown, comparisons, comparable),
        _why(runs, summary, shown, benchmarks, punished),
    ]


def omega_line(runs: Sequence[RunToEvaluate]) -> str:
    """What ω is, and each run's."""
    each = ", ".join(f"{run.name}: ω = {_omega(run)}" for run in runs[:6]) + (" …" if len(runs) > 6 else "")
    return (
        "ω (omega) is what a seller is trained for: 1 its own profit alone, 0 the profit of all sellers, between them "
        f"its own plus 1 − ω of each rival's ({each})."
    )


def warnings(runs: Sequence[RunToEvaluate], benchmarks: Mapping[str, Benchmarks], *, comparable: bool) -> list[str]:
    """What to mind, each in a few words: seeds, convergence, what benchmarks ignore, markets that differ."""
    found = []
    counts = {run.name: len(run.greedy) for run in runs if run.greedy}
    alone = [name for name, count in counts.items() if count == 1]
    if alone:
        found.append(f"one seed ({', '.join(alone)}): another training may end otherwise, intervals are over episodes")
    few = {count for count in counts.values() if 1 < count < _FEW_SEEDS}
    if few:
        found.append(f"{' and '.join(map(str, sorted(few)))} seeds are few: intervals are too narrow")
    for run in runs:
        if run.held_out is not None and len(run.held_out):
            verdict = judge(curves_of(records(run.held_out)))
            if not verdict.converged:
                found.append(f"{run.name}: {verdict}")
        elif run.greedy and run.training is not None:
            found.append(f"{run.name}: convergence not judged, it was trained without evaluations")
    ignored = dict.fromkeys(name for own in benchmarks.values() if own.nash for name in own.ignores)
    if ignored:
        found.append(f"static benchmarks ignore {', '.join(ignored)}")
    lacking = [run.name for run in runs if benchmarks[run.name].missing]
    if lacking:
        reason = benchmarks[lacking[0]].missing
        found.append(f"no gain from Nash to joint profit in {', '.join(lacking)} ({reason})")
    if len(runs) > 1 and not comparable:
        found.append("the markets of these runs differ beyond ω")
    return found
