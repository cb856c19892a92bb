"""What the best response to the learned sellers gains, and NashConv.

In each seat several responses are tried against the others as they are: sellers trained from the host's own network
(`responders`), constant prices (`constants`), the fitted stock-and-price rule (`policies.fit_response`). Which one is
best is decided under some shoppers and what it gains is told under others, so that the best of many is not taken for
better than it is. The seller itself is one of those tried: a gain is 0 at least, but for chance. It is a lower bound of
the best response's gain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from marl_pricing.evaluation import statistics
from marl_pricing.evaluation.behaviour.challengers import CONSTANT, ITSELF, RULE, TRAINED, Challenger, Judge
from marl_pricing.evaluation.behaviour.constants import best_constants
from marl_pricing.evaluation.behaviour.responders import (
    Objective,
    Place,
    objectives_of,
    places_of,
    snapshots_of,
    train_responders,
)
from marl_pricing.evaluation.behaviour.responses import mean_interval, units_of
from marl_pricing.evaluation.metrics import Parts
from marl_pricing.learning.policy import learned_policy
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.learning.state import Networks
from marl_pricing.market import MarketParams, MarketShape, Policy
from marl_pricing.policies import fit_response

Array = np.ndarray
Tell = Callable[[str], None]

NASH_CONV = "NashConv"
SELECTION = 48  # episodes under which responses are chosen
SURE = 2.0  # standard errors by which a response has to beat the seller itself there
_EXACT = 1e-6  # of what is earned: less is rounding, where chance has no part
KINDS = {TRAINED: "trained", CONSTANT: "constant", RULE: "rule"}
COLUMNS = {
    "run": "text",
    "policy": "text; the learned sellers",
    "objective": "text; shaped: r' at the market's omega, what sellers were trained for; raw: the seller's own money. "
    "Each has a best response of its own",
    "seller": "text; who responds, or NashConv: the sum over sellers of their gains (Lanctot et al. 2017)",
    "gain": "per epoch of the whole episode; the best response's reward less the learned seller's, under the same "
    "shoppers, which are not those under which it was chosen; a lower bound",
    "low": "lower end of its 95 % bootstrap interval; empty where nothing can be resampled",
    "high": "upper end",
    "share": "gain as a share of what the learned seller earns, mean over seeds; empty where that is not above 0",
    "share_low": "lower end of its 95 % bootstrap interval",
    "share_high": "upper end",
    "response": "text; which response it was, with the number of seeds: itself (nothing better was found), trained, "
    "constant prices, rule",
    "trained": "gain of the best trained responder, whether it is the best response or not",
    "constant": "gain of the best constant prices",
    "rule": "gain of the rule that was fitted to the seat",
    "discounted": "the gain, as the sum over the episode of gamma^t x the difference, at the learner's gamma",
    "learned": "per epoch; what the learned seller earns there",
    "updates": "whole number; budget of the trained responder",
    "resampled": "text; what the interval resamples: seeds or episodes",
    "count": "how many of them",
}


class _Tried(NamedTuple):
    """The best of one kind in each place, and its gains [W, E] under the selection's shoppers."""

    challengers: list[Challenger]
    gains: Array


def _reward(rewards: Array, places: Sequence[Place], how: int) -> Array:
    """Of each place's objective: [W, 2, 2, E] to [W, E]; how: 0 mean over epochs, 1 discounted."""
    return np.stack([own[int(place.objective == "raw"), how] for own, place in zip(rewards, places, strict=True)])


def _best_trained(judge: Judge, key: jax.Array, places: Sequence[Place], base: Array, snapshots: int) -> _Tried:
    """The best snapshot of each place's trained responder."""
    width = len(places)
    everyone = [Challenger(TRAINED, number) for number in range(snapshots * width)]
    rewards = judge.rewards(key, _seats(places) * snapshots, everyone, SELECTION)
    gains = np.stack([_reward(rewards[n * width : (n + 1) * width], places, 0) for n in range(snapshots)]) - base
    best = gains.mean(-1).argmax(0)
    return _Tried(
        [everyone[snapshot * width + place] for place, snapshot in enumerate(best)],
        gains[best, np.arange(width)],
    )


