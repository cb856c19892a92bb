"""What a shopper is told: a session's own price, else the latest vector's, else the base price. Never nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from marl_pricing.serving.catalogue import Catalogue, Product
from marl_pricing.serving.elasticity import PRIOR
from marl_pricing.serving.experiments import arm_of
from marl_pricing.serving.guardrails import Bounds, cents, within
from marl_pricing.serving.judging import Judge
from marl_pricing.serving.pipeline import Vector
from marl_pricing.serving.pricers import Pricing, markup
from marl_pricing.serving.windows import Session

MOST_QUOTES = 500_000  # that are remembered at once
SESSION, BASE = "session-aware", "base"


class Quote(NamedTuple):
    """A price and where it comes from."""

    price: float  # money
    model: str  # what made it: a pricer's name, `session-aware` or `base`
    until: int  # ms since 1970
    why: dict[str, Any]  # for the audit


@dataclass
class PriceBook:
    """Prices in this process. Everything here is replaced as a whole, so that a look-up never sees half of a change.

    Attributes:
        vector: the latest, of `Pipeline`; None before the first window has ended.
        switches: as `Pipeline.switches`, at once.
        session_of: what the pipeline knows of a session.
        keep: writes a quote down (session, product, at, quote), and does not wait for it.
        fault: why prices may be out of date; None where they are not.
        broken: what else may keep them from being made: a log that cannot be written.
    """

    catalogue: Catalogue
    pricing: Pricing
    judge: Judge | None
    lifetime: int  # ms that a quote stays
    started: int  # ms since 1970
    session_of: Callable[[str], Session | None] = lambda name: None
    keep: Callable[[str, str, int, Quote], None] = lambda *told: None
    vector: Vector | None = None
    switches: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None
    broken: Callable[[], str | None] = lambda: None
    quotes: OrderedDict[tuple[str, str], Quote] = field(default_factory=OrderedDict)

    def killed(self) -> bool:
        """Whether everybody gets base prices."""
        return self.pricing.kill or bool(self.switches.get("kill"))

    def shadowed(self) -> bool:
        """Whether prices are made and not served, whatever the vector was made with."""
        return self.pricing.shadow or bool(self.switches.get("shadow"))

    def stale(self, now: int) -> bool:
        """Whether prices may be out of date: something is broken, or a window's end was missed."""
        if self.fault is not None or self.broken() is not None:
            return True
        if self.pricing.clock != "wall":
            return False
        due = self.started + self.pricing.window + self.pricing.lateness
        if self.vector is not None:
            due = max(due, self.vector["until"])
        return now > due + self.pricing.window

    def look_up(
        self, product: Product, session: str | None, now: int, participant: str | None = None
    ) -> dict[str, Any]:
        """The answer of the provider.

        Args:
            now: ms since 1970.  participant: of an experiment; all of its sessions meet one pricer.
        """
        quote = self._quote(product, session, now, participant)
        line = self.vector["lines"].get(product.id) if self.vector else None
        return {
            "productId": product.id, "price": quote.price, "base_price": product.base_price,
            "markup": round(quote.price / product.base_price, 9),
            "elasticity": line["elasticity"] if line else PRIOR[0],
            "model_version": quote.model, "elasticity_estimated": bool(line and line["elasticity_estimated"]),
            "vector_version": self.vector["version"] if self.vector else 0, "pricer_version": self.pricing.version,
            "uses_personal_data": quote.why.get("uses_personal_data", False), "valid_until": quote.until,
            "stale": self.stale(now),
        }  # fmt: skip

    def _quote(self, product: Product, session: str | None, now: int, participant: str | None) -> Quote:
        if self.killed():
            return Quote(product.base_price, BASE, now, {"moved_by": ["kill"]})
        if session is None:
            return self._made(product, None, now, None)
        known = self.quotes.get((session, product.id))
        if known is not None and known.until > now:
            return known
        made = self.proposed(product, session, now, participant)
        self.tell(session, product.id, made, now)
        return made

    def asks(self, product: Product, session: str, now: int) -> bool:
        """Whether a session has yet to be told what a product costs."""
        known = self.quotes.get((session, product.id))
        return not self.killed() and (known is None or known.until <= now)

    def proposed(self, product: Product, session: str, now: int, participant: str | None) -> Quote:
        """What a session would be told, and kept to."""
        return self._made(product, session, now, participant)._replace(until=now + self.lifetime)

    def tell(self, session: str, product: str, made: Quote, now: int) -> None:
        """From now on a session is kept to a quote, and it is written down."""
        self.remember(session, product, made, now)
        self.keep(session, product, now, made)

    def remember(self, session: str, product: str, quote: Quote, now: int) -> None:
        """Keep to a quote while it lasts."""
        self.quotes[session, product] = quote
        self.quotes.move_to_end((session, product))
        while self.quotes:
            oldest = next(iter(self.quotes))
            if self.quotes[oldest].until > now and len(self.quotes) <= MOST_QUOTES:
                break
            del self.quotes[oldest]

    def _made(self, product: Product, session: str | None, now: int, participant: str | None) -> Quote:
        """What a product costs now, before anybody was told."""
        vector, own = self.vector, self.pricing
        arm = own.pricer
        if own.arms and session is not None:
            arm = arm_of(participant or session, own.experiment, own.arms)
        # A vector that was made before the experiment has one price for all.
        its = vector.get("arms", {}).get(arm) if vector else None
        price = (its or vector)["prices"].get(product.id) if vector else None
        # A catalogue may have been read since.
        if vector is None or price is None or not cents(product.floor) <= cents(price) <= cents(product.cap):
            made = Quote(product.base_price, BASE, now, {"vector_version": 0, "moved_by": []})
        else:
            shadow = vector["shadow"] or self.shadowed()
            moved = its["moved_by"][product.id] if its else vector["lines"][product.id]["moved_by"]
            why = {"vector_version": vector["version"], "moved_by": moved, "shadow": shadow}
            base = shadow or vector["kill"]
            name = arm if its else vector["pricer"]
            made = Quote(product.base_price if base else price, BASE if base else name, vector["until"], why)
        if own.experiment is not None and session is not None:
            made = made._replace(why=made.why | {"experiment": own.experiment, "arm": arm})
        if session is None or arm != "session":
            return made
        return self._marked_up(product, session, made)

    def _marked_up(self, product: Product, session: str, made: Quote) -> Quote:
        own = self.pricing
        frozen = {*own.frozen, *self.switches.get("frozen", ())}
        seen = self.session_of(session)
        interest = seen.interest if seen else 0.0
        chance = self.judge.chance(tuple(seen.path)) if seen and self.judge else None
        suspected = own.withhold_above is not None and chance is not None and chance > own.withhold_above
        factor = 1.0 if suspected else markup(interest, own)
        bounds = Bounds(product.floor, product.cap, own.max_change, own.max_change_day, own.ending)
        guarded = within(made.price * factor, bounds)
        why = made.why | {
            "uses_personal_data": True, "interest": interest, "chance_of_agent": chance, "withheld": suspected,
            "factor": factor, "moved_by": guarded.moved_by,
        }  # fmt: skip
        if product.id in frozen or self.shadowed():
            return made._replace(why=why | {"uses_personal_data": False, "not_served": guarded.price / 100})
        return Quote(guarded.price / 100, SESSION, made.until, why)


def to_plain(session: str, product: str, at: int, quote: Quote, pricer_version: str) -> dict[str, Any]:
    """A quote as the audit keeps it."""
    return {
        "sessionId": session, "productId": product, "at": at, "price": quote.price, "model_version": quote.model,
        "pricer_version": pricer_version, "valid_until": quote.until, **quote.why,
    }  # fmt: skip


def quote_from(data: dict[str, Any]) -> Quote:
    """The inverse of `to_plain`."""
    known = ("sessionId", "productId", "at", "price", "model_version", "pricer_version", "valid_until")
    why = {name: value for name, value in data.items() if name not in known}
    return Quote(data["price"], data["model_version"], data["valid_until"], why)
