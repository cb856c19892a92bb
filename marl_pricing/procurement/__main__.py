"""`python -m marl_pricing.procurement`: `play`, a bargain of any two negotiators, and `world`, a market's supply."""

from __future__ import annotations

from marl_pricing.presentation.output import say_ends

if __name__ == "__main__":
    say_ends()  # first: what ends a command while the rest is imported is a line too

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl_pricing.doors import say_errors
from marl_pricing.presentation import pulse
from marl_pricing.presentation.output import run_command

if TYPE_CHECKING:
    from marl_pricing.procurement.playing import PlayedBargain, PlaySettings

_USAGE = """Play a bargain, or a market whose sellers and suppliers bargain day by day.

usage: python -m marl_pricing.procurement play out=FOLDER [field=value …]
       python -m marl_pricing.procurement world out=FOLDER [field=value …]

play --help and world --help list the settings.
NegMAS is under the AGPL-3.0 and comes with: pip install 'marl-pricing[procurement]'
"""

_PLAY = """Play a bargain over a supply contract between two negotiators.

usage: python -m marl_pricing.procurement play out=FOLDER [buyer=NAME] [supplier=NAME] [field=value …]
       python -m marl_pricing.procurement play settings=FILE.yaml [field=value …]

A negotiator is {names},
a class of negmas.sao, or module:Class, yours.
NegMAS is under the AGPL-3.0 and comes with: pip install 'marl-pricing[procurement]'

Settings:
"""

_WORLD = """Play a market day by day in which sellers and suppliers are agents of a NegMAS world.

usage: python -m marl_pricing.procurement world out=FOLDER [field=value …] [market.FIELD=value …]
       python -m marl_pricing.procurement world settings=FILE.yaml [field=value …]

A negotiator is {names},
a class of negmas.sao, or module:Class, yours; sellers also take `controller`, one utility for all their bargains, and
suppliers a class derived from marl_pricing.procurement.agents.Supplier.
NegMAS is under the AGPL-3.0 and comes with: pip install 'marl-pricing[procurement]'

The market is train.py's, with the settings market, traffic and experiment as there; where neither experiment nor
market/inventory is named, it has:
{base}

Settings:
"""


def _help(verb: str) -> str:
    from marl_pricing.config.command_line import settings_help
    from marl_pricing.procurement.negotiators import NAMES

    names = ", ".join(NAMES)
    if verb == "play":
        from marl_pricing.procurement.playing import PlaySettings

        told = settings_help(PlaySettings, {"out": "FOLDER"}, ("issues", "situation", "supply"))
        return _PLAY.format(names=names) + told
    if verb == "world":
        from marl_pricing.procurement.world_settings import BASE, WorldSettings

        base = "\n".join(f"  {own}" for own in BASE)
        return _WORLD.format(names=names, base=base) + settings_help(WorldSettings, {"out": "FOLDER"})
    return _USAGE.rstrip()


def _outcome(own: PlayedBargain, number: int) -> dict[str, Any] | None:
    """An outcome's issues, what it is worth to both and how far from the frontier it lies; None for none."""
    from marl_pricing import negotiation

    if number < 0:
        return None
    issues = {issue.name: value for issue, value in zip(own.space.issues, own.space.outcome(number), strict=True)}
    both = own.buyer.utility, own.supplier.utility
    return issues | {
        "buyer": float(both[0][number]),
        "supplier": float(both[1][number]),
        "distance_to_frontier": float(negotiation.distance_to_frontier(*both, number)),
    }


