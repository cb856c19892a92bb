"""A market of ours as the truth behind a log: its shoppers, of whom everything is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from marl_pricing.config import read_settings
from marl_pricing.config.composing import compose_settings
from marl_pricing.config.errors import ConfigError, Settings, refuse, validate
from marl_pricing.config.market import Market, MarketSettings, Traffic, build_market
from marl_pricing.intake import IntakeError, plain
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.traffic import Conditions
from marl_pricing.traffic.analytic import expected_orders
from marl_pricing.traffic.each import refuse_unlogged
from marl_pricing.virtual_market.errors import LogError

TRUTH = "truth.json"
_POINTS = 9  # prices of a curve


class TruthSettings(Settings):
    """Which market, and how its prices and its demand move while it is logged."""

    experiment: str = Field("logit_duopoly", description="whose market: a file of conf/experiment")
    overrides: list[str] = Field([], description="of it, as train.py takes them: [market.demand.scale=0.3]")
    sessions: Annotated[int, Field(ge=1, le=100_000)] = Field(200, description="an epoch")
    low: Annotated[float, Field(gt=0)] | None = Field(
        None, description="lowest price shown, money; null: the lowest that the experiment allows"
    )
    high: Annotated[float, Field(gt=0)] | None = Field(None, description="highest; null likewise")
    spread: Annotated[float, Field(ge=0, le=3)] = Field(
        0.3, description="standard deviation of each offer's log attraction, which the log does not show"
    )
    lasting: Annotated[float, Field(ge=0, lt=1)] = Field(0.98, description="its autocorrelation from epoch to epoch")
    daily: Annotated[float, Field(ge=0)] = Field(
        0.3, description="standard deviation of the day's prices, of half the range between lowest and highest"
    )
    within: Annotated[float, Field(ge=0)] = Field(0.4, description="the same from epoch to epoch of one day")
    confounding: Annotated[float, Field(ge=0)] = Field(
        0.6, description="how prices follow demand: halves of the range for one standard deviation; 0: they do not look"
    )

    @model_validator(mode="after")
    def _range(self) -> TruthSettings:
        if self.low is not None and self.high is not None and self.high <= self.low:
            raise refuse("high", self.high, f"a price above low={self.low!r}")
        if self.confounding and not self.spread:
            raise refuse("spread", self.spread, f"above 0 with confounding={self.confounding!r}: nothing to follow")
        return self


class TrueMarket(NamedTuple):
    """The market behind a log.

    Attributes:
        shape, params: with stock for everybody, prices anywhere between `low` and `high` [N] money.
        offers: [N] names.
        settings: of market and traffic, as configurations have them.
    """

    shape: MarketShape
    params: MarketParams
    low: np.ndarray
    high: np.ndarray
    offers: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def expected(self) -> tuple[MarketShape, MarketParams]:
        """What is computed of it needs no bank of sessions, whose numbers are many."""
        return self.shape, self.params.replace(traffic=self.params.traffic.without_bank())


def true_market(own: TruthSettings) -> TrueMarket:
    """The market that a log is of.

    Raises:
        ConfigError: for an experiment whose sessions cannot be logged one by one.
    """
    told = [override for override in own.overrides if not override.startswith(("market", "traffic", "worlds"))]
    if told:
        raise refuse("overrides", told[0], "market.… or traffic.…")
    data = compose_settings([f"experiment={own.experiment}", *own.overrides])
    if data.pop("study", None) is not None:
        raise refuse("experiment", own.experiment, "the experiment of one run; this one is a study, several runs")
    data.pop("resume", None)
    given = read_settings(data)
    ends = build_market(given.market, given.traffic).params.prices
    low, high = (np.asarray(end, float) for end in (ends.low, ends.high))
    low = low if own.low is None else np.full_like(low, own.low)
    high = high if own.high is None else np.full_like(high, own.high)
    if (high <= low).any():
        raise refuse("high", own.high, f"above the lowest price, {low.max():g}")
    level = {"persistence": own.lasting, "volatility": own.spread * float(np.sqrt(1 - own.lasting**2))}
    market = given.market.model_dump() | {
        "inventory": {"rule": "unlimited"},
        "prices": {"map": "range", "low": low.tolist(), "high": high.tolist()},
        **({"level": level} if own.spread else {}),
    }
    visitors = given.traffic.model_dump() | {"sessions_per_epoch": own.sessions}
    if given.traffic.model == "analytic":
        visitors |= {"random_orders": True, "order_law": "multinomial"}
    built = build_market(validate(MarketSettings, market, "market"), validate(Traffic, visitors, "traffic"))
    _refuse(own, built)
    names = [f"seller_{number}" for number in range(built.shape.num_sellers)]
    each = built.shape.num_products
    offers = tuple(f"{name}:product_{k}" if each > 1 else name for name in names for k in range(each))
    return TrueMarket(*built, low, high, offers, {"market": market, "traffic": visitors})


def _refuse(own: TruthSettings, built: Market) -> None:
    where = f"experiment={own.experiment!r}"
    try:
        refuse_unlogged(built.shape.traffic)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    shape = built.shape
    for name, there in (("market.patience", shape.demand.waits), ("market.bankruptcy", shape.bankruptcy)):
        if there:
            raise ConfigError(f"{where}: {name}: accepted is none: a session of the log comes once, and all are shown")
    if shape.traffic.purchase_slots > 1:
        raise ConfigError(f"{where}: traffic.kernels: accepted are kernels whose sessions end with their purchase")


@partial(jax.jit, static_argnames="shape")
def _units_at(shape: MarketShape, params: MarketParams, prices: jax.Array, level: jax.Array) -> jax.Array:
    own, everything = params.traffic, jnp.ones((shape.num_offers,), bool)
    rate = own.session_orders(own.agent_share)

    def one(at: jax.Array) -> jax.Array:
        found = Conditions(at, level, everything, params.demand.scale)
        return expected_orders(shape.traffic, shape.demand, params.demand, found, own.agent_share, rate).sum(0)

    return jax.lax.map(one, prices) / shape.traffic.sessions


def propensities_of(
    shape: MarketShape, params: MarketParams, prices: np.ndarray, level: np.ndarray | float = 1.0
) -> np.ndarray:
    """Units [..., N] that a session orders on average at prices [..., N].

    Args:
        level: [N] of demand, 1 in the long run.
    """
    bare = params.replace(traffic=params.traffic.without_bank())
    flat = jnp.asarray(np.reshape(prices, (-1, shape.num_offers)), jnp.float32)
    at = jnp.asarray(np.broadcast_to(level, shape.num_offers), jnp.float32)
    return np.asarray(_units_at(shape, bare, flat, at), float).reshape(prices.shape)


def curve_prices(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[N, K, N] each offer's own prices from its lowest to its highest, all others in the middle."""
    middle = 0.5 * (low + high)
    prices = np.tile(middle, (len(low), _POINTS, 1))
    for offer in range(len(low)):
        prices[offer, :, offer] = np.linspace(low[offer], high[offer], _POINTS)
    return prices


