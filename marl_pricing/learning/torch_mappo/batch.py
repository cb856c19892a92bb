"""What the gradient steps in PyTorch need of a segment."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class TorchBatch:
    """A segment as the losses see it; [T, E, ...] but for the memories. The twin of `mappo.Batch`."""

    local: Tensor  # [T, E, S, O] what actors see
    seen: Tensor  # [T, E, G] what a central critic sees, [T, E, S, O] what a local one does
    first: Tensor  # [T, E] bool
    indices: list[Tensor]  # [T, E, S, P] chosen index, or place of a continuous price, of each head
    masks: list[Tensor | None]  # [T, E, S, P, n] bool, choices that were allowed; None: all
    log_prob: Tensor  # [T, E, S]
    advantage: Tensor  # [T, E, S]
    value: Tensor  # [T, E, S] what the critic said before the first gradient step, in its own units
    target: Tensor  # [T, E, S] normalised
    live: Tensor  # [T, E, S] 1.0 where the seller was in the market
    actor_memory: Tensor  # [E, S, M] before the segment
    critic_memory: Tensor  # [E, S or 1, M]

    def select(self, index: Tensor) -> TorchBatch:
        """The environments `index` [B], whole segments of them."""

        def take(name: str, value: Any) -> Any:
            if isinstance(value, list):
                return [take(name, own) for own in value]
            return None if value is None else value.index_select(0 if name.endswith("memory") else 1, index)

        return TorchBatch(**{own.name: take(own.name, getattr(self, own.name)) for own in fields(self)})
