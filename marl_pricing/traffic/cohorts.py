"""How far apart the sessions of people and agents are: cohorts, tests, tables, the prototype's detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from marl_pricing.traffic.detection import (
    RULE_CONVERSION,
    RULE_EVENTS,
    RULE_VELOCITY,
    declaration_odds,
    divergences,
    log_kernel,
    posterior,
)
from marl_pricing.traffic.kernels import Kernel, smoothed, transition_counts


@dataclass(frozen=True)
class Separability:
    """How far two cohorts' scores lie apart.

    Attributes:
        u: Mann–Whitney's U of the agents.  p_value: two-sided.
        effect: rank-biserial correlation, 2 AUC − 1.
        auc: probability that an agent scores higher than a person (ties count half).
        auc_interval: its 95 % bootstrap interval, sessions redrawn within each class.
    """

    u: float
    p_value: float
    effect: float
    auc: float
    auc_interval: tuple[float, float]


def separability(
    people: np.ndarray, agents: np.ndarray, num_resamples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Separability:
    """Mann–Whitney test and AUC of two cohorts' scores (Mann and Whitney 1947; SciPy).

    Raises:
        ValueError: for a cohort of fewer than two sessions, or scores that are no numbers.
    """
    people, agents = (np.asarray(x, np.float64).ravel() for x in (people, agents))
    for name, cohort in (("people", people), ("agents", agents)):
        if cohort.size < 2 or not np.all(np.isfinite(cohort)):
            raise ValueError(f"{name}: accepted are at least two scores, all of them numbers")
    test = stats.mannwhitneyu(agents, people, alternative="two-sided")
    pairs = people.size * agents.size

    def auc(own_agents: np.ndarray, own_people: np.ndarray) -> float:
        ranks = stats.rankdata(np.concatenate([own_agents, own_people]))
        return (ranks[: own_agents.size].sum() - own_agents.size * (own_agents.size + 1) / 2) / pairs

    random = np.random.default_rng(seed)
    drawn = [auc(random.choice(agents, agents.size), random.choice(people, people.size)) for _ in range(num_resamples)]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(drawn, [tail, 100.0 - tail])
    area = float(test.statistic) / pairs
    return Separability(float(test.statistic), float(test.pvalue), 2.0 * area - 1.0, area, (float(low), float(high)))


def held_out_gaps(
    people: Sequence[np.ndarray],
    agents: Sequence[np.ndarray],
    states: tuple[str, ...],
    strength: float = 1.0,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Gaps of half of each class's sessions, judged by kernels of the other halves.

    Kernels that have seen the sessions they judge make small cohorts look apart that are not. Leaving out one session
    at a time makes them look apart the wrong way round (what is left of its own class is a little less like it: Parker,
    Günter and Bedo 2007), and folds that judge each other are one piece of evidence counted twice. Judged by kernels of
    other sessions, those of equal classes are exchangeable, and the test of `separability` has its level.

    Args:
        people, agents: sessions of state numbers over `states`.
        strength: of `kernels.smoothed`.  seed: which sessions are judged.

    Returns:
        (gaps of judged people, gaps of judged agents), nats a step.

    Raises:
        ValueError: for a class of fewer than four sessions.
    """
    if min(len(people), len(agents)) < 4:
        raise ValueError("sessions: accepted are at least four of each class, two to judge and two to judge them by")
    random, size = np.random.default_rng(seed), len(states)
    logs, judged = [], []
    for own in (people, agents):
        order = random.permutation(len(own))
        half = len(own) // 2
        logs.append(log_kernel(smoothed(transition_counts([own[i] for i in order[:half]], size), strength)))
        judged.append([own[i] for i in order[half:]])

    def gap(session: np.ndarray) -> float:
        counts = transition_counts([session], size)
        return float((counts * (logs[1] - logs[0])).sum() / counts.sum())

    found = [np.array([gap(session) for session in own]) for own in judged]
    return found[0], found[1]


