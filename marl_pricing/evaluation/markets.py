"""Which runs play the same market, and how markets differ."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import fields, replace

import jax
import numpy as np

from marl_pricing.market import MarketParams, MarketShape


def market_key(shape: MarketShape, params: MarketParams, *, with_omega: bool = True) -> Hashable:
    """Equal for equal markets; what sellers observe does not count."""
    if not with_omega:
        shape, params = _without_omega(shape, params)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return replace(shape, features=()), tuple((leaf.shape, leaf.tobytes()) for leaf in leaves)


def market_digest(shape: MarketShape, params: MarketParams) -> str:
    """SHA-256 of a market without ω, the same for markets whose profits mean the same."""
    static, leaves = _without_omega(shape, params)
    found = hashlib.sha256(repr(replace(static, features=())).encode())
    for leaf in jax.tree.leaves(leaves):
        array = np.asarray(leaf)
        found.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    return found.hexdigest()


def _without_omega(shape: MarketShape, params: MarketParams) -> tuple[MarketShape, MarketParams]:
    reward = params.reward.replace(omega=np.zeros(shape.num_sellers, np.float32))
    return replace(shape, reward=replace(shape.reward, normalise_shaping=True)), params.replace(reward=reward)


def differences(markets: Sequence[tuple[MarketShape, MarketParams]]) -> list[str]:
    """Names of the parts in which markets differ beyond omega, and "omega" where it differs."""
    found: list[str] = []
    omegas = {np.asarray(params.reward.omega).tobytes() for _, params in markets}
    bare = [_without_omega(*market) for market in markets]
    first_shape, first_params = bare[0]
    for part in fields(MarketShape):
        name = part.name
        if name == "features":
            continue
        same = all(getattr(shape, name) == getattr(first_shape, name) for shape, _ in bare)
        if same and hasattr(first_params, name):
            same = len({_bytes(getattr(params, name)) for _, params in bare}) == 1
        if not same:
            found.append(name)
    return found + (["omega"] if len(omegas) > 1 else [])


def _bytes(tree: object) -> bytes:
    return b"|".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree))


def comparable(markets: Sequence[tuple[MarketShape, MarketParams]]) -> bool:
    """Whether these markets differ in omega at most, so that profits mean the same in all of them."""
    return not set(differences(markets)) - {"omega"}


def comparison_note(markets: Sequence[tuple[MarketShape, MarketParams]]) -> str:
    """One sentence on whether profits of these runs can be compared; empty for a single run."""
    if len(markets) < 2:
        return ""
    differ = differences(markets)
    if not differ:
        return "All runs play the same market."
    if differ == ["omega"]:
        return "The markets of these runs differ in omega only, so that their raw profits can be compared."
    beyond = ", ".join(name for name in differ if name != "omega")
    return f"The markets of these runs differ beyond omega ({beyond}): their profits are not to be compared directly."
