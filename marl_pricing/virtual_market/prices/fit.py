"""Learning shoppers from a log of prices: the likeliest law that the market can play, an ensemble over days, checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
from pydantic import Field
from scipy import stats

from marl_pricing.config.errors import Settings
from marl_pricing.presentation import pulse
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.prices import law
from marl_pricing.virtual_market.prices.law import Free, Rows, Scales, Solved
from marl_pricing.virtual_market.prices.log import Cells, PriceLog, cells_of

_FEWEST_DAYS = 8
_STEPS = 8  # of expectation–maximisation, for τ
_FLAT, _START = 0.02, 0.3  # least τ, and the first
_LEVEL = 0.95
CLASSES = ("people", "agents")


class FitSettings(Settings):
    """How shoppers are learned."""

    effects: Literal["day", "none"] = Field(
        "day", description="day: what moves an offer's demand from day to day is told from its price; none: prices do "
        "not follow demand",
    )  # fmt: skip
    family: Literal["auto", "logit", "buyers", "nested"] = Field(
        "auto", description="logit; buyers: only a share of the sessions would buy at any price; nested: offers are "
        "more alike than nothing is; auto: what the log tells (BIC)",
    )  # fmt: skip
    members: Annotated[int, Field(ge=2, le=256)] = Field(
        20, description="of the ensemble; the first sees every day, the others days drawn with replacement"
    )
    block: Annotated[int, Field(ge=1, le=365)] = Field(
        7, description="days in a row that are drawn together, since demand lasts from day to day"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of the days that are drawn")


class Shoppers(NamedTuple):
    """One class, as the market has it. K members, N offers.

    Attributes:
        quality: [K, N] money.  scale: [K] money, of which −1/scale is the slope.  nesting: [K].
        rate: [K] units of a session that would buy, times the share of those.
        volatility, persistence: [K, N], [K] of the latent level of demand, day by day.
        family: of `FitSettings`.
        misfit: p-value of the family against a richer law.  missed: how far the two are apart, mean over the
            log's sessions, units.
        pooled: slope with effects=none over that with effects=day; NaN where there are no effects.
        share: of the log's sessions.
    """

    quality: np.ndarray
    scale: np.ndarray
    nesting: np.ndarray
    rate: np.ndarray
    volatility: np.ndarray
    persistence: np.ndarray
    family: str
    misfit: float
    missed: float
    pooled: float
    share: float


class FittedPrices(NamedTuple):
    """What was learned of a log.

    Attributes:
        classes: people, or people and agents.
        offers: [N] names.  low, high, middle: [N] money, prices shown: lowest, highest, mean.
        sessions: of days with the same prices, on average.  epochs: of such in a day.
    """

    classes: tuple[Shoppers, ...]
    offers: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    middle: np.ndarray
    sessions: float
    epochs: float


def refuse_untold(log: PriceLog, own: FitSettings) -> None:
    """Raise LogError for a log that cannot tell how orders answer to prices, whatever is estimated."""
    if len(log.dates) < _FEWEST_DAYS:
        raise LogError(f"the log has {len(log.dates)} days; accepted are at least {_FEWEST_DAYS}")
    for place, offer in enumerate(log.offers):
        prices = log.prices[:, place]
        if prices.max() <= prices.min() * (1 + 1e-6):
            raise LogError(
                f"price of {offer}: is {prices[0]:.4g} in all {len(prices):,} sessions: how orders answer to it is not "
                "known; accepted is a price that moved"
            )
        if not (log.bought == place).any():
            raise LogError(f"{offer}: nobody bought it in {len(prices):,} sessions; accepted is at least one order")
        if own.effects == "day" and len(np.unique(np.column_stack([log.day, prices]), axis=0)) == len(log.dates):
            raise LogError(
                f"price of {offer}: never differs between sessions of one day, so that what it does is not told from "
                "what else moved demand that day; accepted is effects=none, if prices did not follow demand"
            )


def fit(log: PriceLog, own: FitSettings) -> FittedPrices:
    """Learn the shoppers of a log.

    Raises:
        LogError: for a log that does not tell how orders answer to prices.
    """
    refuse_untold(log, own)
    each = [np.ones(len(log.sessions), bool)]
    if log.agent is not None and log.agent.any():
        each = [~log.agent, log.agent]
    if not all(rows.any() for rows in each):
        raise LogError("agent: is 1 in every session; accepted is a log with people's sessions")
    classes = []
    with jax.enable_x64(True):
        for name, rows in zip(CLASSES, each, strict=False):
            pulse.doing(f"learning {name}")
            classes.append(_shoppers(cells_of(log.of(rows)), len(log.dates), own, name, float(rows.mean())))
    cells = cells_of(log)
    middle = np.average(cells.prices, axis=0, weights=cells.counts.sum(1))
    return FittedPrices(
        tuple(classes), log.offers, log.prices.min(0), log.prices.max(0), middle,
        len(log.sessions) / len(cells.day), len(cells.day) / len(log.dates),
    )  # fmt: skip


def _likeliest(rows: Rows, days: int, free: Free, start: Any) -> Solved:
    weight = np.ones(days)
    solved = law.solve(rows, start, free, _START, weight)
    for _ in range(_STEPS if free.days else 0):
        spread = max(law.spread_of_days(solved, rows), _FLAT)
        near = abs(spread / solved.spread - 1) < 0.02
        solved = law.solve(rows, solved.found, free, spread, weight)
        if near:
            break
    return solved


_FAMILIES = {"logit": Free(), "buyers": Free(buyers=1.0), "nested": Free(nest=1.0)}


def _chosen(rows: Rows, days: int, own: FitSettings) -> tuple[str, Solved]:
    """The family that was asked for, or that of the least BIC, at its most likely."""
    effects = float(own.effects == "day")
    found: dict[str, Solved] = {}
    start = law.start_of(rows, days)
    for name, free in _FAMILIES.items():
        if own.family in ("auto", name):
            found[name] = _likeliest(rows, days, free._replace(days=effects), start)
            start = found[name].found if name == "logit" else start
    dearer = 0.5 * np.log(float(np.asarray(rows.counts).sum()))  # of one more number
    worth = {name: law.evidence(one, rows) - dearer * (name != "logit") for name, one in found.items()}
    best = max(worth, key=lambda name: worth[name])
    return best, found[best]


def _shoppers(cells: Cells, days: int, own: FitSettings, name: str, share: float) -> Shoppers:
    rows, scales = law.rows_of(cells, days)
    family, first = _chosen(rows, days, own)
    rng = np.random.default_rng(own.seed)
    there = np.flatnonzero(np.bincount(cells.day, minlength=days))
    members, weights = [first], [np.bincount(there, minlength=days).astype(float)]
    for _ in range(1, own.members):
        weights.append(np.bincount(there[_blocks(rng, len(there), own.block)], minlength=days).astype(float))
        members.append(law.solve(rows, first.found, first.free, first.spread, weights[-1]))
    slopes = np.array([float(member.found.slope) for member in members]) / scales.scale
    reach = reach_of(slopes)
    if not slopes[0] - reach > 0 or (slopes <= 0).any():
        raise LogError(
            f"prices: demand of {name} is not known to fall with them: the slope is {-slopes[0]:.3g} a unit of money, "
            f"interval {-slopes[0] - reach:.3g} to {-slopes[0] + reach:.3g}; accepted is a log that tells more, of "
            "more sessions or of prices that moved more"
        )
    richer = law.solve(rows, first.found, first.free._replace(bends=1.0), first.spread, np.ones(days))
    extra = rows.features.shape[-1] - 1  # one of the offers' own slopes is the law's own
    misfit = float(stats.chi2.sf(2 * (richer.value - first.value), extra))
    ours, theirs = (np.asarray(law.choice(one.found, rows, one.free))[:, 1:] for one in (first, richer))
    missed = np.average(np.abs(ours - theirs).mean(1), weights=cells.counts.sum(1))
    pooled = np.nan
    if own.effects == "day":
        alone = law.solve(rows, first.found, first.free._replace(days=0.0), first.spread, np.ones(days))
        pooled = float(alone.found.slope / first.found.slope)
    units = [_units(cells, weight) for weight in weights]
    played = [_as_played(member, rows, scales, weight) for member, weight in zip(members, weights, strict=True)]
    return Shoppers(
        quality=np.stack([one.quality for one in played]),
        scale=np.array([one.scale for one in played]),
        nesting=np.array([one.nesting for one in played]),
        rate=np.array([one.buyers * more for one, more in zip(played, units, strict=True)]),
        volatility=np.stack([one.volatility for one in played]),
        persistence=np.array([one.persistence for one in played]),
        family=family,
        misfit=misfit,
        missed=float(missed * units[0]),
        pooled=pooled,
        share=share,
    )


def reach_of(members: np.ndarray) -> float:
    """Half a 95 % interval of what the first of [K] members says, by what the others, of other days, say."""
    error = float(members[1:].std(ddof=1)) if len(members) > 2 else abs(members[1] - members[0])
    return float(stats.norm.ppf(0.5 + _LEVEL / 2)) * error


def _blocks(rng: np.random.Generator, days: int, length: int) -> np.ndarray:
    """[days] days in blocks that begin anywhere, the first day after the last (Politis and Romano 1992)."""
    length = min(length, max(days // 4, 1))
    begin = rng.integers(0, days, -(-days // length))
    return ((begin[:, None] + np.arange(length)).reshape(-1) % days)[:days]


def _units(cells: Cells, weight: np.ndarray) -> float:
    """Units of a session that buys."""
    each = weight[cells.day]
    return float((each @ cells.units).sum() / max((each @ cells.counts[:, 1:]).sum(), 1e-12))


class _Played(NamedTuple):
    """A member as the market has it: fields of `Shoppers`, and the share of sessions that would buy."""

    quality: np.ndarray
    scale: float
    nesting: float
    buyers: float
    volatility: np.ndarray
    persistence: float


def _as_played(one: Solved, rows: Rows, scales: Scales, weight: np.ndarray) -> _Played:
    """The same in the market's terms.

    The market's level has mean 1, so that the log level has − half its variance for a mean; what the days of the log
    had on average is part of an offer's quality.

    Args:
        weight: [D] how often each day was drawn.
    """
    scale = scales.scale / float(one.found.slope)
    base = np.asarray(one.found.base, float)
    volatility, persistence = np.zeros(len(base)), 0.0
    if one.free.days:
        means = np.zeros((len(weight), len(base)))
        means[np.asarray(rows.day)] = np.asarray(rows.mean)
        level = np.asarray(one.found.follows) * means + np.asarray(one.found.day)
        usual = np.average(level, axis=0, weights=weight)
        base, level = base + usual, level - usual
        volatility = np.sqrt(np.average(level**2, axis=0, weights=weight))
        base = base + 0.5 * volatility**2
        both = (weight[1:] * weight[:-1])[:, None]  # days without sessions or not drawn tell nothing
        pairs = (both * level[1:] * level[:-1]).sum(), 0.5 * (both * (level[1:] ** 2 + level[:-1] ** 2)).sum()
        persistence = float(np.clip(pairs[0] / max(pairs[1], 1e-12), 0.0, 0.99))
    nesting, buyers = (float(of(one.found, one.free)) for of in (law.nesting_of, law.buyers_of))
    return _Played(scales.middle + scale * base, scale, nesting, buyers, volatility, persistence)
