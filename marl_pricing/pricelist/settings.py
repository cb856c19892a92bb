"""What a price list can be told, with its defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from marl_pricing.calibration.reading import Judging
from marl_pricing.calibration.settings import CalibrationSettings, Share
from marl_pricing.config.errors import Settings, refuse

ANSWERING = ("best_response", "learned")  # rivals whose prices are found, list by list
Change = Annotated[float, Field(gt=-1, le=2)]


class WhatIf(Settings):
    """One event that nobody at the shop decides: costs change, or a rival's prices do, by a share."""

    cost: Change | None = None
    rival: str | None = None
    price: Change | None = None

    @model_validator(mode="after")
    def _one(self) -> WhatIf:
        if (self.cost is None) == (self.rival is None) or (self.rival is None) != (self.price is None):
            told = self.model_dump(exclude_none=True)
            raise refuse("what_if", told, "{cost: SHARE}, or {rival: NAME, price: SHARE}, each of its own")
        return self

    @property
    def name(self) -> str:
        """In words."""
        if self.cost is not None:
            return f"unit costs {self.cost:+.0%}"
        return f"{self.rival} changes its prices by {self.price:+.0%}"


class PriceListSettings(Settings):
    """Settings of one price list; the descriptions are what `--help` prints."""

    data: str = Field(description="sales: a CSV (also .gz), Excel or Parquet file, as calibrations read it")
    out: str = Field(description="folder for pricelist.csv, pricelist.xlsx, pricelist.html and figures")
    mapping: str | None = Field(
        None, description="YAML file that says what the columns are; null: our own or a known layout's"
    )
    period: Literal["day", "week", "month"] | None = Field(
        None, description="what dates are added up to; null: as the mapping says, or as they are apart, days to weeks"
    )
    judging: Judging = Judging()
    category: str | None = Field(None, description="the category that is priced; null: all of the file")
    leave_out: list[str] = Field([], description="categories that are left out before anything is estimated")
    store: str | None = Field(None, description="the store that is priced, of several; null: that of highest revenue")
    seller: str | None = Field(None, description="whose prices, of several sellers; the others are rivals")
    costs: str | None = Field(
        None, description="file of columns product and cost; null: the sales file's costs, or else a margin"
    )
    stock: str | None = Field(
        None, description="file of columns product and stock: units that there are to sell; null: as many as are wanted"
    )
    margin: Share = Field(0.3, description="share of the price that is margin, where no cost is known")
    elasticities: Literal["own", "pooled"] = Field(
        "own", description="own: each product's, drawn towards its category's; pooled: one for all products"
    )
    effects: list[Literal["product", "period", "trend"]] | None = Field(
        None, min_length=1, description="as in a calibration; null: what leaves the price to move"
    )
    holidays: str | None = Field(
        None, description="file of dates, one a line, next period's too: how many a period has moves demand"
    )
    estimator: Literal["auto", "poisson", "censored", "loglinear"] = Field("auto", description="as in a calibration")
    instruments: Literal["none", "cost", "lagged_price", "other_stores", "columns"] = Field(
        "none", description="what moves price and not demand; none takes price as given"
    )
    cross: Literal["none", "category"] = Field(
        "none",
        description="category: units answer to the category's other prices too, rivals' among them; none: products "
        "sell independently",
    )
    rivals: Literal["stay", "follow", "best_response", "learned"] = Field(
        "stay",
        description="stay: where they are; follow: they move by the mean change of a category; best_response: each to "
        "its own best prices, in turn with the shop; learned: as the policy of a trained run does",
    )
    policy: str | None = Field(
        None, description="a run folder or an exported policy, trained on a market of these sales, with rivals=learned"
    )
    what_if: list[WhatIf] = Field([], description="events: [{cost: 0.05}, {rival: NAME, price: -0.1}]")
    floor: Annotated[float, Field(ge=0)] = Field(1.0, description="lowest price, times the unit cost")
    largest_change: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="of today's price, up or down")
    endings: list[Annotated[int, Field(ge=0, le=99)]] = Field(
        [], description="of prices in hundredths, as [99, 49]; empty: any"
    )
    held: list[str] = Field([], description="products whose prices may not change")
    tied: list[list[str]] = Field([], description="groups of products that change by one factor or not at all")
    budget: Annotated[int, Field(ge=0)] | None = Field(None, description="most prices that change; null: all may")
    certainty: Share = Field(0.9, description="least probability that a change raises profit; else the price stays")
    recent: Annotated[int, Field(ge=1)] = Field(4, description="periods within which a product has to have sold")
    season: Annotated[float, Field(gt=2)] = Field(52.0, description="periods of a season")
    harmonics: Annotated[int, Field(ge=0, le=10)] = Field(1, description="of the season; 0: none")
    holdout: Annotated[int, Field(ge=1)] = Field(8, description="last periods of the back-test")
    draws: Annotated[int, Field(ge=200, le=20_000)] = Field(1000, description="of what the estimates leave open")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the draws")

    @model_validator(mode="after")
    def _fits(self) -> PriceListSettings:
        if self.elasticities == "own" and self.instruments == "lagged_price":
            raise refuse("instruments", self.instruments, "none, cost, other_stores or columns with elasticities=own")
        if self.cross == "category":
            if self.instruments != "none":
                raise refuse("cross", self.cross, f"none with instruments={self.instruments}")
            if self.elasticities == "pooled":
                raise refuse("cross", self.cross, "none with elasticities=pooled")
            if "period" in (self.effects or []):
                raise refuse(
                    "cross", self.cross, "none where effects has period: a period's effect explains what the prices "
                    "of a category do together"
                )  # fmt: skip
        elif self.rivals != "stay" or any(event.rival for event in self.what_if):
            field, value = ("rivals", self.rivals) if self.rivals != "stay" else ("what_if", "a rival's prices")
            raise refuse(field, value, "with cross=category alone: else no product answers to rivals' prices")
        if self.rivals in ANSWERING and self.what_if:
            raise refuse("what_if", [event.name for event in self.what_if], f"[] with rivals={self.rivals}")
        if (self.rivals == "learned") != (self.policy is not None):
            accepted = "a run folder or an exported policy file" if self.policy is None else "null"
            raise refuse("policy", self.policy, f"{accepted} with rivals={self.rivals}")
        self.calibration()
        return self

    def calibration(self) -> CalibrationSettings:
        """The same as a calibration's settings. Raises ConfigError where they do not fit together."""
        shared = ("data", "out", "mapping", "period", "judging", "category", "leave_out", "effects", "estimator",
                  "instruments", "holidays", "season", "harmonics", "holdout")  # fmt: skip
        return CalibrationSettings(form="power", **{name: getattr(self, name) for name in shared})
