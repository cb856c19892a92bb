"""The report's tables as HTML: they sort, and what is withheld says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.metrics import INDICES, SUBJECTS
from marl_pricing.evaluation.report import texts
from marl_pricing.evaluation.runs import LEARNED
from marl_pricing.evaluation.summary import records
from marl_pricing.presentation import page

HEADLINE = (
    "profit", "profit_gain", "relative_price_deviation", "price_mean", "consumer_surplus", "fill_rate",
    "stockout_share",
)  # fmt: skip


def _cell(row: Mapping[str, Any], notes: list[str]) -> str:
    measure, note = str(row["measure"]), str(row["note"])
    mark = ""
    if note:
        if note not in notes:
            notes.append(note)
        mark = f"<sup>{notes.index(note) + 1}</sup>"
    if np.isnan(row["value"]):
        return f"<td data-measure='{measure}' data-value=''>withheld{mark}</td>"
    ends = ""
    if not np.isnan(row["low"]):
        low, high = (texts.number(measure, row[end]).removesuffix("\u00a0%") for end in ("low", "high"))
        ends = f"<span class=interval>{low} … {high}</span>"
    value = float(row["value"])
    return f"<td data-measure='{measure}' data-value='{value!r}'>{texts.number(measure, value)}{mark}{ends}</td>"


def _head(first: Sequence[str], measures: Sequence[str]) -> str:
    cells = [f"<th class=text scope=col><button>{name}</button></th>" for name in first]
    for measure in measures:
        label, unit = texts.measure_label(measure)
        cells.append(f"<th scope=col><button>{escape(label)}<span class=unit>{escape(unit)}</span></button></th>")
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


_Lines = dict[tuple[str, str, str], dict[str, dict[str, Any]]]  # by run, policy and seller, the rows of each measure


def _once_a_market(lines: _Lines) -> list[tuple[str, tuple[str, str, str], dict[str, dict[str, Any]]]]:
    """(runs, key, cells) of each row: a rule that does the same in several runs, as it does in one market, once."""
    runs = list(dict.fromkeys(run for run, _, _ in lines))
    first: dict[Any, tuple[str, str, str]] = {}
    where: dict[tuple[str, str, str], list[str]] = {}
    for key, cells in lines.items():
        run, policy, seller = key
        values = tuple((name, round(row["value"], 9), row["note"]) for name, row in sorted(cells.items()))
        same = key if policy.startswith(LEARNED) else (policy, seller, str(values))
        where.setdefault(first.setdefault(same, key), []).append(run)
    # Learned policies of all runs come first, then the rules.
    order = sorted(where, key=lambda key: not key[1].startswith(LEARNED))
    return [
        ("all runs" if len(runs) > 1 and where[key] == runs else ", ".join(where[key]), key, lines[key])
        for key in order
    ]


def summary_table(summary: pd.DataFrame, measures: Sequence[str], *, by_seller: bool = False) -> str:
    """Rows (policy, run[, seller]), a column a measure that is known of any of them, and the notes below."""
    rows = summary[summary["seller"].ne("all") if by_seller else summary["seller"].eq("all")]
    rows = rows[rows["measure"].isin(measures)]
    known = [name for name in measures if rows[rows["measure"].eq(name)]["value"].notna().any()]
    notes: list[str] = []
    lines: _Lines = {}
    for row in records(rows[rows["measure"].isin(known)]):
        lines.setdefault((row["run"], row["policy"], row["seller"]), {})[row["measure"]] = row
    body = []
    for where, (run, policy, seller), by_measure in _once_a_market(lines):
        cells = "".join(
            _cell(by_measure[measure], notes) if measure in by_measure else "<td data-value=''></td>"
            for measure in known
        )
        kind = " class=learned" if policy.startswith(LEARNED) else ""
        names = f"<th scope=row>{page.breakable(policy)}</th><td class=text>{escape(where)}</td>"
        if by_seller:
            names += f"<td class=text data-value='{seller}'>seller {seller}</td>"
        identity = f"data-run='{escape(run)}' data-policy='{escape(policy)}' data-seller='{seller}'"
        body.append(f"<tr{kind} {identity}>{names}{cells}</tr>")
    first = ["policy", "run", *(["seller"] if by_seller else [])]
    below = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<div class=scroll tabindex=0><table class=sortable>{_head(first, known)}<tbody>{''.join(body)}</tbody>"
        f"</table></div>{f'<ol class=note>{below}</ol>' if below else ''}"
        + ("" if by_seller else _withheld(rows, [name for name in measures if name not in known]))
    )


def _withheld(rows: pd.DataFrame, names: Sequence[str]) -> str:
    """Why columns are left out."""
    reasons: dict[str, list[str]] = {}
    for name in names:
        own = rows[rows["measure"].eq(name)]
        if len(own):
            reasons.setdefault(str(own["note"].iloc[0]), []).append(texts.measure_label(name)[0])
    listed = "".join(
        f"<p class=note>Left out: {escape(', '.join(own))} ({escape(why)}).</p>" for why, own in reasons.items()
    )
    return listed


def subject_tables(summary: pd.DataFrame) -> str:
    """A table a subject of which something is known, all measures that this summary has; why others are withheld."""
    known = set(summary[summary["value"].notna()]["measure"])
    parts = []
    for subject, names in SUBJECTS.items():
        shown: list[str] = []
        for name in names:
            indices = [index for index, base in INDICES.items() if base == name]
            shown += [own for own in (name, *indices) if own in known]
        if shown:
            parts.append(f"<h3>{escape(subject[0].upper() + subject[1:])}</h3>{summary_table(summary, shown)}")
    withheld = summary[summary["value"].isna() & summary["seller"].eq("all")]
    reasons = withheld[~withheld["measure"].isin(known)].drop_duplicates(["run", "measure"])
    # One reason often holds for several measures, and in several runs.
    together: dict[tuple[str, str], list[str]] = {}
    for note, alike in reasons.groupby("note", sort=False):
        for measure, own in alike.groupby("measure", sort=False):
            together.setdefault((", ".join(own["run"]), str(note)), []).append(texts.measure_label(str(measure))[0])
    listed = "".join(
        f"<li>{escape(', '.join(names))} in {escape(runs)}: {escape(note)}</li>"
        for (runs, note), names in together.items()
    )
    if listed:
        parts.append(f"<h3>Withheld</h3><ul class=note>{listed}</ul>")
    return "".join(parts)


def seed_table(summary: pd.DataFrame) -> str:
    """Mean and interquartile mean of the headline measures side by side, where there are seeds."""
    rows = summary[summary["measure"].isin(HEADLINE) & summary["seller"].eq("all") & summary["iqm"].notna()]
    if rows.empty:
        return ""
    lines: list[list[tuple[str, float | None]]] = []
    for row in records(rows):
        name = row["measure"]
        interval = f"{texts.number(name, row['iqm_low'])} … {texts.number(name, row['iqm_high'])}"
        cells = [(texts.number(name, row[column]), row[column]) for column in ("value", "iqm")]
        errors = [(texts.number(name, row[column]), row[column]) for column in ("deviation", "episode_error")]
        names = [(text, None) for text in (texts.measure_label(name)[0], row["run"], row["policy"])]
        lines.append([*names, *cells, (interval, None), *errors])
    heads = [("measure", ""), ("run", ""), ("policy", ""), ("mean", ""), ("interquartile mean", ""),
             ("its 95 % interval", "bootstrap over seeds"), ("spread", "standard deviation between seeds"),
             ("episode error", "of the mean, from finitely many episodes")]  # fmt: skip
    return page.table(heads, lines)


def comparison_table(rows: pd.DataFrame) -> str:
    """Paired differences of the headline measures."""
    shown = rows[rows["measure"].isin(HEADLINE) & rows["difference"].notna()]
    if shown.empty:
        return ""
    lines: list[list[tuple[str, float | None]]] = []
    for row in records(shown):
        name = row["measure"]
        cells: list[tuple[str, float | None]] = [(f"{row['run']} less {row['against']}", None)]
        cells += [(texts.measure_label(name)[0], None), (texts.number(name, row["difference"]), row["difference"])]
        known = not np.isnan(row["low"])
        cells.append((f"{texts.number(name, row['low'])} … {texts.number(name, row['high'])}" if known else "", None))
        varies = np.isfinite(row["effect"])
        cells.append((f"{row['effect']:.2f}" if varies else "", row["effect"] if varies else float("inf")))
        cells.append((f"{row['above']:.2f}", row["above"]))
        ends = f"{row['above_low']:.2f} … {row['above_high']:.2f}" if np.isfinite(row["above_low"]) else ""
        lines.append([*cells, (ends, None)])
    units, count = rows["units"].iloc[0], int(rows["count"].iloc[0])
    heads = [("runs", ""), ("measure", ""), ("difference", "mean of pairs"), ("95 % interval", "bootstrap"),
             ("effect size", "d_z: difference over its spread"), ("probability above", "of improvement"),
             ("95 % interval", "stratified bootstrap")]  # fmt: skip
    return (
        page.table(heads, lines) + f"<p class=note>{escape(str(rows['policy'].iloc[0]))}; the "
        f"same shoppers come to both runs of a pair; {_counted(count, units)} in pairs. An effect is left empty where "
        "the differences do not vary.</p>"
    )


def beside_table(rows: pd.DataFrame) -> str:
    """The headline measures here and in kept evaluations, and the difference where one can be taken."""
    lines: list[list[tuple[str, float | None]]] = []
    notes: dict[str, str] = {}
    for row in records(rows[rows["measure"].isin(HEADLINE)]):
        name, known = row["measure"], bool(np.isfinite(row["difference"]))
        cells: list[tuple[str, float | None]] = [(row["run"], None), (row["against"], None)]
        cells += [(texts.measure_label(name)[0], None)]
        cells += [(texts.number(name, row[side]), row[side]) for side in ("here", "there")]
        cells += [(texts.number(name, row["difference"]) if known else "", row["difference"])]
        ends = [texts.number(name, end) for end in statistics.paired_ends(row)] if known and row["count"] > 1 else []
        told = "" if not known else "yes" if statistics.supported(row) else "no"
        lines.append([*cells, (" … ".join(ends), None), (told, None)])
        if row["note"]:
            notes[row["against"]] = row["note"]
    heads = [("run", ""), ("beside", "kept"), ("measure", ""), ("here", ""), ("there", ""),
             ("difference", "here less there"), ("95 % interval", "Student's, of pairs"),
             ("seeds support it", "")]  # fmt: skip
    said = "".join(f"<li>{escape(against)}: {escape(note)}</li>" for against, note in notes.items())
    return page.table(heads, lines) + (f"<ul class=note>{said}</ul>" if said else "")


def _who(seller: str) -> str:
    return f"seller {seller}" if seller.isdigit() else seller


def benchmark_table(rows: pd.DataFrame) -> str:
    """What the figures are measured against; what is the same in several runs once, notes below."""
    if rows.empty:
        return ""
    runs = list(dict.fromkeys(rows["run"]))
    numbers = ("price", "profit", "consumer_surplus", "welfare")
    where: dict[str, list[str]] = {}
    keys = [str((row["benchmark"], row["seller"], row["note"], *(f"{row[name]:.9g}" for name in numbers)))
            for row in records(rows)]  # fmt: skip
    for key, run in zip(keys, rows["run"], strict=True):
        where.setdefault(key, []).append(run)
    notes = list(dict.fromkeys(str(note) for note in rows["note"] if note))
    lines: list[list[tuple[str, float | None]]] = []
    for key, row in zip(keys, records(rows), strict=True):
        if where[key][0] != row["run"]:
            continue
        told = "all runs" if len(runs) > 1 and where[key] == runs else ", ".join(where[key])
        mark = f" ({notes.index(str(row['note'])) + 1})" if row["note"] else ""
        cells: list[tuple[str, float | None]] = [(f"{row['benchmark']}{mark}", None), (told, None)]
        cells.append((_who(row["seller"]), None))
        for name in numbers:
            known = np.isfinite(row[name])
            cells.append((texts.number("profit", row[name]) if known else "", row[name] if known else float("inf")))
        lines.append(cells)
    heads = [("benchmark", ""), ("run", ""), ("seller", ""), ("price", "money per unit"), ("profit", "money per epoch"),
             ("consumer surplus", "money per epoch"), ("welfare", "money per epoch")]  # fmt: skip
    below = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return page.table(heads, lines) + (f"<ol class=note>{below}</ol>" if below else "")


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind}" if count > 1 else f"{count} {kind.removesuffix('s')}"


def interval_note(summary: pd.DataFrame) -> str:
    """What the small figures of a summary are."""
    rows = summary[summary["measure"].eq("profit") & summary["seller"].eq("all")]
    by_kind: dict[str, list[str]] = {}
    for row in records(rows):
        policies = by_kind.setdefault(_counted(row["count"], row["resampled"]), [])
        if row["policy"] not in policies:
            policies.append(row["policy"])
    of = "; ".join(f"{kind} of {', '.join(policies)}" for kind, policies in by_kind.items())
    few = (
        "An interval over few seeds is too narrow: read it as the range that these seeds span. "
        if rows["resampled"].eq("seeds").any()
        else ""
    )
    return (
        f"Small figures are 95 % percentile-bootstrap intervals; resampled are {of}. {few}"
        "Press a column's head to sort."
    )


def guest_table(rows: pd.DataFrame) -> str:
    """Table of what each rule gains in a learned seller's seat."""
    if rows.empty:
        return ""
    body = []
    for row in records(rows[rows["seller"].eq("all")]):
        cells = "".join(
            f"<td data-value='{row[name]!r}'>{texts.number('profit', row[name])}</td>" for name in ("guest", "learned")
        )
        ends = ""
        if not np.isnan(row["low"]):
            low, high = (texts.number("profit", row[end]) for end in ("low", "high"))
            ends = f"<span class=interval>{low} … {high}</span>"
        gain = f"<td data-value='{row['gain']!r}'>{texts.number('profit', row['gain'])}{ends}</td>"
        body.append(f"<tr><th scope=row>{page.breakable(row['rule'])}</th>{cells}{gain}</tr>")
    heads = ("rule in the seat", "the rule earns", "the learned seller earns", "gain from deviating")
    classes = (" class=text", "", "", "")
    head = "".join(f"<th{own} scope=col><button>{text}</button></th>" for own, text in zip(classes, heads, strict=True))
    resampled = _counted(int(rows["count"].iloc[0]), rows["resampled"].iloc[0])
    return (
        "<div class=scroll tabindex=0><table class=sortable><thead><tr>"
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div><p class=note>Each rule sits in one learned "
        "seller's seat while the others stay as they learned to be; the same shoppers come. Raw reward, money per "
        f"epoch, mean over the seats; by seat in guests.csv. Intervals resample {resampled}."
        "</p>"
    )


