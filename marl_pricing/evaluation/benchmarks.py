"""What a market's profits are measured against: one-shot Nash, joint profit, the equilibrium at the market's omega."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from marl_pricing.equilibrium import cycles, static
from marl_pricing.equilibrium.cycles import Cycle
from marl_pricing.equilibrium.fluid import Fluid, fluid_equilibrium
from marl_pricing.equilibrium.static import SMALLEST_GAP, CyclingError, Equilibrium, NoEquilibriumError
from marl_pricing.evaluation import surplus
from marl_pricing.evaluation.metrics import economics
from marl_pricing.market import MarketParams, MarketShape
from marl_pricing.policies import Tried


@dataclass(frozen=True)
class Benchmarks:
    """One-shot benchmarks of one market.

    Attributes:
        nash, joint: the equilibria; None where there is none.
        ignores: what the market has and a one-shot benchmark does not know of.
        reason: why no index of the whole market can be given; empty where it can.
        at_omega: the equilibrium at the market's own omega; None where there is none, or omega is 1 for all.
        cycle: where best responses go instead, where they do not settle at Nash prices.
        fluid_nash, fluid_joint: the same at prices that the stock can serve; None where it serves the static ones,
            where none was found, and where nobody asked (`with_stock`).
        stock_note: why there are none, of those that could not be found; empty where all is well.
        simulated: the best constant prices that were found by playing, Nash and joint; None where nobody looked, or
            where there are none. Indices are measured against them where they are known.
    """

    nash: Equilibrium | None
    joint: Equilibrium | None
    ignores: tuple[str, ...]
    reason: str
    at_omega: Equilibrium | None = None
    cycle: Cycle | None = None
    fluid_nash: Fluid | None = None
    fluid_joint: Fluid | None = None
    stock_note: str = ""
    simulated: tuple[Tried, Tried] | None = None

    def with_simulated(self, shape: MarketShape, params: MarketParams, found: tuple[Tried, Tried] | None) -> Benchmarks:
        """These, with the best constant prices that were found by playing.

        Where any price may be posted and a one-shot benchmark ignores nothing, it is the equilibrium itself, which a
        search comes near to; a grid has equilibria of its own.
        """
        low, high = np.asarray(params.prices.low), np.asarray(params.prices.high)
        exact = not shape.discrete_prices and not self.ignores and self.nash is not None and self.joint is not None
        for own in (self.nash, self.joint) if exact else ():
            exact &= own is not None and bool(((own.prices >= low) & (own.prices <= high)).all())
        return self if exact else replace(self, simulated=found)

    @property
    def label(self) -> str:
        """What to call them: "static benchmark", and what it ignores."""
        return "static benchmark" + _and_ignores(self.ignores)

    @property
    def stock_label(self) -> str:
        """What to call those that know of stock."""
        others = tuple(name for name in self.ignores if name != "stock")
        return "stock-aware benchmark (fluid: what first stock and orders can bring in an episode, spread evenly)" + (
            _and_ignores(("when orders come", *others))
        )

    @property
    def index_label(self) -> str:
        """What indices are measured against."""
        return self.label if self.simulated is None else self.simulated_label

    @property
    def knows_stock(self) -> bool:
        """Whether those that were found by playing differ from the one-shot ones by the stock: it runs out."""
        return "stock" in self.ignores

    @property
    def simulated_label(self) -> str:
        """What to call those that were found by playing."""
        return (
            f"best constant prices found by playing this market, with its {'stock and its ' * self.knows_stock}chance"
        )

    @property
    def missing(self) -> str:
        """Why there is nothing to measure against; empty where there is."""
        if self.simulated is None:
            return "" if self.nash and self.joint else self.reason
        nash, joint = (float(own.profits.sum()) for own in self.simulated)
        chance = 1.96 * math.hypot(*(own.total_error for own in self.simulated))
        if joint - nash > chance:
            return ""
        return (
            f"joint profit by simulation ({joint:.4g}) is no more above Nash ({nash:.4g}) than chance is ({chance:.2g})"
        )

    @property
    def withheld(self) -> str:
        """Why no index of the whole market can be given; empty where it can."""
        if self.simulated is None:
            return self.reason
        nash, joint = self.profits()
        return self.missing or too_close("profit", float(nash.sum()), float(joint.sum()))

    def profit_gain(self, profit: float | np.ndarray) -> np.ndarray:
        """Δ [...] of the sellers' total profits [...], money per epoch; see `metrics.economics.profit_gain`."""
        nash, joint = self.profits()
        return economics.profit_gain(np.asarray(profit), nash.sum(), joint.sum())

    def profits(self) -> tuple[np.ndarray, np.ndarray]:
        """Nash and joint profits [S] that indices go by, money per epoch; only where both exist."""
        nash, joint = self._ends()
        return nash.profits, joint.profits

    def seller_prices(self) -> tuple[np.ndarray, np.ndarray]:
        """Nash and joint-profit prices [S], mean over a seller's products; only where both exist."""
        ends = self._ends()
        count = ends[0].profits.size
        nash, joint = (own.prices.reshape(count, -1).mean(-1) for own in ends)
        return nash, joint

    def _ends(self) -> tuple[Equilibrium, Equilibrium] | tuple[Tried, Tried]:
        if self.simulated is not None:
            return self.simulated
        assert self.nash is not None and self.joint is not None
        return self.nash, self.joint


