"""Whether a training has converged: a stated rule on what its policies earned on held-out shoppers.

A run has converged where, in the last quarter of its evaluations (at least six of them), for every seed and seller,

1. greedy play has no trend: the slope of its return (r', what sellers learn from) over the window's updates is not
   significant (two-sided t-test at 5 %, divided by the number of seeds and sellers), or carries it by no more than 1 %
   of its level over the window;
2. greedy play is steady: what is left around the trend has a standard deviation of at most 3 % of the level;
3. sampled play is greedy play: over the last three evaluations all sellers together earn the same within 2 %, or the
   policies' entropy is at most 0.1 nats;
4. nobody gains by a constant price: where that was measured at the last evaluation, the gain is not significantly above
   1 % of the level (one-sided t-test over the episodes at 5 %, divided by the number of seeds and sellers).

Where frozen policies hold seats, only those who learn are judged: a run has converged where their answer has.

A level is the mean over the window, without its sign, and never below a tenth of the sellers' mean level. A curve that
is flat but for independent noise of up to 1 % of its level fails the trend test in at most 5 % of cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from marl_pricing.learning.held_out import MEASURING_EPISODES

Array = np.ndarray

FEWEST = 6  # evaluations in the window
TREND = 0.01
SIGNIFICANCE = 0.05
UNSTEADY = 0.03
SAMPLED = 0.02
ENTROPY = 0.1  # nats
GAIN = 0.01
_RECENT = 3  # evaluations that sampled play is compared over
_SMALLEST_SHARE = 0.1


@dataclass(frozen=True)
class Curves:
    """What was measured on held-out shoppers, in the order of updates; n evaluations, R seeds, S sellers that learn.

    Attributes:
        updates: [n].  greedy, sampled: [n, R, S] r', money per epoch.  entropy: [n, R, S] nats, of greedy play.
        gain: [n, R, S] of the best constant deviation; NaN where none was measured.
        error: [n, R, S] standard error of gain; NaN where none was written, by versions before it was.
        sellers: numbers of those that learn.  held: of the others.
    """

    updates: Array
    greedy: Array
    sampled: Array
    entropy: Array
    gain: Array
    error: Array
    sellers: tuple[int, ...]
    held: tuple[int, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the rule says.

    Attributes:
        converged: None where there are too few evaluations to say.
        reasons: why not; empty where it has.
        held: sellers that frozen policies are, who were not judged.
    """

    converged: bool | None
    reasons: tuple[str, ...] = ()
    held: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.held:
            return self._text
        who = f"seller {self.held[0]} does" if len(self.held) == 1 else f"sellers {', '.join(map(str, self.held))} do"
        return f"{self._text} (against opponents that are frozen: {who} not learn)"

    @property
    def _text(self) -> str:
        if self.converged is None:
            return f"convergence not judged: {'; '.join(self.reasons)}"
        if self.converged:
            return "converged: greedy play is steady, sampled play earns the same, no trend is left"
        return f"not converged: {'; '.join(self.reasons)}"


def curves_of(rows: Sequence[Mapping[str, Any]]) -> Curves:
    """Curves out of the rows of evaluation.csv, which are sorted by update, seed, seller and kind of play."""
    updates = sorted({int(row["update"]) for row in rows})
    seeds, sellers = (1 + max((int(row[name]) for row in rows), default=-1) for name in ("seed", "seller"))
    place = {update: number for number, update in enumerate(updates)}
    greedy, sampled, entropy, gain, error = np.full((5, len(updates), seeds, sellers), np.nan)
    for row in rows:
        at = place[int(row["update"])], int(row["seed"]), int(row["seller"])
        if row["policy"] == "greedy":
            greedy[at], entropy[at] = float(row["shaped"]), float(row["entropy"] or "nan")
            gain[at], error[at] = (float(row.get(f"deviation_{what}") or "nan") for what in ("gain", "error"))
        else:
            sampled[at] = float(row["shaped"])
    # A frozen policy has no entropy.
    learns = ~np.isnan(entropy).all((0, 1)) if entropy.size else np.ones(sellers, bool)
    greedy, sampled, entropy, gain, error = (curve[..., learns] for curve in (greedy, sampled, entropy, gain, error))
    who, held = (tuple(np.flatnonzero(kind).tolist()) for kind in (learns, ~learns))
    return Curves(np.array(updates, int), greedy, sampled, entropy, gain, error, who, held)


