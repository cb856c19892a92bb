"""How much memory settings ask for, told before anything is made: a size that no machine holds is refused in a line.

Estimates count what has to be there at once, and leave out what a compiler adds; `learning.memory` has the exact figure
once a training is compiled.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any, NamedTuple

import jax

from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.config.market_settings import LevelPrices, MarketSettings
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.learning.memory import device_memory
from marl_pricing.learning.recurrent import GATES, memory_size, reads_memory
from marl_pricing.machine import machine_memory, say_bytes

_FLOAT = 4  # bytes
_SHARE = 0.8  # of the memory that is there: the interpreter and others need some, and copies are made
# Best responses are found offer by offer, sweep by sweep: 50 offers take a minute or two, 100 several.
MOST_SOLVED = 100
# What is usual; of sizes that make too much together, the one that is furthest from it is named.
_USUAL = {
    "market.num_sellers": 10,
    "market.num_products": 10,
    "market.prices.num_price_levels": 50,
    "market.inventory.lead_time": 10,
    "market.inventory.max_lead_time": 10,
    "market.demand_scale": 1,
    "market.shocks.scale": 2,
    "market.episode_length": 200,
    "traffic.sessions_per_epoch": 100,
    "traffic.bank.size": 16_384,
    "traffic.bank.slots": 16,
    "traffic.max_events": 40,
    "learner.num_envs": 256,
    "learner.num_steps": 128,
    "learner.num_seeds": 5,
    "learner.hidden_size": 128,
    "run.report_every": 10,
    "opponents.pool": 8,
    "robust.num_candidates": 5,
    "episodes": 64,
}


class Part(NamedTuple):
    """Something that takes memory.

    Attributes:
        what: it is, in words.  size: bytes.  fields: the settings that it grows with.
    """

    what: str
    size: float
    fields: tuple[str, ...]


_OFFERS = ("market.num_sellers", "market.num_products")
_GRID = "market.prices.num_price_levels"
_SESSIONS = ("traffic.sessions_per_epoch", "market.demand_scale", "market.shocks.scale")


def _value(settings: Any, field: str) -> float:
    """The size that a setting gives: a number, the largest of a list, or 1 where nothing is given."""
    try:
        value = reduce(getattr, field.split("."), settings)
    except AttributeError:
        return 1
    if isinstance(value, list):
        return max(value, default=1)
    return value if isinstance(value, (int, float)) else 1


def refuse_large(parts: Iterable[Part], settings: Any, there: float) -> None:
    """Refuse sizes that make more than there is.

    Args:
        settings: holds what `fields` of the parts name.  there: bytes.

    Raises:
        ConfigError: naming the size that is furthest from what is usual, with what it takes and what there is.
    """
    listed = list(parts)
    whole = sum(own.size for own in listed)
    if whole <= _SHARE * there:
        return
    most = max(listed, key=lambda own: own.size)
    field = max(most.fields, key=lambda name: _value(settings, name) / _USUAL[name])
    value = reduce(getattr, field.split("."), settings)
    accepted = (
        f"what fits into memory; {most.what} would take {say_bytes(whole)}, and there are {say_bytes(there)} here"
    )
    raise refuse(field, value, accepted)


class _Held(NamedTuple):
    """Settings as paths name them."""

    market: MarketSettings
    traffic: Traffic


def check_market(settings: MarketSettings, visitors: Traffic) -> None:
    """Refuse a market that this machine cannot hold, or whose equilibrium nobody waits for.

    Raises:
        ConfigError: naming the setting.
    """
    held = _Held(settings, visitors)
    refuse_large(market_parts(settings, visitors), held, machine_memory())
    offers = settings.num_sellers * settings.num_products
    around = getattr(settings.prices, "around_equilibrium", None)
    for needs, field in (
        (around is not None, f"market.prices.around_equilibrium={around!r}"),
        (settings.reward.supra_competitive > 0 and settings.reward.anchor == "nash", "market.reward.anchor='nash'"),
    ):
        if needs and offers > MOST_SOLVED:
            raise ConfigError(
                f"{field}: accepted with at most {MOST_SOLVED} offers, not {offers} (market.num_sellers × "
                "market.num_products): the equilibrium is found price by price"
            )


def _levels(settings: MarketSettings) -> int:
    """Choices K of a price."""
    own = settings.prices
    if isinstance(own, LevelPrices):
        return own.num_price_levels if own.levels is None else len(own.levels)
    return len(getattr(own, "factors", [0.0]))


def _lead_time(settings: MarketSettings) -> float:
    return max(_value(settings, "inventory.max_lead_time"), _value(settings, "inventory.lead_time"))


def _capacity(settings: MarketSettings, visitors: Traffic) -> float:
    """Sessions of an epoch that there is room for."""
    shocks = max(1.0, settings.shocks.scale) if settings.shocks.probability > 0 else 1.0
    return visitors.sessions_per_epoch * settings.demand_scale * shocks


def market_parts(settings: MarketSettings, visitors: Traffic) -> list[Part]:
    """What one market takes: grids, orders on the way, sessions."""
    offers = settings.num_sellers * settings.num_products
    classes = 1 if settings.agent is None else 2
    parts = [
        # Parameters and state of an offer, and what names and spaces of a seller take.
        Part("a market of so many offers", 100 * _FLOAT * offers + 4000 * settings.num_sellers, _OFFERS),
        # Made in 64 bits, twice while it is, and kept in 32.
        Part("the grid of prices", 5 * _FLOAT * offers * _levels(settings), (*_OFFERS, _GRID)),
        Part(
            "orders on the way",
            _FLOAT * offers * _lead_time(settings),
            (*_OFFERS, "market.inventory.lead_time", "market.inventory.max_lead_time"),
        ),
    ]
    if settings.features is not None and "all_rival_prices" in settings.features:
        parts.append(
            Part("observations of all rivals' prices", _FLOAT * settings.num_sellers * offers, ("market.num_sellers",))
        )
    if visitors.model == "bank":
        slots = min(visitors.bank.slots, visitors.max_events)
        row = 6 * slots + 10 * _FLOAT  # what was looked at in 16 bits and its weight in 32; sums of a session
        fields = ("traffic.bank.size", "traffic.bank.slots", "traffic.max_events")
        parts.append(Part("the bank of sessions", classes * visitors.bank.size * row, fields))
    if visitors.model != "analytic":
        parts.append(Part("an epoch's sessions", 8 * _FLOAT * _capacity(settings, visitors), _SESSIONS))
    return parts


def _observed(settings: MarketSettings) -> tuple[float, float]:
    """At least so many numbers of a seller's observation O, and of a market's state G."""
    own, products, offers = settings.features, settings.num_products, settings.num_sellers * settings.num_products
    lead_time = _lead_time(settings) if settings.inventory.rule not in ("unlimited", "none") else 0
    local = 3.0 * products
    if own is not None:
        widths = {"all_rival_prices": offers - products, "pipeline": products * max(lead_time - 1, 0)}
        single = ("suspicion", "share_estimate", "agent_share", "omega", "time", "shock", "cash")
        local = float(sum(widths.get(name, 1.0 if name in single else products) for name in own))
    return local, offers * (2 + max(lead_time, 0))


def check_training(settings: Any) -> None:
    """Refuse a training that this machine's devices cannot hold.

    Args:
        settings: `ExperimentSettings`.

    Raises:
        ConfigError: naming the setting.
    """
    refuse_large(training_parts(settings), settings, device_memory() * jax.process_count())


def training_parts(settings: Any) -> list[Part]:
    """What a training takes beside its market: networks, environments, a segment, a report.

    Args:
        settings: `ExperimentSettings`.
    """
    own, market = settings.learner, settings.market
    sellers, offers = market.num_sellers, market.num_sellers * market.num_products
    local, state = _observed(market)
    state = state if getattr(own, "critic", "local") == "central" else 0
    hidden, cell = getattr(own, "hidden_size", 0), getattr(own, "cell", "none")  # a table has none of them
    layers = getattr(own, "num_layers", 1)
    # H × H blocks of a network: gates of what enters a cell and of its memory, layer after layer; the head.
    gates = layers * GATES[cell] * (1 + reads_memory(cell)) + 1
    choices = _levels(market) + len(getattr(market.inventory, "order_levels", ()))
    actor = gates * hidden**2 + hidden * (local + market.num_products * choices)
    critic = gates * hidden**2 + hidden * (state or local)
    copies = sellers if own.sharing == "per_seller" else 1
    envs = ("learner.num_envs", *_OFFERS)
    memory = memory_size(cell, hidden, layers)
    rows = own.num_envs if own.num_seeds == 1 else own.num_envs * own.num_seeds
    block = min(settings.run.report_every, own.num_updates)
    parts = [
        *market_parts(market, settings.traffic),
        # Weights, and two moments of each.
        Part(
            "networks and their optimisers",
            3 * _FLOAT * own.num_seeds * copies * (actor + critic),
            ("learner.hidden_size", "learner.num_seeds", *_OFFERS, _GRID),
        ),
        Part(
            "environments",
            _FLOAT * rows * (sellers * memory + 10 * offers),
            ("learner.num_seeds", "learner.hidden_size", *envs),
        ),
        # Before and after every step; what happened.
        Part(
            "a segment",
            _FLOAT * own.num_envs * own.num_steps * (2 * (sellers * local + state) + 8 * offers),
            ("learner.num_steps", *envs),
        ),
        Part(
            "measures between two reports",
            _FLOAT * own.num_seeds * block * 40 * sellers,
            ("run.report_every", "learner.num_seeds", "market.num_sellers"),
        ),
    ]
    if ring := getattr(own, "replay_segments", 0):
        kept = own.num_seeds * own.num_envs * own.num_steps * sellers * (2 * local + 4 * market.num_products)
        names = ("learner.replay_segments", "learner.num_seeds", "learner.num_steps", *envs)
        parts.append(Part("replayed segments", _FLOAT * ring * kept, names))
    if settings.traffic.model != "analytic":
        sessions = 4 * _FLOAT * own.num_envs * _capacity(market, settings.traffic)
        parts.append(Part("an epoch's sessions of all environments", sessions, ("learner.num_envs", *_SESSIONS)))
    if settings.opponents.seats == "self":
        pool = _FLOAT * own.num_seeds * settings.opponents.pool * actor * copies
        parts.append(Part("past selves", pool, ("opponents.pool", "learner.hidden_size", "learner.num_seeds")))
    return parts


class _Asked(NamedTuple):
    """What an evaluation's tables grow with."""

    episodes: int
    market: MarketSettings


def check_evaluation(market: MarketSettings, episodes: int) -> None:
    """Refuse more episodes than the tables of an evaluation can hold: a row an epoch and offer, of a few policies.

    Raises:
        ConfigError: naming the setting.
    """
    size = 4 * 60.0 * episodes * market.episode_length * market.num_sellers * market.num_products
    part = Part("tables of so many episodes", size, ("episodes", "market.episode_length", *_OFFERS))
    refuse_large([part], _Asked(episodes, market), machine_memory())
