"""`python -m marl_pricing.virtual_market [prices] VERB field=value …`: logs → customers and shoppers as they answer."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import sys
from collections.abc import Sequence

from marl_pricing.doors import say_errors
from marl_pricing.presentation.output import run_command

_MAPPING = """
A mapping is a YAML file of lines `our name: column of the file`; our names are customer, date, step, coupons, discount,
orders, fee; and separator, encoding, decimal, date_format where they are not to be found."""


_PRICES = "prices"
_PRICE_MAPPING = """
A mapping is a YAML file of lines `our name: column of the file`; our names are session, date, bought, units, agent;
prices, what the titles of price columns begin with; and separator, encoding, decimal, date_format where they are not to
be found."""


def _usage(of_prices: bool) -> str:
    from marl_pricing.virtual_market import verbs
    from marl_pricing.virtual_market.prices import verbs as price_verbs

    command = "python -m marl_pricing.virtual_market" + (f" {_PRICES}" if of_prices else "")
    what = "Our own shoppers learned from a log of prices shown and orders." if of_prices else (
        "A virtual market learned from logged promotions, or from logged prices."
    )  # fmt: skip
    own = price_verbs.VERBS if of_prices else verbs.VERBS
    more = [] if of_prices else [f"  {_PRICES:<10}the same of prices shown and orders; it has verbs of its own"]
    return "\n".join(
        [
            what,
            "",
            f"usage: {command} VERB field=value …",
            f"       {command} VERB --help      settings, defaults, meanings",
            "",
            *(f"  {name:<10}{verb.purpose}" for name, verb in own.items()),
            *more,
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a verb; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    of_prices = given[:1] == [_PRICES]
    given = given[of_prices:]
    if not given or given[0] in ("-h", "--help"):
        print(_usage(of_prices))
        return 0
    from marl_pricing.config.command_line import read_command_line, settings_help
    from marl_pricing.config.errors import did_you_mean, validate

    if of_prices:
        from marl_pricing.virtual_market.prices.verbs import VERBS
    else:
        from marl_pricing.virtual_market.verbs import VERBS

    name, *rest = given
    if name not in VERBS:
        accepted = [*VERBS] if of_prices else [*VERBS, _PRICES]
        print(f"error: {name}: accepted is {', '.join(accepted)}{did_you_mean(name, accepted)}", file=sys.stderr)
        return 2
    verb = VERBS[name]
    model = verb.settings()
    if not rest or rest[0] in ("-h", "--help"):
        purpose = verb.purpose[0].upper() + verb.purpose[1:]
        mapping = _PRICE_MAPPING if of_prices else _MAPPING
        print(f"{purpose}.\n\n{settings_help(model, verb.shown)}{mapping if 'mapping' in model.model_fields else ''}")
        return 0
    with say_errors():
        settings = validate(model, read_command_line(rest, texts=verb.texts))
    verb.run(settings)
    return 0


if __name__ == "__main__":
    run_command(main)
