"""The study of rollouts behind docs/virtual_market.md: cloning beside matching, where the truth is known.

    python -m benchmarks.matching [first=30] [logs=5] [customers=1000] [FIELD=VALUE of fit …]

For each log (another seed of customers, from `first` on): simulate, learn the customers by cloning, by cloning and
matching, and by cloning with as many more gradient steps of the log's likelihood and no discriminator, all judged on
the 14 days held out. Printed are the Wasserstein distances of daily orders and GMV, means over rollouts, beside those
of two halves of the log and of the true customers themselves; and the response curve's error against the truth.
`matching=0` leaves out all but cloning.
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import wasserstein_distance

from marl_pricing.config.command_line import read_command_line
from marl_pricing.config.errors import ConfigError, validate
from marl_pricing.doors import say_errors
from marl_pricing.evaluation.statistics import interval
from marl_pricing.presentation.output import run_command
from marl_pricing.virtual_market.curves import (
    COUPONS,
    TrueCurve,
    learned_curve,
    population_error,
    rollout_distances,
    segment_error,
)
from marl_pricing.virtual_market.fit import FitSettings, fit
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.memory import log_arrays, memories_of
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.money import day_gmv
from marl_pricing.virtual_market.simulate import Simulated, SimulationSettings, simulate
from marl_pricing.virtual_market.truth import draw_day, response_curve

_HELD_OUT = 14
_ROLLOUTS = 4
_SIZES = {"first": 30, "logs": 5, "customers": 1000}
_NO_REWARD = 1e4  # weight of the likelihood beside which rewards are nothing
_MEASURES = ("orders a day", "GMV a day", "curve, all", "curve, by segment")


def judged(model: VirtualMarket, log: PromotionLog, truth: TrueCurve) -> tuple[np.ndarray, np.ndarray]:
    """([4] of `_MEASURES`, the first two means over rollouts; [2] these between halves of the log, over halvings)."""
    told = [rollout_distances(model, log, _HELD_OUT, seed) for seed in range(_ROLLOUTS)]
    pairs = np.array([[own[name] for name in ("orders", "GMV")] for own in told]).mean(0)
    curve = learned_curve(model, memories_of(log, model.settings.form)[:, -1]).mean(0)
    errors = population_error(curve, truth), segment_error(curve, truth)
    return np.array([*pairs[:, 0], *errors]), pairs[:, 1]


def by_the_truth(found: Simulated) -> np.ndarray:
    """[2] the same distances where the true customers have these days once more: less cannot be asked for."""
    after = found.log.of_days(len(found.log.dates) - _HELD_OUT, len(found.log.dates))
    promotions, answers = log_arrays(after)

    @jax.jit
    def again(key: jax.Array) -> jax.Array:
        def day(own: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            key, promotion, weekday = own
            drawn = draw_day(key, found.truth, found.customers, promotion[:, 0], promotion[:, 1], weekday)
            return jnp.stack(drawn, axis=-1)

        offers = jnp.asarray(promotions.swapaxes(0, 1), jnp.float32)
        return jax.lax.map(day, (jax.random.split(key, _HELD_OUT), offers, jnp.asarray(after.weekdays)))

    told = []
    for seed in range(_ROLLOUTS):
        drawn = np.asarray(again(jax.random.key(10_000 + seed))).swapaxes(0, 1)
        pairs = [
            (own[..., 0], day_gmv(promotions[..., 0], promotions[..., 1], own[..., 0], own[..., 1]))
            for own in (drawn, answers)
        ]
        told.append([wasserstein_distance(one.ravel(), other.ravel()) for one, other in zip(*pairs, strict=True)])
    return np.mean(told, axis=0)


def study(first: int, logs: int, customers: int, given: dict[str, object]) -> None:
    """Print a line a log and a way of learning, and what they come to."""
    if "holdout" in given:
        raise ConfigError(f"holdout={given['holdout']!r}: says nothing here; {_HELD_OUT} days are held out")
    own = validate(FitSettings, {"members": 2, "matching": 60, **given, "holdout": _HELD_OUT})
    cloning = {name: value for name, value in own.model_dump().items() if not name.startswith("matching")}
    ways = {"cloned": FitSettings(**cloning)}
    if own.matching:
        ways |= {"matched": own, "likelihood alone": own.model_copy(update={"matching_anchor": _NO_REWARD})}
    every: dict[str, list[np.ndarray]] = {}
    for number in range(first, first + logs):
        found = simulate(SimulationSettings(out="unused", customers=customers, seed=number))
        curves = np.array([response_curve(found.truth, found.customers, count) for count in COUPONS])
        truth = TrueCurve(curves.mean(0)[1:].T, np.asarray(found.customers.loyal))
        for name, how in ways.items():
            began = time.process_time()
            model = VirtualMarket(how, fit(found.log, how))
            took = time.process_time() - began
            told, between_halves = judged(model, found.log, truth)
            every.setdefault(name, []).append(told)
            kept = "" if model.fitted.matched is None else f"; kept updates {model.fitted.matched[:, 0].astype(int)}"
            print(f"log {number}, {name}: {_said(told)}{kept}; {took:.0f} s of processor time", flush=True)
            if name == "cloned":
                every.setdefault("two halves of the log", []).append(between_halves)
                every.setdefault("the truth once more", []).append(by_the_truth(found))
    for name, those in every.items():
        _summary(name, np.array(those))
    for name in list(ways)[1:]:
        _summary(f"{name} less cloned", np.array(every[name]) - np.array(every["cloned"]))


def _said(values: np.ndarray) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(_MEASURES, values, strict=False))


def _summary(name: str, values: np.ndarray) -> None:
    parts = [
        f"{measure} {mean:+.4f} ({low:+.4f} to {high:+.4f})"
        for measure, (mean, low, high) in zip(_MEASURES, map(interval, values.T), strict=False)
    ]
    print(f"{name}: {', '.join(parts)}")


def main() -> int:
    """Read the sizes of the study and the fields of fit from the command line."""
    given = dict(read_command_line(sys.argv[1:]))
    sizes = {name: int(given.pop(name, usual)) for name, usual in _SIZES.items()}
    with say_errors():
        study(**sizes, given=given)
    return 0


if __name__ == "__main__":
    run_command(main)
