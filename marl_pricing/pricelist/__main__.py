"""`python -m marl_pricing.pricelist data=FILE out=FOLDER`: what each product should cost next, and what that brings."""

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
    from marl_pricing.pricelist.settings import PriceListSettings

_USAGE = """From a shop's sales to a list of prices for the next period.

usage: python -m marl_pricing.pricelist data=FILE out=FOLDER [field=value …]
       python -m marl_pricing.pricelist settings=FILE.yaml [field=value …]     a file of settings

Settings:
"""
_FOOTER = """
Files and mappings are read as calibrations read them: python -m marl_pricing.calibration data=FILE --check tells how
and writes the mapping. docs/pricelist.md says what a list can be trusted with."""
_TEXTS = ("category", "store", "seller", "data", "out", "mapping", "costs", "stock", "policy")
_LISTS = ("leave_out", "held")


def _help() -> str:
    from marl_pricing.config.command_line import settings_help
    from marl_pricing.pricelist.settings import PriceListSettings

    told = settings_help(PriceListSettings, {"data": "FILE", "out": "FOLDER"}, ("judging",))
    return _USAGE + told + "\n" + _FOOTER


def read_settings(arguments: Sequence[str]) -> PriceListSettings:
    """The settings of a command line. Raises ConfigError."""
    from marl_pricing.config.command_line import names_as_texts, read_command_line
    from marl_pricing.config.errors import validate
    from marl_pricing.pricelist.settings import PriceListSettings

    data = names_as_texts(read_command_line(arguments), _TEXTS, _LISTS)
    if isinstance(data.get("tied"), list):
        data["tied"] = [[str(value) for value in group] if isinstance(group, list) else group for group in data["tied"]]
    return validate(PriceListSettings, data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a list; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0
    try:
        import linearmodels  # noqa: F401
        import pyfixest  # noqa: F401
        import statsmodels  # noqa: F401
    except ImportError as error:
        print(f"error: {error.name} is not installed: pip install 'marl-pricing[calibration]'", file=sys.stderr)
        return 2
    from marl_pricing.calibration.reading import CalibrationError
    from marl_pricing.intake import IntakeError
    from marl_pricing.pricelist.files import leave
    from marl_pricing.pricelist.make import STEPS, make_list
    from marl_pricing.pricelist.page import sentences

    with say_errors(CalibrationError, IntakeError):
        own = read_settings(given)
        with named_steps(STEPS) as step:
            found = make_list(own, step)
            step("page")
            leave(found, own, ["python", "-m", "marl_pricing.pricelist", *given])
    print(f"read as: {', '.join(found.sales.read_as)}")
    for sentence in sentences(found, own):
        print(sentence)
    usual = float(found.outlook.total_today.mean)
    for event in found.events:
        print(
            f"if {event.name}: profit {float(event.today.mean):,.2f} at today's prices ({usual:,.2f} without it), "
            f"{float(event.listed.mean):,.2f} at this list, {float(event.answered.mean):,.2f} at one made for it"
        )
    print(f"list: {own.out}/pricelist.csv, {own.out}/pricelist.xlsx")
    print(f"page: {own.out}/pricelist.html")
    return 0


if __name__ == "__main__":
    run_command(main)
