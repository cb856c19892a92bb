"""What events come to: by window and product, and by session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from marl_pricing.serving.elasticity import Point
from marl_pricing.serving.judging import Judge, note
from marl_pricing.traffic.events import canonical, weight

LEAST_HOVER = 1200.0  # ms, from which on a hover counts
_INTEREST = {"view_item_page": 1.0, "learn_more_about_item": 1.0, "add_item_to_cart": 2.0}
_VIEWS = ("view_item_page", "learn_more_about_item")
# What an event of each name counts in the proxy.
_WEIGHTS: dict[str, float] = {}


def _weight(name: str) -> float:
    found = _WEIGHTS.get(name)
    if found is None:
        found = _WEIGHTS[name] = weight(canonical(name) or "")
    return found


@dataclass
class Counts:
    """Of one product in one window."""

    proxy: float = 0.0  # q̂, Σ of the events' weights (the PHANTOM methodology, eq. qhat)
    views: int = 0
    orders: int = 0
    shown: int = 0  # prices that were logged
    shown_sum: float = 0.0  # money

    def point(self, log_price: float) -> Point:
        """For the elasticity; log_price is log(price / base)."""
        return Point(log_price, float(self.views), float(self.orders))


@dataclass
class Window:
    """One period of event time."""

    products: dict[str, Counts] = field(default_factory=dict)
    sessions: dict[str, None] = field(default_factory=dict)  # that did something in it, in the log's order
    events: int = 0

    def of(self, product: str) -> Counts:
        """A product's counts."""
        found = self.products.get(product)
        if found is None:
            found = self.products[product] = Counts()
        return found

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        counts = {
            name: [own.proxy, own.views, own.orders, own.shown, own.shown_sum] for name, own in self.products.items()
        }
        return {"products": counts, "sessions": list(self.sessions), "events": self.events}


def window_from(data: dict[str, Any]) -> Window:
    """The inverse of `to_plain`."""
    products = {name: Counts(*own) for name, own in data["products"].items()}
    return Window(products, dict.fromkeys(data["sessions"]), data["events"])


@dataclass
class Session:
    """What a session has done so far."""

    seen: int  # ms since 1970, its last event
    interest: float = 0.0
    cart: dict[str, int] = field(default_factory=dict)
    path: list[list[int]] = field(default_factory=list)  # [ms, state of the judge's kernels], by time
    unit: str | None = None  # the participant whose session it is; None: it is assigned by itself
    arm: str = ""  # the pricer that it meets
    shown: dict[str, int] = field(default_factory=dict)  # cents, what pages showed last
    orders: int = 0
    revenue: float = 0.0  # money
    profit: float = 0.0  # money

    def to_plain(self) -> list[Any]:
        """As JSON holds it."""
        return list(vars(self).values())


def add_interaction(
    window: Window, session: Session, event: dict[str, Any], stamp: int, judge: Judge | None
) -> dict[str, int]:
    """Count an event. A purchase that names no product is one of each unit in its session's cart.

    Returns:
        Units by product that it bought.
    """
    bought: dict[str, int] = {}
    name, product = event["eventName"], event.get("productId")
    metadata = event.get("metadata") or {}
    window.events += 1
    window.sessions[event["sessionId"]] = None
    session.seen = max(session.seen, stamp)
    dwell = metadata.get("dwellTime") if name.startswith("hover_") else None
    if dwell is not None and dwell < LEAST_HOVER:
        return bought
    if judge is not None and (state := judge.code(name)) is not None:
        note(session.path, stamp, state)
    session.interest += _INTEREST.get(name, 0.0)
    if name == "purchase_complete":
        bought = {product: 1} if product else dict(session.cart)
        for own, units in bought.items():
            window.of(own).orders += units
        session.cart.clear()
    if not product:
        return bought
    counts = window.of(product)
    counts.proxy += _weight(name)
    if name in _VIEWS:
        counts.views += 1
    elif name == "add_item_to_cart":
        session.cart[product] = session.cart.get(product, 0) + 1
    elif name == "remove_item" and product in session.cart:
        session.cart[product] -= 1
        if not session.cart[product]:
            del session.cart[product]
    return bought