def _seats(places: Sequence[Place]) -> list[tuple[int, int]]:
    return [(place.seed, place.seller) for place in places]


def _choose(tried: Sequence[_Tried], base: Array) -> Array:
    """The kind of each place's best response [W]: number in `tried`; −1 where none surely beats the seller itself."""
    means = np.stack([own.gains.mean(-1) for own in tried])
    errors = np.stack([own.gains.std(-1, ddof=1) / np.sqrt(own.gains.shape[-1]) for own in tried])
    best = means.argmax(0)
    places = np.arange(len(best))
    least = SURE * errors[best, places] + _EXACT * np.abs(base.mean(-1))
    return np.where(means[best, places] > least, best, -1)


def response_steps(params: MarketParams, num_updates: int, sellers: Sequence[int]) -> int:
    """How often `best_responses` tells."""
    return len(snapshots_of(num_updates)) + len(_fits(params, sellers)) + 4


def _fits(params: MarketParams, sellers: Sequence[int]) -> list[tuple[Objective, int]]:
    """What rules are fitted for: (objective, seller)."""
    return list(product(objectives_of(params), sellers))


def _fit_rules(
    key: jax.Array,
    shape: MarketShape,
    params: MarketParams,
    host: Policy,
    fits: Sequence[tuple[Objective, int]],
    tell: Tell,
) -> list[Policy]:
    """A rule for each of `_fits`, against the first seed's policy; it is tried against the other seeds' too."""
    found = []
    for number, (objective, seller) in enumerate(fits):
        own = fit_response(jax.random.fold_in(key, number), shape, params, host, seller, objective=objective)
        found.append(own.policy)
        tell(f"rule fitted, seller {seller}")
    return found


