"""Can the sessions of people and agents of a labelled log be told apart, and by what: the methodology's cohort test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from marl_pricing.presentation import style
from marl_pricing.presentation.files import write_atomically
from marl_pricing.presentation.spreadsheets import csv_of
from marl_pricing.traffic import cohorts, kernels
from marl_pricing.traffic.logs.reading import Log, sessions_of
from marl_pricing.traffic.logs.schemas import LogError

SHOWN = 8  # transitions that are printed and drawn


@dataclass(frozen=True)
class Separation:
    """What a log says of people and agents.

    Attributes:
        people, agents: gaps Δ_H − Δ_A of the judged half of sessions [P], [A], nats a step.
        test: Mann–Whitney's of the gaps.
        transitions: of `cohorts.transition_contributions`, of kernels that have seen all sessions.
    """

    people: np.ndarray
    agents: np.ndarray
    test: cohorts.Separability
    transitions: pd.DataFrame


def separate(log: Log, smoothing: float = 1.0, seed: int = 0) -> Separation:
    """Judge half of the sessions by kernels of the other half, test the cohorts, say which transitions tell them apart.

    Args:
        smoothing: mass of the Dirichlet law over each row of a kernel, in transitions; above 0.
        seed: which half is judged.

    Raises:
        LogError: for a log without labels, or with fewer than four sessions of a class.
        ValueError: for a smoothing that cannot be had.
    """
    if not 0 < smoothing < np.inf:
        raise ValueError(f"smoothing={smoothing!r}: accepted is a number above 0")
    named = [sessions_of(log, "human"), sessions_of(log, "agent")]
    for actor, own in zip(("human", "agent"), named, strict=True):
        if len(own) < 4:
            raise LogError(
                f"{len(own)} sessions labelled {actor!r}: accepted are at least four of each class; label:, human: and "
                "agent: in a mapping say whose a session is"
            )
    states = kernels.states_of([session for own in named for session in own])
    humans, bots = ([kernels.encode(session, states) for session in own] for own in named)
    people, agents = cohorts.held_out_gaps(humans, bots, states, smoothing, seed)
    human, agent = (kernels.estimate(own, states, smoothing) for own in (humans, bots))
    return Separation(
        people, agents, cohorts.separability(people, agents, seed=seed), cohorts.transition_contributions(human, agent)
    )


def sentences(found: Separation) -> Iterator[str]:
    """What is printed: the test, and the transitions that tell most."""
    own = found.test
    low, high = own.auc_interval
    counts = f"{len(found.people):,} sessions of people, {len(found.agents):,} of agents"
    yield f"{counts}, judged by kernels of the other half"
    apart = "can be told apart" if own.p_value < 0.05 and own.auc > 0.5 else "cannot be told apart"
    yield (
        f"they {apart}: an agent's gap is above a person's with probability {own.auc:.3f} "
        f"(95 % {low:.3f} to {high:.3f}); Mann-Whitney U = {own.u:,.0f}, p = {own.p_value:.2g}, "
        f"rank-biserial {own.effect:+.3f}"
    )
    yield f"a session of agents tells {found.transitions['nats'].sum():.3f} nats; most of it in"
    width = max(len(_named(row)) for row in _most(found))
    for row in _most(found):
        yield (
            f"  {_named(row):<{width}}  {row['nats']:+.3f} nats, {row['agent']:.1%} of agents' steps from there, "
            f"{row['human']:.1%} of people's"
        )


def _most(found: Separation) -> list[dict]:
    return found.transitions.iloc[found.transitions["nats"].abs().argsort()[::-1][:SHOWN]].to_dict("records")


def _named(row: dict) -> str:
    return f"{row['source']} → {row['destination']}"


@style.styled
def draw(found: Separation) -> Figure:
    """Both cohorts' gaps, and what the transitions that tell most add to them."""
    figure = style.new_figure(6.4)
    top, bottom = figure.subplots(2, 1)
    edges = np.histogram_bin_edges(np.concatenate([found.people, found.agents]), bins=40)
    for number, (name, gaps) in enumerate((("people", found.people), ("agents", found.agents))):
        share = np.full(len(gaps), 100.0 / len(gaps))
        top.hist(gaps, edges, weights=share, alpha=0.55, color=style.PALETTE[number], label=name)
    top.set(xlabel="gap Δ_H − Δ_A (nats a step; more: more like an agent)", ylabel="% of sessions")
    rows = _most(found)[::-1]
    colours = [style.PALETTE[1] if row["nats"] > 0 else style.PALETTE[0] for row in rows]
    bottom.barh([_named(row) for row in rows], [row["nats"] for row in rows], color=colours)
    bottom.axvline(0.0, color=style.GREY, linewidth=0.8)
    bottom.set_xlabel("nats that a session of agents tells (left of 0: speaks for a person)")
    style.legend_below(figure, top)
    return figure


def leave(found: Separation, out: Path) -> None:
    """Write transitions.csv, gaps.csv (one row a session: actor, gap) and separability.png and .svg."""
    out.mkdir(parents=True, exist_ok=True)
    gaps = pd.DataFrame(
        {
            "actor": ["human"] * len(found.people) + ["agent"] * len(found.agents),
            "gap": np.concatenate([found.people, found.agents]),
        }
    )
    write_atomically(out / "transitions.csv", csv_of(found.transitions))
    write_atomically(out / "gaps.csv", csv_of(gaps))
    style.write(out, "separability", draw(found))
