"""Learned customers as a virtual market: a day and many days under any promotion, and a folder that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from marl_pricing.virtual_market.answers import (
    Answer,
    AnswerNetwork,
    answer_of,
    coupon_logits,
    drawn_answer,
    drawn_offer,
    mean_answer,
    offer_of,
)
from marl_pricing.virtual_market.counts import expected_orders
from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.fit import FitSettings, Fitted
from marl_pricing.virtual_market.folder import Kept
from marl_pricing.virtual_market.memory import MEMORY_NAMES, NUM_FEATURES, features, next_memory, state_features
from marl_pricing.virtual_market.states import StateForm

Array = jax.Array
NODES = ("state", "day", "action_1", "action_2", "next_state")
MODEL = Kept("model", told="model.json", arrays="arrays.npz", format=2)


def _law(width: int, fitted: Any, memory: Array, promotion: Array, weekday: Array) -> Answer:
    """Laws [K, B] of all members' answers."""
    inputs = features(memory, promotion, weekday, fitted.usual)
    return jax.vmap(lambda own: answer_of(width, own, inputs, promotion, memory[:, 2], fitted.usual_fee))(
        fitted.customers
    )


def _own(law: Answer, member: Array) -> Answer:
    """The law [B] of each row's member [B]."""
    return Answer(*(jnp.take_along_axis(leaf, member[None], 0)[0] for leaf in law))


