"""Session funnels: how many pages a session has, how many sessions buy; from data, and kernels that agree with it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from marl_pricing.intake import IntakeError, plain
from marl_pricing.traffic.events import ACTIONS, PURCHASE
from marl_pricing.traffic.kernels import Array, Kernel

_PAGES = ("Administrative", "Informational", "ProductRelated")
_BOUGHT = "Revenue"
# Categories of events that open a page.
_OPENING = ("nav", "filter")
# Bounds of the logarithms of both factors, and how near the funnel has to be hit.
_WIDEST = 25.0
_NEAR = 1e-9
# From this spectral radius on sessions count as never ending.
_BRINK = 1.0 - 1e-12


class FunnelError(ValueError):
    """A funnel that cannot be read, or that a kernel cannot be brought to."""


@dataclass(frozen=True)
class Funnel:
    """What sessions of a shop come to.

    Attributes:
        pages_mean: mean pages of a session; sessions without a page count.
        pages_se: its standard error.
        purchase_share: share of sessions that buy.
        purchase_se: its standard error.
        sessions: sessions that were counted.
        unknown_pages: those of them whose pages are not known; they count for the purchase share only.
    """

    pages_mean: float
    pages_se: float
    purchase_share: float
    purchase_se: float
    sessions: int
    unknown_pages: int = 0


def read_funnel(path: Path | str) -> Funnel:
    """The funnel of a table with one row a session: the UCI online shoppers' purchasing intention data.

    Pages of a session are Administrative + Informational + ProductRelated; Revenue is TRUE where it bought.

    Raises:
        FunnelError: naming the file and what it lacks.
    """
    path = Path(path)
    try:
        text, used = plain.read_text(path), {*_PAGES, _BOUGHT}
        table = pd.read_csv(io.StringIO(text), dtype="str", keep_default_na=False, usecols=used.__contains__)
    except IntakeError as error:
        raise FunnelError(str(error)) from None
    except (ValueError, OverflowError) as error:  # those of pandas' parser are such
        raise FunnelError(f"{path}: no table can be read: {' '.join(str(error).split())}") from None
    missing = [name for name in (*_PAGES, _BOUGHT) if name not in table]
    if missing:
        raise FunnelError(
            f"{path}: no column {', '.join(missing)}: accepted is the table of online shoppers' sessions, with "
            f"{', '.join(_PAGES)} (pages) and {_BOUGHT} (TRUE or FALSE)"
        )
    if len(table) < 2:
        raise FunnelError(f"{path}: {len(table)} sessions: accepted are at least 2")
    sums = np.zeros(len(table))
    for name in _PAGES:
        counts = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        blank = table[name].str.strip().isin(["", "NA"]).to_numpy()
        wrong = ~(np.isfinite(counts) & (counts >= 0) & (counts == np.round(counts))) & ~blank
        _refuse_first(path, table[name], wrong, "a whole number of at least 0, or nothing where it is not known")
        sums += counts
    pages = sums[~np.isnan(sums)]
    if len(pages) < 2:
        raise FunnelError(f"{path}: pages of {len(pages)} sessions are known: accepted are at least 2")
    bought = table[_BOUGHT].str.strip().str.upper()
    _refuse_first(path, table[_BOUGHT], ~bought.isin(["TRUE", "FALSE"]).to_numpy(), "TRUE or FALSE")
    share = float((bought == "TRUE").mean())
    count = len(table)
    return Funnel(
        float(pages.mean()),
        float(pages.std(ddof=1) / np.sqrt(len(pages))),
        share,
        float(np.sqrt(share * (1 - share) / count)),
        count,
        count - len(pages),
    )


def _refuse_first(path: Path, column: pd.Series, wrong: Array, accepted: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise FunnelError(f"{path}:{row + 2}: {column.name}={column.iloc[row]!r}: accepted is {accepted}")


def purchase_probability(kernel: Kernel) -> float:
    """Probability that a session buys at least once: that it reaches `purchase` before it ends."""
    if PURCHASE not in kernel.states:
        return 0.0
    return _purchase(kernel.matrix, kernel.states.index(PURCHASE))


def expected_pages(kernel: Kernel) -> float:
    """Expected events of a session that open a page, those of the categories nav and filter."""
    return float(kernel.visits[_opening(kernel)].sum())


def _opening(kernel: Kernel) -> Array:
    return np.array([ACTIONS.get(state) in _OPENING for state in kernel.states])


def _purchase(matrix: Array, purchase: int) -> float:
    """First passage: with `purchase` absorbing, the chance h = (I − Q)⁻¹ r of being absorbed there (Kemeny and Snell
    1960, theorem 3.3.7)."""
    inside = np.delete(np.arange(len(matrix) - 1), purchase)
    transient = matrix[np.ix_(inside, inside)]
    return float(np.linalg.solve(np.eye(len(inside)) - transient, matrix[inside, purchase])[0])


def _tilt(matrix: Array, weights: Array) -> Array | None:
    """The kernel of paths that weigh as much more as the product of the weights [E] of the states they visit.

    With φ = T (w φ), φ = 1 at the end, it is T(s, s') w(s') φ(s') / φ(s): rows sum to one. None where the weights are
    so large that the sum over paths, φ, is infinite.
    """
    inside = matrix[:-1, :-1] * weights[:-1]
    if max(abs(np.linalg.eigvals(inside))) >= _BRINK:
        return None
    total = np.append(np.linalg.solve(np.eye(len(inside)) - inside, matrix[:-1, -1]), 1.0)
    tilted = matrix * (weights * total)
    sums = tilted.sum(1, keepdims=True)
    # A state from which no path ends cannot be reached; its row stays.
    return np.where(sums > 0, tilted / np.where(sums > 0, sums, 1.0), matrix)


class _Tilts:
    """Kernels by the logarithms of two weights, of a page and of a purchase."""

    def __init__(self, kernel: Kernel) -> None:
        self.matrix, self.opening = kernel.matrix, _opening(kernel)
        self.purchase = kernel.states.index(PURCHASE)

    def at(self, log_page: float, log_buy: float) -> Array | None:
        weights = np.exp(log_page * self.opening)
        weights[self.purchase] = np.exp(log_buy)
        return _tilt(self.matrix, weights)

    def pages(self, matrix: Array) -> float:
        inside = matrix[:-1, :-1]
        return float(np.linalg.inv(np.eye(len(inside)) - inside)[0] @ self.opening[:-1])

    def longest_page(self, log_buy: float) -> float:
        """The largest weight of a page for which sessions still end."""
        low, high = -_WIDEST, _WIDEST
        if self.at(high, log_buy) is not None:
            return high
        while high - low > 1e-13 * max(1.0, abs(high)):
            middle = (low + high) / 2
            low, high = (middle, high) if self.at(middle, log_buy) is not None else (low, middle)
        return low

    def page_for(self, pages: float, log_buy: float) -> float | None:
        """The weight of a page with which sessions have so many, None where none does; they grow with the weight."""

        def surplus(log_page: float) -> float:
            matrix = self.at(log_page, log_buy)
            # Rounding at the brink, where sessions never end.
            return np.inf if matrix is None else self.pages(matrix) - pages

        top = self.longest_page(log_buy)
        if not surplus(-_WIDEST) < 0 < surplus(top):
            return None
        return float(brentq(lambda log_page: min(surplus(log_page), 1e12), -_WIDEST, top, xtol=1e-14, maxiter=500))

    def share(self, log_page: float, log_buy: float) -> float:
        matrix = self.at(log_page, log_buy)
        assert matrix is not None
        return _purchase(matrix, self.purchase)


def match(kernel: Kernel, funnel: Funnel) -> Kernel:
    """The kernel nearest to one whose sessions have a funnel's pages and purchases.

    Of all laws of sessions with these two expectations it is the one of least relative entropy to the kernel's, where
    a purchase ends the session: paths are weighed exponentially in their pages and purchases (Csiszár 1975, theorem
    3.1), which leaves a Markov chain. Both weights are solved for, so expected pages (events of the categories nav and
    filter) and the share of sessions that buy equal the funnel's, not only nearly.

    Multiplying the chances of ending and of buying alone would not do: in a kernel whose carts lead to a purchase or to
    the end, sessions could then not be longer than the way to the first checkout.

    Raises:
        FunnelError: if no weights lead there, with what can be reached.
    """
    pages, share = funnel.pages_mean, funnel.purchase_share
    if not (np.isfinite(pages) and pages > 0 and 0 < share < 1):
        raise FunnelError(
            f"pages_mean={pages!r}, purchase_share={share!r}: accepted are pages above 0 and a share between 0 and 1"
        )
    if purchase_probability(kernel) == 0.0:
        raise FunnelError("the kernel's sessions never reach purchase: their purchase share can only be 0")
    tilts = _Tilts(kernel)

    def reached(log_buy: float) -> float | None:
        log_page = tilts.page_for(pages, log_buy)
        return None if log_page is None else tilts.share(log_page, log_buy)

    grid = np.linspace(-_WIDEST, _WIDEST, 41)
    found = [(log_buy, value) for log_buy in grid if (value := reached(log_buy)) is not None]
    if not found:
        least, most = (_pages_at(tilts, end) for end in (-1, 1))
        raise FunnelError(f"{pages:.4g} pages of a session cannot be reached: reachable are {least:.4g} to {most:.4g}")
    shares = [value for _, value in found]
    if not min(shares) < share < max(shares):
        raise FunnelError(
            f"a purchase share of {share:.4g} with {pages:.4g} pages cannot be reached: "
            f"reachable are {min(shares):.4g} to {max(shares):.4g}"
        )
    at = next(i for i in range(len(found) - 1) if (shares[i] - share) * (shares[i + 1] - share) <= 0)

    def short(log_buy: float) -> float:
        value = reached(log_buy)
        assert value is not None, "pages that two weights allow are allowed between them"
        return value - share

    log_buy = float(brentq(short, found[at][0], found[at + 1][0], xtol=1e-13))
    log_page = tilts.page_for(pages, log_buy)
    matrix = None if log_page is None else tilts.at(log_page, log_buy)
    assert matrix is not None
    source = (
        f"{kernel.source + '; ' if kernel.source else ''}matched to {pages:.4g} pages a session and a purchase "
        f"share of {share:.2%} ({funnel.sessions:,} sessions)"
    )
    matched = Kernel(kernel.states, matrix, source=source, generic=kernel.generic)
    off = max(abs(expected_pages(matched) / pages - 1), abs(purchase_probability(matched) / share - 1))
    if off > _NEAR:
        raise FunnelError(f"{pages:.4g} pages and a purchase share of {share:.4g} were missed by {off:.2g}")
    return matched


def _pages_at(tilts: _Tilts, side: int) -> float:
    """The fewest (−1) or most (1) pages that weights within their bounds give."""
    values = []
    for log_buy in (-_WIDEST, 0.0, _WIDEST):
        matrix = tilts.at(-_WIDEST if side < 0 else tilts.longest_page(log_buy), log_buy)
        if matrix is not None:
            values.append(tilts.pages(matrix))
    return min(values) if side < 0 else max(values)


def longest(kernel: Kernel, tail: float = 1e-6) -> int:
    """The least number of events, start and end not counted, that less than a share `tail` of sessions go beyond.

    Raises:
        FunnelError: if `tail` is not between 0 and 1.
    """
    if not 0 < tail < 1:
        raise FunnelError(f"tail={tail!r}: accepted is a number between 0 and 1")
    inside = kernel.matrix[:-1, :-1]
    # Where sessions are after event number 1, 2, … that have not ended.
    alive = inside[0]
    events = 0
    while alive.sum() >= tail:
        alive = alive @ inside
        events += 1
    return events
