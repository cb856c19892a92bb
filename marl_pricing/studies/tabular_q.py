"""`python -m marl_pricing.studies.tabular_q out=FOLDER`: let sellers learn by tabular Q-learning, and look at them."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import pandas as pd
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from scipy import stats

from marl_pricing.config import ConfigError, Market, market_from
from marl_pricing.config.command_line import read_command_line
from marl_pricing.config.errors import Settings, refuse, validate
from marl_pricing.doors import say_errors
from marl_pricing.evaluation.benchmarks import Benchmarks, static_benchmarks
from marl_pricing.policies import q_learning, q_sessions
from marl_pricing.policies.tabular_q import QLearningSettings
from marl_pricing.presentation import style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.output import run_command
from marl_pricing.presentation.progress import Progress
from marl_pricing.studies import tabular_q_figures as figures

# The logit duopoly of Calvano et al. (2020) with 15 prices from a tenth of the way below the Nash price to a tenth
# above the joint-profit price; money per shopper.
MARKET: dict[str, Any] = {
    "num_sellers": 2,
    "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
    "prices": {"map": "levels", "around_equilibrium": 0.1, "num_price_levels": 15},
    "inventory": {"rule": "unlimited"},
    "reward": {"unit_cost": 1.0},
}
TRAFFIC: dict[str, Any] = {"sessions_per_epoch": 1, "random_orders": False}


class TabularQSettings(Settings):
    """Settings of one such study; the descriptions are what `--help` prints."""

    out: str = Field(description="folder for the tables and figures")
    sessions: Annotated[int, Field(ge=2)] = Field(48, description="that learn apart from each other")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of all chance")
    periods: Annotated[int, Field(ge=1)] = Field(15, description="of the path after a seller's deviation")
    learner: QLearningSettings = QLearningSettings()
    market: dict[str, Any] = Field(
        MARKET, description="as under market: in conf; unlimited stock, one product a seller"
    )
    traffic: dict[str, Any] = Field(TRAFFIC, description="as under traffic: in conf; analytic, no random orders")


def help_text() -> str:
    """What `--help` prints."""
    lines = []
    for name, field in TabularQSettings.model_fields.items():
        if name == "learner":
            for inner, own in QLearningSettings.model_fields.items():
                lines.append((f"learner.{inner}={own.default}", own.description or ""))
            continue
        value = {"out": "FOLDER", "market": "…", "traffic": "…"}.get(name, field.default)
        lines.append((f"{name}{'.' if value == '…' else '='}{value}", field.description or ""))
    width = max(len(setting) for setting, _ in lines) + 2
    return "\n".join(
        (
            "Sellers that learn by tabular Q-learning (Calvano et al. 2020).",
            "",
            "usage: python -m marl_pricing.studies.tabular_q out=FOLDER [field=value …]",
            "       python -m marl_pricing.studies.tabular_q settings=FILE.yaml [field=value …]   a file of settings",
            "",
            "Settings:",
            *(f"  {setting:<{width}}{told}" for setting, told in lines),
            "",
            "The market is that paper's logit duopoly; market.num_sellers=3 makes it a triopoly, and",
            "market.reward.omega=0.5 its sellers half cooperative. A market: or traffic: of a settings file replaces",
            "it as a whole.",
        )
    )


def read_settings(arguments: Sequence[str]) -> TabularQSettings:
    """Settings out of a command line.

    Raises:
        ConfigError: naming each field that is wrong, its value and what is accepted.
    """
    data = read_command_line(arguments, {"market": MARKET, "traffic": TRAFFIC})
    if data.get("out") is not None:
        data["out"] = str(data["out"])  # a folder may have a number for a name
    return validate(TabularQSettings, data)


@dataclass(frozen=True)
class Findings:
    """What a study found.

    Attributes:
        sessions: one row a session.
        deviation: one row a period of the path after a cut; means over the sessions that converged.
        benchmarks: of the market.
        steps: market steps learned.  seconds: that they took.
    """

    sessions: pd.DataFrame
    deviation: pd.DataFrame
    benchmarks: Benchmarks
    steps: int
    seconds: float

    @property
    def gains(self) -> np.ndarray:
        """Profit gain of each session that converged; empty where the benchmarks give none."""
        return self.sessions.loc[self.sessions["converged"], "profit_gain"].dropna().to_numpy()


def _session_table(learned: q_learning.Learned, cycles: q_sessions.LongRun, benchmarks: Benchmarks) -> pd.DataFrame:
    total = cycles.profits.sum(-1)
    table = pd.DataFrame(
        {
            "session": np.arange(total.size),
            "converged": learned.converged,
            "periods": learned.periods,
            "cycle_length": cycles.length,
            "profit_gain": np.nan if benchmarks.reason else [benchmarks.profit_gain(own) for own in total],
        }
    )
    for seller in range(learned.game.num_sellers):
        table[f"price_{seller}"] = cycles.prices[:, seller]
        table[f"profit_{seller}"] = cycles.profits[:, seller]
    return table


def find(
    own: TabularQSettings, market: Market, tell: Callable[[q_learning.Progress], None] = lambda _: None
) -> Findings:
    """Learn in the market that the settings mean, and look at what was learned.

    Raises:
        ConfigError: for a market that has no such game, or where fewer than two sessions converged.
    """
    shape, params = market
    last: list[q_learning.Progress] = []

    def report(progress: q_learning.Progress) -> None:
        last[:] = [progress]
        tell(progress)

    try:
        learned = q_learning.learn(jax.random.key(own.seed), shape, params, own.learner, own.sessions, report)
    except ValueError as error:  # RuleError, NoEquilibriumError and a grid that is too large
        raise ConfigError(str(error)) from None
    if learned.converged.sum() < 2:
        raise ConfigError(
            f"learner.max_periods={own.learner.max_periods}: {learned.converged.sum()} of {own.sessions} sessions "
            "converged by then; accepted is a number by which two do"
        )
    benchmarks = static_benchmarks(shape, params)
    cycles = q_sessions.long_run(learned)
    paths = [path[learned.converged] for path in q_sessions.responses(learned, cycles, own.periods)]
    deviation = pd.DataFrame({"period": np.arange(own.periods + 1)})
    for who, path in zip(("deviator", "rival"), paths, strict=True):
        deviation[f"{who}_price"] = path.mean(0)
        deviation[f"{who}_error"] = stats.sem(path)
    return Findings(_session_table(learned, cycles, benchmarks), deviation, benchmarks, last[0].steps, last[0].seconds)


def sentences(found: Findings) -> list[str]:
    """What was found, computed from the tables."""
    table, path = found.sessions[found.sessions["converged"]], found.deviation
    told = [
        f"{len(table)} of {len(found.sessions)} sessions converged, after {table['periods'].mean():,.0f} periods on "
        f"average; {found.steps / found.seconds:,.0f} market steps/s."
    ]
    if found.benchmarks.reason:
        told.append(f"No profit gain: {found.benchmarks.reason}.")
    else:
        gains = found.gains
        told.append(
            f"Profit gain {gains.mean():.4f}, standard error {stats.sem(gains):.4f}; 0 is Nash, 1 joint profit."
        )
    lowest = int(path["rival_price"].argmin())
    told.append(
        f"A seller that goes from {path['deviator_price'][0]:.3f} to its best reply, {path['deviator_price'][1]:.3f}, "
        f"in period 1 meets rivals at {path['rival_price'][lowest]:.3f} in period {lowest}, and at "
        f"{path['rival_price'].iloc[-1]:.3f} in period {path['period'].iloc[-1]} ({path['rival_price'][0]:.3f} before)."
    )
    return told


def write(out: Path, own: TabularQSettings, found: Findings, command: Sequence[str]) -> None:
    """Leave in `out`: sessions.csv, deviation.csv, summary.json, and figures as PNG and SVG."""
    (out / "figures").mkdir(parents=True, exist_ok=True)
    write_atomically(out / "sessions.csv", found.sessions.to_csv(index=False))
    write_atomically(out / "deviation.csv", found.deviation.to_csv(index=False))
    summary = {
        "command": shlex.join(command),
        "found": sentences(found),
        "settings": own.model_dump(mode="json", exclude={"out"}),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "numpy")},
    }
    write_atomically(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    num_sellers = sum(str(name).startswith("price_") for name in found.sessions)
    converged = int(found.sessions["converged"].sum())
    drawn = {"deviation": figures.deviation(found.deviation, found.benchmarks, num_sellers, converged)}
    if not found.benchmarks.reason:
        drawn["profit_gain"] = figures.profit_gain(found.gains)
    for name, figure in drawn.items():
        style.write(out / "figures", name, figure)


def _expected_periods(own: TabularQSettings, num_sellers: int) -> float:
    """About when sessions converge, for the progress bar: 3.7 S / β in the markets of Calvano et al. (2020)."""
    decay = own.learner.exploration_decay
    expected = own.learner.patience + 3.7 * num_sellers / decay if decay else np.inf
    return min(expected, own.learner.max_periods)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry the study out; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(help_text())
        return 0
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with say_errors():
        own = read_settings(given)
        if Path(own.out).is_file():
            raise refuse("out", own.out, "a folder")
        market = market_from(own.market, own.traffic)
        expected = _expected_periods(own, market.shape.num_sellers)
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("compiling", total=own.sessions * expected, rate="")

            def tell(progress: q_learning.Progress) -> None:
                left = own.sessions - progress.finished
                bar.update(
                    task,
                    description=f"period {progress.period:,}, {progress.finished} of {own.sessions} sessions ended",
                    # Those that take longer than expected are nearly there.
                    completed=progress.finished * expected + left * min(progress.period, 0.98 * expected),
                    rate=f"{progress.steps / progress.seconds:,.0f} market steps/s",
                )

            found = find(own, market, tell)
        write(Path(own.out), own, found, ["python", "-m", "marl_pricing.studies.tabular_q", *given])
    for sentence in sentences(found):
        print(sentence)
    print(f"tables and figures: {own.out}")
    return 0


if __name__ == "__main__":
    run_command(main)
