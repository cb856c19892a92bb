"""The settings of a study of promotions: a log, its customers, one fair policy, a page.

What its parts can be told is said where they are: `marl_pricing.virtual_market`, which reads them.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from marl_pricing.config.errors import Settings


class Promotion(Settings):
    """From a log of promotions, or a simulated one, to one fair policy. A null in a part is that part's default."""

    log: str | None = Field(None, description="a log of one's own: CSV, Excel or Parquet; null: one is simulated")
    mapping: str | None = Field(
        None, description="YAML file that says what the log's columns are; null: the challenge's"
    )
    simulate: dict[str, Any] = Field({}, description="of the log with known truth, where none is given")
    fit: dict[str, Any] = Field({}, description="how customers are learned")
    policy: dict[str, Any] = Field({}, description="how the policy is learned or made")
    page: dict[str, Any] = Field({}, description="how it is compared with rules")
