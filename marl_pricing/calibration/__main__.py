"""`python -m marl_pricing.calibration data=FILE out=FOLDER`: calibrate a market from sales."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from marl_pricing.doors import say_errors
from marl_pricing.presentation.output import run_command

if TYPE_CHECKING:
    from marl_pricing.calibration.settings import CalibrationSettings

_USAGE = """Calibrate a market from sales data.

usage: python -m marl_pricing.calibration data=FILE out=FOLDER [field=value …]
       python -m marl_pricing.calibration settings=FILE.yaml [field=value …]     a file of settings
       python -m marl_pricing.calibration data=FILE --check [out=FOLDER]        read it, tell how, write a mapping, stop

Settings:
"""
_FOOTER = """
A mapping is a YAML file of lines `our name: column of the file`; our names are product, seller, period, units, price,
and where there are such store, category, cost, promotion, stock, currency, instruments (a list); docs/import.md has the
others. Separator, encoding, decimal signs, forms of dates and currencies are found in the file and said.

Train on the result: python train.py market=calibrated market.path=FOLDER/market.yaml"""


def _help() -> str:
    from marl_pricing.calibration.settings import CalibrationSettings

    lines = []
    for name, field in CalibrationSettings.model_fields.items():
        if name == "judging":
            for inner, own in type(field.default).model_fields.items():
                lines.append((f"judging.{inner}={own.default}", own.description or ""))
            continue
        value = "FILE" if name == "data" else "FOLDER" if name == "out" else field.default
        shown = "null" if value is None else str(value).replace("'", "").replace(" ", "")
        lines.append((f"{name}={shown}", field.description or ""))
    width = max(len(setting) for setting, _ in lines) + 2
    return _USAGE + "\n".join(f"  {setting:<{width}}{told}" for setting, told in lines) + "\n" + _FOOTER


def read_settings(arguments: Sequence[str]) -> CalibrationSettings:
    """The settings of a command line. Raises ConfigError."""
    from marl_pricing.calibration.settings import CalibrationSettings
    from marl_pricing.config.command_line import read_command_line
    from marl_pricing.config.errors import validate

    data = read_command_line(arguments)
    # Numbers that name a seller or a category are texts.
    for name in ("category", "store", "data", "out", "mapping"):
        if data.get(name) is not None:
            data[name] = str(data[name])
    for name in ("sellers", "leave_out"):
        if isinstance(data.get(name), list):
            data[name] = [str(value) for value in data[name]]
    return validate(CalibrationSettings, data)


def _check(given: Sequence[str]) -> int:
    """Read the sales, tell what was understood, write the mapping that would read them so; estimate nothing."""
    from marl_pricing.calibration.checking import check
    from marl_pricing.calibration.reading import CalibrationError

    with say_errors(CalibrationError):
        # A folder is needed by a calibration alone.
        folder = next((a.removeprefix("out=") for a in given if a.startswith("out=")), None)
        own = read_settings([*given, *([] if folder else ["out=."])])
        told = check(own, folder)
    for line in told:
        print(line)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0
    if "--check" in given:
        return _check([argument for argument in given if argument != "--check"])
    try:
        import linearmodels  # noqa: F401
        import pyblp  # noqa: F401
        import statsmodels  # noqa: F401
    except ImportError as error:
        print(f"error: {error.name} is not installed: pip install 'marl-pricing[calibration]'", file=sys.stderr)
        return 2
    from marl_pricing.calibration.calibrate import STEPS, calibrate
    from marl_pricing.calibration.page import sentences
    from marl_pricing.calibration.reading import CalibrationError

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with say_errors(CalibrationError):
        own = read_settings(given)
        with warnings.catch_warnings(), Progress(*columns, console=console, transient=True) as bar:
            warnings.simplefilter("ignore")
            task = bar.add_task("", total=len(STEPS))

            def step(name: str) -> None:
                bar.update(task, description=name, completed=STEPS.index(name))

            found = calibrate(own, ["python", "-m", "marl_pricing.calibration", *given], step)
    print(f"read as: {', '.join(found.sales.read_as)}")
    for sentence in sentences(found):
        print(sentence)
    if found.no_backtest:
        print(f"no back-test: {found.no_backtest}")
    print(f"page: {own.out}/calibration.html")
    if found.market is None:
        return 1
    print(
        f"market: {own.out}/market.yaml, {len(found.market.offers)} offers, {found.market.size:,.0f} shoppers a period"
    )
    print(f"train on it: python train.py market=calibrated market.path={own.out}/market.yaml")
    return 0


if __name__ == "__main__":
    run_command(main)
