"""From policies to a report: play, tabulate, summarise, draw, write. Composes the other modules of this room."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import jax
import pandas as pd
from matplotlib.figure import Figure
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from marl_pricing.equilibrium.static import NoEquilibriumError
from marl_pricing.evaluation import figures, interactive, paths, report, tables, texts
from marl_pricing.evaluation import guests as guest_tables
from marl_pricing.evaluation.benchmarks import Benchmarks, static_benchmarks
from marl_pricing.evaluation.markets import comparable, comparison_note, market_key
from marl_pricing.evaluation.play import Record, play
from marl_pricing.evaluation.report import Picture, RunSection
from marl_pricing.evaluation.summary import COLUMNS as SUMMARY_COLUMNS
from marl_pricing.evaluation.summary import summarise
from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies import RULES, RuleError
from marl_pricing.presentation import style

_PATIENCE = 5.0  # seconds without a progress bar


@dataclass(frozen=True)
class RunToEvaluate:
    """One run: a market and the policies that were learned for it.

    Attributes:
        policies: by how they act ("greedy", "sampled"), one policy a training seed; they are called "learned (greedy)"
            and so on.
        config_text, versions, command: for the report.
        sellers: names of the sellers; none where they have no others than their numbers.
    """

    name: str
    shape: MarketShape
    params: MarketParams
    policies: Mapping[str, Sequence[Policy]]
    config_text: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    sellers: Sequence[str] = ()


@dataclass
class _Played:
    """Tables of all runs so far, and rules that could not be played, by run."""

    offers: list[pd.DataFrame]
    sellers: list[pd.DataFrame]
    left_out: dict[str, list[str]]
    guests: list[pd.DataFrame]

    def add(self, record: Record, run: str, policy: str, seed: int) -> None:
        self.offers.append(tables.offers_table(record, run, policy, seed))
        self.sellers.append(tables.sellers_table(record, run, policy, seed))


@contextmanager
def _progress_bar(total: int, wanted: bool) -> Iterator:
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    task = bar.add_task("evaluating", total=total)
    timer = threading.Timer(_PATIENCE, bar.start)
    if wanted:
        timer.start()
    try:
        yield lambda text: bar.update(task, advance=1, description=text)
    finally:
        timer.cancel()
        bar.stop()


def _check(runs: Sequence[RunToEvaluate], episodes: int, rules: Sequence[str]) -> None:
    if episodes < 1:
        raise ValueError(f"episodes={episodes!r}: accepted is a whole number of at least 1")
    if not runs:
        raise ValueError("runs=[]: accepted is at least one run")
    names = [run.name for run in runs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"runs: the name {twice[0]!r} comes twice; every run needs its own")
    for rule in rules:
        if rule not in RULES:
            raise ValueError(f"rules={rule!r}: accepted is {', '.join(RULES)}")
    for run in runs:
        if not rules and not any(run.policies.values()):
            raise ValueError(f"rules=[]: run {run.name!r} has no learned policies, so at least one rule is needed")


def _play_rules(
    key: jax.Array, run: RunToEvaluate, rules: Sequence[str], episodes: int, tell
) -> tuple[dict[str, Record], list[str]]:
    records, left_out = {}, []
    for rule in rules:
        try:
            policy = RULES[rule](run.shape, run.params)
        except (RuleError, NoEquilibriumError) as error:
            left_out.append(f"{rule}: {error}")
        else:
            records[rule] = play(key, run.shape, run.params, policy, episodes)
        tell(f"{run.name}: {rule}")
    return records, left_out


def _has_guests(run: RunToEvaluate) -> bool:
    """Whether there are learned sellers whose seats a rule can take, and others to stay."""
    return run.shape.num_sellers > 1 and bool(run.policies.get("greedy"))


def _play_all(
    runs: Sequence[RunToEvaluate], episodes: int, seed: int, rules: Sequence[str], guests: bool, progress: bool
) -> _Played:
    # Seed k of every run and policy meets the k-th set of shoppers: policies of one seed are compared under the same
    # chance, and different seeds are independent, so that resampling them is honest.
    key = jax.random.key(seed)
    played = _Played([], [], {}, [])
    known: dict = {}
    steps = sum(len(seeds) for run in runs for seeds in run.policies.values())
    steps += len(rules) * len({market_key(run.shape, run.params) for run in runs})
    if guests:
        steps += len(rules) * sum(_has_guests(run) for run in runs)
    with _progress_bar(steps, progress) as tell:
        for run in runs:
            for how, policies in run.policies.items():
                for number, policy in enumerate(policies):
                    record = play(jax.random.fold_in(key, number), run.shape, run.params, policy, episodes)
                    played.add(record, run.name, f"learned ({how})", number)
                    tell(f"{run.name}: learned ({how}), seed {number}")
            own = market_key(run.shape, run.params)
            if own not in known:
                known[own] = _play_rules(jax.random.fold_in(key, 0), run, rules, episodes, tell)
            records, played.left_out[run.name] = known[own]
            for rule, record in records.items():
                played.add(record, run.name, rule, 0)
            if guests and _has_guests(run):
                found = guest_tables.deviations(
                    key,
                    run.shape,
                    run.params,
                    run.policies["greedy"],
                    {rule: RULES[rule](run.shape, run.params) for rule in records},
                    episodes,
                    lambda rule, name=run.name: tell(f"{name}: {rule} in a seller's seat"),  # type: ignore[misc]
                )
                played.guests.append(found.assign(run=run.name, policy="learned (greedy)"))
    if not played.offers:
        reasons = "; ".join(text for texts_ in played.left_out.values() for text in texts_)
        raise ValueError(f"rules={','.join(rules)}: none of them can be played here ({reasons})")
    return played


def _folder_names(runs: Sequence[RunToEvaluate]) -> dict[str, str]:
    found: dict[str, str] = {}
    for run in runs:
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", run.name).strip("._") or "run"
        while name in found.values():
            name += "_"
        found[run.name] = name
    return found


def _picture(out: Path, folder: str, name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Picture:
    place = Path("figures") / folder
    (out / place).mkdir(parents=True, exist_ok=True)
    figure = draw()
    image = style.png(figure)
    tables.write_atomically(out / place / f"{name}.png", image)
    tables.write_atomically(out / place / f"{name}.svg", style.svg(figure))
    with style.width(style.NARROW):
        narrow = style.png(draw())
    return Picture(title, caption, image, narrow, (place / f"{name}.svg").as_posix())


def _lines(benchmarks: Benchmarks) -> str:
    if benchmarks.nash is None and benchmarks.joint is None:
        return "No lines: this market has no one-shot equilibrium."
    return f"Lines: {benchmarks.label}."


def _run_pictures(
    out: Path, folder: str, offers: pd.DataFrame, summary: pd.DataFrame, benchmarks: Benchmarks
) -> list[Picture]:
    policy = texts.main_policy(list(dict.fromkeys(offers["policy"])))
    own = offers[offers["policy"] == policy]

    def add(name: str, title: str, draw: Callable[[], Figure], axis: str = "") -> None:
        caption = figures.CAPTIONS[name].format(lines=_lines(benchmarks), axis=axis)
        found.append(_picture(out, folder, name, title, caption, draw))

    found: list[Picture] = []
    add("total_profit", "Total profit", lambda: figures.total_profit(summary, benchmarks))
    add("profit_by_seller", "Profit of each seller", lambda: figures.profit_by_seller(summary))
    add("prices_over_time", f"Prices over time, {policy}", lambda: figures.prices_over_time(own, benchmarks))
    kind = figures.map_kind(own)
    if kind in ("both", "stock"):
        add("stock_over_time", f"Stock and orders over time, {policy}", lambda: figures.stock_over_time(own))
    if kind is not None and not paths.visits(own).empty:
        axis = {"stock": "their own stock", "rival": "their rivals' mean price of the epoch before", "both": ""}[kind]
        name = "policy_map" if kind == "both" else "policy_line"
        add(name, f"Policy map, {policy}", lambda: figures.policy_map(own), axis)
    return found


def _comparison(
    out: Path, folder: str, runs: Sequence[RunToEvaluate], summary: pd.DataFrame, benchmarks: Mapping[str, Benchmarks]
) -> list[Picture]:
    if len(runs) < 2 or not summary["policy"].str.startswith(texts.LEARNED).any():
        return []
    alike = comparable([(run.shape, run.params) for run in runs])
    shared = benchmarks[runs[0].name] if alike else None
    lines = _lines(shared) if shared else "No lines: the markets of the runs differ."
    caption = figures.CAPTIONS["total_profit_by_run"].format(lines=lines)
    draw = partial(figures.total_profit_by_run, summary, shared)
    return [_picture(out, folder, "total_profit_by_run", "Total profit, run by run", caption, draw)]


def _fragments(offers: pd.DataFrame, summary: pd.DataFrame, benchmarks: Benchmarks, number: int) -> list:
    return [
        (
            "Prices and stock by policy",
            "Choose a policy above the figure; press a seller's name to hide it. Means over episodes, their 95 % "
            f"intervals shaded. {_lines(benchmarks)}",
            interactive.time_paths(offers, benchmarks, f"paths-{number}"),
        ),
        (
            "Profits by seller and policy",
            "Raw profit per epoch with 95 % bootstrap intervals; point at a bar for its figure.",
            interactive.profit_bars(summary, f"profits-{number}"),
        ),
    ]


def _benchmarks(runs: Sequence[RunToEvaluate]) -> dict[str, Benchmarks]:
    known: dict = {}
    found = {}
    for run in runs:
        key = market_key(run.shape, run.params, with_omega=False)
        if key not in known:
            known[key] = static_benchmarks(run.shape, run.params)
        found[run.name] = known[key]
    return found


def evaluate(
    runs: Sequence[RunToEvaluate],
    out: Path,
    *,
    episodes: int,
    seed: int,
    rules: tuple[str, ...] = tuple(RULES),
    guests: bool = True,
    progress: bool = True,
) -> Path:
    """Play every run's policies and the rules, and write tables, figures and the report into `out`.

    Args:
        runs: markets may differ; rules are played once a market.
        episodes: of each policy and seed.
        seed: of the shoppers; the same seed repeats every figure.
        rules: names in `policies.RULES`; one that cannot be played in a market is left out, with the reason.
        guests: also put each rule in each seat of the learned sellers, to see whether deviating pays.
        progress: a progress bar, where it takes longer than five seconds.

    Returns:
        The path of report.html.

    Raises:
        ValueError: for no episodes, no runs, two runs of one name, or an unknown rule.
        tables.TableError: if a number is missing where there has to be one.
    """
    _check(runs, episodes, rules)
    played = _play_all(runs, episodes, seed, rules, guests, progress)
    offers, sellers = tables.join(played.offers), tables.join(played.sellers)
    benchmarks = _benchmarks(runs)
    out.mkdir(parents=True, exist_ok=True)
    written = [*tables.write("offers", offers, out), *tables.write("sellers", sellers, out)]
    summary = summarise(offers, sellers, benchmarks)
    written.append(tables.write_atomically(out / "summary.csv", summary.to_csv(index=False)))
    documented = tables.COLUMNS | {"summary": SUMMARY_COLUMNS}
    deviations = pd.concat(played.guests) if played.guests else pd.DataFrame(columns=list(guest_tables.COLUMNS))
    if played.guests:
        deviations = deviations[list(guest_tables.COLUMNS)]
        written.append(tables.write_atomically(out / "guests.csv", deviations.to_csv(index=False)))
        documented |= {"guests": guest_tables.COLUMNS}
    written.append(tables.write_atomically(out / "columns.json", json.dumps(documented, indent=2) + "\n"))
    folders = _folder_names(runs)
    sections = []
    for number, run in enumerate(runs):
        mine, figures_of = offers[offers["run"] == run.name], summary[summary["run"] == run.name]
        sections.append(
            RunSection(
                name=run.name,
                market=texts.market_line(run.shape, run.params) + texts.seller_line(run.sellers),
                pictures=_run_pictures(out, folders[run.name], mine, figures_of, benchmarks[run.name]),
                fragments=_fragments(mine, figures_of, benchmarks[run.name], number),
                left_out=played.left_out[run.name],
                deviations=deviations[deviations["run"] == run.name],
                config_text=run.config_text,
                versions=run.versions,
                command=run.command,
            )
        )
    markets = [(run.shape, run.params) for run in runs]
    note = comparison_note(markets)
    names = ", ".join(run.name for run in runs) if len(runs) <= 3 else f"{len(runs)} runs"
    html = report.render(
        title=f"Evaluation of {names}",
        sentences=texts.headline(summary, benchmarks, comparable=comparable(markets)),
        summary=summary,
        comparison=_comparison(out, "all", runs, summary, benchmarks),
        notes=[note] if note else [],
        sections=sections,
        files=[path.name for path in written],
    )
    return tables.write_atomically(out / "report.html", html)