def _write(own: PlayedBargain, folder: Path) -> None:
    import numpy as np
    import pandas as pd

    from marl_pricing.presentation import style
    from marl_pricing.presentation.files import write_atomically
    from marl_pricing.procurement.figure import CAPTION, picture

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "trace.csv", own.trace.to_csv(index=False))
    names = [issue.name for issue in own.space.issues]
    on = np.flatnonzero(own.frontier)
    rows = pd.DataFrame([own.space.outcome(int(number)) for number in on], columns=names)
    rows["buyer"], rows["supplier"] = np.asarray(own.buyer.utility)[on], np.asarray(own.supplier.utility)[on]
    write_atomically(folder / "frontier.csv", rows.sort_values("buyer").to_csv(index=False))
    told = {
        "settings": own.settings.model_dump(),
        "ended": own.ended,
        "offers": len(own.trace),
        "reserved": {"buyer": float(own.buyer.reserved), "supplier": float(own.supplier.reserved)},
        "agreement": _outcome(own, own.agreement),
        "nash": _outcome(own, own.nash),
        "kalai_smorodinsky": _outcome(own, own.kalai_smorodinsky),
        "figure": CAPTION,
    }
    write_atomically(folder / "bargain.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    style.write(folder, "bargain", picture(own))


def _tell(own: PlayedBargain) -> list[str]:
    def line(name: str, number: int) -> str:
        found = _outcome(own, number)
        if found is None:
            return f"{name}: none"
        issues = ", ".join(f"{issue.name.replace('_', ' ')} {found[issue.name]:.4g}" for issue in own.space.issues)
        gains = found["buyer"] - float(own.buyer.reserved), found["supplier"] - float(own.supplier.reserved)
        whole = sum(gains)
        share = f", {gains[0] / whole:.0%} of the surplus is the buyer's" if min(gains) >= 0 < whole else ""
        return f"{name}: {issues}; the buyer gains {gains[0]:.4g}, the supplier {gains[1]:.4g}{share}"

    last = int(own.trace["round"].iloc[-1]) + 1 if len(own.trace) else 0
    agreed = _outcome(own, own.agreement)
    distance = "" if agreed is None else f", {agreed['distance_to_frontier']:.4g} from the frontier"
    return [
        f"{own.settings.buyer} buys from {own.settings.supplier}: {own.ended} after {last} of {own.settings.rounds} "
        f"rounds and {len(own.trace)} offers{distance}",
        line("agreement", own.agreement),
        line("Nash", own.nash),
        line("Kalai–Smorodinsky", own.kalai_smorodinsky),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play; exit status 2 and a line a fault on standard error where it cannot be done."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help") or given[1:2] in (["-h"], ["--help"]):
        print(_help(given[0] if given else ""))
        return 0
    if given[0] not in ("play", "world"):
        print(f"error: {given[0]}: accepted is play or world; --help lists the settings", file=sys.stderr)
        return 2
    return _play(given[1:]) if given[0] == "play" else _play_world(given[1:])


def _play(given: Sequence[str]) -> int:
    with say_errors():
        from marl_pricing.config.command_line import read_command_line
        from marl_pricing.config.errors import validate
        from marl_pricing.procurement.library import load
        from marl_pricing.procurement.playing import PlaySettings, play

        own = validate(PlaySettings, read_command_line(given, texts=("out", "buyer", "supplier")))
        pulse.doing("loading NegMAS")
        load()
        pulse.doing("bargaining")
        from marl_pricing.procurement import together

        if together.is_together(own):
            return _play_together(own)
        played = play(own)
        _write(played, Path(own.out))
    for told in _tell(played):
        print(told)
    for name in ("trace.csv", "frontier.csv", "bargain.json", "bargain.png"):
        print(f"{name.partition('.')[0] if name != 'bargain.png' else 'figure'}: {own.out}/{name}")
    return 0


def _play_together(own: PlaySettings) -> int:
    from marl_pricing.presentation import style
    from marl_pricing.presentation.files import write_atomically
    from marl_pricing.procurement import together

    played = together.play_together(own)
    folder = Path(own.out)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "trace.csv", played.trace.to_csv(index=False))
    agreed = [
        None
        if number < 0
        else dict(zip((i.name for i in played.space.issues), played.space.outcome(number), strict=True))
        for number in played.agreements
    ]
    told = {
        "settings": own.model_dump(),
        "reserved": played.reserved,
        "worth": played.worth,
        "best_alone": played.alone,
        "suppliers": [
            {"supplier": name, "ended": how, "agreement": terms, "gain": gain}
            for name, how, terms, gain in zip(played.names, played.ends, agreed, played.gains, strict=True)
        ],
        "figure": together.CAPTION,
    }
    write_atomically(folder / "bargain.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    style.write(folder, "bargain", together.picture(played))
    for supplier, (name, how, terms, gain) in enumerate(
        zip(played.names, played.ends, agreed, played.gains, strict=True)
    ):
        issues = "" if terms is None else ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in terms.items())
        print(f"supplier {supplier}, {name}: {how}" + (f", {issues}; it gains {gain:.4g}" if issues else ""))
    print(
        f"the buyer gains {played.worth - played.reserved:.4g}; "
        f"with the best of these contracts alone {played.alone - played.reserved:.4g}"
    )
    for kind, name in (("trace", "trace.csv"), ("bargain", "bargain.json"), ("figure", "bargain.png")):
        print(f"{kind}: {own.out}/{name}")
    return 0


def _play_world(given: Sequence[str]) -> int:
    with say_errors():
        import random
        import time

        import numpy as np

        from marl_pricing.config.command_line import read_command_line
        from marl_pricing.config.errors import validate
        from marl_pricing.procurement.library import load
        from marl_pricing.procurement.world_settings import WorldSettings, build_scene, split

        own_settings, market = split(given)
        read = read_command_line(own_settings, texts=("out", "policy", "seller"))
        own = validate(WorldSettings, read | ({"overrides": [*read.get("overrides", []), *market]} if market else {}))
        pulse.doing("loading NegMAS")
        load()
        from marl_pricing.procurement.agents import check

        check(own.seller, [own.suppliers] if isinstance(own.suppliers, str) else own.suppliers)
        pulse.doing("building the market")
        scene = build_scene(own)
        from marl_pricing.procurement import world_files
        from marl_pricing.procurement.world import SupplyWorld

        random.seed(own.seed)
        np.random.seed(own.seed)  # noqa: NPY002  NegMAS's negotiators draw from it
        world = SupplyWorld(scene, own.seller, own.days, own.seed)
        begun = time.perf_counter()
        pulse.listen(lambda: f"day {min(world.current_step + 1, own.days)} of {own.days}")
        world.run()
        took = time.perf_counter() - begun
        told = world_files.write(world, own, Path(own.out))
    for line in world_files.tell(told):
        print(line)
    for name in ("contracts.csv", "breaches.csv", "bargains.csv", "stock.csv", "world.json"):
        print(f"{name.partition('.')[0] if name != 'world.json' else 'summary'}: {own.out}/{name}")
    print(f"figure: {own.out}/world.png")
    print(f"{own.days / took:.0f} days a second, what was compiled on the first included")
    return 0


if __name__ == "__main__":
    run_command(main)
