"""Runs as an evaluation takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from marl_pricing.evaluation.metrics import INDICES, MEASURES
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import Networks
from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies import RULES
from marl_pricing.robust import Ambiguity

LEARNED = "learned"


@dataclass(frozen=True)
class RunToEvaluate:
    """One run: a market and the policies that were learned for it.

    Attributes:
        policies: by how they act ("greedy", "sampled"), one policy a training seed; they are called "learned (greedy)"
            and so on.
        discount: γ of the training, for gains over time.
        responder: settings under which a best response to each seller is trained; None trains none.
        networks: [R, ...] of the training seeds, for best responses to start from; None: they start from new ones.
        unanswered: why no best responses are trained, where they might be expected.
        training: metrics.csv of the run folder, one row an update and seed; None where there is no training to show.
        held_out: evaluation.csv of the run folder, one row an evaluation, seed, seller and kind of play; None where
            the training was not evaluated.
        config_text, versions, command: for the report.
        sellers: names of the sellers; none where they have no others than their numbers.
        ambiguity: what sellers feared in training; None for the plain learner.
        held: by seller that did not learn, who holds its seat here as in training.
        selves: sellers that learned in turns, against their past selves.
        digests: SHA-256 of each training seed's policy, as `learning.runs.digest_of` has it and policy files say it.
        folder: of the run, for links; empty where there is none.
    """

    name: str
    shape: MarketShape
    params: MarketParams
    policies: Mapping[str, Sequence[Policy]]
    discount: float = 0.99
    responder: LearnerSettings | None = None
    networks: Networks | None = None
    unanswered: str = ""
    training: pd.DataFrame | None = None
    held_out: pd.DataFrame | None = None
    config_text: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    sellers: Sequence[str] = ()
    ambiguity: Ambiguity | None = None
    held: Mapping[int, str] = field(default_factory=dict)
    selves: Sequence[int] = ()
    digests: Sequence[str] = ()
    folder: str = ""

    @property
    def learners(self) -> list[int]:
        """Sellers that learned."""
        return [seller for seller in range(self.shape.num_sellers) if seller not in self.held]

    @property
    def greedy(self) -> Sequence[Policy]:
        """The greedy policies; none where nothing was learned."""
        return self.policies.get("greedy", ())


def held_line(held: Mapping[int, str]) -> str:
    """Who holds seats, to append to a line; nothing where nobody does."""
    return "".join(f"; seller {seller} is held by {who}" for seller, who in sorted(held.items()))


def main_policy(policies: Sequence[str]) -> str:
    """The policy that a run's figures show: the greedy learned one, else the first."""
    greedy = [name for name in policies if name == f"{LEARNED} (greedy)"]
    return (greedy or [name for name in policies if name.startswith(LEARNED)] or list(policies))[0]


def check(runs: Sequence[RunToEvaluate], episodes: int, rules: Sequence[str], measures: Sequence[str]) -> None:
    """Refuse what cannot be evaluated.

    Raises:
        ValueError: for no episodes, no runs, two runs of one name, an unknown rule or measure, or nothing to play.
    """
    known = [*INDICES, *MEASURES]
    for name in measures:
        if name not in known:
            raise ValueError(f"measures={name!r}: accepted is {', '.join(known)}")
    if episodes < 1:
        raise ValueError(f"episodes={episodes!r}: accepted is a whole number of at least 1")
    if not runs:
        raise ValueError("runs=[]: accepted is at least one run")
    names = [run.name for run in runs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"runs: the name {twice[0]!r} comes twice; every run needs its own")
    for rule in rules:
        if rule not in RULES:
            raise ValueError(f"rules={rule!r}: accepted is {', '.join(RULES)}")
    for run in runs:
        if not rules and not any(run.policies.values()):
            raise ValueError(f"rules=[]: run {run.name!r} has no learned policies, so at least one rule is needed")
