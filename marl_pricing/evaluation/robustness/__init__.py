"""How runs hold up in worlds that they were not trained for: play, summary, figures, one page."""

from marl_pricing.evaluation.robustness.play import Tried, try_run
from marl_pricing.evaluation.robustness.report import evaluate_robustness

__all__ = ["Tried", "evaluate_robustness", "try_run"]
