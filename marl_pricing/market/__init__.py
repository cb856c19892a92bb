"""What sellers share: the market, its types, stock, reward and observation."""

from marl_pricing.market.contracts import ContractParams, ContractShape, ContractState, Supplied, booked
from marl_pricing.market.expected import Expectation, expect_variants, expected_demand
from marl_pricing.market.inventory import InventoryParams, InventoryShape
from marl_pricing.market.market import choose_world, reset, step, step_candidates, step_variants
from marl_pricing.market.observation import global_state, layout, observe
from marl_pricing.market.outside import fall_short, sign_outside
from marl_pricing.market.prices import PriceParams, PriceShape
from marl_pricing.market.reward import RewardParams, RewardShape
from marl_pricing.market.types import (
    Action,
    MarketParams,
    MarketShape,
    MarketState,
    Observation,
    Outcome,
    Policy,
    Variants,
    take,
    vary,
)

__all__ = [
    "Action",
    "ContractParams",
    "ContractShape",
    "ContractState",
    "Expectation",
    "InventoryParams",
    "InventoryShape",
    "MarketParams",
    "MarketShape",
    "MarketState",
    "Observation",
    "Outcome",
    "Policy",
    "PriceParams",
    "PriceShape",
    "RewardParams",
    "RewardShape",
    "Supplied",
    "Variants",
    "booked",
    "choose_world",
    "expect_variants",
    "expected_demand",
    "fall_short",
    "global_state",
    "layout",
    "observe",
    "reset",
    "sign_outside",
    "step",
    "step_candidates",
    "step_variants",
    "take",
    "vary",
]
