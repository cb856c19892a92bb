"""What the verbs can be told; the descriptions are what `--help` prints."""

from __future__ import annotations

from pydantic import Field

from marl_pricing.config.errors import Settings


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
