"""Figures as people read them, and the sentences of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.measured import Measured
from marl_pricing.evaluation.metrics import MEASURES
from marl_pricing.evaluation.runs import LEARNED, RunToEvaluate, main_policy
from marl_pricing.evaluation.statistics import supported
from marl_pricing.evaluation.summary import pick, records
from marl_pricing.learning.convergence import curves_of, judge
from marl_pricing.market import MarketParams, MarketShape

_FEW_RUNS = 4  # that are placed between their benchmarks one by one
_INDICES = {"profit_gain": "profit gain Δ", "relative_price_deviation": "price deviation RPD"}


def number(measure: str, value: float) -> str:
    """A value with as many digits as help."""
    if measure in MEASURES and MEASURES[measure].percent:
        return f"{100 * value:.1f}\u00a0%"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def measure_label(measure: str) -> tuple[str, str]:
    """Name and unit of a measure."""
    if measure in _INDICES:
        return _INDICES[measure], "0 Nash, 1 joint"
    return MEASURES[measure].label, MEASURES[measure].unit


def explanation(measure: str) -> str:
    """One sentence on what is measured."""
    if measure == "profit_gain":
        return "(profit − Nash) / (joint − Nash), of the benchmarks named beside it; of one seller against its own"
    if measure == "relative_price_deviation":
        return "(mean price − Nash) / (joint − Nash), of the same benchmarks"
    return MEASURES[measure].explanation


def _interval(row: Mapping[str, Any]) -> str:
    text = number(row["measure"], row["value"])
    if np.isnan(row["low"]):
        return text
    return f"{text} (95\u00a0% interval {number(row['measure'], row['low'])} to {number(row['measure'], row['high'])})"


def _alone_sentence(summary: pd.DataFrame, run: str, policy: str) -> str:
    row = pick(summary, run, policy, "profit")
    return f"In {run}, {row['policy']} earns {_interval(row)} money per epoch for all sellers together"


def runs_sentence(
    summary: pd.DataFrame, shown: Mapping[str, str], comparisons: pd.DataFrame | None, comparable: bool
) -> str:
    """Who earns most and least of several runs; what training seeds do not support is not called a difference."""
    rows = sorted((pick(summary, run, own, "profit") for run, own in shown.items()), key=lambda row: -row["value"])
    best, worst = rows[0], rows[-1]
    if not comparable:
        return (
            f"In {len(rows)} runs of different markets, which are not to be compared directly, sellers together earn "
            f"between {number('profit', worst['value'])} ({worst['policy']} of {worst['run']}) and "
            f"{number('profit', best['value'])} money per epoch ({best['policy']} of {best['run']})"
        )
    most = f"{best['policy']} of {best['run']} earns most, {_interval(best)} money per epoch for all sellers together"
    least = f"{worst['policy']} of {worst['run']} least, {_interval(worst)}"
    pair = pair_of(comparisons, "profit", best["run"], worst["run"])
    if pair is None:
        return f"Of {len(rows)} runs, {most}, and {least}"
    apart = (
        f"with the same shoppers {number('profit', pair['difference'])} more (95 % interval "
        f"{number('profit', pair['low'])} to {number('profit', pair['high'])})"
    )
    if supported(pair):
        chance = f"a seed of {best['run']} earns more than one of {worst['run']} with probability {pair['above']:.2f}"
        return f"Of {len(rows)} runs, {most}, and {least}: {apart}, and {chance}"
    trained = f"{pair['count']} seeds" if pair["units"] == "seeds" else "one seed each"
    return (
        f"{len(rows)} runs of {trained} do not tell whose sellers earn more: {best['policy']} of {best['run']} earns "
        f"{_interval(best)} money per epoch for all sellers together, {worst['policy']} of {worst['run']} "
        f"{_interval(worst)}, {apart}; "
        + ("that can be luck" if pair["units"] == "seeds" else "another seed's training may end otherwise")
    )


def pair_of(comparisons: pd.DataFrame | None, measure: str, best: str, worst: str) -> dict[str, Any] | None:
    """The comparison of two runs, the first one's less the other's; None where they were not compared."""
    if comparisons is None:
        return None
    for row in records(comparisons[comparisons["measure"].eq(measure)]):
        if {row["run"], row["against"]} != {best, worst} or np.isnan(row["low"]):
            continue
        if row["run"] == best:
            return row
        turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"], "above": 1 - row["above"]}
        return row | turned | {"effect": -row["effect"]}
    return None


def _gain(summary: pd.DataFrame, run: str, policy: str, benchmarks: Benchmarks) -> str:
    row = pick(summary, run, policy, "profit_gain")
    if np.isnan(row["value"]):
        return f"; the profit gain is withheld ({benchmarks.withheld})"
    return (
        f"; from Nash (0) to joint profit (1) that is {number('profit_gain', row['value'])} ({benchmarks.index_label})"
    )


def _gains_sentences(
    summary: pd.DataFrame, shown: Mapping[str, str], benchmarks: Mapping[str, Benchmarks]
) -> list[str]:
    """Where each of a few runs of one market lies between Nash and joint profit; nothing where none can be placed."""
    rows = [
        row for run, policy in shown.items() if np.isfinite((row := pick(summary, run, policy, "profit_gain"))["value"])
    ]
    if not rows or len(shown) > _FEW_RUNS:
        return []
    each = ", ".join(f"{row['policy']} of {row['run']} lies at {_interval(row)}" for row in rows)
    return [f"From Nash (0) to joint profit (1) {each} ({benchmarks[rows[0]['run']].index_label})."]


def _rule_sentence(summary: pd.DataFrame, run: str, policy: str) -> str:
    own = summary[summary["run"].eq(run) & summary["measure"].eq("profit") & summary["seller"].eq("all")]
    rules = own[~own["policy"].str.startswith(LEARNED)]
    if rules.empty:
        return "No rule was played to compare with."
    best = max(records(rules), key=lambda row: row["value"])
    where = f"In {run}, the" if summary["run"].nunique() > 1 else "The"
    text = f"{where} most profitable rule is {best['policy']} with {number('profit', best['value'])}"
    mine = pick(summary, run, policy, "profit")["value"]
    if policy == best["policy"]:
        return f"{text}."
    if best["value"] <= 0:
        return f"{text}, against {number('profit', mine)} of {policy}."
    share = mine / best["value"] - 1
    if abs(share) < 0.005:
        return f"{text}; {policy} earns the same to within half a percent."
    return f"{text}; {policy} earns {abs(share) * 100:.0f}\u00a0% {'more' if share > 0 else 'less'}."


def _service_sentence(summary: pd.DataFrame, run: str, policy: str) -> str:
    price = pick(summary, run, policy, "price_mean")
    fill, out = pick(summary, run, policy, "fill_rate"), pick(summary, run, policy, "stockout_share")
    text = f"Under {policy} in {run} the mean price is {number('price_mean', price['value'])} money"
    surplus = pick(summary, run, policy, "consumer_surplus")["value"]
    if not np.isnan(surplus):
        text += f", shoppers keep a surplus of {number('consumer_surplus', surplus)} money per epoch"
    if not np.isnan(fill["value"]):
        text += (
            f", {number('fill_rate', fill['value'])} of the units wanted are sold, and offers run out in "
            f"{number('stockout_share', out['value'])} of epochs"
        )
    return f"{text}."


def headline(
    summary: pd.DataFrame,
    benchmarks: Mapping[str, Benchmarks],
    comparisons: pd.DataFrame | None = None,
    *,
    comparable: bool = True,
) -> list[str]:
    """Sentences: what is earned, for a few runs also between which benchmarks, how rules compare, what shoppers find.

    Of several runs the last two are about the one that earns most.

    Args:
        comparisons: rows of `summary.compare`.
        comparable: whether runs differ in omega at most.
    """
    runs = list(dict.fromkeys(summary["run"]))
    shown = {run: main_policy(list(dict.fromkeys(summary[summary["run"].eq(run)]["policy"]))) for run in runs}
    best = max(runs, key=lambda run: pick(summary, run, shown[run], "profit")["value"])
    if len(runs) > 1:
        first = runs_sentence(summary, shown, comparisons, comparable)
    else:
        first = _alone_sentence(summary, best, shown[best]) + _gain(summary, best, shown[best], benchmarks[best])
    return [
        f"{first}.",
        *(_gains_sentences(summary, shown, benchmarks) if len(runs) > 1 and comparable else []),
        _rule_sentence(summary, best, shown[best]),
        _service_sentence(summary, best, shown[best]),
    ]


def percent(share: float) -> str:
    """A share to a tenth of a percent; empty where there is none."""
    return f"{100 * share + 0.0:.1f}\u00a0%".replace("-0.0", "0.0") if np.isfinite(share) else ""


def percent_interval(low: float, high: float) -> str:
    """Ends of an interval of shares; empty where there is none."""
    return f"{percent(low)} … {percent(high)}" if np.isfinite(low) else ""


_CLOSE, _SURELY_CLOSE = 0.01, 0.02  # of what a seller earns: its gain, and the upper end of the gain's interval


def equilibrium_sentence(rows: pd.DataFrame, *, held: bool = False) -> str:
    """Whether the learned sellers are an equilibrium of what they were trained for, up to how much.

    Args:
        rows: of `behaviour.best_response.COLUMNS`, of one run.
        held: others hold seats: then it is whether learners answer these as well as can be.
    """
    goal = "the best answer to the opponents" if held else "an equilibrium"
    own = rows[rows["objective"].eq(rows["objective"].iloc[0]) & rows["seller"].str.isdigit()]
    run = rows["run"].iloc[0]
    if own["share"].isna().any():
        return f"In {run} some seller earns nothing, so that no gain of a best response is a share of what it earns."
    reward = "profit" if own["objective"].iloc[0] == "raw" else "reward"
    # Of one episode there is no interval.
    far = np.fmax(own["share"] / _CLOSE, own["share_high"].fillna(-np.inf) / _SURELY_CLOSE)
    close = bool((far <= 1.0).all())
    most = records(own)[int(np.asarray(own["share"] if close else far).argmax())]
    ends = percent_interval(most["share_low"], most["share_high"])
    gains = f"{percent(most['share'])} of its {reward}" + (f" (95 % interval {ends})" if ends else "")
    if close:
        if most["share"] <= 0:
            return (
                f"In {run} no response that was tried gains anything in any {'learned ' if held else ''}seat: {goal}, "
                "as far as is known."
            )
        return (
            f"In {run} {goal} was found up to {percent(most['share'])}: of all responses that were tried the "
            f"best is seller {most['seller']}'s, which gains {gains}."
        )
    return (
        f"In {run} {f'{goal} was not' if held else 'no equilibrium was'} found: against the others as they are, "
        f"seller {most['seller']} gains {gains} by "
        f"the best response that was tried ({most['response']})."
    )


def training_sentences(runs: Sequence[RunToEvaluate]) -> list[str]:
    """Which trainings converged and why others did not, by the rule of `learning.convergence`; nothing without one."""
    found = []
    for run in runs:
        if run.held_out is not None and len(run.held_out):
            verdict = str(judge(curves_of(records(run.held_out))))
            found.append(f"Training{f' of {run.name}' if len(runs) > 1 else ''}: {verdict}.")
    return found


def opponent_sentences(runs: Sequence[RunToEvaluate]) -> list[str]:
    """Which sellers did not learn, and who holds their seats; nothing where all learned together."""
    found = []
    for run in runs:
        here = f"In {run.name} " if len(runs) > 1 else ""
        if run.held:
            held = "; ".join(f"seller {seller} is held by {who}" for seller, who in sorted(run.held.items()))
            who = ", ".join(map(str, run.learners))
            text = (
                f"{here}{held}, in training and here: only seller{'s' if len(run.learners) > 1 else ''} {who} learned."
            )
            found.append(text[0].upper() + text[1:])
        if run.selves:
            who = ", ".join(map(str, run.selves))
            text = f"{here}sellers {who} took turns with their past selves in training; here all play as they are now."
            found.append(text[0].upper() + text[1:])
    return found


def counts_line(measured: Measured) -> str:
    """How many seeds, episodes and epochs the figures are made of."""
    found = []
    for run in dict.fromkeys(run for run, _ in measured.groups):
        sizes = {
            policy: next(iter(measured.parts((own, policy)).values())).top.shape[:2]
            for own, policy in measured.groups
            if own == run
        }
        main = main_policy(list(sizes))
        seeds, episodes = sizes[main]
        length = measured.markets[run][0].episode_length
        counts = ((seeds, "training seed"), (episodes, "episode"), (length, "epoch"))
        sizes_told = " × ".join(f"{count} {what}{'s' if count > 1 else ''}" for count, what in counts)
        found.append(f"{run}: {sizes_told} of {main}")
    return "; ".join(found)


def seller_line(names: Sequence[str]) -> str:
    """Who the sellers are, to append to a line; nothing where they have no names."""
    return "; sellers " + ", ".join(f"{name} ({number})" for number, name in enumerate(names)) if names else ""


def market_line(shape: MarketShape, params: MarketParams) -> str:
    """One line on what market it is."""
    omega = np.unique(np.round(np.asarray(params.reward.omega, np.float64), 4))
    goods = "one product each" if shape.num_products == 1 else f"{shape.num_products} products each"
    stock = "unlimited stock" if shape.inventory.unlimited else f"limited stock ({shape.inventory.rule} orders)"
    agents = ""
    if shape.demand.num_classes > 1:
        moves = {"static": "", "drift": ", drifting", "burst": ", in bursts"}[shape.traffic.process]
        agents = f", {100 * float(params.traffic.agent_share):.3g} % of them agents'{moves}"
    return (
        f"{shape.num_sellers} seller{'s' if shape.num_sellers > 1 else ''}, {goods}; {shape.demand.model} demand, "
        f"{shape.traffic.sessions} sessions an epoch ({shape.traffic.model}){agents}; {stock}; "
        f"{shape.episode_length} epochs an episode; omega {', '.join(f'{value:g}' for value in omega)}"
    )