def trend(updates: Array, values: Array) -> tuple[Array, Array, Array]:
    """Least squares through values [n, ...]: (slope per update, its t statistic, spread around it, all [...])."""
    x = updates - updates.mean()
    slope = np.tensordot(x, values, 1) / (x @ x)
    left = values - values.mean(0) - x.reshape(-1, *(1,) * (values.ndim - 1)) * slope
    spread = np.sqrt((left**2).sum(0) / (len(x) - 2))
    error = spread / np.sqrt(x @ x)
    flat = np.abs(slope) <= 1e-12
    return slope, np.where(flat, 0.0, slope / np.where(error > 0, error, 1e-300)), spread


def window_of(count: int) -> int:
    """Evaluations that the rule looks at, of all."""
    return max(FEWEST, -(-count // 4))


def judge(curves: Curves) -> Verdict:
    """Apply the rule; see the top of this file."""
    size = window_of(len(curves.updates))
    if len(curves.updates) < size:
        return Verdict(None, (f"{len(curves.updates)} evaluations; at least {FEWEST} are needed",), curves.held)
    updates, greedy, sampled = (own[-size:] for own in (curves.updates, curves.greedy, curves.sampled))
    level = np.abs(greedy.mean(0))
    level = np.maximum(level, np.maximum(_SMALLEST_SHARE * level.mean(-1, keepdims=True), 1e-12))
    reasons = []

    from scipy.special import stdtrit  # a training would wait half a second for it before its first update

    def worst(measure: Array, limit: float) -> tuple[int, int] | None:
        seed, seller = np.unravel_index(int(np.nanargmax(measure)), measure.shape)
        return (int(seed), int(seller)) if measure[seed, seller] > limit else None

    def who(place: tuple[int, int]) -> str:
        seller = f"seller {curves.sellers[place[1]]}"
        return f"{seller} (seed {place[0]})" if greedy.shape[1] > 1 else seller

    slope, t, spread = trend(updates, greedy)
    critical = stdtrit(size - 2, 1 - SIGNIFICANCE / (2 * slope.size))
    carried = slope * (updates[-1] - updates[0]) / level
    moving = worst(np.where(np.abs(t) > critical, np.abs(carried), 0.0), TREND)
    if moving:
        rate = 10 * slope[moving] / level[moving]
        reasons.append(
            f"greedy return of {who(moving)} still {'rises' if rate > 0 else 'falls'} by {abs(rate):.1%} per 10 updates"
        )
    restless = worst(spread / level, UNSTEADY)
    if restless:
        reasons.append(f"greedy return of {who(restless)} swings by {(spread / level)[restless]:.1%}")
    recent = slice(-_RECENT, None)
    apart = np.abs(sampled[recent].mean(0).sum(-1) - greedy[recent].mean(0).sum(-1)) / level.sum(-1)
    random = curves.entropy[-1].max(-1) > ENTROPY
    if (random & (apart > SAMPLED)).any():
        seed = int(np.where(random, apart, 0.0).argmax())
        less = sampled[recent].mean(0).sum(-1)[seed] < greedy[recent].mean(0).sum(-1)[seed]
        reasons.append(
            f"sampled play earns {apart[seed]:.1%} {'less' if less else 'more'} than greedy play, "
            f"entropy {curves.entropy[-1, seed].mean():.2f} nats"
        )
    if np.isfinite(curves.gain[-1]).any():
        certain = stdtrit(MEASURING_EPISODES - 1, 1 - SIGNIFICANCE / slope.size) * np.nan_to_num(curves.error[-1])
        gain = np.where(curves.gain[-1] - GAIN * level > certain, curves.gain[-1], 0.0) / level
        place = worst(gain, GAIN)
        if place:
            reasons.append(f"{who(place)} gains {gain[place]:.1%} by a constant price")
    return Verdict(not reasons, tuple(reasons), curves.held)