def best_responses(
    key: jax.Array,
    shape: MarketShape,
    params: MarketParams,
    learned: Sequence[Policy],
    settings: LearnerSettings,
    episodes: int,
    networks: Networks | None = None,
    tell: Tell = lambda text: None,
    sellers: Sequence[int] | None = None,
) -> pd.DataFrame:
    """The gain of each seller's best response to the others, and NashConv. A lower bound, see above.

    Args:
        learned: one policy a training seed; seed k plays under `key` with k folded in, as in `guests`.
        settings: of the trained responders, see `responders.responder_settings`.
        episodes: under which gains are told.
        networks: [R, ...] of the learned policies, for responders to start from; None: from new ones.
        tell: called now and then with what is done.
        sellers: who responds; None: all. Who holds a seat without having learned is no part of NashConv.

    Returns:
        Rows of `COLUMNS` without `run` and `policy`.

    Raises:
        ValueError: as `train_responders`, and for less than one episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes={episodes!r}: accepted is a whole number of at least 1")
    seats = list(range(shape.num_sellers)) if sellers is None else list(sellers)
    places, fits = places_of(params, len(learned), seats), _fits(params, seats)
    trained = train_responders(
        shape, params, learned, settings, networks, lambda done: tell(f"responders, update {done}"), seats
    )
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trained.actors)
    responder = learned_policy(trained.learner, None, greedy=True)
    # Shoppers that nobody meets elsewhere in an evaluation, whose seeds are counted from 0.
    own_key, fit_key = (jax.random.fold_in(key, 2**31 - number) for number in (1, 2))
    fitted = _fit_rules(fit_key, shape, params, learned[0], fits, tell)
    rules = jax.tree.map(lambda *leaves: np.stack(leaves), *(own.parameters for own in fitted))
    judge = Judge(shape, params, learned, responder, flat, settings.gamma, fitted[0], rules)
    selection = judge.rewards(own_key, _seats(places), [Challenger(ITSELF)] * len(places), SELECTION)
    base = _reward(selection, places, 0)
    tried = [_best_trained(judge, own_key, places, base, len(trained.updates))]
    tell("responders, chosen")
    constants = best_constants(judge, own_key, shape, params, places, SELECTION)
    tried.append(_Tried([Challenger(CONSTANT, prices=prices) for prices, _ in constants],
                        np.stack([reward for _, reward in constants]) - base))  # fmt: skip
    tell("constant prices, chosen")
    own_rules = [Challenger(RULE, fits.index((place.objective, place.seller))) for place in places]
    by_rule = _reward(judge.rewards(own_key, _seats(places), own_rules, SELECTION), places, 0)
    tried.append(_Tried(own_rules, by_rule - base))
    tell("rules, played")
    chosen = _choose(tried, base)
    told = [Challenger(ITSELF)] * len(places) + [own for kind in tried for own in kind.challengers]
    rewards = judge.rewards(key, _seats(places) * (1 + len(tried)), told, episodes)
    rewards = rewards.reshape(1 + len(tried), len(places), *rewards.shape[1:])
    tell("best responses, played")
    kinds = [KINDS[kind.challengers[0].kind] for kind in tried]
    rows: list[dict] = []
    for objective in objectives_of(params):
        here = [number for number, place in enumerate(places) if place.objective == objective]
        shaped = (len(learned), len(seats), episodes)
        earned, discounted = (
            np.stack([_reward(own[here], [places[n] for n in here], how).reshape(shaped) for own in rewards])
            for how in (0, 1)
        )
        own = _rows(seats, kinds, chosen[here].reshape(shaped[:2]), earned, discounted)
        rows += [{"objective": objective, "updates": settings.num_updates} | row for row in own]
    return pd.DataFrame(rows)


def _rows(sellers: Sequence[int], kinds: Sequence[str], chosen: Array, earned: Array, discounted: Array) -> list[dict]:
    """A row a seller, and NashConv.

    Args:
        kinds: of responses, C names.  chosen: [R, S] numbers among them, −1 the seller itself.
        earned, discounted: [1 + C, R, S, E] rewards of the seller itself and of each response.
    """
    own = earned[0]
    gains, sums = earned - own, discounted - discounted[0]
    best, best_sum = (np.take_along_axis(x, (chosen + 1)[None, ..., None], 0)[0] for x in (gains, sums))
    found = []
    for place, seller in enumerate(sellers):
        counts = Counter(["itself", *kinds][number + 1] for number in chosen[:, place])
        several = len(chosen) > 1
        texts = [f"{kind} ({count})" if several else kind for kind, count in counts.most_common()]
        each = {name: gains[1 + number, :, place].mean() for number, name in enumerate(kinds)}
        row = _row(str(seller), best[:, place], best_sum[:, place], own[:, place])
        found.append(row | {"response": ", ".join(texts)} | each)
    found.append(_row(NASH_CONV, best.sum(1), best_sum.sum(1), own.sum(1)) | {"response": ""})
    nothing = dict.fromkeys(KINDS.values(), np.nan)  # of all sellers together
    return [nothing | row for row in found]


def _row(name: str, gain: Array, discounted: Array, earned: Array) -> dict:
    """Of arrays [R, E]."""
    units, kind = units_of(gain)
    mean, low, high = (float(x[0]) for x in mean_interval(units[:, None]))
    share = [np.nan] * 3
    if (earned.mean(-1) > 0).all():
        told = statistics.estimate(Parts(gain[None], earned[None]))
        share = [float(x[0]) for x in (told.value, told.low, told.high)]
    return {
        "seller": name,
        "gain": mean,
        "low": low,
        "high": high,
        **dict(zip(("share", "share_low", "share_high"), share, strict=True)),
        "discounted": discounted.mean(),
        "learned": earned.mean(),
        "resampled": kind,
        "count": len(units),
    }
