"""What was learned, beside what is true and beside what a naive reader of the log would say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from marl_pricing.intake import IntakeError, plain
from marl_pricing.virtual_market.errors import LogError
from marl_pricing.virtual_market.levels import DISCOUNTS, level_of
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.memory import log_arrays, memories_of
from marl_pricing.virtual_market.model import VirtualMarket
from marl_pricing.virtual_market.money import day_gmv

COUPONS = (1, 2, 3)


def learned_curve(model: VirtualMarket, memory: np.ndarray, coupons: tuple[int, ...] = COUPONS) -> np.ndarray:
    """[K, C, 8] expected orders a day at 0.95 … 0.60, mean over weekdays and numbers of coupons, of each customer."""
    levels = []
    for share in DISCOUNTS:
        days = [model.expected(memory, count, float(share), day) for count in coupons for day in range(7)]
        levels.append(np.mean(days, axis=0))
    return np.stack(levels, axis=-1)


def naive_curve(log: PromotionLog, coupons: tuple[int, ...] = COUPONS) -> np.ndarray:
    """[8] mean orders in the log of those who were handed each depth: a regression on depth alone."""
    level = level_of(log.coupons, log.discount)
    return np.array(
        [
            np.mean([log.orders[(level == own) & (log.coupons == count)].mean() for count in coupons])
            for own in range(1, 9)
        ]
    )


@dataclass(frozen=True)
class TrueCurve:
    """Orders a day [8] of dormant and loyal customers [2, 8], and who is loyal [C] bool."""

    orders: np.ndarray
    loyal: np.ndarray


def read_truth(folder: Path | str, log: PromotionLog, coupons: tuple[int, ...] = COUPONS) -> TrueCurve:
    """What `simulate` left beside its log.

    Raises:
        LogError: for a folder that has no truth of this log.
    """
    try:
        told = plain.read_json(Path(folder) / "truth.json")
        curves = np.array([told["orders_a_day_by_coupons"][str(count)] for count in coupons], float)
        table = pd.read_csv(io_of(Path(folder) / "customers.csv"), dtype=str).set_index("index")
        loyal = table["segment"].reindex(log.customers)
    except IntakeError as error:
        raise LogError(str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise LogError(f"truth={str(folder)!r}: accepted is a folder that simulate left") from None
    if loyal.isna().any() or curves.shape != (len(coupons), 9, 2):
        raise LogError(f"truth={str(folder)!r}: is of other customers than the log's")
    return TrueCurve(curves.mean(0)[1:].T, loyal.eq("loyal").to_numpy())


def io_of(path: Path) -> Path:
    """The path of a file that is there. Raises IntakeError."""
    plain.read_bytes(path)
    return path


def segment_error(curve: np.ndarray, truth: TrueCurve) -> float:
    """Mean absolute error over the depths, of both segments by their size; curve [C, 8] or [8] for all alike."""
    each = np.broadcast_to(curve, (len(truth.loyal), 8))
    errors = [np.abs(each[part].mean(0) - truth.orders[int(own)]).mean() for own, part in
              ((False, ~truth.loyal), (True, truth.loyal))]  # fmt: skip
    share = truth.loyal.mean()
    return float((1 - share) * errors[0] + share * errors[1])


def population_error(curve: np.ndarray, truth: TrueCurve) -> float:
    """Mean absolute error over the depths of the mean over all customers; curve [C, 8] or [8]."""
    share = truth.loyal.mean()
    true = (1 - share) * truth.orders[0] + share * truth.orders[1]
    return float(np.abs((curve.mean(0) if curve.ndim == 2 else curve) - true).mean())


def replayed(model: VirtualMarket, log: PromotionLog, days: int, seed: int) -> tuple[np.ndarray, ...]:
    """(promotions, logged, learned answers, each [C, D, 2], weekdays [D]) of a log's last days.

    They are rolled out from the memories before them, under the coupons that were handed out.
    """
    before, after = log.of_days(0, len(log.dates) - days), log.of_days(len(log.dates) - days, len(log.dates))
    promotions, answers = log_arrays(after)
    start = memories_of(before, model.settings.form)[:, -1]
    told = model.infer_k_steps(
        {"state": start, "day": np.full((len(start), 1), after.weekdays[0]), "action_1": promotions.swapaxes(0, 1)},
        days, deterministic=False, seed=seed,
    )  # fmt: skip
    return promotions, answers, np.stack([own["action_2"] for own in told], axis=1), after.weekdays


def rollout_distances(
    model: VirtualMarket, log: PromotionLog, days: int, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Wasserstein distances of customers' daily orders and GMV: (learned from real, half of them from the rest).

    The last `days` are rolled out from the memories before them, under the coupons that were handed out.
    """
    promotions, answers, learned, _ = replayed(model, log, days, seed)
    # Another stream than a simulated log's, whose permutation says who is loyal.
    half = np.random.default_rng([seed, 1]).permutation(len(answers)) < len(answers) // 2
    found = {}
    for name, value in (
        ("orders", lambda own: own[..., 0]),
        ("GMV", lambda own: day_gmv(promotions[..., 0], promotions[..., 1], own[..., 0], own[..., 1])),
    ):
        real, rolled = value(answers), value(learned)
        found[name] = (
            float(wasserstein_distance(rolled.reshape(-1), real.reshape(-1))),
            float(wasserstein_distance(real[half].reshape(-1), real[~half].reshape(-1))),
        )
    return found


def judge(model: VirtualMarket, log: PromotionLog, truth: TrueCurve | None) -> tuple[pd.DataFrame, list[str]]:
    """(orders a day by depth: learned with its ensemble's range, naive, true; the errors in words)."""
    memory = memories_of(log, model.settings.form)[:, -1]
    each = learned_curve(model, memory)
    members, mean, naive = each.mean(1), each.mean(0), naive_curve(log)
    columns = {
        "discount": DISCOUNTS, "learned": mean.mean(0), "lowest": members.min(0), "highest": members.max(0),
        "naive": naive,
    }  # fmt: skip
    lines = []
    if truth is not None:
        share = truth.loyal.mean()
        columns["true"] = (1 - share) * truth.orders[0] + share * truth.orders[1]
        for part, name in ((~truth.loyal, "dormant"), (truth.loyal, "loyal")):
            columns[f"learned_{name}"] = mean[part].mean(0)
            own = each[:, part].mean(1)
            columns[f"lowest_{name}"], columns[f"highest_{name}"] = own.min(0), own.max(0)
            columns[f"true_{name}"] = truth.orders[int(name == "loyal")]
        lines = [
            f"mean absolute error of orders a day over 8 depths: learned {population_error(mean, truth):.3f}, naive "
            f"{population_error(naive, truth):.3f}",
            f"of both segments by size: learned {segment_error(mean, truth):.3f}, naive "
            f"{segment_error(naive, truth):.3f}",
        ]
    return pd.DataFrame(columns), lines


def as_json(table: pd.DataFrame, lines: list[str]) -> str:
    """The same for a file."""
    return json.dumps({"curve": table.round(5).to_dict("list"), "told": lines}, indent=1) + "\n"
