"""What is typed and changes nothing is refused by name; and it does change nothing."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax
import numpy as np
import pytest

from marl_pricing.config import ConfigError, read_settings
from marl_pricing.config.idle import _TABLE, refuse_idle, refuse_typed
from marl_pricing.learning import mappo
from tests.doors.compose import composed, settings
from tests.learning.helpers import INDEX, QUICK

SMALL = (
    "learner.num_envs=4", "learner.num_steps=6", "learner.hidden_size=8", "learner.num_updates=10",
    "learner.num_minibatches=2", "learner.num_epochs=1", "market.episode_length=4", "learner.devices=1",
    "market.num_sellers=2", "traffic=chain", "traffic.sessions_per_epoch=8", "learner.schedule=constant",
    "learner.entropy_start=0.01", "learner.entropy_end=0.01", "market/inventory=unlimited",
)  # fmt: skip
# Every setting of the table, with a value that is not its own.
OTHERWISE = {
    "learner.price_law": "gaussian", "learner.learning_rate_end": "0.001", "learner.schedule_updates": "3",
    "market.season.period": "7", "market.season.start": "3",
    "market.shocks.duration": "4", "market.shocks.scale": "0.5", "market.types.nodes": "3",
    "market.patience.discount": "0.5", "market.patience.fall": "0.2", "market.patience.floor": "0.1",
    "market.patience.arrive": "at_once", "market.patience.epochs": "2",
    "market.bankruptcy.cash_limit": "5.0", "market.reward.normalise_shaping": "false",
    "market.reward.stockout_penalty": "3.0", "market.reward.holding_cost": "0.4",
    "market.reward.anchor": "1.2", "market.reward.excess_memory": "0.5", "market.reward.movement_floor": "0.5",
    "market.reward.error_form": "relative",
    "traffic.process.start_probability": "0.4", "traffic.process.stop_probability": "0.5",
    "traffic.process.step": "0.2", "traffic.process.low": "0.1", "traffic.process.high": "0.5",
    "traffic.smoothing": "5.0", "traffic.perturbation.seed": "3",
    "traffic.markup.threshold": "1.0", "traffic.markup.temperature": "0.5", "traffic.markup.clean_signal": "3.0",
    "traffic.markup.highest_price": "2.0", "traffic.browsing.reference": "1.5",
    "traffic.quotes.identities": "4",
    "traffic.times.human_gap": "[1.0,1.0]", "traffic.times.agent_gap": "[1.0,1.0]",
    "traffic.times.human_dwell": "[1.0,1.0]", "traffic.times.agent_dwell": "[1.0,1.0]",
    "robust.num_candidates": "3", "robust.mode": "per_draw", "robust.adversary": "nature", "robust.sellers": "[0]",
    "robust.low": "0.1",
    "robust.worlds": "[{factor:demand_scale,values:[0.8,1.2]}]", "robust.high": "0.5",
    "robust.metric": "demand", "robust.anneal_updates": "5",
    "robust.order": "2", "robust.distance": "sliced", "robust.samples": "64", "worlds.draws": "8",
}  # fmt: skip


def test_the_table_is_of_settings_that_there_are() -> None:
    assert {field for own in _TABLE for field in own.fields} == set(OTHERWISE)
    data = settings(*SMALL)
    for field in OTHERWISE:
        reduce(lambda group, name: group[name], field.split("."), data)


@pytest.mark.parametrize("field", OTHERWISE)
def test_a_setting_that_changes_nothing_is_refused_by_name(field: str) -> None:
    given = f"{field}={OTHERWISE[field]}"
    own = read_settings(settings(*SMALL, given))
    with pytest.raises(ConfigError) as caught:
        refuse_idle(own, [*SMALL, given])
    assert str(caught.value).startswith(f"{given}: changes nothing with ")
    refuse_idle(own, SMALL)  # what a file says waits there


ACTIVE = (
    "market/prices=range",
    "learner.schedule=linear", "market.season.cosine=[0.1]", "market.season.sine=[0.0]", "market.types.spread=0.1",
    "market.patience.share=0.1",
    "market.bankruptcy.initial_cash=9.0", "market.reward.omega=0.5", "market.shocks.probability=0.1",
    "market/inventory=threshold", "market.reward.supra_competitive=0.1", "market.reward.volatility=0.1",
    "market.reward.estimate_error=0.1",
    "traffic.process.kind=drift", "traffic.perturbation.strength=0.1", "traffic.markup.strength=0.1",
    "traffic.hold_orders=sessions", "traffic.browsing.elasticity=0.5",
    "traffic.quotes.factors=[0.9,1.1]", "traffic.detector=timed", "robust=accept", "worlds.factors=[calibration]",
)  # fmt: skip


def test_nothing_is_refused_where_it_counts() -> None:
    own = read_settings(settings(*SMALL, *ACTIVE))
    counts = set(OTHERWISE) - {
        "traffic.smoothing", "traffic.process.start_probability", "traffic.process.stop_probability",
    }  # fmt: skip
    refuse_idle(own, [f"{field}={OTHERWISE[field]}" for field in counts])


def test_groups_are_refused_with_all_that_is_in_them() -> None:
    with pytest.raises(ConfigError, match=r"^trials\.delays=\[1\]: changes nothing with evaluation=report$"):
        refuse_typed(["episodes=2", "trials.delays=[1]", "trials_of=3"], {"trials": "evaluation=report"})


@pytest.mark.slow
def test_they_do_change_nothing() -> None:
    """An update in the middle of a run, bit for bit."""
    programs: dict[Any, Any] = {}

    def outcome(*overrides: str) -> Any:
        experiment = composed(*SMALL, *overrides)
        learner, params = experiment.learner, experiment.market.params
        if learner not in programs:

            def update(params: Any, learner: mappo.Mappo = learner) -> Any:
                state = mappo.init(learner, np.int32(0), params, INDEX)
                return mappo.update(learner, state.replace(update=np.int32(5)), params, INDEX)

            programs[learner] = jax.jit(update, compiler_options=QUICK)
        state, measures = programs[learner](params)
        return jax.device_get((state.learnable, measures))

    plain = outcome()
    for field, value in OTHERWISE.items():
        same = jax.tree.map(np.array_equal, plain, outcome(f"{field}={value}"))
        assert jax.tree.all(same), field
    assert not jax.tree.all(jax.tree.map(np.array_equal, plain, outcome("market.reward.unit_cost=1.2")))
