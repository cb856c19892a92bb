"""The market as BenchMARL's tasks are asked."""

from __future__ import annotations

from benchmarl.environments.common import Task, TaskClass
from torchrl.data import Composite
from torchrl.envs.libs.pettingzoo import PettingZooWrapper

from tests.clients.markets import env_of


class Market(TaskClass):
    """A duopoly of one form of action."""

    def _form(self) -> str:
        return self.name.lower()

    def get_env_fun(self, num_envs, continuous_actions, seed, device):
        """A maker of environments."""
        return lambda: PettingZooWrapper(env_of(self._form()), return_state=True, seed=seed, device=device)

    def supports_continuous_actions(self) -> bool:
        """Whether prices are numbers."""
        return self._form() == "continuous"

    def supports_discrete_actions(self) -> bool:
        """Whether prices are levels."""
        return not self.supports_continuous_actions()

    def max_steps(self, env) -> int:
        """Epochs."""
        return 12

    def has_render(self, env) -> bool:
        """No screen."""
        return False

    def group_map(self, env) -> dict[str, list[str]]:
        """Sellers learn together."""
        return env.group_map

    def state_spec(self, env) -> Composite:
        """Of the central critic."""
        return Composite({"state": env.observation_spec["state"].clone()})

    def action_mask_spec(self, env) -> None:
        """Nothing is forbidden."""
        return None

    def observation_spec(self, env) -> Composite:
        """What sellers see."""
        own = env.observation_spec.clone()
        del own["state"]
        return own

    def info_spec(self, env) -> None:
        """Not needed."""
        return None

    def action_spec(self, env) -> Composite:
        """What sellers do."""
        return env.full_action_spec

    @staticmethod
    def env_name() -> str:
        """In BenchMARL's tables."""
        return "marl_pricing"


class Tasks(Task):
    """By form of action."""

    DISCRETE = None
    CONTINUOUS = None

    @staticmethod
    def associated_class() -> type[Market]:
        """See `Market`."""
        return Market
