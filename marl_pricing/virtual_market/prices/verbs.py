"""What `python -m marl_pricing.virtual_market prices` can do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from marl_pricing.config.errors import Settings, refuse
from marl_pricing.virtual_market.verb import Verb, part_of


class LogSettings(Settings):
    """A log of prices to be read."""

    log: str = Field(description="the log: CSV (also .gz), Excel or Parquet, a row a session")
    mapping: str | None = Field(None, description="YAML file that says what the columns are; null: simulate's names")


class JudgeSettings(LogSettings):
    """Learned shoppers to be looked at."""

    model: str = Field(description="folder of a model")
    truth: str | None = Field(None, description="folder that simulate left; null: the truth is not known")
    out: str | None = Field(None, description="JSON file for what is printed; null: none")


Cost = Annotated[float, Field(ge=0)]


class MarketSettings(Settings):
    """A market to be written."""

    model: str = Field(description="folder of a model")
    out: str = Field(description="the market's file, for train.py market=calibrated market.path=FILE")
    unit_cost: Cost | list[Cost] = Field(description="money a unit: one for all, or a list by offer; no log tells it")
    levels: Annotated[int, Field(ge=2, le=1000)] = Field(15, description="prices, from the log's lowest to its highest")
    member: Annotated[int, Field(ge=0)] = Field(0, description="of the ensemble; 0 saw all days")


def _simulation() -> type[Settings]:
    from marl_pricing.virtual_market.prices.simulate import SimulationSettings

    return SimulationSettings


def _fitting() -> type[Settings]:
    from marl_pricing.virtual_market.prices.fit import FitSettings

    class FittingSettings(LogSettings, FitSettings):
        """A log, how its shoppers are learned, and where the model goes."""

        out: str = Field(description="folder of the model; one that is there is replaced")

    return FittingSettings


def _simulate(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.prices.log import summary
    from marl_pricing.virtual_market.prices.simulate import leave, simulate

    found = simulate(own)
    yield from summary(found.log)
    for kind, path in zip(("log", "truth"), leave(own, found), strict=True):
        yield f"{kind}: {path}"


def _log(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.prices.log import summary

    yield from summary(_read(own))


def _read(own: Any) -> Any:
    from marl_pricing.virtual_market.prices.log import read_log, read_mapping

    return read_log(own.log, read_mapping(own.mapping))


def _fit(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.prices.fit import FitSettings, fit
    from marl_pricing.virtual_market.prices.model import KEPT, PriceModel, described

    KEPT.refuse(own.out)  # before learning
    how = part_of(own, FitSettings)
    model = PriceModel(how, fit(_read(own), how))
    yield from described(model.fitted)
    yield f"model: {model.save(own.out)}"


def _judge(own: Any) -> Iterable[str]:
    from pathlib import Path

    from marl_pricing.presentation.files import write_atomically
    from marl_pricing.virtual_market.errors import ModelError
    from marl_pricing.virtual_market.prices.judge import Known, as_json, judged
    from marl_pricing.virtual_market.prices.model import load_model
    from marl_pricing.virtual_market.prices.truth import read_truth

    fitted, log = load_model(own.model).fitted, _read(own)
    known = None if own.truth is None else Known(*read_truth(own.truth))
    for where, offers in ((own.log, log.offers), (own.truth, known.market.offers if known else log.offers)):
        if offers != fitted.offers:
            accepted = f"accepted are the model's, {', '.join(fitted.offers)}"
            raise ModelError(f"{where}: offers are {', '.join(offers)}; {accepted}")
    table, lines = judged(fitted, log, known)
    yield table.round(4).to_string(index=False)
    yield from lines
    if own.out is not None:
        yield f"written: {write_atomically(Path(own.out), as_json(table, lines))}"


def _market(own: Any) -> Iterable[str]:
    from marl_pricing.virtual_market.prices.model import load_model, market_settings, train_settings, write_market

    model = load_model(own.model)
    count = len(model.fitted.offers)
    if isinstance(own.unit_cost, list) and len(own.unit_cost) != count:
        raise refuse("unit_cost", own.unit_cost, f"a number, or a list of {count}")
    settings = market_settings(model.fitted, own.unit_cost, own.levels, own.member)
    path = write_market(own.out, model, settings, own.member)
    visitors = train_settings(model.fitted, own.member)
    told = " ".join(f"traffic.{name}={value}" for name, value in visitors.items() if name != "model")
    yield f"market: {path}"
    yield f"train with: python train.py market=calibrated market.path={path} traffic={visitors['model']} {told}"


VERBS = {
    "simulate": Verb(
        "a log of prices shown and orders with known truth", _simulation, {"out": "FOLDER"},
        ("out", "start", "experiment"), _simulate,
    ),
    "log": Verb(
        "read a log and say what is in it", lambda: LogSettings, {"log": "FILE"}, ("log", "mapping"), _log
    ),
    "fit": Verb(
        "learn the shoppers of a log", _fitting, {"log": "FILE", "out": "FOLDER"}, ("log", "mapping", "out"), _fit
    ),
    "judge": Verb(
        "what learned shoppers buy by price, beside a naive regression and the truth", lambda: JudgeSettings,
        {"model": "FOLDER", "log": "FILE"}, ("model", "log", "mapping", "truth", "out"), _judge,
    ),
    "market": Verb(
        "a market of learned shoppers that train.py trains sellers in", lambda: MarketSettings,
        {"model": "FOLDER", "out": "FILE", "unit_cost": "MONEY"}, ("model", "out"), _market,
    ),
}  # fmt: skip
