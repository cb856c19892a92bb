"""What learned sellers do when something is done to them, and what the best answer to them gains.

`examine` runs the tests that need no training; `best_responses` trains. Figures stand in `figures` and `interactive`.
"""

from marl_pricing.evaluation.behaviour.best_response import best_responses, response_steps
from marl_pricing.evaluation.behaviour.deviation import Move, deviations
from marl_pricing.evaluation.behaviour.exact import nash_conv, one_shot_gains, repeated_game
from marl_pricing.evaluation.behaviour.examine import COLUMNS, SHORTEST, STEPS, Findings, examine
from marl_pricing.evaluation.behaviour.forced import follow

__all__ = [
    "COLUMNS",
    "SHORTEST",
    "STEPS",
    "Findings",
    "Move",
    "best_responses",
    "deviations",
    "examine",
    "follow",
    "nash_conv",
    "one_shot_gains",
    "repeated_game",
    "response_steps",
]