def _gain(row: Mapping[str, Any]) -> tuple[list[tuple[str, float | None]], str]:
    """A gain and its interval as cells, and what the interval resamples."""
    known = not np.isnan(row["low"])
    ends = f"{texts.number('profit', row['low'])} … {texts.number('profit', row['high'])}" if known else ""
    return [(texts.number("profit", row["gain"]), row["gain"]), (ends, None)], _counted(
        int(row["count"]), row["resampled"]
    )


def deviation_table(rows: pd.DataFrame) -> str:
    """What forced deviations bring, and how rivals answer, mean over the deviators."""
    own = rows[rows["seller"].eq("all")] if len(rows) else rows
    if own.empty:
        return ""
    lines: list[list[tuple[str, float | None]]] = []
    resampled = ""
    for row in records(own):
        gain, resampled = _gain(row)
        length = int(row["epochs"])
        back = "" if np.isnan(row["recovery"]) else f"{row['recovery']:.1f}"
        lines.append(
            [
                (f"{row['move']}, {length} epoch{'s' if length > 1 else ''}", None),
                (texts.number("price_mean", row["size"]), row["size"]),
                (texts.number("price_mean", row["depth"]), row["depth"]),
                (texts.number("price_mean", row["height"]), row["height"]),
                (back, row["recovery"]),
                (f"{100 * row['recovered']:.0f}\u00a0%", row["recovered"]),
                *gain,
                (f"{100 * row['pays']:.0f}\u00a0%", row["pays"]),
            ]
        )
    heads = [("move", ""), ("change of price", "money"), ("rivals fall by", "money, at most"),
             ("rivals rise by", "money, at most"), ("back after", "epochs"), ("back at all", "share of seeds"),
             ("gain", "money, discounted"), ("95 % interval", "bootstrap"), ("pays", "share of seeds")]  # fmt: skip
    return (
        f"{page.table(heads, lines)}<p class=note>One seller is made to move its price in "
        "the middle of the episodes, then is free again; what follows is compared with the same episodes undisturbed. "
        "Memories live through it. Rivals fall and rise as far as their mean price does after the move, which chance "
        "does a little by itself. Mean over the deviators; by seed in deviations.csv. "
        f"Intervals resample {resampled}.</p>"
    )


