"""What the page of a factorial study calls the columns, terms and measures of its tables."""

from __future__ import annotations

NAMES = {
    "reward": "Reward", "revenue": "Revenue", "coi_level": "COI level", "coi_leak": "COI leak",
    "volatility": "Volatility of prices", "ux": "UX index",
    "reward_fewer": "Reward, fewer agents", "reward_more": "Reward, more agents",
    "reward_worst": "Reward, worst of three", "revenue_fewer": "Revenue, fewer agents",
    "revenue_more": "Revenue, more agents", "revenue_worst": "Revenue, worst of three",
}  # fmt: skip
FACTORS = {"alpha": "α", "epsilon_alpha": "ε", "lambda_coi": "λ", "action_levels": "action levels"}
HEADS = FACTORS | {
    "sum_of_squares": "sum of squares", "f": "F", "p_holm": "p, Holm", "eta2": "η²", "partial_eta2": "partial η²",
    "omega2": "ω²", "base": "of the undefended", "kappa": "κ", "error": "standard error", "r2": "R²",
    "held": "best held prices",
    "train_first": "reward, first tenth", "train_last": "reward, last tenth", "runs_that_rose": "runs that rose",
}  # fmt: skip
SHARES = ("eta2", "partial_eta2", "omega2", "share")  # of a whole


def head(column: str) -> str:
    """A column's name for people."""
    return HEADS.get(column, column.replace("_", " "))


def term(name: str) -> str:
    """A term of the analysis of variance: `α × ε`."""
    return " × ".join(FACTORS.get(part, part) for part in name.split(" × "))


def number(value: float) -> str:
    """Three digits, and a minus that is one: `−0.0285`."""
    return f"{value + 0.0:.3g}".replace("-", "−")  # no minus before a nought


def probability(value: float) -> str:
    """A p-value to three digits after the point."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
