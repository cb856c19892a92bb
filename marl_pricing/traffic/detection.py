"""Telling agents' sessions from people's: divergence scores and a calibrated posterior.

A session's transitions are compared with a human and an agent kernel. With T̂ the session's own kernel, D the divergence
weighted by how often the session was in each row, and n its transitions,

    Δ_H − Δ_A = (1/n) Σ log(T_A / T_H) over the session's transitions,

because the entropy of T̂ is in both and cancels. So the gap is computed in log space from log ratios; rows that the
session never visited do not count, and nothing underflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.traffic.draws import log_gamma
from marl_pricing.traffic.kernels import estimate, fit_kinds, transition_counts

Array = jax.Array

# Probability mass that every transition gets before its logarithm is taken: a session that does what a kernel says is
# impossible is very unlikely, not infinitely so.
SMOOTHING = 1e-4


def log_kernel(matrix: np.ndarray, smoothing: float = SMOOTHING) -> np.ndarray:
    """log((1 − s) T + s / (E − 1)) over the destinations a session can have, [E, E]."""
    size = len(matrix)
    even = np.full((size, size), 1.0 / (size - 1))
    even[:, 0] = 0.0
    mixed = (1.0 - smoothing) * matrix + smoothing * even
    mixed[:, 0] = 1.0  # nobody comes back to the start; its logarithm is never asked for
    return np.log(mixed)


def log_ratio(human: np.ndarray, agent: np.ndarray, smoothing: float = SMOOTHING) -> np.ndarray:
    """log T_A − log T_H of every transition [E, E]."""
    return log_kernel(agent, smoothing) - log_kernel(human, smoothing)


def kind_logs(kinds: Sequence[Sequence[np.ndarray]], shares: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What a detector knows that tells kinds of behaviour apart within people and agents.

    Args:
        kinds: of people and of agents, kernels [E, E] of their kinds of behaviour.  shares: of each kind in its class.

    Returns:
        (log-probabilities [2, G, E, E], log shares [2, G]); a class with fewer kinds repeats its first, at no share.
    """
    width = max(map(len, kinds))
    logs = np.stack([np.stack([log_kernel(own[g if g < len(own) else 0]) for g in range(width)]) for own in kinds])
    weights = np.full((2, width), -np.inf)
    for row, own in zip(weights, shares, strict=True):
        row[: len(own)] = np.log(np.maximum(own, 1e-300))
    return logs, weights


def mixture_ratio(totals: Array, log_shares: Array) -> Array:
    """log P(session | agents) − log P(session | people) where each class is a mixture of kinds of behaviour.

    Args:
        totals: [2, G, ...] log-likelihood of the session under each kind.  log_shares: [2, G].
    """
    by_class = jax.nn.logsumexp(totals + log_shares.reshape(*log_shares.shape, *(1,) * (totals.ndim - 2)), axis=1)
    return by_class[1] - by_class[0]


def suspicion(gap: Array, temperature: Array, odds: Array | float = 0.0) -> Array:
    """f = σ(gap / temperature), the weak agent probability of the PHANTOM methodology. Any shape.

    Args:
        odds: log odds of an agent by what the session says of itself (`declaration_odds`).
    """
    return jax.nn.sigmoid(gap / temperature + odds)


# The rule of PHANTOM's prototype (`simple_agent_detector`): at least so many events, at least
# so many a second, at most so many purchases a view.
RULE_EVENTS, RULE_VELOCITY, RULE_CONVERSION = 12, 0.20, 0.01
_TINY = 1e-6


def flagged(events: Array, seconds: Array, purchases: Array, views: Array) -> Array:
    """1.0 where the prototype's rule sees an agent: many events, fast, hardly a purchase. Any shape."""
    fast = events / (seconds + _TINY) >= RULE_VELOCITY
    return ((events >= RULE_EVENTS) & fast & (purchases / (views + _TINY) <= RULE_CONVERSION)).astype(jnp.float32)


def timing_ratio(count: Array, seconds: Array, laws: Array) -> Array:
    """log density of `count` gamma times that sum to so many seconds, under agents' law less under people's. Any shape.

    The sum of n times of Gamma(k, θ) is Gamma(n k, θ). Where nothing was timed it is 0.

    Args:
        laws: [2, 2] (shape k, scale θ in seconds) of people and of agents.
    """
    there = (count > 0) & (seconds > 0)
    total = jnp.where(there, seconds, 1.0)

    def density(law: Array) -> Array:
        shape = jnp.where(there, count, 1.0) * law[0]
        return (shape - 1.0) * jnp.log(total) - total / law[1] - shape * jnp.log(law[1]) - log_gamma(shape)

    return jnp.where(there, density(laws[1]) - density(laws[0]), 0.0)


# No declaration is taken for more than this: e^±20 is as good as certain, and finite.
_CERTAIN = 20.0


def declaration_odds(rates: np.ndarray) -> np.ndarray:
    """Log odds [K] of an agent by what a session says of itself: log P(said | agent) − log P(said | person).

    Honest about those who say nothing: the more agents declare themselves, the less likely is one among the rest.

    Args:
        rates: [2, K] shares of people's and of agents' sessions that say each of K things.

    Raises:
        ValueError: for rows that are no laws.
    """
    rates = np.asarray(rates, np.float64)
    if rates.shape[0] != 2 or np.any(~(rates >= 0)) or np.any(abs(rates.sum(1) - 1.0) > 1e-6):
        raise ValueError(f"rates={rates.tolist()}: accepted are two rows of shares that sum to 1")
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.log(rates[1]) - np.log(rates[0])
    return np.clip(np.nan_to_num(odds, nan=0.0), -_CERTAIN, _CERTAIN)


