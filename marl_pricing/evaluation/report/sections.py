"""What the report shows of each run, and of all runs together: figures, as files and in the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.evaluation import supply
from marl_pricing.evaluation.behaviour import Findings
from marl_pricing.evaluation.behaviour import figures as behaviour_figures
from marl_pricing.evaluation.behaviour import interactive as behaviour_interactive
from marl_pricing.evaluation.benchmarks import SIMULATED_LABEL, Benchmarks
from marl_pricing.evaluation.markets import comparable
from marl_pricing.evaluation.report import figures, interactive, paths, run_figures, supply_figures
from marl_pricing.evaluation.report.page import Picture
from marl_pricing.evaluation.runs import LEARNED, RunToEvaluate, main_policy
from marl_pricing.presentation import bargain, style

CAPTIONS = figures.CAPTIONS | run_figures.CAPTIONS | behaviour_figures.CAPTIONS | supply_figures.CAPTIONS


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

    def add(self, name: str, title: str, draw: Callable[[], Figure], file: str = "", **words: str) -> None:
        """Draw a figure, wide for PNG and SVG files and narrow for phones.

        Args:
            name: of its caption.  file: its name; that of the caption where there is none.  words: fill in the caption.
        """
        file = file or name
        place = Path("figures") / self.folder
        (self.out / place).mkdir(parents=True, exist_ok=True)
        image, narrow = style.write_for_page(self.out / place, file, draw)
        caption = CAPTIONS[name].format(**words)
        self.pictures.append(Picture(title, caption, image, narrow, (place / f"{file}.svg").as_posix()))


def folder_names(runs: Sequence[RunToEvaluate]) -> dict[str, str]:
    """A folder for each run's figures, by the run's name as far as a file system takes it."""
    found: dict[str, str] = {}
    for run in runs:
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", run.name).strip("._") or "run"
        while name in found.values():
            name += "_"
        found[run.name] = name
    return found


def lines(benchmarks: Benchmarks) -> str:
    """What the benchmark lines of a figure are, in a sentence."""
    if benchmarks.nash is None and benchmarks.joint is None:
        return "No lines: this market has no one-shot equilibrium."
    told = f"Lines: {benchmarks.label}."
    if benchmarks.simulated is not None:
        told += f" Thick lines: {SIMULATED_LABEL}."
    elif benchmarks.fluid_nash is not None or benchmarks.fluid_joint is not None:
        told += f" Thick lines: {benchmarks.stock_label}."
    return told


def run_pictures(
    out: Path,
    folder: str,
    run: RunToEvaluate,
    offers: pd.DataFrame,
    summary: pd.DataFrame,
    benchmarks: Benchmarks,
    contracts: pd.DataFrame,
    frontier: pd.DataFrame | None,
    findings: Findings | None,
) -> list[Picture]:
    """Figures of one run.

    Args:
        offers, summary, contracts: its rows.
        frontier: of `frontier.base_stock_frontier`; None where the market has none.
        findings: of the behaviour tests; None where there were none.
    """
    policy = main_policy(list(dict.fromkeys(offers["policy"])))
    own = offers[offers["policy"] == policy]
    told = lines(benchmarks)
    gallery = Gallery(out, folder, [])
    if run.training is not None and run_figures.has_curves(run.training):
        marks = run_figures.GREEDY_MARKS if run.held_out is not None else ""
        draw = partial(
            run_figures.learning_curves,
            run.training,
            run.held_out,
            run.shape.episode_length,
            benchmarks,
            tuple(run.held),
        )
        gallery.add("learning_curves", "Training", draw, lines=told, greedy=marks)
    gallery.add("total_profit", "Total profit", lambda: figures.total_profit(summary, benchmarks), lines=told)
    gallery.add("profit_by_seller", "Profit of each seller", lambda: figures.profit_by_seller(summary))
    title = f"Prices over time, {policy}"
    gallery.add("prices_over_time", title, lambda: figures.prices_over_time(own, benchmarks), lines=told)
    kind = figures.map_kind(own)
    if kind in ("both", "stock"):
        title = f"Stock and orders over time, {policy}"
        gallery.add("stock_over_time", title, lambda: figures.stock_over_time(own))
    signed = contracts[contracts["policy"] == policy]
    if len(signed):
        gallery.add("contracts", f"Contracts with suppliers, {policy}", partial(supply_figures.contracts, signed))
        first = supply.bargain_of(run.shape, run.params, signed.iloc[0])
        gallery.add("bargain", "One bargain", partial(bargain.picture, first))
    if frontier is not None:
        draw = partial(run_figures.service_frontier, summary, frontier)
        gallery.add("service_frontier", "Service and its cost", draw)
    if kind is not None and not paths.visits(own).empty:
        axis = {"stock": "their own stock", "rival": "their rivals' mean price of the epoch before", "both": ""}[kind]
        name = "policy_map" if kind == "both" else "policy_line"
        gallery.add(name, f"Policy map, {policy}", lambda: figures.policy_map(own), axis=axis)
    if findings is not None:
        _add_behaviour(gallery, findings, paths.benchmark_prices(benchmarks, run.shape.num_sellers), told)
    return gallery.pictures


def _add_behaviour(gallery: Gallery, found: Findings, prices: Mapping[str, np.ndarray], told: str) -> None:
    """What sellers do when something is done to them."""
    resampled = "over seeds" if found.seeds > 1 else "over episodes"
    paths_ = found.responses
    for epochs in sorted(found.deviation_summary["epochs"].unique()):
        length = f"{epochs} epoch{'s' if epochs > 1 else ''}"
        gallery.add(
            "deviation_response",
            f"Answer to a deviation of {length}",
            lambda epochs=epochs: behaviour_figures.deviation_response(paths_, prices, int(epochs)),  # type: ignore[misc]
            file=f"deviation_response_{epochs}",
            epochs=length,
            resampled=resampled,
            lines=told,
        )
    if len(found.reaction_surface):
        draw = partial(behaviour_figures.reaction_surface, found.reaction_surface)
        gallery.add("reaction_surface", "Reaction surface", draw)
    if len(found.stock_response):
        gallery.add(
            "stock_response", "Answer to the own stock", partial(behaviour_figures.stock_response, found.stock_response)
        )
    for case, title in (("stockout", "Answer to a rival's stockout"), ("burst", "Answer to a burst of agents")):
        if paths_["case"].eq(case).any():
            draw = partial(getattr(behaviour_figures, f"{case}_response"), paths_)
            gallery.add(f"{case}_response", title, draw, resampled=resampled)


def all_pictures(
    out: Path,
    runs: Sequence[RunToEvaluate],
    summary: pd.DataFrame,
    benchmarks: Mapping[str, Benchmarks],
    table: pd.DataFrame,
) -> list[Picture]:
    """Figures about all runs beside each other.

    Args:
        table: the frame of `benchmark_table`.
    """
    gallery = Gallery(out, "all", [])
    alike = comparable([(run.shape, run.params) for run in runs])
    shared = benchmarks[runs[0].name] if alike else None
    told = lines(shared) if shared else "No lines: the markets of the runs differ."
    if len(runs) > 1 and summary["policy"].str.startswith(LEARNED).any():
        draw = partial(figures.total_profit_by_run, summary, shared)
        gallery.add("total_profit_by_run", "Total profit, run by run", draw, lines=told)
    if run_figures.has_surplus(summary):
        draw = partial(run_figures.surplus_by_run, summary, table if alike else table[:0])
        told = "Pale bars: one-shot benchmarks." if alike and shared and shared.nash else ""
        gallery.add("surplus_by_run", "Profit and consumer surplus", draw, lines=told)
    return gallery.pictures


def fragments(
    offers: pd.DataFrame, summary: pd.DataFrame, benchmarks: Benchmarks, findings: Findings | None, number: int
) -> list[tuple[str, str, str]]:
    """(title, caption, HTML) of the figures of one run that can be pointed at and zoomed.

    Args:
        number: of the run, for the names of the page's elements.
    """
    found = [
        (
            "Prices and stock by policy",
            "Choose a policy above the figure; press a seller's name to hide it; draw a box to zoom, double-click to "
            f"go back. Means over episodes, their 95 % intervals shaded. {lines(benchmarks)}",
            interactive.time_paths(offers, benchmarks, f"paths-{number}"),
        ),
        (
            "Profits by seller and policy",
            "Raw profit per epoch with 95 % bootstrap intervals; point at a bar for its figure.",
            interactive.profit_bars(summary, f"profits-{number}"),
        ),
    ]
    if findings is not None:
        prices = paths.benchmark_prices(benchmarks, int(offers["seller"].max()) + 1)
        found.append(
            (
                "Answers to deviations",
                "Choose who deviates, how and for how long above the figure. Full lines: prices, 95 % intervals "
                "shaded; dotted: the same episodes undisturbed, under the same shoppers.",
                behaviour_interactive.deviation_response(findings.responses, prices, f"deviations-{number}"),
            )
        )
    return found