def told_of(own: Mapping[str, Any], found: TrueMarket, level: np.ndarray) -> dict[str, Any]:
    """What `truth.json` says; level [N]: of demand, the geometric mean over the log."""
    prices = curve_prices(found.low, found.high)
    curves = propensities_of(found.shape, found.params, prices, level)
    return {
        "settings": dict(own),
        "offers": list(found.offers),
        "level": level.round(6).tolist(),
        "own_price": {name: prices[n, :, n].round(5).tolist() for n, name in enumerate(found.offers)},
        "units_a_session": {name: curves[n, :, n].round(6).tolist() for n, name in enumerate(found.offers)},
    }


def read_truth(folder: Path | str) -> tuple[TrueMarket, np.ndarray]:
    """The market behind a log that `simulate` left, and the level of demand [N] in it, its geometric mean.

    Raises:
        LogError: for a folder without a whole truth.json.
    """
    path = Path(folder) / TRUTH
    try:
        data = plain.read_json(path)
    except IntakeError as error:
        raise LogError(str(error)) from None
    given = data.get("settings") if isinstance(data, dict) else None
    if not isinstance(given, dict):
        raise LogError(f"{path}: accepted is a {TRUTH} that prices simulate wrote")
    own = {name: value for name, value in given.items() if name in TruthSettings.model_fields}
    found = true_market(validate(TruthSettings, own))
    level = data.get("level")
    if not isinstance(level, list) or len(level) != len(found.offers):
        raise LogError(f"{path}: level={level!r}: accepted is a list of {len(found.offers)}")
    return found, np.asarray(level, float)