def transition_contributions(human: Kernel, agent: Kernel) -> pd.DataFrame:
    """What each transition tells of an agent, most first: its part of E_A[log P_A(session) − log P_H(session)].

    A session of agents is expected to go from a to b n(a)·T_A(a, b) times, n being the visits of the fundamental
    matrix, and each time adds log T_A(a, b) − log T_H(a, b): together the Kullback–Leibler divergence of agents'
    sessions from people's, in nats a session. Negative parts speak for a person.

    Args:
        human, agent: kernels over the same states, people's without zeros where agents go (`kernels.smoothed`).

    Returns:
        One row a transition that agents make. Columns: source, destination, human and agent (probabilities from
        the source), passages (expected, a session of agents'), nats, share (of all nats).

    Raises:
        ValueError: for kernels over different states.
    """
    if human.states != agent.states:
        raise ValueError("kernels over different states; see kernels.align")
    passages = agent.visits[:-1, None] * agent.matrix[:-1]
    own, other = np.nonzero(passages > 0)
    nats = passages[own, other] * (log_kernel(agent.matrix) - log_kernel(human.matrix))[own, other]
    table = pd.DataFrame(
        {
            "source": np.array(human.states)[own],
            "destination": np.array(human.states)[other],
            "human": human.matrix[own, other],
            "agent": agent.matrix[own, other],
            "passages": passages[own, other],
            "nats": nats,
            "share": nats / nats.sum() if abs(nats.sum()) > 1e-12 else 0.0,
        }
    )
    return table.sort_values("nats", ascending=False, kind="stable", ignore_index=True)


def score_sessions(
    sessions: Sequence[np.ndarray],
    human: Kernel,
    agent: Kernel,
    prior: float,
    temperature: float = 1.0,
    said: tuple[Sequence[str], np.ndarray] | None = None,
) -> pd.DataFrame:
    """One row a session: Δ_H, Δ_A, gap, log-likelihood ratio, f and the posterior of being an agent's.

    Args:
        sessions: state numbers over the states that both kernels share.
        said: what each session says of itself, of `DECLARATIONS`, and the rates [2, 3] at which people and agents do
            (`declaration_rates`); it moves the prior odds.

    Raises:
        ValueError: for kernels over different states, or a prior outside (0, 1).
    """
    if human.states != agent.states:
        raise ValueError("kernels over different states; see kernels.align")
    table = pd.DataFrame(
        [vars(divergences(session, human.matrix, agent.matrix)) for session in sessions],
        columns=["human", "agent", "gap", "log_ratio"],
    ).rename(columns={"human": "delta_human", "agent": "delta_agent"})
    table["suspicion"] = expit(table["gap"] / temperature)
    odds: np.ndarray | float = 0.0
    if said is not None:
        table["declared"] = list(said[0])
        odds = declaration_odds(said[1])[[DECLARATIONS.index(own) for own in said[0]]]
    table["posterior"] = posterior(table["log_ratio"].to_numpy(), prior, odds)
    return table


def heuristic(features: pd.DataFrame) -> pd.Series:
    """The prototype's detector: many events, fast, hardly a purchase.

    PHANTOM's prototype, `simple_agent_detector`: total ≥ 12, velocity ≥ 0.2 a second, conversion ≤ 0.01.

    Args:
        features: a table with `events`, `velocity` and `conversion`, one row a session.

    Returns:
        bool, one a session.
    """
    fast = features["velocity"] >= RULE_VELOCITY
    return (features["events"] >= RULE_EVENTS) & fast & (features["conversion"] <= RULE_CONVERSION)


# What a session may say of itself, in the order of `params.IdentityParams`.
DECLARATIONS = ("none", "declared", "verified")


def declaration_rates(declared: pd.Series, actor: pd.Series, strength: float = 1.0) -> np.ndarray:
    """Shares [2, 3] of people's and of agents' labelled sessions that say nothing, declare themselves, prove it.

    Posterior means under an even Dirichlet law of total mass `strength`: what nobody of a class has said yet is rare
    there, not impossible.

    Args:
        declared: one of `DECLARATIONS` or missing (which counts as none), one a session.
        actor: human, agent or missing.
    """
    said = declared.astype("object").where(declared.notna(), DECLARATIONS[0])
    counts = [[((actor == who) & (said == what)).sum() for what in DECLARATIONS] for who in ("human", "agent")]
    mass = np.array(counts, np.float64) + strength / len(DECLARATIONS)
    return mass / mass.sum(1, keepdims=True)
