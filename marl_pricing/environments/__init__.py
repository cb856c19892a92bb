"""Adapters: the market as other people's libraries want it."""

from __future__ import annotations

from pettingzoo import AECEnv
from pettingzoo.utils import OrderEnforcingWrapper

from marl_pricing.environments.one_seller import OneSellerEnv
from marl_pricing.environments.parallel import PricingEnv
from marl_pricing.environments.phantom_defence import PhantomDefenceEnv
from marl_pricing.environments.phantom_prototype import PhantomPrototypeEnv
from marl_pricing.environments.turns import TurnTaking
from marl_pricing.market import MarketParams, MarketShape

__all__ = ["OneSellerEnv", "PhantomDefenceEnv", "PhantomPrototypeEnv", "PricingEnv", "aec_env", "parallel_env"]


def parallel_env(
    shape: MarketShape, params: MarketParams, render_mode: str | None = None, *, flat_masks: bool = False
) -> PricingEnv:
    """One market as a PettingZoo parallel environment."""
    return PricingEnv(shape, params, render_mode, flat_masks=flat_masks)


def aec_env(
    shape: MarketShape, params: MarketParams, render_mode: str | None = None, *, flat_masks: bool = False
) -> AECEnv:
    """One market in PettingZoo's turn-taking form: sellers act in turn, the epoch runs after the last of them."""
    return OrderEnforcingWrapper(TurnTaking(PricingEnv(shape, params, render_mode, flat_masks=flat_masks)))
