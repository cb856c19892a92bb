"""Everything that an evaluation plays: learned policies, rules, guests in learned sellers' seats."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from marl_pricing.equilibrium.static import NoEquilibriumError
from marl_pricing.evaluation import behaviour, guests, history, supply, tables
from marl_pricing.evaluation.markets import market_key
from marl_pricing.evaluation.measured import Measured
from marl_pricing.evaluation.play import Record, play
from marl_pricing.evaluation.runs import LEARNED, RunToEvaluate
from marl_pricing.market import Policy
from marl_pricing.policies import RULES, SIMULATED, RuleError, StockPriceParameters, Tried, in_words, tried
from marl_pricing.policies.simulated import JOINT, NASH, words_of
from marl_pricing.presentation import pulse
from marl_pricing.presentation.progress import Progress

_PATIENCE = 5.0  # seconds without a progress bar
Tell = Callable[[str], None]


@dataclass
class Played:
    """What was played.

    Attributes:
        offers, sellers: tables, a part a run, policy and seed.
        left_out: by run, rules that could not be played and why.
        notes: by run, what is to be said of rules: the numbers of those that were fitted or found by playing.
        simulated: by run, Nash and joint constant prices that were found by playing, where both were.
        guests: rows of `guests.COLUMNS`.
        findings: by run, what the behaviour tests found.
        best_responses: rows of `behaviour.best_response.COLUMNS`.
        histories: rows of `history.COLUMNS`.
        contracts: rows of `supply.COLUMNS`.
    """

    measured: Measured = field(default_factory=Measured)
    offers: list[pd.DataFrame] = field(default_factory=list)
    sellers: list[pd.DataFrame] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    simulated: dict[str, tuple[Tried, Tried]] = field(default_factory=dict)
    guests: list[pd.DataFrame] = field(default_factory=list)
    findings: dict[str, behaviour.Findings] = field(default_factory=dict)
    best_responses: list[pd.DataFrame] = field(default_factory=list)
    histories: list[pd.DataFrame] = field(default_factory=list)
    contracts: list[pd.DataFrame] = field(default_factory=list)

    def add(self, record: Record, run: RunToEvaluate, policy: str, seed: int) -> None:
        """Keep one seed's episodes of a policy. Raises TableError for a number that is not finite."""
        own = {
            "offers": tables.offers_table(record, run.name, policy, seed),
            "sellers": tables.sellers_table(record, run.name, policy, seed),
        }
        for name, table in own.items():
            tables.check(name, table)
        self.measured.add(run.shape, run.params, record, run.name, policy)
        self.offers.append(own["offers"])
        self.sellers.append(own["sellers"])
        self.histories.append(history.history_table(record, run.name, policy, seed))
        self.contracts.append(supply.contracts_table(run.shape, run.params, record, run.name, policy, seed))


