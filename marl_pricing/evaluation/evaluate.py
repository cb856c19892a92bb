"""From policies to a report: play, tabulate, summarise, draw, write. Composes the other modules of this room."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from marl_pricing.evaluation import behaviour as behaviour_tests
from marl_pricing.evaluation import (
    benchmark_table,
    frontier,
    history,
    kept,
    machine_summary,
    measured,
    robust_benchmarks,
    stock_benchmarks,
    summary,
    supply,
    tables,
)
from marl_pricing.evaluation import guests as guest_tables
from marl_pricing.evaluation.behaviour import best_response
from marl_pricing.evaluation.benchmarks import Benchmarks, static_benchmarks, with_stock
from marl_pricing.evaluation.markets import comparable, comparison_note, market_key
from marl_pricing.evaluation.playing import Played, Wanted, count_steps, play_all, progress_bar
from marl_pricing.evaluation.report import first_screen, html_tables, page, sections, texts
from marl_pricing.evaluation.report.findings import punished as punished_by
from marl_pricing.evaluation.report.page import Report, RunSection
from marl_pricing.evaluation.runs import LEARNED, RunToEvaluate, check, held_line
from marl_pricing.policies import RULES
from marl_pricing.presentation.files import write_atomically

GREEDY = f"{LEARNED} (greedy)"


def _benchmarks(runs: Sequence[RunToEvaluate], played: Played) -> dict[str, Benchmarks]:
    known: dict = {}
    found = {}
    for run in runs:
        key = market_key(run.shape, run.params)
        if key not in known:
            known[key] = with_stock(run.shape, run.params, static_benchmarks(run.shape, run.params))
        found[run.name] = known[key].with_simulated(run.shape, run.params, played.simulated.get(run.name))
    return found


def _comparisons(runs: Sequence[RunToEvaluate], played: Played) -> tuple[pd.DataFrame, list[str]]:
    """Every later run less the first, where their markets and numbers of seeds allow it, and why others are left."""
    frames, notes = [], []
    learned = [run for run in runs if (run.name, GREEDY) in played.measured.groups]
    for run in learned[1:]:
        first = learned[0]
        if not comparable([(first.shape, first.params), (run.shape, run.params)]):
            continue  # `comparison_note` says so
        try:
            frames.append(summary.compare(played.measured, run.name, first.name, GREEDY))
        except ValueError as error:
            notes.append(f"Not compared in pairs: {error}.")
    empty = pd.DataFrame(columns=list(summary.COMPARISON_COLUMNS))
    return (pd.concat(frames, ignore_index=True) if frames else empty), notes


def _frontier(run: RunToEvaluate, offers: pd.DataFrame, seed: int, episodes: int) -> pd.DataFrame | None:
    """Base-stock rules at the mean prices of the run's greedy policies; None where there are none to compare with."""
    own = offers[offers["policy"].eq(GREEDY)]
    if own.empty or frontier.why_not(run.shape, run.params):
        return None
    prices = own.groupby(["seller", "product"])["price"].mean().to_numpy(np.float64)
    key = jax.random.fold_in(jax.random.key(seed), 0)
    return frontier.base_stock_frontier(key, run.shape, run.params, prices, min(episodes, 16))


def _stock(runs: Sequence[RunToEvaluate]) -> pd.DataFrame:
    """Exact benchmarks of stock, of the runs whose market has them."""
    frames = [
        stock_benchmarks.benchmarks_of(run.shape, run.params).assign(run=run.name)
        for run in runs
        if stock_benchmarks.why_no_replenishment(run.shape, run.params) is None
    ]
    return _joined({"run": "text"} | stock_benchmarks.COLUMNS, frames)


