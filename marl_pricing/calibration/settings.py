"""What a calibration can be told, with its defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from marl_pricing.calibration.reading import Judging
from marl_pricing.config.errors import ConfigError, Settings, refuse

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class CalibrationSettings(Settings):
    """Settings of one calibration; the descriptions are what `--help` prints."""

    data: str = Field(description="sales: a CSV (also .gz), Excel or Parquet file; rows of a period are added up")
    out: str = Field(description="folder for market.yaml, calibration.html, tables and figures")
    mapping: str | None = Field(
        None, description="YAML file that says what the columns are; null: our own or a known layout's"
    )
    period: Literal["day", "week", "month"] | None = Field(
        None, description="what dates are added up to; null: as the mapping says, or as they are apart, days to weeks"
    )
    judging: Judging = Judging()
    category: str | None = Field(None, description="the category that becomes the market; null: all of the file is one")
    leave_out: list[str] = Field([], description="categories that are left out before anything is estimated")
    store: str | None = Field(
        None, description="the store that becomes the market, of several; null: the one with the highest revenue"
    )
    form: Literal["logit", "nested_logit", "power"] = Field(
        "logit", description="demand: logit of market shares, nested_logit (one nest of all offers), power"
    )
    elasticities: Literal["auto", "own", "pooled"] = Field(
        "auto",
        description="own: each product's, drawn towards its category's; pooled: one for all; auto: own with form=power "
        "and no instruments, where two products or more have one",
    )
    effects: list[Literal["product", "period", "trend"]] | None = Field(
        None,
        min_length=1,
        description="what has a constant of its own, and a trend; null: [product,period] where these leave the price "
        "to move, else [product,trend]",
    )
    instruments: Literal["none", "cost", "lagged_price", "other_stores", "columns"] = Field(
        "none",
        description="what moves price and not demand; none takes price as given; other_stores: the same product's "
        "price there; columns: the mapping's",
    )
    promotion: Literal["ignore", "control"] = Field(
        "ignore",
        description="control: its column stands beside the price, which then does not answer for it",
    )
    holidays: str | None = Field(
        None, description="file of dates, one a line: how many a period has moves demand, and its forecast"
    )
    estimator: Literal["auto", "poisson", "censored", "loglinear", "arma"] = Field(
        "auto",
        description="poisson: counts, zeros too; censored: sold-out rows bound demand; loglinear: logs of units or "
        "shares; arma: one product; auto: what the rows need",
    )
    errors: Literal["auto", "product_period", "product", "jackknife", "hac", "independent"] = Field(
        "auto", description="what standard errors allow for; auto: by how many products and periods there are"
    )
    market_size: Positive | None = Field(
        None, description="shoppers a period, an assumption; null: 1.5 times the units of the busiest period"
    )
    season: Annotated[float, Field(gt=2)] = Field(52.0, description="periods of a season")
    harmonics: Annotated[int, Field(ge=0, le=10)] = Field(1, description="of the season; 0: none")
    holdout: Annotated[int, Field(ge=1)] = Field(8, description="last periods of the back-test")
    sellers: list[str] | None = Field(None, description="sellers of the market; null: all with enough products")
    products_per_seller: Annotated[int, Field(ge=1)] = Field(3, description="each seller's best-selling products")
    cost: Literal["auto", "column", "nash", "margin"] = Field(
        "auto",
        description="unit costs: the file's column, what Nash pricing implies, or a margin; auto: the first there is",
    )
    margin: Share = Field(0.3, description="share of the price that is margin, with cost=margin or where auto takes it")
    agent_sensitivity: Positive = Field(
        2.5, description="agents react to prices so many times as strongly as people, an assumption"
    )
    price_low: Share = Field(0.7, description="lowest price of the grid, times an offer's mean price")
    price_high: Annotated[float, Field(gt=1)] = Field(1.6, description="highest price of the grid, likewise")
    num_price_levels: Annotated[int, Field(ge=2)] = Field(15, description="prices of the grid")
    lead_time: Annotated[int, Field(ge=1)] = Field(2, description="periods until ordered stock comes, an assumption")
    stockout_penalty: Annotated[float, Field(ge=0)] = Field(
        0.2, description="per unit that is missing, times the mean price, an assumption"
    )
    holding_cost: Annotated[float, Field(ge=0)] = Field(
        0.005, description="per unit and period, times the unit cost, an assumption"
    )

    @model_validator(mode="after")
    def _fits(self) -> CalibrationSettings:
        effects = self.effects or ["product"]
        if "product" not in effects or len(set(effects)) < len(effects) or {"period", "trend"} <= set(effects):
            raise refuse("effects", self.effects, "null, [product], [product,period] or [product,trend]")
        if self.form == "nested_logit" and "period" in effects:
            raise refuse(
                "effects", self.effects, "[product] or [product,trend] with form=nested_logit: the others explain a "
                "nest's total"
            )  # fmt: skip
        fitting = {"power": ("poisson", "censored", "loglinear", "arma"), "logit": ("poisson", "loglinear")}
        accepted = ("auto", *fitting.get(self.form, ("loglinear",)))
        if self.estimator not in accepted:
            raise ConfigError(f"estimator={self.estimator!r}: accepted is {', '.join(accepted)} with form={self.form}")
        if self.estimator in ("poisson", "censored", "arma") and self.instruments != "none":
            raise ConfigError(f"instruments={self.instruments!r}: accepted is 'none' with estimator={self.estimator}")
        if self.elasticities == "own" and (self.form != "power" or self.instruments == "lagged_price"):
            where = f"form={self.form}" if self.form != "power" else f"instruments={self.instruments}"
            raise refuse("elasticities", self.elasticities, f"auto or pooled with {where}")
        if 2 * self.harmonics > self.season:
            raise refuse("harmonics", self.harmonics, f"at most {int(self.season / 2)} with season={self.season:g}")
        return self
