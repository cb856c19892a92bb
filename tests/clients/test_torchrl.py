"""TorchRL's PettingZooWrapper, with every form of action."""

from __future__ import annotations

import pytest
import torch
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.envs.utils import check_env_specs

import marl_pricing
from tests.clients.markets import FORMS, MASKED, env_of
from tests.environments.kinds import KINDS
from tests.markets import make


def wrapped(form: str, **more) -> PettingZooWrapper:
    return PettingZooWrapper(env_of(form, flat_masks=form in MASKED), return_state=True, **more)


@pytest.mark.parametrize("categorical", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_its_checker_finds_nothing_and_it_plays(form: str, categorical: bool) -> None:
    env = wrapped(form, categorical_actions=categorical)
    check_env_specs(env)
    played = env.rollout(12)
    assert played.batch_size == (12,) and torch.isfinite(played["next", "seller", "reward"]).all()


@pytest.mark.parametrize("form", MASKED)
def test_it_orders_nothing_that_is_forbidden(form: str) -> None:
    played = wrapped(form, categorical_actions=True).rollout(12)
    mask, action = played["seller", "action_mask"], played["seller", "action"]
    sizes = wrapped(form).action_space("seller_0").nvec.tolist()
    allowed = [
        torch.gather(own, -1, chosen.unsqueeze(-1))
        for own, chosen in zip(mask.split(sizes, -1), action.unbind(-1), strict=True)
    ]
    assert not mask.all() and torch.cat(allowed).all()


def test_sellers_in_turn() -> None:
    env = PettingZooWrapper(marl_pricing.aec_env(make(**KINDS["discrete"])), use_mask=True)
    check_env_specs(env)
