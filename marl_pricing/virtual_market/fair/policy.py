"""One policy for all customers that recurrent MAPPO learned: settings, all that its offers depend on, its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from flax import traverse_util
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from marl_pricing.learning import mappo
from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.market import MarketShape
from marl_pricing.virtual_market.fair.feedback import ROW, Feedback
from marl_pricing.virtual_market.fair.game import OBSERVED, STATISTICS, PromotionGame, PromotionParams, promotion_params
from marl_pricing.virtual_market.fair.lean import LeaningSpec, lean_of
from marl_pricing.virtual_market.fair.playing import Played, play_actor
from marl_pricing.virtual_market.fair.start import (
    POLICY,
    EpisodeSettings,
    checked_plan,
    checked_starts,
    with_zero_gmv,
)
from marl_pricing.virtual_market.levels import OFFERS
from marl_pricing.virtual_market.memory import MEMORY_NAMES
from marl_pricing.virtual_market.states import StateForm

LEARNED = "learned policy"
UNCHANGED = "plan kept"
ERRORS = 2.0  # standard errors beyond which a difference is not chance's
_STATISTICS = len(STATISTICS) * len(MEMORY_NAMES)

Count = Annotated[int, Field(ge=1)]


class PolicySettings(EpisodeSettings):
    """How the fair policy is learned."""

    start: Literal["plan", "nothing"] = Field(
        "plan", description="plan: offers by what is left above the threshold, which training moves away from; "
        "nothing: offers drawn at random (docs/virtual_market.md says what settings that takes)",
    )  # fmt: skip
    temperature: Annotated[float, Field(gt=0, le=10)] = Field(
        0.05, description="with start=plan an offer is e times less likely at first for each so much that the plan "
        "expects it to lose, in shares of a day's GMV without coupons",
    )  # fmt: skip
    threshold: Annotated[float, Field(gt=0)] | None = Field(
        None, description="return on investment that is asked for inside the learned market; null: the goal; the "
        "document's is 7.5",
    )  # fmt: skip
    worlds: Literal["first", "ensemble"] = Field(
        "ensemble", description="ensemble: an episode is in any of its members (robust); first: all in the first"
    )
    doubt: Annotated[float, Field(ge=0, le=2)] = Field(
        0.2, description="standard deviation of what an episode adds to the log odds of an order at each depth; "
        "with worlds=first nothing is added",
    )  # fmt: skip
    moving: bool = Field(
        False, description="customers answer by what they did in the episode, too; else by what was known of them "
        "when it began",
    )  # fmt: skip
    starts: Count = Field(
        1, description="last days of the log whose states episodes start from; a plan begins after the last of them, "
        "so that start=plan takes 1",
    )  # fmt: skip
    customers: Count = Field(250, description="of a training episode, every n-th")
    updates: Count = Field(40, description="of the learner")
    episodes: Annotated[int, Field(ge=4, multiple_of=4)] = Field(128, description="of an update")
    hidden: Count = Field(32, description="width of the networks and of their memory")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(2e-3, description="at first; a tenth of it at the end")
    every: Count = Field(10, description="updates after which the policy is played; the best that was found is kept")
    draws: Count = Field(1, description="fixed draws of it that are tried each time, the likeliest offers first")
    gae: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="λ of generalised advantages")
    entropy: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="bonus at first; none at the end")
    epochs: Count = Field(4, description="passes of the gradient over an update's episodes")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of networks, customers and offers")

    @model_validator(mode="after")
    def _one_start_of_a_plan(self) -> PolicySettings:
        if self.start == "plan" and self.starts > 1:
            raise PydanticCustomError("starts", f"starts={self.starts}: accepted with start='plan' is 1")
        return self

    @property
    def asked(self) -> float:
        """Return on investment that is asked for in the learned market."""
        return self.goal if self.threshold is None else self.threshold

    def learner(self) -> LearnerSettings:
        """As the learner takes them: an update is `episodes` whole episodes, and the reward of the last day counts."""
        return LearnerSettings(
            seed=self.seed, num_envs=self.episodes, num_steps=self.days, num_updates=self.updates,
            hidden_size=self.hidden, gamma=0.999, gae_lambda=self.gae, learning_rate=self.learning_rate,
            learning_rate_end=0.1 * self.learning_rate, entropy_start=self.entropy, entropy_end=0.0,
            num_epochs=self.epochs,
        )  # fmt: skip


class Verdict(NamedTuple):
    """What training came to, beside the plan: fresh episodes of both in their worlds, over the same draws.

    Attributes:
        update: that is kept; 0: the plan that it started from.  tried: the best of those that were played.
        episodes: fresh ones.
        reward, plan: mean rewards of the best that was found, and of the plan.
        error: standard error of their difference, episode by episode.
        reached, plan_reached: shares of episodes that reach the threshold.
    """

    update: int
    tried: int
    episodes: int
    reward: float
    plan: float
    error: float
    reached: float
    plan_reached: float

    @property
    def better(self) -> bool:
        """Whether what was found is better than the plan by more than chance (two standard errors)."""
        return self.reward - self.plan > ERRORS * self.error

    @property
    def worse(self) -> bool:
        """Whether it is worse by more than chance."""
        return self.plan - self.reward > ERRORS * self.error

    def said(self) -> str:
        """It in a line."""
        if not self.tried:
            return "no update was better than the plan in its worlds: TRAINING ADDED NOTHING, the plan is kept"
        found = (
            f"in {self.episodes:,} fresh episodes of its worlds update {self.tried} brings a mean reward of "
            f"{self.reward:.3f} (threshold reached in {self.reached:.1%}), the plan {self.plan:.3f} "
            f"({self.plan_reached:.1%}); the difference is {self.reward - self.plan:+.3f}, standard error "
            f"{self.error:.3f}"
        )
        if not self.update:
            return f"{found}: TRAINING ADDED NOTHING beyond chance, the plan is kept"
        if self.worse:
            return f"{found}: TRAINING FAILED, take the plan (kind=plan)"
        return f"{found}: {'it is better' if self.better else 'it is not better by more than chance'}"


@dataclass(frozen=True)
class FairPolicy:
    """A trained policy, and all that its offers depend on.

    Attributes:
        parameters: the actor's.  centre, spread: [84] of what it observes.
        starts: [1, 21, C] the customers' states after the log.  weekday: of the day after it.
        lots: [D, 41] of `playing.play_actor`: which draw of the trained policy it is.
        zero_gmv: [K] GMV a customer and day without coupons in the worlds that it was trained in.
        history: (update, mean reward) of each time that it was played.
        plan, odds: what it leans on (`lean`); None: it started from nothing.
        verdict: what training came to; None for one that was kept before verdicts were.
    """

    settings: PolicySettings
    form: StateForm
    parameters: Any
    centre: np.ndarray
    spread: np.ndarray
    starts: np.ndarray
    weekday: int
    lots: np.ndarray
    zero_gmv: np.ndarray
    history: np.ndarray
    plan: Feedback | None = None
    odds: np.ndarray | None = None
    verdict: Verdict | None = None

    @property
    def title(self) -> str:
        """What it is called beside rules."""
        fell_back = self.plan is not None and self.verdict is not None and self.verdict.update == 0
        return f"{LEARNED} ({UNCHANGED})" if fell_back else LEARNED

    @property
    def threshold(self) -> float:
        """What is asked for in the learned market."""
        return self.settings.asked

    @property
    def measured(self) -> int:
        """Seed of what is measured by playing."""
        return self.settings.seed

    @property
    def game(self) -> PromotionGame:
        """All customers' game."""
        return PromotionGame(self.settings.days, self.form, moving=self.settings.moving)

    @property
    def unit(self) -> float:
        """Money a customer and day that what is left above the threshold is shown in."""
        return float(self.zero_gmv.mean())

    def in_world(self, world: Any, zero_draws: int = 256) -> tuple[MarketShape, PromotionParams]:
        """The game's two halves in other worlds, in which its GMV without coupons is measured."""
        shape, params = promotion_params(
            world, self.starts, [self.weekday], days=self.settings.days, threshold=self.threshold,
            scale=(self.centre, self.spread), unit=self.unit,
        )  # fmt: skip
        return shape, with_zero_gmv(self.game, shape, self.leaning(params), zero_draws, self.measured)

    def leaning(self, params: PromotionParams) -> PromotionParams:
        """Worlds in which it observes the plan that it leans on."""
        return params.replace(lean=lean_of(self.plan, self.odds) if self.plan and self.odds is not None else None)

    def actor(self, shape: MarketShape, params: PromotionParams) -> NetworkSpec:
        """Its network."""
        return learner_of(self.settings, self.game, shape, self.leaning(params)).actor

    def play(self, shape: MarketShape, params: PromotionParams, worlds: np.ndarray, seed: int) -> Played:
        """It in worlds [R]."""
        own, actor = self.leaning(params), self.actor(shape, params)
        return play_actor(self.game, shape, own, actor, self.parameters, worlds, seed, self.lots)

    def save(self, folder: Path | str) -> Path:
        """Write it as one folder, whole or not at all. Raises ModelError for one that holds something else."""
        flat = {f"actor/{name}": np.asarray(leaf) for name, leaf in _flat(self.parameters).items()}
        flat |= {
            "centre": self.centre, "spread": self.spread, "starts": self.starts.astype(np.float32),
            "lots": self.lots, "zero_gmv": self.zero_gmv, "history": self.history,
        }  # fmt: skip
        if self.plan is not None and self.odds is not None:
            flat |= {"grid": self.plan.grid, "offers": self.plan.offers.astype(np.uint8), "odds": self.odds}
        told = {"kind": "learned", "settings": self.settings.model_dump(), "form": self.form, "weekday": self.weekday}
        return POLICY.save(folder, told | {"verdict": self.verdict and self.verdict._asdict()}, flat)


