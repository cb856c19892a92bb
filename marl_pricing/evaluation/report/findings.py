"""What the behaviour tests of a run found, each in a line: a page folds a part where nothing happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from marl_pricing.evaluation.behaviour import Findings
from marl_pricing.evaluation.behaviour.figures import AFTER
from marl_pricing.evaluation.report import texts
from marl_pricing.evaluation.summary import records

_SMALL = 0.01  # of a price; an answer that is smaller is called none
_RUN = 2  # successive epochs in which an answer has to lie outside of chance


@dataclass(frozen=True)
class Told:
    """What was found, in a sentence; whether anything happened."""

    text: str
    happened: bool


def _share(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _in_a_row(seen: np.ndarray) -> bool:
    """Whether enough epochs [H] that follow each other are marked."""
    return bool((np.convolve(seen, np.ones(_RUN), "valid") >= _RUN).any()) if len(seen) >= _RUN else False


def _answer(rows: pd.DataFrame, down: bool | None) -> float:
    """The largest change of a price, as a share of it, that lasts and lies outside of its interval; 0 for none.

    Args:
        rows: of one path, in the order of time.
        down: whether only falls count; None: either way.
    """
    base = rows["undisturbed"].to_numpy(float)
    change, low, high = (rows[name].to_numpy(float) for name in ("price_change", "price_low", "price_high"))
    largest = 0.0
    for falls in (True, False) if down is None else (down,):
        outside = high < 0 if falls else low > 0
        large = np.abs(change) >= _SMALL * np.abs(base)
        if _in_a_row(outside & large):
            largest = max(largest, float(np.abs(change / base)[outside & large].max()))
    return largest


def _after(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["since"].between(1, AFTER)].sort_values("since")


def punished(found: Findings) -> bool | None:
    """Whether rivals' prices fall after a forced cut, by 1 % at least and beyond chance; None without rivals."""
    own = found.responses
    cut = own[own["case"].eq("cut") & own["forced"].eq("all") & own["seller"].eq("rivals")]
    if cut.empty:
        return None
    return any(_answer(_after(rows), down=True) > 0 for _, rows in cut.groupby("epochs"))


def deviations(found: Findings) -> Told:
    """Whether a cut is punished, and whether deviating pays."""
    own = found.responses
    cut = own[own["case"].eq("cut") & own["forced"].eq("all") & own["seller"].eq("rivals")]
    if cut.empty:
        return Told("there are no rivals to answer", False)
    falls = {int(str(epochs)): _answer(_after(rows), down=True) for epochs, rows in cut.groupby("epochs")}
    largest = max(falls.values())
    mean = found.deviation_summary
    pays = [row for row in records(mean[mean["seller"].eq("all")]) if np.isfinite(row["low"]) and row["low"] > 0]
    gains = "; deviating does not pay"
    if pays:
        gain, epochs = texts.number("profit", pays[0]["gain"]), int(pays[0]["epochs"])
        gains = f"; deviating pays: {pays[0]['move']}, {_epochs(epochs)}, gains {gain} money"
    if largest == 0:
        told = f"nobody punishes a cut: rivals' prices do not fall by {_share(_SMALL)} beyond chance"
        return Told(f"{told}{gains}", bool(pays))
    length = max(falls, key=lambda epochs: falls[epochs])
    told = f"a cut of {_epochs(length)} is answered: rivals' prices fall by up to {_share(largest)}"
    return Told(f"{told}{gains}", True)


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''}"


def _spread(values: np.ndarray) -> float:
    """Highest less lowest over the mean."""
    known = values[np.isfinite(values)]
    return float(np.ptp(known) / abs(known.mean())) if len(known) else 0.0


def reaction(found: Findings) -> Told:
    """Whether prices answer the last prices, the own and the rivals'."""
    parts = []
    for seller, own in found.reaction_surface.dropna(subset="price").round({"own": 6, "rival": 6}).groupby("seller"):
        mean = own.pivot_table(index="own", columns="rival", values="price")
        to_rival = max((_spread(row) for row in mean.to_numpy()), default=0.0)
        to_own = max((_spread(column) for column in mean.to_numpy().T), default=0.0)
        if max(to_rival, to_own) >= _SMALL:
            answer = f"{_share(to_rival)} to rivals' last prices, {_share(to_own)} to its own"
            parts.append(f"seller {seller} by up to {answer}")
    if not parts:
        return Told(f"nobody's price answers last prices by {_share(_SMALL)} or more", False)
    return Told("; ".join(parts), True)


def stock(found: Findings) -> Told:
    """Whether prices, or orders, answer the own stock."""
    parts = []
    for seller, own in found.stock_response.groupby("seller"):
        mean = own.groupby("stock")[["price", "order"]].mean()
        moves = _spread(mean["price"].to_numpy(float))
        orders = mean["order"].notna().any() and np.ptp(mean["order"].to_numpy(float)) > 0
        if moves >= _SMALL or orders:
            parts.append(f"seller {seller}'s price moves by up to {_share(moves)}")
    if not parts:
        return Told(f"nobody's price answers its own stock by {_share(_SMALL)} or more", False)
    return Told("; ".join(parts), True)


def case(found: Findings, name: str, what: str) -> Told:
    """Whether prices answer a rival's `stockout`, or a `burst` of agents.

    Args:
        what: it is called.
    """
    own = found.responses
    own = own[own["case"].eq(name) & own["forced"].eq("all") & own["seller"].str.isdigit()]
    answered = {str(seller): _answer(_after(rows), down=None) for seller, rows in own.groupby("seller")}
    parts = [f"seller {seller}'s price by up to {_share(size)}" for seller, size in answered.items() if size > 0]
    if not parts:
        return Told(f"nobody's price answers {what} by {_share(_SMALL)} or more beyond chance", False)
    return Told(", ".join(parts), True)


def guests(rows: pd.DataFrame) -> Told:
    """Whether a rule would earn more in a learned seller's seat."""
    own = rows[rows["seller"].eq("all") & rows["low"].gt(0)]
    if own.empty:
        return Told("no rule earns more in a learned seller's seat, beyond chance", False)
    best = max(records(own), key=lambda row: row["gain"])
    told = f"{best['rule']} would earn {texts.number('profit', best['gain'])} money per epoch more"
    return Told(told, True)


def responses(rows: pd.DataFrame, *, held: bool) -> Told:
    """Whether the learned sellers are an equilibrium."""
    text = texts.equilibrium_sentence(rows, held=held)
    happened = "no equilibrium was found" in text or "was not found" in text
    return Told(text.removesuffix("."), happened)
