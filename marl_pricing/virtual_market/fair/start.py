"""What fair policies have in common, however they come about: length, goal, where they start, their folder."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from marl_pricing.config.errors import Settings
from marl_pricing.market import MarketShape
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.fair.feedback import DOUBT, Feedback
from marl_pricing.virtual_market.fair.game import PromotionGame, PromotionParams
from marl_pricing.virtual_market.fair.playing import measure_zero_gmv
from marl_pricing.virtual_market.folder import Kept
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.memory import MEMORY_NAMES, memories_of
from marl_pricing.virtual_market.states import StateForm
from marl_pricing.widths import float32

# Format 3 says what kind of policy it is; one of 2 is learned. From 4 on a learned one may lean on a plan.
POLICY = Kept("policy", told="policy.json", arrays="policy.npz", format=4, older=(2, 3))


class EpisodeSettings(Settings):
    """What every fair policy is made for."""

    days: Annotated[int, Field(ge=1, le=365)] = Field(14, description="of an episode")
    goal: Annotated[float, Field(gt=0)] = Field(6.5, description="return on investment that counts outside")
    reserve: Annotated[float, Field(ge=0, le=2)] = Field(
        default=DOUBT,
        description="of a plan: standard deviation of what a day leaves beside the tables, in shares of its GMV: the "
        "larger, the more is kept for the last days",
    )


def starts_of(log: PromotionLog, form: StateForm, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(memories [N, 21, C], weekdays [N]) before each of the last days of a log, and after the last of all.

    Raises:
        LogError: for a log of fewer days.
    """
    if count > len(log.dates):
        raise LogError(f"starts={count}: accepted are at most {len(log.dates)}, the days of the log")
    memory = memories_of(log, form)[:, -count:]
    last = int(log.weekdays[-1])
    return memory.transpose(1, 2, 0), (last + 1 - np.arange(count)[::-1]) % 7


def with_zero_gmv(
    game: PromotionGame, shape: MarketShape, params: PromotionParams, draws: int, seed: int
) -> PromotionParams:
    """The same, with the GMV without coupons that is measured in its worlds: the mean of so many episodes in each."""
    return params.replace(zero_gmv=float32(measure_zero_gmv(game, shape, params, draws, seed)))


def checked_starts(starts: np.ndarray) -> np.ndarray:
    """Starts [1, 21, C] as a policy's folder has them. Raises ValueError for others."""
    if starts.ndim != 3 or starts.shape[:2] != (1, len(MEMORY_NAMES)) or not np.isfinite(starts).all():
        raise ValueError(f"starts of shape {starts.shape}")
    return starts


def checked_plan(arrays: dict[str, np.ndarray], days: int, threshold: float) -> Feedback:
    """The plan of a policy's folder. Raises KeyError or ValueError where there is none."""
    grid, offers = arrays["grid"], arrays["offers"]
    if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all() or offers.shape != (days, len(grid)):
        raise ValueError(f"grid of shape {grid.shape}, offers of shape {offers.shape} for {days} days")
    if offers.dtype != np.uint8 or offers.max() >= len(OFFERS):
        raise ValueError("offers that there are not")
    return Feedback(grid, offers, threshold)
