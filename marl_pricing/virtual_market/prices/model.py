"""Learned shoppers: as a folder, and as a market that sellers are trained in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from marl_pricing.config.calibrated import FORMAT
from marl_pricing.config.errors import ConfigError, refuse, validate
from marl_pricing.config.market import Market, market_from
from marl_pricing.presentation.files import write_atomically
from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.folder import Kept
from marl_pricing.virtual_market.prices.fit import FitSettings, FittedPrices, Shoppers, reach_of

KEPT = Kept("model of shoppers", "shoppers.json", "arrays.npz", 1)
MISFIT = 0.01  # p-value below which a family is said not to fit
_ARRAYS = ("quality", "scale", "nesting", "rate", "volatility", "persistence")
_TOLD = ("family", "misfit", "missed", "pooled", "share")
_DIGITS = 6


class PriceModel(NamedTuple):
    """What was learned, and how."""

    settings: FitSettings
    fitted: FittedPrices

    def save(self, folder: Path | str) -> Path:
        """Write it; one that is there is replaced. Raises ModelError for a folder that holds something else."""
        own = self.fitted
        told = {
            "settings": self.settings.model_dump(),
            "offers": list(own.offers),
            "sessions": own.sessions,
            "epochs": own.epochs,
            "classes": [{name: getattr(one, name) for name in _TOLD} for one in own.classes],
        }
        arrays = {name: getattr(own, name) for name in ("low", "high", "middle")}
        for number, one in enumerate(own.classes):
            arrays |= {f"{name}_{number}": getattr(one, name) for name in _ARRAYS}
        return KEPT.save(folder, told, arrays)


def load_model(folder: Path | str) -> PriceModel:
    """A model that was saved.

    Raises:
        ModelError: one line for a folder that does not hold a whole one.
    """
    told, arrays = KEPT.read(Path(folder))
    try:
        classes = []
        for number, one in enumerate(told["classes"]):
            parts: dict[str, Any] = {name: arrays[f"{name}_{number}"] for name in _ARRAYS}
            classes.append(Shoppers(**parts, **{name: one[name] for name in _TOLD}))
        ends = {name: arrays[name] for name in ("low", "high", "middle")}
        fitted = FittedPrices(
            tuple(classes), tuple(told["offers"]), **ends, sessions=told["sessions"], epochs=told["epochs"]
        )
        return PriceModel(validate(FitSettings, told["settings"]), fitted)
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"{Path(folder) / KEPT.told}: is no whole {KEPT.kind} ({error})") from None


def refuse_member(fitted: FittedPrices, member: int) -> None:
    """Raise ConfigError for a member that the ensemble has not."""
    count = len(fitted.classes[0].scale)
    if not 0 <= member < count:
        raise refuse("member", member, f"0 to {count - 1}: the ensemble has {count} members, the first of all days")


def _rounded(values: Any) -> Any:
    if np.ndim(values):
        return [_rounded(value) for value in values]
    return float(f"{float(values):.{_DIGITS}g}")


def visits_of(fitted: FittedPrices, member: int = 0) -> tuple[float, float]:
    """(factor on the sessions, share of agents among them) of the sessions that would buy.

    A class of which some sessions would buy at no price is one of as many fewer sessions: the two order alike.
    """
    each = np.array([one.share * one.rate[member] for one in fitted.classes])
    return float(each.sum()), float(each[1:].sum() / each.sum())


def market_settings(
    fitted: FittedPrices, unit_cost: float | Sequence[float], levels: int = 15, member: int = 0
) -> dict[str, Any]:
    """`market:` settings in which sellers meet a member's shoppers, at prices from the log's lowest to its highest.

    Args:
        unit_cost: money, one for all or one an offer.
    """
    refuse_member(fitted, member)
    people, names = fitted.classes[0], fitted.offers
    sellers = list(dict.fromkeys(name.partition(":")[0] for name in names))
    variance = people.volatility[member] ** 2
    an_epoch = float(people.persistence[member] ** (1.0 / max(fitted.epochs, 1.0)))
    agent = None
    if len(fitted.classes) > 1:
        other = fitted.classes[1]
        usual = float(people.volatility[member].mean())
        follows = float(other.volatility[member].mean()) / usual if usual > 0 else 0.0
        # The mean log level that agents meet is − s/2 times people's variance, not − 1/2 times their own.
        shift = 0.5 * other.scale[member] * (follows * variance - other.volatility[member] ** 2)
        agent = {
            "quality": _rounded(other.quality[member] + shift),
            "scale": _rounded(other.scale[member]),
            "nesting": _rounded(other.nesting[member]),
            "level_sensitivity": _rounded(follows),
        }
    slopes = -1.0 / people.scale
    at_middle = (people.quality - fitted.middle) / people.scale[:, None]
    return {
        "num_sellers": len(sellers),
        "num_products": len(names) // len(sellers),
        "demand_scale": _rounded(visits_of(fitted, member)[0]),
        "demand": {
            "model": "logit",
            "quality": _rounded(people.quality[member]),
            "scale": _rounded(people.scale[member]),
            "nesting": _rounded(people.nesting[member]),
        },
        "agent": agent,
        "level": {
            "persistence": _rounded(an_epoch),
            "volatility": _rounded(np.sqrt(variance * (1.0 - an_epoch**2))),
        },
        "prices": {
            "map": "levels",
            "num_price_levels": levels,
            "low": _rounded(fitted.low),
            "high": _rounded(fitted.high),
            "start": _rounded(fitted.middle),
        },
        "inventory": {"rule": "unlimited"},
        "reward": {"unit_cost": _rounded(np.broadcast_to(unit_cost, len(names)))},
        "calibration": {
            "sellers": sellers,
            "products": list(names),
            "slope": _rounded(slopes[member]),
            "slope_error": _rounded(slopes[1:].std()),
            "reference_price": _rounded(fitted.middle),
            "level_error": _rounded(at_middle[1:].std(0)),
        },
    }


def train_settings(fitted: FittedPrices, member: int = 0) -> dict[str, Any]:
    """`traffic:` settings that go with it."""
    agents = visits_of(fitted, member)[1]
    return {
        "model": "analytic",
        "sessions_per_epoch": max(round(fitted.sessions), 1),
        "agent_share": _rounded(agents),
        "hold_orders": "none",  # each class buys as often as the log says
    }


def learned_market(fitted: FittedPrices, unit_cost: float | Sequence[float], member: int = 0) -> Market:
    """The market of a member's shoppers, ready to play."""
    settings = market_settings(fitted, unit_cost, member=member)
    settings["calibration"] |= {"path": "", "sha256": ""}
    return market_from(settings, train_settings(fitted, member))


