"""What the verbs can be told; the descriptions are what `--help` prints."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from marl_pricing.config.errors import Settings, refuse


def _is_date(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise refuse("start", value, "a date, yyyy-mm-dd") from None
    return value


FirstDay = Annotated[str, AfterValidator(_is_date)]


class LogSettings(Settings):
    """A log to be read."""

    log: str = Field(description="the log: CSV (also .gz), Excel or Parquet, a row a customer and day")
    mapping: str | None = Field(None, description="YAML file that says what the columns are; null: the challenge's")


class GraphSettings(Settings):
    """A decision graph to be read."""

    graph: str = Field(description="the graph: YAML; examples/virtual_market/promotions.yaml is one")
    data: str | None = Field(
        None, description="its data: .npz of an array a node and index, the end row of each trajectory"
    )


class FittingSettings(LogSettings):
    """Where learned customers go."""

    out: str = Field(description="folder of the model; one that is there is replaced")


class JudgeSettings(LogSettings):
    """Learned customers to be looked at."""

    model: str = Field(description="folder of a model")
    truth: str | None = Field(None, description="folder that simulate left; null: the truth is not known")
    out: str | None = Field(None, description="JSON file for what is printed; null: none")
    seed: int = Field(0, ge=0, lt=2**31, description="of the rollouts and of the halves of the log")


class TrainingSettings(LogSettings):
    """Where a fair policy is learned or made, and where it goes."""

    model: str = Field(description="folder of learned customers, of this log")
    out: str = Field(description="folder of the policy; one that is there is replaced")
    kind: Literal["learned", "plan"] = Field(
        "learned", description="learned: a network, by recurrent MAPPO, that starts from a plan; plan: offers by what "
        "is left above the goal, made in seconds, which takes days, goal and reserve alone",
    )  # fmt: skip


class CompareSettings(LogSettings):
    """A fair policy beside rules."""

    policy: str = Field(description="folder of a policy")
    model: str = Field(description="folder of the learned customers that it was trained among")
    truth: str | None = Field(None, description="folder that simulate left; null: played in the learned market")
    episodes: int = Field(64, ge=2, le=10_000, description="of each policy and rule")
    seed: int = Field(1000, ge=0, lt=2**31 - 10, description="of what customers do in them")


class PageSettings(CompareSettings):
    """The same as a page."""

    out: str = Field(description="folder for page.html and its figures")
    held_out: str | None = Field(
        None, description="folder of a model of this log that was fitted with holdout=…, which shows how learned "
        "customers behave on those days; null: model does",
    )  # fmt: skip


class ExportSettings(Settings):
    """A fair policy as a submission."""

    policy: str = Field(description="folder of a policy")
    out: str = Field(description="folder for policy_validation.py and its arrays; a submission there is replaced")
