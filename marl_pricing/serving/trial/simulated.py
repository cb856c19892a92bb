"""The two sides of a comparison: a market that is simulated, and its shoppers one by one, for a live shop.

A session's law is `traffic.sessions`' of the model `chain`: events by its class's kernel, products by the class's
attention at the prices that are, a purchase if its latent type takes them. Here it is drawn in NumPy, session by
session, with what is posted for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.config import Market
from marl_pricing.config.errors import refuse
from marl_pricing.demand import propensities_by_type
from marl_pricing.export.reading import ExportedPolicy
from marl_pricing.serving.shoppers.sessions import NAMES
from marl_pricing.traffic.events import END, PURCHASE, START
from marl_pricing.traffic.kernels import align, default_kernels
from marl_pricing.traffic.params import class_shares

MEASURES = ("revenue", "orders", "proxy", "share")


def check(made: Market) -> None:
    """Refuse what is more than prices, sessions and orders.

    Raises:
        ConfigError: naming the setting.
    """
    shape, params = made
    own = params.traffic.sessions
    wrong = {
        "market.num_sellers": (shape.num_sellers, 1), "market.inventory.rule": (shape.inventory.unlimited, True),
        "traffic.model": (shape.traffic.model, "chain"), "traffic.markup.strength": (shape.traffic.markup, False),
        "traffic.quotes": (shape.traffic.quotes, False), "traffic.comparison": (shape.traffic.comparison, False),
        "traffic.browsing": (shape.traffic.price_visits, False), "traffic.process": (shape.traffic.process, "static"),
        "traffic.count_refused": (shape.traffic.counts_refused, False),
        "traffic.detector": (shape.traffic.detector, "kernels"),
        "market.sub_slots": (shape.sub_slots, 1), "market.demand.patience": (shape.demand.waits, False),
        "market.demand.shock": (shape.demand.shocks, False), "market.demand.level": (shape.demand.moving_level, False),
        "market.prices.map": (shape.prices.map, "levels"),
    }  # fmt: skip
    for name, (value, accepted) in wrong.items():
        if value != accepted:
            raise refuse("run", f"{name}={value}", f"a run whose market has {name} {accepted}")
    assert own is not None
    human, agent = (kernel.matrix for kernel in align(default_kernels()))
    kernels = np.asarray(own.kernels)
    if kernels.shape != (2, 1, *human.shape) or not np.allclose(kernels[:, 0], [human, agent], atol=1e-6):
        raise refuse("run", "traffic.kernels", "a run of the fallback's kernels, without mimicry and perturbation")


def simulate(made: Market, policy: ExportedPolicy, epochs: int, runs: int, seed: int) -> dict[str, np.ndarray]:
    """Means over an episode's epochs, of many: [R] by measure.

    Money, units, weighted events an epoch, and the running estimate of the share of agents.
    """
    shape, params = made
    state, seen = market.reset(jax.random.key(seed), shape, params)
    states, seen = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (runs, *leaf.shape)), (state, seen))

    @jax.jit
    def step(keys: Any, states: Any, index: Any) -> Any:
        own = jax.vmap(lambda key, state, action: market.step(key, shape, state, market.Action(action[None]), params))
        return own(keys, states, index)

    memory, seats = policy.start(runs), [0] * runs
    sums = {name: np.zeros(runs) for name in MEASURES}
    for epoch in range(epochs):
        told = policy.step(np.asarray(seen.local)[:, 0], seats, memory)
        memory = told["memory_after"]
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed + 1), epoch), runs)
        states, seen, outcome = step(keys, states, jnp.asarray(told["price_index"], jnp.int32))
        sums["revenue"] += np.asarray((outcome.price_paid * outcome.sales).sum(-1))
        sums["orders"] += np.asarray(outcome.sales.sum(-1))
        sums["proxy"] += np.asarray(outcome.events.sum(-1))
        sums["share"] += np.asarray(states.share_estimate)
    return {name: own / epochs for name, own in sums.items()}


class Event(NamedTuple):
    """Something that a session does."""

    name: str  # the storefront's
    product: int


class Visitor(NamedTuple):
    """A session, whole."""

    agent: bool
    events: list[Event]


class Crowd:
    """An epoch's sessions at the prices that are, one after the other."""

    def __init__(self, made: Market, seed: int) -> None:
        """Args:
        made: that `check` takes.
        """
        self.made, self._drawn = made, np.random.default_rng(seed)
        human, agent = align(default_kernels())
        self._states, self._matrix = human.states, np.cumsum([human.matrix, agent.matrix], -1)
        shape, params = made
        own = params.traffic.sessions
        assert own is not None
        self._units = np.ones(2) if own.units is None else np.resize(np.asarray(own.units), 2)
        self._share = float(np.asarray(class_shares(shape.demand.num_classes, params.traffic.agent_share))[-1])
        if shape.demand.num_classes == 1:
            self._share = 0.0

        def taste(prices: Any) -> Any:
            there = jnp.ones(shape.num_offers)
            by_type, _ = propensities_by_type(shape.demand, params.demand, prices, there, there > 0, None)
            return by_type

        self._taste = jax.jit(taste)
        there = jnp.ones(shape.num_offers)
        start = params.prices.start_low
        _, self._weight = propensities_by_type(shape.demand, params.demand, start, there, there > 0, None)

    def come(self, prices: Sequence[float]) -> list[Visitor]:
        """The sessions of an epoch at these prices [P], money."""
        by_type = np.asarray(self._taste(jnp.asarray(prices, jnp.float32)), np.float64)  # [G, Y, N]
        attention = np.tensordot(self._weight, by_type, 1)
        attention = np.cumsum(attention / attention.sum(-1, keepdims=True), -1)
        inside, drawn = by_type.sum(-1), self._drawn
        shape, params = self.made
        wanted = shape.traffic.sessions * float(params.demand.scale)
        found = []
        for _ in range(int(wanted + drawn.random())):
            agent = bool(drawn.random() < self._share)
            kind = drawn.choice(len(self._weight), p=self._weight / self._weight.sum())
            own = min(int(agent), inside.shape[1] - 1)
            takes = int(inside[kind, own] * self._units[int(agent)] + drawn.random())
            found.append(Visitor(agent, self._walk(int(agent), attention[own], takes)))
        return found

    def _walk(self, actor: int, attention: np.ndarray, takes: int) -> list[Event]:
        events, state, most = [Event(NAMES[START], 0)], 0, self.made.shape.traffic.max_events
        for _ in range(most):
            state = min(int((self._drawn.random() >= self._matrix[actor, state]).sum()), len(self._states) - 1)
            name = self._states[state]
            if name == END:
                break
            product = min(int((self._drawn.random() >= attention).sum()), len(attention) - 1)
            if name == PURCHASE:
                events += [Event(NAMES[name], product)] * takes
            else:
                events.append(Event(NAMES[name], product))
        return events


def shown_in_training(made: Market, state: Mapping[str, Any]) -> np.ndarray:
    """The training's observation [O] of a state: prices, demand and events of the last epoch, trend, epoch."""
    shape, params = made
    whole, _ = market.reset(jax.random.key(0), shape, params)
    given = {name: jnp.asarray(value, getattr(whole, name).dtype) for name, value in state.items()}
    return np.asarray(market.observe(shape, params, whole.replace(**given)).local)[0]
