"""`python -m marl_pricing.studies.stock RUN …`: how near learned ordering comes to the exact optimum."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from marl_pricing.config.errors import refuse
from marl_pricing.doors import say_errors
from marl_pricing.evaluation.stock_benchmarks import NoStockBenchmarkError
from marl_pricing.evaluation.stock_gap import StockRun, stock_gap
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.output import run_command
from marl_pricing.presentation.progress import Progress
from marl_pricing.studies.loading import load_run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m marl_pricing.studies.stock",
        description="How near learned orders, or learned prices and orders, of one seller come to the exact optimum.",
        epilog="Such runs are trained with experiment=lost_sales or experiment=price_and_order; see docs/stock.md.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--checkpoint", choices=("latest", "best"), default="latest", help="default: %(default)s")
    parser.add_argument("--episodes", type=int, default=256, help="of each training seed (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2000, help="of an episode of a cost (default: %(default)s)")
    parser.add_argument(
        "--stocks", type=int, nargs="+", default=[0, 5, 10], help="units that a value begins with (default: 0 5 10)"
    )
    parser.add_argument("--seed", type=int, default=1_000_003, help="of the shoppers (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write the table there too")
    return parser


def _load(folder: Path, checkpoint: str) -> StockRun:
    run = load_run(folder, checkpoint)
    shape, params = run.experiment.market
    return StockRun(run.settings.name, shape, params, run.policies(greedy=True), run.settings.learner.gamma)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit status 2 and a line on standard error where it cannot be made."""
    given = _parser().parse_args(arguments)
    columns = (TextColumn("playing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with say_errors(NoStockBenchmarkError):
        for name, least in (("episodes", 2), ("epochs", 10), ("seed", 0)):
            if getattr(given, name) < least:
                raise refuse(f"--{name}", getattr(given, name), f"a whole number of at least {least}")
        if min(given.stocks) < 0:
            raise refuse("--stocks", given.stocks, "units of at least 0")
        runs = [_load(folder, given.checkpoint) for folder in given.runs]
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=sum(len(run.policies) for run in runs))
            table = stock_gap(
                runs,
                episodes=given.episodes,
                epochs=given.epochs,
                stocks=given.stocks,
                seed=given.seed,
                tell=lambda: bar.advance(task),
            )
        print(table.to_string(index=False, float_format="{:.4f}".format, na_rep=""))
        if given.out is not None:
            write_atomically(given.out, table.to_csv(index=False))
    return 0


if __name__ == "__main__":
    run_command(main)
