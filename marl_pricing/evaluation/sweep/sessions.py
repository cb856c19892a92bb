"""What sessions tell of who is behind them, and of demand: scores by class, and proxy beside people's orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

from marl_pricing.evaluation.metrics import Episodes
from marl_pricing.evaluation.play import Record
from marl_pricing.evaluation.sweep.measures import proxy_and_people
from marl_pricing.evaluation.sweep.play import SweptRun
from marl_pricing.traffic import bank, detection

Array = np.ndarray
_DRAWN = 16_384  # sessions of a class, where a market keeps none
_POINTS = 1_000  # of a scatter
_BINS = 10
_FEWEST = 0.002  # share of the sessions that a bin is told of from


@dataclass(frozen=True)
class Scores:
    """Sessions of people and of agents as a detector sees them.

    Attributes:
        suspicion: f of each session.  log_ratio: log P(session | agents) − log P(session | people).
        agent: whether it was an agent's.
    """

    suspicion: Array
    log_ratio: Array
    agent: Array

    @property
    def area(self) -> float:
        """Area under the receiver operating curve: how often an agent's session scores above a person's."""
        return float(roc_auc_score(self.agent, self.log_ratio))

    def curve(self) -> tuple[Array, Array]:
        """(people taken for agents, agents found), shares, at every threshold."""
        false, true, _ = roc_curve(self.agent, self.log_ratio)
        return false, true

    def reliability(self, prior: float) -> tuple[Array, Array, Array]:
        """Does a posterior of p mean an agent in a share p of cases? By bins of equal width with enough sessions.

        Args:
            prior: share of agents among the sessions.

        Returns:
            (mean posterior, share of agents, share of all sessions), each [bins].
        """
        posterior = detection.posterior(self.log_ratio, prior)
        weight = np.where(self.agent, prior / self.agent.sum(), (1.0 - prior) / (~self.agent).sum())
        place = np.minimum((posterior * _BINS).astype(int), _BINS - 1)
        mass, said, true = (np.bincount(place, x, _BINS) for x in (weight, weight * posterior, weight * self.agent))
        full = mass >= _FEWEST
        return said[full] / mass[full], true[full] / mass[full], mass[full]


def session_scores(run: SweptRun) -> Scores | None:
    """The sessions of a run's market, of its bank or drawn from its kernels; None where it has no kernels."""
    own = run.params.traffic.sessions
    if own is None or run.shape.demand.num_classes < 2:
        return None
    rows = own.bank if own.bank is not None else bank.fill(jax.random.key(0), run.shape.traffic, own, _DRAWN)
    gap, ratio = (np.asarray(x, np.float64) for x in (rows.gap, rows.log_ratio))
    suspicion = np.asarray(detection.suspicion(jnp.asarray(gap, jnp.float32), own.temperature))
    agent = np.broadcast_to(np.arange(len(gap))[:, None] == 1, gap.shape)
    return Scores(suspicion.ravel(), ratio.ravel(), agent.ravel())


def proxy_points(run: SweptRun, records: Sequence[Record]) -> pd.DataFrame:
    """A sample of offers and epochs: units that people ordered (`people`) and the demand proxy (`proxy`)."""
    both = [proxy_and_people(Episodes(run.shape, run.params, record)) for record in records]
    proxy, people = (np.concatenate(parts) for parts in zip(*both, strict=True))
    pick = np.random.default_rng(0).permutation(people.size)[:_POINTS]
    return pd.DataFrame({"run": run.name, "x": run.x, "people": people[pick], "proxy": proxy[pick]})
