"""`python -m marl_pricing.calibration data=FILE out=FOLDER`: calibrate a market from sales."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from marl_pricing.doors import say_errors
from marl_pricing.presentation.output import run_command
from marl_pricing.presentation.progress import named_steps

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
    from marl_pricing.config.command_line import settings_help

    told = settings_help(CalibrationSettings, {"data": "FILE", "out": "FOLDER"}, ("judging",))
    return _USAGE + told + "\n" + _FOOTER


def read_settings(arguments: Sequence[str]) -> CalibrationSettings:
    """The settings of a command line. Raises ConfigError."""
    from marl_pricing.calibration.settings import CalibrationSettings
    from marl_pricing.config.command_line import names_as_texts, read_command_line
    from marl_pricing.config.errors import validate

    texts, lists = ("category", "store", "data", "out", "mapping"), ("sellers", "leave_out")
    return validate(CalibrationSettings, names_as_texts(read_command_line(arguments), texts, lists))


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

    with say_errors(CalibrationError):
        own = read_settings(given)
        with named_steps(STEPS) as step:
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
    size = f"traffic.sessions_per_epoch={max(round(found.market.size), 1)}"
    print(f"train on it: python train.py market=calibrated market.path={own.out}/market.yaml {size}")
    print("  (as many sessions as shoppers sell the units of the data; fewer sell, and stock, in proportion)")
    return 0


if __name__ == "__main__":
    run_command(main)
