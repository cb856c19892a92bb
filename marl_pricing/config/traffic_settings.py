"""Traffic settings, as people write them."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from marl_pricing.config.errors import ConfigError, Settings, at_most, refuse
from marl_pricing.traffic.events import DWELL, GAPS

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
HoldOrders = Literal["none", "sessions", "purchases"]


class Process(Settings):
    """How the share of agents moves: not at all, as a bounded random walk, or in bursts."""

    kind: Literal["static", "drift", "burst"] = "static"
    low: Share = 0.0
    high: Share = 0.6
    step: NonNegative = 0.02
    start_probability: Share = 0.05
    stop_probability: Annotated[float, Field(gt=0, le=1)] = 0.2


class Human(Settings):
    """People's sessions; `match` is a file of session funnels whose length and conversion they take."""

    match: str | None = None


class Bank(Settings):
    """Sessions drawn beforehand: from the kernels, or those of the log."""

    size: Annotated[int, Field(ge=16, le=1_048_576)] = 16_384
    slots: Annotated[int, Field(ge=1)] = 16
    refresh: bool = False
    source: Literal["kernels", "log"] = "kernels"
    seed: Annotated[int, Field(ge=0)] = 0


class Perturbation(Settings):
    """Transition probabilities times e^(strength · normal draws), rows normalised again: behaviour nobody has seen."""

    strength: NonNegative = 0.0
    seed: Annotated[int, Field(ge=0)] = 0


class Markup(Settings):
    """A session pays 1 + strength · σ((interest − threshold) / temperature) times the posted price."""

    strength: NonNegative = 0.0
    threshold: float = 4.0
    temperature: Positive = 1.25
    clean_signal: NonNegative = 1.0
    highest_price: Positive | None = None


class Script(Settings):
    """Sessions of PHANTOM's prototype."""

    cart_probability: Share = 0.35
    recon_mean: NonNegative = 8.0
    recon_multiplier: NonNegative = 6.0
    recon_floor: NonNegative = 5.0
    clean_probability: Share = 0.20
    weights: Annotated[list[NonNegative], Field(min_length=3, max_length=3)] = [0.15, 0.75, 2.5]  # noqa: RUF012
    defence: bool = False


class Browsing(Settings):
    """How many sessions come: all up to the `reference` prices, (price / reference)^−elasticity of them above them.

    `reference`: null for the lowest prices that the market allows."""

    elasticity: NonNegative = 0.0
    agent_elasticity: NonNegative = 0.0
    reference: Positive | Annotated[list[Positive], Field(min_length=1)] | None = None

    @property
    def moves(self) -> bool:
        """Whether prices move how many sessions come."""
        return self.elasticity > 0 or self.agent_elasticity > 0


class Times(Settings):
    """Seconds between events, and of a dwell event: gamma laws (shape, scale) of people and agents, or the log's."""

    source: Literal["stated", "log"] = "stated"
    human_gap: Annotated[list[Positive], Field(min_length=2, max_length=2)] = list(GAPS["human"])  # noqa: RUF012
    agent_gap: Annotated[list[Positive], Field(min_length=2, max_length=2)] = list(GAPS["agent"])  # noqa: RUF012
    human_dwell: Annotated[list[Positive], Field(min_length=2, max_length=2)] = list(DWELL["human"])  # noqa: RUF012
    agent_dwell: Annotated[list[Positive], Field(min_length=2, max_length=2)] = list(DWELL["agent"])  # noqa: RUF012


class Identity(Settings):
    """Shares of agents' and of people's sessions that declare an agent, and that a signature proves to be one's."""

    declared: Share = 0.0
    verified: Share = 0.0
    people_declared: Share = 0.0
    people_verified: Share = 0.0

    @property
    def rates(self) -> np.ndarray:
        """[2, 3] of people and agents: nothing, declared, verified."""
        said = [(self.people_declared, self.people_verified), (self.declared, self.verified)]
        return np.array([(1.0 - sum(own), *own) for own in said])

    @model_validator(mode="after")
    def _laws(self) -> Identity:
        for name, own in zip(("people_", ""), self.rates, strict=True):
            if own[0] < -1e-9:
                told = f"shares that sum to at most 1 with {name}verified={getattr(self, name + 'verified')}"
                raise refuse(f"traffic.identity.{name}declared", getattr(self, f"{name}declared"), told)
        return self


