"""Heads and PPO's losses in PyTorch; the twins of `actions.py`, `mappo/losses.py` and
`losses.py`, term by term."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marl_pricing.learning.torch_mappo.price_laws import LAWS, Law

Head = Tensor | Law


def split_heads(
    logits: Tensor, num_products: int, sizes: Sequence[int], masks: Sequence[Tensor | None], law: str | None = None
) -> list[Head]:
    """Log probabilities of each head [..., S, P, n], for a market the price (n = K), then the order (n = Q).

    Args:
        logits: [..., S, P · Σ n].  sizes: n of each head.  masks: [..., S, P, n] bool, choices that are allowed.
        law: of the first head, where that is a continuous price.
    """
    parts = logits.unflatten(-1, (num_products, -1)).split(list(sizes), -1)
    heads: list[Head] = []
    for number, (part, mask) in enumerate(zip(parts, masks, strict=True)):
        if law is not None and number == 0:
            heads.append(LAWS[law].of(part))
            continue
        allowed = part if mask is None else part.masked_fill(~mask, torch.finfo(part.dtype).min)
        heads.append(allowed - allowed.logsumexp(-1, keepdim=True))  # on a CPU four times as fast as log_softmax
    return heads


def log_prob(heads: Sequence[Head], indices: Sequence[Tensor]) -> Tensor:
    """Log probability [..., S] of what was chosen, indices or places [..., S, P]: the sum over products and heads."""
    chosen = [
        head.gather(-1, index[..., None].long())[..., 0].sum(-1)
        if isinstance(head, Tensor)
        else head.log_prob(index).sum(-1)
        for head, index in zip(heads, indices, strict=True)
    ]
    return torch.stack(chosen).sum(0)


def entropy(heads: Sequence[Head]) -> Tensor:
    """Entropy [..., S], nats: the sum over products and heads."""
    # A choice that is not allowed has probability 0 and the log probability −3e38, whose product is 0.
    own = [-(head.exp() * head).sum((-1, -2)) if isinstance(head, Tensor) else head.entropy().sum(-1) for head in heads]
    return torch.stack(own).sum(0)


def policy_loss(
    new_log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, live: Tensor, clip_ratio: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped surrogate (Schulman et al. 2017, eq. 7), negated and summed; see the twin.

    Args:
        new_log_prob, old_log_prob, advantage: [...].  live: [...] 1.0 where the step counts.

    Returns:
        (sum, sums of diagnostics).
    """
    # A step that does not count may have any probability: without this, 0 · inf would be a NaN.
    log_ratio = torch.where(live > 0, new_log_prob - old_log_prob, 0.0)
    ratio = log_ratio.exp()
    bounded = ratio.clamp(1.0 - clip_ratio, 1.0 + clip_ratio)
    loss = (-torch.minimum(ratio * advantage, bounded * advantage) * live).sum()
    with torch.no_grad():
        sums = {
            "policy_loss": loss.detach(),
            "kl": ((ratio - 1.0 - log_ratio) * live).sum(),
            "clipped": (((ratio - 1.0).abs() > clip_ratio) * live).sum(),
        }
    return loss, sums


def value_loss(value: Tensor, old_value: Tensor, target: Tensor, live: Tensor, value_clip: float | None) -> Tensor:
    """Half the squared error, clipped around the old value (Yu et al. 2022), summed; see the twin.

    Args:
        value, old_value, target: [...] in normalised units.  live: [...].
    """
    error = (value - target) ** 2
    if value_clip is not None:
        near = old_value + (value - old_value).clamp(-value_clip, value_clip)
        error = torch.maximum(error, (near - target) ** 2)
    return 0.5 * (error * live).sum()
