"""The candidate worlds that robust settings mean: an ambiguity, and a market that holds the worlds' numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing import demand
from marl_pricing.config import fears
from marl_pricing.config.acceptance import distances
from marl_pricing.config.contracts import supplied_otherwise
from marl_pricing.config.errors import refuse
from marl_pricing.config.market import Market
from marl_pricing.config.market_settings import Calibration
from marl_pricing.config.robust import Robust, WorldFactor
from marl_pricing.config.sellers import seller_number
from marl_pricing.config.traffic import behaving_otherwise
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.market import MarketShape, Variants
from marl_pricing.robust import Ambiguity
from marl_pricing.traffic.contamination import shares_around

_SEED = 0
# A slope keeps its sign in every world that is drawn.
_FLATTEST = 0.2


def _shares(own: Robust, world: WorldFactor | None) -> tuple[tuple[float, ...], bool]:
    """(shares of agents or offsets from the nominal one, whether they are offsets)."""
    if world is None:
        return (0.0,), True
    if world.values is not None:
        return world.shares, False
    count = own.num_candidates
    if own.set == "interval":
        return tuple(float(value) for value in np.linspace(-own.radius, own.radius, count)), True
    return tuple(float(value) for value in np.linspace(own.low, own.high, count)), False


def draw_errors(count: int, width: int, radius: float | None) -> np.ndarray:
    """Errors [count, width] in standard errors; the first row is no error at all.

    Args:
        radius: of a box that they fill evenly; None draws them from the normal law. Both by a Sobol sequence with a
            fixed seed, so that a configuration means one set of worlds.
    """
    from scipy.stats import norm, qmc  # few runs draw, and every start would wait for it

    power = int(np.ceil(np.log2(max(count - 1, 1))))
    points = qmc.Sobol(width, seed=_SEED).random_base2(power)[: count - 1]
    box, law = 2.0 * points - 1.0, norm.ppf(np.clip(points, 1e-6, 1.0 - 1e-6))
    drawn = law if radius is None else radius * box
    return np.concatenate([np.zeros((1, width)), drawn])


def calibrated_choice(
    choice: demand.LogitParams | demand.PowerParams, told: Calibration, errors: np.ndarray
) -> demand.LogitParams | demand.PowerParams:
    """Demand where the estimates are off by `errors` [1 + N] standard errors: of the slope, and of each offer's level.

    Agents' slope is off by the same share as people's. An offer's level is its log attraction at its reference price,
    so that a wrong slope leaves demand there as it is.
    """
    steeper = max((told.slope + told.slope_error * errors[0]) / told.slope, _FLATTEST)
    if isinstance(choice, demand.PowerParams):
        return _elastic(choice, told, steeper, errors[1:])
    shift = jnp.asarray(np.asarray(told.level_error) * errors[1:], jnp.float32)
    price = jnp.asarray(told.reference_price, jnp.float32)
    scale = choice.scale / steeper
    utility = (choice.quality - price) / choice.scale[:, None]
    outside = choice.outside / steeper
    return choice.replace(scale=scale, outside=outside, quality=price + scale[:, None] * (utility + shift))


def _elastic(
    choice: demand.PowerParams, told: Calibration, steeper: float | np.ndarray, errors: np.ndarray
) -> demand.PowerParams:
    """Elasticities so many times what they are, of all or of each offer [N], and levels off by `errors` [N]."""
    shift = jnp.asarray(np.asarray(told.level_error) * errors, jnp.float32)
    factor = jnp.asarray(steeper, jnp.float32)
    return choice.replace(elasticity=choice.elasticity * factor, popularity=choice.popularity * jnp.exp(shift))


def _drawn_elasticities(
    choice: demand.PowerParams, own: Robust, told: Calibration, radius: float | None
) -> tuple[np.ndarray, list[demand.PowerParams]]:
    """(coordinates [K, 2N] of each world, its demand), where each offer's elasticity has a posterior of its own.

    The worlds are the posterior's draws as they stand, or, under an interval, fill a box along its principal axes.
    Coordinates are standard errors along these axes, then those of the levels. Agents' elasticities are off by the same
    share as people's; all keep their sign.
    """
    draws, count = np.asarray(told.elasticity_draws), own.num_candidates
    if radius is None and count > len(draws):
        accepted = f"at most {len(draws)}, the draws of the calibration, with robust.worlds=calibration"
        raise refuse("robust.num_candidates", count, accepted)
    num = len(told.products)
    mean = np.asarray(choice.elasticity[0], float)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(draws.T)))
    errors = draw_errors(count, 2 * num, radius)
    root = np.sqrt(np.clip(variances, 0.0, None))
    if radius is None:
        elasticity = np.concatenate([mean[None], draws[: count - 1]])
        where = (elasticity - mean) @ axes / np.where(root > 1e-9, root, np.inf)
    else:
        where = errors[:, :num]
        elasticity = mean + (where * root) @ axes.T
    steeper = np.maximum(elasticity / mean, _FLATTEST)
    choices = [_elastic(choice, told, row, off) for row, off in zip(steeper, errors[:, num:], strict=True)]
    return np.concatenate([where, errors[:, num:]], 1), choices


def _calibration(
    built: Market, own: Robust, told: Calibration | None, field: str
) -> tuple[list[tuple[float, ...]], list]:
    """(coordinates of each world, in standard errors, and its demand)."""
    if told is None:
        raise refuse(field, "calibration", "another factor in a market without estimates (market=calibrated)")
    choice = built.params.demand.choice
    assert isinstance(choice, (demand.LogitParams, demand.PowerParams))
    radius = own.radius if own.set == "interval" else None
    if told.elasticity_draws is not None:
        assert isinstance(choice, demand.PowerParams)
        where, choices = _drawn_elasticities(choice, own, told, radius)
        return [tuple(row) for row in where.tolist()], choices
    errors = draw_errors(own.num_candidates, 1 + len(told.products), radius)
    return [tuple(row) for row in errors.tolist()], [calibrated_choice(choice, told, row) for row in errors]


def build_ambiguity(
    own: Robust, built: Market, told: Calibration | None, visitors: Traffic
) -> tuple[Market, Ambiguity | None]:
    """The market with its candidate worlds, and the ambiguity about them; None for the plain learner.

    Args:
        told: how sure a calibrated market's estimates are.

    Raises:
        ConfigError: for worlds that mean nothing in this market.
    """
    if own.set == "none" or own.radius == 0.0:
        return built, None
    worlds = {world.factor: world for world in own.worlds}
    shape = built.shape
    if shape.contracts is not None and own.mode == "expected":
        rule = f"market.inventory.rule={shape.inventory.rule}"
        accepted = f"per_draw or algorithm_1 with {rule}: what will be agreed upon is known for no expected stock"
        raise refuse("robust.mode", own.mode, accepted)
    if shape.demand.num_classes < 2 and {"agent_share", "kernels"} & set(worlds):
        factor = next(name for name in ("agent_share", "kernels") if name in worlds)
        accepted = "'none', or robust.worlds of other factors," if factor == "agent_share" else "other factors"
        field, value = ("robust.set", own.set) if factor == "agent_share" else ("robust.worlds", factor)
        raise refuse(field, value, f"{accepted} in a market without agents (market.agent=null)")
    check_factors("robust.worlds", set(worlds), shape, visitors)
    shares, relative = _shares(own, worlds.get("agent_share"))
    if own.set == "interval" and "agent_share" in worlds and not relative and shape.traffic.process == "static":
        nominal = float(built.params.traffic.agent_share)
        gap = min(abs(share - nominal) for share in shares)
        if gap > own.radius + 1e-6:
            accepted = f"at least {gap:.4g}, the distance of the nearest share of robust.worlds.agent_share"
            raise refuse("robust.radius", own.radius, accepted)
    factors = [world for world in own.worlds if world.factor != "agent_share"]
    others, variants, names = combined(factors, own, built, told, visitors)
    apart: list[float] | None = None
    if own.set == "accept":
        if shape.traffic.process != "static":
            raise refuse("robust.set", "accept", "another set where the share of agents moves (traffic.process)")
        known = np.asarray(shares, np.float64) + (float(built.params.traffic.agent_share) if relative else 0.0)
        measured = distances(own, shape, built.params, variants, known)
        kept = np.flatnonzero(measured <= own.radius)
        if not kept.size:
            accepted = f"at least {measured.min():.4g}, the distance of the nearest candidate, with robust.set=accept"
            raise refuse("robust.radius", own.radius, accepted)
        apart = measured.reshape(-1)[kept].tolist()
        if factors:
            others, variants = [others[k] for k in kept], [variants[k] for k in kept]
            names = [names[k] for k in kept]
        else:
            shares = tuple(shares[k] for k in kept)
    if factors:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variants)
        built = built._replace(params=built.params.replace(variants=stacked))
    named = _share_labels(shares, relative, built) if "agent_share" in worlds else [""]
    labels = [", ".join(filter(None, [name, share])) for name in names for share in named]
    if apart is not None:
        labels = [f"{label} (W{own.order} {value:.3g})" for label, value in zip(labels, apart, strict=True)]
    count = len(labels)
    ambiguity = Ambiguity(
        set=own.set,
        mode=own.mode,
        radius=own.radius,
        shares=shares,
        relative=relative,
        weights=(1.0 / count,) * count,
        anneal_updates=own.anneal_updates,
        others=tuple(others),
        distances=tuple(map(tuple, own.metric)) if isinstance(own.metric, list) else None,
        demand_metric=own.metric == "demand",
        labels=tuple(labels),
        adversary=own.adversary,
        sellers=_fearful(own, shape.num_sellers, told),
    )
    if fears.one_law(built.shape, built.params, ambiguity, visitors, set(worlds)):
        ambiguity = replace(ambiguity, one_law=True)
    fears.warn(built.shape, built.params, ambiguity, set(worlds))
    return built, ambiguity


class Combined(NamedTuple):
    """Worlds of every combination of factors' values: coordinates, changes, names; one that changes nothing of none."""

    others: list[tuple[float, ...]]
    variants: list[Variants]
    names: list[str]


