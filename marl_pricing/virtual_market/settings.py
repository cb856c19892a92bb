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
