"""A labelled log mixed to a wanted share of agents: the methodology's contamination generator G(α), on a log."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from marl_pricing.traffic import contamination
from marl_pricing.traffic.logs.reading import Log
from marl_pricing.traffic.logs.schemas import LogError
from marl_pricing.traffic.logs.summary import actors_of


def contaminated(log: Log, share: float, seed: int = 0) -> pd.DataFrame:
    """Events of all of a log's people and of as many of its agents' sessions as it takes, drawn with replacement.

    A session that is drawn again is `name~2`, `name~3` …, at the same times. Sessions of nobody known are left out.

    Args:
        share: of sessions that are agents', from 0 to below 1.

    Returns:
        Columns of `Log.events`, by session and time.

    Raises:
        LogError: for a log without people's sessions, or without agents' where they are wanted.
        ValueError: for a share that cannot be had.
    """
    actor = actors_of(log.events)
    people, agents = (actor.index[(actor == who).to_numpy(bool)].astype("str").tolist() for who in ("human", "agent"))
    for who, own in (("human", people), ("agent", agents)):
        if not own and (who == "human" or share > 0):
            raise LogError(
                f"there are no sessions labelled {who!r}; label:, human: and agent: in a mapping say whose a session is"
            )
    drawn = [name for name, is_agent in contamination.mix(people, agents, share, seed) if is_agent]
    times = Counter(drawn)
    session = log.events["session"].astype("str")
    kept = log.events[session.isin([*people, *times])].assign(session=session)
    more = []
    for turn in range(2, max(times.values(), default=1) + 1):
        again = kept[kept["session"].isin([name for name, count in times.items() if count >= turn])]
        more.append(again.assign(session=again["session"] + f"~{turn}"))
    taken = {name for part in more for name in part["session"]} & {*people, *agents}
    if taken:
        raise LogError(f"session {min(taken)!r} is called as a session that is drawn again: accepted are other names")
    everything = pd.concat([kept, *more], ignore_index=True)
    everything["session"] = pd.Categorical(everything["session"])
    return everything.sort_values(["session", "time"], kind="stable", ignore_index=True)


def told(events: pd.DataFrame) -> str:
    """How many sessions of whom."""
    counts = actors_of(events).value_counts()
    people, agents = (int(counts.get(who, 0)) for who in ("human", "agent"))
    share = agents / max(people + agents, 1)
    return f"{people:,} sessions of people, {agents:,} of agents: a share of {share:.4g}"