def combined(
    factors: Sequence[WorldFactor], own: Robust, built: Market, told: Calibration | None, visitors: Traffic
) -> Combined:
    """The worlds of every combination of values.

    Args:
        own: says how many worlds `calibration` draws, and how.
    """
    columns: list[list[tuple[tuple[float, ...], str, dict]]] = []
    for world in factors:
        if world.factor == "calibration":
            where, choices = _calibration(built, own, told, world.group)
            column = [
                (place, f"estimates {number}", {"choice": choice})
                for number, (place, choice) in enumerate(zip(where, choices, strict=True))
            ]
        else:
            column = [_other(world, value, built, visitors) for value in world.values or []]
        columns.append(column)
    others, variants, names = [], [], []
    for combination in product(*columns):
        others.append(tuple(number for place, _, _ in combination for number in place))
        names.append(", ".join(name for _, name, _ in combination))
        variants.append(Variants(**{key: value for _, _, change in combination for key, value in change.items()}))
    return Combined(others, variants, names)


def check_factors(field: str, factors: set[str], shape: MarketShape, visitors: Traffic) -> None:
    """Refuse factors that mean nothing in a market, by the name of the field that asks for them."""
    if "kernels" in factors and shape.demand.num_classes < 2:
        raise refuse(field, "kernels", "other factors in a market without agents (market.agent=null)")
    if "lead_time" in factors and (shape.inventory.unlimited or shape.inventory.rule == "none"):
        raise refuse(field, "lead_time", "other factors where nothing is reordered (market.inventory.rule)")
    if "kernels" in factors and (visitors.model not in ("chain", "bank") or visitors.bank.source == "log"):
        raise refuse(field, "kernels", "other factors without sessions that are drawn from kernels")
    if "kernels" in factors and visitors.bank.refresh:
        raise refuse(field, "kernels", "other factors with traffic.bank.refresh=true")
    suppliers, rule = factors & {"supplier_cost", "supplier_capacity"}, f"market.inventory.rule={shape.inventory.rule}"
    if shape.contracts is None:
        if suppliers:
            raise refuse(field, min(suppliers), f"other factors with {rule}: nothing is bargained for")
        return
    if "lead_time" in factors:
        raise refuse(field, "lead_time", f"other factors with {rule}: lead times are agreed upon")
    if len(suppliers) > 1:
        raise refuse(field, sorted(suppliers), "one of them")


