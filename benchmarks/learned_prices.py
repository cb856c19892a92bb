"""The study behind docs/virtual_market.md: sellers trained among learned shoppers, in the truth.

    python -m benchmarks.learned_prices [first=0] [logs=5] [seeds=2] [days=60] [omega=1.0] [overrides=[…]]

For each log (another seed of prices and sessions, from `first` on) of the market of `experiment=logit_duopoly`, whose
shop's prices follow demand that the log does not show: learn its shoppers, train sellers among them by `train.py`'s
settings, and let them play in the truth, beside `seeds` · `logs` that were trained in the truth itself, over the same
episodes. Beside that, computed: what the exact equilibrium of the learned market brings in the truth, and that of a
market which took prices as given.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
from pydantic import Field

from marl_pricing import api
from marl_pricing.config.command_line import read_command_line
from marl_pricing.config.errors import Settings, validate
from marl_pricing.config.market import Market, market_from
from marl_pricing.equilibrium import static
from marl_pricing.evaluation.play import play
from marl_pricing.evaluation.statistics import interval
from marl_pricing.presentation.output import run_command
from marl_pricing.virtual_market.prices.fit import FitSettings, fit
from marl_pricing.virtual_market.prices.judge import Known, curves_of, gain_alone
from marl_pricing.virtual_market.prices.model import (
    PriceModel,
    learned_market,
    market_settings,
    train_settings,
    write_market,
)
from marl_pricing.virtual_market.prices.simulate import SimulationSettings, simulate
from marl_pricing.virtual_market.prices.truth import TrueMarket

_EXPERIMENT = "logit_duopoly"
_EPISODES = 64
_QUIET = {"run.evaluate_every": 0, "run.tensorboard": False}


class StudySettings(Settings):
    """How much of it."""

    first: Annotated[int, Field(ge=0)] = 0
    logs: Annotated[int, Field(ge=1, le=100)] = 5
    seeds: Annotated[int, Field(ge=1, le=20)] = 2
    days: Annotated[int, Field(ge=8, le=1000)] = 60
    omega: Annotated[float, Field(ge=0, le=1)] = 1.0
    overrides: list[str] = []  # noqa: RUF012


class Sellers(NamedTuple):
    """What sellers earn together in the truth, money an epoch, by training seed, and their mean price in the last."""

    profits: np.ndarray
    prices: np.ndarray


def _trained(changes: dict[str, Any], own: StudySettings, seeds: int, folder: Path, **groups: str) -> api.Run:
    changes = {"learner.num_seeds": seeds, "market.reward.omega": own.omega, **_QUIET, **changes}
    return api.train(_EXPERIMENT, changes, groups=groups, folder=folder)


def _truth_as_played(truth: TrueMarket, own: StudySettings, prices: dict[str, Any]) -> Market:
    """The true market with expected orders and a grid of prices."""
    market = truth.settings["market"] | {"prices": prices}
    market["reward"] = market["reward"] | {"omega": own.omega}
    visitors = truth.settings["traffic"] | {"random_orders": False, "order_law": "poisson"}
    return market_from(market, visitors)


def _in_truth(run: api.Run, truth: Market) -> Sellers:
    profits, prices = [], []
    for policy in run.policies():
        record = play(jax.random.key(1_000_003), truth.shape, truth.params, policy, _EPISODES)
        profits.append(np.asarray(record.reward_raw, float).sum(-1).mean())
        prices.append(np.asarray(record.price, float)[:, -1].mean())
    return Sellers(np.array(profits), np.array(prices))


def _grid(low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    ends = {"low": low.tolist(), "high": high.tolist(), "around_equilibrium": None}
    return {"map": "levels", "num_price_levels": 15, **ends}


def _equilibrium(market: Market, omega: float) -> np.ndarray:
    """Exact one-shot prices [N]: of all sellers as one at ω = 0."""
    return (static.joint_profit(*market) if omega == 0 else static.omega_equilibrium(*market, omega)).prices


def study(own: StudySettings) -> None:
    """Print a line a log, and what they come to."""
    with tempfile.TemporaryDirectory() as place:
        folder, reference, rows = Path(place), None, []
        for number in range(own.first, own.first + own.logs):
            log, truth, level = simulate(
                SimulationSettings(
                    out="unused", experiment=_EXPERIMENT, seed=number, days=own.days, overrides=own.overrides
                )
            )
            real = truth.expected
            cost = np.asarray(truth.params.reward.unit_cost, float).tolist()
            if reference is None:
                grid = _grid(truth.low, truth.high)
                whole = _truth_as_played(truth, own, grid)
                changes = {f"market.{name}": truth.settings["market"][name] for name in ("demand", "level")}
                changes |= {"market.prices": grid, "traffic.sessions_per_epoch": truth.shape.traffic.sessions}
                run = _trained(changes, own, own.seeds * own.logs, folder / "truth")
                reference = _in_truth(run, whole)
                best = _equilibrium(whole, own.omega)
                most = static.profits_at(*real, best).sum()
                print(
                    f"trained in the truth: {_said(reference.profits)} an epoch, mean price "
                    f"{reference.prices.mean():.3f}; exact prices {np.round(best, 3).tolist()}",
                    flush=True,
                )
            found = {name: fit(log, FitSettings(effects=name, members=2, family="logit")) for name in ("day", "none")}
            path = folder / f"{number}.yaml"
            model, settings = (
                PriceModel(FitSettings(members=2, family="logit"), found["day"]),
                market_settings(found["day"], cost),
            )
            write_market(path, model, settings, 0)
            changes = {"market.path": str(path), "market.episode_length": truth.settings["market"]["episode_length"]}
            visitors = train_settings(found["day"])
            changes |= {f"traffic.{name}": value for name, value in visitors.items() if name != "model"}
            run = _trained(changes, own, own.seeds, folder / str(number), market="calibrated")
            sellers = _in_truth(run, _truth_as_played(truth, own, settings["prices"]))
            posted = [_equilibrium(learned_market(fitted, cost), own.omega) for fitted in found.values()]
            exact = [static.profits_at(*real, prices).sum() / most for prices in posted]
            alone = [gain_alone(truth, prices) if own.omega == 1 else np.nan for prices in posted]
            curves = curves_of(found["day"], log, Known(truth, level))
            assert curves.truth is not None
            errors = [np.abs(one - curves.truth).mean() for one in (curves.learned, curves.naive)]
            told = f"; one alone gains {alone[0]:.2%} and {alone[1]:.2%}" if own.omega == 1 else ""
            by_seed = ", ".join(f"{one / reference.profits.mean():.2%}" for one in sellers.profits)
            rows.append((sellers.profits.mean() / reference.profits.mean(), *exact, *alone, *errors))
            print(
                f"log {number}: {rows[-1][0]:.2%} of the truth's (by seed {by_seed}; mean price "
                f"{sellers.prices.mean():.3f}); exact {exact[0]:.2%}, prices as given {exact[1]:.2%}{told}; "
                f"error by price {errors[0]:.4f}, naive {errors[1]:.4f}",
                flush=True,
            )
    names = (
        "trained", "exact equilibrium", "exact, prices as given", "gain of one alone", "gain, prices as given",
        "error by price", "naive error",
    )  # fmt: skip
    for name, values in zip(names, np.array(rows).T, strict=True):
        if np.isfinite(values).all():
            print(f"{name}: {_said(values)}, {values.min():.4g} to {values.max():.4g}")


def _said(values: np.ndarray) -> str:
    mean, low, high = interval(values)
    return f"{mean:.4f} ({low:.4f} to {high:.4f})"


def main() -> int:
    """Carry out what the command line says."""
    study(validate(StudySettings, read_command_line(sys.argv[1:])))
    return 0


if __name__ == "__main__":
    run_command(main)
