"""`python -m marl_pricing.virtual_market VERB field=value …`: logged promotions → customers as they answer."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import sys
from collections.abc import Sequence

from marl_pricing.doors import say_errors
from marl_pricing.presentation import pulse
from marl_pricing.presentation.output import run_command

_MAPPING = """
A mapping is a YAML file of lines `our name: column of the file`; our names are customer, date, step, coupons, discount,
orders, fee; and separator, encoding, decimal, date_format where they are not to be found."""


def _usage() -> str:
    from marl_pricing.virtual_market.verbs import VERBS

    return "\n".join(
        [
            "A virtual market learned from logged promotions.",
            "",
            "usage: python -m marl_pricing.virtual_market VERB field=value …",
            "       python -m marl_pricing.virtual_market VERB --help      settings, defaults, meanings",
            "",
            *(f"  {name:<10}{verb.purpose}" for name, verb in VERBS.items()),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a verb; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_usage())
        return 0
    from marl_pricing.config.command_line import read_command_line, settings_help
    from marl_pricing.config.errors import did_you_mean, validate
    from marl_pricing.virtual_market.verbs import VERBS

    name, *rest = given
    if name not in VERBS:
        print(f"error: {name}: accepted is {', '.join(VERBS)}{did_you_mean(name, VERBS)}", file=sys.stderr)
        return 2
    verb = VERBS[name]
    model = verb.settings()
    if not rest or rest[0] in ("-h", "--help"):
        purpose = verb.purpose[0].upper() + verb.purpose[1:]
        print(f"{purpose}.\n\n{settings_help(model, verb.shown)}{_MAPPING if 'mapping' in model.model_fields else ''}")
        return 0
    from marl_pricing.intake import IntakeError
    from marl_pricing.virtual_market.errors import GraphError, LogError, ModelError

    pulse.doing(verb.purpose)
    with say_errors(IntakeError, LogError, GraphError, ModelError):
        for line in verb.carry_out(validate(model, read_command_line(rest, texts=verb.texts))):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    run_command(main)
