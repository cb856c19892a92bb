"""What a market's profits are measured against: the one-shot Nash and joint-profit benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

from marl_pricing.equilibrium import static
from marl_pricing.equilibrium.static import Equilibrium, NoEquilibriumError
from marl_pricing.market import MarketParams, MarketShape

# Below this share of the Nash profit the gap between the two benchmarks is too small to divide by.
SMALLEST_GAP = 0.02


@dataclass(frozen=True)
class Benchmarks:
    """One-shot benchmarks of one market.

    Attributes:
        nash, joint: the equilibria; None where there is none.
        ignores: what the market has and a one-shot benchmark does not know of.
        reason: why no profit gain can be given; empty where it can.
    """

    nash: Equilibrium | None
    joint: Equilibrium | None
    ignores: tuple[str, ...]
    reason: str

    @property
    def label(self) -> str:
        """What to call them: "static benchmark", and what it ignores."""
        if not self.ignores:
            return "static benchmark"
        *others, last = self.ignores
        return f"static benchmark, ignores {', '.join(others) + ' and ' if others else ''}{last}"

    def profit_gain(self, profit: float) -> float:
        """Δ = (π − π_Nash) / (π_joint − π_Nash) of the sellers' total profit (Calvano et al. 2020, eq. 9).

        Args:
            profit: money per epoch, all sellers together.
        """
        assert not self.reason and self.nash is not None and self.joint is not None
        nash = float(self.nash.profits.sum())
        return (profit - nash) / (float(self.joint.profits.sum()) - nash)


def _ignored(shape: MarketShape) -> tuple[str, ...]:
    has = {
        "stock": not shape.inventory.unlimited,
        "the moving level of demand": shape.demand.moving_level or shape.demand.noisy_level,
        "the season": shape.demand.season,
        "shocks": shape.demand.shocks,
        "the moving share of agents": shape.traffic.process != "static",
        "sessions' mark-up": shape.traffic.markup,
        "penalties": bool(shape.reward.penalties),
    }
    return tuple(name for name, present in has.items() if present)


def static_benchmarks(shape: MarketShape, params: MarketParams) -> Benchmarks:
    """The benchmarks of a market, or the reason why there are none."""
    ignores = _ignored(shape)
    found: list[Equilibrium | None] = []
    reasons = []
    for solve in (static.nash, static.joint_profit):
        try:
            found.append(solve(shape, params))
        except NoEquilibriumError as error:
            found.append(None)
            reasons.append(f"no equilibrium: {error}")
    nash, joint = found
    if nash is not None and joint is not None:
        base, best = float(nash.profits.sum()), float(joint.profits.sum())
        if best - base < SMALLEST_GAP * abs(base) or best <= base:
            reasons.append(
                f"joint profit ({best:.4g}) is less than {SMALLEST_GAP:.0%} above Nash profit ({base:.4g}), "
                "too little to divide by"
            )
    return Benchmarks(nash, joint, ignores, "; ".join(reasons))
