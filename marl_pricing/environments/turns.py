"""The turn-taking form of the market."""

from __future__ import annotations

from typing import Any

from pettingzoo.utils.conversions import parallel_to_aec_wrapper

from marl_pricing.environments.spaces import check_action


class TurnTaking(parallel_to_aec_wrapper):
    """PettingZoo's conversion, with every action checked when it is given.

    Without the check, a bad action of the first seller is kept, is refused only at the last seller's turn, and then
    blocks the episode, because nobody can take it back.
    """

    def step(self, action: Any) -> None:
        """The turn of `agent_selection`; the epoch runs after the last seller's.

        Raises:
            ValueError: for an unacceptable action; it stays the same seller's turn.
        """
        agent = self.agent_selection
        if not (self.terminations[agent] or self.truncations[agent]):
            check_action(agent, action, self.action_space(agent))
        super().step(action)