@contextmanager
def progress_bar(total: int, wanted: bool) -> Iterator[Tell]:
    """A bar that comes after five seconds; call what it gives after each step."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, TextColumn("ETA"), TimeRemainingColumn(), transient=True)
    task = bar.add_task("evaluating", total=total)
    timer = threading.Timer(_PATIENCE, bar.start)
    if wanted:
        timer.start()
    try:
        yield lambda text: bar.update(task, advance=1, description=text)
    finally:
        timer.cancel()
        bar.stop()
        pulse.doing("writing tables, figures and the page")


class _Searches:
    """Constant prices that are found by playing: once for markets that differ in omega only, of which they know not."""

    def __init__(self) -> None:
        self._known: dict = {}

    def _once(self, what: str, rule: str, run: RunToEvaluate, find: Callable[[], Any]) -> Any:
        key = what, rule, market_key(run.shape, run.params, with_omega=False)
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]

    def policy(self, rule: str, run: RunToEvaluate) -> Policy:
        """The policy of a rule. Raises RuleError."""
        return self._once("policy", rule, run, lambda: RULES[rule](run.shape, run.params))

    def tried(self, policy: Policy, run: RunToEvaluate) -> Tried:
        """What it earns, and what could still be won."""
        return self._once("tried", policy.name, run, lambda: tried(run.shape, run.params, policy))


def _play_rules(
    key: jax.Array, run: RunToEvaluate, rules: Sequence[str], episodes: int, searches: _Searches, tell: Tell
) -> tuple[dict[str, Record], dict[str, Policy], list[str]]:
    """(records, policies) of the rules that can be played, and why others cannot."""
    records, policies, left_out = {}, {}, []
    for rule in rules:
        try:
            policy = searches.policy(rule, run) if rule in SIMULATED else RULES[rule](run.shape, run.params)
        except (RuleError, NoEquilibriumError) as error:
            left_out.append(f"{rule}: {error}")
        else:
            policies[rule] = policy
            records[rule] = play(key, run.shape, run.params, policy, episodes)
        tell(f"{run.name}: {rule}")
    return records, policies, left_out


def _has_guests(run: RunToEvaluate) -> bool:
    """Whether there are learned sellers whose seats a rule can take, and others to stay."""
    return run.shape.num_sellers > 1 and bool(run.greedy)


def _why_unexamined(run: RunToEvaluate) -> str:
    """Why the behaviour tests mean nothing for a run; empty where they do."""
    if not run.greedy:
        return "behaviour tests: nothing was learned"
    if run.shape.episode_length < behaviour.SHORTEST:
        return f"behaviour tests: episodes of {run.shape.episode_length} epochs have no middle"
    return ""


def _examine(key: jax.Array, run: RunToEvaluate, episodes: int, played: Played, tell: Tell) -> None:
    reason = _why_unexamined(run)
    if reason:
        played.left_out[run.name].append(reason)
        return
    found = behaviour.examine(
        key, run.shape, run.params, run.greedy, episodes, run.discount, lambda what: tell(f"{run.name}: {what}")
    )
    played.findings[run.name] = found
    played.left_out[run.name] += found.left_out


@dataclass(frozen=True)
class Wanted:
    """What an evaluation plays beside each policy.

    Attributes:
        rules: names in `policies.RULES`.
        guests: each rule in each seat of the learned sellers.
        behaviour: what learned sellers do when something is done to them.
    """

    rules: Sequence[str]
    guests: bool
    behaviour: bool


def count_steps(runs: Sequence[RunToEvaluate], wanted: Wanted) -> int:
    """How often `play_all` tells."""
    rules = wanted.rules
    steps = sum(len(seeds) for run in runs for seeds in run.policies.values())
    steps += len(rules) * len({market_key(run.shape, run.params) for run in runs})
    if wanted.guests:
        steps += len(rules) * sum(_has_guests(run) for run in runs)
    if wanted.behaviour:
        steps += behaviour.STEPS * sum(not _why_unexamined(run) for run in runs)
    steps += sum(
        behaviour.response_steps(run.params, run.responder.num_updates, run.learners)
        for run in runs
        if run.responder is not None and run.greedy
    )
    return steps


def play_all(runs: Sequence[RunToEvaluate], episodes: int, seed: int, wanted: Wanted, tell: Tell) -> Played:
    """Play every policy of every run, the rules once a market, and what else is wanted.

    Raises:
        ValueError: where nothing can be played at all.
    """
    # Seed k of every run and policy meets the k-th set of shoppers: policies of one seed are compared under the same
    # chance, and different seeds are independent, so that resampling them is honest.
    key = jax.random.key(seed)
    played = Played()
    known: dict = {}
    searches = _Searches()
    for run in runs:
        for how, policies in run.policies.items():
            for number, policy in enumerate(policies):
                record = play(jax.random.fold_in(key, number), run.shape, run.params, policy, episodes)
                played.add(record, run, f"{LEARNED} ({how})", number)
                tell(f"{run.name}: {LEARNED} ({how}), seed {number}")
        own = market_key(run.shape, run.params)
        if own not in known:
            known[own] = _play_rules(jax.random.fold_in(key, 0), run, wanted.rules, episodes, searches, tell)
        records, rule_policies, left_out = known[own]
        played.left_out[run.name] = list(left_out)
        played.notes[run.name] = [
            f"{rule}: {in_words(run.shape, policy.parameters)} (slopes: money per largest position of stock, per whole "
            "of demand more than expected, while a shock runs)"
            for rule, policy in rule_policies.items()
            if isinstance(policy.parameters, StockPriceParameters)
        ]
        found_by_playing = {
            name: searches.tried(rule_policies[name], run) for name in SIMULATED if name in rule_policies
        }
        played.notes[run.name] += [
            f"{name}: {words_of(run.shape, name, own)}" for name, own in found_by_playing.items()
        ]
        if len(found_by_playing) == 2:
            played.simulated[run.name] = found_by_playing[NASH], found_by_playing[JOINT]
        for rule, record in records.items():
            played.add(record, run, rule, 0)
        if wanted.guests and _has_guests(run):
            found = guests.deviations(
                key,
                run.shape,
                run.params,
                run.greedy,
                rule_policies,
                episodes,
                lambda rule, name=run.name: tell(f"{name}: {rule} in a seller's seat"),  # type: ignore[misc]
                run.learners,
            )
            played.guests.append(found.assign(run=run.name, policy=f"{LEARNED} (greedy)")[list(guests.COLUMNS)])
        if wanted.behaviour:
            _examine(key, run, episodes, played, tell)
        if run.unanswered:
            played.left_out[run.name].append(run.unanswered)
        if run.responder is not None and run.greedy:
            found = behaviour.best_responses(
                key, run.shape, run.params, run.greedy, run.responder, episodes, run.networks,
                lambda what, name=run.name: tell(f"{name}: {what}"),  # type: ignore[misc]
                run.learners,
            )  # fmt: skip
            played.best_responses.append(found.assign(run=run.name, policy=f"{LEARNED} (greedy)"))
    if not played.offers:
        reasons = "; ".join(text for own in played.left_out.values() for text in own)
        raise ValueError(f"rules={','.join(wanted.rules)}: none of them can be played here ({reasons})")
    return played
