"""`python -m marl_pricing.virtual_market VERB field=value …`: logged promotions → one policy for all customers."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import sys
from collections.abc import Callable, Sequence

from marl_pricing.doors import say_errors
from marl_pricing.presentation.output import run_command

_USAGE = """A virtual market learned from logged promotions.

usage: python -m marl_pricing.virtual_market VERB field=value …
       python -m marl_pricing.virtual_market VERB --help      settings, defaults, meanings

  simulate   a log of promotions with known truth
  log        read a log and say what is in it
  graph      read a decision graph, and data of it, and say what is in them"""


def _simulate(given: Sequence[str]) -> int:
    from marl_pricing.config.command_line import read_command_line
    from marl_pricing.config.errors import validate
    from marl_pricing.virtual_market.log import summary
    from marl_pricing.virtual_market.simulate import SimulationSettings, leave, simulate

    settings = validate(SimulationSettings, read_command_line(given, texts=("out", "start")))
    found = simulate(settings)
    for line in summary(found.log):
        print(line)
    for kind, path in zip(("log", "customers", "truth"), leave(settings, found), strict=True):
        print(f"{kind}: {path}")
    return 0


def _help_simulate() -> str:
    from marl_pricing.config.command_line import settings_help
    from marl_pricing.virtual_market.simulate import SimulationSettings

    return "Simulate a log of promotions with known truth.\n\n" + settings_help(SimulationSettings, {"out": "FOLDER"})


def _log(given: Sequence[str]) -> int:
    from marl_pricing.config.command_line import read_command_line
    from marl_pricing.config.errors import validate
    from marl_pricing.virtual_market.log import read_log, read_mapping, summary
    from marl_pricing.virtual_market.settings import LogSettings

    settings = validate(LogSettings, read_command_line(given, texts=("log", "mapping")))
    for line in summary(read_log(settings.log, read_mapping(settings.mapping))):
        print(line)
    return 0


def _help_log() -> str:
    from marl_pricing.config.command_line import settings_help
    from marl_pricing.virtual_market.settings import LogSettings

    return (
        "Read a log of promotions and say what is in it.\n\n"
        + settings_help(LogSettings, {"log": "FILE"})
        + "\n\nA mapping is a YAML file of lines `our name: column of the file`; our names are customer, date, step,\n"
        "coupons, discount, orders, fee; and separator, encoding, decimal, date_format where they are not to be found."
    )


def _graph(given: Sequence[str]) -> int:
    from marl_pricing.config.command_line import read_command_line
    from marl_pricing.config.errors import validate
    from marl_pricing.virtual_market.graph import describe, read_data, read_graph
    from marl_pricing.virtual_market.settings import GraphSettings

    settings = validate(GraphSettings, read_command_line(given, texts=("graph", "data")))
    graph = read_graph(settings.graph)
    for line in describe(graph):
        print(line)
    if settings.data is not None:
        found, ends = read_data(settings.data, graph)
        print(f"data: {ends[-1]:,} rows in {len(ends):,} trajectories, of {', '.join(found)}")
    return 0


def _help_graph() -> str:
    from marl_pricing.config.command_line import settings_help
    from marl_pricing.virtual_market.settings import GraphSettings

    return "Read a decision graph and say what is in it.\n\n" + settings_help(GraphSettings, {"graph": "FILE"})


_VERBS: dict[str, tuple[Callable[[Sequence[str]], int], Callable[[], str]]] = {
    "simulate": (_simulate, _help_simulate),
    "log": (_log, _help_log),
    "graph": (_graph, _help_graph),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a verb; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE)
        return 0
    verb, *rest = given
    if verb not in _VERBS:
        print(f"error: {verb}: accepted is {', '.join(_VERBS)}", file=sys.stderr)
        return 2
    carry_out, told = _VERBS[verb]
    if not rest or rest[0] in ("-h", "--help"):
        print(told())
        return 0
    from marl_pricing.intake import IntakeError
    from marl_pricing.virtual_market.graph_file import GraphError
    from marl_pricing.virtual_market.log import LogError

    with say_errors(IntakeError, LogError, GraphError):
        return carry_out(rest)


if __name__ == "__main__":
    run_command(main)
