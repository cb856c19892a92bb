"""Episodes to tables, tables to summary, figures and one report."""

from marl_pricing.evaluation.evaluate import RunToEvaluate, evaluate
from marl_pricing.evaluation.play import Record, play

__all__ = ["Record", "RunToEvaluate", "evaluate", "play"]