@partial(jax.jit, static_argnames=("width", "form", "deterministic"))
def _step(
    width: int, form: StateForm, deterministic: bool, fitted: Fitted, key: Array, memory: Array, day: Array,
    promotion: Array, member: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """(answers [B, 2], memories [B, 21]) of a day; member −1 is the mean of all."""
    law = _law(width, fitted, memory, promotion, day)
    if deterministic:
        mean = mean_answer(law)
        own = jnp.take_along_axis(mean, jnp.maximum(member, 0)[None, :, None], 0)[0]
        answer = jnp.where(member[:, None] < 0, mean.mean(0), own)
    else:
        key, key_member = jax.random.split(key)
        anyone = jax.random.randint(key_member, member.shape, 0, law.odds.shape[0])
        answer = drawn_answer(key, _own(law, jnp.where(member < 0, anyone, member)))
    return answer, next_memory(memory, promotion, answer, form, jnp)


@partial(jax.jit, static_argnames=("width", "deterministic"))
def _offer(width: int, deterministic: bool, fitted: Fitted, key: Array, memory: Array) -> Array:
    """Promotions [B, 2] as the logging policy would hand them out: the likeliest, or drawn."""
    logits = coupon_logits(width, fitted.platform, state_features(memory, fitted.usual))
    if deterministic:
        return offer_of(logits[0].argmax(-1), logits[1].argmax(-1))
    return drawn_offer(key, logits)


@dataclass(frozen=True)
class VirtualMarket:
    """An ensemble of learned customers.

    The nodes of its graph: `state` [B, 21] (`memory.MEMORY_NAMES`; the first three are the promotion document's), `day`
    [B, 1] (0 Monday), `action_1` [B, 2] coupons and discount, `action_2` [B, 2] orders and average fee, `next_state`
    [B, 21]. `state` and `day` are given.
    """

    settings: FitSettings
    fitted: Fitted

    @property
    def members(self) -> int:
        """Of the ensemble."""
        return int(jax.tree.leaves(self.fitted.customers)[0].shape[0])

    def _given(self, data: Mapping[str, Any]) -> dict[str, np.ndarray]:
        widths = {"state": len(MEMORY_NAMES), "day": 1, "action_1": 2, "action_2": 2}
        for name in data:
            if name not in widths:
                raise ModelError(f"{name}: there is no such node to be given; accepted are {', '.join(widths)}")
        for name in ("state", "day"):
            if name not in data:
                raise ModelError(f"{name}: has to be given")
        found = {name: np.asarray(data[name], np.float32) for name in data}
        rows = len(found["state"]) if found["state"].ndim == 2 else -1
        for name, own in found.items():
            if own.shape != (rows, widths[name]) or not np.isfinite(own).all():
                raise ModelError(f"{name} of shape {own.shape}: accepted are finite numbers [rows, {widths[name]}]")
        if not np.isin(found["day"], np.arange(7)).all():
            raise ModelError("day: accepted is 0 (Monday) … 6")
        return found

    def _member(self, rows: int, member: int | None) -> Array:
        if member is not None and not 0 <= member < self.members:
            raise ModelError(f"member={member!r}: accepted is 0 … {self.members - 1}, or None")
        return jnp.full((rows,), -1 if member is None else member, jnp.int32)

    def infer_one_step(
        self, data: Mapping[str, Any], deterministic: bool = True, member: int | None = None, seed: int = 0
    ) -> dict[str, np.ndarray]:
        """Fill in the nodes that are not given, of one day.

        Args:
            data: node → [B, features]; `state` and `day` at least.
            deterministic: expected orders and fee, and the likeliest coupon; else all are drawn.
            member: of the ensemble; None is its mean, or, drawn, any one for each row.
            seed: of the draws.

        Returns:
            Every node.

        Raises:
            ModelError: for nodes that there are not, and data of another shape.
        """
        found = self._given(data)
        keys = jax.random.split(jax.random.key(seed))
        own = self.settings
        memory, day = jnp.asarray(found["state"]), jnp.asarray(found["day"][:, 0], jnp.int32)
        if "action_1" not in found:
            found["action_1"] = np.asarray(_offer(own.width, deterministic, self.fitted, keys[0], memory))
        promotion = jnp.asarray(found["action_1"])
        if "action_2" not in found:
            who = self._member(len(memory), member)
            answer, after = _step(own.width, own.form, deterministic, self.fitted, keys[1], memory, day, promotion, who)
            return found | {"action_2": np.asarray(answer), "next_state": np.asarray(after)}
        after = next_memory(memory, promotion, jnp.asarray(found["action_2"]), own.form, jnp)
        return found | {"next_state": np.asarray(after)}

    def infer_k_steps(
        self, data: Mapping[str, Any], k: int, deterministic: bool = True, member: int | None = None, seed: int = 0
    ) -> list[dict[str, np.ndarray]]:
        """k days, each from the state that the day before left.

        Args:
            data: as `infer_one_step`, of the first day; `action_1` may be [k, B, 2], a promotion a day, and is drawn
                from the logging policy where it is not given.
        """
        if k < 1:
            raise ModelError(f"k={k!r}: accepted is a number of at least 1")
        promotions = None if "action_1" not in data else np.asarray(data["action_1"], np.float32)
        if promotions is not None and promotions.ndim == 3 and len(promotions) != k:
            raise ModelError(f"action_1 of {len(promotions)} days: accepted are k={k}")
        state, day = np.asarray(data["state"]), np.asarray(data["day"])
        told = []
        for number in range(k):
            own: dict[str, Any] = {"state": state, "day": (day + number) % 7}
            if promotions is not None:
                own["action_1"] = promotions[number] if promotions.ndim == 3 else promotions
            told.append(self.infer_one_step(own, deterministic, member, seed + number))
            state = told[-1]["next_state"]
        return told

    def expected(self, memory: np.ndarray, coupons: int, discount: float, weekday: int) -> np.ndarray:
        """[K, B] expected orders of every member where all customers are handed the same."""
        promotion = jnp.tile(jnp.asarray([coupons, discount], jnp.float32), (len(memory), 1))
        return np.asarray(_expected(self.settings.width, self.fitted, jnp.asarray(memory, jnp.float32),
                                    promotion, jnp.full(len(memory), weekday, jnp.int32)))  # fmt: skip

    def save(self, folder: Path | str) -> Path:
        """Write the model as one folder, whole or not at all; a model that is there is replaced.

        Raises:
            ModelError: for a folder that holds something else.
        """
        flat = {
            f"{part}/{name}": np.asarray(leaf)
            for part, tree in (("customers", self.fitted.customers), ("platform", self.fitted.platform))
            for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
        }
        flat |= {"usual": self.fitted.usual, "usual_fee": self.fitted.usual_fee, "losses": self.fitted.losses}
        if self.fitted.matched is not None:
            flat["matched"] = self.fitted.matched
        told = {
            "settings": self.settings.model_dump(),
            "state": list(MEMORY_NAMES),
            "nodes": list(NODES),
            "arrays": {name: list(leaf.shape) for name, leaf in flat.items()},
        }
        return MODEL.save(folder, told, flat)


@partial(jax.jit, static_argnames="width")
def _expected(width: int, fitted: Fitted, memory: Array, promotion: Array, weekday: Array) -> Array:
    law = _law(width, fitted, memory, promotion, weekday)
    return expected_orders(jax.nn.sigmoid(law.odds), law.more)


def load_model(folder: Path | str) -> VirtualMarket:
    """The model of a folder.

    Raises:
        ModelError: one line for a folder that holds no whole model.
    """
    folder = Path(folder)
    try:
        told, arrays = MODEL.read(folder)
        settings = FitSettings.model_validate(told.get("settings"))
    except ValueError as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{folder / MODEL.told}: its settings are no model's") from None
    if {name: list(leaf.shape) for name, leaf in arrays.items()} != told.get("arrays"):
        raise ModelError(f"{folder / MODEL.arrays}: has other arrays than {MODEL.told} says")

    def tree(part: str) -> Any:
        own = {name.removeprefix(f"{part}/"): leaf for name, leaf in arrays.items() if name.startswith(f"{part}/")}
        return traverse_util.unflatten_dict(own, sep="/")

    try:
        fitted = Fitted(tree("customers"), tree("platform"), arrays["usual"], arrays["usual_fee"], arrays["losses"],
                        arrays["matched"] if settings.matching else None)  # fmt: skip
        inputs = jax.ShapeDtypeStruct((1, NUM_FEATURES), jnp.float32)
        wanted = jax.eval_shape(
            partial(AnswerNetwork(settings.width).init, usual_fee=jnp.zeros(3)), jax.random.key(0), inputs,
            jax.ShapeDtypeStruct((1, 2), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32),
        )  # fmt: skip
        shapes = jax.tree.map(lambda leaf: leaf.shape[1:], fitted.customers)
        if shapes != jax.tree.map(lambda leaf: leaf.shape, wanted):
            raise KeyError
    except (KeyError, ValueError, TypeError):
        raise ModelError(f"{folder}: its arrays are not those of networks of width {settings.width}") from None
    return VirtualMarket(settings, fitted)
