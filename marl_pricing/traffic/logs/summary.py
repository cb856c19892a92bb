"""What is in a log: each session in numbers, and an overview for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from marl_pricing.traffic.events import ACTIONS, END, PURCHASE, START
from marl_pricing.traffic.logs.schemas import LogError

if TYPE_CHECKING:
    from marl_pricing.traffic.logs import Log

# Keeps ratios finite where a session takes no time or has no view.
_TINY = 1e-6


def actors_of(events: pd.DataFrame) -> pd.Series:
    """Who acts in each session, indexed by session; missing where no row says.

    Raises:
        LogError: if a session has rows of both actors.
    """
    named = events[["session", "actor"]].dropna().astype({"actor": "str"}).drop_duplicates()
    both = named["session"][named["session"].duplicated()]
    if len(both):
        raise LogError(f"session {both.iloc[0]!r} has rows of both a human and an agent")
    sessions = pd.Index(events["session"].unique(), name="session").sort_values()
    return named.set_index("session")["actor"].reindex(sessions)


def session_features(events: pd.DataFrame) -> pd.DataFrame:
    """One row a session, indexed by its name; logged starts and ends are no events here.

    Columns: duration_seconds (first to last event), mean_gap_seconds (0 with fewer than two events), events, velocity
    (events per second), views (events of category nav), carts (additions), purchases, conversion (purchases per view),
    actor, declared ("verified", "declared", "none", the most that a row of the session says; missing where none tells).

    Raises:
        LogError: if a session has rows of both actors.
    """
    actor = actors_of(events)
    acts = events[~events["event"].isin([START, END])]
    event = acts["event"].astype("str")
    data = pd.DataFrame(
        {
            "session": acts["session"],
            "time": acts["time"],
            "views": event.map(ACTIONS).eq("nav"),
            "carts": event.eq("add_item"),
            "purchases": event.eq(PURCHASE),
        }
    )
    groups = data.groupby("session")
    ends = groups["time"].agg(["min", "max", "size"])
    features = groups[["views", "carts", "purchases"]].sum()
    features["events"] = ends["size"]
    features["duration_seconds"] = (ends["max"] - ends["min"]).dt.total_seconds()
    features = features.reindex(actor.index, fill_value=0)
    duration, count = features["duration_seconds"].astype("float64"), features["events"]
    return pd.DataFrame(
        {
            "duration_seconds": duration,
            "mean_gap_seconds": duration / np.maximum(count - 1, 1),
            "events": count,
            "velocity": count / (duration + _TINY),
            "views": features["views"],
            "carts": features["carts"],
            "purchases": features["purchases"],
            "conversion": features["purchases"] / (features["views"] + _TINY),
            "actor": actor,
            "declared": _declared(events).reindex(actor.index),
        }
    )


def _declared(events: pd.DataFrame) -> pd.Series:
    """The most that each session says of itself."""
    rank = events["declared"].astype("object").map({name: place for place, name in enumerate(_SAYS)})
    most = rank.groupby(events["session"]).max()
    return most.map(dict(enumerate(_SAYS)))


_SAYS = ("none", "declared", "verified")


def events_without_items(events: pd.DataFrame) -> tuple[str, ...]:
    """Events but purchases that are about no product: none of their rows has an item, while others' rows have."""
    about = events["item"].notna().groupby(events["event"].astype("str")).any()
    if not about.any():
        return ()
    return tuple(name for name in ACTIONS if name != PURCHASE and name in about.index and not about[name])


def _range(values: pd.Series, form: str) -> str:
    known = values.dropna()
    return f"{known.min():{form}} to {known.max():{form}}" if len(known) else "none"


def print_summary(path: Path, log: Log, console: Console | None = None) -> None:
    """Print an overview of a log: rows, rejected by reason, sessions by actor, events, times, items, prices."""
    console = console or Console()
    events = log.events
    whole = Table(title=Text(str(path), "table.title"), title_justify="left", show_header=False)
    if log.read_as:
        whole.add_row("read as", Text(", ".join(log.read_as)))
    whole.add_row("rows", f"{log.rows:,}")
    whole.add_row("rejected", f"{log.rejected:,}")
    for reason, count in sorted(log.reasons.items()):
        whole.add_row("  sorted, out of order" if reason == "out_of_order" else f"  {reason}", f"{count:,}")
    for name, count in log.left_out_events.most_common():
        whole.add_row(Text(f"  left out, {name}"), f"{count:,}")
    whole.add_row("duplicates dropped", f"{log.duplicates:,}")
    whole.add_row("sessions split when idle", f"{log.split_sessions:,}")
    whole.add_row("events", f"{len(events):,}")
    whole.add_row("time", _range(events["time"], "%Y-%m-%d %H:%M:%S UTC"))
    whole.add_row("items", f"{events['item'].nunique():,}")
    whole.add_row("prices of events", _range(events["price"], ".2f"))
    whole.add_row("price records", f"{len(log.prices):,}")
    whole.add_row("prices of these", _range(log.prices["price"], ".2f"))
    console.print(whole)

    sessions = Table("sessions of", title="Sessions", title_justify="left")
    for title in ("sessions", "events, mean", "median", "longest", "conversion"):
        sessions.add_column(title, justify="right")
    features = session_features(events)
    for actor, group in features.groupby(features["actor"].fillna("nobody known")):
        length = group["events"]
        sessions.add_row(
            str(actor),
            f"{len(group):,}",
            f"{length.mean():.2f}",
            f"{length.median():g}",
            f"{length.max():,}",
            f"{(group['purchases'] > 0).mean():.2%}",
        )
    console.print(sessions)

    if features["declared"].notna().any():
        said = Table("say of themselves", title="Declarations", title_justify="left")
        for title in ("sessions", "human", "agent"):
            said.add_column(title, justify="right")
        for name, group in features.groupby(features["declared"].fillna("not told")):
            whose = group["actor"].value_counts()
            said.add_row(str(name), f"{len(group):,}", f"{whose.get('human', 0):,}", f"{whose.get('agent', 0):,}")
        console.print(said)

    counts = Table("event", title="Events", title_justify="left")
    counts.add_column("count", justify="right")
    counts.add_column("share", justify="right")
    for event, count in events["event"].value_counts().items():
        counts.add_row(Text(str(event)), f"{count:,}", f"{count / len(events):.2%}")
    console.print(counts)
