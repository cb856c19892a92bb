"""What shoppers are going to do, drawn before any of it is sent: who comes when, looks at what, and may buy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from marl_pricing.traffic.events import DWELL, END, GAPS, PURCHASE, START
from marl_pricing.traffic.kernels import Kernel
from marl_pricing.traffic.logs.simulation import walk

# The storefront's names; pages that it does not tell apart are views of pages, and a login is no event there.
NAMES = {
    START: "session_start", "add_item": "add_item_to_cart", "remove": "remove_item", "checkout": "checkout_start",
    PURCHASE: "purchase_complete", "hover_title": "hover_over_title", "hover_paragraph": "hover_over_paragraph",
    "hover_link": "hover_over_link", "page_view": "page_view", "view_item": "view_item_page",
    "learn_more": "learn_more_about_item", "home": "page_view", "listing": "page_view",
    "search": "search", "filter_date": "filter_for_date", "filter_price": "filter_for_price", "sort": "sort_change",
}  # fmt: skip
# Of a clean session: straight to what was chosen elsewhere.
CLEAN = (START, "view_item", "add_item", "checkout", PURCHASE)


class Step(NamedTuple):
    """An event that is to happen."""

    after: float  # seconds since the session began
    state: str  # of the kernels' words
    product: str | None
    dwell: int | None  # ms
    twice: bool  # it is posted again, as who had no answer does


class Visit(NamedTuple):
    """A session that is to happen."""

    name: str
    actor: str  # human, agent
    kind: str  # plain; of agents also recon (looks only) and clean (buys what its recon found cheapest)
    begins: float  # seconds since the first may begin
    mode: str
    steps: list[Step]
    draw: float  # uniform: whether a price is accepted
    recon: str | None = None  # the session in which a clean one's product was found


class Crowd(NamedTuple):
    """Who comes.

    Attributes:
        share: of agents among those who come.  recon: share of agents who send two sessions, one to look, one to buy.
        elasticity: of the chance to accept a price, by actor.
        accepts: that chance at the base price.
        again: share of events that are posted twice.
    """

    share: float
    recon: float
    elasticity: Mapping[str, float]
    accepts: float
    again: float


def accepted(draw: float, price: float, base: float, elasticity: float, accepts: float) -> bool:
    """Whether a price is accepted: with chance min(1, a · (p / base)^ε)."""
    return draw < min(1.0, accepts * math.exp(elasticity * math.log(price / base)))


def draw_visits(
    kernels: Mapping[str, Kernel],
    products: Mapping[str, Sequence[str]],
    rate: float,
    seconds: float,
    crowd: Crowd,
    seed: int,
) -> list[Visit]:
    """All sessions that begin within `seconds`, in the order in which they begin.

    Beginnings are a Poisson process of `rate` a second. People look at one product, agents at another at each step.
    Purchases are proposals: whether they happen hangs on the price that is asked for.

    Args:
        kernels: of "human" and "agent".  products: ids by mode.
    """
    generator = np.random.default_rng(seed)
    count = int(generator.poisson(rate * seconds))
    begins = np.sort(generator.uniform(0.0, seconds, count))
    agent = generator.random(count) < crowd.share
    modes = sorted(mode for mode, ids in products.items() if ids)
    sizes = np.array([len(products[mode]) for mode in modes], float)
    visits: list[Visit] = []
    for actor, mine in (("human", np.flatnonzero(~agent)), ("agent", np.flatnonzero(agent))):
        paths = _paths(kernels[actor], len(mine), generator)
        for place, path in zip(mine, paths, strict=True):
            mode = modes[generator.choice(len(modes), p=sizes / sizes.sum())]
            visits += _visits(actor, int(place), float(begins[place]), mode, path, products[mode], crowd, generator)
    return sorted(visits, key=lambda own: (own.begins, own.name))


def _paths(kernel: Kernel, count: int, generator: np.random.Generator) -> list[list[str]]:
    if not count:
        return []
    session, state = walk(kernel, count, generator)
    words = np.asarray(kernel.states, object)[state]
    return [
        [own for own in part if own not in (END, "login")]
        for part in np.split(words, np.flatnonzero(np.diff(session)) + 1)
    ]


def _visits(
    actor: str,
    number: int,
    begins: float,
    mode: str,
    path: list[str],
    ids: Sequence[str],
    crowd: Crowd,
    generator: np.random.Generator,
) -> list[Visit]:
    """A shopper's session, or an agent's two. Names say nothing of who it is."""
    two = actor == "agent" and generator.random() < crowd.recon
    name, draw = _name(generator), float(generator.random())
    if not two:
        return [Visit(name, actor, "plain", begins, mode, _steps(actor, path, ids, crowd.again, generator), draw)]
    looks = [own for own in path if own not in ("add_item", "checkout", PURCHASE)]
    first = _steps(actor, looks, ids, crowd.again, generator)
    second = _steps(actor, list(CLEAN), ids, crowd.again, generator)
    later = begins + first[-1].after + float(generator.exponential(20.0))
    return [
        Visit(name, actor, "recon", begins, mode, first, draw),
        Visit(_name(generator), actor, "clean", later, mode, second, draw, name),
    ]


def _name(generator: np.random.Generator) -> str:
    """As a browser's UUID of version 4."""
    sign = generator.bytes(16).hex()
    return f"{sign[:8]}-{sign[8:12]}-4{sign[13:16]}-a{sign[17:20]}-{sign[20:]}"


def _steps(
    actor: str, path: Sequence[str], ids: Sequence[str], again: float, generator: np.random.Generator
) -> list[Step]:
    shape, scale = GAPS[actor]
    steps, after = [], 0.0
    product = ids[int(generator.integers(len(ids)))]
    for place, state in enumerate(path):
        if place:
            after += float(generator.gamma(shape, scale))
        if actor == "agent" and state in ("view_item", "learn_more"):
            product = ids[int(generator.integers(len(ids)))]
        hovers = NAMES[state].startswith("hover_")
        # A dwell is at least what counts as one.
        dwell = 1200 + int(1e3 * generator.gamma(*DWELL[actor])) if hovers else None
        about = state in ("view_item", "learn_more", "add_item", "remove", PURCHASE) or hovers
        twice = bool(generator.random() < again)
        steps.append(Step(after, state, product if about else None, dwell, twice))
    return steps
