"""What was learned on a PettingZoo environment: a policy that plays there, and its file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl_pricing.intake import plain
from marl_pricing.learning.networks import NetworkSpec
from marl_pricing.learning.torch_mappo import convert, losses
from marl_pricing.learning.torch_mappo.copies import Spaces
from marl_pricing.learning.torch_mappo.networks import Networks
from marl_pricing.learning.torch_mappo.price_laws import LAWS
from marl_pricing.learning.torch_mappo.scale import Scale
from marl_pricing.presentation.files import write_atomically

_FORMAT = "marl_pricing environment policy {}"
# The second shows its network observations on a scale, the third may, and acts in a Box.
_RAW, _SCALED, _BOX = (_FORMAT.format(version) for version in (1, 2, 3))
_NUMBERS = {torch.float32}


def _drawn(head: losses.Head, generator: torch.Generator | None) -> Tensor:
    """The most probable index of a head, or its law's centre, without a generator; with one a draw."""
    if generator is None:
        return head.argmax(-1) if isinstance(head, Tensor) else head.centre()
    if isinstance(head, Tensor):
        return torch.multinomial(head.exp().flatten(0, -2).cpu(), 1, generator=generator).view(head.shape[:-1])
    return head.sample(generator)


def choose(
    actor: Networks,
    spaces: Spaces,
    local: Any,
    masks: list[Any],
    memory: Tensor,
    generator: torch.Generator | None,
    law: str | None = None,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """What every head chooses, drawn or the most probable.

    Args:
        law: of the entries of a Box; None where actions are choices.

    Returns:
        (index of each head [E, S, 1], or of a Box places [E, S, entries]; log probability [E, S]; memory [E, S, M]).
    """
    where = memory.device
    with torch.no_grad():
        logits, memory = actor.step(torch.as_tensor(local, device=where), memory)
        own = [torch.as_tensor(mask, device=where) for mask in masks]
        heads = losses.split_heads(logits, spaces.parts, spaces.head_sizes, own, law)
        indices = [_drawn(head, generator).to(where) for head in heads]
        return indices, losses.log_prob(heads, indices), memory


@dataclass(frozen=True)
class EnvPolicy:
    """What was learned, for the agents of one environment.

    Attributes:
        scale: of observations, as they are shown to the network; None: as they come.
        law: of the entries of a Box (`learning.price_laws`); None where actions are choices.
    """

    spaces: Spaces
    actor: Networks
    scale: Scale | None = None
    law: str | None = None

    def start(self) -> Tensor:
        """Memories [1, S, M] at the start of an episode."""
        return torch.zeros(1, len(self.spaces.agents), self.actor.spec.memory, device=convert.device())

    def act(
        self, observations: Mapping[str, Any], memory: Tensor, infos: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], Tensor]:
        """The most probable action, or its law's centre, of every agent that observes something; the memories after it.

        Args:
            infos: those that came with the observations, where the environment forbids choices (`action_mask`).
        """
        local = self.spaces.observations(observations)[None]
        local = local if self.scale is None else self.scale.shown(local)
        masks = [mask[None] for mask in self.spaces.masks(infos or {})]
        indices, _, memory = choose(self.actor, self.spaces, local, masks, memory, None, self.law)
        chosen = torch.cat(indices, -1)[0].cpu().numpy()
        actions = {
            agent: self.spaces.action(chosen[number])
            for number, agent in enumerate(self.spaces.agents)
            if agent in observations
        }
        return actions, memory

    def save(self, path: Path | str) -> Path:
        """Write the policy to a file that `load_env_policy` reads."""
        buffer = io.BytesIO()
        told: dict[str, Any] = {"format": _RAW if self.scale is None else _SCALED}
        if self.law is not None:
            told |= {"format": _BOX, "law": self.law}
        if self.scale is not None:
            told["scale"] = [torch.as_tensor(own) for own in self.scale]
        told |= {"spaces": asdict(self.spaces), "network": asdict(self.actor.spec)}
        torch.save(told | {"weights": {name: own.cpu() for name, own in self.actor.state_dict().items()}}, buffer)
        return write_atomically(Path(path), buffer.getvalue())


def load_env_policy(path: Path | str) -> EnvPolicy:
    """Read a policy that was learned on an environment.

    Raises:
        ValueError: for a file that is not there or is none, naming it.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        # Not more than is there: an archive may unpack to far more, and a description ask for far larger networks.
        for _ in plain.unpacked(path):
            pass
        told = torch.load(path, map_location=convert.device(), weights_only=True)
        if told["format"] not in (_RAW, _SCALED, _BOX):
            raise KeyError("format")
        spec, weights = NetworkSpec(**told["network"]), told["weights"]
        if (spec.stacked and spec.num_sellers > len(weights)) or {own.dtype for own in weights.values()} != _NUMBERS:
            raise ValueError("weights")
        with torch.device("meta"):
            actor = Networks(spec)
        actor.load_state_dict(weights, assign=True)
        scale = None
        if told["format"] == _SCALED or "scale" in told:
            scale = Scale(*(own.cpu().numpy().astype(np.float64) for own in told["scale"]))
            if {own.shape for own in scale} != {(told["spaces"]["local_size"],)} or not (scale.spread > 0.0).all():
                raise ValueError("scale")
        spaces, law = Spaces(**told["spaces"]), told["law"] if told["format"] == _BOX else None
        if spaces.continuous != (law in LAWS):
            raise ValueError("law")
        return EnvPolicy(spaces, actor.to(convert.device()), scale, law)
    except Exception as error:  # a broken file may fail anywhere within
        raise ValueError(f"{path}: is no policy of train_on_env ({type(error).__name__})") from None
