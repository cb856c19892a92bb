"""What a customer's own past tells: the promotion document's three numbers, and how often each depth was met and taken.

Nothing of other customers and nothing of the future is in it, so that a coupon is judged by how this customer answered,
not by whom the platform hands such coupons.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.virtual_market.levels import DISCOUNTS, NUM_LEVELS, level_of
from marl_pricing.virtual_market.log import PromotionLog
from marl_pricing.virtual_market.states import STATE_NAMES, StateForm, next_state

Array = jax.Array

_LEVELS = ["none", *(f"{share:.2f}" for share in DISCOUNTS)]
MEMORY_NAMES = (*STATE_NAMES, *(f"days_{own}" for own in _LEVELS), *(f"taken_{own}" for own in _LEVELS))
NUM_STATE_FEATURES = 2 * NUM_LEVELS + 7
NUM_FEATURES = NUM_STATE_FEATURES + 5 + NUM_LEVELS + 7


def next_memory(memory: Any, promotion: Any, answer: Any, form: StateForm, xp: Any = np) -> Any:
    """Memories [..., 21] after a day.

    Args:
        memory: [..., 21] as `MEMORY_NAMES`.  promotion: [..., 2] coupons and discount.  answer: [..., 2] orders, fee.
    """
    level = level_of(promotion[..., 0], promotion[..., 1], xp)
    met = (level[..., None] == xp.arange(NUM_LEVELS)) * 1.0
    taken = met * (answer[..., :1] > 0)
    state = next_state(memory[..., :3], answer, form, xp)
    return xp.concatenate(
        [state, memory[..., 3 : 3 + NUM_LEVELS] + met, memory[..., 3 + NUM_LEVELS :] + taken], axis=-1
    )


def log_arrays(log: PromotionLog) -> tuple[np.ndarray, np.ndarray]:
    """(promotions [C, D, 2], answers [C, D, 2]) of a log."""
    promotions = np.stack([log.coupons.astype(float), log.discount], axis=-1)
    return promotions, np.stack([log.orders.astype(float), log.fee], axis=-1)


def memories_of(log: PromotionLog, form: StateForm) -> np.ndarray:
    """[C, D + 1, 21] before each day of a log and after its last; nothing is known before the first."""
    promotions, answers = log_arrays(log)
    memories = [np.zeros((len(log.customers), len(MEMORY_NAMES)))]
    for day in range(promotions.shape[1]):
        memories.append(next_memory(memories[-1], promotions[:, day], answers[:, day], form))
    return np.stack(memories, axis=1)


def state_features(memory: Array, usual: Array) -> Array:
    """[..., 25] what a memory says, of about unit size.

    Args:
        usual: [9] share of all days at a level with an order: what is expected of one who has not met it.
    """
    days, taken = memory[..., 3 : 3 + NUM_LEVELS], memory[..., 3 + NUM_LEVELS :]
    rate = (taken + usual) / (days + 1.0)
    level = jnp.arange(NUM_LEVELS)
    shallowest = jnp.where((taken > 0) & (level > 0), level, NUM_LEVELS).min(-1)
    deepest = jnp.where((days > taken) & (level > 0), level, 0).max(-1)
    ordered = taken.sum(-1)
    fee = memory[..., 2]
    others = jnp.stack(
        [
            shallowest / NUM_LEVELS,
            deepest / NUM_LEVELS,
            memory[..., 1] / 2.0,
            jnp.log(1.0 + memory[..., 0]) / 3.0,
            ordered / (days.sum(-1) + 1.0),
            jnp.log(1.0 + ordered) / 3.0,
            jnp.where(fee > 0, jnp.log(jnp.maximum(fee, 1e-3)) - 3.0, 0.0),
        ],
        axis=-1,
    )
    return jnp.concatenate([rate, jnp.log(1.0 + days) / 2.0, others], axis=-1)


def features(memory: Array, promotion: Array, weekday: Array, usual: Array) -> Array:
    """[..., 46] what the answer to a promotion's depth is learned from; the number of coupons is not in it.

    Args:
        promotion: [..., 2].  weekday: [...] 0 Monday.  usual: as `state_features`.
    """
    days, taken = memory[..., 3 : 3 + NUM_LEVELS], memory[..., 3 + NUM_LEVELS :]
    level = level_of(promotion[..., 0], promotion[..., 1], jnp)
    at = jnp.arange(NUM_LEVELS)
    here = (at == level[..., None]).astype(jnp.float32)
    coupon = (at > 0).astype(jnp.float32)
    # Who took a shallower coupon takes this one; who left a deeper one leaves it.
    shallower = (taken * coupon * (at <= level[..., None])).sum(-1)
    deeper = ((days - taken) * coupon * (at >= level[..., None])).sum(-1)
    rate = ((taken + usual) / (days + 1.0) * here).sum(-1)
    own = jnp.stack(
        [rate, jnp.log(1.0 + shallower), (shallower > 0) * 1.0, jnp.log(1.0 + deeper), (deeper > 0) * 1.0], axis=-1
    )
    day = (jnp.arange(7) == weekday[..., None]).astype(jnp.float32)
    return jnp.concatenate([state_features(memory, usual), own, here, day], axis=-1)
