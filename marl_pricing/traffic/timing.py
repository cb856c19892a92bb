"""Times of sessions: seconds between events and seconds of attention, and the gamma laws that they follow.

The PHANTOM methodology, e = (a, i, t, μ, δ); PHANTOM's prototype draws gaps of Gamma(2, 3 s) for people
and of Gamma(2, 0.6 s) for agents.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import psi

from marl_pricing.traffic.events import ACTIONS, END, START

Gamma = tuple[float, float]

_WIDEST = 1e6


class TimingError(ValueError):
    """Times that no gamma law can be estimated from."""


def fit_gamma(values: np.ndarray) -> Gamma:
    """(shape, scale) of the gamma law of greatest likelihood: log k − ψ(k) = log mean − mean log, scale = mean / k.

    Values of 0 (events of one instant) have no density and are left out.

    Raises:
        TimingError: for fewer than two different values above 0.
    """
    from scipy.optimize import brentq  # few fit times, and every start would wait for it

    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known) & (known > 0)]
    if len(np.unique(known)) < 2:
        raise TimingError(f"{len(known)} times above 0: accepted are at least two that differ")
    gap = float(np.log(known.mean()) - np.log(known).mean())
    shape = float(brentq(lambda k: np.log(k) - psi(k) - gap, 1e-6, _WIDEST)) if gap > 1.0 / _WIDEST else _WIDEST
    return shape, float(known.mean()) / shape


def gaps_of(events: pd.DataFrame, actor: str) -> np.ndarray:
    """Seconds between the events of an actor's sessions, all together; starts and ends are no events."""
    own = events[(events["actor"] == actor) & ~events["event"].isin([START, END])]
    return own.groupby("session", observed=True)["time"].diff().dropna().dt.total_seconds().to_numpy()


def dwell_of(events: pd.DataFrame, actor: str) -> np.ndarray:
    """Seconds of the dwell events of an actor's sessions, those that are known."""
    category = events["event"].astype("str").map(ACTIONS)
    return events.loc[(events["actor"] == actor) & category.eq("dwell"), "dwell_ms"].dropna().to_numpy() / 1e3
