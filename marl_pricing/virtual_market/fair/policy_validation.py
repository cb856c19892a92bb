"""A fair promotion policy as the challenge's evaluation calls it: NumPy alone, deterministic, no memory of calls.

`python -m marl_pricing.virtual_market export` puts this file beside `policy.npz`. States are what the evaluation hands
back and forth: every customer's memory, what is known of the days so far, and what the policy itself remembers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NUM_LEVELS = 9  # no coupon, 0.95 … 0.60


class States(NamedTuple):
    """What is known before a day.

    Attributes:
        memory: [21, C] of each customer: total orders, mean orders, mean fee; days at each level, orders on them.
        day: days so far.  orders: of the day before, a customer.  roi: of the day before.
        gmv, cost: money a customer so far.
        policy: [1, H] what the policy remembers; a plan nothing, [1, 0].
    """

    memory: np.ndarray
    day: int
    orders: float
    roi: float
    gmv: float
    cost: float
    policy: np.ndarray


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # never overflows


class PolicyValidation:
    """The challenge's interface: `initial_states`, `get_next_states`, `get_action_from_policy`."""

    def __init__(self, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self._about, self._arrays = about, arrays
        memory = arrays["start"].astype(np.float32)
        hidden = np.zeros((1, about.get("hidden", 0)), np.float32)
        self.initial_states = States(memory, 0, 0.0, 0.0, 0.0, 0.0, hidden)

    def get_next_states(self, cur_states: States, coupon_action: np.ndarray, user_actions: list[np.ndarray]) -> States:
        """States of the next day.

        Args:
            coupon_action: [2] coupons and discount of everybody's offer.
            user_actions: orders [C] and average fees [C] of the day.
        """
        coupons, discount = (float(value) for value in np.asarray(coupon_action).reshape(-1)[:2])
        orders, fee = (np.asarray(value, np.float32).reshape(-1) for value in user_actions)
        if coupons <= 0:
            discount = 1.0
        level = 0 if coupons <= 0 else 1 + int(np.clip(np.round((0.95 - discount) / 0.05), 0, 7))
        total, mean_num, mean_fee = cur_states.memory[:3]
        size = np.where(mean_num > 0, total / np.where(mean_num > 0, mean_num, 1.0), 0.0)
        moves = np.ones_like(orders) if self._about["form"] == "document" else (orders > 0) * 1.0
        memory = cur_states.memory.copy()
        memory[0] = total + orders
        memory[1] = mean_num + moves * (1 / (size + 1) * (orders - mean_num))
        memory[2] = mean_fee + moves * (1 / (size + 1) * (fee - mean_fee))
        memory[3 + level] += 1
        memory[3 + NUM_LEVELS + level] += orders > 0
        cost = (1.0 - discount) * np.minimum(orders, coupons) * fee
        day_gmv, day_cost = float((orders * fee - cost).mean()), float(cost.mean())
        return States(
            memory,
            cur_states.day + 1,
            float(orders.mean()),
            self._shown(day_gmv, day_cost),
            cur_states.gmv + day_gmv,
            cur_states.cost + day_cost,
            self._remembered(cur_states),
        )

    def get_action_from_policy(self, user_states: States) -> np.ndarray:
        """[2] coupons, 0 … 5, and discount, 0.60 … 0.95, that everybody is offered on the day."""
        coupons, share = self._arrays["offers"][self._offer(user_states)]
        return np.array([coupons, min(share, 0.95)])  # of no coupon any discount may be told

    def _shown(self, gmv: float, cost: float) -> float:
        return min(gmv / max(cost, 1e-6), self._about["most_roi"])

    def _place(self, states: States) -> int:
        """The place of what is left above the threshold on the plan's grid. Raises ValueError after its last day."""
        days = self._about["days"]
        if states.day >= days:
            raise ValueError(f"day {states.day + 1}: the plan has {days}; train days=… makes one of more")
        left = states.gmv - self._about["threshold"] * states.cost
        return max(int(np.searchsorted(self._arrays["grid"], left, side="right")) - 1, 0)

    def _offer(self, states: States) -> int:
        """The row of the offers for the day."""
        raise NotImplementedError

    def _remembered(self, states: States) -> np.ndarray:
        """What the policy remembers after the day."""
        return states.policy


class PlannedPolicy(PolicyValidation):
    """Offers by day and by what is left: GMV so far less the threshold's share of the cost so far."""

    def _offer(self, states: States) -> int:
        return int(self._arrays["by_left"][states.day, self._place(states)])


class LearnedPolicy(PolicyValidation):
    """Offers of a trained network; of fixed draws, so that the same states are answered with the same offer.

    One that started from a plan says what is added to the plan's log odds.
    """

    def _offer(self, states: States) -> int:
        logits, lots = self._step(states)[0], self._arrays["lots"]
        if "by_left" in self._arrays:
            logits = logits + self._planned(states)
        return int((logits + lots[states.day % len(lots)]).argmax())

    def _planned(self, states: States) -> np.ndarray:
        """[41] log odds of the offers by the plan: its own is ahead of those that would bring as much."""
        place, every = self._place(states), self._about["every"]
        logits = self._arrays["odds"][states.day, (place + every // 2) // every].astype(np.float32)
        logits[self._arrays["by_left"][states.day, place]] = self._about["ahead"]
        return logits

    def _remembered(self, states: States) -> np.ndarray:
        return self._step(states)[1]

    def _observed(self, states: States) -> np.ndarray:
        own, about = self._arrays, self._about
        memory = states.memory
        statistics = np.concatenate([memory.mean(1), memory.std(1), memory.max(1), memory.min(1)])
        statistics = np.clip((statistics - own["centre"]) / own["spread"], -5.0, 5.0)
        so_far = self._shown(states.gmv, states.cost) if states.day else 0.0
        left = 4.0 * (states.gmv - about["threshold"] * states.cost) / (about["unit"] * about["days"])
        now = [states.orders, states.roi / 10.0, so_far / 10.0, states.day / about["days"], np.clip(left, -4.0, 4.0)]
        weekday = np.arange(7) == (about["weekday"] + states.day) % 7
        return np.concatenate([statistics, now, weekday]).astype(np.float32)[None]

    def _step(self, states: States) -> tuple[np.ndarray, np.ndarray]:
        """(logits [41], memory [1, H]) of the policy's gated recurrent unit."""
        own, size = self._arrays, self._about["hidden"]
        inputs = np.maximum(self._observed(states) @ own["embed/kernel"] + own["embed/bias"], 0.0)
        enter = inputs @ own["cell/kernel_in"] + own["cell/bias"]
        hidden = states.policy
        back = hidden @ own["cell/kernel_hidden"]
        gates = _sigmoid(enter[:, : 2 * size] + back[:, : 2 * size])
        new = np.tanh(enter[:, 2 * size :] + gates[:, :size] * (back[:, 2 * size :] + own["cell/bias_hidden"]))
        hidden = (1.0 - gates[:, size:]) * new + gates[:, size:] * hidden
        head = np.maximum(hidden @ own["head/kernel"] + own["head/bias"], 0.0)
        return (head @ own["out/kernel"] + own["out/bias"])[0], hidden


def get_pv_instance() -> PolicyValidation:
    """What the evaluation asks for."""
    with np.load(Path(__file__).resolve().parent / "policy.npz", allow_pickle=False) as stored:
        about: dict[str, Any] = json.loads(str(stored["about"]))
        arrays = {name: stored[name] for name in stored.files if name != "about"}
    return {"plan": PlannedPolicy, "learned": LearnedPolicy}[about["kind"]](about, arrays)