def learner_of(own: PolicySettings, game: PromotionGame, shape: MarketShape, params: PromotionParams) -> mappo.Mappo:
    """The learner of a game, whose actor leans on the plan where the game has one."""
    learner = mappo.make_learner(own.learner(), shape, params, game=game)
    return learner if params.lean is None else replace(learner, actor=LeaningSpec.of(learner.actor))


def _flat(parameters: Any) -> dict[str, Any]:
    return traverse_util.flatten_dict(parameters, sep="/")


def learned_from(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> FairPolicy:
    """The policy of a folder's content. Raises KeyError, TypeError or ValueError where it is none."""
    # Before format 4 all started from nothing.
    own = PolicySettings.model_validate({"start": "nothing", **told["settings"]})
    starts = checked_starts(arrays["starts"])
    plan = odds = None
    if own.start == "plan":
        plan, odds = checked_plan(arrays, own.days, own.asked), arrays["odds"]
        rows = (own.days, len(plan.grid[::ROW]), len(OFFERS))
        if odds.shape != rows or not np.isfinite(odds).all():
            raise ValueError(f"odds of shape {odds.shape}, not {rows}")
    shapes: dict[str, tuple[int, ...]] = {
        "centre": (_STATISTICS,), "spread": (_STATISTICS,), "lots": (own.days, len(OFFERS)),
        "actor/embed/kernel": (len(OBSERVED), own.hidden), "actor/out/bias": (len(OFFERS),),
    }  # fmt: skip
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} of shape {arrays[name].shape}, not {shape}")
    flat = {name.removeprefix("actor/"): leaf for name, leaf in arrays.items() if name.startswith("actor/")}
    return FairPolicy(
        own, told["form"], traverse_util.unflatten_dict(flat, sep="/"), arrays["centre"], arrays["spread"],
        starts, told["weekday"], arrays["lots"], arrays["zero_gmv"], arrays["history"], plan, odds,
        Verdict(**told["verdict"]) if told.get("verdict") else None,
    )  # fmt: skip