def _joined(columns: Mapping[str, str], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames under each other, with these columns; no rows where there are no frames."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True)[list(columns)] if filled else pd.DataFrame(columns=list(columns))


def _of(frame: pd.DataFrame, run: RunToEvaluate) -> pd.DataFrame:
    """The rows of one run."""
    return frame[frame["run"] == run.name]


def _write(
    out: Path, offers: pd.DataFrame, sellers: pd.DataFrame, frames: dict[str, tuple[pd.DataFrame, dict[str, str]]]
) -> tuple[list[Path], dict[str, dict[str, str]]]:
    """Write all tables; (paths, columns of each)."""
    out.mkdir(parents=True, exist_ok=True)
    written = [*tables.write("offers", offers, out), *tables.write("sellers", sellers, out)]
    documented = dict(tables.COLUMNS)
    for name, (frame, columns) in frames.items():
        if len(frame):
            written.append(write_atomically(out / f"{name}.csv", frame.to_csv(index=False)))
            documented[name] = columns
    written.append(write_atomically(out / "columns.json", json.dumps(documented, indent=2) + "\n"))
    return written, documented


def evaluate(
    runs: Sequence[RunToEvaluate],
    out: Path,
    *,
    episodes: int,
    seed: int,
    rules: tuple[str, ...] = tuple(RULES),
    guests: bool = True,
    behaviour: bool = True,
    measures: tuple[str, ...] = (),
    progress: bool = True,
    command: str = "",
    beside: Sequence[Path] = (),
) -> Path:
    """Play every run's policies and the rules, and write tables, figures and the report into `out`.

    Args:
        runs: markets may differ; rules are played once a market.
        episodes: of each policy and seed.
        seed: of the shoppers; the same seed repeats every figure.
        rules: names in `policies.RULES`; one that cannot be played in a market is left out, with the reason.
        guests: also put each rule in each seat of the learned sellers, to see whether deviating pays.
        behaviour: also force deviations, prices, stock and agents upon learned sellers, to see what they do.
        measures: columns of the first table; none takes `html_tables.HEADLINE`. One that a run cannot have is refused.
        progress: a progress bar, where it takes longer than five seconds.
        command: what makes this report again, to be told in it.
        beside: folders of evaluations that were kept, to be compared with.

    Returns:
        The path of report.html.

    Raises:
        ValueError: for no episodes, no runs, two runs of one name, an unknown rule or measure, or a measure that is
            asked for without its benchmark.
        tables.TableError: if a number is missing where there has to be one.
    """
    check(runs, episodes, rules, measures)
    earlier = [own for folder in beside for own in kept.read_kept(folder)]  # refused before anything is played
    wanted = Wanted(rules, guests, behaviour)
    with progress_bar(count_steps(runs, wanted), progress) as tell:
        played = play_all(runs, episodes, seed, wanted, tell)
    offers, sellers = tables.join(played.offers), tables.join(played.sellers)
    benchmarks = _benchmarks(runs, played)
    found = summary.summarise(played.measured, benchmarks)
    summary.refuse_withheld(found, measures)
    table = benchmark_table.benchmark_table(runs, benchmarks)
    stock = _stock(runs)
    feared = _joined(
        robust_benchmarks.COLUMNS,
        [robust_benchmarks.robust_table(run, benchmarks[run.name].ignores, offers) for run in runs],
    )
    comparisons, notes = _comparisons(runs, played)
    side = kept.beside(played.measured, runs, earlier, (seed, episodes))
    seats = _joined(guest_tables.COLUMNS, played.guests)
    responses = _joined(best_response.COLUMNS, played.best_responses)
    contracts = _joined(supply.COLUMNS, played.contracts)
    tests = {
        name: _joined(
            columns, [getattr(own, name).assign(run=run, policy=GREEDY) for run, own in played.findings.items()]
        )
        for name, columns in behaviour_tests.COLUMNS.items()
    }
    frames = {
        "summary": (found, summary.COLUMNS),
        "episodes": (played.measured.table(), measured.COLUMNS),
        "history": (_joined(history.COLUMNS, played.histories), history.COLUMNS),
        "benchmarks": (table, benchmark_table.COLUMNS),
        "robust_equilibria": (feared, robust_benchmarks.COLUMNS),
        "comparisons": (comparisons, summary.COMPARISON_COLUMNS),
        "stock_benchmarks": (stock, {"run": "text"} | stock_benchmarks.COLUMNS),
        "beside": (side, kept.COLUMNS),
        "guests": (seats, guest_tables.COLUMNS),
        "contracts": (contracts, supply.COLUMNS),
        "best_responses": (responses, best_response.COLUMNS),
        **{name: (frame, behaviour_tests.COLUMNS[name]) for name, frame in tests.items()},
    }
    written, documented = _write(out, offers, sellers, frames)
    folders = sections.folder_names(runs)
    parts = []
    for number, run in enumerate(runs):
        rows = sections.Rows(
            run, number, _of(offers, run), _of(found, run), benchmarks[run.name], _of(contracts, run), _of(seats, run),
            _of(tests["deviation_summary"], run), _of(responses, run), _of(stock, run),
            _frontier(run, _of(offers, run), seed, episodes), played.findings.get(run.name),
        )  # fmt: skip
        pictures, folded = sections.run_parts(out, folders[run.name], rows)
        parts.append(
            RunSection(
                name=run.name,
                market=texts.market_line(run.shape, run.params) + texts.seller_line(run.sellers) + held_line(run.held),
                pictures=pictures,
                parts=folded,
                left_out=played.left_out[run.name],
                notes=[
                    *played.notes[run.name],
                    *(
                        f"{policy}: {supply.in_words(own)}"
                        for policy, own in rows.contracts.groupby("policy", sort=False)
                    ),
                ],
                config_text=run.config_text,
                versions=run.versions,
                command=run.command,
            )
        )
    markets = [(run.shape, run.params) for run in runs]
    note, alike = comparison_note(markets), comparable(markets)
    names = ", ".join(run.name for run in runs) if len(runs) <= 3 else f"{len(runs)} runs"
    shown = sections.shown_policies(found)
    punished = {name: known for name, own in played.findings.items() if (known := punished_by(own)) is not None}
    answers = first_screen.answers(runs, found, shown, benchmarks, comparisons, punished, comparable=alike)
    minds = first_screen.warnings(runs, benchmarks, comparable=alike)
    sentences = texts.headline(found, benchmarks, comparisons, comparable=alike)
    sentences = [*texts.opponent_sentences(runs), *sentences, *texts.training_sentences(runs)]
    sentences += [
        texts.equilibrium_sentence(own, held=any(run.held for run in runs if run.name == name))
        for name, own in responses.groupby("run", sort=False)
    ]
    glance, compared = sections.all_pictures(out, runs, found, benchmarks, table, offers)
    told = [*(own.text for own in answers), *minds]
    text = machine_summary.to_json(
        runs, told, sentences, found, benchmarks, table, comparisons, episodes, seed, command, punished, out
    )
    written.append(write_atomically(out / "summary.json", text))
    html = page.render(
        Report(
            title=f"Evaluation of {names}",
            answers=answers,
            glance=glance,
            minds=minds,
            omega=first_screen.omega_line(runs),
            sentences=sentences,
            counts=texts.counts_line(played.measured),
            summary=found,
            measures=measures or html_tables.HEADLINE,
            benchmarks=table,
            robust=feared,
            comparisons=comparisons,
            comparison=compared,
            beside=side,
            notes=[*([note] if note else []), *notes],
            sections=parts,
            documented=documented,
            files=[path.name for path in written],
            command=command,
        )
    )
    return write_atomically(out / "report.html", html)