def best_response_table(rows: pd.DataFrame, *, from_host: bool) -> str:
    """What the best response that was found gains, and NashConv.

    Args:
        from_host: responders began as the host's networks; otherwise (a host that values actions) as new ones.
    """
    if rows.empty:
        return ""
    lines: list[list[tuple[str, float | None]]] = []
    resampled = ""
    for row in records(rows):
        gain, resampled = _gain(row)
        who = _who(row["seller"])
        earned = (texts.number("profit", row["learned"]), row["learned"])
        share = (texts.percent(row["share"]), row["share"])
        ends = texts.percent_interval(row["share_low"], row["share_high"])
        kinds = [(texts.number("profit", row[kind]) if np.isfinite(row[kind]) else "", row[kind])
                 for kind in ("trained", "constant", "rule")]  # fmt: skip
        lines.append(
            [(who, None), (row["objective"], None), earned, *gain, share, (ends, None), (row["response"], None), *kinds]
        )
    heads = [("who responds", ""), ("objective", ""), ("the learned seller earns", "per epoch"), ("gain", "per epoch"),
             ("95 % interval", "bootstrap"), ("gain", "of what it earns"), ("95 % interval", "bootstrap"),
             ("best response", "seeds"), ("trained", "gain per epoch"), ("constant", "gain per epoch"),
             ("rule", "gain per epoch")]  # fmt: skip
    trained = (
        "a seller that goes on learning from the host's own network"
        if from_host
        else "a seller that learns from a new network, since the host's values actions,"
    )
    return (
        f"{page.table(heads, lines)}<p class=note>In each seat, against the others as they are, "
        f"are tried: {trained} for {int(rows['updates'].iloc[0])} updates, the best constant prices, "
        "a stock-and-price rule fitted to the seat. The best is chosen under some "
        "shoppers, where it has to beat the seller itself by two standard errors, and its gain is told under others. "
        "What it gains is a lower bound of what a best response gains. NashConv is the sum of the gains (Lanctot et "
        f"al. 2017): 0 at an equilibrium. Intervals resample {resampled}.</p>"
    )


def stock_table(rows: pd.DataFrame) -> str:
    """What replenishment costs at best."""
    if rows.empty:
        return ""
    lines: list[list[tuple[str, float | None]]] = []
    for row in records(rows):
        cells: list[tuple[str, float | None]] = [(str(row["benchmark"]).replace("_", " "), None)]
        cells += [
            ("", np.inf) if pd.isna(row[name]) else (str(row[name]), row[name]) for name in ("level", "cap", "point")
        ]
        known = not np.isnan(row["cost"])
        lines.append([*cells, (f"{row['cost']:.4f}", row["cost"]) if known else ("", np.inf), (row["note"], None)])
    heads = [("rule", ""), ("order up to", "units"), ("largest order", "units"), ("order below", "units"),
             ("cost", "money per epoch"), ("note", "")]  # fmt: skip
    return (
        f"{page.table(heads, lines)}<p class=note>Exact: the optimum by value iteration, "
        "the best rule of each kind by search. Costs are holding, stockout penalty and lost margin.</p>"
    )