def _fearful(own: Robust, num_sellers: int, told: Calibration | None) -> tuple[int, ...] | None:
    """Numbers of the sellers that fear, in order; None for all."""
    if isinstance(own.sellers, str):
        return None
    names = told.sellers if told else ()
    found = {seller_number("robust.sellers", str(seller), num_sellers, names) for seller in own.sellers}
    if len(found) < len(own.sellers):
        raise refuse("robust.sellers", own.sellers, "different sellers")
    return tuple(sorted(found)) if len(found) < num_sellers else None


def _share_labels(shares: tuple[float, ...], relative: bool, built: Market) -> list[str]:
    if relative and built.shape.traffic.process != "static":  # they move with the nominal share
        return [f"agents {share:+.3g}" for share in shares]
    if relative:
        own = shares_around(built.params.traffic.agent_share, jnp.asarray(shares, jnp.float32))
        shares = tuple(np.asarray(own, np.float64).tolist())
    return [f"agents {share:.3g}" for share in shares]


def _other(world: WorldFactor, value: float, built: Market, visitors: Traffic) -> tuple[tuple[float, ...], str, dict]:
    """(coordinate, name, change) of one value of a factor."""
    factor = world.factor
    if factor == "demand_scale":
        return (float(np.log(value)),), f"demand x{value:g}", {"demand_scale": jnp.float32(value)}
    if factor == "lead_time":
        return (float(value),), f"orders {value:+g}", {"delay": jnp.int32(value)}
    if factor in ("supplier_cost", "supplier_capacity"):
        changed, what = {factor.removeprefix("supplier_"): value}, factor.replace("_", " ")
        assert built.shape.contracts is not None and built.params.contracts is not None
        field = f"{world.group}.{factor}={value!r}"
        otherwise = supplied_otherwise(built.shape.contracts, built.params.contracts, field, **changed)
        return (float(np.log(value)),), f"{what} x{value:g}", {"contracts": otherwise}
    sessions, rate = behaving_otherwise(visitors, built.params.traffic, mimicry=value)
    return (float(value),), f"mimicry {value:g}", {"sessions": sessions, "purchase_rate": rate}
