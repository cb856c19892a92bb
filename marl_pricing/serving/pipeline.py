"""From the log to price vectors: a fold over records, in event time. The same records make the same vectors.

Everything that prices depend on is a record: events, prices shown, settings and catalogue (`settings`), switches, and
ticks of the clock. Nothing else is read, neither a clock nor a random number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import asdict
from typing import Any

from marl_pricing.export.reading import ExportedPolicy
from marl_pricing.serving.catalogue import Catalogue, Product, from_plain, to_plain
from marl_pricing.serving.elasticity import Elasticity, Point, estimate
from marl_pricing.serving.experiments import Tallies, arm_of, tallies_from
from marl_pricing.serving.guardrails import cents
from marl_pricing.serving.judging import Judge, judge_from, share_of_agents
from marl_pricing.serving.learned import ShopPolicy, State
from marl_pricing.serving.log import CONTROL, INTERACTIONS, Record
from marl_pricing.serving.posted import Mode, Posted
from marl_pricing.serving.pricers import PRICERS, Features, Pricing, pricing_from
from marl_pricing.serving.windows import Counts, Session, Window, add_interaction, window_from

SETTINGS, SWITCHES, TICK, STOCK, RIVALS = "settings", "switches", "tick", "stock", "rivals"
IDLE = 1_800_000  # ms after which a session is over
SILENT = 60_000  # ms after which it is judged as one that is; most events are seconds apart
MOST_EMPTY = 288  # windows without an event that are gone through one by one; before them the clock jumps
MOST_POINTS = 288  # windows that an elasticity is estimated from
_EPSILON = 1e-9
FORMAT = 3  # of a state that is kept; of another one the log is read again from its beginning

Vector = dict[str, Any]
# Parts of the state that JSON holds as they are.
_PLAIN = ("offset", "version", "late", "watermark", "switches", "next", "partial", "points")


class Pipeline:
    """The fold. `take` a record, get the vectors of the windows that it closes."""

    def __init__(self, policies: Callable[[str], ExportedPolicy] | None = None) -> None:
        """Before the first record.

        Args:
            policies: from a SHA-256 to a policy, `learned.policies_in`; None: there are none.
        """
        self._policies = policies
        self.learned = State()
        self.policy: ShopPolicy | None = None
        self.offset = 0
        self.version = 0
        self.late = 0
        self.watermark = -(2**62)
        self.pricing: Pricing | None = None
        self.catalogue: Catalogue = {}
        self.judge: Judge | None = None
        self.switches: dict[str, Any] = {}
        self.next: int | None = None  # index of the oldest window that is open
        self.partial: int | None = None  # the window that settings began in: of it a part was not seen
        self.windows: dict[int, Window] = {}
        self.sessions: dict[str, Session] = {}
        self.posted: dict[str, Posted] = {}  # by pricer
        self.tallies = Tallies()
        self.points: dict[str, list[list[float]]] = {}

    def take(self, record: Record) -> list[Vector]:
        """Fold a record in.

        Raises:
            ValueError: for a record before the one that was expected, or one that no settings precede.
        """
        if record.offset <= self.offset:
            raise ValueError(f"offset={record.offset}: accepted is one above {self.offset}")
        self.offset = record.offset
        if record.topic == CONTROL:
            return self._control(record)
        if self.pricing is None:
            raise ValueError(f"offset={record.offset}: no settings precede it")
        stamp = self._moment(record)
        body = json.loads(record.body)
        number = stamp // self.pricing.window
        if self.next is None:
            self.next = number
        kept = number >= self.next
        if not kept:
            self.late += 1
        # What comes too late for its window still tells of its session.
        window = self.windows.setdefault(number, Window()) if kept else Window()
        if record.topic == INTERACTIONS:
            name = body["sessionId"]
            session = self.sessions.get(name)
            if session is None:
                session = self.sessions[name] = self._session(name, body.get("experimentId"), stamp)
            bought = add_interaction(window, session, body, stamp, self.judge)
            self._sell(session, bought)
        else:
            self._price_shown(window, body)
        return self._advance(stamp - self.pricing.lateness)

    def _moment(self, record: Record) -> int:
        """When a record happened: nothing happens after it is received, whatever a client's clock says."""
        assert self.pricing is not None
        return record.stamp if self.pricing.clock == "events" else min(record.stamp, record.received)

    def _session(self, name: str, participant: str | None, stamp: int) -> Session:
        own = self.pricing
        assert own is not None
        arm = arm_of(participant or name, own.experiment, own.arms) if own.arms else own.pricer
        return Session(stamp, unit=participant, arm=arm)

    def _sell(self, session: Session, bought: dict[str, int]) -> None:
        """Note what was sold, at the price that the session was shown last, else at the one that was posted to it."""
        for name, units in bought.items():
            product = self.catalogue.get(name)
            if product is None:
                continue
            price = session.shown.get(name)
            if price is None:
                posted = self.posted.get(session.arm)
                price = (posted.served.get(name) if posted else None) or cents(product.base_price)
            session.orders += units
            session.revenue += units * price / 100
            session.profit += units * (price / 100 - product.cost)

    def _price_shown(self, window: Window, body: dict[str, Any]) -> None:
        product = self.catalogue.get(body["productId"])
        # The storefront shows a random price where it gets none; that is not ours.
        if product is not None and product.floor <= body["price"] <= product.cap:
            counts = window.of(product.id)
            counts.shown += 1
            counts.shown_sum += body["price"]
            if (session := self.sessions.get(body.get("sessionId", ""))) is not None:
                session.shown[product.id] = cents(body["price"])

    def _control(self, record: Record) -> list[Vector]:
        body = json.loads(record.body)
        if record.key == TICK:
            if self.pricing is None:
                return []
            if self.next is None:
                self.next = record.stamp // self.pricing.window
            return self._advance(record.stamp)
        if record.key == STOCK:
            self.learned.stock |= body.get("stock", {})
            self.learned.on_order |= body.get("on_order", {})
            return []
        if record.key == RIVALS:
            for seller, prices in body["prices"].items():
                self.learned.rivals.setdefault(seller, {}).update(prices)
            return []
        if record.key == SWITCHES:
            self.switches = {**self.switches, **body}
            return []
        pricing = pricing_from(body["pricing"])
        if self.pricing is None or self.pricing.policy != pricing.policy:
            self.learned.epoch, self.learned.memory = -1, []  # another policy begins its own episode
        changed = self.pricing is not None and pricing.window != self.pricing.window
        self._arms(pricing)
        self.pricing, self.catalogue, self.judge = pricing, from_plain(body["catalogue"]), judge_from(body["judge"])
        self._seat()
        moment = max(self.watermark, record.stamp) if pricing.clock == "wall" else self.watermark
        if changed and self.next is not None:
            # What the open windows hold is in no window of another length.
            self.windows = {}
            self.next = self.partial = moment // pricing.window
        elif self.next is None and pricing.clock == "wall":
            self.next = self.partial = moment // pricing.window
        return []

    def _arms(self, pricing: Pricing) -> None:
        """Make room for the pricers that are at work from now on: a new one goes on from the prices that are."""
        before = self.pricing
        old = self.posted.get(before.pricer) if before is not None else None
        names = dict.fromkeys([pricing.pricer, *(name for name, _ in pricing.arms)])
        self.posted = {name: self.posted.get(name) or deepcopy(old) or Posted() for name in names}
        arms = pricing.arms or ((pricing.pricer, 1.0),)
        if before is None or (before.experiment, before.arms, before.pricer) != (
            pricing.experiment, pricing.arms, pricing.pricer,
        ):  # fmt: skip
            self.tallies.begin(arms)

    def _seat(self) -> None:
        """Put the policy of the settings in its seat.

        Raises:
            ValueError: where there is none to be had.
        """
        own, self.policy = self.pricing, None
        if own is not None and own.policy is not None:
            if self._policies is None:
                raise ValueError(f"policy={own.policy}: accepted is a fold that is given its policies")
            self.policy = ShopPolicy(self._policies(own.policy), own.seller, own.products)

    def _stock(self, product: str) -> float | None:
        """Units on hand; None for no end of them."""
        if product in self.learned.stock:
            return self.learned.stock[product]
        known = self.catalogue.get(product)
        return None if known is None or math.isinf(known.stock) else known.stock

    def _decided(self, window: Window) -> tuple[dict[str, float], str | None]:
        """What the policy wants [money] of its products, or why nothing. Stock goes down by what was ordered."""
        for name, sold in window.products.items():
            if sold.orders and (left := self._stock(name)) is not None:
                self.learned.stock[name] = max(left - sold.orders, 0.0)
        if self.policy is None or any(name not in self.catalogue for name in self.policy.products):
            return {}, None if self.policy is None else "not_in_the_catalogue"
        ids = self.policy.products
        counts = [window.products.get(name) or Counts() for name in ids]
        served = self.posted["policy"].served
        last = [served.get(name, cents(self.catalogue[name].base_price)) / 100 for name in ids]
        wanted, why = self.policy.decide(
            self.learned, last, [float(own.orders) for own in counts], [own.proxy for own in counts],
            [self._stock(name) for name in ids],
        )  # fmt: skip
        return (dict(zip(ids, wanted, strict=True)) if wanted else {}), why

    def _advance(self, watermark: int) -> list[Vector]:
        assert self.pricing is not None
        self.watermark = max(self.watermark, watermark)
        made: list[Vector] = []
        if self.next is None:
            return made
        length = self.pricing.window
        while (self.next + 1) * length <= self.watermark:
            target = self.watermark // length
            if self.next not in self.windows and target - self.next > MOST_EMPTY:
                self.next = min([target - MOST_EMPTY, *self.windows])
            made.append(self._close(self.next))
            self.next += 1
        return made

    def _effective(self) -> tuple[bool, bool, set[str]]:
        """Kill switch, shadow mode and frozen products: what settings or switches say."""
        assert self.pricing is not None
        kill = self.pricing.kill or bool(self.switches.get("kill"))
        shadow = self.pricing.shadow or bool(self.switches.get("shadow"))
        return kill, shadow, {*self.pricing.frozen, *self.switches.get("frozen", ())}

    def _close(self, number: int) -> Vector:
        own = self.pricing
        assert own is not None
        window = self.windows.pop(number, None) or Window()
        ends = (number + 1) * own.window
        kill, shadow, frozen = self._effective()
        mode = Mode(kill, shadow, frozenset(frozen), number == self.partial)
        totals: dict[str, float] = {}
        for name, counts in window.products.items():
            if name in self.catalogue:
                shop = self.catalogue[name].mode
                totals[shop] = totals.get(shop, 0.0) + counts.proxy
        decided, undecided = self._decided(window)
        posted: dict[str, dict[str, float]] = {name: {} for name in self.posted}
        moved: dict[str, dict[str, list[str]]] = {name: {} for name in self.posted}
        lines: dict[str, Any] = {}
        for product in self.catalogue.values():
            features, seen = self._seen(product, window)
            seen["proxy_share"] = 100.0 * seen["proxy"] / (totals.get(product.mode, 0.0) + _EPSILON)
            for name, book in self.posted.items():
                wanted = decided.get(product.id) if name == "policy" else None
                if wanted is None:
                    wanted = PRICERS[name](product, features, own)
                posted[name][product.id], why = book.post(product, wanted, own, ends, mode)
                silent = undecided is not None and self.policy is not None and product.id in self.policy.products
                if silent and name == "policy" and not mode.partial:
                    why["moved_by"] = [*why["moved_by"], undecided]
                moved[name][product.id] = why["moved_by"]
                if name == own.pricer:
                    lines[product.id] = why | seen
        if not shadow:
            for book in self.posted.values():
                book.shadowed = {}
        share = leak = None
        if self.judge is not None:
            known = [self.sessions[name] for name in window.sessions if name in self.sessions]
            told = [self.judge.log_ratio(own.path, own.seen <= ends - SILENT) for own in known]
            # f(τ') of a session is what it leaks at c_info = 1 (the methodology, the constant query tax).
            leak = sum(map(self.judge.chance_at, told)) / len(told) if told else None
            found = share_of_agents(told, self.judge.prior)
            if found is not None:
                error = found.error if math.isfinite(found.error) else None
                share = {"share": found.value, "error": error, "sessions": found.sessions}
        for name in [name for name, known in self.sessions.items() if known.seen <= ends - IDLE]:
            over = self.sessions.pop(name)
            self.tallies.count(over.arm, over.unit, over.orders, over.revenue, over.profit)
        self.version += 1
        return {
            "version": self.version, "offset": self.offset, "starts": ends - own.window, "ends": ends,
            "until": ends + own.window + own.lateness, "pricer": own.pricer, "pricer_version": own.version,
            "kill": kill, "shadow": shadow, "events": window.events, "sessions": len(window.sessions),
            "late": self.late, "agents": share, "coi_leak": leak, "prices": posted[own.pricer], "lines": lines,
            "experiment": own.experiment, "tallies": self.tallies.told(),
            "arms": {name: {"prices": posted[name], "moved_by": moved[name]} for name, _ in own.arms},
        }  # fmt: skip

    def _seen(self, product: Product, window: Window) -> tuple[Features, dict[str, Any]]:
        """What a window says of a product: to pricers, and in the vector."""
        own = self.pricing
        assert own is not None
        counts = window.products.get(product.id)
        last = self.posted[own.pricer].served.get(product.id) or cents(product.base_price)
        point = counts.point(self._log_price(product, counts, last)) if counts else None
        answer = self._elasticity(product, point)
        proxy = counts.proxy if counts else 0.0
        views, orders = (counts.views, counts.orders) if counts else (0, 0)
        return Features(proxy, answer), {
            "proxy": proxy, "views": views, "orders": orders, "look_to_book": views / orders if orders else None,
            "elasticity": answer.value, "elasticity_error": answer.error, "elasticity_estimated": answer.estimated,
        }  # fmt: skip

    @staticmethod
    def _log_price(product: Product, counts: Any, served: int) -> float:
        price = counts.shown_sum / counts.shown if counts.shown else served / 100
        return math.log(price / product.base_price)

    def _elasticity(self, product: Product, point: Point | None) -> Elasticity:
        points = self.points.setdefault(product.id, [])
        if point is not None and point.views > 0:
            points.append([*point])
            del points[:-MOST_POINTS]
        return estimate([Point(*known) for known in points])

    def to_plain(self) -> dict[str, Any]:
        """The whole state as JSON holds it, to the bit."""
        return {name: getattr(self, name) for name in _PLAIN} | {
            "format": FORMAT, "pricing": self.pricing and self.pricing.to_plain(),
            "catalogue": to_plain(self.catalogue), "judge": self.judge and self.judge.to_plain(),
            "windows": [[number, own.to_plain()] for number, own in self.windows.items()],
            "sessions": {name: own.to_plain() for name, own in self.sessions.items()},
            "posted": {name: asdict(own) for name, own in self.posted.items()}, "tallies": self.tallies.to_plain(),
            "learned": self.learned.to_plain(),
        }  # fmt: skip


def pipeline_from(data: dict[str, Any], policies: Callable[[str], ExportedPolicy] | None = None) -> Pipeline:
    """The inverse of `to_plain`; a pipeline before the first record where the state is of another version's form."""
    own = Pipeline(policies)
    if data.get("format") != FORMAT:
        return own
    own.learned = State(**data["learned"])
    for name in _PLAIN:
        setattr(own, name, data[name])
    own.pricing = pricing_from(data["pricing"]) if data["pricing"] else None
    own.catalogue, own.judge = from_plain(data["catalogue"]), judge_from(data["judge"])
    own.windows = {number: window_from(told) for number, told in data["windows"]}
    own.sessions = {name: Session(*told) for name, told in data["sessions"].items()}
    own.posted = {name: Posted(**told) for name, told in data["posted"].items()}
    own.tallies = tallies_from(data["tallies"])
    own._seat()
    return own


def replay(records: Iterable[Record], policies: Callable[[str], ExportedPolicy] | None = None) -> list[Vector]:
    """The vectors of a log from its first record on; `policies` as in `Pipeline`."""
    own = Pipeline(policies)
    return [vector for record in records for vector in own.take(record)]
