"""Rivals that answer as a trained policy does, played in the market that it was trained in."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import yaml

from marl_pricing import config, market
from marl_pricing.config.errors import ConfigError, refuse
from marl_pricing.config.market_settings import Calibration
from marl_pricing.config.opponents import seating_of
from marl_pricing.export.export import ExportSettings, export
from marl_pricing.export.reading import ExportedPolicy, PolicyError, load_policy
from marl_pricing.intake.errors import listed
from marl_pricing.market import Action, MarketParams, MarketShape

Array = np.ndarray
_EPISODES, _SEED = 8, 0
_MOST_EPOCHS = 52


@dataclass(frozen=True)
class LearnedRivals:
    """A policy at its table, the shop in its seat.

    Attributes:
        policy: plays every seat but the shop's, most probable prices.
        seat: number of the shop in that market.
        offers: [N] names of all its offers, the shop's among them.
    """

    policy: ExportedPolicy
    shape: MarketShape
    params: MarketParams
    seat: int
    offers: tuple[str, ...]

    @property
    def ours(self) -> Array:
        """[N] bool: the shop's offers."""
        return np.repeat(np.arange(self.shape.num_sellers) == self.seat, self.shape.num_products)

    def answers(self, prices: Mapping[str, float]) -> Array:
        """[N] what all offers cost while the shop asks these prices, by offer; its own come back as they are.

        Geometric means over episodes and over the second half of each, when rivals have seen the shop's prices for
        long: the same shoppers for every list, so that lists differ by what the shop asks alone.
        """
        shape, sellers, count = self.shape, self.shape.num_sellers, _EPISODES
        asked = jnp.asarray([prices.get(offer, np.nan) for offer in self.offers], jnp.float32)
        levels = jnp.where(jnp.asarray(self.ours)[:, None], asked[:, None], self.params.prices.levels)
        params = self.params.replace(prices=self.params.prices.replace(levels=levels))
        keys = jax.random.split(jax.random.key(_SEED), count)
        state, seen = _reset(keys, shape, params)
        memory, seats = self.policy.start(count * sellers), np.tile(np.arange(sellers), count)
        length, logs = min(shape.episode_length, _MOST_EPOCHS), []
        for epoch in range(length):
            mask = None if seen.order_mask is None else _flat(seen.order_mask)
            said = self.policy.step(_flat(seen.local), seats, memory, mask)
            memory = said["memory_after"]
            state, seen, posted = _step(keys, epoch, shape, state, _action(said, shape, count), params)
            logs.append(np.log(np.asarray(posted, float)))
        return np.where(self.ours, np.asarray(asked, float), np.exp(np.mean(logs[length // 2 :], (0, 1))))


def _flat(values: Any) -> Array:
    """[E, S, …] → [E · S, …]."""
    found = np.asarray(values)
    return found.reshape(-1, *found.shape[2:])


def _action(said: Mapping[str, Array], shape: MarketShape, count: int) -> Action:
    """What the policy [E · S] says, as the market's action [E]."""
    by_seller = (count, shape.num_sellers, -1)
    orders = said.get("order_index")
    price = np.asarray(said["price_index"]).reshape(by_seller)
    surprise = None
    if shape.reward.information_value == "revelation":
        chosen = np.take_along_axis(said["price_log_prob"], said["price_index"][..., None], -1)[..., 0]
        surprise = jnp.asarray(chosen.sum(-1).reshape(count, -1), jnp.float32)
    order = None if orders is None else jnp.asarray(orders.reshape(by_seller), jnp.int32)
    return Action(jnp.asarray(price, jnp.int32), order, surprise)


@jax.jit
def _keys_at(keys: jax.Array, epoch: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: jax.random.fold_in(key, 1 + epoch))(keys)


def _reset(keys: jax.Array, shape: MarketShape, params: MarketParams) -> Any:
    own = jax.jit(jax.vmap(lambda key, params: market.reset(key, shape, params), in_axes=(0, None)))
    return own(keys, params)


def _step(
    keys: jax.Array, epoch: int, shape: MarketShape, state: Any, action: Action, params: MarketParams
) -> tuple[Any, Any, jax.Array]:
    state, seen, outcome = _stepped(_keys_at(keys, jnp.int32(epoch)), shape, state, action, params)
    return state, seen, outcome


def _one_step(key: jax.Array, shape: MarketShape, state: Any, action: Action, params: MarketParams) -> Any:
    state, seen, outcome = market.step(key, shape, state, action, params)
    return state, seen, outcome.prices


_stepped = jax.jit(jax.vmap(_one_step, in_axes=(0, None, 0, 0, None)), static_argnums=1)


def load_rivals(
    path: str, seller: str, ours: pd.DataFrame, theirs: pd.DataFrame, words: tuple[str, str]
) -> LearnedRivals:
    """The policy of a run folder or of an exported file, where its market is that of the list.

    Args:
        seller: whose list it is.
        ours, theirs: products of the list and of its rivals: offer, price; of the rivals seller too.
        words: currency and period of the sales, empty where they do not say.

    Raises:
        ConfigError: for another market: naming the seller, the product, the grid of prices or the money that differs.
        RunError: for a folder that is no run.
    """
    policy = _policy(path)
    if "settings" not in policy.about:
        raise refuse("policy", path, "a policy exported by this version, which tells its market, or the run folder")
    settings = config.from_yaml(yaml.safe_dump(policy.about["settings"]), path)
    told = settings.market.calibration
    if told is None:
        raise refuse("policy", path, "one of a calibrated market (market=calibrated), which names sellers and products")
    _refuse_another_market(path, told, seller, ours, theirs, words)
    held, _ = seating_of(settings.opponents, settings.market.num_sellers, told.sellers)
    if held:
        raise refuse("policy", path, "one of a run in which every seller learned, without opponents in their seats")
    if settings.market.prices.map != "levels":
        raise refuse(
            "policy", path, f"one of a market with a grid of prices, not market.prices.map={settings.market.prices.map}"
        )
    # What opponents and starts were is nothing that playing needs.
    alone = settings.model_copy(update={"init_from": None})
    shape, params = config.build(alone).market
    _refuse_another_grid(path, told, params, pd.concat([ours, theirs])[["offer", "price"]])
    return LearnedRivals(policy, shape, params, told.sellers.index(seller), tuple(told.products))


def _policy(path: str) -> ExportedPolicy:
    """Of a file; of a run folder as its export says it."""
    try:
        if not Path(path).is_dir():
            return load_policy(path)
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "policy.npz")
            export(ExportSettings(run=path, format="flax", out=file))
            return load_policy(file)
    except PolicyError as error:
        raise ConfigError(f"policy={path!r}: {error}; accepted is a run folder or an exported policy") from None


def _refuse_another_market(
    path: str, told: Calibration, seller: str, ours: pd.DataFrame, theirs: pd.DataFrame, words: tuple[str, str]
) -> None:
    if seller not in told.sellers:
        raise refuse(
            "policy", path, f"one of a market in which {seller!r} sells; its sellers are {listed(told.sellers)}"
        )
    rivals = sorted(theirs["seller"].unique())
    strange = next((name for name in told.sellers if name != seller and name not in rivals), None)
    if strange is not None:
        known = listed(rivals) if rivals else "nobody"
        raise refuse(
            "policy", path, f"one of a market whose other sellers are rivals here ({known}); {strange!r} is none"
        )
    per_seller = len(told.products) // len(told.sellers)
    for number, product in enumerate(told.products):
        whose = told.sellers[number // per_seller]
        there = ours["offer"] if whose == seller else theirs.loc[theirs["seller"] == whose, "offer"]
        if product not in set(there):
            raise refuse(
                "policy", path, f"one of a market of products that are sold here; {whose!r} sells no {product!r}, but "
                f"{listed(list(there))}",
            )  # fmt: skip
    for name, own, wanted in (("currency", told.currency, words[0]), ("period", told.period, words[1])):
        if own and wanted and own != wanted:
            raise refuse("policy", path, f"one of a market with the {name} of the sales, {wanted}; its {name} is {own}")


def _refuse_another_grid(path: str, told: Calibration, params: MarketParams, today: pd.DataFrame) -> None:
    price = today.set_index("offer")["price"].astype(float)
    levels = np.asarray(params.prices.levels, float)
    for product, own in zip(told.products, levels, strict=True):
        if not own.min() * (1 - 1e-6) <= price[product] <= own.max() * (1 + 1e-6):
            raise refuse(
                "policy", path, f"one of a market whose grid of prices holds today's; that of {product!r} runs from "
                f"{own.min():.4g} to {own.max():.4g}, and today it costs {price[product]:.4g}",
            )  # fmt: skip
