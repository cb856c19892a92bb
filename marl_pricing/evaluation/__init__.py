"""Episodes to tables, tables to summary, figures and one report."""

from marl_pricing.evaluation.evaluate import evaluate
from marl_pricing.evaluation.play import Record, play
from marl_pricing.evaluation.runs import RunToEvaluate

__all__ = ["Record", "RunToEvaluate", "evaluate", "play"]
