"""Settings that older versions wrote into their folders, in the words of this one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from marl_pricing.learning.losses import VALUE_WEIGHT

_WEIGHT = "value_coefficient"
# Who chooses a law: `robust.adversary` now, once `robust.mode`.
_ADVERSARIES = ("per_seller", "nature", "fixed_world")


def translate(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A file's settings as this version knows them, those of a study's runs too. What is typed is never translated.

    A run from before orders could be held was trained in a market that did not hold them. `learner.value_coefficient`
    weighed the critic's loss, which has an optimiser of its own: Adam's steps are the same whatever the weight, but for
    the clipping of its gradient. It is fixed now, at the value that it had by default. Robust runs from before
    `robust.mode` and `robust.adversary` were told apart were trained draw by draw. Penalties on movement were relative
    to the price itself, however low it was. A purchase event that its session's latent type refused counted in the
    proxy, and every event of a log was about a product.

    Args:
        source: the file, named in warnings.
    """
    own = _named_learner(_without_weight(data, source))
    visitors = own.get("traffic")
    older = isinstance(visitors, Mapping) and "count_refused" not in visitors
    if isinstance(visitors, Mapping):
        own["traffic"] = _counting_refused({"hold_orders": "none", **visitors})
    own = _without_floor(own)
    study, robust = own.get("study"), own.get("robust")
    if isinstance(robust, Mapping) and "adversary" not in robust and robust.get("mode") != "algorithm_1":
        plain = robust.get("set", "none") == "none" and not study  # a study's runs may change the set alone
        own["robust"] = _draw_by_draw(robust) | ({"mode": "expected"} if plain else {})
    if isinstance(study, Mapping) and isinstance(study.get("runs"), list):
        own["study"] = {**study, "runs": [_translate_run(run, source, older) for run in study["runs"]]}
    return own


# What a movement was at least measured against before there was a setting for it.
_NO_FLOOR = 1e-6


def _fines_movement(data: Any) -> bool:
    for name in ("market", "reward"):
        data = data.get(name) if isinstance(data, Mapping) else None
    return isinstance(data, Mapping) and any(data.get(name) for name in ("volatility", "upward_volatility"))


def _without_floor(data: dict[str, Any]) -> dict[str, Any]:
    market = data.get("market")
    if not isinstance(market, Mapping) or not isinstance(market.get("reward"), Mapping):
        return data
    reward, study = market["reward"], data.get("study")
    runs = study.get("runs") if isinstance(study, Mapping) else None
    changes = [run.get("change") for run in runs if isinstance(run, Mapping)] if isinstance(runs, list) else []
    if "movement_floor" in reward or not any(map(_fines_movement, [data, *changes])):
        return data
    return {**data, "market": {**market, "reward": {**reward, "movement_floor": _NO_FLOOR}}}


def _counting_refused(visitors: Mapping[str, Any]) -> dict[str, Any]:
    """Traffic settings that name their model, from when refused purchases counted and all events had a product."""
    walks = visitors.get("model") in ("chain", "bank")
    older: dict[str, Any] = {"count_refused": walks} | ({"generic": []} if walks else {})
    return {**older, **visitors} if "model" in visitors else dict(visitors)


def _translate_run(run: Any, source: str, counting: bool) -> Any:
    """One run of a study: what differs from the experiment, and nothing else."""
    if not isinstance(run, Mapping) or not isinstance(run.get("change"), Mapping):
        return run
    change = _without_weight(run["change"], source)
    robust = change.get("robust")
    if isinstance(robust, Mapping) and robust.get("mode") in _ADVERSARIES:
        change["robust"] = _draw_by_draw(robust)
    if counting and isinstance(change.get("traffic"), Mapping):
        change["traffic"] = _counting_refused(change["traffic"])
    return {**run, "change": change}


def _draw_by_draw(robust: Mapping[str, Any]) -> dict[str, Any]:
    return {**robust, "mode": "per_draw", "adversary": robust.get("mode", _ADVERSARIES[0])}


def _named_learner(data: dict[str, Any]) -> dict[str, Any]:
    """With the only learner that there was at first."""
    learner = data.get("learner")
    return {**data, "learner": {"algorithm": "mappo", **learner}} if isinstance(learner, Mapping) else data


def _without_weight(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    learner = data.get("learner")
    if not isinstance(learner, Mapping) or _WEIGHT not in learner:
        return dict(data)
    if learner[_WEIGHT] != VALUE_WEIGHT:
        warnings.warn(
            f"{source}: learner.{_WEIGHT}={learner[_WEIGHT]!r} is no setting any more; the critic's loss weighs "
            f"{VALUE_WEIGHT} where this goes on training",
            stacklevel=3,
        )
    return {**data, "learner": {name: value for name, value in learner.items() if name != _WEIGHT}}
