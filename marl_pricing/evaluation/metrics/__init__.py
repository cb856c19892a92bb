"""What is measured in episodes of play, on raw rewards: small pure functions by subject, and the list of all."""

from marl_pricing.evaluation.metrics.episodes import Episodes
from marl_pricing.evaluation.metrics.measures import INDICES, MEASURES, SUBJECTS, Measure, measure
from marl_pricing.evaluation.metrics.parts import Parts

__all__ = ["INDICES", "MEASURES", "SUBJECTS", "Episodes", "Measure", "Parts", "measure"]