def write_market(path: Path | str, model: PriceModel, settings: dict[str, Any], member: int) -> Path:
    """Write the file that `train.py market=calibrated market.path=…` reads; whole or not at all."""
    told = [
        "Prices are between the lowest and the highest of the log; stock never runs out; unit costs are those given.",
        "The slope's and the levels' errors are spreads over the ensemble, days drawn with replacement.",
        *notes(model.fitted),
    ]
    data = {
        "format": FORMAT,
        "market": settings,
        "traffic": train_settings(model.fitted, member),
        "assumptions": told,
        "learned": model.settings.model_dump() | {"member": member},
    }
    text = "# Written by python -m marl_pricing.virtual_market prices market; for market=calibrated market.path=FILE.\n"
    text += yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    return write_atomically(Path(path), text)


def notes(fitted: FittedPrices) -> list[str]:
    """What there is to be said against what was learned."""
    lines = []
    for name, one in zip(("people", "agents"), fitted.classes, strict=False):
        if one.misfit < MISFIT:
            lines.append(
                f"NOTE: {name} do not choose as the family {one.family} says (p = {one.misfit:.2g}): a richer law is "
                f"{one.missed:.4f} units a session away on average"
            )
        if abs(one.pooled - 1.0) > 0.1:
            lines.append(
                f"NOTE: {name}: taken as if prices did not follow demand, the slope would be {one.pooled:.2f} times "
                "this one: prices of the log did follow it"
            )
    return lines


def described(fitted: FittedPrices) -> list[str]:
    """What was learned, a line a class."""
    lines = []
    for name, one in zip(("people", "agents"), fitted.classes, strict=False):
        slopes = -1.0 / one.scale
        reach = reach_of(slopes)
        nested = f", nesting {one.nesting[0]:.3f}" if one.nesting.any() else ""
        lines.append(
            f"{name} ({one.share:.1%} of the sessions): {one.family}, utility falls by {-slopes[0]:.3f} "
            f"({-slopes[0] - reach:.3f} … {-slopes[0] + reach:.3f}) a unit of money{nested}; {one.rate[0]:.4f} units "
            "of a session that takes something, at the most"
        )
        lines.append(
            f"  demand moves from day to day by {one.volatility[0].mean():.3f} in logs (persistence "
            f"{one.persistence[0]:.2f}); fit: p = {one.misfit:.2g}"
        )
    return lines + notes(fitted)
