"""The prices that one pricer has posted, and the next ones within the guardrails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from marl_pricing.serving.catalogue import Product
from marl_pricing.serving.guardrails import Bounds, Guarded, cents, within
from marl_pricing.serving.pricers import Pricing

DAY = 86_400_000  # ms


class Mode(NamedTuple):
    """What holds beside the pricer's own wish."""

    kill: bool
    shadow: bool
    frozen: frozenset[str]
    partial: bool  # of the window only a part was seen


@dataclass
class Posted:
    """What was served so far; cents, by product."""

    served: dict[str, int] = field(default_factory=dict)  # of the last vector
    shadowed: dict[str, int] = field(default_factory=dict)  # what would have been served but for the shadow mode
    past: dict[str, list[list[int]]] = field(default_factory=dict)  # [end of window, cents] where prices change

    def post(
        self, product: Product, wanted: float, pricing: Pricing, ends: int, mode: Mode
    ) -> tuple[float, dict[str, Any]]:
        """What a product costs from the window's end on, in money, and why.

        Args:
            wanted: money.  ends: ms since 1970.
        """
        base, last = cents(product.base_price), self.served.get(product.id)
        before = self.shadowed.get(product.id, last) if mode.shadow else last
        bounds = Bounds(product.floor, product.cap, pricing.max_change, pricing.max_change_day, pricing.ending)
        guarded = within(wanted, bounds, base if before is None else before, self._day_ago(product.id, ends))
        held = product.id in mode.frozen
        if held or mode.partial:
            guarded = Guarded(base if before is None else before, ["frozen"] if held else ["partial_window"])
        served, moved = guarded.price, guarded.moved_by
        if mode.kill:
            served, moved = base, ["kill"]
        elif mode.shadow:
            self.shadowed[product.id] = guarded.price
            served = base
        past = self.past.setdefault(product.id, [])
        if served != last:
            past.append([ends, served])
            while len(past) > 1 and past[1][0] <= ends - DAY:
                past.pop(0)
        self.served[product.id] = served
        return served / 100, {"wanted": wanted, "guarded": guarded.price / 100, "moved_by": moved}

    def _day_ago(self, product: str, ends: int) -> int | None:
        """The price [cents] that held a day before; the first one where the shop is younger."""
        past = self.past.get(product)
        if not past:
            return None
        return next((price for end, price in reversed(past) if end <= ends - DAY), past[0][1])
