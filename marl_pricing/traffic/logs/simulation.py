"""Events of sessions that walk kernels, as a log would have them: to try readers and detectors on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from marl_pricing.traffic.events import ACTIONS, DWELL, END, GAPS, START
from marl_pricing.traffic.kernels import Kernel
from marl_pricing.traffic.logs.records import tidy
from marl_pricing.traffic.logs.schemas import refuse


def walk(kernel: Kernel, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sessions of a kernel, all a step at a time.

    Returns:
        Session number and state number of each visit [V], by session and then in order; each session begins in state 0
        and ends in the last.
    """
    cumulative = np.cumsum(kernel.matrix, 1)
    last = len(kernel.states) - 1
    sessions = np.arange(count)
    state = np.zeros(count, np.int64)
    seen = [(sessions, state)]
    while len(sessions):
        drawn = generator.random(len(sessions))[:, None]
        # Rounding may leave a row's sum below a draw: that is the last state.
        state = np.minimum((drawn >= cumulative[state]).sum(1), last)
        seen.append((sessions, state))
        going = state != last
        sessions, state = sessions[going], state[going]
    session, visited = (np.concatenate(part) for part in zip(*seen, strict=True))
    order = np.argsort(session, kind="stable")
    return session[order], visited[order]


def simulate_events(
    kernels: Mapping[str, Kernel],
    counts: Mapping[str, int],
    num_items: int,
    seed: int,
    *,
    prices: np.ndarray | None = None,
    attention: Mapping[str, np.ndarray] | None = None,
    start: str = "2026-01-05T00:00:00Z",
    hours: float = 24.0,
    ends: bool = True,
) -> pd.DataFrame:
    """Tidy events (the columns of `Log.events`) of sessions that walk kernels.

    Args:
        kernels: of "human" and "agent", or of one of them.
        counts: sessions of each.
        num_items: items "0" to "N − 1"; each event but starts, ends and a kernel's generic states is about one.
        prices: [N] money; without them 10, 11, 12 … for item 0, 1, 2 …
        attention: actor → [N] probabilities of the items; uniform for who is not in it.
        start: when the first session may begin; beginnings are uniform over `hours`.
        ends: log session_start and session_end too; without them sessions that have no event leave no trace.

    Raises:
        ValueError: for actors, counts, prices or attention that cannot be had.
    """
    if num_items < 1:
        raise refuse("num_items", num_items, "a whole number of at least 1")
    posted = 10.0 + np.arange(num_items) if prices is None else np.asarray(prices, np.float64)
    if posted.shape != (num_items,) or np.any(~(posted >= 0)):
        raise refuse("prices", posted.tolist(), f"{num_items} numbers of at least 0")
    generator = np.random.default_rng(seed)
    begin = int(pd.DatetimeIndex([start]).as_unit("us").asi8[0])
    parts = []
    for actor, count in counts.items():
        if actor not in GAPS or actor not in kernels:
            raise refuse("counts", actor, f"actors that have a kernel, of {', '.join(GAPS)}")
        if count < 0:
            raise refuse(f"counts.{actor}", count, "a whole number of at least 0")
        weights = np.asarray((attention or {}).get(actor, np.full(num_items, 1 / num_items)), np.float64)
        if weights.shape != (num_items,) or np.any(~(weights >= 0)) or abs(weights.sum() - 1) > 1e-6:
            raise refuse(f"attention.{actor}", weights.tolist(), f"{num_items} probabilities that sum to 1")
        parts.append(_events(actor, kernels[actor], count, weights, posted, begin, hours, generator))
    if not parts:
        raise refuse("counts", dict(counts), "sessions of at least one actor")
    events = pd.concat(parts, ignore_index=True)
    return tidy(events if ends else events[~events["event"].isin([START, END])])


def _events(
    actor: str,
    kernel: Kernel,
    count: int,
    attention: np.ndarray,
    prices: np.ndarray,
    begin: int,
    hours: float,
    generator: np.random.Generator,
) -> pd.DataFrame:
    session, state = walk(kernel, count, generator)
    shape, scale = GAPS[actor]
    gaps = generator.gamma(shape, scale, len(session))
    first = np.flatnonzero(state == 0)
    gaps[first] = 0.0
    elapsed = np.cumsum(gaps)
    elapsed -= elapsed[first][session]
    beginning = begin + generator.uniform(0, hours * 3600e6, count)[session]
    item = generator.choice(len(attention), len(session), p=attention / attention.sum())
    about = kernel.product[state]
    dwell = np.full(len(session), np.nan)
    looks = np.array([ACTIONS.get(name) == "dwell" for name in kernel.states])[state]
    dwell[looks] = generator.gamma(*DWELL[actor], looks.sum()) * 1e3
    width = max(6, len(str(count)))
    return pd.DataFrame(
        {
            "session": [f"{actor}-{number:0{width}d}" for number in session],
            "actor": actor,
            "experiment": "simulated",
            "mode": "simulated",
            "time": (beginning + elapsed * 1e6).astype(np.int64).astype("M8[us]"),
            "event": np.asarray(kernel.states, object)[state],
            "item": pd.Series(item).astype("str").where(about),
            "price": np.where(about, prices[item], np.nan),
            "dwell_ms": dwell,
            "user_agent": "simulated",
        }
    )
