"""Episodes in which something is done by force from one epoch on, next to the same episodes left alone.

Policies play as in `evaluation.play`, under the same random numbers. What is forced is put in place of what they chose;
they see it, and remember it, as they would anything else that happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from marl_pricing import market
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Outcome, Policy
from marl_pricing.market.types import epoch_share
from marl_pricing.policies.targets import price_towards

Array = jax.Array
# Episodes times branches of one call: enough to fill the processor, and one compiled program however many there are.
_ROWS = 512


class Force(struct.PyTreeNode):
    """What is done by force, for E episodes and B branches of each. NaN leaves a thing as it is."""

    price: Array  # [E, B, N] money, to be posted as nearly as the price map allows
    outright: Array  # [E, B] bool, last prices are moved there first, so that any price can be posted
    stock: Array  # [E, B, N] units on hand when the shoppers of epoch τ come
    agent_share: Array  # [E, B]
    epochs: Array  # [E, B] int32, k: prices and share are forced in epochs τ … τ + k − 1


class Moment(struct.PyTreeNode):
    """E episodes at the start of epoch τ."""

    state: MarketState  # [E, ...]
    memory: Any  # [E, ...] of the policy
    gone: Array  # [E, S] bool, the seller's market has ended


class Path(struct.PyTreeNode):
    """What happened. Leading axes [E, epochs], or [E, B, epochs] from epoch τ on."""

    price: Array  # [..., N] money, posted
    ordered: Array  # [..., N] units ordered from the supplier
    reward: Array  # [..., S] money, raw
    live: Array  # [..., S] bool, as in `play.Record`


def leave_alone(shape: MarketShape, episodes: int, branches: int) -> Force:
    """No force at all, as NumPy arrays to be filled in."""
    rows = (episodes, branches)
    parts: dict[str, Any] = {
        "price": np.full((*rows, shape.num_offers), np.nan, np.float32),
        "outright": np.zeros(rows, bool),
        "stock": np.full((*rows, shape.num_offers), np.nan, np.float32),
        "agent_share": np.full(rows, np.nan, np.float32),
        "epochs": np.zeros(rows, np.int32),
    }
    return Force(**parts)


def check_epochs(shape: MarketShape, at: int, epochs: int) -> None:
    """Refuse what does not lie within an episode.

    Raises:
        ValueError: naming the number and what is accepted.
    """
    last = shape.episode_length - 1
    if not 0 <= at <= last:
        raise ValueError(f"at={at!r}: accepted is an epoch of the episode, from 0 to {last}")
    if not 1 <= epochs <= shape.episode_length - at:
        raise ValueError(f"epochs={epochs!r}: accepted is 1 to {shape.episode_length - at}, from epoch {at} on")


def _meddle(params: MarketParams, state: MarketState, force: Force, since: Array) -> tuple[MarketState, Array]:
    """The state with its forced stock, and the share of agents that comes."""
    share = epoch_share(params, state)
    share = jnp.where((since < force.epochs) & ~jnp.isnan(force.agent_share), force.agent_share, share)
    if state.stock is not None and state.pipeline is not None:
        taken = (since == 0) & ~jnp.isnan(force.stock)
        due = jnp.where(taken, 0.0, state.pipeline[:, 0])
        state = state.replace(
            stock=jnp.where(taken, force.stock, state.stock), pipeline=state.pipeline.at[:, 0].set(due)
        )
    return state, share


def _override(
    shape: MarketShape, params: MarketParams, state: MarketState, action: Action, force: Force, since: Array
) -> tuple[MarketState, Action]:
    """Forced prices in the place of chosen ones."""
    forced = (since < force.epochs) & ~jnp.isnan(force.price)
    wanted = jnp.where(forced, force.price, state.prices)
    last = jnp.where(force.outright, wanted, state.prices)
    ours = price_towards(shape, params, last, wanted)
    here = forced.reshape(ours.shape)
    surprise = action.log_prob
    if surprise is not None:  # a price that is not chosen tells nothing of the policy
        surprise = jnp.where(here.any(-1), 0.0, surprise)
    return state.replace(prices=last), action.replace(price=jnp.where(here, ours, action.price), log_prob=surprise)


def _epoch(
    shape: MarketShape,
    params: MarketParams,
    act: Any,
    parameters: Any,
    keys: tuple[Array, Array],
    moment: Moment,
    force: Force,
    since: Array,
) -> tuple[Moment, Path]:
    """One epoch of one market. Sellers look, choose and remember; then what is forced takes the place of the choice."""
    state, share = _meddle(params, moment.state, force, since)
    # A share that moves by itself goes on underneath: only this epoch's shoppers, and who watches them, see the forced.
    seen, world = state, params
    if state.agent_share is None:
        world = params.replace(traffic=params.traffic.replace(agent_share=share))
    else:
        seen = state.replace(agent_share=share)
    key_market, key_policy = (
        jax.random.fold_in(key, state.epoch + later) for key, later in zip(keys, (1, 0), strict=True)
    )
    observation = market.observe(shape, world, seen)
    action, memory = act(parameters, key_policy, moment.memory, observation, seen, world)
    state, action = _override(shape, params, state, action, force, since)
    outcome: Outcome
    state, _, outcome = market.choose_world(
        market.step_candidates(key_market, shape, state, action, params, share[None]), jnp.asarray(0)
    )
    live = outcome.acted & ~moment.gone
    path = Path(outcome.prices, outcome.ordered, outcome.reward, live)
    return Moment(state, memory, moment.gone | outcome.terminated), path


def _keys(key: Array, number: Array) -> tuple[Array, Array]:
    """Keys of an episode's market and of its policy, as in `play.play_episodes`."""
    key_market, key_policy = jax.random.split(key)
    return jax.random.fold_in(key_market, number), jax.random.fold_in(key_policy, number)


