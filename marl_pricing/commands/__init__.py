"""Everything that can be done from a shell: `marl-pricing VERB …`, `python -m marl_pricing VERB …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

from marl_pricing.presentation import pulse
from marl_pricing.presentation.extras import said_missing
from marl_pricing.presentation.output import quiet_pipe, run_command, say_ends


class Verb(NamedTuple):
    """A command: the module whose `start` carries it out, or whose `main` does, and what it is for."""

    module: str
    purpose: str


VERBS = {
    "train": Verb("marl_pricing.commands.train", "train sellers, carry out a study, go on with a run"),
    "evaluate": Verb("marl_pricing.commands.evaluate", "play what was learned beside rules: tables, figures, a report"),
    "describe": Verb(
        "marl_pricing.commands.describe", "what a market shows its sellers, what they may do, what it pays"
    ),
    "runs": Verb(
        "marl_pricing.studies.index", "all runs of a folder on one page: settings that differ, results, reports"
    ),
    "calibrate": Verb("marl_pricing.calibration.__main__", "estimate demand from sales, write a market"),
    "pricelist": Verb("marl_pricing.pricelist.__main__", "from sales to what each product should cost next"),
    "logs": Verb("marl_pricing.traffic.logs.__main__", "say what is in a log of sessions"),
    "export": Verb("marl_pricing.export.__main__", "a policy file that needs neither JAX nor this package"),
    "procurement": Verb("marl_pricing.procurement.__main__", "bargains over supply, played by NegMAS's negotiators"),
    "virtual-market": Verb("marl_pricing.virtual_market.__main__", "customers learned from logged promotions"),
    "serve": Verb("marl_pricing.serving.__main__", "a shop's events in, its prices out: event API and price provider"),
    "tune": Verb("marl_pricing.studies.tune", "search the learner's settings"),
    "stock": Verb("marl_pricing.studies.stock", "a run of one seller with stock beside the exact optimum"),
    "tabular-q": Verb("marl_pricing.studies.tabular_q", "tabular Q-learning sellers (Calvano et al. 2020)"),
}


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.purpose}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "Platform sellers set prices and hold stock; people and agents shop; sellers learn by recurrent MAPPO.",
            "",
            "usage: marl-pricing VERB [field=value …]",
            "       marl-pricing VERB --help       what a verb takes, with units, defaults and meanings",
            "",
            *lines,
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out a verb and end with its status; 2 and a line on standard error for a verb that there is not."""
    say_ends()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        with quiet_pipe():
            print(_usage())
        raise SystemExit(0)
    name, *rest = given
    if name not in VERBS:
        near = get_close_matches(name, VERBS, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        print(f"error: {name}: accepted is {', '.join(VERBS)}{meant}", file=sys.stderr)
        raise SystemExit(2)
    from marl_pricing.doors import through_console  # Hydra takes a while

    through_console(name)
    pulse.named(name)
    sys.argv = [f"marl-pricing {name}", *rest]
    with said_missing():
        module = import_module(VERBS[name].module)
    if hasattr(module, "start"):
        module.start()
        return
    run_command(module.main)