class Quotes(Settings):
    """Prices that differ between sessions: each is quoted the posted price times one of the `factors`, as likely each.

    An A/B test, or drift between visits. An agent gathers quotes under so many `identities` and buys at the lowest.
    """

    factors: Annotated[list[Positive], Field(min_length=1, max_length=1024)] = [1.0]  # noqa: RUF012
    identities: Annotated[int, Field(ge=1, le=1_000_000)] = 1

    @property
    def differ(self) -> bool:
        """Whether sessions see different prices."""
        return len(set(self.factors)) > 1

    @model_validator(mode="after")
    def _average(self) -> Quotes:
        mean = sum(self.factors) / len(self.factors)
        if abs(mean - 1.0) > 1e-6:
            accepted = f"factors whose mean is 1, not {mean:.6g}"
            raise ConfigError(f"traffic.quotes.factors={self.factors}: accepted are {accepted}")
        return self


class Traffic(Settings):
    """Who visits. `agent_share` is α; it needs a class of agents (`market.agent`).

    `mimicry`: probability that an agent's next event is drawn as a person's would be. Detectors know the kernels
    without it and without the perturbation.

    `hold_orders`: expected orders at `hold_prices` are the same under every share of agents (see `config.holding`);
    null holds purchases in a calibrated market and nothing in others.

    `kernels`: a file, `storefront`, or null for PHANTOM's fallback. `generic`: events that are about no product; null
    for what the kernels say, and in a log those that never have an item.

    `count_refused`: a purchase event that orders nothing, since its session's latent type refuses the prices, counts in
    the demand proxy and is seen by detectors all the same.
    """

    model: Literal["analytic", "scripted", "chain", "bank"] = "analytic"
    sessions_per_epoch: Annotated[int, Field(ge=1)] = 10
    random_orders: bool = True
    order_law: Literal["poisson", "multinomial"] = "poisson"
    agent_share: Share = 0.0
    hold_orders: HoldOrders | None = None
    hold_prices: Positive | Annotated[list[Positive], Field(min_length=1)] | None = None
    process: Process = Process()
    kernels: str | None = None
    generic: list[str] | None = None
    log: str | None = None
    log_mapping: str | None = None
    smoothing: NonNegative = 1.0
    kinds: Annotated[int, Field(ge=1, le=16)] = 1
    human: Human = Human()
    mimicry: Share = 0.0
    perturbation: Perturbation = Perturbation()
    max_events: Annotated[int, Field(ge=1), at_most(1000, "sessions are walked event by event")] = 40
    bank: Bank = Bank()
    temperature: Positive = 0.2
    comparison: Share = 0.0
    markup: Markup = Markup()
    script: Script = Script()
    count_refused: bool = False
    browsing: Browsing = Browsing()
    quotes: Quotes = Quotes()
    detector: Literal["kernels", "timed", "rule"] = "kernels"
    times: Times = Times()
    identity: Identity = Identity()

    @model_validator(mode="after")
    def _fits(self) -> Traffic:
        walks = self.model in ("chain", "bank")
        only = f"with traffic.model={self.model}"
        if self.model != "analytic" and not self.random_orders:
            raise ConfigError(f"traffic.random_orders=False: accepted is true {only}, whose sessions are drawn")
        if self.order_law != "poisson" and (self.model != "analytic" or not self.random_orders):
            without = only if self.model != "analytic" else "with traffic.random_orders=false"
            raise ConfigError(f"traffic.order_law={self.order_law!r}: accepted is 'poisson' {without}")
        for name, given in (("kernels", self.kernels), ("log", self.log), ("human.match", self.human.match)):
            if given is not None and not walks:
                raise ConfigError(f"traffic.{name}={given!r}: accepted is null {only}, which walks no kernels")
        if self.kernels is not None and self.log is not None:
            raise ConfigError(f"traffic.kernels={self.kernels!r}: accepted is null where traffic.log gives the kernels")
        if self.generic is not None and not walks:
            raise ConfigError(f"traffic.generic={self.generic!r}: accepted is null {only}, which walks no kernels")
        if self.log_mapping is not None and self.log is None:
            raise ConfigError(f"traffic.log_mapping={self.log_mapping!r}: accepted is null without traffic.log")
        if self.bank.source == "log" and (self.log is None or self.model != "bank"):
            raise ConfigError("traffic.bank.source='log': accepted is 'kernels' without traffic.log and model=bank")
        if self.bank.source == "log" and self.bank.refresh:
            raise ConfigError("traffic.bank.refresh=True: accepted is false with traffic.bank.source=log")
        if self.bank.refresh and self.model != "bank":
            raise ConfigError(f"traffic.bank.refresh=True: accepted is false {only}")
        if self.kinds > 1 and self.log is None:
            raise ConfigError(f"traffic.kinds={self.kinds}: accepted is 1 without traffic.log to find kinds in")
        changed = [("mimicry", self.mimicry), ("perturbation.strength", self.perturbation.strength)]
        for name, value in changed:
            if value > 0 and not walks:
                raise ConfigError(f"traffic.{name}={value!r}: accepted is 0 {only}, which walks no kernels")
            if value > 0 and self.bank.source == "log":
                raise ConfigError(f"traffic.{name}={value!r}: accepted is 0 with traffic.bank.source=log")
        if self.comparison > 0 and not walks:
            raise ConfigError(f"traffic.comparison={self.comparison!r}: accepted is 0 {only}")
        if self.hold_orders in ("sessions", "purchases"):
            held = f"traffic.hold_orders={self.hold_orders!r}: accepted is none"
            if self.model == "scripted":
                raise ConfigError(f"{held} {only}, whose expected orders have no closed form")
            if self.comparison > 0:
                raise ConfigError(f"{held} with traffic.comparison above 0, which lets prices move the units bought")
            if self.hold_orders == "purchases" and self.order_law == "multinomial":
                raise ConfigError(f"{held} or sessions with traffic.order_law=multinomial: a session takes one unit")
        if (self.identity.rates[:, 1:] > 0).any() and (not walks or self.detector == "rule"):
            reason = only if not walks else "with traffic.detector=rule, which asks for no odds"
            raise ConfigError(f"traffic.identity: accepted are shares of 0 {reason}")
        if self.detector != "kernels" and not walks:
            raise ConfigError(f"traffic.detector={self.detector!r}: accepted is 'kernels' {only}, which walks none")
        if self.times.source == "log" and self.log is None:
            raise ConfigError("traffic.times.source='log': accepted is 'stated' without traffic.log")
        if self.detector != "kernels" and self.bank.source == "log" and self.times.source != "log":
            raise ConfigError("traffic.times.source='stated': accepted is 'log' with traffic.bank.source=log")
        if self.quotes.differ and not walks:
            raise ConfigError(f"traffic.quotes.factors={self.quotes.factors}: accepted is [1.0] {only}")
        if self.count_refused and not walks:
            raise ConfigError(f"traffic.count_refused=True: accepted is false {only}, which walks no kernels")
        for name in ("elasticity", "agent_elasticity"):
            if getattr(self.browsing, name) > 0 and not walks:
                given = getattr(self.browsing, name)
                raise ConfigError(f"traffic.browsing.{name}={given!r}: accepted is 0 {only}, which walks no kernels")
        if self.markup.strength > 0 and self.model == "analytic":
            raise ConfigError(f"traffic.markup.strength={self.markup.strength!r}: accepted is 0 {only}")
        if self.process.kind == "drift" and not self.process.low <= self.agent_share <= self.process.high:
            raise refuse(
                "traffic.agent_share", self.agent_share, f"between low={self.process.low} and high={self.process.high}"
            )
        if self.process.low > self.process.high:
            raise refuse("traffic.process.low", self.process.low, f"at most high={self.process.high}")
        if self.process.kind == "burst" and self.process.high <= self.agent_share:
            raise refuse("traffic.process.high", self.process.high, f"above traffic.agent_share={self.agent_share}")
        return self
