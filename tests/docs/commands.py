"""Command lines as they are shown, and which settings each of them has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from marl_pricing.config.errors import setting_names
from tests.docs.blocks import BLOCKS

# What begins a line that is typed. Blocks without a language also hold layouts of folders and what commands answer.
_TYPED = re.compile(r"(python|marl-pricing|make|pip|docker|tensorboard)\s")
# Verbs of the console script are modules, which are shown as `python -m` too.
_MODULES = {
    "calibrate": "marl_pricing.calibration", "pricelist": "marl_pricing.pricelist", "logs": "marl_pricing.traffic.logs",
    "export": "marl_pricing.export", "procurement": "marl_pricing.procurement", "serve": "marl_pricing.serving",
    "virtual-market": "marl_pricing.virtual_market", "tune": "marl_pricing.studies.tune",
    "stock": "marl_pricing.studies.stock", "tabular-q": "marl_pricing.studies.tabular_q",
}  # fmt: skip


class Command(NamedTuple):
    """A line that is typed: the page that shows it, what is called (`train`, a module, a program), its arguments."""

    page: str
    called: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.called} {shlex.join(self.arguments)}"


def _command(page: str, line: str) -> Command:
    words = shlex.split(line, comments=True)
    words = words[: min(words.index(own) if own in words else len(words) for own in (">", "|"))]
    if words[:2] == ["python", "-m"]:
        return Command(page, words[2], tuple(words[3:]))
    if words[0] == "python":
        return Command(page, words[1].removesuffix(".py"), tuple(words[2:]))
    if words[:4] == ["docker", "compose", "run", "--rm"]:
        return Command(page, words[4], tuple(words[5:]))
    if words[0] == "marl-pricing":
        return Command(page, _MODULES.get(words[1], words[1]), tuple(words[2:]))
    return Command(page, words[0], tuple(words[1:]))


COMMANDS = [
    _command(block.page, line)
    for block in BLOCKS
    if block.language in ("", "sh", "bash", "shell")
    for line in block.text.replace("\\\n", " ").splitlines()
    if _TYPED.match(line)
]


def _evaluation() -> type:
    from marl_pricing.commands.evaluate import EvaluationSettings

    return EvaluationSettings


def _serving(verb: str) -> type:
    from marl_pricing.serving.promoting import VERBS
    from marl_pricing.serving.settings import ServeSettings

    return VERBS[verb][0] if verb in VERBS else ServeSettings


def _serving_trial(verb: str) -> type:
    from marl_pricing.serving.trial.__main__ import VERBS

    return VERBS[verb][0]


def _procurement(verb: str) -> type:
    from marl_pricing.procurement.playing import PlaySettings
    from marl_pricing.procurement.world_settings import WorldSettings

    return {"play": PlaySettings, "world": WorldSettings}[verb]


def _virtual_market(verb: str) -> type:
    from marl_pricing.virtual_market.verbs import VERBS

    return VERBS[verb].settings()


def _prices(verb: str) -> type:
    from marl_pricing.virtual_market.prices.verbs import VERBS

    return VERBS[verb].settings()


def _of(module: str, name: str) -> Callable[..., type]:
    def found(*_: Any) -> type:
        return getattr(__import__(module, fromlist=[name]), name)

    return found


# By what is called: the settings that it takes; those with verbs of their own are told the verb.
MODELS: dict[str, Callable[..., type]] = {
    "evaluate": lambda *_: _evaluation(),
    "marl_pricing.calibration": _of("marl_pricing.calibration.settings", "CalibrationSettings"),
    "marl_pricing.pricelist": _of("marl_pricing.pricelist.settings", "PriceListSettings"),
    "marl_pricing.export": _of("marl_pricing.export.export", "ExportSettings"),
    "marl_pricing.procurement": _procurement,
    "marl_pricing.serving": _serving,
    "marl_pricing.serving.trial": _serving_trial,
    "marl_pricing.serving.shoppers": _of("marl_pricing.serving.shoppers.__main__", "ShopperSettings"),
    "marl_pricing.virtual_market": _virtual_market,
    "marl_pricing.virtual_market prices": _prices,
    "marl_pricing.studies.tune": _of("marl_pricing.studies.tune", "TuneSettings"),
    "marl_pricing.studies.tabular_q": _of("marl_pricing.studies.tabular_q", "TabularQSettings"),
}
# What has no settings as field=value: options of argparse, a target, a package.
OTHERS = {
    "make", "pip", "tensorboard", "tests.attacks", "marl_pricing.traffic.logs", "marl_pricing.studies.stock", "runs",
    "benchmarks", "benchmarks.silences",
}  # fmt: skip
OF_MARKETS = ("train", "describe")  # whose settings Hydra puts together


def unknown_settings(own: Command) -> list[str]:
    """Arguments `field=value` of a command whose field it has not."""
    verbs = [word for word in own.arguments if "=" not in word and not word.startswith("-")]
    called = own.called
    if verbs and f"{called} {verbs[0]}" in MODELS:  # verbs that have verbs of their own
        called = f"{called} {verbs.pop(0)}"
    names = setting_names(MODELS[called](verbs[0] if verbs else "")) | {"settings", "mapping"}
    fields = [word.partition("=")[0] for word in own.arguments if "=" in word and not word.startswith("-")]
    return [field for field in fields if field not in names and not field.startswith("market.")]
