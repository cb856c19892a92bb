"""One policy for all customers, learned by recurrent MAPPO in worlds that were learned: training, a folder, a door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from pydantic import Field

from marl_pricing.learning import mappo
from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.market import MarketShape
from marl_pricing.virtual_market.fair_game import (
    OBSERVED,
    STATISTICS,
    PromotionGame,
    PromotionParams,
    doubts_of,
    final_reward,
    promotion_params,
    scales,
)
from marl_pricing.virtual_market.fair_start import POLICY, EpisodeSettings, checked_starts, starts_of, with_zero_gmv
from marl_pricing.virtual_market.levels import NUM_LEVELS, OFFERS
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.memory import MEMORY_NAMES
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.playing import Played, measure_zero_gmv, play_actor
from marl_pricing.virtual_market.states import StateForm
from marl_pricing.virtual_market.worlds import learned_worlds
from marl_pricing.widths import float32

_ZERO_DRAWS = 32  # episodes without coupons in each world
_TRIALS, _TRIAL_CUSTOMERS = 40, 250  # episodes and customers by which a draw of an update's policy is judged

LEARNED = "learned policy"
_STATISTICS = len(STATISTICS) * len(MEMORY_NAMES)

Count = Annotated[int, Field(ge=1)]


class PolicySettings(EpisodeSettings):
    """How the fair policy is learned."""

    threshold: Annotated[float, Field(gt=0)] = Field(
        6.8, description="return on investment that is asked for inside the learned market; the document's is 7.5"
    )
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
    starts: Count = Field(30, description="last days of the log whose states episodes start from")
    customers: Count = Field(125, description="of a training episode, every n-th")
    updates: Count = Field(160, description="of the learner")
    episodes: Annotated[int, Field(ge=4, multiple_of=4)] = Field(128, description="of an update")
    hidden: Count = Field(32, description="width of the networks and of their memory")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(2e-3, description="at first; a tenth of it at the end")
    every: Count = Field(20, description="updates after which the policy is played; the best that was found is kept")
    draws: Count = Field(16, description="fixed draws of it that are tried each time, the likeliest offers first")
    gae: Annotated[float, Field(ge=0, le=1)] = Field(0.9, description="λ of generalised advantages")
    entropy: Annotated[float, Field(ge=0, le=1)] = Field(0.01, description="bonus at first; none at the end")
    epochs: Count = Field(4, description="passes of the gradient over an update's episodes")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of networks, customers and offers")

    def learner(self) -> LearnerSettings:
        """As the learner takes them: an update is `episodes` whole episodes, and the reward of the last day counts."""
        return LearnerSettings(
            seed=self.seed, num_envs=self.episodes, num_steps=self.days, num_updates=self.updates,
            hidden_size=self.hidden, gamma=0.999, gae_lambda=self.gae, learning_rate=self.learning_rate,
            learning_rate_end=0.1 * self.learning_rate, entropy_start=self.entropy, entropy_end=0.0,
            num_epochs=self.epochs,
        )  # fmt: skip


@dataclass(frozen=True)
class FairPolicy:
    """A trained policy, and all that its offers depend on.

    Attributes:
        parameters: the actor's.  centre, spread: [84] of what it observes.
        starts: [1, 21, C] the customers' states after the log.  weekday: of the day after it.
        lots: [D, 41] of `playing.play_actor`: which draw of the trained policy it is.
        zero_gmv: [K] GMV a customer and day without coupons in the worlds that it was trained in.
        history: (update, mean reward) of each time that it was played.
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

    title = LEARNED

    @property
    def threshold(self) -> float:
        """What is asked for in the learned market."""
        return self.settings.threshold

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
        return shape, with_zero_gmv(self.game, shape, params, zero_draws, self.measured)

    def actor(self, shape: MarketShape, params: PromotionParams) -> NetworkSpec:
        """Its network."""
        return mappo.make_learner(self.settings.learner(), shape, params, game=self.game).actor

    def play(self, shape: MarketShape, params: PromotionParams, worlds: np.ndarray, seed: int) -> Played:
        """It in worlds [R]."""
        return play_actor(self.game, shape, params, self.actor(shape, params), self.parameters, worlds, seed, self.lots)

    def save(self, folder: Path | str) -> Path:
        """Write it as one folder, whole or not at all. Raises ModelError for one that holds something else."""
        flat = {f"actor/{name}": np.asarray(leaf) for name, leaf in _flat(self.parameters).items()}
        flat |= {
            "centre": self.centre, "spread": self.spread, "starts": self.starts.astype(np.float32),
            "lots": self.lots, "zero_gmv": self.zero_gmv, "history": self.history,
        }  # fmt: skip
        return POLICY.save(
            folder,
            {"kind": "learned", "settings": self.settings.model_dump(), "form": self.form, "weekday": self.weekday},
            flat,
        )


def _flat(parameters: Any) -> dict[str, Any]:
    return traverse_util.flatten_dict(parameters, sep="/")


def learned_from(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> FairPolicy:
    """The policy of a folder's content. Raises KeyError, TypeError or ValueError where it is none."""
    own = PolicySettings.model_validate(told["settings"])
    starts = checked_starts(arrays["starts"])
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
        starts, told["weekday"], arrays["lots"], arrays["zero_gmv"], arrays["history"],
    )  # fmt: skip


