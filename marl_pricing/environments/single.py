"""What the Gymnasium environments of one seller share: keys, calls, checks."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import market
from marl_pricing.environments.spaces import need_known_information
from marl_pricing.forks import Spawned, refuse_forked
from marl_pricing.market import Action, MarketParams, MarketShape, MarketState, Outcome
from marl_pricing.market.types import epoch_share
from marl_pricing.traffic.contamination import shares_around
from marl_pricing.widths import as_32_bits, in_32_bits

Array = jax.Array
Range = tuple[float, float]
SeenEntry = tuple[str, str, Range, Range]  # name, unit, between what the number lies, between what it stands for


@partial(jax.jit, static_argnums=1)
def _reset(key: Array, shape: MarketShape, params: MarketParams) -> MarketState:
    return market.reset(key, shape, params)[0]


@partial(jax.jit, static_argnums=1)
def _step(
    key: Array, shape: MarketShape, params: MarketParams, state: MarketState, price: Array, offsets: Array
) -> tuple[MarketState, Outcome, Array, Array]:
    """The epoch under the candidate share that is worst for the seller; (state, outcome, worst, rewards [C])."""
    shares = shares_around(epoch_share(params, state), offsets)
    state, _, outcome = market.step_candidates(key, shape, state, Action(price), params, shares)
    rewards = outcome.reward[:, 0]
    worst = rewards.argmin()
    state, outcome = market.choose_world((state, outcome), worst)
    return state, outcome, worst, rewards


class SingleSellerEnv(gymnasium.Env):
    """One market of one seller, played under the worst of a few candidate shares of agents.

    Attributes:
        shape, params: the market.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    @in_32_bits
    def __init__(self, shape: MarketShape, params: MarketParams, offsets: np.ndarray) -> None:
        """Wrap a market.

        Args:
            offsets: [C] candidates, evenly spaced, relative to the nominal share of agents; [0.0] for that one only.

        Raises:
            ValueError: for a market of several sellers, or one whose seller chooses orders.
            ForkedError: in a process that was forked from one in which JAX ran; so do `reset` and `step`.
        """
        self._spawned = Spawned()  # first: see there
        if shape.num_sellers != 1:
            raise ValueError(f"num_sellers={shape.num_sellers}: accepted is 1; marl_pricing.parallel_env takes more")
        if shape.chooses_orders:
            raise ValueError("inventory.rule='chosen': accepted are rules that order by themselves")
        need_known_information(shape)
        self.shape, self.params = shape, jax.tree.map(as_32_bits, params)
        self._offsets = jnp.asarray(offsets, jnp.float32)
        self._key: Array | None = None
        self._state: MarketState | None = None
        self._over = False

    @in_32_bits
    def _begin(self, seed: int | None) -> MarketState:
        refuse_forked()
        super().reset(seed=seed)
        key = jax.random.key(np.uint32(self.np_random.integers(2**32, dtype=np.uint64)))
        self._key, reset_key = jax.random.split(key)
        self._state, self._over = _reset(reset_key, self.shape, self.params), False
        return self._state

    @in_32_bits
    def _advance(self, price: np.ndarray) -> tuple[MarketState, MarketState, Outcome, int, np.ndarray]:
        """(state before, state after, outcome, index of the worst candidate, rewards of all)."""
        if self._state is None or self._key is None:
            raise ValueError("step: the environment has not been reset; call reset() first")
        if self._over:
            raise ValueError("step: the episode is over; call reset() first")
        refuse_forked()
        self._key, key = jax.random.split(self._key)
        before = self._state
        state, outcome, worst, rewards = jax.device_get(
            _step(key, self.shape, self.params, before, price.reshape(1, -1), self._offsets)
        )
        self._state = state
        self._over = bool(outcome.terminated[0] or outcome.truncated)
        return jax.device_get(before), state, outcome, int(worst), rewards


def check_box(action: Any, space: gymnasium.spaces.Box) -> np.ndarray:
    """An action of a Box as float32.

    Raises:
        ValueError: for another shape, no numbers, or numbers outside; one line.
    """
    try:
        array = np.asarray(action, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"action={action!r:.80}: accepted are numbers of shape {space.shape}") from None
    low, high = float(space.low.min()), float(space.high.max())
    if array.shape != space.shape:
        raise ValueError(f"action of shape {array.shape}: accepted is {space.shape}")
    if not np.all(np.isfinite(array)) or np.any(array < space.low) or np.any(array > space.high):
        bad = array[~(np.isfinite(array) & (array >= space.low) & (array <= space.high))]
        raise ValueError(f"action={bad.flat[0]}: accepted are numbers from {low:g} to {high:g}")
    return array
