"""Files of settings that commands are told of: markets, mappings, kernels, settings, studies, evaluations."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.attacks import corruptions
from tests.attacks.corruptions import Broken
from tests.attacks.outcome import ROOT, Attempt

_SALES_MAPPING = "product: item\nperiod: week\nunits: sold\nprice: paid\nkeep: {kind: [a, b]}\ndecimal: ','\n"
_LOG_MAPPING = "session: s\ntime: t\nevent: e\nprice: p\nlabel: who\nhuman: [h]\nagent: [a]\nevents: {b: purchase}\n"
_SETTINGS = "data: sales.csv\nout: folder\nperiod: week\nmargin: 0.3\nleave_out: [a]\njudging: {bad_share: 0.1}\n"
_FUNNEL = "Administrative,Informational,ProductRelated,Revenue\n" + "0,0,3,FALSE\n1,0,12,TRUE\n,2,5,FALSE\n" * 5
_KERNELS = """human: {session_start: {view_item: 0.7, search: 0.3}, search: {session_end: 1.0},
  view_item: {purchase: 0.2, session_end: 0.8}, purchase: {session_end: 1.0}}
agent: {session_start: {view_item: 1.0}, view_item: {view_item: 0.5, purchase: 0.1, session_end: 0.4},
  purchase: {session_end: 1.0}}
"""


def market(path: Path) -> None:
    """As market.path reads it."""
    from marl_pricing.config.calibrated import read_market_file
    from marl_pricing.config.errors import validate
    from marl_pricing.config.market_settings import MarketSettings

    validate(MarketSettings, read_market_file(str(path)), "market")


def sales_mapping(path: Path) -> None:
    """As a calibration's mapping."""
    from marl_pricing.calibration.mapping import read_mapping

    read_mapping(path)


def log_mapping(path: Path) -> None:
    """As a log's mapping."""
    from marl_pricing.traffic.logs.schemas import from_mapping

    from_mapping(path)


def settings(path: Path) -> None:
    """As the settings of a calibration."""
    from marl_pricing.calibration.__main__ import read_settings

    read_settings([f"settings={path}"])


def kernels(path: Path) -> None:
    """As traffic.kernels."""
    from marl_pricing.config.behaviour import read_kernels

    read_kernels(str(path))


def funnel(path: Path) -> None:
    """As traffic.human.match."""
    from marl_pricing.traffic.funnels import read_funnel

    read_funnel(path)


def study(path: Path) -> None:
    """As the study of a folder that an older version left."""
    from marl_pricing.config.study import open_study

    open_study(path.parent)


def _put(path: Path, broken: Broken, call: Callable[[Path], Any]) -> None:
    from marl_pricing.doors import say_errors
    from marl_pricing.traffic.funnels import FunnelError
    from marl_pricing.traffic.logs import LogError

    path.parent.mkdir()
    try:
        corruptions.put(path, broken)
        with say_errors(LogError, FunnelError):
            call(path)
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)


def _study_text() -> str:
    import yaml

    from tests.doors.compose import settings as composed

    return yaml.safe_dump(composed("experiment=robustness_study"), sort_keys=False)


def attempts(folder: Path, seed: int, share: float) -> Iterator[Attempt]:
    """Each kind of file, broken as text and as a tree."""
    drawn = random.Random(seed)
    grocery = sorted((ROOT / "tests").rglob("market.yaml")) or sorted((ROOT / "examples").rglob("market.yaml"))
    texts: dict[Callable[[Path], Any], str] = {
        sales_mapping: _SALES_MAPPING, log_mapping: _LOG_MAPPING, settings: _SETTINGS, kernels: _KERNELS,
        study: _study_text(), funnel: _FUNNEL,
    }  # fmt: skip
    if grocery:
        texts[market] = grocery[0].read_text(encoding="utf-8")
    number = 0
    for call, text in texts.items():
        content = text.encode()
        found = [*corruptions.fixed(content), *corruptions.drawn(content, drawn, 16)]
        shape = corruptions.csv_shaped if call is funnel else corruptions.yaml_shaped
        found += [*shape(content, drawn, 40)]
        for broken in drawn.sample(found, round(share * len(found))):
            name = "study.yaml" if call is study else "file.yaml"
            path, number = folder / str(number) / name, number + 1
            yield Attempt(
                f"settings file: {call.__name__.replace('_', ' ')}", broken.told, partial(_put, path, broken, call),
                names="" if call in (market, settings, study) else name, lines=100,
            )  # fmt: skip


def first() -> None:
    """Import what reading takes."""
    from marl_pricing import config  # noqa: F401
    from marl_pricing.calibration import mapping  # noqa: F401
    from marl_pricing.traffic import funnels, logs  # noqa: F401