def too_close(what: str, nash: float, joint: float) -> str:
    """Why an index between two benchmarks is withheld; empty where they are far enough apart."""
    if joint - nash >= SMALLEST_GAP * abs(nash) and joint > nash:
        return ""
    apart = f"{(joint - nash) / abs(nash):+.1%} from" if nash else "not above"
    return (
        f"joint-profit {what} ({joint:.4g}) is {apart} Nash {what} ({nash:.4g}); at least +{SMALLEST_GAP:.0%} is "
        "needed to divide by"
    )


def _and_ignores(names: tuple[str, ...]) -> str:
    *others, last = names or ("",)
    return f", ignores {', '.join(others) + ' and ' if others else ''}{last}" if names else ""


def with_stock(shape: MarketShape, params: MarketParams, own: Benchmarks) -> Benchmarks:
    """The same benchmarks, with those that know of stock beside them where the market's binds."""
    if shape.inventory.unlimited:
        return own
    found: list[Fluid | None] = []
    reasons = []
    for together, static_one in ((False, own.nash), (True, own.joint)):
        try:
            found.append(None if static_one is None else fluid_equilibrium(shape, params, together=together))
        except NoEquilibriumError as error:
            found.append(None)
            reasons.append(str(error))
    return replace(own, fluid_nash=found[0], fluid_joint=found[1], stock_note="; ".join(dict.fromkeys(reasons)))


def _ignored(shape: MarketShape) -> tuple[str, ...]:
    has = {
        "stock": not shape.inventory.unlimited,
        "what supply is bargained down to": shape.contracts is not None,
        "the moving level of demand": shape.demand.moving_level or shape.demand.noisy_level,
        "the season": shape.demand.season,
        "shocks": shape.demand.shocks,
        "shoppers who wait": shape.demand.waits > 0,
        "the moving share of agents": shape.traffic.process != "static",
        "penalties": bool(shape.reward.penalties),
    }
    return tuple(name for name, present in has.items() if present)


def cycle_line(cycle: Cycle) -> str:
    """What best responses do that do not settle, in one sentence."""
    low, high = cycle.prices.min(), cycle.prices.max()
    period = f"come again after {cycle.period} answers" if cycle.period else "do not repeat within 100 rounds"
    return (
        f"best responses cycle between {low:.4g} and {high:.4g} and {period}; a seller always has at least "
        f"{cycle.residual:.3g} money per epoch to gain from another price; over the cycle the mean price is "
        f"{cycle.mean_prices.mean():.4g} and total profit {cycle.mean_profits.sum():.4g}"
    )


def static_benchmarks(shape: MarketShape, params: MarketParams) -> Benchmarks:
    """The benchmarks of a market, or the reason why there are none."""
    found: list[Equilibrium | None] = []
    reasons, cycle = [], None
    for solve in (static.nash, static.joint_profit):
        try:
            found.append(solve(shape, params))
        except CyclingError as error:
            found.append(None)
            if solve is static.nash:
                cycle = cycles.best_response_cycle(shape, params)
            reasons.append(f"no equilibrium: {cycle_line(cycle) if cycle else error}")
        except NoEquilibriumError as error:
            found.append(None)
            reasons.append(f"no equilibrium: {error}")
    nash, joint = found
    if nash is not None and joint is not None:
        close = too_close("profit", float(nash.profits.sum()), float(joint.profits.sum()))
        reasons += [close] if close else []
    return Benchmarks(nash, joint, _ignored(shape), "; ".join(reasons), _at_omega(shape, params), cycle)


def _at_omega(shape: MarketShape, params: MarketParams) -> Equilibrium | None:
    if np.all(np.asarray(params.reward.omega) == 1.0):
        return None
    try:
        return static.omega_equilibrium(shape, params)
    except NoEquilibriumError:
        return None


def surplus_at(shape: MarketShape, params: MarketParams, prices: np.ndarray) -> float:
    """Consumer surplus at a benchmark's prices [N], money per epoch; NaN where it is unknown."""
    return float("nan") if surplus.unknown(shape) else surplus.at_prices(shape, params, prices)
