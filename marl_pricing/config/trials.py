"""The worlds that a robustness evaluation tries sellers in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from pydantic import Field, field_validator

from marl_pricing.config.errors import Settings, refuse
from marl_pricing.config.experiment import ExperimentSettings
from marl_pricing.config.market import Market, build_market
from marl_pricing.config.robust import Reach
from marl_pricing.config.traffic import behaving_otherwise
from marl_pricing.config.traffic_settings import Process
from marl_pricing.market import MarketParams, Variants, vary
from marl_pricing.robust import World
from marl_pricing.traffic import TrafficParams

Share = Annotated[float, Field(ge=0, le=1)]


class Trials(Settings):
    """What sellers are tried in, besides the world that they were trained for; an empty list leaves a factor out.

    `unheld_shares` of agents are tried where orders are not held (`traffic.hold_orders`), so that more agents also buy
    less; in a market that holds none, `agent_shares` are such worlds already.
    """

    agent_shares: list[Share] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]  # noqa: RUF012
    unheld_shares: list[Share] = [0.4, 0.8]  # noqa: RUF012
    processes: list[Literal["drift", "burst"]] = ["drift", "burst"]  # noqa: RUF012
    demand_scales: list[Annotated[float, Field(gt=0)]] = [0.7, 0.85, 1.15, 1.3]  # noqa: RUF012
    mimicry: list[Share] = [0.25, 0.5, 0.75]  # noqa: RUF012
    perturbations: list[Annotated[int, Field(ge=0)]] = [1, 2, 3]  # noqa: RUF012
    perturbation_strength: Annotated[float, Field(ge=0)] = 0.5
    delays: list[Annotated[int, Field(ge=1, le=50)]] = [1, 2]  # noqa: RUF012

    @field_validator("*")
    @classmethod
    def _once(cls, given, info):
        if isinstance(given, list) and len(set(given)) < len(given):
            raise refuse(f"trials.{info.field_name}", given, "a list of different values")
        return given


_PROCESSES = {
    "drift": Process(kind="drift", low=0.0, high=0.8, step=0.05),
    "burst": Process(kind="burst", low=0.0, high=0.8, start_probability=0.05, stop_probability=0.2),
}


def trial_worlds(settings: ExperimentSettings, built: Market, trials: Trials) -> list[World]:
    """The world of training first, then one world a value of each factor that this market has.

    Worlds in which the share of agents stands still hold it at `traffic.agent_share` unless that is what is tried.

    Args:
        settings: of a run.  built: its market.
    """
    worlds = [World("trained", 0.0, "as trained", built.shape, built.params.replace(variants=None))]
    traffic = settings.traffic
    still = traffic.model_copy(update={"process": Process()})
    # One shape for all of these, so that they share a program: as wide as the widest needs.
    reach = Reach(demand=max([1.0, *trials.demand_scales]), delay=max([0, *trials.delays]))
    if not _stocked(built):
        reach = Reach(demand=reach.demand)
    wide = build_market(settings.market, still, reach)
    params = _like(built.params, wide.params)

    def add(factor: str, value: float, label: str, own: MarketParams) -> None:
        worlds.append(World(factor, value, label, wide.shape, own))

    agents = built.shape.demand.num_classes > 1
    for share in trials.agent_shares if agents else []:
        own = params.traffic.replace(agent_share=jnp.float32(share))
        add("agent_share", share, f"agents {100 * share:g} %", params.replace(traffic=own))
    for share in trials.unheld_shares if agents and _holds(built) else []:
        # As of people alone, so that with no agents the two kinds of world are one.
        loose = _unheld(params.traffic).replace(agent_share=jnp.float32(share))
        add("unheld_share", share, f"agents {100 * share:g} %, who buy less", params.replace(traffic=loose))
    for kind in trials.processes if agents else []:
        worlds.append(_moving(settings, built, kind))
    for scale in trials.demand_scales:
        varied = vary(params, Variants(demand_scale=jnp.float32(scale)))
        add("demand_scale", scale, f"demand x{scale:g}", varied)
    for value, label, variant in _behaviours(settings, built, trials) if agents else []:
        add("kernels", value, label, vary(params, variant))
    for delay in trials.delays if _stocked(built) else []:
        add("lead_time", delay, f"orders +{delay}", vary(params, Variants(delay=jnp.int32(delay))))
    return worlds


def _units(own: TrafficParams) -> jax.Array | None:
    """Units [Y] of a purchase, where orders are held by them; straight orders have no other purchase rate."""
    if own.sessions is not None:
        return own.sessions.units
    return own.purchase_rate if bool((own.purchase_rate != 1.0).any()) else None


def _holds(built: Market) -> bool:
    own = built.params.traffic
    return own.session_weight is not None or _units(own) is not None


def _unheld(own: TrafficParams) -> TrafficParams:
    """The same visitors, all held as people are: what differs between the classes comes through."""
    if own.session_weight is not None:
        return own.replace(session_weight=jnp.full_like(own.session_weight, own.session_weight[0]))
    units = _units(own)
    assert units is not None
    loose = jnp.full_like(units, units[0])
    sessions = own.sessions if own.sessions is None else own.sessions.replace(units=loose)
    return own.replace(sessions=sessions, purchase_rate=own.purchase_rate / units * loose)


def _stocked(built: Market) -> bool:
    return not built.shape.inventory.unlimited and built.shape.inventory.rule != "none"


def _like(own: MarketParams, still: MarketParams) -> MarketParams:
    """The run's own numbers, but a share of agents that stands still."""
    return own.replace(variants=None, traffic=own.traffic.replace(process=still.traffic.process))


def _moving(settings: ExperimentSettings, built: Market, kind: str) -> World:
    share = settings.traffic.agent_share
    process = _PROCESSES[kind]
    if process.high <= share:
        process = process.model_copy(update={"high": 1.0})
    other = build_market(settings.market, settings.traffic.model_copy(update={"process": process}))
    params = built.params.replace(
        variants=None, traffic=built.params.traffic.replace(process=other.params.traffic.process)
    )
    return World("process", 0.0, f"agents in {kind}s" if kind == "burst" else "agents drift", other.shape, params)


def _behaviours(settings: ExperimentSettings, built: Market, trials: Trials) -> Iterator[tuple[float, str, Variants]]:
    traffic, nominal = settings.traffic, built.params.traffic
    if traffic.model not in ("chain", "bank") or traffic.bank.source == "log":
        return
    for share in trials.mimicry:
        sessions, rate = behaving_otherwise(traffic, nominal, mimicry=share)
        yield share, f"mimicry {share:g}", Variants(sessions=sessions, purchase_rate=rate)
    for seed in trials.perturbations:
        changed = {"strength": trials.perturbation_strength, "seed": seed}
        sessions, rate = behaving_otherwise(traffic, nominal, perturbation=changed)
        yield 1.0 + seed, f"perturbed {seed}", Variants(sessions=sessions, purchase_rate=rate)
