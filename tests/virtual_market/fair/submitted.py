"""What a submission offers the very customers that a policy was played among, told by a process of NumPy alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marl_pricing.virtual_market.fair.game import PromotionParams
from marl_pricing.virtual_market.fair.kept import Policy
from marl_pricing.virtual_market.fair.playing import Played
from marl_pricing.virtual_market.fair.submission import export_policy
from marl_pricing.virtual_market.fair.worlds import LearnedWorlds
from tests.processes import python

_PLAYED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from policy_validation import get_pv_instance
policy, told = get_pv_instance(), []
for answers in np.load(sys.argv[2]):
    states = policy.initial_states
    for day in answers:
        action = policy.get_action_from_policy(states)
        told.append([*map(float, action)])
        states = policy.get_next_states(states, action, [day[0], day[1]])
try:
    policy.get_action_from_policy(states)
except ValueError as error:
    refused = str(error)
print(json.dumps({"told": told, "refused": refused, "gmv": states.gmv, "cost": states.cost}))
"""


def submitted(
    policy: Policy, worlds: LearnedWorlds, params: PromotionParams, where: np.ndarray, played: Played, seed: int,
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Its offers of all days in `told`; GMV and cost of the last episode; what it says of the day after in `refused`.

    Customers answer the offers that were played: what they are drawn is drawn again by the game's own keys.
    """
    assert params.starts is not None
    draw = jax.jit(worlds.draw)
    episodes, days = played.gmv.shape
    answers = np.zeros((episodes, days, 2, params.starts.shape[2]))
    for episode, key in enumerate(jax.random.split(jax.random.key(seed), episodes)):
        for day, own in enumerate(jax.random.split(key, days)):
            offer, weekday = jnp.float32(played.offers[episode, day]), jnp.int32((policy.weekday + day) % 7)
            answers[episode, day] = draw(own, where[episode], params.starts[-1], offer, weekday, jnp.float32(0))[0]
    export_policy(policy, folder / "submission")
    np.save(folder / "answers.npy", answers)
    ran = python(_PLAYED, {"jax", "flax", "marl_pricing", "scipy"}, str(folder / "submission"),
                 str(folder / "answers.npy"), folder=folder)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)