@partial(jax.jit, static_argnames=("shape", "act"))
def _go_on(key, shape, params, act, parameters, moment, force, epochs):
    length, num_offers, num_sellers = shape.episode_length, shape.num_offers, shape.num_sellers
    empty = Path(
        jnp.zeros((length, num_offers)),
        jnp.zeros((length, num_offers)),
        jnp.zeros((length, num_sellers)),
        jnp.zeros((length, num_sellers), bool),
    )

    def branch(number: Array, moment: Moment, force: Force) -> tuple[Path, Moment]:
        keys = _keys(key, number)

        def epoch(since: Array, carry: tuple[Path, Moment]) -> tuple[Path, Moment]:
            path, now = carry
            now, new = _epoch(shape, params, act, parameters, keys, now, force, since)
            return jax.tree.map(lambda all_, one: all_.at[since].set(one), path, new), now

        # A loop of traced length: what leads to epoch τ, and what comes of it after one epoch or fifty, is one program.
        return jax.lax.fori_loop(0, epochs, epoch, (empty, moment))

    branches = jax.vmap(branch, in_axes=(None, None, 0))
    return jax.vmap(branches)(jnp.arange(force.epochs.shape[0]), moment, force)


@partial(jax.jit, static_argnames=("shape", "num_episodes"))
def _begin(key, shape, params, memory, num_episodes):
    def episode(number: Array) -> Moment:
        state, _ = market.reset(jax.random.fold_in(_keys(key, number)[0], 0), shape, params)
        return Moment(state, memory, jnp.zeros((shape.num_sellers,), bool))

    return jax.vmap(episode)(jnp.arange(num_episodes))


def _branches(
    key: Array, shape: MarketShape, params: MarketParams, policy: Policy, moment: Moment, force: Force, epochs: int
) -> tuple[Path, Moment]:
    """Paths [E, B, H, ...] of all branches, and where the last ones end [E, ...]."""
    num_episodes, num_branches = force.epochs.shape
    width = max(1, _ROWS // num_episodes)
    parts = []
    for first in range(0, num_branches, width):
        own: Force = jax.tree.map(lambda leaf, first=first: leaf[:, first : first + width], force)
        count = own.epochs.shape[1]
        own = jax.tree.map(lambda leaf, n=width - count: np.concatenate([leaf, *[leaf[:, -1:]] * n], 1), own)
        path, after = _go_on(key, shape, params, policy.act, policy.parameters, moment, own, epochs)
        parts.append(jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[:, :n, :epochs], path))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves, 1), *parts), jax.tree.map(lambda x: x[:, -1], after)


@dataclass(frozen=True)
class Start:
    """E episodes of one policy, played undisturbed up to epoch τ; from here branches go on.

    Attributes:
        key, policy: of one training seed.
        at: τ.
        before: [E, τ, ...] NumPy arrays, how it came here.
        moment: the beginning of epoch τ.
    """

    key: Array
    shape: MarketShape
    params: MarketParams
    policy: Policy
    at: int
    before: Path
    moment: Moment

    @property
    def num_episodes(self) -> int:
        """E."""
        return self.before.price.shape[0]

    def branch(self, force: Force, epochs: int) -> Path:
        """What comes of each branch's force.

        Args:
            force: [E, B, ...].
            epochs: H, how far from epoch τ.

        Returns:
            [E, B, H, ...] NumPy arrays.
        """
        return _branches(self.key, self.shape, self.params, self.policy, self.moment, force, epochs)[0]


def follow(
    key: Array, shape: MarketShape, params: MarketParams, policies: Sequence[Policy], num_episodes: int, at: int
) -> list[Start]:
    """Play each policy's episodes up to epoch τ, those of `play.play` under the same key.

    Args:
        policies: one a training seed; seed k plays under `key` with k folded in.
        at: τ.

    Raises:
        ValueError: for no policy, less than one episode, or an epoch that is not in it.
    """
    if not policies:
        raise ValueError("policies=[]: accepted is at least one policy")
    if num_episodes < 1:
        raise ValueError(f"episodes={num_episodes!r}: accepted is a whole number of at least 1")
    check_epochs(shape, at, 1)
    starts = []
    for number, policy in enumerate(policies):
        own = jax.random.fold_in(key, number)
        first = _begin(own, shape, params, policy.start(), num_episodes)
        path, moment = _branches(own, shape, params, policy, first, leave_alone(shape, num_episodes, 1), at)
        before = jax.tree.map(lambda leaf: leaf[:, 0], path)
        starts.append(Start(own, shape, params, policy, at, before, moment))
    return starts
