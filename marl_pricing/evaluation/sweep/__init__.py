"""Runs along an axis (ω, sellers, lead time, share of agents …): play, measures, exact curves, figures, one page."""

from marl_pricing.evaluation.sweep.play import SweptRun
from marl_pricing.evaluation.sweep.report import Axes, evaluate_sweep

__all__ = ["Axes", "SweptRun", "evaluate_sweep"]
