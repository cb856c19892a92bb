"""Who says what a product should cost. Guardrails come after."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from json import dumps
from typing import Any, NamedTuple

from marl_pricing.serving.catalogue import Product
from marl_pricing.serving.elasticity import Elasticity

# Factors of the heuristic (the PHANTOM methodology, Online Dynamic Pricing).
SURGE, DISCOUNT = 1.2, 0.9


class Features(NamedTuple):
    """What a window says of a product."""

    proxy: float  # q̂
    elasticity: Elasticity


@dataclass(frozen=True)
class Pricing:
    """All numbers that prices depend on beside the catalogue; times are milliseconds. The log holds them too."""

    pricer: str
    window: int
    lateness: int
    clock: str
    surge_high: float
    surge_low: float
    markup_strength: float
    markup_threshold: float
    markup_temperature: float
    withhold_above: float | None
    max_change: float
    max_change_day: float
    ending: float | None
    frozen: tuple[str, ...]
    kill: bool
    shadow: bool
    policy: str | None = None  # SHA-256 of its file
    seller: int = 0  # whose seat of the policy the shop has
    products: tuple[str, ...] = ()  # of the catalogue, in the policy's order
    experiment: str | None = None  # its name; None: everybody meets `pricer`
    arms: tuple[tuple[str, float], ...] = ()  # pricers and their shares of the sessions, the first is the control

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = asdict(self) | {"frozen": list(self.frozen), "products": list(self.products)}
        plain["arms"] = [list(arm) for arm in self.arms]
        return plain

    @cached_property
    def version(self) -> str:
        """The pricer's name and 8 signs of all of its numbers."""
        return f"{self.pricer}-{blake2b(dumps(self.to_plain(), sort_keys=True).encode(), digest_size=4).hexdigest()}"


def pricing_from(data: dict[str, Any]) -> Pricing:
    """The inverse of `to_plain`."""
    told = {name: tuple(data[name]) for name in ("frozen", "products")}
    return Pricing(**data | told | {"arms": tuple((name, share) for name, share in data.get("arms", ()))})


def _static(product: Product, features: Features, own: Pricing) -> float:
    """The base price."""
    return product.base_price


def _surge(product: Product, features: Features, own: Pricing) -> float:
    """Base × 1.2 where q̂ ≥ ϱ_high, × 0.9 where q̂ ≤ ϱ_low (the PHANTOM methodology, Online Dynamic Pricing)."""
    if features.proxy >= own.surge_high:
        return product.base_price * SURGE
    return product.base_price * (DISCOUNT if features.proxy <= own.surge_low else 1.0)


def _elasticity(product: Product, features: Features, own: Pricing) -> float:
    """Profit's maximum at constant elasticity, cost · ε / (1 + ε) (Lerner 1934); the base price where ε is not known
    to be below −1 by a standard error: there is no maximum then, or nobody knows it."""
    value, error, estimated = features.elasticity
    if not estimated or value + error >= -1.0:
        return product.base_price
    return product.cost * value / (1.0 + value)


PRICERS: dict[str, Callable[[Product, Features, Pricing], float]] = {
    "static": _static,
    "surge": _surge,
    "elasticity": _elasticity,
    "session": _static,  # a vector of base prices, marked up where a session asks
    "policy": _static,  # of products that the policy does not know; `learned` has the others
}
PURPOSES = {
    "static": "base prices",
    "surge": "base x 1.2 where many look, x 0.9 where few do",
    "elasticity": "the price that constant elasticity makes most profit of",
    "policy": "what a trained policy chooses",
    "session": "a mark-up on the base price by the interest that a session shows",
}


def markup(interest: float, own: Pricing) -> float:
    """1 + strength · σ((interest − threshold) / temperature), PHANTOM's prototype."""
    x = (interest - own.markup_threshold) / own.markup_temperature
    sigma = 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(max(x, -700.0)) / (1.0 + math.exp(max(x, -700.0)))
    return 1.0 + own.markup_strength * sigma
