"""How the sessions of traffic settings behave: kernels shipped, read or estimated, times, and what detectors know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from marl_pricing import traffic
from marl_pricing.config.errors import ConfigError, parse_yaml, read_bytes, refuse
from marl_pricing.config.traffic_settings import Traffic
from marl_pricing.intake import plain
from marl_pricing.traffic import detection, kernels
from marl_pricing.traffic.events import ACTIONS
from marl_pricing.traffic.kernels import Kernel
from marl_pricing.widths import float32


def read_kernels(path: str) -> tuple[Kernel, Kernel]:
    """Both kernels from YAML: {human: {event: {next event: probability}}, agent: {…}, generic: [event, …]}.

    Raises:
        ConfigError: naming the file, the row and what is accepted.
    """
    content = read_bytes(path, f"traffic.kernels={path!r}", plain.MOST_YAML)
    data = parse_yaml(content, f"traffic.kernels={path!r}")
    if not isinstance(data, dict) or set(data) - {"generic"} != {"human", "agent"}:
        raise ConfigError(f"traffic.kernels={path!r}: accepted are two groups, human and agent, and a list, generic")
    generic = data.get("generic") or []
    if not isinstance(generic, list) or not all(isinstance(name, str) for name in generic):
        raise ConfigError(f"traffic.kernels={path!r}: generic={generic!r}: accepted is a list of events")
    found = []
    for name in ("human", "agent"):
        if not isinstance(data[name], dict) or not all(isinstance(row, dict) for row in data[name].values()):
            raise ConfigError(f"traffic.kernels={path!r}, {name}: accepted is {{event: {{next event: probability}}}}")
        try:
            found.append(kernels.from_rows(data[name], path, generic))
        except kernels.KernelError as error:
            raise ConfigError(f"traffic.kernels={path!r}, {name}: {error}") from None
    return found[0], found[1]


class Behaviour(NamedTuple):
    """Kernels of both classes over one set of states, and the sessions that they come from."""

    global_kernels: list[Kernel]
    kinds: list[list[Kernel]]
    shares: list[np.ndarray]
    logged: list[list[np.ndarray]] | None
    events: Any = None  # of the log, a table of pandas


def _from_log(own: Traffic) -> Behaviour:
    from marl_pricing.traffic import logs  # pandas takes half a second, and few runs read a log

    assert own.log is not None
    try:
        log = logs.read_log(own.log, mapping=own.log_mapping)
        named = [logs.sessions_of(log, actor) for actor in ("human", "agent")]
    except logs.LogError as error:
        raise ConfigError(f"traffic.log: {error}") from None
    for actor, found in zip(("human", "agent"), named, strict=True):
        if not found:
            raise ConfigError(f"traffic.log={own.log!r}: there are no sessions labelled {actor!r}")
    states = kernels.states_of([session for found in named for session in found])
    encoded = [[kernels.encode(session, states) for session in found] for found in named]
    try:
        generic = logs.events_without_items(log.events)
        whole = [replace(kernels.estimate(found, states, own.smoothing), generic=generic) for found in encoded]
        if own.kinds == 1:
            ones = [np.ones(1), np.ones(1)]
            return Behaviour(whole, [[kernel] for kernel in whole], ones, encoded, log.events)
        kinds = [kernels.cluster(found, states, own.kinds, own.smoothing) for found in encoded]
    except kernels.KernelError as error:
        raise ConfigError(f"traffic.log={own.log!r}: {error}") from None
    return Behaviour(whole, [list(k.kernels) for k in kinds], [k.shares for k in kinds], encoded, log.events)


def _shipped_or_read(own: Traffic) -> tuple[Kernel, Kernel]:
    if own.kernels is None:
        return kernels.default_kernels()
    return kernels.storefront_kernels() if own.kernels == "storefront" else read_kernels(own.kernels)


def behaviour_of(own: Traffic) -> Behaviour:
    """Kernels of people and agents: shipped, of a file or of a log, people's matched to a funnel where there is one.

    Raises:
        ConfigError: for files that cannot be used.
    """
    if own.log is not None:
        found = _from_log(own)
    else:
        both = kernels.align(_shipped_or_read(own))
        found = Behaviour(both, [[kernel] for kernel in both], [np.ones(1), np.ones(1)], None)
    if own.generic is not None:
        try:
            whole = [replace(kernel, generic=tuple(own.generic)) for kernel in found.global_kernels]
        except kernels.KernelError as error:
            raise ConfigError(f"traffic.{error}") from None
        found = found._replace(global_kernels=whole)
    if own.human.match is None:
        return found
    from marl_pricing.traffic import funnels

    try:
        funnel = funnels.read_funnel(own.human.match)
        matched = [funnels.match(kernel, funnel) for kernel in found.kinds[0]]
    except (funnels.FunnelError, kernels.KernelError) as error:
        raise ConfigError(f"traffic.human.match: {error}") from None
    longest = max(funnels.longest(kernel) for kernel in matched)
    if longest > own.max_events:
        raise refuse("traffic.max_events", own.max_events, f"at least {longest} for sessions as long as the file's")
    whole = list(found.global_kernels)
    if len(matched) == 1:
        whole[0] = replace(matched[0], generic=whole[0].generic)
    return found._replace(kinds=[matched, found.kinds[1]], global_kernels=whole)


def behaving(own: Traffic, found: Behaviour) -> list[list[np.ndarray]]:
    """Matrices of each class and kind as sessions follow them: agents that mimic people, rows that are off."""
    human = found.global_kernels[0].matrix
    random = np.random.default_rng(own.perturbation.seed)

    def off(matrix: np.ndarray) -> np.ndarray:
        tilted = matrix * np.exp(own.perturbation.strength * random.standard_normal(matrix.shape))
        return tilted / tilted.sum(1, keepdims=True)

    people, agents = ([kernel.matrix for kernel in kinds] for kinds in found.kinds)
    if own.mimicry > 0:
        agents = [(1.0 - own.mimicry) * matrix + own.mimicry * human for matrix in agents]
    if own.perturbation.strength > 0:
        return [[off(matrix) for matrix in people], [off(matrix) for matrix in agents]]
    return [people, agents]


def times_of(own: Traffic, found: Behaviour) -> traffic.TimeParams | None:
    """Laws of the sessions' times, where the detector asks for them."""
    if own.detector == "kernels":
        return None
    dwells = [ACTIONS.get(state) == "dwell" for state in found.global_kernels[0].states]
    gaps, dwell = [own.times.human_gap, own.times.agent_gap], [own.times.human_dwell, own.times.agent_dwell]
    if own.times.source == "log":
        from marl_pricing.traffic import timing

        try:
            gaps = [list(timing.fit_gamma(timing.gaps_of(found.events, actor))) for actor in ("human", "agent")]
            if any(dwells):
                dwell = [list(timing.fit_gamma(timing.dwell_of(found.events, actor))) for actor in ("human", "agent")]
        except timing.TimingError as error:
            raise ConfigError(f"traffic.times.source='log': {own.log}: {error}") from None
    return traffic.TimeParams(gaps=float32(gaps), dwell=float32(dwell), dwells=float32(dwells))


def identity_of(own: Traffic) -> traffic.IdentityParams | None:
    """What sessions say of themselves, and what that tells; None where they say nothing."""
    rates = own.identity.rates
    if not (rates[:, 1:] > 0).any():
        return None
    return traffic.IdentityParams(rates=float32(rates), odds=float32(detection.declaration_odds(rates)))


def kinds_told_apart(own: Traffic, found: Behaviour) -> dict[str, jax.Array]:
    """The mixture that the detector knows, where a log has several kinds of behaviour and telling them apart helps.

    It helps where on the quarter of the log's sessions that neither kernels nor kinds were estimated from here, the
    mixture's area under the ROC curve is at least the single kernels'.
    """
    if own.kinds == 1 or found.logged is None:
        return {}
    logs, weights = detection.kind_logs([[k.matrix for k in kinds] for kinds in found.kinds], found.shares)
    states = found.global_kernels[0].states
    if logs.shape[1] == 1 or not detection.kinds_help(
        found.logged, states, [len(kinds) for kinds in found.kinds], own.smoothing
    ):
        return {}
    return {"kind_logs": float32(logs), "kind_weights": float32(weights)}