def train_policy(
    model: VirtualMarket | Any, log: PromotionLog, own: PolicySettings, form: StateForm = "order_days",
    say: Callable[[int, float, float], None] = lambda *_: None,
) -> FairPolicy:  # fmt: skip
    """Learn a fair policy.

    Args:
        model: learned customers, or the worlds themselves (`worlds.TrueWorld`).
        log: whose customers they are, after whose end the policy begins.
        form: how states move, where the worlds themselves are given; a model has its own.
        say: told of every time that the policy is played: (update, ROI, score), means over its worlds.
    """
    world = learned_worlds(model) if isinstance(model, VirtualMarket) else model
    form = model.settings.form if isinstance(model, VirtualMarket) else form
    starts, weekdays = starts_of(log, form, own.starts)
    odds = np.zeros(world.count)
    odds[: world.count if own.worlds == "ensemble" else 1] = 1.0
    odds /= odds.sum()
    played = np.flatnonzero(odds)
    # By what they spent, so that every n-th is a fair sample; customers whose truth is known have places of their own.
    order = (
        np.argsort(starts[-1, 0] * starts[-1, 2], kind="stable") if isinstance(model, VirtualMarket) else slice(None)
    )
    shape, params = promotion_params(
        world, starts[:, :, order], weekdays, days=own.days, threshold=own.threshold, odds=odds,
        doubt=own.doubt if own.worlds == "ensemble" else 0.0,
    )  # fmt: skip
    whole = PromotionGame(own.days, form, moving=own.moving)
    zero = measure_zero_gmv(whole, shape, params, _ZERO_DRAWS, own.seed)
    params = params.replace(zero_gmv=float32(zero), unit=float32(zero.mean()))

    sampled = replace(whole, customers=own.customers, expected=True) if isinstance(model, VirtualMarket) else whole
    learner = mappo.make_learner(own.learner(), shape, params, game=sampled)
    program = Program(learner)
    stacked = program.stack(params)
    state = program.init(stacked)
    trial = _Trial(own, replace(whole, expected=True), shape, params, learner.actor, played)
    best, kept, lots, history = -np.inf, None, None, []
    done = 0
    while done < own.updates:
        count = min(own.every, own.updates - done)
        state, _ = program.train(state, stacked, count)
        done += count
        parameters = jax.tree.map(lambda leaf: leaf[0], state.learnable.actor)
        found = trial.best_draw(parameters, done)
        history.append((done, found.reward))
        say(done, found.roi, found.score)
        if found.reward > best or kept is None:
            best, kept, lots = found.reward, jax.tree.map(np.asarray, parameters), found.lots
    assert lots is not None
    centre, spread = scales(starts, own.days)
    return FairPolicy(
        own, form, kept, centre, spread, starts[-1:], int(weekdays[-1]), lots, zero, np.array(history, float)
    )


def _lots(own: PolicySettings, update: int) -> np.ndarray:
    """[L, D, 41] the draws that are tried at an update: noughts first, the likeliest offers."""
    lots = np.random.default_rng([own.seed, update]).gumbel(size=(own.draws, own.days, len(OFFERS)))
    lots[0] = 0.0
    return lots.astype(np.float32)


class _Found(NamedTuple):
    """A draw of a policy in its worlds: mean reward, ROI and score."""

    lots: np.ndarray
    reward: float
    roi: float
    score: float


@dataclass(frozen=True)
class _Trial:
    """Where the policy of an update is played: worlds with doubts of their own, the same at each update."""

    own: PolicySettings
    game: PromotionGame
    shape: MarketShape
    params: PromotionParams
    actor: NetworkSpec
    worlds: np.ndarray

    def best_draw(self, parameters: Any, update: int) -> _Found:
        """Of some fixed draws of the policy the one with the largest mean reward; the worlds take turns."""
        own, params = self.own, self.params
        assert params.starts is not None and params.zero_gmv is not None and params.doubt is not None
        lots = _lots(own, update)
        trials = len(self.worlds) * max(1, _TRIALS // len(self.worlds))
        world = np.resize(self.worlds, trials)
        normal = np.random.default_rng([own.seed, 0]).standard_normal((trials, NUM_LEVELS - 1))
        doubts = np.asarray(doubts_of(float(params.doubt) * normal))
        every = max(1, params.starts.shape[2] // _TRIAL_CUSTOMERS)
        few = params.replace(starts=params.starts[-1:, :, ::every], weekdays=params.weekdays[-1:])  # type: ignore[index]
        played = play_actor(
            self.game, self.shape, few, self.actor, parameters, np.tile(world, len(lots)), own.seed + 1,
            np.repeat(lots, trials, axis=0), np.tile(doubts, (len(lots), 1)),
        )  # fmt: skip
        gmv, cost = (part.sum(1).reshape(len(lots), trials) for part in (played.gmv, played.cost))
        zero = np.asarray(params.zero_gmv, float)[world] * own.days
        reward = np.asarray(final_reward(gmv, cost, zero, own.threshold)).mean(1)
        best = int(reward.argmax())
        roi = gmv[best].sum() / max(cost[best].sum(), 1e-6)
        return _Found(lots[best], float(reward[best]), float(roi), float((gmv[best] / zero).mean()))
