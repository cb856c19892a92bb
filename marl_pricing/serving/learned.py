"""A policy file (`marl_pricing.export`) behind a shop: fed with what it was fed in training, as the file tells it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.export.reading import ExportedPolicy, PolicyError, load_policy

# Features of an observation that a shop can tell. `shock` it never sees, and says 0.
TOLD = (
    "own_price", "rival_price", "all_rival_prices", "stock", "on_order", "demand", "events", "proxy_share",
    "proxy_trend", "time", "shock",
)  # fmt: skip
_OF_ALL = ("proxy_share", "proxy_trend")  # shares of all sellers' events: of rivals' nobody tells a shop
_NEEDS = {"stock": "no_stock", "rival_price": "no_rival_prices", "all_rival_prices": "no_rival_prices"}


class Figures(NamedTuple):
    """What a shop knows at the start of an epoch, by product of the policy [P]."""

    prices: list[float]  # money, of the last epoch
    rivals: list[list[float]]  # money, [S − 1][P], of the next seller first and round
    stock: list[float]  # units that can be sold in the coming epoch
    on_order: list[float]  # units that come later
    demand: list[float]  # units ordered in the last epoch
    events: list[float]  # q̂ of the last epoch
    trend: list[float]  # change of the share of q̂
    epoch: int  # since the episode began


def shares(events: Sequence[float]) -> list[float]:
    """Of the demand proxy: `market.observation.proxy_share`."""
    total = max(sum(events), 1e-6)
    return [own / total for own in events]


@dataclass
class State:
    """What a policy and its feeds have told so far; the pipeline keeps it."""

    epoch: int = -1  # of the episode; −1 before the first
    memory: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    stock: dict[str, float] = field(default_factory=dict)
    on_order: dict[str, float] = field(default_factory=dict)
    rivals: dict[str, dict[str, float]] = field(default_factory=dict)  # seller: product: money

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dict(vars(self))


class ShopPolicy:
    """A policy file in one seller's seat, for some products of the catalogue."""

    def __init__(self, policy: ExportedPolicy, seller: int, products: Sequence[str]) -> None:
        """Check that a shop can play it.

        Raises:
            ConfigError: naming the setting and what is accepted.
        """
        about = policy.about
        sellers = [str(name) for name in about["sellers"]]
        size = about["num_products"]
        if not 0 <= seller < len(sellers):
            raise refuse("policy_seller", seller, f"0 to {len(sellers) - 1}, a seat of the policy")
        if len(products) != size or len(set(products)) != size:
            raise refuse("policy_products", list(products), f"{size} ids, of the policy's products in order")
        for entry in about["observation"]:
            name = entry["feature"]
            able = [own for own in TOLD if len(sellers) == 1 or own not in _OF_ALL]
            if name not in able:
                why = ", which a shop with rivals cannot tell" if name in TOLD else ", which a shop cannot tell"
                raise ConfigError(f"policy: it observes {name}{why}: accepted are {', '.join(able)} (market.features)")
            if "shown on the range of its own" in entry["unit"]:
                raise ConfigError("policy: it observes rivals' prices each on a range of its own: accepted is one")
        if about.get("orders") is not None:
            raise ConfigError("policy: it orders from suppliers too: accepted is one that sets prices alone")
        self.policy, self.seller, self.products = policy, seller, tuple(products)
        self.rivals = [sellers[(seller + further) % len(sellers)] for further in range(1, len(sellers))]
        self.features = {entry["feature"] for entry in about["observation"]}

    def raw(self, figures: Figures) -> list[float]:
        """The observation [O] in the units of the file's description."""
        size, seen, found = len(self.products), Counter[str](), []
        of_product = {
            "own_price": figures.prices, "stock": figures.stock, "on_order": figures.on_order, "demand": figures.demand,
            "events": figures.events, "proxy_share": shares(figures.events), "proxy_trend": figures.trend,
        }  # fmt: skip
        if self.rivals:
            of_product["rival_price"] = [sum(own) / len(self.rivals) for own in zip(*figures.rivals, strict=True)]
        for entry in self.policy.about["observation"]:
            name = entry["feature"]
            number = seen[name]
            seen[name] += 1
            if name == "all_rival_prices":
                found.append(figures.rivals[number // size][number % size])
            elif name in ("time", "shock"):
                found.append(float(figures.epoch) if name == "time" else 0.0)
            else:
                found.append(of_product.get(name, [0.0] * size)[number])
        return found

    def step(self, figures: Figures, memory: Sequence[float]) -> tuple[list[float], list[float]]:
        """Prices [P] of the coming epoch, before guardrails, and the memory after."""
        own = self.policy
        held = np.asarray([memory], np.float32) if memory else own.start(1)
        told = own.step(own.show([self.raw(figures)], [self.seller]), [self.seller], held)
        prices, chosen = own.about["prices"], told["price_action" if "price_action" in told else "price_index"][0]
        if prices["map"] == "range":
            wanted = chosen.tolist()
        elif prices["map"] == "levels":
            wanted = [prices["levels"][self.seller][k][int(i)] for k, i in enumerate(chosen)]
        else:
            low, high = prices["low"][self.seller], prices["high"][self.seller]
            factors = (
                [1.0 + own for own in chosen] if prices["map"] == "adjust" else [prices["factors"][i] for i in chosen]
            )
            moved = [last * factor for last, factor in zip(figures.prices, factors, strict=True)]
            wanted = [min(max(own, low[k]), high[k]) for k, own in enumerate(moved)]
        return [float(own) for own in wanted], [float(own) for own in told["memory_after"][0]]

    def decide(
        self, state: State, prices: list[float], demand: list[float], events: list[float], stock: list[float | None]
    ) -> tuple[list[float] | None, str | None]:
        """Prices [P] after an epoch, or why there are none. Moves `state` on.

        The first decision of an episode is made as in training: nothing has happened yet. An episode is as long as it
        was there; the next begins with an empty memory.

        Args:
            prices, demand, events: [P], of the epoch that has ended.  stock: [P] units; None: endless.
        """
        length = self.policy.about["episode_length"]
        state.epoch = (state.epoch + 1) % length
        size = len(self.products)
        if state.epoch == 0:
            state.memory, state.shares, demand, events = [], [], [0.0] * size, [0.0] * size
        # From one epoch that had events to the next that has, as `market` counts it.
        now = shares(events) if sum(events) > 0 else []
        trend = [a - b for a, b in zip(now, state.shares, strict=True)] if now and state.shares else [0.0] * size
        state.shares = now
        rivals = [[state.rivals.get(name, {}).get(own) for own in self.products] for name in self.rivals]
        for name in sorted(self.features & _NEEDS.keys()):
            if None in stock if name == "stock" else any(None in row for row in rivals):
                return None, _NEEDS[name]
        figures = Figures(
            prices, [[own or 0.0 for own in row] for row in rivals], [own or 0.0 for own in stock],
            [state.on_order.get(own, 0.0) for own in self.products], demand, events, trend, state.epoch,
        )  # fmt: skip
        wanted, state.memory = self.step(figures, state.memory)
        return wanted, None


def keep_policy(path: str, folder: Path) -> str:
    """Copy a policy file into a service's folder, where its log finds it again; its SHA-256.

    Raises:
        ConfigError: for a file that is none, or one of another format than NumPy's.
    """
    if not path.endswith(".npz"):
        raise refuse("policy", path, "a file of `export format=flax`, .npz, which NumPy alone plays")
    try:
        load_policy(path)
        content = Path(path).read_bytes()
    except (PolicyError, OSError) as error:
        raise ConfigError(f"policy: {error}") from None
    name = hashlib.sha256(content).hexdigest()
    kept = folder / "policies" / f"{name}.npz"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        partly = kept.with_suffix(".part")
        partly.write_bytes(content)
        partly.replace(kept)
    return name


def policies_in(folder: Path | str) -> Any:
    """A function from a SHA-256 to the policy that a service's folder keeps.

    Its errors are `PolicyError`s.
    """
    known: dict[str, ExportedPolicy] = {}

    def find(name: str) -> ExportedPolicy:
        if name not in known:
            known[name] = load_policy(Path(folder) / "policies" / f"{name}.npz")
        return known[name]

    return find