def estimate_share(mean_score: Array, class_means: Array, bounded: bool = True) -> Array:
    """Share of agents [] that a mean suspicion tells: (f̄ − f̄_H) / (f̄_A − f̄_H).

    Args:
        class_means: [2] mean suspicion of people's and of agents' sessions.
        bounded: keep it in [0, 1]. Without, it is unbiased, so that a mean of many is right.
    """
    distance = class_means[1] - class_means[0]
    safe = jnp.where(jnp.abs(distance) > 1e-6, distance, 1.0)
    raw = jnp.where(jnp.abs(distance) > 1e-6, (mean_score - class_means[0]) / safe, 0.0)
    return jnp.clip(raw, 0.0, 1.0) if bounded else raw


def session_ratios(sessions: Sequence[np.ndarray], logs: np.ndarray, log_shares: np.ndarray) -> np.ndarray:
    """`mixture_ratio` [sessions] of sessions of state numbers; logs and log shares as of `kind_logs`."""
    from scipy.special import logsumexp  # as in `area`

    totals = np.stack([logs[:, :, own[:-1], own[1:]].sum(-1) for own in sessions], -1)
    by_class = logsumexp(totals + log_shares[:, :, None], axis=1)
    return by_class[1] - by_class[0]


def area(people: np.ndarray, agents: np.ndarray) -> float:
    """Area under the ROC curve: the chance that an agent's score is above a person's, ties counting half."""
    from scipy.stats import rankdata  # starts of trainings need no area, and would wait half a second for it

    ranks = rankdata(np.concatenate([people, agents]))
    above = ranks[len(people) :].sum() - len(agents) * (len(agents) + 1) / 2.0
    return float(above / (len(people) * len(agents)))


def kinds_help(
    sessions: Sequence[Sequence[np.ndarray]],
    states: tuple[str, ...],
    kinds: Sequence[int],
    strength: float,
    seed: int = 0,
) -> bool:
    """Whether a mixture over kinds of behaviour tells agents from people at least as well as one kernel a class.

    Both are estimated on three quarters of each class's sessions and judged, by the area under the ROC curve, on the
    rest.

    Args:
        sessions: of people and of agents.  kinds: how many each has.  strength: of the kernels' smoothing.
    """
    if min(map(len, sessions)) < 16:  # too few to find kinds on a part of them
        return False
    fitted, judged = [], []
    for own in sessions:
        order = np.random.default_rng(seed).permutation(len(own))
        cut = max(1, len(own) // 4)
        judged.append([own[i] for i in order[:cut]])
        fitted.append([own[i] for i in order[cut:]])
    found = [fit_kinds(own, states, number, strength, seed) for own, number in zip(fitted, kinds, strict=True)]
    many = kind_logs([[k.matrix for k in own] for own, _ in found], [shares for _, shares in found])
    single = kind_logs([[estimate(own, states, strength).matrix] for own in fitted], [np.ones(1), np.ones(1)])
    areas = [area(*(session_ratios(own, *known) for own in judged)) for known in (many, single)]
    return areas[0] >= areas[1]


@dataclass(frozen=True)
class Divergences:
    """Of one session: Δ_H and Δ_A in nats a transition, their gap, and the log-likelihood ratio of it all."""

    human: float
    agent: float
    gap: float
    log_ratio: float


def divergences(session: np.ndarray, human: np.ndarray, agent: np.ndarray, smoothing: float = SMOOTHING) -> Divergences:
    """Visit-weighted KL divergences of a session's own kernel from two others.

    Args:
        session: state numbers from start to end.  human, agent: [E, E] kernels over those states.
    """
    counts = transition_counts([session], len(human))
    total = counts.sum()
    own = counts / np.maximum(counts.sum(1, keepdims=True), 1.0)
    with np.errstate(divide="ignore"):
        entropy = np.where(counts > 0, np.log(np.maximum(own, 1e-300)), 0.0)
    log_human, log_agent = log_kernel(human, smoothing), log_kernel(agent, smoothing)
    from_human = float((counts * (entropy - log_human)).sum() / total)
    from_agent = float((counts * (entropy - log_agent)).sum() / total)
    ratio = float((counts * (log_agent - log_human)).sum())
    return Divergences(from_human, from_agent, ratio / total, ratio)


def posterior(log_ratios: np.ndarray, prior: float, odds: np.ndarray | float = 0.0) -> np.ndarray:
    """P(agent | session): the logistic function of the log-likelihood ratio plus the prior's log odds.

    Calibrated where the kernels are right.

    Args:
        log_ratios: [...] log P(session | agents) − log P(session | people).  prior: α.
        odds: [...] by what each session says of itself (`declaration_odds`); they move the prior's.

    Raises:
        ValueError: for a prior outside (0, 1).
    """
    from scipy.special import expit, logit  # as in `area`

    if not 0.0 < prior < 1.0:
        raise ValueError(f"prior={prior!r}: accepted is a number between 0 and 1")
    return expit(np.asarray(log_ratios, np.float64) + logit(prior) + odds)
