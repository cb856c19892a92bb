"""PettingZoo: every test that it has for environments without a screen.

But `bombardment_test`, which takes what `step` of a turn-taking environment returns, nothing, for an observation, and
`test_save_obs`, which is for pictures.
"""

from __future__ import annotations

import types

import pytest
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
    state_test,
)

import marl_pricing
from tests.clients.markets import FORMS, env_of
from tests.environments.kinds import KINDS
from tests.markets import make

pytestmark = [
    pytest.mark.filterwarnings("ignore:Agent's m:UserWarning"),
    pytest.mark.filterwarnings("ignore:Action space for each agent probably:UserWarning"),
]


def turns(form: str, **more):
    return marl_pricing.aec_env(make(**KINDS[form]), **more)


@pytest.mark.parametrize("form", FORMS)
def test_both_apis(form: str) -> None:
    parallel_api_test(env_of(form), 40)
    api_test(turns(form), 40)


@pytest.mark.parametrize("form", ["discrete", "continuous"])
def test_seeds(form: str) -> None:
    parallel_seed_test(lambda: env_of(form), 20)
    seed_test(lambda: turns(form), 20)


def test_state_rendering_and_length() -> None:
    state_test(turns("several products"), env_of("several products"), 10)
    render_test(
        # It also makes one for a screen, which there is not, and only reads its metadata.
        lambda render_mode: turns("discrete", render_mode=None if render_mode == "human" else render_mode),
        custom_tests={"ansi": lambda text: isinstance(text, str)},
    )
    own = make()
    max_cycles_test(
        types.SimpleNamespace(
            parallel_env=lambda max_cycles: marl_pricing.parallel_env(own, max_cycles=max_cycles),
            env=lambda max_cycles: marl_pricing.aec_env(own, max_cycles=max_cycles),
        )
    )
