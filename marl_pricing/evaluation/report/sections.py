"""What the report shows of each run, and of all runs together: figures, as files and in the page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.evaluation import supply
from marl_pricing.evaluation.behaviour import Findings
from marl_pricing.evaluation.behaviour import figures as behaviour_figures
from marl_pricing.evaluation.behaviour import interactive as behaviour_interactive
from marl_pricing.evaluation.benchmarks import Benchmarks
from marl_pricing.evaluation.markets import comparable
from marl_pricing.evaluation.report import (
    figures,
    findings,
    glance,
    html_tables,
    interactive,
    paths,
    run_figures,
    supply_figures,
)
from marl_pricing.evaluation.report.page import Part, Picture
from marl_pricing.evaluation.runs import LEARNED, RunToEvaluate, main_policy
from marl_pricing.presentation import bargain, style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.words import say

CAPTIONS = (
    figures.CAPTIONS | glance.CAPTIONS | run_figures.CAPTIONS | behaviour_figures.CAPTIONS | supply_figures.CAPTIONS
)


@dataclass(frozen=True)
class Gallery:
    """Figures of one folder, drawn into files and kept for the page.

    Attributes:
        out: the evaluation's folder.  folder: of these figures, below `figures`.
        pictures: so far.
    """

    out: Path
    folder: str
    pictures: list[Picture]

    def add(self, name: str, title: str, draw: Callable[[], Figure], file: str = "", **words: str) -> Picture:
        """Draw a figure, wide for PNG and SVG files and narrow for phones; it, which is also kept.

        Args:
            name: of its caption.  file: its name; that of the caption where there is none.  words: fill in the caption.
        """
        file = file or name
        place = Path("figures") / self.folder
        (self.out / place).mkdir(parents=True, exist_ok=True)
        image, narrow = style.write_for_page(self.out / place, file, draw)
        caption = CAPTIONS[name].format(**words)
        own = Picture(name, title, caption, image, narrow, (place / f"{file}.svg").as_posix())
        self.pictures.append(own)
        return own

    def write_captions(self) -> None:
        """Beside the figures, captions.json: title and caption by file, in the words in force."""
        told = {Path(own.file).stem: {"title": say(own.title), "caption": say(own.caption)} for own in self.pictures}
        text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.out / "figures" / self.folder / "captions.json", text)


def folder_names(runs: Sequence[RunToEvaluate]) -> dict[str, str]:
    """A folder for each run's figures, by the run's name as far as a file system takes it."""
    found: dict[str, str] = {}
    for run in runs:
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", run.name).strip("._") or "run"
        while name in found.values():
            name += "_"
        found[run.name] = name
    return found


_BOUND = (
    " Prices are set by relative changes here: far from where it wants to be, a seller's next price is as far from its "
    "own last one as a change may take it, which is no answer."
)


def lines(benchmarks: Benchmarks) -> str:
    """What the benchmark lines of a figure are, in a sentence."""
    if benchmarks.nash is None and benchmarks.joint is None:
        return "No lines: this market has no one-shot equilibrium."
    told = f"Lines: {benchmarks.label}."
    if benchmarks.simulated is not None:
        told += f" Thick lines: {benchmarks.simulated_label}."
    elif benchmarks.fluid_nash is not None or benchmarks.fluid_joint is not None:
        told += f" Thick lines: {benchmarks.stock_label}."
    return told


@dataclass(frozen=True)
class Rows:
    """What was found of one run.

    Attributes:
        run: it.  number: of it, for the names of the page's elements.
        offers, summary, contracts, guests, deviations, best_responses, stock: its rows of the tables.
        benchmarks: of its market.
        frontier: of `frontier.base_stock_frontier`; None where the market has none.
        findings: of the behaviour tests; None where there were none.
    """

    run: RunToEvaluate
    number: int
    offers: pd.DataFrame
    summary: pd.DataFrame
    benchmarks: Benchmarks
    contracts: pd.DataFrame
    guests: pd.DataFrame
    deviations: pd.DataFrame
    best_responses: pd.DataFrame
    stock: pd.DataFrame
    frontier: pd.DataFrame | None
    findings: Findings | None

    @property
    def prices(self) -> dict[str, np.ndarray]:
        """Benchmark prices [S] by name."""
        return paths.benchmark_prices(self.benchmarks, self.run.shape.num_sellers)


def run_parts(out: Path, folder: str, own: Rows) -> tuple[list[Picture], list[Part]]:
    """(figures that are shown at once, what is folded) of one run; every figure is also written."""
    run, gallery, told = own.run, Gallery(out, folder, []), lines(own.benchmarks)
    policy = main_policy(list(dict.fromkeys(own.offers["policy"])))
    mine = own.offers[own.offers["policy"] == policy]
    shown: list[Picture] = []
    if run.training is not None and run_figures.has_curves(run.training):
        marks = run_figures.GREEDY_MARKS if run.held_out is not None else ""
        draw = partial(
            run_figures.learning_curves, run.training, run.held_out, run.shape.episode_length, own.benchmarks,
            tuple(run.held),
        )  # fmt: skip
        shown.append(gallery.add("learning_curves", "Training", draw, lines=told, greedy=marks))
    gallery.add("total_profit", "Total profit", lambda: figures.total_profit(own.summary, own.benchmarks), lines=told)
    draw = partial(figures.profit_by_seller, own.summary)
    shown.append(gallery.add("profit_by_seller", "Profit of each seller, by policy", draw))
    draw = partial(figures.prices_over_time, mine, own.benchmarks)
    gallery.add("prices_over_time", f"Prices over time, {policy}", draw, lines=told)
    kind, left_out = figures.map_kind(mine), figures.left_out(mine)
    if kind is not None and not paths.visits(mine).empty:
        axis = {"stock": "its own stock", "rival": "its rivals' mean price of the epoch before", "both": ""}[kind]
        name, draw = "policy_map" if kind == "both" else "policy_line", partial(figures.policy_map, mine)
        shown.append(gallery.add(name, f"Policy map, {policy}", draw, axis=axis, left_out=left_out))
    if kind in ("both", "stock"):
        draw = partial(figures.stock_over_time, mine)
        shown.append(gallery.add("stock_over_time", f"Stock and orders, {policy}", draw, left_out=left_out))
    over_time = interactive.time_paths(own.offers, own.benchmarks, f"paths-{own.number}")
    caption = (
        "Choose a policy above the figure; press a seller's name to hide it; draw a box to zoom, double-click to go "
        f"back. Means over episodes, their 95 % intervals shaded. {told}"
    )
    many = own.offers["policy"].nunique()
    parts = [
        Part("Prices and stock over time, by policy", f"{many} polic{'ies' if many > 1 else 'y'} to choose from",
             html=_captioned(over_time, caption)),
        *_behaviour(gallery, own),
        *_supply(gallery, own, policy),
    ]  # fmt: skip
    gallery.write_captions()
    return shown, parts


def _captioned(html: str, caption: str) -> str:
    return f"{html}<p class=note>{escape(caption)}</p>"


def _behaviour(gallery: Gallery, own: Rows) -> list[Part]:
    """What sellers do when something is done to them; a part is unfolded where something happened."""
    parts: list[Part] = []
    found, seats, answers = own.findings, own.guests, own.best_responses
    if len(answers):
        said = findings.responses(answers, held=bool(own.run.held))
        table = html_tables.best_response_table(answers, from_host=own.run.networks is not None)
        parts.append(Part("Is it an equilibrium?", said.text, said.happened, html=table))
    if found is not None:
        resampled = "over seeds" if found.seeds > 1 else "over episodes"
        for epochs in sorted(found.deviation_summary["epochs"].unique()):
            length = f"{epochs} epoch{'s' if epochs > 1 else ''}"
            draw = partial(behaviour_figures.deviation_response, found.responses, own.prices, int(epochs))
            gallery.add("deviation_response", f"Answer to a deviation of {length}", draw,
                        file=f"deviation_response_{epochs}", epochs=length, resampled=resampled,
                        lines=lines(own.benchmarks))  # fmt: skip
        said = findings.deviations(found)
        html = _captioned(
            behaviour_interactive.deviation_response(found.responses, own.prices, f"deviations-{own.number}"),
            "Choose who deviates, how and for how long above the figure. Full lines: prices, 95 % intervals shaded; "
            "dotted: the same episodes undisturbed, under the same shoppers.",
        )
        table = html_tables.deviation_table(own.deviations)
        parts.append(Part("Is a cut of a price punished?", said.text, said.happened, html=html + table))
    if len(seats):
        said = findings.guests(seats)
        parts.append(
            Part("Does deviating to a rule pay?", said.text, said.happened, html=html_tables.guest_table(seats))
        )
    if found is None:
        return parts

    def add(question: str, said: findings.Told, name: str, draw: Callable[[], Figure], **words: str) -> None:
        parts.append(Part(question, said.text, said.happened, [gallery.add(name, question, draw, **words)]))

    if len(found.reaction_surface):
        draw = partial(behaviour_figures.reaction_surface, found.reaction_surface)
        relative = own.run.shape.prices.map in ("adjust", "scale")
        bound = _BOUND if relative else ""
        add("Do prices answer last prices?", findings.reaction(found), "reaction_surface", draw, bound=bound)
    if len(found.stock_response):
        draw = partial(behaviour_figures.stock_response, found.stock_response)
        add("Do prices answer the own stock?", findings.stock(found), "stock_response", draw)
    for case, what in (("stockout", "a rival's stockout"), ("burst", "a burst of agents")):
        if found.responses["case"].eq(case).any():
            draw = partial(getattr(behaviour_figures, f"{case}_response"), found.responses)
            said = findings.case(found, case, what)
            add(f"Do prices answer {what}?", said, f"{case}_response", draw, resampled=resampled)
    return parts


def _supply(gallery: Gallery, own: Rows, policy: str) -> list[Part]:
    """Contracts, service and what stock costs, where the market has them."""
    parts = []
    signed = own.contracts[own.contracts["policy"] == policy]
    if len(signed):
        first = supply.bargain_of(own.run.shape, own.run.params, signed.iloc[0])
        title = f"Contracts with suppliers, {policy}"
        shown = [
            gallery.add("contracts", title, partial(supply_figures.contracts, signed)),
            gallery.add("bargain", "One bargain", partial(bargain.picture, first)),
        ]
        parts.append(Part("Contracts with suppliers", supply.in_words(signed), True, shown))
    if own.frontier is not None:
        draw = partial(run_figures.service_frontier, own.summary, own.frontier)
        shown = [gallery.add("service_frontier", "Service and its cost", draw)]
        parts.append(Part("Service and its cost", "beside base-stock rules at the same prices", False, shown))
    if len(own.stock):
        table = html_tables.stock_table(own.stock)
        parts.append(Part("Benchmarks of stock", "the exact optimum and the best rule of each kind", True, html=table))
    return parts


def shown_policies(summary: pd.DataFrame) -> dict[str, str]:
    """By run, the policy that its figures show."""
    runs = list(dict.fromkeys(summary["run"]))
    return {run: main_policy(list(dict.fromkeys(summary[summary["run"].eq(run)]["policy"]))) for run in runs}


def all_pictures(
    out: Path,
    runs: Sequence[RunToEvaluate],
    summary: pd.DataFrame,
    benchmarks: Mapping[str, Benchmarks],
    table: pd.DataFrame,
    offers: pd.DataFrame,
) -> tuple[Picture, list[Picture]]:
    """(the first screen's picture, figures about all runs beside each other).

    Args:
        table: the frame of `benchmark_table`.  offers: rows of all runs.
    """
    gallery = Gallery(out, "all", [])
    alike = comparable([(run.shape, run.params) for run in runs])
    shared = benchmarks[runs[0].name] if alike else None
    shown = [glance.Shown(run, policy) for run, policy in shown_policies(summary).items()]
    known = benchmarks[runs[0].name]
    thick = known.simulated_label if known.simulated is not None else known.stock_label
    aware = known.simulated is not None or known.fluid_nash is not None or known.fluid_joint is not None
    with style.width(glance.WIDTH):
        first = gallery.add("glance", "All sellers at a glance", partial(glance.glance, summary, shown, benchmarks),
                            label=known.label, stock_aware=f"; thick and pale: {thick}" if aware else "")  # fmt: skip
    found = []
    if len(runs) > 1 and alike:
        draw = partial(glance.runs_over_time, offers, shown)
        found.append(gallery.add("runs_over_time", "All runs over an episode", draw))
    told = lines(shared) if shared else "No lines: the markets of the runs differ."
    if summary["policy"].str.startswith(LEARNED).any():
        draw = partial(figures.total_profit_by_run, summary, shared)
        found.append(gallery.add("total_profit_by_run", "Total profit", draw, lines=told))
    if run_figures.has_surplus(summary):
        draw = partial(run_figures.surplus_by_run, summary, table if alike else table[:0])
        told = "Pale bars: one-shot benchmarks." if alike and shared and shared.nash else ""
        found.append(gallery.add("surplus_by_run", "Profit and consumer surplus", draw, lines=told))
    gallery.write_captions()
    return first, found
