"""What a learner can be told; validated when made, frozen and hashable, so it can be static in a compiled program."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

VALUE_CLIP = 0.2  # spreads of the return (Yu et al. 2022)


class CommonSettings(BaseModel, frozen=True, extra="forbid", strict=True, allow_inf_nan=False):
    """What every learner is told.

    A *segment* is `num_steps` epochs of every environment; an update rolls one segment out and learns from it.
    """

    algorithm: str
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    num_seeds: Count = 1
    num_envs: Count = 64
    num_steps: Count = 128
    num_updates: Count = 200
    sharing: Literal["shared", "per_seller"] = "shared"
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.99
    learning_rate: Positive = 5e-4
    learning_rate_end: NonNegative = 5e-5
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    schedule_updates: Count | None = None  # updates over which what is scheduled moves; None for all of them
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"

    @property
    def gradient_steps(self) -> tuple[int, int]:
        """(passes of an update, gradient steps of a pass); environments are split evenly over the latter."""
        return getattr(self, "num_epochs", 1), getattr(self, "num_minibatches", 1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        passes, parts = self.gradient_steps
        if self.num_envs % parts:
            raise ValueError(
                f"learner.num_envs={self.num_envs!r}: accepted is a multiple of learner.num_minibatches={parts}"
            )
        if isinstance(self.devices, int) and self.num_envs % (self.devices * parts):
            raise ValueError(
                f"learner.num_envs={self.num_envs!r}: accepted is a multiple of learner.devices × "
                f"learner.num_minibatches = {self.devices} × {parts}"
            )
        if self.num_updates * passes * parts >= 2**31:
            raise ValueError(
                f"learner.num_updates={self.num_updates!r}: accepted is what makes fewer than {2**31} gradient steps, "
                f"which are counted in 32 bits: updates × learner.num_epochs={passes} × learner.num_minibatches={parts}"
            )
        return self

    @property
    def scheduled_updates(self) -> int:
        """Updates after which what is scheduled stays at its end."""
        return self.schedule_updates or self.num_updates

    @property
    def steps_per_update(self) -> int:
        """Market epochs in one update."""
        return self.num_envs * self.num_steps


class NetworkSettings(CommonSettings, frozen=True):
    """Of a learner with networks."""

    cell: Literal["gru", "lstm", "mingru", "none"] = "gru"
    num_layers: Annotated[int, Field(ge=1, le=8)] = 1  # cells on top of each other
    hidden_size: Count = 64
    max_grad_norm: Positive = 0.5
    adam_epsilon: Positive = 1e-5
    rows_per_block: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _layered(self) -> Self:
        if self.cell == "none" and self.num_layers > 1:
            raise ValueError(f"learner.num_layers={self.num_layers!r}: accepted is 1 with learner.cell=none")
        return self


class ActorCriticSettings(NetworkSettings, frozen=True):
    """Of a learner with an actor and a critic."""

    critic: Literal["central", "local"] = "central"
    gae_lambda: Share = 0.95
    value_normalisation: Literal["none", "running", "popart"] = "running"
    normalise_advantage: bool = True
    entropy_start: NonNegative = 0.01
    entropy_end: NonNegative = 0.001
    price_law: Literal["beta", "gaussian"] = "beta"  # of a price between two ends; grids have none

    @property
    def clipped_value(self) -> float | None:
        """Largest move of a value from the old one that is rewarded, in the critic's units; None for no clipping."""
        return None


class LearnerSettings(ActorCriticSettings, frozen=True):
    """Recurrent MAPPO (Yu et al. 2022). `torch_mappo` is the same learner with its gradient steps in PyTorch.

    `ippo` is the same learner with local critics (independent PPO; de Witt et al. 2020): each sees what its actor sees.
    """

    algorithm: Literal["mappo", "torch_mappo", "ippo"] = "mappo"
    num_epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
    num_minibatches: Count = 4
    clip_ratio: Positive = 0.2
    # In the critic's units: spreads of the return, or money with value_normalisation=none, where auto clips nothing.
    value_clip: Positive | Literal["auto"] | None = "auto"
    target_kl: Positive | None = None
    compile: bool = False  # `torch_mappo` only: torch.compile

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        if self.algorithm != "torch_mappo" and self.compile:
            raise ValueError(f"learner.compile=True: accepted is false with learner.algorithm={self.algorithm}")
        return self

    @model_validator(mode="after")
    def _is_independent(self) -> Self:
        if self.algorithm == "ippo" and self.critic != "local":
            raise ValueError(f"learner.critic={self.critic!r}: accepted is 'local' with learner.algorithm=ippo")
        return self

    @property
    def clipped_value(self) -> float | None:
        """Largest move of a value from the old one that is rewarded, in the critic's units; None for no clipping.

        A critic of money would need a long while to get to its returns in steps of `VALUE_CLIP`, so `auto`
        leaves it free.
        """
        if not isinstance(self.value_clip, str):
            return self.value_clip
        return None if self.value_normalisation == "none" else VALUE_CLIP
