"""Settings that change nothing in the chosen combination: whoever types one is told, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from marl_pricing.config.errors import ConfigError
from marl_pricing.config.experiment import ExperimentSettings
from marl_pricing.market.prices import CONTINUOUS


class _Idle(NamedTuple):
    """Settings that wait for another one.

    Attributes:
        fields: their paths.  waits: whether they change nothing.  reason: with what.
    """

    fields: tuple[str, ...]
    waits: Callable[[ExperimentSettings], bool]
    reason: str


def _under(group: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{group}.{name}" for name in names)


def _selfish(own: ExperimentSettings) -> bool:
    if own.market.num_sellers == 1:
        return True
    return own.worlds.omega is None and bool((np.asarray(own.market.reward.omega) == 1.0).all())


def _without(name: str, own: ExperimentSettings) -> bool:
    return getattr(own.market.reward, name) == 0.0


def _process(kinds: tuple[str, ...], own: ExperimentSettings) -> bool:
    return own.traffic.process.kind not in kinds


def _set(sets: tuple[str, ...], own: ExperimentSettings) -> bool:
    return own.robust.set not in sets


def _moves(own: ExperimentSettings) -> bool:
    """Whether the learner's entropy bonus or ε, or a number of the market, moves with the updates."""
    ends = [(f"{name}_start", f"{name}_end") for name in ("entropy", "epsilon")]
    moves = any(getattr(own.learner, first, 0.0) != getattr(own.learner, last, 0.0) for first, last in ends)
    return moves or own.worlds.moves


_TABLE = (
    _Idle(("learner.learning_rate_end",), lambda own: own.learner.schedule == "constant", "learner.schedule=constant"),
    _Idle(
        ("learner.schedule_updates",),
        lambda own: own.learner.schedule == "constant" and not _moves(own),
        "learner.schedule=constant and nothing else that moves: one entropy bonus, or one ε, at the start and the end",
    ),
    _Idle(
        ("learner.price_law",),
        lambda own: own.market.prices.map not in CONTINUOUS,
        "prices on a grid (market.prices.map=levels or scale)",
    ),
    _Idle(
        _under("market.season", "period", "start"),
        lambda own: not own.market.season.cosine and not own.market.season.sine,
        "market.season.cosine and sine empty",
    ),
    _Idle(
        _under("market.shocks", "duration", "scale"),
        lambda own: own.market.shocks.probability == 0.0,
        "market.shocks.probability=0",
    ),
    _Idle(("market.types.nodes",), lambda own: own.market.types.spread == 0.0, "market.types.spread=0"),
    _Idle(
        _under("market.patience", "discount", "fall", "floor", "arrive", "epochs"),
        lambda own: own.market.patience.share == 0.0,
        "market.patience.share=0",
    ),
    _Idle(
        ("worlds.draws",),
        lambda own: "calibration" not in [varied.factor for varied in own.worlds.factors],
        "worlds.factors without calibration",
    ),
    _Idle(
        ("market.bankruptcy.cash_limit",),
        lambda own: own.market.bankruptcy.initial_cash is None,
        "market.bankruptcy.initial_cash=null",
    ),
    _Idle(("market.reward.normalise_shaping",), _selfish, "selfish sellers (market.reward.omega=1)"),
    _Idle(
        _under("market.reward", "stockout_penalty", "holding_cost"),
        lambda own: own.market.inventory.rule == "unlimited",
        "market.inventory.rule=unlimited",
    ),
    _Idle(
        _under("market.reward", "anchor", "excess_memory"),
        partial(_without, "supra_competitive"),
        "market.reward.supra_competitive=0",
    ),
    _Idle(
        ("market.reward.movement_floor",),
        lambda own: own.market.reward.volatility == own.market.reward.upward_volatility == 0.0,
        "market.reward.volatility=0 and upward_volatility=0",
    ),
    _Idle(("market.reward.error_form",), partial(_without, "estimate_error"), "market.reward.estimate_error=0"),
    _Idle(
        _under("traffic.process", "start_probability", "stop_probability"),
        partial(_process, ("burst",)),
        "a traffic.process.kind other than burst",
    ),
    _Idle(
        _under("traffic.process", "step", "low"),
        partial(_process, ("drift",)),
        "a traffic.process.kind other than drift",
    ),
    _Idle(("traffic.process.high",), partial(_process, ("drift", "burst")), "traffic.process.kind=static"),
    _Idle(("traffic.smoothing",), lambda own: own.traffic.log is None, "no traffic.log to estimate kernels from"),
    _Idle(
        ("traffic.perturbation.seed",),
        lambda own: own.traffic.perturbation.strength == 0.0,
        "traffic.perturbation.strength=0",
    ),
    _Idle(
        _under("traffic.times", "human_gap", "agent_gap", "human_dwell", "agent_dwell"),
        lambda own: own.traffic.detector == "kernels",
        "traffic.detector=kernels",
    ),
    _Idle(
        ("traffic.quotes.identities",),
        lambda own: not own.traffic.quotes.differ,
        "traffic.quotes.factors that are all alike",
    ),
    _Idle(
        ("traffic.browsing.reference",),
        lambda own: not own.traffic.browsing.moves,
        "traffic.browsing.elasticity=0 and agent_elasticity=0",
    ),
    _Idle(
        _under("traffic.markup", "threshold", "temperature", "clean_signal", "highest_price"),
        lambda own: own.traffic.markup.strength == 0.0,
        "traffic.markup.strength=0",
    ),
    _Idle(
        _under(
            "robust",
            "num_candidates",
            "mode",
            "adversary",
            "sellers",
            "worlds",
            "low",
            "high",
            "metric",
            "anneal_updates",
        ),
        partial(_set, ("interval", "contamination", "total_variation", "kl", "chi2", "wasserstein", "accept")),
        "robust.set=none",
    ),
    _Idle(
        _under("robust", "order", "distance", "samples"),
        partial(_set, ("accept",)),
        "a robust.set other than accept",
    ),
)


def refuse_idle(settings: ExperimentSettings, overrides: Iterable[str]) -> None:
    """Refuse what was typed and changes nothing. What files and defaults say is left alone: it waits there.

    Args:
        overrides: `field=value`, as typed.

    Raises:
        ConfigError: a line for each, naming the field, its value and with what it changes nothing.
    """
    refuse_typed(overrides, {field: own.reason for own in _TABLE if own.waits(settings) for field in own.fields})


def refuse_typed(overrides: Iterable[str], idle: Mapping[str, str]) -> None:
    """Refuse those of the `overrides` that are among the `idle` settings, or belong to one of these groups.

    Args:
        idle: paths of settings or groups, with what they change nothing.

    Raises:
        ConfigError: a line for each, naming the field, its value and with what it changes nothing.
    """
    told = []
    for text in overrides:
        field, _, value = text.lstrip("+").partition("=")
        reason = next((why for path, why in idle.items() if f"{field}.".startswith(f"{path}.")), None)
        if reason is not None:
            told.append(f"{field}={value}: changes nothing with {reason}")
    if told:
        raise ConfigError("\n".join(told))
